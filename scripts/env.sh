# shellcheck shell=sh
# What all scripts here share; they source it first. It goes to the top of the
# repository, finds cargo where rustup or the ports put it, and owns the words and
# the exit status for work that cannot be done on this machine (75, EX_TEMPFAIL).
# It installs and builds nothing.

cd "$(dirname "$0")/.." || exit 1
PATH="$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin:/usr/local/bin"
export PATH

say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# Ends the script: the work was not done, which is neither success nor failure.
# The caller may name a file in NVMFD_REASON to get the reason too.
not_run() {
	say "NOT RUN: $*"
	[ -z "${NVMFD_REASON:-}" ] || printf '%s\n' "$*" >"$NVMFD_REASON"
	exit 75
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# The oldest Rust that builds the project, as Cargo.toml says.
wanted_rust() {
	sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml
}

# new_enough HAVE WANT: versions like 1.96.0 or 1.96.0+dfsg1, by major and minor.
new_enough() {
	awk -v have="$1" -v want="$2" 'BEGIN {
		split(have, h, "."); split(want, w, ".")
		exit !(h[1] + 0 > w[1] + 0 || (h[1] + 0 == w[1] + 0 && h[2] + 0 >= w[2] + 0))
	}'
}
