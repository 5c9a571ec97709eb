#!/bin/sh
# Makes src/bindings.rs anew from the C declarations in cam/ and dev/. Needs libclang
# (Debian: libclang1-19, FreeBSD: llvm); the test that compares the file does the work.
# To read FreeBSD's own headers instead, build with the feature `bindgen`.
#
# usage: bindgen.sh

set -eu
cd "$(dirname "$0")"
NVMF_SYS_WRITE=1 CI=true cargo test --package nvmf-sys --test bindings --locked
git --no-pager diff --stat -- src/bindings.rs
