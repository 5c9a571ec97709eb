# shellcheck shell=sh disable=SC2154,SC2094 # one program with daemon.sh, host.sh, peer.sh
# The sandbox around the process that meets peers. Where it is not there yet, that is said: these
# cases never pass without it.

# capability_mode PID: as procstat(1) has it, by the column's name, for releases differ in the rest.
capability_mode() {
	procstat credentials "$1" | awk '
		NR == 1 { for (i = 1; i <= NF; i++) if ($i == "FLAGS") column = i; next }
		column { print $column; exit }'
}

needs_sandbox() {
	[ "$(uname -s)" = FreeBSD ] || atf_skip "Capsicum is FreeBSD's"
	[ "$(sysctl -n kern.features.security_capability_mode 2>/dev/null)" = 1 ] ||
		atf_skip "this kernel has no capability mode"
	configure user 1=ram:64m
	start
	flags=$(capability_mode "$(worker)")
	[ -n "$flags" ] || atf_fail "procstat credentials has no FLAGS here: this case must learn how it says so"
	case $flags in
	*C*) ;;
	*) atf_skip "the worker is not in capability mode: this nvmfd has no sandbox yet" ;;
	esac
}

story worker_is_in_capability_mode "the worker is in capability mode, and the monitor is not"
worker_is_in_capability_mode_body() {
	needs_sandbox
	case $(capability_mode "$(daemon)") in
	*C*) atf_fail "the monitor is in capability mode: it could not reload" ;;
	esac
}

story nothing_is_open_to_it "the worker holds no directory, and no descriptor with every right"
nothing_is_open_to_it_body() {
	needs_sandbox
	must procstat -C files "$(worker)" >files
	cp files "$results/capabilities"
	# A directory would be a way to its files, and a device a way to more than its bytes.
	holds "no directory" not grep -Eq '[[:space:]]v[[:space:]]+d[[:space:]]' files
	holds "not CTL's device" not grep -q '/dev/cam/ctl' files
}

story it_blocks "what the worker may not do fails, and it goes on serving"
it_blocks_body() {
	needs_sandbox
	command -v truss >/dev/null || atf_skip "there is no truss"
	truss -f -o truss.log -p "$(worker)" &
	truss=$!
	comes 10 "truss" test -e truss.log
	# What makes it talk: discovery, a refusal, a connection that is nonsense.
	nvmecontrol discover 127.0.0.1:8009 >/dev/null
	printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 127.0.0.1 "$port" >/dev/null
	kill -INT "$truss"
	wait "$truss"
	cp truss.log "$results/truss-worker"
	holds "it asks for nothing that capability mode forbids" not grep -Eq 'ECAPMODE|ENOTCAPABLE|Not permitted in capability mode' truss.log
	holds "it opens nothing by name" not grep -Eq ' (open|openat|connect|bind|execve)\(' truss.log
	holds "the daemon runs" daemon_runs
}
