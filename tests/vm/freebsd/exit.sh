# shellcheck shell=sh
# How the scripts of this directory end, and in what words. Sourced; $0 is the script that runs.
#
# 0 passed, 1 failed, 64 wrong command line, 75 (EX_TEMPFAIL) not run: this machine has no image or
# no hypervisor. Not run is neither success nor failure, and never silent.

say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
	say "$*"
	exit 1
}

usage_error() {
	say "$* (see --help)"
	exit 64
}

# The caller may name a file in NVMFD_REASON to get the reason too.
not_run() {
	say "NOT RUN: $*"
	[ -z "${NVMFD_REASON:-}" ] || printf '%s\n' "$*" >"$NVMFD_REASON"
	exit 75
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# within SECONDS COMMAND...: until it succeeds.
within() {
	deadline=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}
