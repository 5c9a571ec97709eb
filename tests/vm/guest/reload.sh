# Sourced by the exercise: a daemon that is served from a file, and reads another one while this host
# has a file system mounted and writes there. The runner has the files, by name: config.rs.
# shellcheck shell=sh

no_disk() { ! disk "$1"; }

size_is() { [ "$(blockdev --getsize64 "$1")" -eq $(($2 << 20)) ]; }

# list_is LIST: the active namespaces.
list_is() {
	[ "$(nvme list-ns "$(device)" -o json | jq -c '[.nsid_list[].nsid]')" = "$1" ]
}

served_by_file() {
	ask target serve two
	connect
	mke2fs -q -F -t ext4 "$(disk 1)"
	mount -t ext4 "$(disk 1)" /mnt
	dd if=/dev/urandom of=/mnt/first bs=1M count=1 conv=fsync
	(cd /mnt && sha256sum first) >/tmp/kept
}

# under_io COMMAND...: verified I/O to the mounted file system goes on, and nothing disturbs it.
under_io() {
	mark
	start_io /mnt/busy
	io_goes_on 1 1
	"$@"
	io_goes_on 1 1
	io_was_good
	undisturbed
}

# Nobody asks this host to look again: the target tells it.
added() {
	no_disk 3
	ask target reload added
	within 10 disk 3
	list_is '[1,2,3]'
	mkdir -p /tmp/third
	file_system "$(disk 3)" /tmp/third 1
}

removed() {
	disk 2
	ask target reload removed
	within 10 no_disk 2
	list_is '[1,3]'
}

# More is written than there was room for.
grown() {
	ask target reload grown
	# FreeBSD BUG: the kernel tells NVMe hosts nothing of a new size; they must look by themselves.
	[ "$TARGET" != nvmfd-kernel ] || nvme ns-rescan "$(device)"
	within 10 size_is "$(disk 1)" 48
	resize2fs "$(disk 1)"
	dd if=/dev/zero of=/mnt/room bs=1M count=26 conv=fsync
	dd if=/dev/urandom of=/mnt/more bs=1M count=1 conv=fsync
	(cd /mnt && sha256sum more) >>/tmp/kept
}

still_there() {
	umount /mnt
	echo 3 >/proc/sys/vm/drop_caches
	mount -t ext4 "$(disk 1)" /mnt
	(cd /mnt && sha256sum -c) </tmp/kept
	umount /mnt
}

# Linux: since 6.9 a host that was refused for good does not try again.
revoked() {
	mark
	ask target reload revoked
	within 20 kernel_said "Connect for subsystem $NQN is not allowed, hostnqn"
	ask target reload two
	case $(uname -r) in
	6.1.*) within 30 live ;;
	*)
		within 20 gone
		connect
		;;
	esac
	within 10 disk 2
	verify_io "$(disk 2)" 4k 1m
	disconnect
}

# in_kernel VERB: what becomes of the daemon is no matter to who is connected, and the next host is
# served.
in_kernel() {
	connect
	mark
	start_io "$(disk 2)"
	io_goes_on 1
	ask target "$1"
	[ "$1" != leave ] || refused 'refused' fabrics discover "$DISCOVERY_PORT"
	io_goes_on 2
	[ "$1" != leave ] || ask target start
	within 10 discovered "$DISCOVERY_PORT"
	io_goes_on 1
	io_was_good
	undisturbed
	disconnect
}

# One kernel is enough for what takes long, unless everything is asked for.
long_way() {
	case $(uname -r) in
	6.1.*) [ "$LEVEL" = full ] ;;
	esac
}

reload_steps() {
	step "served from a file: connect, mkfs, mount" served_by_file
	step "a reload adds a namespace under verified I/O: it is there, formatted, mounted" \
		under_io added
	step "a reload removes another: its device goes" under_io removed
	long_way && step "a reload grows the mounted namespace: resize2fs, more is written" under_io grown
	step "what was written is there after a remount" still_there
	step "a host off the list is sent away and refused, and comes back when it may" revoked
	case $TARGET in
	nvmfd)
		long_way &&
			step "worker killed under verified I/O, and back by itself" restarted kill-worker
		;;
	nvmfd-kernel)
		step "worker killed under verified I/O: it goes on" in_kernel kill-worker
		step "upgrade under verified I/O: it goes on, and the next daemon adopts" in_kernel leave
		;;
	esac
	[ "$LEVEL" = full ] || return 0
	[ "$TARGET" = nvmfd-kernel ] || step "upgrade under verified I/O" restarted leave
}
