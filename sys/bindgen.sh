#!/bin/sh
# Makes src/bindings.rs anew from the C declarations in cam/ and dev/. Needs libclang
# (Debian: libclang1-19, FreeBSD: llvm). A test compares the two; what reads FreeBSD's
# own headers instead is the feature `bindgen`.
#
# usage: bindgen.sh

set -eu
cd "$(dirname "$0")"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
cargo run --quiet --locked --package nvmf-sys-bindgen >"$new"
cat "$new" >src/bindings.rs
