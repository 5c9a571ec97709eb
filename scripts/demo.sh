#!/bin/sh
# Builds nvmfd and serves a RAM disk on the loopback addresses of this machine until
# Ctrl-C; nothing is installed and nothing stays behind. Owns the demo's command line.
#
# usage: demo.sh [DEVICE]     ramdisk:SIZE (default ramdisk:256m), a file, a disk

set -eu
. "$(dirname "$0")/env.sh"

sh scripts/bootstrap.sh build

# A machine or container may have IPv6 switched off; the daemon would refuse ::1 there.
has_ipv6_loopback() {
	case $(uname -s) in
	Linux) grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null ;;
	*) ifconfig lo0 2>/dev/null | grep -q 'inet6 ::1' ;;
	esac
}

device=${1:-ramdisk:256m}
set -- --listen 127.0.0.1 --discovery-listen 127.0.0.1
if has_ipv6_loopback; then
	set -- "$@" --listen ::1 --discovery-listen ::1
fi

# exec, here and in make: Ctrl-C reaches the daemon only, which ends in order.
exec cargo run --release --locked --package nvmfd --bin nvmfd -- -d -F -g -G -p 4420 "$@" "$device"
