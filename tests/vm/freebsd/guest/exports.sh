# shellcheck shell=sh disable=SC2154,SC2094 # one program with daemon.sh, host.sh, peer.sh
# What CTL holds of ours: ports, LUNs, maps, and nobody else's.

story port_luns_and_map "a port, its LUNs and its map are as configured, and marked"
port_luns_and_map_body() {
	needs_kernel_mode
	truncate -s 32m /var/tmp/nvmfd-vol
	configure kernel 1=/var/tmp/nvmfd-vol 3=ram:64m
	start
	holds "one port" test "$(ports | wc -l)" -eq 1
	holds "two LUNs" test "$(luns | wc -l)" -eq 2
	must ctladm portlist -v >portlist
	must ctladm devlist -v >devlist
	holds "the port's mark" grep -q nvmfd portlist
	holds "the LUNs' mark" grep -q nvmfd_namespace devlist
	# NSID = plun + 1, and nothing else is mapped.
	holds "namespaces 1 and 3 are mapped" test "$(mapped | tr '\n' ' ')" = '0 2 '
}

story zfs_volume "a ZFS volume is exported, and gives back what was written"
zfs_volume_body() {
	needs_host
	kldstat -q -m zfs || kldload zfs || atf_skip "this kernel has no ZFS"
	truncate -s 256m /var/tmp/nvmfd-pool
	zpool create -f -m none nvmfdtank /var/tmp/nvmfd-pool || atf_skip "no pool can be made here"
	must zfs create -V 64m -o volmode=dev nvmfdtank/vol0
	comes 20 "the volume's device" test -c /dev/zvol/nvmfdtank/vol0
	configure kernel 1=/dev/zvol/nvmfdtank/vol0
	start
	connect
	written_and_read "$(disk 1)"
	disconnect
	stop
	must zpool destroy nvmfdtank
}

story lists_for_the_parser "the kernel's lists, kept for the parser's tests on the host"
lists_for_the_parser_body() {
	needs_host
	configure kernel 1=ram:64m 2=ram:32m
	start
	connect
	for list in portlist devlist nvlist; do
		must ctladm "$list" -x >"$results/$list.xml"
		holds "$list is a list" grep -q '^</ctl' "$results/$list.xml"
	done
	# The daemon reads each of them here: it finds everything as it should be.
	before=$(ports)
	kill_daemon
	start
	holds "nothing was made anew" test "$(ports)" = "$before"
}

story useless_storage "storage that is of no use is said so, in a line each, and leaves no LUN" 120
useless_storage_body() {
	needs_kernel_mode
	: >/var/tmp/nvmfd-empty
	for path in /no/such /dev/null /var/tmp/nvmfd-empty; do
		configure kernel "1=$path"
		status=0
		nvmfd -f "$config" 2>said || status=$?
		holds "$path is refused" test "$status" -ne 0
		holds "$path is named" grep -qF "$path" said
		holds "no LUN stays" nothing_is_exported
	done
	rm /var/tmp/nvmfd-empty
}

story others_are_left_alone "LUNs and ports that are not ours stay as they are"
others_are_left_alone_body() {
	needs_kernel_mode
	kldstat -q -m ctl || must kldload ctl
	must ctladm create -b ramdisk -s 16777216 -o product=foreign >created
	foreign=$(sed -n 's/^LUN ID: *\([0-9]*\).*/\1/p' created)
	holds "a LUN was made" test -n "$foreign"
	ctladm devlist -x >devices.before
	ctladm portlist -x >ports.before
	configure kernel 1=ram:64m "2=lun:$foreign"
	start
	holds "only one LUN is ours" test "$(luns | wc -l)" -eq 1
	stop
	ctladm devlist -x >devices.after
	ctladm portlist -x >ports.after
	ctladm remove -b ramdisk -l "$foreign"
	holds "the same LUNs" cmp devices.before devices.after
	holds "the same ports" cmp ports.before ports.after
}

story names_over_nvme "a namespace's identifiers reach the host, alike in both modes"
names_over_nvme_body() {
	needs_host
	for serving in kernel user; do
		names_over_nvme_of "$serving"
	done
}

names_over_nvme_of() {
	configure "$1" 1=ram:64m
	printf 'uuid = "0c9a6ac5-3a5e-4bb0-8d36-5c83c65a3a4f"\nnguid = "5a1ed002ab5f4f7c021ba2d0a4c0b12e"\n' >>"$config"
	start
	connect
	must nvmecontrol identify "$(controller)ns1" >identify
	cp identify "$results/identify-$1"
	holds "the NGUID, in $1 mode" grep -qi 5a1ed002ab5f4f7c021ba2d0a4c0b12e identify
	disconnect
	stop
}

story stop_takes_ours_away "an orderly end leaves nothing of ours"
stop_takes_ours_away_body() {
	needs_host
	configure kernel 1=ram:64m 2=ram:64m
	start
	connect
	stop
	holds "nothing is exported" nothing_is_exported
	holds "nobody is connected" association_count 0
}
