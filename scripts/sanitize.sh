#!/bin/sh
# Runs the daemon under AddressSanitizer and ThreadSanitizer: the crates' own tests, and a
# sanitized nvmfd under the stories of loopback and a minute of the soak. Whatever they find
# ends the process that did it, and so the test. Unstable options of rustc, hence
# RUSTC_BOOTSTRAP.
#
# AddressSanitizer needs the runtime that rustup's toolchains have. ThreadSanitizer needs a
# std that is sanitized as well, or every channel is an alarm: it is built once, as
# freebsd-check.sh builds one, by Debian's Rust from Debian's source; runtime and linker are
# rustup's, for Debian has neither for this LLVM. Exit status 75: one of them could not run.
#
# usage: sanitize.sh [address] [thread]

set -eu
. "$(dirname "$0")/env.sh"

for kind in "$@"; do
	case $kind in
	address | thread) ;;
	*)
		sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
		[ "$kind" = --help ] || exit 64
		exit 0
		;;
	esac
done

[ "$(uname -sm)" = 'Linux x86_64' ] || not_run "the sanitizers' runtimes are sought on Linux alone"
have cargo || not_run "cargo is not installed"
triple=x86_64-unknown-linux-gnu
toolchain=$(rustc --print sysroot)/lib/rustlib/$triple
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/nvmfd-cross
case ${CARGO_TARGET_DIR:-target} in
/*) target=$CARGO_TARGET_DIR ;;
*) target=$PWD/${CARGO_TARGET_DIR:-target} ;;
esac

# runtime NAME: the file of a sanitizer's.
runtime() {
	for file in "$toolchain/lib/librustc-"*"_rt.$1.a"; do
		[ ! -e "$file" ] || echo "$file"
	done
}

# hosts WORDS...: tests from outside, which are built as always.
hosts() {
	env -u RUSTFLAGS -u RUSTC_BOOTSTRAP -u RUSTUP_HOME -u RUSTUP_TOOLCHAIN \
		CARGO_TARGET_DIR="$target" NVMFD="$sanitized/$triple/debug/nvmfd" \
		cargo test --locked --package nvmfd-tests "$@"
}

# tests DIRECTORY: everything, with the settings that are exported.
tests() {
	sanitized=$1
	export CARGO_TARGET_DIR="$sanitized"
	export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only
	cargo test --target "$triple" --locked --package nvmf-proto --package nvmf-kmod --package nvmfd \
		--features nvmf-kmod/fake,nvmfd/fake --lib --bins --no-fail-fast
	cargo test --target "$triple" --locked --package nvmfd-tests --test live
	cargo build --target "$triple" --locked --package nvmfd --bin nvmfd
	hosts --test loopback
	hosts --test soak -- --seconds 60 --rate 500
}

address() {
	if [ -z "$(runtime asan)" ]; then
		say "NOT RUN: AddressSanitizer: $(rustc --version) has no runtime of it; rustup's have"
		return 75
	fi
	say "AddressSanitizer"
	# What was freed is kept from use for a while, which the soak would take for a leak.
	export ASAN_OPTIONS=quarantine_size_mb=8
	export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
	tests "$target/asan"
}

# build_std: Debian's std, sanitized, into $sysroot.
build_std() {
	[ ! -e "$sysroot/lib/rustlib/$triple" ] || return 0
	say "building Rust's standard library for ThreadSanitizer (once; 1 to 3 minutes)"
	work=$(mktemp -d "$cache/work.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	mkdir -p "$work/src" "$work/lib"
	: >"$work/src/lib.rs"
	printf '[package]\nname = "std-carrier"\nedition = "2024"\n' >"$work/Cargo.toml"
	(
		cd "$work" && CARGO_HOME="$work/home" CARGO_TARGET_DIR="$work/target" \
			RUSTC=/usr/bin/rustc /usr/bin/cargo build --target "$triple" --offline \
			-Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test \
			--config 'source.crates-io.replace-with="vendored"' \
			--config 'source.vendored.directory="/usr/lib/rustlib/src/rust/library/vendor"'
	) >&2
	rm -f "$work/target/$triple/debug/deps/"libstd_carrier-*
	mv "$work/target/$triple/debug/deps/"lib*.rlib "$work/lib/"
	mkdir -p "$sysroot/lib/rustlib/$triple"
	mv "$work/lib" "$sysroot/lib/rustlib/$triple/"
	rm -rf "$work"
}

thread() {
	runtime=$(runtime tsan)
	if [ -z "$runtime" ] || [ ! -x "$toolchain/bin/gcc-ld/ld.lld" ] || ! have rustup; then
		say "NOT RUN: ThreadSanitizer: its runtime and lld are taken from a toolchain of rustup's"
		return 75
	fi
	sh scripts/bootstrap.sh freebsd || return
	say "ThreadSanitizer"
	mkdir -p "$cache"
	export RUSTUP_HOME="$cache/rustup" RUSTUP_TOOLCHAIN=debian RUSTC_BOOTSTRAP=1
	[ -e "$RUSTUP_HOME/toolchains/debian" ] || rustup --quiet toolchain link debian /usr >&2
	source=$(dpkg-query -W -f '${Version}' rust-web-src | tr -c '[:alnum:]\n.' _)
	sysroot=$cache/tsan-$(rustc -vV | sed -n 's/^release: //p')-$source
	mkdir -p "$sysroot"
	# Behind everything else, which is where rustc cannot put it.
	cat >"$sysroot/link" <<-END
		#!/bin/sh
		exec cc "\$@" -B"$toolchain/bin/gcc-ld" -fuse-ld=lld \\
			-Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -Wl,--export-dynamic \\
			-lm -lrt -ldl -lpthread -lc
	END
	chmod +x "$sysroot/link"
	export RUSTFLAGS='-Zsanitizer=thread -Zexternal-clangrt'
	build_std
	export RUSTFLAGS="$RUSTFLAGS --sysroot=$sysroot -Clinker=$sysroot/link -Clinker-flavor=gcc"
	export TSAN_OPTIONS='halt_on_error=1'
	tests "$target/tsan"
}

result=0
[ $# -gt 0 ] || set -- address thread
for kind in "$@"; do
	set +e
	(
		set -e
		case $kind in
		address) address ;;
		thread) thread ;;
		esac
	)
	status=$?
	set -e
	say "$kind: exit status $status"
	[ "$status" = 0 ] || result=$status
done
exit "$result"
