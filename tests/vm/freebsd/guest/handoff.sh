# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# Queues handed to the kernel: FreeBSD's own host on the other end, and peers that are none.

serve() {
	needs_host
	configure kernel 1=ram:64m 2=ram:32m
	start
}

story discover "nvmecontrol discovers the subsystem"
discover_body() {
	serve
	must nvmecontrol discover 127.0.0.1:8009 >log
	holds "the subsystem is in the log" grep -qF "$nqn" log
	holds "with its port" grep -q "$port" log
	must nvmecontrol discover "127.0.0.1:$port" >log
	holds "and the portal answers too" grep -qF "$nqn" log
}

story io "data written is read back, on both namespaces and four queues"
io_body() {
	serve
	connect -i 4
	comes 30 "the disk of namespace 2" disk 2
	written_and_read "$(disk 1)"
	written_and_read "$(disk 2)"
	holds "one association" association_count 1
	ctladm lunlist >"$results/lunlist" 2>&1
	disconnect
	comes 10 "the association's end" association_count 0
}

story io_by_fio "fio verifies its own data" 600
io_by_fio_body() {
	command -v fio >/dev/null || atf_skip "fio is not installed (pkg install fio)"
	serve
	connect -i 4
	must fio --name=verify --filename="$(disk 1)" --rw=randwrite --bs=4k --iodepth=8 \
		--ioengine=posixaio --size=32m --verify=crc32c --verify_fatal=1
}

story digests_and_flow_control "digests and flow control, in every combination" 600
digests_and_flow_control_body() {
	needs_host
	configure kernel 1=ram:64m
	start
	for options in '' -g -G '-g -G' -F '-F -g -G'; do
		# shellcheck disable=SC2086 # a list of words
		connect $options
		written_and_read "$(disk 1)"
		disconnect
	done
}

story connect_all "connect-all connects what discovery shows"
connect_all_body() {
	serve
	must nvmecontrol connect-all 127.0.0.1:8009
	comes 30 "the disk of namespace 1" disk 1
	written_and_read "$(disk 1)"
}

story reconnect "a host whose connection was ended comes back to its disk"
reconnect_body() {
	serve
	connect
	held=$(controller) || atf_fail "there is no controller"
	must ctladm nvterminate -a
	comes 10 "the association's end" association_count 0
	must nvmecontrol reconnect "$held" "127.0.0.1:$port"
	comes 30 "the disk of namespace 1" disk 1
	written_and_read "$(disk 1)"
}

story one_answer_a_queue "each Connect is answered once, by the kernel"
one_answer_a_queue_body() {
	command -v tcpdump >/dev/null || atf_skip "there is no tcpdump"
	serve
	tcpdump -i lo0 -U -w capture "tcp port $port" 2>tcpdump.log &
	tcpdump=$!
	comes 20 "tcpdump" grep -q listening tcpdump.log
	connect -i 4
	disconnect
	comes 10 "the last packets" test -s capture
	kill "$tcpdump"
	wait "$tcpdump"
	cp capture "$results/handoff.pcap"
	# Of each connection the first packets with data: ICReq, ICResp, Connect, one answer, and then
	# the host's turn.
	tcpdump -nn -r capture 2>/dev/null | awk -v ours="127.0.0.1.$port" '
		{ size = $NF; if (size !~ /^[0-9]+$/ || size == 0) next }
		{ from = $3; to = $5; sub(/:$/, "", to) }
		from == ours { peer = to; said[peer] = said[peer] "c" }
		to == ours { peer = from; said[peer] = said[peer] "h" }
		END {
			for (peer in said) {
				queues++
				if (said[peer] !~ /^hchc(h|$)/) { print peer, said[peer]; wrong++ }
			}
			if (queues < 5) { print queues, "queues"; wrong++ }
			exit wrong > 0
		}' >order || atf_fail "queues with other answers: $(tr '\n' ' ' <order)"
}

story descriptors_do_not_leak "a hundred connects and disconnects leave no descriptor" 1800
descriptors_do_not_leak_body() {
	serve
	connect
	disconnect
	held=$(worker)
	before=$(procstat -f "$held" | wc -l)
	began=$(date +%s)
	# A thousand take an hour in an emulated machine, and say no more.
	for _ in $(jot 100); do
		must nvmecontrol connect "127.0.0.1:$port" "$nqn" >/dev/null
		must nvmecontrol disconnect "$nqn" >/dev/null
	done
	echo "100 connects and disconnects in $(($(date +%s) - began)) s" >"$results/connects"
	comes 30 "the last descriptor's end" holds_at_most "$held" "$before"
}

holds_at_most() {
	[ "$(procstat -f "$1" | wc -l)" -le "$2" ]
}

story kqueue_lets_go "I/O on a queue that was handed over wakes nobody in the daemon"
kqueue_lets_go_body() {
	command -v truss >/dev/null || atf_skip "there is no truss"
	serve
	connect
	truss -f -o truss.log -p "$(worker)" &
	truss=$!
	comes 10 "truss" test -e truss.log
	written_and_read "$(disk 1)"
	kill -INT "$truss"
	wait "$truss"
	cp truss.log "$results/truss"
	woken=$(grep -Ec 'kevent.*EVFILT_(READ|WRITE).* = [1-9]' truss.log)
	holds "hardly any event for 64 MiB of I/O (it were $woken)" test "$woken" -lt 10
}

story unknown_controllers "a CNTLID that is bogus, stale or another host's panics no kernel"
unknown_controllers_body() {
	command -v nc >/dev/null || atf_skip "there is no nc"
	serve
	connect
	cntlid=$(associations | head -n 1)
	other=11111111111111111111111111111111
	# By another host: HOSTNQN, or the identifier where names are the same.
	raw_refused '1 130 1 16' 1 77 "$other" nqn.2014-08.org.example:other
	raw_refused '1 130 1 512' 1 "$cntlid" "$other" nqn.2014-08.org.example:other
	raw_refused '1 130 1 0' 2 "$cntlid" "$other" "$(own_hostnqn)"
	disconnect
	comes 10 "the association's end" association_count 0
	raw_refused '1 130 1 16' 1 "$cntlid" "$(own_hostid)" "$(own_hostnqn)"
	holds "the daemon runs" daemon_runs
	connect
	written_and_read "$(disk 1)"
}

story queues_beyond "a queue that is there already, or was not granted, is refused and the rest lives on"
queues_beyond_body() {
	command -v nc >/dev/null || atf_skip "there is no nc"
	serve
	connect -i 2
	cntlid=$(associations | head -n 1)
	for qid in 1 2 3 60000; do
		answered=$(raw_connect "$qid" "$cntlid" "$(own_hostid)" "$(own_hostnqn)")
		echo "QID $qid: $answered" >>"$results/queues"
		case $answered in
		"0 0 "*) atf_fail "QID $qid of CNTLID $cntlid was granted twice, or beyond what was granted" ;;
		esac
	done
	written_and_read "$(disk 1)"
}
