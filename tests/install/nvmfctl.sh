#!/bin/sh
# Stands in for nvmfctl: says how it was called; a file with "wrong" in it is wrong.

here=${0%/*}/..

case $1 in
completions)
	echo "# completions for $2"
	exit
	;;
esac
echo "nvmfctl $*" >>"$here/calls"
if [ -e "$here/deaf" ] && [ "$1" != check ]; then
	echo 'nvmfctl: the daemon does not answer' >&2
	exit 69
fi
case $1 in
check)
	! grep -n wrong "$2" >&2 || exit 65
	;;
leave) rm "$here/nvmfd.pid" ;;
esac
