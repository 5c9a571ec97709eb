#!/bin/sh
# Everything that can be tested on this machine, step by step, with a table at the
# end that says of each step PASSED, FAILED or NOT RUN and why. What `make test` and
# CI run. A step that could not be run is a loud warning, and with CI=true a failure.
#
# usage: test.sh [STEP...]        (or NVMFD_TEST_ONLY="STEP..." in the environment)
#   bootstrap   install what is missing from the system's packages
#   fmt         cargo fmt --check
#   clippy      the lints, warnings as errors
#   rules       the rules no compiler knows (house-rules.sh)
#   audit       licences and sources of all that we depend on (audit.sh)
#   unit        the tests inside the crates
#   outside     the tests package: the program seen from outside, on loopback
#   doc         the API documentation, warnings as errors
#   fuzz        what reads bytes of others, fed with any bytes for 30 s each (fuzz.sh)
#   freebsd     check and link for FreeBSD (freebsd-check.sh; not on FreeBSD)
#   soak        20 hosts for five minutes, nothing lost and nothing leaked (Linux; tests/soak)
#   linux-host  real Linux hosts, in virtual machines, against the daemon (Debian only)
#   freebsd-vm  the scripts of the FreeBSD machine, with a stub in the hypervisor's place; and the
#               machine itself if NVMFD_FREEBSD_IMAGE names an image (see tests/vm/freebsd/run.sh)
# Without STEP all of them. Steps that are selected do not need the others. When all are run, what later
# steps build is built beside the earlier ones (ahead.sh), and the soak, which mostly waits, runs beside
# those from doc on; its output comes when it is its turn.

set -eu
. "$(dirname "$0")/env.sh"

steps='bootstrap fmt clippy rules audit unit outside doc fuzz freebsd soak linux-host freebsd-vm'
selected=${*:-${NVMFD_TEST_ONLY:-$steps}}

case " $selected " in
*" -h "* | *" --help "*)
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac
for step in $selected; do
	case " $steps " in
	*" $step "*) ;;
	*)
		say "unknown step '$step'; steps are: $steps"
		exit 64
		;;
	esac
done

# A clean checkout is compiled once: what makes the second time quick makes the first one slow.
if [ "${CI:-}" = true ]; then
	export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only
fi

# The test targets that tests/Cargo.toml names, but for those with a step of their own.
outside_targets() {
	awk '
		/^\[/ { in_test = /^\[\[test\]\]/ }
		in_test && /^name *=/ { gsub(/^[^"]*"|"[^"]*$/, ""); if ($0 !~ /^(linux_host|soak)$/) print "--test " $0 }
	' tests/Cargo.toml
}

run() {
	case $1 in
	bootstrap) sh scripts/bootstrap.sh test ;;
	rules) sh scripts/house-rules.sh ;;
	audit) sh scripts/audit.sh ;;
	freebsd-vm) ;;
	*) have cargo || not_run "cargo is not installed" ;;
	esac
	# nvmf-sys-bindgen is always apart: beside it the libraries of macros have other features, and
	# everything would be built twice.
	case $1 in
	fmt)
		cargo fmt --all --check
		cargo fmt --manifest-path fuzz/Cargo.toml --check
		;;
	clippy)
		# As it is shipped, and with the fake kernel that tests bring in.
		cargo clippy --package nvmf-kmod --package nvmfd --locked -- -D warnings
		cargo clippy --workspace --exclude nvmf-sys-bindgen --all-targets --locked -- -D warnings
		cargo clippy --package nvmf-sys-bindgen --all-targets --locked -- -D warnings
		;;
	unit)
		disks=
		if [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] && [ -e /dev/loop-control ]; then
			disks=--include-ignored
		else
			say "NOT RUN: the tests of real disks, which need Linux, root and loop devices"
		fi
		# shellcheck disable=SC2086 # nothing, or a word
		cargo test --workspace --exclude nvmfd-tests --exclude nvmf-sys-bindgen \
			--features nvmf-kmod/fake,nvmfd/fake --locked --no-fail-fast -- $disks
		cargo test --package nvmf-sys-bindgen --locked
		;;
	outside)
		background=
		if [ "$(id -u)" = 0 ]; then
			background=--include-ignored
		else
			say "NOT RUN: the test of the daemon in the background, which needs root"
			say "NOT RUN: the tests of full file systems and failing disks, which need Linux and root"
		fi
		if [ "$background" ] && { [ "$(uname -s)" != Linux ] || [ ! -e /dev/loop-control ]; }; then
			say "NOT RUN: the tests of full file systems and failing disks, which need Linux and loop devices"
			background="$background --skip disks:: --skip a_full_file_system"
		fi
		[ -e /proc/self/status ] ||
			say "NOT RUN: counting what the daemon holds after each attack, which needs Linux's /proc"
		have bmake || [ "$(uname -s)" = FreeBSD ] || say "NOT RUN: make install with BSD make (bmake)"
		have gmake || [ "$(uname -s)" != FreeBSD ] || say "NOT RUN: make install with GNU make (gmake)"
		have jq || say "NOT RUN: the example of nvmfctl(8) that needs jq"
		have faketime || say "NOT RUN: a time of day that jumps (libfaketime, Debian's faketime)"
		have systemd-analyze || say "NOT RUN: systemd's own judgement of the unit (systemd-analyze)"
		# shellcheck disable=SC2046,SC2086 # a list of words; nothing, or a word
		cargo test --package nvmfd-tests --locked --no-fail-fast --lib $(outside_targets) -- $background
		;;
	doc)
		export RUSTDOCFLAGS='-D warnings'
		cargo doc --workspace --exclude nvmf-sys-bindgen --no-deps --locked
		cargo doc --package nvmf-sys-bindgen --no-deps --locked
		;;
	fuzz) sh scripts/fuzz.sh ;;
	freebsd) sh scripts/freebsd-check.sh ;;
	soak)
		[ -e /proc/self/status ] || not_run "what the daemon holds is read from Linux's /proc"
		cargo test --package nvmfd-tests --locked --test soak -- --seconds 300 --rate 1000
		;;
	linux-host)
		[ "$(uname -s)" = Linux ] || not_run "the virtual machines need Linux and Debian's packages"
		# Without --no-fail-fast cargo passes the test's own exit status on, 75 too.
		cargo test --package nvmfd-tests --locked --test linux_host
		;;
	freebsd-vm)
		sh tests/vm/freebsd/test.sh
		if [ -n "${NVMFD_FREEBSD_IMAGE:-}" ]; then
			sh tests/vm/freebsd/run.sh
		else
			say "NOT RUN: the FreeBSD machine itself, which needs an image (NVMFD_FREEBSD_IMAGE; see CONTRIBUTING.md)"
		fi
		;;
	esac
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What runs beside this ends with it.
trap 'trap "" TERM; kill 0; exit 130' INT TERM

passed=0 failed=0 skipped=0
table=
began=$(date +%s)

# record STEP RESULT SECONDS [REASON]
record() {
	line=$(printf '  %-11s %-8s %4d s' "$1" "$2" "$3")
	table="$table$line${4:+  $4}
"
}

# perform STEP: runs it, and leaves its exit status and how long it took in $work.
perform() {
	start=$(date +%s)
	set +e
	(
		set -e
		export NVMFD_REASON="$work/$1.reason"
		run "$1"
	)
	echo "$? $(($(date +%s) - start))" >"$work/$1.end"
	set -e
}

# begin_beside STEP: begins it now; what it says is kept until it is its turn.
begin_beside() {
	perform "$1" >"$work/$1.log" 2>&1 &
	echo $! >"$work/$1.pid"
}

ahead=
for step in $selected; do
	printf '\n==> %s\n' "$step"
	case "$step $selected" in
	"fmt $steps")
		nice sh scripts/ahead.sh fuzz freebsd linux-host >"$work/ahead.log" 2>&1 &
		ahead=$!
		;;
	"doc $steps") begin_beside soak ;;
	"fuzz $steps")
		say "waiting for what is built ahead"
		wait "$ahead" || true
		sed 's/^/    /' "$work/ahead.log"
		;;
	esac
	if [ -e "$work/$step.pid" ]; then
		say "it began beside the steps above; waiting for its end"
		wait "$(cat "$work/$step.pid")" || true
		cat "$work/$step.log"
	else
		perform "$step"
	fi
	read -r status seconds <"$work/$step.end"
	case $status in
	0)
		passed=$((passed + 1))
		record "$step" PASSED "$seconds"
		;;
	75)
		skipped=$((skipped + 1))
		reason=$(tail -n 1 "$work/$step.reason" 2>/dev/null || true)
		record "$step" 'NOT RUN' "$seconds" "${reason:-see above}"
		;;
	*)
		failed=$((failed + 1))
		record "$step" FAILED "$seconds"
		;;
	esac
	printf '==> %s: exit status %d after %d s\n' "$step" "$status" "$seconds"
done

printf '\n==> summary, %d s\n%s' $(($(date +%s) - began)) "$table"
for step in $steps; do
	case " $selected " in
	*" $step "*) ;;
	*) printf '  %-11s not selected\n' "$step" ;;
	esac
done

result=0
[ "$failed" = 0 ] || result=1
if [ "$skipped" -gt 0 ]; then
	echo
	if [ "${CI:-}" = true ]; then
		echo "FAILED: CI must run every step, and $skipped could not be run (see the reasons above)."
		result=1
	else
		echo "WARNING: $skipped of the steps above were NOT RUN; this is no proof of what they test."
	fi
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
exit "$result"
