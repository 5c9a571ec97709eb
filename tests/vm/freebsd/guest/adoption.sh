# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# A daemon that dies, and the next one: hosts notice nothing.

story killed_under_io "after SIGKILL I/O goes on with no daemon, and the next one adopts" 600
killed_under_io_body() {
	needs_host
	configure kernel 1=ram:64m
	start
	connect -i 2
	before=$(ports)
	storage=$(luns)
	cntlid=$(associations)
	io_begin "$(disk 1)"
	kill_daemon
	io_goes_on
	holds "the same association without a daemon" test "$(associations)" = "$cntlid"
	start
	holds "the same port" test "$(ports)" = "$before"
	holds "the same LUN" test "$(luns)" = "$storage"
	holds "the same association" test "$(associations)" = "$cntlid"
	io_goes_on
	io_ended
	disconnect
	connect
	written_and_read "$(disk 1)"
}

story worker_killed "a worker that dies is replaced, and I/O in the kernel goes on" 600
worker_killed_body() {
	needs_host
	configure kernel 1=ram:64m
	start
	pgrep -f '^nvmfd: worker' >/dev/null || atf_skip "this daemon is one process"
	connect
	io_begin "$(disk 1)"
	died=$(worker)
	kill -9 "$died"
	comes 30 "another worker" another_worker "$died"
	io_goes_on
	io_ended
	holds "it answers" nvmecontrol discover "127.0.0.1:8009"
}

another_worker() {
	new=$(pgrep -f '^nvmfd: worker') && [ "$new" != "$1" ]
}

story stop_under_io "SIGTERM ends with hosts at full I/O" 300
stop_under_io_body() {
	needs_host
	configure kernel 1=ram:64m
	start
	connect -i 4
	# I/O of a host whose target is gone fails then, instead of waiting for another.
	sysctl kern.nvmf.fail_on_disconnection=1
	dd if=/dev/zero of="$(disk 1)" bs=64k 2>/dev/null &
	stop 60
	holds "nothing is exported" nothing_is_exported
}

story stop_behind_a_cut_cable "SIGTERM ends with a host that is not reached any more" 300
stop_behind_a_cut_cable_body() {
	needs_host
	command -v jail >/dev/null || atf_skip "there is no jail(8)"
	pair=$(ifconfig epair create) || atf_skip "there is no epair(4) for a cable"
	cable=${pair%a}
	ifconfig "${cable}a" inet 192.0.2.1/30 up
	jail -c name=nvmfdcable vnet path=/ persist || atf_skip "this kernel has no VNET"
	ifconfig "${cable}b" vnet nvmfdcable
	jexec nvmfdcable ifconfig "${cable}b" inet 192.0.2.2/30 up
	configure kernel 1=ram:64m
	sed -i '' "s/127\\.0\\.0\\.1:$port/192.0.2.1:$port/" "$config"
	start
	if ! jexec nvmfdcable nvmecontrol connect "192.0.2.1:$port" "$nqn"; then
		cut_cable_away
		atf_skip "no host connects out of a jail here"
	fi
	ifconfig "${cable}a" down
	stop 120
	holds "nothing is exported" nothing_is_exported
	cut_cable_away
}

cut_cable_away() {
	jail -r nvmfdcable
	ifconfig "${cable}a" destroy
}
