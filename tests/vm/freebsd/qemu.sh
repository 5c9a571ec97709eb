# shellcheck shell=sh disable=SC2154 # run.sh sets what is used here
# The machine under QEMU, on any host. Sourced by run.sh; bhyve.sh has the same functions.
#
# The guest's first serial port is standard input and output, and nothing else is a console: UEFI
# then tells FreeBSD's loader, and that the kernel, to use it. Disks are vtbd0, vtbd1, vtbd2.

# Ends with NOT RUN, and what to install, if there is no such machine here.
qemu_ready() {
	have qemu-system-x86_64 ||
		not_run "no QEMU: apt-get install qemu-system-x86 qemu-utils ovmf, or pkg install qemu edk2-qemu-x64"
	qemu_firmware ||
		not_run "no UEFI firmware for QEMU: apt-get install ovmf, or pkg install edk2-qemu-x64; or name it in NVMFD_UEFI"
}

# qemu_firmware: sets $firmware, and $variables to the template of its variables, if it is apart.
qemu_firmware() {
	for firmware in ${NVMFD_UEFI:-$qemu_firmwares}; do
		[ -r "$firmware" ] || continue
		case $firmware in
		*_CODE*.fd) variables=$(printf '%s' "$firmware" | sed 's/_CODE/_VARS/') ;;
		*) variables='' ;;
		esac
		[ -z "$variables" ] || [ -r "$variables" ] || variables=''
		return 0
	done
	return 1
}

# With KVM or not: TCG is ten times slower and always there.
qemu_accelerator() {
	if [ -n "${NVMFD_QEMU_ACCEL:-}" ]; then
		echo "$NVMFD_QEMU_ACCEL"
	elif [ -w /dev/kvm ]; then
		echo kvm
	else
		echo tcg,thread=multi
	fi
}

# qemu_boot: becomes the machine. No guest's word can make QEMU read a file: what is attached is named
# here, and the user-mode network reaches nothing but QEMU itself.
qemu_boot() {
	accelerator=$(qemu_accelerator)
	case $accelerator in
	kvm*) cpu=host ;;
	*) cpu=max ;;
	esac
	set -- -nodefaults -no-user-config -display none -no-reboot \
		-machine q35 -accel "$accelerator" -cpu "$cpu" -smp "$cpus" -m "$memory" \
		-drive "if=pflash,format=raw,readonly=on,file=$firmware"
	if [ -n "$variables" ]; then
		cp "$variables" "$work/variables.fd"
		set -- "$@" -drive "if=pflash,format=raw,file=$work/variables.fd"
	fi
	set -- "$@" \
		-drive "if=none,id=disk0,format=$format,file=$disk" -device virtio-blk-pci,drive=disk0,bootindex=0 \
		-drive "if=none,id=disk1,format=raw,file=$work/in.img" -device virtio-blk-pci,drive=disk1 \
		-drive "if=none,id=disk2,format=raw,file=$work/out.img" -device virtio-blk-pci,drive=disk2 \
		-device virtio-rng-pci \
		-chardev stdio,id=console,signal=off -serial chardev:console
	case $network in
	none) ;;
	user) set -- "$@" -netdev user,id=net0,restrict=on -device virtio-net-pci,netdev=net0,romfile= ;;
	*)
		set -- "$@" -netdev "tap,id=net0,ifname=$network,script=no,downscript=no" \
			-device virtio-net-pci,netdev=net0,romfile=
		;;
	esac
	exec qemu-system-x86_64 "$@"
}

# Nothing outlives the process.
qemu_clean() { :; }

# qemu_said STATUS: what the machine's end means.
qemu_said() {
	case $1 in
	0) echo "the guest went down or rebooted" ;;
	*) echo "QEMU ended with status $1" ;;
	esac
}

# Debian, Fedora, Arch, FreeBSD, Homebrew; the larger flash first.
qemu_firmwares='/usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd
	/usr/share/edk2/ovmf/OVMF_CODE.fd /usr/share/edk2/x64/OVMF_CODE.4m.fd
	/usr/local/share/edk2-qemu/QEMU_UEFI_CODE-x86_64.fd /usr/share/qemu/edk2-x86_64-code.fd
	/usr/local/share/qemu/edk2-x86_64-code.fd /opt/homebrew/share/qemu/edk2-x86_64-code.fd'
