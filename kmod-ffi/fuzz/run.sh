#!/bin/sh
# Fuzzes one target with libFuzzer for some seconds: run.sh nv|xml [SECONDS].
# Needs a C++ compiler, but no nightly Rust. Inputs that gain coverage are kept in
# corpus/TARGET, those that fail in artifacts/TARGET; neither is committed.

set -eu
cd "$(dirname "$0")"
target=$1
seconds=${2:-60}

# What cargo-fuzz passes, without the address sanitizer that only nightly has.
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
export RUSTFLAGS

# A target of its own: the flags then do not reach build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "corpus/$target" "artifacts/$target"
exec cargo run --quiet --release --target "$host" --bin "$target" -- \
	-max_total_time="$seconds" -max_len=4096 -print_final_stats=1 \
	-artifact_prefix="artifacts/$target/" "corpus/$target"
