#!/bin/sh
# The rules of CONTRIBUTING.md that no compiler knows, checked by reading the files:
# where platform code and unsafe may stand, what the protocol crate must not use,
# file sizes, unfinished work, machine paths, the port's list of crates, and the lint of
# shell scripts, manual pages and links. Prints file:line: what is wrong; exit status 1
# if anything is, 75 if a tool was missing and nothing else was wrong. Changes nothing.

set -eu
. "$(dirname "$0")/env.sh"

if git rev-parse --git-dir >/dev/null 2>&1; then
	all=$(git ls-files --cached --others --exclude-standard)
else
	all=$(find . -name target -prune -o -type f -print | sed 's|^\./||')
fi
all=$(for f in $all; do [ ! -f "$f" ] || echo "$f"; done)
rust=$(echo "$all" | grep '\.rs$' || true)

failed=0
missing_tools=

report() {
	if [ -n "$1" ]; then
		printf '%s\n' "$1"
		failed=1
	fi
}

# files_of REGEX [EXCEPT-REGEX]: Rust files by path.
files_of() {
	echo "$rust" | grep -E "$1" | grep -Ev "${2:-^$}" || true
}

# code MODE FILE...: with test items left out (they begin at cfg(test) and, formatted
# by rustfmt, end at a brace in column 1). MODE "match": prints the lines that have
# $pattern outside comments; "count": the files of more than $limit lines.
code() {
	mode=$1
	shift
	[ $# -gt 0 ] || return 0
	PATTERN=${pattern:-} awk -v mode="$mode" -v limit="${limit:-0}" -v message="$message" '
		function file_ends() {
			if (mode == "count" && lines > limit) printf "%s: %d lines: %s\n", file, lines, message
		}
		FNR == 1 { file_ends(); file = FILENAME; lines = 0; pending = 0; inside = 0 }
		inside { if (/^}/) inside = 0; next }
		/^#\[cfg\(.*test[),]/ { pending = 1; next }
		pending && /^#\[/ { next }
		pending { pending = 0; if (!/;[ \t]*$/ && !/}[ \t]*$/) inside = 1; next }
		{ lines++ }
		mode == "match" {
			text = $0
			sub(/\/\/.*/, "", text)
			if (text ~ ENVIRON["PATTERN"]) printf "%s:%d: %s: %s\n", FILENAME, FNR, message, $0
		}
		END { file_ends() }
	' "$@"
}

# forbid MESSAGE PATTERN FILE...
forbid() {
	message=$1 pattern=$2
	shift 2
	report "$(code match "$@")"
}

# Lists of files are words: no path of ours has a space in it.
# shellcheck disable=SC2046
{
	forbid 'platform code belongs in daemon/src/os/ and kmod-ffi/src/{ioctl,module}.rs' 'target_os' \
		$(files_of . '^(daemon/src/os/|kmod-ffi/src/(ioctl|module)\.rs$|tests/)')
	forbid 'unsafe belongs in daemon/src/os/ and kmod-ffi/src/{ioctl,module,device}.rs' \
		'(^|[^A-Za-z0-9_])unsafe([ {]|$)' \
		$(files_of . '^(daemon/src/os/|kmod-ffi/src/(ioctl|module|device)\.rs$)')
	forbid 'the protocol crate does no I/O and has no clock' \
		'std::(net|fs)|std::[{].*(net|fs)(::|,|})|Instant::now|SystemTime' \
		$(files_of '^proto/src/' '(^|/)tests(/|\.rs$)')
	# Who tells people when something was. Everything else goes by Instant, which nobody sets.
	forbid 'the time of day jumps: what waits or measures goes by Instant' 'SystemTime' \
		$(files_of '^(daemon|kmod-ffi)/src/' \
			'(^|/)tests(/|\.rs$)|/(monitor/(announcing|child|mod|reload|start|status|subprocess)|nvmfctl/mod|worker/(refusals|stats))\.rs$')
	forbid 'unfinished work' '(^|[^a-z_])(todo|unimplemented|dbg)!' $(files_of .)

	message='a file has at most 700 lines without its tests' limit=700
	report "$(code count $(files_of . '/src/(.*/)?tests(/|\.rs$)'))"
}

for file in proto/src/lib.rs sys/src/lib.rs sys/bindgen/src/lib.rs tests/src/lib.rs; do
	grep -qx '#!\[forbid(unsafe_code)\]' "$file" || report "$file: #![forbid(unsafe_code)] is missing"
done

# shellcheck disable=SC2086 # lists of words
{
	[ -z "$rust" ] ||
		report "$(grep -nE '(TODO|FIXME|XXX)' $rust | grep -Ev '(TODO|FIXME|XXX).*#[0-9]+' | sed 's/$/   (needs the number of an issue)/')"
	report "$(grep -InE "(^|[[:space:]\"'\`=:(])/(home|root|Users|work)/[[:alnum:]]" $all | sed 's/$/   (a path of one machine)/')"
}

# Links of Markdown files to files: relative, existing, inside the repository.
for file in $(echo "$all" | grep '\.md$' || true); do
	links=$(awk '/^ *```/ { fenced = !fenced } !fenced' "$file" |
		grep -oE '\]\([^) ]+' | sed -e 's/^](//' -e 's/#.*//' | grep -Ev '^$|^[a-z]+:' | sort -u || true)
	for link in $links; do
		[ -e "$(dirname "$file")/$link" ] || report "$file: link to $link, which does not exist"
	done
done

# ARCHITECTURE.md's tree has every module, at the depth that it shows.
tree=$(awk '/^```/ { if (inside) exit; inside = 1 } inside' ARCHITECTURE.md)
for file in $(echo "$rust" | grep -E '^(proto|sys|kmod-ffi)/src/[^/]+\.rs$|^daemon/src/(([a-z]+|(worker|engine|monitor)/[a-z]+)\.rs$|[a-z]+/mod\.rs$)'); do
	module=${file%.rs}
	module=${module%/mod}
	module=${module##*/}
	case $module in
	main | lib | tests) continue ;;
	esac
	printf '%s\n' "$tree" | grep -qw "$module" || report "$file: ARCHITECTURE.md's tree does not have $module"
done

report "$(sh scripts/port-crates.sh --check 2>&1 || true)"

shell_scripts=$(for f in $all; do
	head -n 1 "$f" | LC_ALL=C grep -qE '^#! */.*[/ ](ba)?sh( |$)|^# shellcheck shell=' && echo "$f"
done || true)
if ! have shellcheck; then
	missing_tools="$missing_tools shellcheck"
elif [ -n "$shell_scripts" ]; then
	# shellcheck disable=SC2086 # a list of words
	report "$(shellcheck --external-sources --source-path=SCRIPTDIR --format=gcc $shell_scripts || true)"
fi

# Cross references to FreeBSD's own manual pages cannot be resolved elsewhere.
manual_pages=$(echo "$all" | grep -E '^man/.*\.[1-9]$' || true)
if ! have mandoc; then
	missing_tools="$missing_tools mandoc"
elif [ -n "$manual_pages" ]; then
	# shellcheck disable=SC2086 # a list of words
	report "$(mandoc -T lint $manual_pages 2>&1 |
		grep -Ev 'referenced manual not found|outdated mandoc.db' || true)"
fi

if [ "$failed" = 0 ] && [ -n "$missing_tools" ]; then
	not_run "missing:$missing_tools"
fi
exit "$failed"
