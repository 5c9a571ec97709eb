#!/bin/sh
# Installs what a job needs from the system's packages, apt (Debian) or pkg
# (FreeBSD), the Rust toolchain included. Says nothing and needs no root when nothing is
# missing. Exit status: 0 all there; 75 something is missing and cannot
# be installed from here (the message says by which command it can).
#
# usage: bootstrap.sh [build | test | freebsd]
#   build    what `make demo` and `make install` need: Rust and a C linker (default)
#   test     build, and what `make test` needs besides
#   freebsd  what checking for FreeBSD on Debian needs (see freebsd-check.sh)

set -eu
. "$(dirname "$0")/env.sh"

level=${1:-build}
case $level in
build | test | freebsd) ;;
*)
	say "unknown level '$level'; levels are: build test freebsd"
	exit 64
	;;
esac

system=other
[ "$(uname -s)" = FreeBSD ] && system=freebsd
have apt-get && system=debian

missing=

# need COMMAND DEBIAN-PACKAGE FREEBSD-PACKAGE ("-": the base system has it, or nothing there does)
need() {
	if ! have "$1"; then
		case $system in
		debian) want "$2" ;;
		freebsd) want "$3" ;;
		*) want "$1" ;;
		esac
	fi
}

want() {
	[ "$1" = - ] || missing="$missing $1"
}

# need_packages NAME...: Debian packages that are not one command.
need_packages() {
	for package in "$@"; do
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
		installed) ;;
		*) want "$package" ;;
		esac
	done
}

rust_is_good() {
	new_enough "$(cargo --version 2>/dev/null | cut -d ' ' -f 2)" "$(wanted_rust)" &&
		new_enough "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)" "$(wanted_rust)"
}

candidate() {
	apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p'
}

# Debian 12's rustc is too old for us, but the one that it builds its web browser
# with (rustc-web) is kept up to date; both may be there, and rustup may be neither.
debian_rust() {
	for suffix in "" -web; do
		if new_enough "$(candidate "rustc$suffix")" "$(wanted_rust)"; then
			echo "rustc$suffix cargo$suffix"
			return
		fi
	done
	case $(candidate rustup) in
	"" | "(none)") echo - ;;
	*) echo rustup ;;
	esac
}

need_rust() {
	if rust_is_good; then return; fi
	if have rustup; then
		say "Rust is older than $(wanted_rust): rustup update stable"
		rustup update stable >&2 || not_run "Rust $(wanted_rust) is needed and 'rustup update stable' failed"
		if ! rust_is_good; then
			not_run "Rust $(wanted_rust) is needed; 'rustup default stable' selects the new one"
		fi
		return
	fi
	case $system in
	freebsd) want rust ;;
	debian)
		refresh
		packages=$(debian_rust)
		if [ "$packages" = - ]; then
			not_run "no package has Rust $(wanted_rust): install it from https://rustup.rs, then run this again"
		fi
		# Without certificates cargo cannot reach crates.io.
		want "$packages ca-certificates"
		;;
	*) not_run "Rust $(wanted_rust) or newer is needed: see https://rustup.rs" ;;
	esac
}

# rustfmt and clippy come with rustup's and FreeBSD's Rust, but apart in Debian.
need_rust_tools() {
	if cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1; then return; fi
	if have rustup; then
		rustup component add clippy rustfmt >&2 || not_run "'rustup component add clippy rustfmt' failed"
		return
	fi
	case "$system $(cargo --version 2>/dev/null) $missing" in
	debian*-web*) want "rust-web-clippy rustfmt-web" ;;
	debian*)
		if dpkg-query -W cargo-web >/dev/null 2>&1; then
			want "rust-web-clippy rustfmt-web"
		else
			want "rust-clippy rustfmt"
		fi
		;;
	freebsd*) want rust ;;
	esac
}

# For the bindings of sys, of which bindgen makes the same with any version. On FreeBSD
# it would be all of llvm for a check that says as much on Debian.
need_libclang() {
	if [ "$system" = debian ]; then
		case $(/sbin/ldconfig -p) in
		*libclang.so* | *libclang-[0-9]*) ;;
		*) need_packages libclang1 ;;
		esac
	fi
}

# For what only PyPI has: zig for FreeBSD, and what wheel.sh brings.
need_venv() {
	if [ "$system" = debian ]; then
		need python3 python3 -
		python3 -c 'import ensurepip, venv' 2>/dev/null || want python3-venv
	fi
}

# How to become root, as words before a command; fails if there is no way.
root_prefix() {
	if [ "$(id -u)" = 0 ]; then
		echo
	elif have sudo; then
		# Nobody is there to type a password where there is no terminal.
		if [ -t 0 ]; then echo sudo; else echo sudo -n; fi
	elif have doas; then
		echo doas
	else
		return 1
	fi
}

as_root() {
	# shellcheck disable=SC2046 # a list of words
	$(root_prefix) "$@"
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >&2
}

# The package lists may be absent or old; once a run is enough.
refreshed=no
refresh() {
	[ "$refreshed" = no ] && root_prefix >/dev/null || return 0
	refreshed=yes
	say "apt-get update"
	apt -qq update || say "apt-get update failed; trying with the package lists that are there"
}

# apt_backports ARGUMENT...: apt with the release's backports beside the machine's own
# sources, for this once: nothing of it stays but what is installed.
apt_backports() {
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?}-backports")
	# shellcheck disable=SC2016 # a word of apt's
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Created-By: Packages' |
		grep -v security | head -n 1)
	[ -n "$mirror" ] || return 1
	private=$(mktemp -d)
	mkdir "$private/lists" "$private/cache"
	cat /etc/apt/sources.list >"$private/sources.list" 2>/dev/null || true
	echo "deb $mirror $suite main" >>"$private/sources.list"
	status=0
	for words in 'update -qq' "install -y --no-install-recommends --no-remove -t $suite $*"; do
		# shellcheck disable=SC2086 # a list of words
		apt -o Dir::Etc::sourcelist="$private/sources.list" -o Dir::State::lists="$private/lists" \
			-o Dir::Cache="$private/cache" -o APT::Sandbox::User=root $words || status=1
	done
	rm -rf "$private"
	return "$status"
}

# install_debian PACKAGE...: nothing of the user's goes without being asked, hence
# --no-remove. Where that is in the way of one of them, because what it belongs to came
# from backports, it comes from there too.
install_debian() {
	refresh
	apt install -y --no-install-recommends --no-remove "$@" && return
	for package in "$@"; do
		apt install -y --no-install-recommends --no-remove "$package" && continue
		say "$package: trying this release's backports"
		apt_backports "$package" || return
	done
}

install_missing() {
	case $system in
	debian) command="apt-get install --no-install-recommends$missing" ;;
	freebsd) command="pkg install$missing" ;;
	*) not_run "this system has neither apt nor pkg; install what gives:$missing" ;;
	esac
	root_prefix >/dev/null || not_run "missing:$missing; run as root: $command"
	say "installing:$missing"
	# shellcheck disable=SC2086 # a list of words
	case $system in
	debian) install_debian $missing ;;
	freebsd) as_root env ASSUME_ALWAYS_YES=yes pkg install $missing >&2 ;;
	esac || not_run "could not install:$missing; by hand, as root: $command"
}

case $level in
build | test)
	need_rust
	need cc gcc -
	;;
esac

if [ "$level" = test ]; then
	need_rust_tools
	need git git git
	need shellcheck shellcheck hs-ShellCheck
	need mandoc mandoc -
	need jq jq jq
	need tshark tshark tshark
	# For tests/faults, which has the clock jump on Linux.
	need faketime faketime -
	# For libFuzzer.
	need c++ g++ -
	# `make install` is for both makes, and a system has one of them.
	if [ "$system" = freebsd ]; then need gmake - gmake; else need bmake bmake -; fi
	need_libclang
	need_venv
	# The Linux hosts in virtual machines run on Debian only; their list is kept beside them.
	if [ "$system" = debian ]; then
		# shellcheck disable=SC2046 # a list of words
		need_packages $(sed 's/#.*//' tests/vm/packages.txt)
	fi
fi

if [ "$level" = freebsd ]; then
	[ "$system" = debian ] || not_run "the cross check knows Debian's Rust packages only"
	need_packages rustc-web cargo-web rust-web-src rust-web-clippy
	need_venv
	need readelf binutils -
fi

[ -z "$missing" ] || install_missing

case $level in
build | test)
	if ! rust_is_good; then
		# A rustup that was installed just now has no toolchain yet.
		if have rustup; then rustup default stable >&2 || true; fi
		rust_is_good || not_run "Rust $(wanted_rust) is needed, but 'cargo --version' says: $(cargo --version 2>&1)"
	fi
	;;
esac
