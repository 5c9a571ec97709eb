# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# User mode on FreeBSD: nvmfd itself executes the commands, on FreeBSD's disks and files.

story negotiates "a host is taken in, also where the kernel has neither host nor target"
negotiates_body() {
	[ "$(uname -s)" = FreeBSD ] || atf_skip "this is not FreeBSD"
	configure user 1=ram:64m
	start
	answered=$(raw_connect 0 65535 11111111111111111111111111111111 nqn.2014-08.org.example:host)
	case $answered in
	"0 0 "*) ;;
	*) atf_fail "a good Connect was answered '$answered'" ;;
	esac
	raw_refused '1 130 1 16' 1 777 11111111111111111111111111111111 nqn.2014-08.org.example:host
}

story memory_file_and_disk "data written is read back, from memory, a file and a disk" 600
memory_file_and_disk_body() {
	needs_host
	truncate -s 64m /var/tmp/nvmfd-vol
	md=$(mdconfig -a -t swap -s 64m) || atf_skip "no md(4) can be made"
	configure user 1=ram:64m 2=/var/tmp/nvmfd-vol "3=/dev/$md"
	start
	connect -g -G -i 2
	for nsid in 1 2 3; do
		comes 30 "the disk of namespace $nsid" disk "$nsid"
		written_and_read "$(disk "$nsid")"
	done
	disconnect
	stop
	mdconfig -d -u "$md"
}

story deallocation_frees_blocks "what a host deallocates, the file gives back"
deallocation_frees_blocks_body() {
	needs_host
	command -v trim >/dev/null || atf_skip "there is no trim(8)"
	truncate -s 64m /var/tmp/nvmfd-vol
	configure user 1=/var/tmp/nvmfd-vol
	start
	connect
	must dd if=/dev/random of="$(disk 1)" bs=1m count=64
	sync
	written=$(du -k /var/tmp/nvmfd-vol | cut -f 1)
	must trim -f "$(disk 1)"
	sync
	left=$(du -k /var/tmp/nvmfd-vol | cut -f 1)
	[ "$left" -lt "$((written / 4))" ] ||
		atf_skip "$left of $written KiB are left: this file system frees nothing, or trim did not get here"
}

story disk_in_use_is_refused "a disk that is mounted is not served"
disk_in_use_is_refused_body() {
	[ "$(uname -s)" = FreeBSD ] || atf_skip "this is not FreeBSD"
	md=$(mdconfig -a -t swap -s 64m) || atf_skip "no md(4) can be made"
	must newfs "/dev/$md" >/dev/null
	mkdir -p /mnt/nvmfd
	must mount "/dev/$md" /mnt/nvmfd
	configure user "1=/dev/$md"
	status=0
	nvmfd -f "$config" 2>said || status=$?
	umount /mnt/nvmfd
	mdconfig -d -u "$md"
	holds "it is refused" test "$status" -ne 0
	holds "by name" grep -q "$md" said
}
