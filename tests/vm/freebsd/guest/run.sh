#!/bin/sh
# In the guest: installs what came with this directory, runs the tests, leaves their results.
#
#   run.sh DISK      DISK gets a tar archive of the results, raw: the host mounts nothing
#
# The subjects are ATF test programs in sh. FreeBSD's kyua runs them where it is installed: with its
# isolation, timeouts and reports. It is an optional package of the base system since 15.0, and images
# differ, so that atf.sh, a runner of our own with kyua's interface and output, takes its place.
# Status: 0 all passed or were skipped, 1 some failed.
set -eu

subjects='modules exports handoff adoption reload upgrade rc userspace limits capsicum bindings units'

disk=${1:?usage: run.sh DISK}
here=$(cd "$(dirname "$0")" && pwd)
only=''
[ ! -r "$here/settings" ] || . "$here/settings"
results=$here/results
programs=$here/programs
rm -rf "$results" "$programs"
mkdir -p "$results" "$programs"

install_daemon() {
	mkdir -p /usr/local/sbin /usr/local/etc/rc.d
	for program in "$here"/bin/*; do
		cp "$program" /usr/local/sbin/
	done
	if [ -f "$here/rc" ]; then
		# As make install does.
		sed 's|%%PREFIX%%|/usr/local|g' "$here/rc" >/usr/local/etc/rc.d/nvmfd
		chmod 555 /usr/local/etc/rc.d/nvmfd
	fi
}

# make_program SUBJECT: one file, since kyua runs programs anywhere.
make_program() {
	{
		echo "#! $atf"
		echo "suite='$here' results='$results'"
		cat "$here/daemon.sh" "$here/host.sh" "$here/peer.sh" "$here/$1.sh"
	} >"$programs/$1"
	chmod 755 "$programs/$1"
	echo "atf_test_program{name=\"$1\"}" >>"$programs/Kyuafile"
}

# filtered CASE...: those of them that were asked for.
filtered() {
	for name; do
		[ -n "$only" ] || echo "$name"
		for filter in $only; do
			case $name in
			"$filter" | "$filter":*) echo "$name" ;;
			esac
		done
	done
}

# Where FreeBSD has it, and Debian.
atf=/usr/libexec/atf-sh
[ -x "$atf" ] || atf=/usr/bin/atf-sh

[ ! -d "$here/bin" ] || install_daemon
printf 'syntax(2)\ntest_suite("nvmfd")\n' >"$programs/Kyuafile"
all=
for subject in ${NVMFD_SUBJECTS:-$subjects}; do
	make_program "$subject"
	for name in $(sh "$here/atf.sh" "$programs/$subject" -l); do
		all="$all $subject:$name"
	done
done
# shellcheck disable=SC2086 # a list of words
cases=$(filtered $all)
# shellcheck disable=SC2086 # a list of words
set -- $cases
echo "cases $#" >"$results/results"
uname -a >"$results/system"

cd "$programs"
status=0
if [ $# = 0 ]; then
	echo "no case is called$only"
elif [ "${NVMFD_RUNNER:-kyua}" = kyua ] && command -v kyua >/dev/null && [ -x "$atf" ]; then
	echo "kyua runs $# cases"
	# Without files of the user's: only what is here counts.
	kyua --config=none test --results-file="$results/kyua.db" "$@" | tee "$results/output"
	kyua --config=none report --verbose --results-file="$results/kyua.db" >"$results/report" || true
	kyua --config=none report-junit --results-file="$results/kyua.db" >"$results/junit.xml" || true
else
	echo "atf.sh runs $# cases, for kyua is not installed"
	for name; do
		sh "$here/atf.sh" "$programs/${name%%:*}" "${name#*:}" "$results" || true
	done | tee "$results/output"
fi
[ ! -f "$results/output" ] || grep -e '  ->  ' "$results/output" >>"$results/results" || true
echo end >>"$results/results"
dmesg >"$results/dmesg" 2>/dev/null || true
[ ! -r /var/log/messages ] || cp /var/log/messages "$results/"
! grep -Eq -e '  ->  (failed|broken)' "$results/results" || status=1
(cd "$results" && tar -cf "$disk" .)
sync
exit "$status"
