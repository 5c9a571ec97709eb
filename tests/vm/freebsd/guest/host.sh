# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# The guest as a host: its own kernel's nvmf(4), by nvmecontrol(8), on its disks nda0, nda1...
# The machine's own disks are virtio's, so that every nda is one of these.

needs_host() {
	needs_kernel_mode
	command -v nvmecontrol >/dev/null || atf_skip "there is no nvmecontrol"
	kldstat -q -m nvmf || kldload nvmf || atf_skip "this kernel has no nvmf(4)"
	# FreeBSD has the transport in one module for both sides.
	kldstat -q -n nvmf_tcp.ko || kldload nvmf_tcp || atf_skip "this kernel has no nvmf_tcp"
}

# connect [OPTION...]: and its disk for namespace 1 is there.
connect() {
	must nvmecontrol connect "$@" "127.0.0.1:$port" "$nqn"
	comes 30 "the disk of namespace 1" disk 1
}

disconnect() {
	must nvmecontrol disconnect "$nqn"
	comes 30 "the disk's end" not disk 1
}

# disk NSID: CAM's lun is the namespace, in hexadecimal.
disk() {
	name=$(camcontrol devlist | sed -n "s/.* lun $(printf %x "$1") (.*\\(nda[0-9]*\\).*/\\1/p" | head -n 1)
	[ -n "$name" ] && [ -c "/dev/$name" ] && echo "/dev/$name"
}

# The controller's device, such as nvme0.
controller() {
	for device in /dev/nvme[0-9] /dev/nvme[0-9][0-9]; do
		[ -c "$device" ] && basename "$device" && return
	done
	return 1
}

# associations: what the kernel serves, a CNTLID a line.
associations() {
	ctladm nvlist -x | sed -n "s/.*<connection id=\"\\([0-9]*\\)\">.*<subnqn>$nqn<.*/\\1/p"
}

association_count() {
	[ "$(associations | wc -l)" -eq "$1" ]
}

pattern() {
	[ -s pattern ] || dd if=/dev/random of=pattern bs=1m count=16 2>/dev/null
}

digest_of() {
	sha256 -q "$1"
}

# written_and_read DISK: 16 MiB go there and come back the same, in large and small pieces.
written_and_read() {
	pattern
	for bs in 128k 4k; do
		must dd if=pattern of="$1" bs="$bs"
		must dd if="$1" of=back bs="$bs" count=$((16777216 / $(bytes "$bs")))
		[ "$(digest_of back)" = "$(digest_of pattern)" ] || atf_fail "$1 gives back other data ($bs)"
		dd if=/dev/zero of="$1" bs=128k count=128 2>/dev/null
	done
}

bytes() {
	echo $((${1%k} * 1024))
}

# io_begin DISK: writes and reads back, pass after pass, until io_ended. A line in io.passes a pass.
io_begin() {
	pattern
	rm -f io.stop io.passes io.wrong
	(
		while [ ! -e io.stop ]; do
			if ! io_pass "$1" 2>>io.errors; then
				echo wrong >>io.wrong
				break
			fi
			echo pass >>io.passes
		done
	) &
	io=$!
	comes 60 "the first pass of I/O" test -s io.passes
}

io_pass() {
	dd if=pattern of="$1" bs=64k && dd if="$1" of=io.back bs=64k count=256 &&
		[ "$(digest_of io.back)" = "$(digest_of pattern)" ]
}

# io_goes_on: two more passes end, so that at least one has begun after this.
io_goes_on() {
	passes=$(wc -l <io.passes)
	comes 120 "I/O that goes on" io_beyond $((passes + 1))
}

io_beyond() {
	[ -e io.wrong ] || [ "$(wc -l <io.passes)" -gt "$1" ]
}

# io_ended: and every pass was good.
io_ended() {
	touch io.stop
	wait "$io"
	[ ! -e io.wrong ] || atf_fail "I/O failed or gave other data: $(tail -n 2 io.errors | tr '\n' ' ')"
}
