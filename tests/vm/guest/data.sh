# Sourced by the exercise: digests, reads and writes, a file system, the other NVM commands.
# shellcheck shell=sh

# digest_io OPTION...: four I/O queues (this guest has two CPUs: two for reads, two for writes).
# A target that did not agree to a digest would be refused by the host.
digest_io() {
	mark
	connect -i 4 -W 2 "$@"
	kernel_said 'creating 4 I/O queues'
	verify_io "$(disk 1)" 4k "$small"
	verify_io "$(disk 2)" 128k "$large"
	disconnect
}

digest_steps() {
	small=2m large=8m
	[ "$LEVEL" = essential ] || small=16m large=64m
	step "4 queues, no digest: verified I/O" digest_io
	step "4 queues, header digest: verified I/O" digest_io -g
	step "4 queues, data digest: verified I/O" digest_io -G
	step "4 queues, both digests: verified I/O" digest_io -g -G
	[ "$LEVEL" = full ] || return 0
	step "read, write and poll queues" more_queues
	step "shortest queues" short_queues
	step "SQ flow control off" no_flow_control
}

more_queues() {
	mark
	connect -i 2 -W 2 -P 2 -g -G
	kernel_said 'creating 6 I/O queues'
	verify_io "$(disk 1)" 4k 4m
	disconnect
}

short_queues() {
	connect -Q 16 -i 1
	verify_io "$(disk 1)" 4k 4m --iodepth=64
	verify_io "$(disk 2)" 1m 16m --iodepth=64
	disconnect
}

no_flow_control() {
	connect --disable-sqflow -G
	verify_io "$(disk 1)" 4k 4m
	verify_io "$(disk 2)" 128k 16m
	disconnect
}

block_sizes() {
	for bs in 512 8k 12k 256k 1m; do
		# A namespace of 4 KiB blocks cannot be written in halves.
		[ "$bs" != 512 ] || [ "$(nlb "$(disk 2)" 4096)" -gt 0 ] || continue
		verify_io "$(disk 2)" "$bs" 8m
	done
}

mixed_load() {
	quiet_fio --name=mixed --filename="$(disk 1)" --iodepth=32 --numjobs=2 --rw=randrw \
		--bsrange=4k-128k --size=48m --time_based --runtime=10
}

# file_system DISK DIRECTORY MEBIBYTES
file_system() {
	mke2fs -q -F -t ext4 "$1"
	mount -t ext4 "$1" "$2"
	dd if=/dev/urandom of="$2/data" bs=1M count="$3"
	(cd "$2" && sha256sum data) >/tmp/sum
	umount "$2"
	echo 3 >/proc/sys/vm/drop_caches
	mount -t ext4 "$1" "$2"
	(cd "$2" && sha256sum -c) </tmp/sum
	umount "$2"
}

# 4 KiB of a pattern at the start of the first namespace, for the commands below.
pattern() {
	yes "${1:-nvmfd}" | head -c 4096 >/tmp/pattern
	nvme write "$(disk 1)" -s 0 -c "$(nlb "$(disk 1)" 4096)" -z 4096 -d /tmp/pattern
}

# starts_with FILE [BLOCK]: the first namespace has its 4 KiB there.
starts_with() {
	rm -f /tmp/read
	nvme read "$(disk 1)" -s "${2:-0}" -c "$(nlb "$(disk 1)" 4096)" -z 4096 -d /tmp/read
	cmp "$1" /tmp/read
}

write_read() {
	pattern
	starts_with /tmp/pattern
}

compare() {
	oncs 0 Compare
	pattern
	nvme compare "$(disk 1)" -s 0 -c "$(nlb "$(disk 1)" 4096)" -z 4096 -d /tmp/pattern
}

compare_differs() {
	oncs 0 Compare
	pattern
	yes other | head -c 4096 >/tmp/other
	refused 'compare.*fail' \
		nvme compare "$(disk 1)" -s 0 -c "$(nlb "$(disk 1)" 4096)" -z 4096 -d /tmp/other
}

write_zeroes() {
	oncs 3 "Write Zeroes"
	pattern
	nvme write-zeroes "$(disk 1)" -s 0 -c "$(nlb "$(disk 1)" 4096)"
	starts_with /tmp/zeroes
}

dsm() {
	oncs 2 "Dataset Management"
	pattern
	nvme dsm "$(disk 1)" -d -s 0 -b $(($(nlb "$(disk 1)" 4096) + 1))
}

# On the file: what was discarded reads zero where the namespace says so (DLFEAT).
discard() {
	oncs 2 "Dataset Management"
	dd if=/dev/urandom of="$(disk 2)" bs=64k count=16 conv=fsync
	blkdiscard -o 0 -l $((1 << 20)) "$(disk 2)"
	[ $(($(nvme id-ns "$(disk 2)" -o json | jq .dlfeat) & 7)) -eq 1 ] ||
		not_offered "zeroes after deallocation"
	echo 3 >/proc/sys/vm/drop_caches
	cmp -n $((1 << 20)) "$(disk 2)" /dev/zero
}

zero_out() {
	dd if=/dev/urandom of="$(disk 2)" bs=64k count=16 conv=fsync
	blkdiscard -z -o 0 -l $((1 << 20)) "$(disk 2)"
	echo 3 >/proc/sys/vm/drop_caches
	cmp -n $((1 << 20)) "$(disk 2)" /dev/zero
}

verify_command() {
	oncs 7 Verify
	nvme verify "$(disk 1)" -s 0 -c "$(nlb "$(disk 1)" 4096)"
}

copy_command() {
	nvme copy --help 2>&1 | grep -q sdlba || skip "this nvme-cli has no copy"
	oncs 8 Copy
	pattern "copied"
	nvme copy "$(disk 1)" --sdlba=64 --slbs=0 --blocks="$(nlb "$(disk 1)" 4096)"
	starts_with /tmp/pattern 64
}

beyond_the_end() {
	[ "$TARGET" != nvmet ] || skip "the reference calls it an internal error"
	last=$(($(cat "/sys/block/$(basename "$(disk 1)")/size") * 512 / 4096))
	refused 'lba out of range' nvme read "$(disk 1)" \
		-s $((last * ($(nlb "$(disk 1)" 4096) + 1))) -c "$(nlb "$(disk 1)" 4096)" -z 4096 -d /tmp/read
}

data_steps() {
	head -c 4096 /dev/zero >/tmp/zeroes
	step "write and read" write_read
	step "flush" nvme flush "$(disk 2)"
	step "ext4: mkfs, write, remount, compare" file_system "$(disk 1)" /mnt 8
	step "compare, equal" compare
	step "compare, different" compare_differs
	step "write-zeroes" write_zeroes
	step "dsm" dsm
	step "blkdiscard, then zeroes" discard
	step "blkdiscard -z, then zeroes" zero_out
	step "verify" verify_command
	step "copy" copy_command
	step "a read beyond the end is refused" beyond_the_end
	[ "$LEVEL" = full ] || return 0
	step "verified I/O, 512 B to 1 MiB" block_sizes
	step "mixed reads and writes, 10 s" mixed_load
}
