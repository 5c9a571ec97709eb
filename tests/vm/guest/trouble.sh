# Sourced by the exercise: resets, idle times, a restarted target, strangers, the end of the host.
# shellcheck shell=sh

# start_io FILE: a disk, or a file on one, is written and verified over and over in the background,
# while the connection has its troubles.
start_io() {
	busy=$1
	while [ ! -e /tmp/io.stop ]; do
		verify_io "$busy" 4k 8m || exit
	done >/tmp/io.log 2>&1 &
	io=$!
}

io_was_good() {
	touch /tmp/io.stop
	wait "$io" || fail "I/O ended with $?: $(grep -v '^+' /tmp/io.log)"
}

# io_count NSID: commands that have ended, reads and writes. Linux: with multipath 6.1 counts those of
# a path, and later ones those of the disk too.
io_count() {
	for entry in /sys/block/nvme*n*; do
		[ "$(cat "$entry/nsid")" != "$1" ] || cat "$entry/stat"
	done | awk '{ sum += $1 + $5 } END { print sum }'
}

io_beyond() {
	[ "$(io_count "$1")" -gt "$2" ]
}

# io_goes_on SECONDS [NSID]: in each of them commands end.
io_goes_on() {
	written=${2:-2}
	for _ in $(seq "$1"); do
		before=$(io_count "$written")
		sleep 1
		within 10 io_beyond "$written" "$((before + 10))"
	done
}

# The host has noticed nothing since the last `mark`.
undisturbed() {
	live
	! kernel_said 'reconnect\|recovery\|resetting\|keep.alive\|timeout\|controller is down\|I/O error' ||
		fail "the connection was disturbed"
}

reset_under_io() {
	connect
	start_io "$(disk 2)"
	for _ in 1 2 3; do
		sleep 1
		nvme reset "/dev/$(controller)"
		within 20 live
	done
	io_was_good
	disconnect
}

# Nothing but keep-alives for longer than twice the timeout.
idle() {
	mark
	connect -k 5
	sleep 12
	live
	! kernel_said 'keep.alive\|reconnect\|controller is down' || fail "the connection was lost"
	verify_io "$(disk 1)" 4k 1m
	disconnect
}

# restarted HOW: data at rest and, elsewhere, I/O in flight; on the file, which outlives the daemon. A
# worker is started again by its own daemon.
restarted() {
	connect
	mark
	verify_io "$(disk 2)" 64k 8m --offset=32m
	start_io "$(disk 2)"
	sleep 1
	ask target "$1"
	within 30 kernel_said 'starting error recovery'
	[ "$1" = kill-worker ] || ask target start
	within 30 kernel_said 'Successfully reconnected'
	within 30 live
	io_was_good
	verify_io "$(disk 2)" 64k 8m --offset=32m --verify_only
	disconnect
}

wrong_nqn() {
	mark
	refused 'fail\|invalid\|could not' \
		fabrics connect "$PORT" -n nqn.2014-08.org.example:nobody
	kernel_said 'Connect Invalid Data Parameter, subsysnqn "nqn.2014-08.org.example:nobody"'
}

# ---- two hosts ----

other_hostid=99999999-8888-4777-8666-555555555555
other_hostnqn=nqn.2014-08.org.nvmexpress:uuid:$other_hostid

# One machine is two hosts only to a target: with multipath their disks would become one. Without
# it Linux fails what is in flight when a connection breaks: not for the other steps.
multipath() {
	[ "$TARGET" != nvmet ] || nvmet_down
	modprobe -r nvme_tcp
	modprobe -r nvme_core 2>/dev/null || true
	modprobe nvme_core "multipath=$1"
	modprobe nvme_tcp
	[ "$TARGET" != nvmet ] || nvmet_up
}

# connect_other [OPTIONS]: by the kernel's own interface, with the kernel's names for options,
# because nvme-cli 2.3 takes the first host's connection for the second's.
connect_other() {
	who=hostnqn=$other_hostnqn,hostid=$other_hostid
	echo "transport=tcp,traddr=$ADDRESS,trsvcid=$PORT,nqn=$NQN,$who,reconnect_delay=1${1:+,$1}" \
		>/dev/nvme-fabrics
	within 10 live "$other_hostnqn"
}

two_hosts() {
	multipath N
	connect
	beside_another
	disconnect
	multipath Y
}

# A second host comes, works beside the first, which is connected, and goes.
beside_another() {
	connect_other hdr_digest,data_digest
	first=$(controller)
	second=$(controller "$other_hostnqn")
	[ "$(cat "/sys/class/nvme/$first/cntlid")" != "$(cat "/sys/class/nvme/$second/cntlid")" ]
	within 10 disk_of "$second" 2
	# Each its own part of the same namespace, at the same time.
	verify_io "$(disk_of "$first" 2)" 4k 4m --offset=0 >/tmp/io.log 2>&1 &
	io=$!
	verify_io "$(disk_of "$second" 2)" 4k 4m --offset=32m
	io_was_good
	# What one wrote the other reads.
	blkdiscard -z -o 0 -l 4096 "$(disk_of "$first" 1)"
	yes shared | head -c 4096 | dd of="$(disk_of "$first" 1)" bs=4096 conv=fsync
	yes shared | head -c 4096 | cmp -n 4096 - "$(disk_of "$second" 1)"
	# The end of one is not the end of the other.
	nvme disconnect -d "$second"
	verify_io "$(disk_of "$first" 1)" 4k 1m
}

two_paths() {
	connect
	connect_other
	for policy in /sys/class/nvme-subsystem/*/iopolicy; do
		echo round-robin >"$policy"
	done
	start_io "$(disk 2)"
	sleep 1
	nvme disconnect -d "$(controller "$other_hostnqn")"
	io_was_good
	disconnect
}

many_times() {
	for _ in $(seq 15); do
		connect
		disconnect
	done
}

no_complaints() {
	dmesg -c >>/tmp/dmesg
	! grep -E 'BUG:|Oops|WARNING: CPU|Call Trace|blocked for more|Invalid SQE|data digest error' \
		/tmp/dmesg || fail "see the kernel log"
}

# The last thing that this guest does: the runner ends it in the middle of I/O.
die_under_io() {
	connect -k 5 >/dev/null 2>&1
	start_io "$(disk 2)"
	sleep 2
	ask guest "$1"
}

trouble_steps() {
	step "controller reset under verified I/O" reset_under_io
	step "idle for more than twice the keep-alive timeout" idle
	step "target stopped under verified I/O, and started" restarted stop
	step "wrong NQN is refused, with the reason" wrong_nqn
	step "two hosts at once, verified I/O" two_hosts
	[ "$LEVEL" = full ] || return 0
	# In kernel mode its end is nobody's trouble: kernel.sh.
	[ "$TARGET" = nvmfd-kernel ] || step "target killed under verified I/O, and started" restarted kill
	step "two paths, one goes away under verified I/O" two_paths
	step "connect and disconnect, 15 times" many_times
}

end_steps() {
	step "nothing is left connected" gone
	step "no complaints in the kernel log" no_complaints
}
