# Sourced by the jobs: steps as TAP lines, requests to the runner, and the host's view of a target.
#
# On the script's port the runner sees TAP lines, `@step NAME` when a step begins, and requests such
# as `@target stop`, which it answers with one line: `done`, or why not.
# shellcheck shell=sh

number=0 failed=0

# Debian's busybox prefers its own applets to programs of the same name.
blkdiscard() { /usr/bin/blkdiscard "$@"; }
mke2fs() { /usr/bin/mke2fs "$@"; }
modprobe() { /usr/sbin/modprobe "$@"; }

# step NAME COMMAND...: one TAP line for a function run under `set -e`; a trace explains a failure.
step() {
	name=$1
	shift
	number=$((number + 1))
	echo "@step $name"
	rm -f /tmp/skip /tmp/step.log /tmp/io.stop
	# Not in an `if`: that would switch `set -e` off inside.
	(
		set -ex
		"$@"
	) >>/tmp/step.log 2>&1 </dev/null
	case $? in
	0) echo "ok $number - $name" ;;
	77) echo "ok $number - $name # SKIP $(cat /tmp/skip)" ;;
	*)
		failed=$((failed + 1))
		echo "not ok $number - $name: $(grep -v '^+' /tmp/step.log | tail -n 1)"
		tail -n 15 /tmp/step.log | sed 's/^/# /'
		# What it left behind must not fail the next one.
		touch /tmp/io.stop
		killall -q fio
		umount /mnt 2>/dev/null
		;;
	esac
}

# The job's last line; its status becomes the guest's.
plan() {
	echo "1..$number"
	[ "$failed" -eq 0 ]
}

skip() {
	echo "$*" >/tmp/skip
	exit 77
}

fail() {
	echo "$*"
	exit 1
}

# What every target must offer is a failure in ours, and not to be had from the reference.
not_offered() {
	[ "$TARGET" = nvmet ] || fail "not offered: $*"
	skip "not offered: $*"
}

# ask REQUEST: done by the runner, or here when the target is this guest's own. Steps have no
# standard input or output of their own, so the port is opened by name.
ask() {
	if [ "$TARGET" = nvmet ]; then
		nvmet_ask "$@"
		return
	fi
	echo "@$*" >/dev/ttyS1
	read -r answer </dev/ttyS1
	case $answer in
	"done") ;;
	"not here: "*) skip "$answer" ;;
	*) fail "the runner: $answer" ;;
	esac
}

# within SECONDS COMMAND...: until it succeeds.
within() {
	deadline=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}

# refused TEXT COMMAND...: the command must fail and say so.
refused() {
	text=$1
	shift
	if output=$("$@" 2>&1); then
		fail "succeeded: $output"
	fi
	echo "$output" | grep -qi -e "$text" || fail "another error: $output"
}

# ---- the host ----

hostnqn=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555
hostid=11111111-2222-4333-8444-555555555555

# fabrics COMMAND PORT [OPTION...]: discover, connect or connect-all as this host.
fabrics() {
	command=$1 service=$2
	shift 2
	nvme "$command" -t tcp -a "$ADDRESS" -s "$service" \
		--hostnqn "$hostnqn" --hostid "$hostid" "$@"
}

# Comes back with a live controller and both namespaces. A lost connection is retried every second.
connect() {
	gone || disconnect # a failed step's
	fabrics connect "$PORT" -n "$NQN" --reconnect-delay=1 --ctrl-loss-tmo=60 "$@"
	within 10 live
	within 10 disk 1
	within 10 disk 2
}

disconnect() {
	nvme disconnect -n "$NQN"
	within 10 gone
}

# controller [HOSTNQN]: its name, such as nvme0.
controller() {
	for entry in /sys/class/nvme/nvme*; do
		[ "$(cat "$entry/subsysnqn")" = "$NQN" ] || continue
		[ "$(cat "$entry/hostnqn")" = "${1:-$hostnqn}" ] || continue
		basename "$entry"
		return
	done 2>/dev/null
	return 1
}

gone() { ! controller; }

live() { [ "$(cat "/sys/class/nvme/$(controller "$@")/state")" = live ]; }

# disk NSID: its block device; hidden ones of single paths (nvme0c0n1) have none.
disk() {
	for entry in /sys/block/nvme*n*; do
		case ${entry##*/} in nvme*c*) continue ;; esac
		[ "$(cat "$entry/nsid")" = "$1" ] || continue
		[ "$(cat "$entry/size")" -gt 0 ] || continue
		[ -b "/dev/${entry##*/}" ] || continue
		echo "/dev/${entry##*/}"
		return
	done 2>/dev/null
	return 1
}

# disk_of CONTROLLER NSID: where every path has its own (no native multipath).
disk_of() {
	for entry in "/sys/class/nvme/$1"/nvme*n*; do
		[ "$(cat "$entry/nsid")" = "$2" ] || continue
		echo "/dev/${entry##*/}"
		return
	done
	return 1
}

# nlb DISK BYTES: as the commands take it, counted from 0.
nlb() {
	echo $(($2 / $(cat "/sys/block/${1#/dev/}/queue/logical_block_size") - 1))
}

# fio's report is of interest only when something went wrong, and then only its beginning.
# Linux: nvme-tcp sends in the context of whoever submits, without MSG_NOSIGNAL, so that a program
# whose target has just closed the connection dies of SIGPIPE, though its I/O would be sent again.
quiet_fio() {
	report=$(mktemp)
	(
		trap '' PIPE
		exec fio --thread --direct=1 --ioengine=libaio --output="$report" "$@"
	) || {
		echo "fio ended with $?"
		head -n 5 "$report"
		return 1
	}
	rm "$report"
}

# verify_io DISK BLOCKSIZE SIZE [OPTION...]: every block once at a random place, then read back.
verify_io() {
	disk=$1 bs=$2 size=$3
	shift 3
	quiet_fio --name=verify --filename="$disk" --iodepth=16 --rw=randwrite --bs="$bs" \
		--size="$size" --verify=crc32c --verify_fatal=1 "$@"
}

# kernel_said TEXT: since the last `mark`.
mark() { dmesg -c >>/tmp/dmesg; }
kernel_said() { dmesg | grep -e "$1"; }
