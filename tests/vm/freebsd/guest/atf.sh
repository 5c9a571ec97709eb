#!/bin/sh
# The part of atf-sh(3) and kyua(1) that the tests use, for guests without them.
#
#   atf.sh PROGRAM -l               its cases, a line each
#   atf.sh PROGRAM CASE [RESULTS]   runs one, and prints a line as kyua does; what it wrote is kept
#                                   in RESULTS if it did not pass
#
# Each case has a process group and a directory of its own, and a deadline; its cleanup runs in any
# event. Status: 0 passed or skipped, 1 anything else.
# shellcheck disable=SC2317 # the program calls these functions
set -eu

program=${1:?usage: atf.sh PROGRAM -l | CASE [RESULTS]}

atf_test_case() {
	eval "has_cleanup_$1=${2:-}"
}
atf_add_test_case() { names="$names $1"; }
atf_set() {
	case $1 in
	timeout) timeout=$2 ;;
	esac
}

atf_end() {
	printf '%s\n' "$*" >"$verdict"
	case $1 in
	passed | skipped*) exit 0 ;;
	*) exit 1 ;;
	esac
}
atf_pass() { atf_end passed; }
atf_fail() { atf_end "failed: $*"; }
atf_skip() { atf_end "skipped: $*"; }
atf_require_prog() {
	command -v "$1" >/dev/null || atf_skip "The required program $1 could not be found in the PATH"
}

names='' timeout=300
verdict=${ATF_VERDICT:-/dev/null}
# shellcheck source=/dev/null
. "$program"
atf_init_test_cases

case $2 in
-l)
	for name in $names; do echo "$name"; done
	exit
	;;
esac
case ${ATF_PART:-} in
body)
	set +e
	"$2_body"
	status=$?
	# A body that returns has passed, if its last command has: as in atf-sh.
	[ "$status" = 0 ] || atf_fail "Test case body returned a non-ok exit code, but this is not allowed"
	atf_pass
	;;
cleanup)
	set +e
	"$2_cleanup"
	exit
	;;
esac

"$2_head"
printf '%s:%s  ->  ' "${program##*/}" "$2"
began=$(date +%s)
work=$(mktemp -d "${TMPDIR:-/tmp}/atf.XXXXXX")
mkdir "$work/here"
cd "$work/here"
status=0
# timeout(1) makes the process group, and ends all of it.
ATF_PART=body ATF_VERDICT=$work/verdict timeout -k 10 "$timeout" sh "$0" "$program" "$2" \
	</dev/null >"$work/output" 2>&1 || status=$?
if [ "$status" = 124 ] || [ "$status" = 137 ]; then
	echo "broken: Test case body timed out" >"$work/verdict"
elif [ ! -s "$work/verdict" ]; then
	echo "broken: Premature exit; test case exited with code $status" >"$work/verdict"
fi
if eval "[ -n \"\$has_cleanup_$2\" ]"; then
	ATF_PART=cleanup timeout -k 10 "$timeout" sh "$0" "$program" "$2" </dev/null >>"$work/output" 2>&1 || true
fi
result=$(head -n 1 "$work/verdict")
printf '%s  [%s.0s]\n' "$result" $(($(date +%s) - began))
case $result in
passed | skipped*) status=0 ;;
*)
	status=1
	[ -z "${3:-}" ] || cp "$work/output" "$3/${program##*/}.$2.output"
	;;
esac
cd /
rm -rf "$work"
exit "$status"
