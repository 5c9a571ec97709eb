# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# The kernel's modules and the device: who loads them, who may use them.

module_names='nvmft.ko nvmf_tcp.ko'

story loaded_on_demand "the daemon loads what kernel mode needs"
loaded_on_demand_body() {
	needs_kernel_mode
	for module in nvmf nvmft nvmf_tcp nvmf_transport; do
		! kldstat -q -n "$module.ko" || kldunload "$module" || atf_skip "$module cannot be unloaded here"
	done
	configure kernel 1=ram:64m
	start
	for module in $module_names; do
		holds "$module is loaded" kldstat -q -n "$module"
	done
	holds "CTL's device is there" test -c /dev/cam/ctl
	kldstat -v >"$results/kldstat"
}

story loaded_once "a module that is there is not loaded again, and the first hand-off finds it"
loaded_once_body() {
	needs_host
	kldstat -q -n nvmft.ko || must kldload nvmft
	kldstat | awk '{ print $1, $NF }' >before
	configure kernel 1=ram:64m
	start
	kldstat | awk '{ print $1, $NF }' >after
	holds "the same modules" cmp before after
	connect
	disconnect
}

story root_only "nobody but root starts kernel mode"
root_only_body() {
	needs_kernel_mode
	refuses 77 root su -m nobody -c 'nvmfd -K -d ramdisk:1m'
}

story not_in_a_jail "kernel mode does not start in a jail"
not_in_a_jail_body() {
	needs_kernel_mode
	command -v jail >/dev/null || atf_skip "there is no jail(8)"
	refuses '69|77' 'jail' jail -c path=/ command=/usr/local/sbin/nvmfd -K -d ramdisk:1m
}

story kernel_too_old "a kernel before 15.0 is named as such"
kernel_too_old_body() {
	[ "$(uname -s)" = FreeBSD ] || atf_skip "this is not FreeBSD"
	[ "$(uname -K)" -lt 1500000 ] || atf_skip "this kernel has kernel mode; the case is for a 14.x image"
	refuses 69 '15\.0' nvmfd -K -d ramdisk:1m
}

story one_daemon "a second daemon does not get CTL"
one_daemon_body() {
	needs_kernel_mode
	configure kernel 1=ram:64m
	start
	refuses 69 'another|in use|already' nvmfd -K -d -p 4421 -P 8010 -n "$nqn-2" ramdisk:1m
	holds "the first one still runs" daemon_runs
	holds "and its port is there" test -n "$(ports)"
}
