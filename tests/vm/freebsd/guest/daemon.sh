# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# The daemon under test: configured, started, asked, and taken away again. Part of every test program;
# $suite is this directory, $results one for what the host shall see.

nqn=nqn.2014-08.org.example:vm
config=/usr/local/etc/nvmfd.toml
pid_file=/var/run/nvmfd.pid
port=4420

# story NAME "WHAT HOLDS" [SECONDS]: a case, whose body is NAME_body. It begins and ends with
# nothing of ours in the kernel.
story() {
	# shellcheck disable=SC2034 # read by the functions made here
	eval "told_$1=\$2 limit_$1=\${3:-300}"
	stories="${stories:-} $1"
	atf_test_case "$1" cleanup
	# After atf_test_case, which has empty ones.
	eval "$1_head() { atf_set descr \"\$told_$1\"; atf_set timeout \"\$limit_$1\"; }"
	eval "$1_cleanup() { tidy; }"
}

atf_init_test_cases() {
	for each in $stories; do
		atf_add_test_case "$each"
	done
}

# must COMMAND...: it succeeds, or the case fails with what it said.
must() {
	said=$("$@" 2>&1) || atf_fail "$* failed: $(printf '%s' "$said" | tail -n 3 | tr '\n' ' ')"
	printf '%s\n' "$said"
}

# holds "WHAT" COMMAND...: or the case fails by that name.
holds() {
	holding=$1
	shift
	"$@" || atf_fail "$holding does not hold: $*"
}

# comes SECONDS "WHAT" COMMAND...: in that time.
comes() {
	coming=$2 patience=$1
	shift 2
	within "$patience" "$@" || atf_fail "$coming: not within $patience s"
}

within() {
	deadline=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}

not() {
	! "$@"
}

# refuses STATUS TEXT COMMAND...: it ends with that status, and says so.
refuses() {
	expected=$1 text=$2
	shift 2
	status=0
	said=$("$@" 2>&1) || status=$?
	case "|$expected|" in
	*"|$status|"*) ;;
	*) atf_fail "$*: status $status, not $expected: $said" ;;
	esac
	printf '%s' "$said" | grep -Eqi -e "$text" || atf_fail "$*: another error: $said"
}

needs_kernel_mode() {
	[ "$(uname -s)" = FreeBSD ] || atf_skip "kernel mode is FreeBSD's"
	[ "$(uname -K)" -ge 1500000 ] || atf_skip "nvmft(4) came with FreeBSD 15.0, and this is $(uname -r)"
	[ -e /boot/kernel/nvmft.ko ] || kldstat -q -m nvmft || atf_skip "this kernel has no nvmft(4)"
}

needs_nvmfctl() {
	command -v nvmfctl >/dev/null || atf_skip "nvmfctl was not brought along"
}

# configure MODE NSID=STORAGE...: the configuration file, one subsystem at one address; STORAGE is
# ram:SIZE, lun:NUMBER or a path. What $extra has goes into the subsystem's table, where HOSTS
# stands for a list of hosts instead of any host.
configure() {
	mode=$1
	shift
	{
		printf '[discovery]\nlisten = ["127.0.0.1:8009"]\n\n'
		printf '[[portal]]\nname = "vm"\nlisten = ["127.0.0.1:%s"]\n' "$port"
		printf 'sq-flow-control = "optional"\n\n'
		printf '[[subsystem]]\nnqn = "%s"\nmode = "%s"\nportals = ["vm"]\n' "$nqn" "$mode"
		printf '%s\n' "${extra:-allow-any-host = true}"
		for namespace; do
			printf '\n[[subsystem.namespace]]\nnsid = %s\n' "${namespace%%=*}"
			case ${namespace#*=} in
			ram:*) printf 'ram = "%s"\n' "${namespace#*=ram:}" ;;
			lun:*) printf 'lun = %s\n' "${namespace#*=lun:}" ;;
			*) printf 'path = "%s"\n' "${namespace#*=}" ;;
			esac
		done
	} >"$config"
}

# start [OPTION...]: in the background, as an administrator does. It returns when it serves.
start() {
	must nvmfd -f "$config" "$@"
	comes 10 "the pid file" test -s "$pid_file"
}

daemon() {
	cat "$pid_file" 2>/dev/null
}

daemon_runs() {
	running=$(daemon) && [ -n "$running" ] && kill -0 "$running" 2>/dev/null
}

# The process that meets peers; the daemon itself where there is one process.
worker() {
	pgrep -f '^nvmfd: worker' || daemon
}

# Every process of it at once, as a crash or an impatient administrator would. By name: the machine
# is the tests' alone.
kill_daemon() {
	pkill -9 -x nvmfd
	comes 10 "the daemon's death" not pgrep -x nvmfd
}

# stop [SECONDS]: in order.
stop() {
	kill -TERM "$(daemon)" || atf_fail "there is no daemon to stop"
	comes "${1:-60}" "an orderly end" not pgrep -x nvmfd
}

ports() {
	ctladm portlist -x 2>/dev/null | awk -v nqn="$nqn" '
		/<targ_port / { id = $0; gsub(/[^0-9]/, "", id) }
		index($0, ">" nqn "<") { print id }'
}

# mapped: the entries of our port's map that lead to a LUN, a line each.
mapped() {
	ctladm portlist -x | awk -v nqn="$nqn" '
		/<targ_port / { entries = ""; ours = 0 }
		index($0, ">" nqn "<") { ours = 1 }
		/<lun id=/ { id = $0; sub(/.*id="/, "", id); sub(/".*/, "", id); entries = entries id "\n" }
		/<\/targ_port>/ && ours { printf "%s", entries }'
}

luns() {
	ctladm devlist -x 2>/dev/null | awk '
		/<lun / { id = $0; gsub(/[^0-9]/, "", id) }
		/<nvmfd_namespace>/ { print id }'
}

nothing_is_exported() {
	[ -z "$(ports)$(luns)" ]
}

# The cleanup of every case: hosts leave, the daemon ends, and what a killed one has left in the
# kernel is adopted by another, which ends in order. Where this is not FreeBSD nothing was begun.
tidy() {
	[ "$(uname -s)" = FreeBSD ] || return 0
	command -v nvmecontrol >/dev/null && nvmecontrol disconnect-all 2>/dev/null
	pgrep -x nvmfd >/dev/null && pkill -TERM -x nvmfd
	within 60 not pgrep -x nvmfd || pkill -9 -x nvmfd
	if ! nothing_is_exported; then
		configure kernel 1=ram:1m
		nvmfd -f "$config" && kill -TERM "$(daemon)" && within 60 not pgrep -x nvmfd
	fi
	umount -f /mnt/nvmfd 2>/dev/null
	jls -j nvmfdcable >/dev/null 2>&1 && jail -r nvmfdcable
	zpool list nvmfdtank >/dev/null 2>&1 && zpool destroy -f nvmfdtank
	rm -f /var/tmp/nvmfd-vol /var/tmp/nvmfd-pool /var/tmp/nvmfd-empty /var/tmp/nvmfd-other.toml
	sysctl kern.nvmf.fail_on_disconnection=0 >/dev/null 2>&1
	return 0
}
