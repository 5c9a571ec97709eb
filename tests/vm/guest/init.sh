#!/usr/bin/busybox sh
# shellcheck shell=dash
#
# First process of the guest: brings it up, runs the job on the second serial port, ends QEMU.

/usr/bin/busybox --install -s /usr/bin 2>/dev/null
export PATH=/usr/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
ln -s /proc/self/fd /dev/fd
dmesg -n 7

for module in virtio_pci virtio_net crc32c_generic nvme_tcp; do
	/usr/sbin/modprobe "$module"
done
# Addresses of slirp's network.
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

stty -F /dev/ttyS1 raw -echo
. /job/settings
sh "/job/${SCRIPT:?}" <>/dev/ttyS1 >&0 2>&1
status=$?

# One byte to isa-debug-exit's port ends QEMU with this status.
# shellcheck disable=SC2059 # the format is the byte
printf "\\$(printf %o "$status")" | dd of=/dev/port bs=1 seek=244 2>/dev/null
poweroff -f
