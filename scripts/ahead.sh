#!/bin/sh
# Builds what later steps of test.sh need while earlier ones leave a core or the network
# idle: downloads first, then compilers. It proves nothing and need not succeed: each step
# does for itself whatever is not there, and says then what is wrong.
#
# usage: ahead.sh STEP...      (fuzz, freebsd, linux-host)

set -eu
. "$(dirname "$0")/env.sh"

# ahead WORDS...: says how long it took, and goes on in any case.
ahead() {
	start=$(date +%s)
	result=ready
	"$@" >/dev/null 2>&1 || result='not ready'
	say "$result after $(($(date +%s) - start)) s: $*"
}

# Other systems have none of these steps but fuzz.
[ "$(uname -s)" = Linux ] || set -- fuzz
target=${CARGO_TARGET_DIR:-target}
for step in "$@"; do
	case $step in
	fuzz) ;;
	freebsd) ahead sh scripts/freebsd-check.sh --prepare ;;
	linux-host)
		mkdir -p "$target/vm"
		for image in 6.1 6.12; do
			ahead sh tests/vm/image.sh "$image" "$target/vm"
		done
		;;
	*)
		say "unknown step '$step'; steps are: fuzz freebsd linux-host"
		exit 64
		;;
	esac
done
for step in "$@"; do
	case $step in
	fuzz) ahead sh scripts/fuzz.sh --build ;;
	linux-host)
		ahead cargo build --release --locked --package nvmfd --bin nvmfd
		ahead cargo build --release --locked --package nvmfd-tests --bin nvmfd-fake --bin fake-kernel
		;;
	esac
done
