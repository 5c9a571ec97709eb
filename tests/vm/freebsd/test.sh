#!/bin/sh
# Tests the scripts of this directory without FreeBSD: images obtained and cloned, command lines,
# the console, results, and what is left behind, with stub.sh in the hypervisor's place; and the
# guest's runner, with cases of its own. Needs no root, changes nothing outside a temporary directory.
#
# usage: test.sh [WORD]      only stories whose name has WORD in it
#
# A story is a function; its commands succeed, or the story fails. `vm` runs run.sh with the stub.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
only=${1:-}
base=$(mktemp -d "${TMPDIR:-/tmp}/nvmfd-vm-test.XXXXXX")
trap 'rm -rf "$base"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 missing=0

# Whatever is set for the real thing is not meant for these.
unset NVMFD_FREEBSD_IMAGE NVMFD_FREEBSD_CHECKSUM NVMFD_FREEBSD_NVMFD NVMFD_FREEBSD_NVMFCTL \
	NVMFD_FREEBSD_HYPERVISOR NVMFD_FREEBSD_TESTS NVMFD_VM_MEMORY NVMFD_VM_CPUS NVMFD_VM_NETWORK \
	NVMFD_REASON

# story NAME: the function of that name, in a directory of its own.
story() {
	case $1 in
	*"$only"*) ;;
	*) return 0 ;;
	esac
	t=$base/$1
	mkdir -p "$t/bin" "$t/notes" "$t/tmp" "$t/images"
	status=0
	(
		set -eux
		cd "$t"
		"$1"
	) >"$t/log" 2>&1 || status=$?
	case $status in
	0)
		passed=$((passed + 1))
		echo "ok      $1"
		;;
	77)
		missing=$((missing + 1))
		echo "NOT RUN $1: $(cat "$t/reason")"
		;;
	*)
		failed=$((failed + 1))
		echo "FAILED  $1"
		sed 's/^/    /' "$t/log" | tail -n 40
		;;
	esac
}

# not COMMAND...: as a command of its own, since `set -e` overlooks a `!`.
not() {
	! "$@"
}

# lacks WHAT: ends the story as one that cannot be told here.
lacks() {
	echo "$*" >reason
	exit 77
}

# digest BITS FILE
digest() {
	if command -v "sha$1sum" >/dev/null; then
		"sha$1sum" <"$2" | cut -d ' ' -f 1
	else
		"sha$1" -q "$2"
	fi
}

# Two megabytes that are no file system, and a daemon that is none.
given() {
	dd if=/dev/zero bs=1024 count=2048 2>/dev/null | tr '\000' F >images/freebsd.raw
	echo "the daemon" >nvmfd
	cp images/freebsd.raw original
	echo UEFI >UEFI_CODE.fd
	echo variables >UEFI_VARS.fd
}

# vm PLAY [OPTION...]: run.sh with a stub for each hypervisor; its status in $status, its words in said.
vm() {
	STUB_PLAY=$1
	shift
	for name in qemu-system-x86_64 bhyve; do
		ln -sf "$here/stub.sh" "bin/$name"
	done
	# shellcheck disable=SC2016 # another script's
	printf '#!/bin/sh\necho "$0" "$@" >>"%s/notes/others"\n' "$t" >bin/bhyvectl
	cp bin/bhyvectl bin/kldload
	cp bin/bhyvectl bin/kldstat
	printf '#!/bin/sh\necho 0\n' >bin/id
	chmod 755 bin/bhyvectl bin/kldload bin/kldstat bin/id
	rm -rf notes/guest notes/payload
	status=0
	STUB_PLAY=$STUB_PLAY STUB_NOTES=$t/notes TMPDIR=$t/tmp PATH=$t/bin:$PATH NVMFD_UEFI=$t/UEFI_CODE.fd \
		NVMFD_QEMU_ACCEL=tcg NVMFD_VM_POLL=0.1 NVMFD_VM_NUDGE=1 NVMFD_VM_BOOT_TIMEOUT=${patience:-20} \
		NVMFD_VM_STOP_TIMEOUT=${stopping:-20} NVMFD_VM_RESULTS=$t/results \
		sh "$here/run.sh" --hypervisor "${hypervisor:-qemu}" --image "$t/images/freebsd.raw" \
		--checksum "$(digest 256 images/freebsd.raw)" --nvmfd "$t/nvmfd" "$@" >said 2>&1 || status=$?
	cat said
}

# Nothing runs, nothing lies about, and the image is as it was.
nothing_is_left() {
	[ ! -s notes/pid ] || not kill -0 "$(cat notes/pid)" 2>/dev/null
	[ -z "$(ls -A tmp)" ]
	cmp images/freebsd.raw original
}

# command_line NAME EXPECTED: as the stub got it, with the run's directory and number taken out.
command_line() {
	sed -e 's|[^=,]*/nvmfd-vm\.[A-Za-z0-9]*/|WORK/|' -e "s|$t/|HERE/|" -e 's/nvmfd-vm-[0-9]*$/NAME/' "notes/$1" |
		tr '\n' ' ' | sed 's/ $//' >found
	printf '%s' "$2" | tr -s '\n\t ' '   ' >expected
	diff expected found
}

# ---- the image ----

checksum_that_differs_is_refused() {
	given
	vm good --checksum "$(printf '%064d' 7)"
	[ "$status" = 1 ]
	grep -q 'is not what it should be' said
	[ ! -e notes/pid ]
	nothing_is_left
}

checksum_of_another_length_is_refused() {
	given
	vm good --checksum 123
	[ "$status" = 1 ]
	grep -q '64 digits (SHA256) or 128 (SHA512), not 3' said
}

checksum_beside_the_image_is_found() {
	given
	echo "SHA512 (freebsd.raw) = $(digest 512 images/freebsd.raw)" >images/CHECKSUM.SHA512
	vm good --checksum ''
	[ "$status" = 0 ]
	echo "SHA512 (freebsd.raw) = $(printf '%0128d' 7)" >images/CHECKSUM.SHA512
	vm good --checksum ''
	[ "$status" = 1 ]
	grep -q 'is not what it should be' said
}

no_checksum_no_boot() {
	given
	vm good --checksum ''
	[ "$status" = 1 ]
	grep -q 'no checksum for freebsd.raw' said
	[ ! -e notes/pid ]
}

# A whole source tree of its own: what is unpacked is kept in the tree's target/.
packed_image_is_unpacked_once() {
	given
	command -v xz >/dev/null || lacks "xz is not installed"
	mkdir -p tree/tests/vm
	cp -R "$here" tree/tests/vm/freebsd
	mkdir tree/sys
	unset CARGO_TARGET_DIR
	here=$t/tree/tests/vm/freebsd
	xz -k images/freebsd.raw
	packed=$(digest 256 images/freebsd.raw.xz)
	vm good --image "$t/images/freebsd.raw.xz" --checksum "$packed"
	[ "$status" = 0 ]
	grep -q 'unpacking freebsd.raw.xz' said
	cmp tree/target/vm/freebsd/images/*-freebsd.raw original
	vm good --image "$t/images/freebsd.raw.xz" --checksum "$packed"
	[ "$status" = 0 ]
	not grep -q unpacking said
	# Half of an archive leaves no half of an image.
	dd if=images/freebsd.raw.xz of=images/half.raw.xz bs=100 count=1
	vm good --image "$t/images/half.raw.xz" --checksum "$(digest 256 images/half.raw.xz)"
	[ "$status" = 1 ]
	grep -q 'cannot be unpacked' said
	[ -z "$(find tree/target -name '*half*')" ]
}

image_that_is_missing_is_said() {
	given
	NVMFD_REASON=$t/reason-file vm good --image "$t/images/none.raw"
	[ "$status" = 75 ]
	grep -q 'NOT RUN: no image: .*/none.raw does not exist' said
}

no_image_is_not_run() {
	status=0
	NVMFD_REASON=$t/reason-file sh "$here/run.sh" >said 2>&1 || status=$?
	[ "$status" = 75 ]
	grep -q 'no FreeBSD image' reason-file
}

bhyve_takes_no_qcow2() {
	given
	printf 'QFI\373and more' >images/freebsd.raw
	cp images/freebsd.raw original
	hypervisor=bhyve
	vm good
	[ "$status" = 1 ]
	grep -q 'bhyve takes raw images only' said
	nothing_is_left
}

# What image_clone makes, by itself: with each way that it has.
clone_is_apart_from_its_image() {
	given
	. "$here/exit.sh"
	. "$here/image.sh"
	mkdir clone
	image_clone images/freebsd.raw clone bhyve
	[ "$format" = raw ]
	cmp "$disk" original
	echo written >"$disk"
	cmp images/freebsd.raw original
	chmod 444 images/freebsd.raw
	rm -rf clone && mkdir clone
	image_clone images/freebsd.raw clone bhyve
	[ -w "$disk" ]
}

zfs_volume_is_cloned_and_destroyed() {
	. "$here/exit.sh"
	. "$here/image.sh"
	zfs() { echo "zfs $*" >>notes/zfs; }
	# There is no such device here to wait for.
	within() { :; }
	image_clone /dev/zvol/tank/vm/freebsd clone bhyve
	[ "$disk" = "/dev/zvol/tank/vm/nvmfd-vm-$$" ]
	image_discard
	image_discard
	sed "s/$$/N/g" notes/zfs >found
	cat >expected <<-'END'
		zfs snapshot tank/vm/freebsd@nvmfd-vm-N
		zfs clone -o volmode=dev tank/vm/freebsd@nvmfd-vm-N tank/vm/nvmfd-vm-N
		zfs destroy tank/vm/nvmfd-vm-N
		zfs destroy tank/vm/freebsd@nvmfd-vm-N
	END
	diff expected found
}

# ---- command lines ----

qemu_command_line() {
	given
	vm good --memory 3G --cpus 4
	[ "$status" = 0 ]
	case $(ls notes/guest >/dev/null && tr '\n' ' ' <notes/qemu-system-x86_64) in
	*format=qcow2*) kind=qcow2 ;;
	*) kind=raw ;;
	esac
	command_line qemu-system-x86_64 "-nodefaults -no-user-config -display none -no-reboot -machine q35
		-accel tcg -cpu max -smp 4 -m 3G
		-drive if=pflash,format=raw,readonly=on,file=HERE/UEFI_CODE.fd
		-drive if=pflash,format=raw,file=WORK/variables.fd
		-drive if=none,id=disk0,format=$kind,file=WORK/disk.$kind -device virtio-blk-pci,drive=disk0,bootindex=0
		-drive if=none,id=disk1,format=raw,file=WORK/in.img -device virtio-blk-pci,drive=disk1
		-drive if=none,id=disk2,format=raw,file=WORK/out.img -device virtio-blk-pci,drive=disk2
		-device virtio-rng-pci -chardev stdio,id=console,signal=off -serial chardev:console"
}

qemu_networks() {
	given
	vm good --network user
	grep -qx 'user,id=net0,restrict=on' notes/qemu-system-x86_64
	vm good --network tap7
	grep -qx 'tap,id=net0,ifname=tap7,script=no,downscript=no' notes/qemu-system-x86_64
}

bhyve_command_line() {
	given
	hypervisor=bhyve
	vm good --network user
	[ "$status" = 0 ]
	command_line bhyve '-A -H -P -c 2 -m 2G -l bootrom,HERE/UEFI_CODE.fd -s 0,hostbridge
		-s 2,virtio-blk,WORK/disk.raw -s 3,virtio-blk,WORK/in.img -s 4,virtio-blk,WORK/out.img
		-s 5,virtio-rnd -s 6,virtio-net,slirp -s 31,lpc -l com1,stdio NAME'
	# What an earlier run may have left, and what this one has.
	[ "$(grep -c 'bhyvectl --destroy --vm=nvmfd-vm-[0-9]*$' notes/others)" = 2 ]
	grep -q 'kldstat -q -m vmm' notes/others
	nothing_is_left
}

no_firmware_is_not_run() {
	given
	rm UEFI_CODE.fd
	vm good
	[ "$status" = 75 ]
	grep -q 'no UEFI firmware for QEMU' said
}

wrong_command_lines_are_refused() {
	for words in '--colour green' '--image' 'green' '--hypervisor xen --image x'; do
		status=0
		# shellcheck disable=SC2086 # a list of words
		sh "$here/run.sh" $words >said 2>&1 || status=$?
		[ "$status" = 64 ]
	done
}

daemon_that_is_not_built_is_said() {
	given
	rm nvmfd
	vm good
	[ "$status" = 1 ]
	grep -q 'scripts/freebsd-check.sh builds it' said
}

# ---- the console ----

good_run_passes_and_says_what_was_skipped() {
	given
	mkdir deps
	for name in nvmfd-1a2b nvmf_proto-3c4d nvmf_kmod-5e6f headers-7a8b loopback-9c0d; do
		printf '#!/bin/sh\n' >"deps/$name"
		chmod 755 "deps/$name"
		echo dependencies >"deps/$name.d"
	done
	vm good --only handoff:io --only capsicum --tests "$t/deps"
	[ "$status" = 0 ]
	grep -qx '2 passed, 0 failed, 1 skipped' said
	grep -qx 'SKIPPED capsicum:it_blocks: the worker is not in capability mode: no sandbox yet' said
	cmp notes/payload/bin/nvmfd nvmfd
	[ -x notes/payload/bin/nvmfd ]
	[ -f notes/payload/sys/cam/ctl/ctl_ioctl.h ]
	ls notes/payload/rust >found
	printf '%s\n' headers-7a8b nvmf_kmod-5e6f nvmf_proto-3c4d nvmfd-1a2b | diff - found
	grep -q "only=' handoff:io capsicum'" notes/payload/settings
	[ -s results/guest/results ]
	[ -s results/console.log ]
	nothing_is_left
}

image_without_a_menu_is_logged_in_too() {
	given
	vm no-menu
	[ "$status" = 0 ]
}

kernel_messages_do_not_hide_the_prompt() {
	given
	vm noise
	[ "$status" = 0 ]
	grep -qx '2 passed, 0 failed, 1 skipped' said
}

case_that_fails_fails_the_run() {
	given
	vm fails
	[ "$status" = 1 ]
	grep -qx 'FAILED  handoff:io: /dev/nda0 gives back other data (4k)' said
	grep -qx '1 passed, 1 failed, 1 skipped' said
	nothing_is_left
}

case_without_a_result_fails_the_run() {
	given
	vm loses
	[ "$status" = 1 ]
	grep -qx 'FAILED  1 of 3 cases have no result' said
}

results_that_are_missing_fail_the_run() {
	given
	vm forgets
	[ "$status" = 1 ]
	grep -q 'left no results on its disk' said
}

guest_that_hangs_meets_its_deadline() {
	given
	vm hangs --timeout 5
	[ "$status" = 1 ]
	grep -q 'FAILED: no answer within 5 s .*the last case with a result was modules:loaded_on_demand' said
	nothing_is_left
}

guest_that_says_nothing_meets_its_deadline() {
	given
	patience=2
	vm silent
	[ "$status" = 1 ]
	grep -q 'FAILED: no login: no answer within 2 s' said
	nothing_is_left
}

panic_is_reported_with_its_backtrace() {
	given
	vm panics
	[ "$status" = 1 ]
	grep -q "FAILED: the guest's kernel panicked: panic: nvmft_handoff_io_queue" said
	grep -q 'db_trace_self_wrapper' said
	nothing_is_left
	vm early-panic
	[ "$status" = 1 ]
	grep -q "no login: the guest's kernel panicked" said
}

reboots_are_noticed() {
	given
	vm reboots
	[ "$status" = 1 ]
	grep -q 'FAILED: the guest rebooted' said
	nothing_is_left
}

machine_that_ends_early_is_noticed() {
	given
	vm quits
	[ "$status" = 1 ]
	grep -q 'FAILED: the virtual machine ended: QEMU ended with status 3' said
	hypervisor=bhyve
	vm quits
	grep -q "FAILED: the virtual machine ended: the guest's processor gave up (triple fault)" said
}

machine_that_does_not_start_says_why() {
	given
	vm refuses
	[ "$status" = 1 ]
	grep -q 'hypervisor: qemu-system-x86_64: cannot set up guest memory' said
	nothing_is_left
}

machine_that_does_not_go_down_is_ended() {
	given
	stopping=1
	vm stays
	[ "$status" = 0 ]
	nothing_is_left
}

signal_leaves_nothing_behind() {
	given
	: >notes/pid
	vm hangs >/dev/null 2>&1 &
	runner=$!
	. "$here/exit.sh"
	within 20 grep -qs loaded_on_demand results/console.log
	# The script itself, which is the child of the function's shell.
	kill -TERM "$(ps -o ppid= -p "$(cat notes/pid)" | tr -d ' ')"
	wait "$runner"
	nothing_is_left
}

disk_is_kept_if_that_was_asked_for() {
	given
	vm good --keep
	[ "$status" = 0 ]
	grep -q "kept: .*/disk\.[a-z0-9]* and the rest of $t/tmp/" said
	[ -e "$(sed -n 's/.*kept: \(.*\) and the rest of .*/\1/p' said)" ]
}

# ---- results ----

judged() {
	. "$here/result.sh"
	status=0
	result_judge results >said || status=$?
	cat said
}

results_are_judged() {
	printf 'cases 2\na:x  ->  passed  [0.001s]\na:y  ->  skipped: no: fio  [12ms]\nend\n' >results
	judged
	[ "$status" = 0 ]
	grep -qx 'SKIPPED a:y: no: fio' said
	printf 'cases 1\na:x  ->  broken: Test case body timed out  [300.1s]\nend\n' >results
	judged
	[ "$status" = 1 ]
	grep -qx 'FAILED  a:x: broken Test case body timed out' said
	printf 'cases 1\na:x  ->  expected_failure: known  [0.1s]\nend\n' >results
	judged
	[ "$status" = 1 ]
	printf 'cases 2\na:x  ->  passed  [0.1s]\na:x  ->  passed  [0.1s]\nend\n' >results
	judged
	[ "$status" = 1 ]
	grep -q 'a:x: reported twice' said
	printf 'cases 1\na:x  ->  skipped: no  [0.1s]\nend\n' >results
	judged
	[ "$status" = 75 ]
	printf 'cases 0\nend\n' >results
	judged
	[ "$status" = 75 ]
	printf 'cases 1\na:x  ->  passed  [0.1s]\n' >results
	judged
	[ "$status" = 1 ]
	printf 'a:x  ->  passed  [0.1s]\nend\n' >results
	judged
	[ "$status" = 1 ]
}

# ---- the guest's side ----

# guest_suite: the guest's runner with five cases, one of each ending.
guest_suite() {
	mkdir suite
	cp "$here/guest/run.sh" "$here/guest/atf.sh" "$here/guest/daemon.sh" suite/
	: >suite/host.sh
	: >suite/peer.sh
	cat >suite/endings.sh <<-'END'
		story passes "a case that passes"
		passes_body() { echo fine; holds "true" true; }
		story fails "a case that fails"
		fails_body() { holds "that one is two" test 1 = 2; }
		story skips "a case that is skipped"
		skips_body() { atf_skip "there is no fio: pkg install fio"; }
		story breaks "a case that ends without a word"
		breaks_body() { echo last words; exit 3; }
		story hangs "a case that never ends" 1
		hangs_body() { sleep 60 & wait; }
		story refused "a command that is refused"
		refused_body() { refuses '3|4' 'no.way' sh -c 'echo no way; exit 3'; }
	END
	: >disk
	status=0
	NVMFD_RUNNER=$1 NVMFD_SUBJECTS=endings sh suite/run.sh "$t/disk" >said 2>&1 || status=$?
	cat said
	[ "$status" = 1 ]
	mkdir left
	tar -xof disk -C left
	[ "$(head -n 1 left/results)" = 'cases 6' ]
	[ "$(tail -n 1 left/results)" = end ]
	grep -q '^endings:passes  ->  passed  \[' left/results
	grep -q '^endings:fails  ->  failed: that one is two does not hold: test 1 = 2  \[' left/results
	grep -q '^endings:skips  ->  skipped: there is no fio: pkg install fio  \[' left/results
	grep -q '^endings:breaks  ->  [bf].*code 3' left/results
	grep -q '^endings:hangs  ->  broken: .*timed out' left/results
	grep -q '^endings:refused  ->  passed  \[' left/results
	. "$here/result.sh"
	result_judge left/results >judged || status=$?
	grep -qx '2 passed, 3 failed, 1 skipped' judged
}

own_runner_runs_the_cases() {
	guest_suite own
	grep -q 'last words' left/endings.breaks.output
}

kyua_runs_the_same_cases_alike() {
	command -v kyua >/dev/null || lacks "kyua is not installed"
	[ -x /usr/libexec/atf-sh ] || [ -x /usr/bin/atf-sh ] || lacks "atf-sh is not installed"
	guest_suite kyua
	grep -q '^kyua runs 6 cases' said
	grep -q '<testcase' left/junit.xml
}

single_cases_are_chosen() {
	mkdir suite
	cp "$here"/guest/*.sh suite/
	echo "only=' capsicum limits:map_size'" >suite/settings
	: >disk
	NVMFD_RUNNER=own sh suite/run.sh "$t/disk" >said 2>&1
	cat said
	grep -q '^cases 8$' suite/results/results
	[ "$(grep -c '^capsicum:.*  ->  ' suite/results/results)" = 7 ]
	grep -q '^limits:map_size  ->  ' suite/results/results
}

every_case_has_a_body_and_a_line_in_the_list() {
	sh "$here/run.sh" --list >list
	[ "$(wc -l <list)" -gt 40 ]
	[ "$(sort list | uniq -d | wc -l)" = 0 ]
	while IFS=: read -r subject name; do
		grep -q "^${name}_body() {" "$here/guest/$subject.sh"
	done <list
	# A body that no story names would never run.
	bodies=$(sed -n 's/^\([a-z0-9_]*\)_body() {.*/\1/p' "$here"/guest/*.sh)
	for body in $bodies; do
		grep -q ":$body$" list
	done
}

# The same file is one that tests/conf.rs has the daemon read.
configurations_are_what_the_daemon_reads() {
	# shellcheck disable=SC2317 # daemon.sh's
	atf_test_case() { :; }
	. "$here/guest/daemon.sh"
	config=$t/made.toml
	extra='hosts = ["nqn.2014-08.org.example:host1"]'
	configure kernel 1=/dev/zvol/tank/vol0 2=ram:64m 7=lun:3
	diff "$here/../../conf/good/freebsd-vm.toml" made.toml
}

# Expected bytes by hand, from NVMe/TCP §3.6.2.2 and the Connect command.
raw_connect_is_a_connect() {
	. "$here/guest/peer.sh"
	nqn=nqn.2014-08.org.example:vm
	connect_pdus 2 77 11111111111111111111111111111111 nqn.2014-08.org.example:host >request
	[ "$(wc -c <request | tr -d ' ')" = $((128 + 72 + 1024)) ]
	bytes_at 0 8 = '00 00 80 00 80 00 00 00'
	bytes_at 128 8 = '04 00 48 48 48 04 00 00'
	bytes_at 136 8 = '7f 40 01 00 01 00 00 00'
	bytes_at 160 16 = '00 00 00 00 00 00 00 00 00 04 00 00 00 00 00 01'
	bytes_at 176 12 = '00 00 02 00 1f 00 00 00 00 00 00 00'
	bytes_at 200 18 = '11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 4d 00'
	[ "$(dd if=request bs=1 skip=$((200 + 256)) count=26 2>/dev/null)" = "$nqn" ]
	[ "$(dd if=request bs=1 skip=$((200 + 512)) count=28 2>/dev/null)" = nqn.2014-08.org.example:host ]
}

# bytes_at OFFSET COUNT = HEX
bytes_at() {
	[ "$(od -An -v -tx1 -j "$1" -N "$2" request | tr -s '\n ' '  ' | sed 's/^ //; s/ $//')" = "$4" ]
}

names=$(sed -n 's/^\([a-z][a-z0-9_]*\)() {$/\1/p' "$0")
for name in $names; do
	case $name in
	story | not | lacks | digest | given | vm | nothing_is_left | command_line | judged | guest_suite | bytes_at) ;;
	*) story "$name" ;;
	esac
done
echo "$passed passed, $failed failed, $missing not run"
[ "$failed" = 0 ]
