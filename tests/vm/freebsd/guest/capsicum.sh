# shellcheck shell=sh disable=SC2154,SC2094 # one program with daemon.sh, host.sh, peer.sh
# The sandbox around the process that meets peers: what the system says of it, and what it comes to
# when the process tries to get out.

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
	configure "${1:-user}" 1=ram:64m
	start
	holds "the worker is in capability mode" in_capability_mode "$(worker)"
}

# lines WORD: how often the system's log has it in a line of the worker's.
lines() {
	grep -c "nvmfd.*worker: .*$1" /var/log/messages || true
}

more_lines() {
	[ "$(lines "$1")" -gt "$2" ]
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

story worker_is_nobody "the worker is nobody, and the monitor root"
worker_is_nobody_body() {
	needs_sandbox
	holds "the worker is nobody" test "$(ps -o user= -p "$(worker)" | tr -d ' ')" = nobody
	holds "the monitor is root" test "$(ps -o user= -p "$(daemon)" | tr -d ' ')" = root
	if command -v nvmfctl >/dev/null; then
		must nvmfctl status >status
		holds "nvmfctl shows it" grep -q 'confined by capability mode, as nobody' status
	fi
}

story kernel_mode_is_confined "queues are handed over out of capability mode, by a descriptor for that alone" 600
kernel_mode_is_confined_body() {
	needs_host
	needs_sandbox kernel
	procstat -fC "$(worker)" >"$results/capabilities-kernel"
	connect -i 2
	written_and_read "$(disk 1)"
	disconnect
	# The gate, too: it lists the kernel's controllers.
	raw_refused '1 130 1 16' 1 777 11111111111111111111111111111111 nqn.2014-08.org.example:host
}

story what_it_tries_fails "whatever a worker that was taken over tries is refused"
what_it_tries_fails_body() {
	command -v nvmfd-fake >/dev/null ||
		atf_skip "the program that tries was not brought along (scripts/freebsd-check.sh builds it)"
	needs_sandbox
	stop
	mkdir -m 777 place
	echo kept >place/kept
	chmod 666 place/kept
	for user in nobody root; do
		NVMFD_ATTEMPTS_IN=$PWD/place NVMFD_ATTEMPTS_AT=127.0.0.1:22 nvmfd-fake -d --user "$user" \
			--socket "$PWD/ctl" -p 0 -P 0 --listen 127.0.0.1 --discovery-listen 127.0.0.1 \
			ramdisk:1m >banner 2>"attempts.$user" &
		comes 30 "the end of the attempts of $user" grep -q 'attempts: the end' "attempts.$user"
		kill -TERM $!
		wait $!
		cp "attempts.$user" "$results/attempts-$user"
		holds "it has tried a lot" test "$(grep -c 'attempt to' "attempts.$user")" -gt 25
		# As root nothing is in the way of being root.
		grep SUCCEEDED "attempts.$user" | grep -v 'become root' >succeeded
		holds "nothing succeeded for $user" not test -s succeeded
	done
	holds "the file is as it was" test "$(cat place/kept)" = kept
	holds "nothing came beside it" test "$(ls place)" = kept
}

story its_lines_reach_syslog "what the worker logs reaches syslogd, also one that was started again"
its_lines_reach_syslog_body() {
	needs_sandbox
	pgrep -x syslogd >/dev/null || atf_skip "there is no syslogd"
	before=$(lines 'serving what was changed')
	configure user 1=ram:32m
	kill -HUP "$(daemon)"
	comes 30 "the worker's line" more_lines 'serving what was changed' "$before"
	must service syslogd restart
	before=$(lines 'serving what was changed')
	configure user 1=ram:16m
	kill -HUP "$(daemon)"
	comes 30 "a line to the next syslogd" more_lines 'serving what was changed' "$before"
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
