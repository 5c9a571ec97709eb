# Sourced by the exercise: what the discovery log says, and connecting by it.
# shellcheck shell=sh

# discovered PORT: the log there has exactly one way to our subsystem, and it is the right one.
discovered() {
	fabrics discover "$1" -o json >/tmp/log.json
	cat /tmp/log.json
	jq -e --arg nqn "$NQN" --arg address "$ADDRESS" --arg port "$PORT" '
		[.records[] | select(.subnqn == $nqn)]
		| length == 1 and .[0].traddr == $address and .[0].trsvcid == $port
			and .[0].trtype == "tcp" and .[0].subtype == "nvme subsystem"' /tmp/log.json
}

# It exits 0 even if nothing could be connected: the host itself must know the subsystem.
connect_all() {
	fabrics connect-all "$1"
	within 10 live
	nvme list-subsys
	disconnect
}

persistent_discovery() {
	fabrics discover "$DISCOVERY_PORT" -p -k 5
	sleep 12
	for entry in /sys/class/nvme/nvme*; do
		[ "$(cat "$entry/state")" = live ]
	done
	nvme disconnect -n nqn.2014-08.org.nvmexpress.discovery
}

discovery_steps() {
	step "discover" discovered "$DISCOVERY_PORT"
	step "discover on the I/O port" discovered "$PORT"
	step "connect-all" connect_all "$DISCOVERY_PORT"
	[ "$LEVEL" = full ] || return 0
	step "connect-all through the I/O port" connect_all "$PORT"
	step "persistent discovery controller outlives its keep-alive timeout" persistent_discovery
}
