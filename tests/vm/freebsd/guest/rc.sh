# shellcheck shell=sh disable=SC2154,SC2094 # one program with daemon.sh, host.sh, peer.sh
# service(8) and the rc.d script.

needs_rc() {
	[ "$(uname -s)" = FreeBSD ] || atf_skip "rc.d is FreeBSD's"
	[ -x /usr/local/etc/rc.d/nvmfd ] || atf_skip "the rc.d script was not brought along"
	needs_nvmfctl
}

story enabled_by_rcvar "it starts only where nvmfd_enable says so"
enabled_by_rcvar_body() {
	needs_rc
	configure user 1=ram:64m
	must service nvmfd rcvar >rcvar
	holds "the variable" grep -q nvmfd_enable rcvar
	sysrc -x nvmfd_enable 2>/dev/null
	service nvmfd start >/dev/null 2>&1
	holds "not enabled, not started" not daemon_runs
	must sysrc nvmfd_enable=YES
	must service nvmfd start
	holds "enabled and started" daemon_runs
	must service nvmfd stop
	holds "stopped" not daemon_runs
	sysrc -x nvmfd_enable
}

story verbs "status, restart, reload and configtest do what they say"
verbs_body() {
	needs_rc
	configure user 1=ram:64m
	holds "no status without a daemon" not service nvmfd onestatus
	must service nvmfd onestart
	must service nvmfd onestatus >status
	holds "its process is named" grep -q "$(daemon)" status
	first=$(daemon)
	must service nvmfd onereload
	holds "the same daemon after a reload" test "$(daemon)" = "$first"
	must service nvmfd onerestart
	holds "another one after a restart" test "$(daemon)" != "$first"
	must service nvmfd oneconfigtest
	must service nvmfd onestop
	comes 10 "the pid file's end" not daemon_runs
}

story bad_file_does_not_start "a bad file is refused before start, with its mistakes on the terminal"
bad_file_does_not_start_body() {
	needs_rc
	configure user 1=ram:64m
	echo 'colour = "green"' >>"$config"
	for verb in oneconfigtest onestart; do
		status=0
		service nvmfd "$verb" >said 2>&1 || status=$?
		holds "$verb is refused" test "$status" -ne 0
		holds "$verb says why" grep -q colour said
	done
	holds "nothing runs" not daemon_runs
}

story bad_file_does_not_reload "a bad file is refused before a reload"
bad_file_does_not_reload_body() {
	needs_rc
	configure user 1=ram:64m
	must service nvmfd onestart
	echo 'colour = "green"' >>"$config"
	holds "the reload is refused" not service nvmfd onereload
	holds "the daemon runs" daemon_runs
}

story modules_before_start "kernel mode's modules are there when the daemon starts"
modules_before_start_body() {
	needs_rc
	needs_kernel_mode
	configure kernel 1=ram:64m
	must service nvmfd onestart
	holds "nvmft" kldstat -q -n nvmft.ko
	holds "nvmf_tcp" kldstat -q -n nvmf_tcp.ko
	must service nvmfd onestop
	holds "nothing is exported" nothing_is_exported
}

story another_file_and_flags "nvmfd_config and nvmfd_flags are heeded"
another_file_and_flags_body() {
	needs_rc
	configure user 1=ram:64m
	mv "$config" /var/tmp/nvmfd-other.toml
	must sysrc nvmfd_config=/var/tmp/nvmfd-other.toml
	status=0
	service nvmfd onestart >said 2>&1 || status=$?
	sysrc -x nvmfd_config
	holds "it starts: $(tail -n 1 said)" test "$status" -eq 0
	holds "it runs" daemon_runs
}
