# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# The daemon replaced by another, while the kernel goes on serving.

needs_rc() {
	[ -x /usr/local/etc/rc.d/nvmfd ] || atf_skip "the rc.d script was not brought along"
	needs_nvmfctl
}

story upgrade_under_io "an upgrade under I/O: no pass is lost, nothing is exported twice" 600
upgrade_under_io_body() {
	needs_host
	needs_rc
	configure kernel 1=ram:64m
	must service nvmfd onestart
	connect -i 2
	before=$(ports) storage=$(luns) cntlid=$(associations) old=$(daemon)
	io_begin "$(disk 1)"
	must service nvmfd oneupgrade
	io_goes_on
	io_ended
	holds "another daemon" test "$(daemon)" != "$old"
	holds "the same port" test "$(ports)" = "$before"
	holds "the same LUN" test "$(luns)" = "$storage"
	holds "the same association" test "$(associations)" = "$cntlid"
}

story upgrade_to_a_bad_file "an upgrade with a bad file leaves the old daemon at work"
upgrade_to_a_bad_file_body() {
	needs_kernel_mode
	needs_rc
	configure kernel 1=ram:64m
	must service nvmfd onestart
	old=$(daemon)
	echo 'colour = "green"' >>"$config"
	status=0
	service nvmfd oneupgrade >said 2>&1 || status=$?
	holds "the upgrade is refused" test "$status" -ne 0
	holds "the old daemon runs" test "$(daemon)" = "$old"
	holds "it runs" daemon_runs
}
