#!/bin/sh
# The port's list of crates, as the ports tree's `make cargo-crates` writes it, from
# Cargo.lock. A crate from anywhere but crates.io is refused: the port would have to
# name its repository.
#
# usage: port-crates.sh [--check]
#   --check   write nothing; say whether the list is what Cargo.lock says

set -eu
. "$(dirname "$0")/env.sh"

list=ports/net/nvmfd/Makefile.crates

# Packages without a source are the workspace's own.
crates() {
	awk '
		function package_ends() {
			if (source == "") return
			if (source != "registry+https://github.com/rust-lang/crates.io-index") {
				printf "%s %s is not from crates.io: %s\n", name, version, source >"/dev/stderr"
				exit bad = 1
			}
			printf "%s%s-%s", (count++ ? " \\\n\t\t" : "CARGO_CRATES=\t"), name, version
		}
		function value() { gsub(/^[^"]*"|"[^"]*$/, ""); return $0 }
		/^\[\[package\]\]/ { package_ends(); name = version = source = "" }
		/^name = / { name = value() }
		/^version = "/ { version = value() }
		/^source = / { source = value() }
		END { if (bad) exit 1; package_ends(); print "" }
	' Cargo.lock
}

made=$(mktemp)
trap 'rm -f "$made"' EXIT
crates >"$made"

case ${1:-} in
"") cat "$made" >"$list" ;;
--check)
	if ! cmp -s "$made" "$list"; then
		echo "$list: not what Cargo.lock says; 'sh scripts/port-crates.sh' writes it anew"
		exit 1
	fi
	;;
*)
	say "usage: port-crates.sh [--check]"
	exit 64
	;;
esac
