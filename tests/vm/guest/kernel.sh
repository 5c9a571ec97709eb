# Sourced by the exercise: in kernel mode queues and exports outlive the daemon that made them.
# shellcheck shell=sh

# Without multipath, so that I/O that a broken connection has interrupted fails. For longer than the
# keep-alive timeout there is no daemon; the next one adopts, as the runner reads in its log.
daemon_killed() {
	multipath N
	connect -k 5 -g -G
	mark
	start_io "$(disk 2)"
	io_goes_on 1
	ask target kill
	refused 'refused' fabrics discover "$DISCOVERY_PORT"
	io_goes_on 6
	nvme smart-log "/dev/$(controller)"
	refused 'refused' fabrics discover "$DISCOVERY_PORT"
	undisturbed
	ask target start
	io_goes_on 2
	undisturbed
	io_was_good
}

# The first host's association is the one that the daemon before has negotiated.
new_host() {
	undisturbed
	discovered "$DISCOVERY_PORT"
	beside_another
	undisturbed
	disconnect
	multipath Y
}

reset_again_and_again() {
	while [ ! -e /tmp/io.stop ]; do
		nvme reset "/dev/$(controller)" || sleep 0.2
	done
}

# At moments that nobody chooses, until that has kept the host from coming back at once three times.
killed_while_connecting() {
	connect -i 4 -W 2
	mark
	start_io "$(disk 2)"
	reset_again_and_again &
	resets=$! kills=0
	until [ "$(dmesg | grep -c 'Reconnecting in')" -ge 3 ]; do
		kills=$((kills + 1))
		[ "$kills" -le 40 ] || fail "the host was hardly disturbed"
		sleep "0.$((kills % 5))"
		ask target kill
		ask target start
		within 30 live
	done
	touch /tmp/io.stop
	wait "$resets"
	within 30 live
	io_was_good
	disconnect
}

kernel_steps() {
	step "daemon killed under verified I/O: it goes on, and the next daemon adopts" daemon_killed
	step "a new host beside it, through the new daemon: verified I/O" new_host
	[ "$LEVEL" = full ] || return 0
	step "daemon killed while a host connects, again and again" killed_while_connecting
}
