#!/bin/sh
# Fuzzes what reads bytes of others, with libFuzzer by cargo-fuzz: each target for a
# while, as many at a time as there are processor cores. What breaks a target ends up in
# fuzz/artifacts/TARGET and the exit status is 1; what reaches new code is kept in
# target/fuzz-corpus/TARGET, from which a later run goes on. fuzz/corpus has seeds,
# fuzz/dictionaries words; both are only read.
#
# usage: fuzz.sh [--seconds N | --build] [TARGET...]
#   --seconds N  so long for each target (30)
#   --build      builds them, and runs none
#   TARGET       else all of them: the files of fuzz/targets

set -eu
. "$(dirname "$0")/env.sh"

seconds=30
build_only=no
case ${1:-} in
-h | --help)
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
--seconds)
	seconds=${2:?"--seconds needs a number"}
	shift 2
	;;
--build)
	build_only=yes
	shift
	;;
esac
all=$(for target in fuzz/targets/*.rs; do basename "$target" .rs; done)
targets=${*:-$all}
for target in $targets; do
	case " $(echo "$all" | tr '\n' ' ') " in
	*" $target "*) ;;
	*)
		say "unknown target '$target'; targets are:" "$(echo "$all" | tr '\n' ' ')"
		exit 64
		;;
	esac
done

have cargo || not_run "cargo is not installed"
if ! have cargo-fuzz; then
	found=$(sh scripts/wheel.sh cargo-fuzz) || exit
	PATH=$found:$PATH
fi
if ! have c++ && ! have g++ && ! have clang++; then
	not_run "libFuzzer is C++ and needs a compiler for it"
fi

# Nothing here has unsafe code of its own to be caught by a sanitizer, and so stable Rust does.
say "building the targets"
cargo fuzz build --sanitizer none --fuzz-dir fuzz >&2
[ "$build_only" = no ] || exit 0
host=$(rustc -vV | sed -n 's/^host: //p')
programs=fuzz/target/$host/release

# fuzz_one TARGET: its last words, and whether it held.
fuzz_one() {
	corpus=target/fuzz-corpus/$1
	mkdir -p "$corpus" "fuzz/artifacts/$1"
	seeds=
	[ ! -d "fuzz/corpus/$1" ] || seeds=fuzz/corpus/$1
	words=
	[ ! -f "fuzz/dictionaries/$1.dict" ] || words=-dict=fuzz/dictionaries/$1.dict
	log=target/fuzz-corpus/$1.log
	# shellcheck disable=SC2086 # nothing, or a word
	if "$programs/$1" $words -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
		-print_final_stats=0 -artifact_prefix="fuzz/artifacts/$1/" "$corpus" $seeds >"$log" 2>&1; then
		printf '%-10s held: %s\n' "$1" "$(sed -n 's/^#\([0-9]*\).*DONE *\(.*\) exec.*/\1 runs,\2/p' "$log")"
		return 0
	fi
	grep -v '^#' "$log" | tail -40
	printf '%-10s FAILED: see fuzz/artifacts/%s and %s\n' "$1" "$1" "$log"
	return 1
}

at_once=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
failed=0
running=
for target in $targets; do
	fuzz_one "$target" &
	running="$running $!"
	# shellcheck disable=SC2086 # a list of words
	set -- $running
	if [ $# -ge "$at_once" ]; then
		wait "$1" || failed=1
		shift
		running=$*
	fi
done
for job in $running; do
	wait "$job" || failed=1
done
exit "$failed"
