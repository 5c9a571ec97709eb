# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# Numbers of the kernel's that the daemon takes for granted.

story map_size "a port's LUN map has 1024 entries"
map_size_body() {
	needs_kernel_mode
	kldstat -q -m ctl || must kldload ctl
	size=$(sysctl -n kern.cam.ctl.lun_map_size) || atf_fail "there is no kern.cam.ctl.lun_map_size"
	holds "1024, not $size" test "$size" -eq 1024
}

story thousand_namespaces "1024 namespaces are exported and seen" 900
thousand_namespaces_body() {
	needs_host
	set --
	for nsid in $(jot 1024); do
		set -- "$@" "$nsid=ram:1m"
	done
	configure kernel "$@"
	start
	holds "1024 LUNs" test "$(luns | wc -l)" -eq 1024
	connect
	comes 120 "the last one's disk" disk 1024
	stop 300
	holds "nothing is exported" nothing_is_exported
}

story last_namespace "namespace 1024 alone is the host's 1024"
last_namespace_body() {
	needs_host
	configure kernel 1024=ram:64m
	start
	must nvmecontrol connect "127.0.0.1:$port" "$nqn"
	comes 30 "its disk" disk 1024
	written_and_read "$(disk 1024)"
}
