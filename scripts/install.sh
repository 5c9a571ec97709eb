#!/bin/sh
# Puts what was built, and what belongs to it, where FreeBSD (or Linux) looks for it, or
# takes it away again. The one list of what is installed is below; the port's pkg-plist
# and a test compare with it. Builds nothing, starts and stops nothing, and never touches
# nvmfd.toml, which is the operator's.
#
# usage: install.sh install | uninstall
#
# In the environment, as `make install` passes it on:
#   PREFIX     where it will be used from (/usr/local)
#   DESTDIR    what to put before that, to pack it up (nothing)
#   MANDIR     the manual's directory (PREFIX/share/man)
#   INIT       rc, systemd or none (rc; on Linux systemd)
#   PROGRAMS   where the programs are (CARGO_TARGET_DIR/release, target/release)

set -eu
. "$(dirname "$0")/env.sh"
umask 022

prefix=${PREFIX:-/usr/local}
man=${MANDIR:-$prefix/share/man}
root=${DESTDIR:-}
programs=${PROGRAMS:-${CARGO_TARGET_DIR:-target}/release}
init=${INIT:-}
if [ -z "$init" ]; then
	init=rc
	[ "$(uname -s)" != Linux ] || init=systemd
fi

# They are written into scripts, where a blank would end a word.
for directory in "$prefix" "$man"; do
	case $directory in
	*[!A-Za-z0-9/._+-]*)
		say "'$directory' has a character that a path in a script cannot have; use letters, digits and ._+-"
		exit 64
		;;
	/*) ;;
	*)
		say "'$directory' is not an absolute path; PREFIX and MANDIR begin with /"
		exit 64
		;;
	esac
done
case $init in
rc | systemd | none) ;;
*)
	say "INIT is '$init'; it can be rc, systemd or none"
	exit 64
	;;
esac

# each COMMAND: runs COMMAND MODE SOURCE PATH for each file that has a place. A source
# with a colon before it is what nvmfctl prints: its completions for that shell.
each() {
	"$1" 755 "$programs/nvmfd" "$prefix/sbin/nvmfd"
	"$1" 755 "$programs/nvmfctl" "$prefix/sbin/nvmfctl"
	"$1" 644 etc/nvmfd.toml.sample "$prefix/etc/nvmfd.toml.sample"
	for page in man/*.[1-9]; do
		"$1" 644 "$page" "$man/man${page##*.}/${page##*/}"
	done
	"$1" 644 etc/grafana-nvmfd.json "$prefix/share/examples/nvmfd/grafana.json"
	"$1" 644 :bash "$prefix/share/bash-completion/completions/nvmfctl"
	"$1" 644 :zsh "$prefix/share/zsh/site-functions/_nvmfctl"
	"$1" 644 :fish "$prefix/share/fish/vendor_completions.d/nvmfctl.fish"
	# Both are looked for when they are taken away.
	case $init:$1 in
	rc:* | *:take) "$1" 755 rc.d/nvmfd "$prefix/etc/rc.d/nvmfd" ;;
	esac
	case $init:$1 in
	systemd:* | *:take) "$1" 644 etc/nvmfd.service "$prefix/lib/systemd/system/nvmfd.service" ;;
	esac
}

# put MODE SOURCE PATH
put() {
	source=$2
	case $source in
	:*)
		# A program for another system does not run here.
		source=$made
		"$programs/nvmfctl" completions "${2#:}" >"$made" 2>/dev/null || : >"$made"
		if [ ! -s "$made" ]; then
			say "NOT INSTALLED: $3: '$programs/nvmfctl completions ${2#:}' says nothing here"
			return
		fi
		;;
	rc.d/* | *.service)
		source=$made
		sed "s|%%PREFIX%%|$prefix|g" "$2" >"$made"
		;;
	esac
	echo "$root$3"
	install -d "$root${3%/*}"
	install -m "$1" "$source" "$root$3"
}

# take MODE SOURCE PATH
take() {
	[ -e "$root$3" ] || [ -h "$root$3" ] || return 0
	echo "removing $root$3"
	rm -f "$root$3"
}

case ${1:-} in
install)
	for program in nvmfd nvmfctl; do
		if [ ! -x "$programs/$program" ]; then
			say "there is no $programs/$program; 'make build' makes it"
			exit 66
		fi
	done
	made=$(mktemp)
	trap 'rm -f "$made"' EXIT
	each put
	;;
uninstall)
	each take
	if [ -e "$root$prefix/etc/nvmfd.toml" ]; then
		echo "your configuration stays: $root$prefix/etc/nvmfd.toml"
	fi
	;;
*)
	say "usage: install.sh install | uninstall"
	exit 64
	;;
esac
