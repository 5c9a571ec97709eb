#!/bin/sh
# Boots an image of image.sh under QEMU with one guest script, and becomes QEMU.
#
#   boot.sh IMAGE RUN SCRIPT [NAME=VALUE...]
#
# IMAGE is a directory made by image.sh, RUN one for this boot's files (kernel.log is left there),
# SCRIPT a file of guest/, the NAME=VALUEs its settings. The script talks on standard input and
# output. The status is 2·n+1 where n is the script's, and 0 if the guest went down by itself.
#
# Plain emulation and slirp: neither KVM nor a tap device can be counted on. hardened_usercopy
# stops 6.1 when the reference target in the guest receives from the host in the same guest.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

image=${1:?usage: boot.sh IMAGE RUN SCRIPT [NAME=VALUE...]}
run=${2:?}
script=${3:?}
shift 3
require_tools cpio qemu-system-x86_64

# The kernel unpacks concatenated archives in turn: the image stays as it is, the job is added.
rm -rf "$run/files"
mkdir -p "$run/files/job"
cp "$here"/guest/*.sh "$run/files/job/"
mv "$run/files/job/init.sh" "$run/files/init"
# Multicast does not pass slirp: what is found by it runs beside who looks for it.
case $image in
*-stas) cp "${NVMFD:?the daemon to be found}" "$run/files/job/nvmfd" ;;
esac
chmod 755 "$run/files/init"
for setting in "SCRIPT=$script" "$@"; do
	printf "export %s='%s'\n" "${setting%%=*}" "${setting#*=}"
done >"$run/files/job/settings"
{
	cat "$image/initramfs.cpio"
	cd "$run/files" && find . | cpio --quiet -o -H newc -R 0:0
} >"$run/initramfs.cpio"

exec qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
	-accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
	-kernel "$image/vmlinux" -initrd "$run/initramfs.cpio" \
	-append 'console=ttyS0 loglevel=4 oops=panic panic=-1 mitigations=off nowatchdog hardened_usercopy=off' \
	-serial "file:$run/kernel.log" \
	-chardev stdio,id=script,signal=off -serial chardev:script \
	-netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
	-device isa-debug-exit,iobase=0xf4,iosize=1
