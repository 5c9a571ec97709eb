# shellcheck shell=sh disable=SC2154 # run.sh sets what is used here
# The machine under bhyve, on a FreeBSD host. Sourced by run.sh; qemu.sh has the same functions.
#
# As there the first serial port is standard input and output, and disks are vtbd0, vtbd1, vtbd2.
# Not run so far: the command line and what happens around it are tested with a stub in its place.

# Ends with NOT RUN, and what to do, if there is no such machine here.
bhyve_ready() {
	have bhyve || not_run "no bhyve: it is FreeBSD's; elsewhere use --hypervisor qemu"
	[ "$(id -u)" = 0 ] || not_run "bhyve needs root"
	kldstat -q -m vmm || kldload vmm >&2 || not_run "no vmm: the processor or the loader's settings do not allow it"
	bhyve_firmware || not_run "no UEFI firmware for bhyve: pkg install edk2-bhyve; or name it in NVMFD_UEFI"
}

bhyve_firmware() {
	for firmware in ${NVMFD_UEFI:-/usr/local/share/uefi-firmware/BHYVE_UEFI.fd /usr/local/share/edk2-bhyve/BHYVE_UEFI_CODE.fd}; do
		[ -r "$firmware" ] && return
	done
	return 1
}

# bhyve_boot: becomes the machine. The built-in network (slirp) is a package of its own and of 14.1
# or later; the tests need none.
bhyve_boot() {
	set -- -A -H -P -c "$cpus" -m "$memory" -l "bootrom,$firmware" \
		-s 0,hostbridge -s "2,virtio-blk,$disk" -s "3,virtio-blk,$work/in.img" \
		-s "4,virtio-blk,$work/out.img" -s 5,virtio-rnd
	case $network in
	none) ;;
	user) set -- "$@" -s 6,virtio-net,slirp ;;
	*) set -- "$@" -s "6,virtio-net,$network" ;;
	esac
	exec bhyve "$@" -s 31,lpc -l com1,stdio "$vm"
}

# A machine outlives its process, in the kernel.
bhyve_clean() {
	bhyvectl --destroy "--vm=$vm" >/dev/null 2>&1 || true
}

# bhyve_said STATUS: what the machine's end means, as bhyve(8) has it.
bhyve_said() {
	case $1 in
	0) echo "the guest rebooted" ;;
	1) echo "the guest went down" ;;
	2) echo "the guest halted" ;;
	3) echo "the guest's processor gave up (triple fault)" ;;
	*) echo "bhyve ended with status $1" ;;
	esac
}
