# shellcheck shell=sh disable=SC2154,SC2094 # one program with daemon.sh, host.sh, peer.sh
# The sandbox around the process that meets peers. Where it is not there yet, that is said: these
# cases never pass without it.

# in_capability_mode PID: ps(1) has a C behind the state then.
in_capability_mode() {
	state=$(ps -o state= -p "$1") || atf_fail "there is no process $1"
	case $state in
	*C*) return 0 ;;
	*) return 1 ;;
	esac
}

needs_sandbox() {
	[ "$(uname -s)" = FreeBSD ] || atf_skip "Capsicum is FreeBSD's"
	[ "$(sysctl -n kern.features.security_capability_mode 2>/dev/null)" = 1 ] ||
		atf_skip "this kernel has no capability mode"
	configure user 1=ram:64m
	start
	in_capability_mode "$(worker)" ||
		atf_skip "the worker is not in capability mode: this nvmfd has no sandbox yet"
}

story worker_is_in_capability_mode "the worker is in capability mode, and the monitor is not"
worker_is_in_capability_mode_body() {
	needs_sandbox
	holds "the monitor can still reload" not in_capability_mode "$(daemon)"
}

story nothing_is_open_to_it "the worker holds no directory and not CTL's device"
nothing_is_open_to_it_body() {
	needs_sandbox
	procstat -fC "$(worker)" >"$results/capabilities"
	must procstat -f "$(worker)" >files
	# A directory would be a way to its files. Every process has one to be in and a root; those
	# have no number.
	awk '$3 ~ /^[0-9]+$/ && $4 == "v" && $5 == "d"' files >directories
	holds "no directory" not test -s directories
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
