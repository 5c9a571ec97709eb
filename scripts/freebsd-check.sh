#!/bin/sh
# Checks and links every crate for FreeBSD on a Debian machine: clippy with warnings
# as errors, the programs as FreeBSD executables, all tests built. None of that is run
# here; tests/vm/freebsd/run.sh takes it from target/freebsd into a FreeBSD machine.
# Compares our declarations of the kernel's interface with FreeBSD's headers.
# Owns the cross tool chain: Rust from Debian's packages, its std for FreeBSD built
# from their source, zig (a PyPI package) as C compiler and linker. All but the
# packages lies in the user's cache, stamped by version, so that only the first run
# is slow and only the packages need root. Exit status 75: could not be run here.
#
# usage: freebsd-check.sh [--prepare] [TARGET...]
# With --prepare the tool chain alone is made ready.
# Without TARGET: x86_64-unknown-freebsd, and clippy alone for aarch64-unknown-freebsd,
# whose differences (char is unsigned) clippy sees.

set -eu
. "$(dirname "$0")/env.sh"

prepare=no
if [ "${1:-}" = --prepare ]; then
	prepare=yes
	shift
fi
linked=${*:-x86_64-unknown-freebsd}
targets=${*:-$linked aarch64-unknown-freebsd}
zig_packages='ziglang==0.17.0 cargo-zigbuild==0.24.0'
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/nvmfd-cross

if [ "$(uname -s)" = FreeBSD ]; then
	not_run "not needed on FreeBSD: cargo builds and tests natively here"
fi

# install_zig: cargo-zigbuild and zig in a virtual environment.
install_zig() {
	venv=$cache/venv-$(printf '%s' "$zig_packages" | tr -c '[:alnum:].' _)
	if [ ! -e "$venv/complete" ]; then
		say "installing $zig_packages from PyPI (100 MB, once)"
		rm -rf "$venv"
		mkdir -p "$cache"
		python3 -m venv "$venv" >&2 || not_run "python3 -m venv failed"
		# shellcheck disable=SC2086 # a list of words
		"$venv/bin/pip" install --quiet --disable-pip-version-check $zig_packages >&2 ||
			not_run "pip could not install $zig_packages"
		touch "$venv/complete"
	fi
}

# link_toolchain: a rustup, where there is one, must keep its hands off: cargo would
# run rustup's clippy, and a rustc of one version rejects the std of another. Its
# settings stay as they are; ours has a home of its own with Debian's Rust in it.
link_toolchain() {
	if have rustup; then
		export RUSTUP_HOME="$cache/rustup" RUSTUP_TOOLCHAIN=debian
		[ -e "$RUSTUP_HOME/toolchains/debian" ] || rustup --quiet toolchain link debian /usr >&2
	else
		PATH=/usr/bin:$PATH
	fi
	new_enough "$(rustc --version | cut -d ' ' -f 2)" "$(wanted_rust)" ||
		not_run "Debian's Rust is older than $(wanted_rust)"
}

# have_std TARGET...: a toolchain to which rustup added the targets needs none of ours.
have_std() {
	for target in "$@"; do
		[ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$target/lib" ] || return 1
	done
}

# build_std TARGET: the standard library for TARGET into $sysroot, once. Rust's source
# has unstable parts, hence RUSTC_BOOTSTRAP; only this throw-away crate sees it.
build_std() {
	[ ! -e "$sysroot/lib/rustlib/$1" ] || return 0
	say "building Rust's standard library for $1 (once; 1 to 3 minutes)"
	mkdir "$work/src"
	: >"$work/src/lib.rs"
	cat >"$work/Cargo.toml" <<-'END'
		cargo-features = ["profile-rustflags"]
		[package]
		name = "std-carrier"
		edition = "2024"
		[profile.release]
		rustflags = ["-Cembed-bitcode=yes"]
		[profile.release.package.panic_abort]
		rustflags = ["-Cpanic=abort", "-Cembed-bitcode=yes"]
	END
	(
		cd "$work" && env -u RUSTFLAGS CARGO_HOME="$work/home" CARGO_TARGET_DIR="$work/target" \
			RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
			/usr/bin/cargo build --release --target "$1" --offline \
			-Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test \
			--config 'source.crates-io.replace-with="vendored"' \
			--config 'source.vendored.directory="/usr/lib/rustlib/src/rust/library/vendor"'
	) >&2 || not_run "the standard library for $1 could not be built"
	rm -f "$work/target/$1/release/deps/"libstd_carrier-*
	mkdir -p "$work/std/lib"
	mv "$work/target/$1/release/deps/"lib*.rlib "$work/std/lib/"
	mkdir -p "$sysroot/lib/rustlib"
	mv -T "$work/std" "$sysroot/lib/rustlib/$1" || [ -e "$sysroot/lib/rustlib/$1" ]
	rm -rf "$work/src" "$work/target"
}

# use_std TARGET: Debian's Rust shall take the std from $sysroot. The flag reaches only
# what is built for TARGET, not the build scripts.
use_std() {
	name=$(printf '%s' "$1" | tr 'a-z-' 'A-Z_')
	export "CARGO_TARGET_${name}_RUSTFLAGS=--sysroot=$sysroot"
}

# check_executable FILE: what the linker made must be what FreeBSD runs, and need no
# library but those that Rust's std needs there. The kernel goes by the note (zig leaves
# the header's OS/ABI alone).
check_executable() {
	wrong=$(LC_ALL=C readelf --wide --notes --program-headers --dynamic "$1" | awk '
		/^ *FreeBSD +0x/ { note = 1 }
		sub(/.*program interpreter: /, "") && sub(/]$/, "") { interpreter = $0 }
		/\(NEEDED\)/ && sub(/.*\[/, "") && sub(/]$/, "") {
			if ($0 !~ /^(libc\.so\.7|libm\.so\.5|libthr\.so\.3)$/)
				print "  needs " $0 ", which is none of libc.so.7, libm.so.5, libthr.so.3"
			if ($0 == "libc.so.7") libc = 1
		}
		END {
			if (!note) print "  no note says that it is for FreeBSD"
			if (interpreter != "/libexec/ld-elf.so.1")
				print "  interpreter is " interpreter ", not /libexec/ld-elf.so.1"
			if (!libc) print "  does not need libc.so.7"
		}
	')
	if [ -n "$wrong" ]; then
		say "$1 is not an executable for FreeBSD as it must be:"
		printf '%s\n' "$wrong" >&2
		exit 1
	fi
}

# compare_headers TARGET: zig has FreeBSD's headers, but for those of CTL.
compare_headers() {
	say "$1: comparing our declarations with FreeBSD's headers"
	NVMF_SYS_CC="$venv/bin/python3 -m ziglang cc -target ${1%%-*}-freebsd" \
		cargo test --quiet --package nvmf-sys --test headers --locked
}

# shellcheck disable=SC2086 # a list of words
if have_std $linked; then
	say "the installed $(rustc --version) knows $linked"
	if ! have_std $targets; then
		say "NOT RUN: clippy for aarch64-unknown-freebsd, which rustup does not have"
		targets=$linked
	fi
else
	sh scripts/bootstrap.sh freebsd || exit
	mkdir -p "$cache"
	link_toolchain
	# Another version of the compiler or the source is another sysroot.
	source=$(dpkg-query -W -f '${Version}' rust-web-src | tr -c '[:alnum:]\n.' _)
	sysroot=$cache/std-$(rustc -vV | sed -n 's/^release: //p')-$source
	# Beside the cache, so that the last step is one rename: there is no half a std.
	work=$(mktemp -d "$cache/work.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	for target in $targets; do
		build_std "$target"
		use_std "$target"
	done
fi
install_zig
[ "$prepare" = no ] || exit 0

export PATH="$venv/bin:$PATH"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/freebsd"

for target in $targets; do
	say "$target: clippy, all targets"
	cargo-zigbuild clippy --workspace --all-targets --locked --target "$target" -- -D warnings
	compare_headers "$target"
done
for target in $linked; do
	say "$target: linking the programs"
	cargo-zigbuild zigbuild --package nvmfd --bins --locked --target "$target"
	for program in nvmfd nvmfctl; do
		[ ! -e "$CARGO_TARGET_DIR/$target/debug/$program" ] ||
			check_executable "$CARGO_TARGET_DIR/$target/debug/$program"
	done
	say "$target: building the tests"
	# Apart, as test.sh says.
	cargo-zigbuild test --workspace --exclude nvmf-sys-bindgen --no-run --locked --target "$target"
	cargo-zigbuild test --package nvmf-sys-bindgen --no-run --locked --target "$target"
done
