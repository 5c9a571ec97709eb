#!/bin/sh
# Stands in for QEMU and bhyve in test.sh, by whatever name it is called: notes its command line, and
# plays a FreeBSD guest on standard input and output.
#
# $STUB_NOTES is a directory for notes; $STUB_PLAY says how the guest does, see `suite` below. What the
# guest gets on its second disk and leaves on its third is real.
# shellcheck disable=SC2317 # functions by name
set -eu

notes=${STUB_NOTES:?}
name=${0##*/}
printf '%s\n' "$@" >"$notes/$name"
echo $$ >"$notes/pid"

# disk /NAME: the file that was attached, in either hypervisor's words.
disk() {
	sed -n "s|.*[,=]\\([^,]*$1\\)\$|\\1|p" "$notes/$name"
}

line() {
	printf '%s\r\n' "$*"
}

# heard: the next line that was typed, without its return; echoed, until the guest is told not to.
echoing=yes
return=$(printf '\r')
heard() {
	typed=''
	while :; do
		octet=$(key)
		case $octet in
		'') exit 0 ;; # the keyboard is gone
		"$return") break ;;
		*) typed=$typed$octet ;;
		esac
	done
	[ "$echoing" = no ] || line "$typed"
}

key() {
	dd bs=1 count=1 2>/dev/null
}

forever() {
	while :; do sleep 1; done
}

kernel() {
	line '---<<BOOT>>---'
	line 'Copyright (c) 1992-2025 The FreeBSD Project.'
	line 'FreeBSD 15.0-RELEASE releng/15.0 GENERIC amd64'
}

boot() {
	case $STUB_PLAY in
	refuses)
		echo "$name: cannot set up guest memory" >&2
		exit 4
		;;
	silent) forever ;;
	no-menu) ;;
	*)
		# UEFI's console places each character on a screen, in colour, and has no lines.
		printf '\033[2J\033[=3h\033[10;44H/---- \033[1mWelcome to FreeBSD\033[0m ----'
		printf '\033[21;10HA\033[21;11Hu\033[21;12Htoboot in 10 seconds. [Space] to pause '
		[ "$(key)" = 3 ]
		printf '\033[22;1HExiting menu!\033[23;1HO\033[23;2HK\033[23;3H '
		echoing=no
		heard
		[ "$typed" = 'set boot_multicons="YES"' ]
		printf '\033[24;1HOK '
		heard
		[ "$typed" = 'set boot_serial="YES"' ]
		printf '\033[24;1HOK '
		heard
		echoing=yes
		[ "$typed" = boot ]
		;;
	esac
	kernel
	[ "$STUB_PLAY" != early-panic ] || panic
	line 'FreeBSD/amd64 (freebsd) (ttyu0)'
	line
	printf 'login: '
	heard
	[ "$typed" = root ]
	line 'Welcome to FreeBSD! This is release 15.0: see the man page of man(1).'
	printf 'root@freebsd:~ # '
	if [ "$STUB_PLAY" = noise ]; then
		line 'random: unblocking device.'
		heard
		printf 'root@freebsd:~ # '
	fi
}

panic() {
	line 'panic: nvmft_handoff_io_queue: no such controller'
	line 'cpuid = 1'
	line 'KDB: stack backtrace:'
	line 'db_trace_self_wrapper() at db_trace_self_wrapper+0x2b'
	forever
}

result() {
	line "$1"
	echo "$1" >>"$notes/guest/results"
}

# leave: the results' archive on the third disk, as the guest's own run.sh does.
leave() {
	(cd "$notes/guest" && tar -cf "$(disk /out.img)" .)
}

# suite: what running the tests looks like. Sets $suite_status.
suite() {
	mkdir -p "$notes/guest"
	echo 'cases 3' >"$notes/guest/results"
	result 'modules:loaded_on_demand  ->  passed  [1.250s]'
	[ "$STUB_PLAY" != noise ] || line 'nvme0: <nvmfd> association lost' 'nvmfd-vm-3-0'
	suite_status=0
	case $STUB_PLAY in
	fails)
		result 'handoff:io  ->  failed: /dev/nda0 gives back other data (4k)  [9.1s]'
		suite_status=1
		;;
	hangs) forever ;;
	panics) panic ;;
	reboots)
		while :; do
			kernel
			printf 'login: '
			sleep 1
		done
		;;
	quits) exit 3 ;;
	loses) ;;
	*) result 'handoff:io  ->  passed  [9.1s]' ;;
	esac
	result 'capsicum:it_blocks  ->  skipped: the worker is not in capability mode: no sandbox yet  [0.2s]'
	echo end >>"$notes/guest/results"
	[ "$STUB_PLAY" = forgets ] || leave
}

boot
while :; do
	heard
	case $typed in
	'exec env '*) printf '# ' ;;
	*'; echo nvmfd-"vm"-'*)
		command=${typed%%; echo nvmfd-*}
		marker=${typed#*; echo nvmfd-\"vm\"-}
		marker=${marker%-\$\?-}
		suite_status=0
		case $command in
		'stty -echo') echoing=no ;;
		*'tar -xof /dev/vtbd1')
			mkdir "$notes/payload"
			tar -xof "$(disk /in.img)" -C "$notes/payload"
			;;
		'sh /var/tmp/nvmfd/run.sh /dev/vtbd2') suite ;;
		*) suite_status=127 ;;
		esac
		line "nvmfd-vm-$marker-$suite_status-"
		printf '# '
		;;
	'shutdown -p now')
		[ "$STUB_PLAY" != stays ] || forever
		case $name in
		bhyve) exit 1 ;;
		*) exit 0 ;;
		esac
		;;
	esac
done
