# Sourced by the scripts of this directory; $here is that directory.
# shellcheck shell=sh

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# Exit 2 is "cannot run here" for the caller, which reports it as skipped, never as passed.
cannot() {
	echo "${0##*/}: $*" >&2
	exit 2
}

# require_tools PROGRAM...: what is missing is named together with everything there is to install.
require_tools() {
	missing=
	for tool; do
		command -v "$tool" >/dev/null || missing="$missing $tool"
	done
	[ -z "$missing" ] ||
		cannot "missing:$missing; apt-get install --no-install-recommends" \
			"$(grep -v '^#' "${here:?}/packages.txt" | tr '\n' ' ')"
}
