#!/bin/sh
# Tests nvmfd on FreeBSD, in a virtual machine: what only FreeBSD's kernel can prove.
#
# usage: run.sh [OPTION...]       (or the variable in the environment)
#   --hypervisor bhyve|qemu|auto  NVMFD_FREEBSD_HYPERVISOR; auto: bhyve on FreeBSD, else QEMU
#   --image PATH|URL              NVMFD_FREEBSD_IMAGE: an official 15.x VM image (.raw, .qcow2, also
#                                 packed), or a ZFS volume below /dev/zvol
#   --checksum DIGITS             NVMFD_FREEBSD_CHECKSUM: its SHA256 or SHA512; else the
#                                 CHECKSUM.SHA512 or CHECKSUM.SHA256 beside it is asked
#   --nvmfd FILE                  NVMFD_FREEBSD_NVMFD: the daemon, built for FreeBSD
#   --nvmfctl FILE                NVMFD_FREEBSD_NVMFCTL: its control program
#   --tests DIRECTORY             NVMFD_FREEBSD_TESTS: Rust test programs, built for FreeBSD; these
#                                 three are by default what scripts/freebsd-check.sh has built, or
#                                 on FreeBSD what make build has
#   --rc FILE                     NVMFD_FREEBSD_RC: its rc.d script (default: the repository's)
#   --memory SIZE                 NVMFD_VM_MEMORY (2G)
#   --cpus NUMBER                 NVMFD_VM_CPUS (2)
#   --network none|user|TAP       NVMFD_VM_NETWORK (none): no test needs one
#   --timeout SECONDS             NVMFD_VM_TIMEOUT (5400): for all the tests together
#   --results DIRECTORY           NVMFD_VM_RESULTS (target/vm/freebsd/results): what is left behind
#   --only SUBJECT[:CASE]         one subject or case; may be given again
#   --keep                        keep the machine's disk, and say where
#   --list                        list the cases and end
#
# The image is cloned and never written to. The machine gets two more disks: one has a tar archive
# on it, with the daemon and the tests; on the other it leaves its results. So no network, no
# password and no file system of FreeBSD's is needed here. The console is only typed at.
#
# Exit status: 0 passed, 1 failed, 64 wrong command line, 75 not run, with the reason. A new case is
# a function in a file of guest/; a new hypervisor is a file like qemu.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
. "$here/exit.sh"
. "$here/image.sh"
. "$here/qemu.sh"
. "$here/bhyve.sh"
. "$here/console.sh"
. "$here/result.sh"

hypervisor=${NVMFD_FREEBSD_HYPERVISOR:-auto}
given=${NVMFD_FREEBSD_IMAGE:-}
given_checksum=${NVMFD_FREEBSD_CHECKSUM:-}
target=${CARGO_TARGET_DIR:-$top/target}
case $(uname -s) in
FreeBSD) built=$target/release ;;
*) built=$target/freebsd/x86_64-unknown-freebsd/debug ;;
esac
nvmfd=${NVMFD_FREEBSD_NVMFD:-$built/nvmfd}
nvmfctl=${NVMFD_FREEBSD_NVMFCTL:-}
rc=${NVMFD_FREEBSD_RC:-$top/rc.d/nvmfd}
tests=${NVMFD_FREEBSD_TESTS:-$built/deps}
memory=${NVMFD_VM_MEMORY:-2G}
cpus=${NVMFD_VM_CPUS:-2}
network=${NVMFD_VM_NETWORK:-none}
timeout=${NVMFD_VM_TIMEOUT:-5400}
results=${NVMFD_VM_RESULTS:-$target/vm/freebsd/results}
only='' keep=no

while [ $# -gt 0 ]; do
	option=$1
	shift
	case $option in
	--keep) keep=yes ;;
	--list)
		subjects=$(sed -n "s/^subjects='\(.*\)'/\1/p" "$here/guest/run.sh")
		for subject in $subjects; do
			sed -n "s/^story \([a-z0-9_]*\) .*/$subject:\1/p" "$here/guest/$subject.sh"
		done
		exit
		;;
	-h | --help)
		sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
		exit
		;;
	--*)
		[ $# -gt 0 ] || usage_error "$option needs a value"
		case $option in
		--hypervisor) hypervisor=$1 ;;
		--image) given=$1 ;;
		--checksum) given_checksum=$1 ;;
		--nvmfd) nvmfd=$1 ;;
		--nvmfctl) nvmfctl=$1 ;;
		--rc) rc=$1 ;;
		--tests) tests=$1 ;;
		--memory) memory=$1 ;;
		--cpus) cpus=$1 ;;
		--network) network=$1 ;;
		--timeout) timeout=$1 ;;
		--results) results=$1 ;;
		--only) only="$only $1" ;;
		*) usage_error "unknown option $option" ;;
		esac
		shift
		;;
	*) usage_error "unknown argument $option" ;;
	esac
done

[ "$hypervisor" != auto ] || case $(uname -s) in
FreeBSD) hypervisor=bhyve ;;
*) hypervisor=qemu ;;
esac
case $hypervisor in
bhyve | qemu) ;;
*) usage_error "unknown hypervisor $hypervisor" ;;
esac
[ -n "$given" ] ||
	not_run "no FreeBSD image: name an official 15.x VM image with --image or NVMFD_FREEBSD_IMAGE"
[ -f "$nvmfd" ] || die "$nvmfd does not exist: scripts/freebsd-check.sh builds it, on FreeBSD make build"
[ -n "$nvmfctl" ] || nvmfctl=$(dirname "$nvmfd")/nvmfctl
"${hypervisor}_ready"

# Whatever ends this script: no machine, no clone and no directory stays, unless it was asked for.
# shellcheck disable=SC2317 # called by the trap
finish() {
	status=$?
	trap - EXIT INT TERM
	set +e
	console_end 0
	"${hypervisor}_clean"
	if [ "$keep" = yes ]; then
		say "kept: $disk and the rest of $work"
	else
		image_discard
		rm -rf "$work"
	fi
	exit "$status"
}

mkdir -p "$results"
results=$(cd "$results" && pwd)
transcript=$results/console.log
rm -rf "${results:?}"/*
vm=nvmfd-vm-$$ disk='' machine=''
work=$(mktemp -d "${TMPDIR:-/tmp}/nvmfd-vm.XXXXXX")
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# pack: the disk that the guest gets its files from, and the one for its results.
pack() {
	payload=$work/payload
	mkdir -p "$payload/bin" "$payload/rust"
	cp "$here"/guest/*.sh "$payload/"
	cp -R "$top/sys" "$payload/sys"
	cp "$nvmfd" "$payload/bin/nvmfd"
	[ ! -f "$nvmfctl" ] || cp "$nvmfctl" "$payload/bin/nvmfctl"
	# What a worker must not be able to do, it tries: see guest/capsicum.sh.
	fake=$(dirname "$nvmfd")/nvmfd-fake
	[ ! -f "$fake" ] || cp "$fake" "$payload/bin/nvmfd-fake"
	chmod 755 "$payload/bin/"*
	[ ! -f "$rc" ] || cp "$rc" "$payload/rc"
	# Without what debuggers need, which is nearly all of them.
	for program in "$tests"/headers-* "$tests"/nvmf_proto-* "$tests"/nvmf_kmod-* "$tests"/nvmfd-* "$tests"/nvmfctl-*; do
		# Not the lists of dependencies beside them.
		[ -x "$program" ] || continue
		strip -o "$payload/rust/${program##*/}" "$program" 2>/dev/null || cp "$program" "$payload/rust/"
	done
	printf "only='%s'\n" "$only" >"$payload/settings"
	(cd "$payload" && tar --format=ustar -cf "$work/in.img" .)
	# Disks come in sectors, and bhyve wants no odd sizes.
	truncate -s $((($(wc -c <"$work/in.img") / 1048576 + 1) * 1048576)) "$work/in.img"
	truncate -s 64m "$work/out.img"
}

# unpack: what the guest left on the results' disk, if it came that far.
unpack() {
	mkdir -p "$results/guest"
	(cd "$results/guest" && tar -xof "$work/out.img" 2>/dev/null) || true
}

# failed WHY: with what the console said last.
failed() {
	say "FAILED: $*"
	say "the console's last lines, of $transcript:"
	tail -n 40 "$transcript" | tr -d '\r' | sed 's/^/    /' >&2
	[ ! -s "$work/hypervisor.log" ] || sed 's/^/    hypervisor: /' "$work/hypervisor.log" >&2
	exit 1
}

image_obtain "$given" "$given_checksum" "$target/vm/freebsd/images"
image_clone "$image" "$work" "$hypervisor"
pack
say "$hypervisor boots $image ($cloned)"
"${hypervisor}_clean"
console_start "${hypervisor}_boot"
console_login "${NVMFD_VM_BOOT_TIMEOUT:-600}" || failed "no login: $why"
say "logged in; the tests take some minutes ($transcript)"
guest=/var/tmp/nvmfd
console_run 600 "mkdir -p $guest && cd $guest && tar -xof /dev/vtbd1" || failed "no files: $why"
if ! console_run "$timeout" "sh $guest/run.sh /dev/vtbd2"; then
	case $why in
	status*) ;; # the tests' own: their results say more
	*)
		console_end 0
		unpack
		where=$(result_where "$transcript")
		failed "$why${where:+; the last case with a result was $where}"
		;;
	esac
fi
console_type 'shutdown -p now'
console_end "${NVMFD_VM_STOP_TIMEOUT:-120}"
unpack
[ -f "$results/guest/results" ] || failed "the guest left no results on its disk"
status=0
result_judge "$results/guest/results" || status=$?
[ "$status" != 75 ] || not_run "every case was skipped, see above"
exit "$status"
