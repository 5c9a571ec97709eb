# Sourced by the exercise: a host that stays connected to discovery, what it is told when that changes,
# and where it is led. The runner has the files, by name: config.rs. All of it is recorded, and read by
# a decoder that is not ours.
# shellcheck shell=sh

# Names of the files.
well_known=nqn.2014-08.org.nvmexpress.discovery
unique=nqn.2014-08.org.example:discovery
second=nqn.2014-08.org.example:second
other=nqn.2014-08.org.example:other

# of NQN COMMAND...: about another subsystem.
# shellcheck disable=SC2030,SC2031 # meant for the command alone
of() (
	NQN=$1
	shift
	"$@"
)

# The persistent connection.
follower() { echo "/dev/$(of "$unique" controller)"; }

# What the kernel tells udev: a line for each event of a controller, the last word an event of the
# target's, as udev's rule for discovery has it.
watch_kernel() {
	: >/tmp/uevents
	# shellcheck disable=SC2016 # for that shell
	uevent sh -c '[ "$SUBSYSTEM" != nvme ] || echo "$ACTION $DEVNAME ${NVME_AEN:-none}" >>/tmp/uevents' &
}

# notices_are COUNT: the discovery log has changed, so many times.
notices_are() { [ "$(grep -c ' 0x70f002$' /tmp/uevents)" -eq "$1" ]; }

# Reads the log over the persistent connection.
look_again() {
	device=$(basename "$(follower)")
	nvme discover -d "$device" -t tcp -a "$ADDRESS" -s "$DISCOVERY_PORT" \
		--hostnqn "$hostnqn" --hostid "$hostid" -o json >/tmp/log.json
	cat /tmp/log.json
	[ "$(of "$unique" controllers)" -eq 1 ]
}

# How many there are.
controllers() { cat /sys/class/nvme/nvme*/subsysnqn | grep -cx "$NQN"; }

# shows COUNT NQN SUBTYPE: the log that was read last has so many entries of them.
shows() {
	jq -e --arg nqn "$2" --arg subtype "$3" --argjson count "$1" \
		'[.records[] | select(.subnqn == $nqn and .subtype == $subtype)] | length == $count' \
		/tmp/log.json
}

# moved_by COUNT: the log's generation, since the last time.
moved_by() {
	before=$(cat /tmp/generation)
	jq .genctr /tmp/log.json >/tmp/generation
	[ "$(cat /tmp/generation)" -eq "$((before + $1))" ]
}

followed() {
	ask target serve unique
	ask capture begin
	watch_kernel
	fabrics discover "$DISCOVERY_PORT" -p -k 5 -o json >/tmp/log.json
	cat /tmp/log.json
	within 10 of "$unique" live
	within 10 grep -q "^add $(basename "$(follower)") " /tmp/uevents
	shows 1 "$unique" "current discovery subsystem"
	shows 1 "$NQN" "nvme subsystem"
	jq .genctr /tmp/log.json >/tmp/generation
	cat "/sys/class/nvme/$(basename "$(follower)")/cntlid" >/tmp/cntlid
}

# An event would have come before the answers to what is read then.
hidden() {
	ask target reload hidden
	look_again
	moved_by 0
	shows 0 "$second" "nvme subsystem"
	notices_are 0
}

# As udev's rule does it: connect-all by the device that the event came from.
came() {
	ask target reload second
	within 10 notices_are 1
	look_again
	moved_by 1
	shows 1 "$second" "nvme subsystem"
	nvme connect-all -d "$(basename "$(follower)")" -t tcp -a "$ADDRESS" -s "$DISCOVERY_PORT" \
		--hostnqn "$hostnqn" --hostid "$hostid"
	within 10 live
	within 10 of "$second" live
	disconnect
	of "$second" disconnect
}

masked() {
	ask target reload hidden
	within 10 notices_are 2
	ask target reload second
	ask target reload unique
	look_again
	moved_by 3
	shows 0 "$second" "nvme subsystem"
	notices_are 2
	ask target reload second
	within 10 notices_are 3
	look_again
	moved_by 1
}

# connect_discovery NQN KATO: as another host, by the kernel's own interface. nvme-cli would ask for a
# keep-alive timeout where none is given, and 2.3 takes the first host's connection for any other.
connect_discovery() {
	who=hostnqn=$other_hostnqn,hostid=$other_hostid
	echo "transport=tcp,traddr=$ADDRESS,trsvcid=$DISCOVERY_PORT,nqn=$1,discovery,$who,keep_alive_tmo=$2" \
		>/dev/nvme-fabrics
}

without_keep_alive() {
	connect_discovery "$well_known" 0
	within 10 of "$unique" live "$other_hostnqn"
	silent=$(of "$unique" controller "$other_hostnqn")
	ask target reload hidden
	within 10 notices_are 4
	nvme id-ctrl "/dev/$silent" >/dev/null
	! grep "^change $silent 0x70f002" /tmp/uevents || fail "told without a keep-alive timeout"
	nvme disconnect -d "$silent"
	look_again
}

own_name() {
	mark
	connect_discovery "$unique" 5
	within 10 of "$unique" live "$other_hostnqn"
	named=$(of "$unique" controller "$other_hostnqn")
	nvme id-ctrl "/dev/$named" -o json | jq -e --arg nqn "$unique" '.subnqn == $nqn'
	# What the first host has is under the well-known name.
	nvme id-ctrl "$(follower)" -o json | jq -e --arg nqn "$unique" '.subnqn == $nqn'
	nvme disconnect -d "$named"
	! connect_discovery nqn.2014-08.org.example:nobody 5 || fail "connected to nobody"
	kernel_said 'Connect Invalid Data Parameter, subsysnqn "nqn.2014-08.org.example:nobody"'
}

referred() {
	ask target start-other
	ask target reload referral
	within 10 notices_are 5
	look_again
	shows 1 "$well_known" "discovery subsystem referral"
	fabrics connect-all "$DISCOVERY_PORT"
	within 10 live
	within 10 of "$other" live
	disconnect
	of "$other" disconnect
	# nvme-cli stays connected to a service that says it may.
	nvme disconnect -n "$well_known"
	within 10 of "$well_known" gone
	ask target stop-other
}

# byte FILE OFFSET
byte() { od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' '; }

# log_form LSP: the log in that form; the header says which it is. In one piece: tshark 4.0 leaves out
# the last record of a read that does not begin with the header.
log_form() {
	nvme get-log "$(follower)" --log-id=0x70 --log-len=4096 --lsp="$1" -b >/tmp/form
	[ "$(byte /tmp/form 18)" -eq "$1" ]
}

log_forms() {
	log_form 1
	log_form 2
	log_form 4
	log_form 0
	# From any dword.
	nvme get-log "$(follower)" --log-id=0x70 --log-len=1000 --lpo=1028 -b >/tmp/part
	tail -c +1029 /tmp/form | head -c 1000 | cmp - /tmp/part
	nvme get-log "$(follower)" --log-id=0 --log-len=1024 -b >/tmp/supported
	[ $(($(byte /tmp/supported $((4 * 112))) & 1)) -eq 1 ]
}

# Longer than any timeout: it is still the same controller.
still_followed() {
	of "$unique" live
	[ "$(cat "/sys/class/nvme/$(basename "$(follower)")/cntlid")" = "$(cat /tmp/cntlid)" ]
	nvme disconnect -d "$(basename "$(follower)")"
	within 10 of "$unique" gone
	killall uevent
}

news_steps() {
	step "a persistent discovery controller under discovery's own name" followed
	step "a reload for another host: no event, the same generation" hidden
	step "a reload for this one: an event, read over the same connection, connect-all" came
	step "changes before the log is read: one event, and none is lost" masked
	step "without a keep-alive timeout no event comes" without_keep_alive
	step "discovery by its own name, which Identify agrees with" own_name
	step "a referral is shown and followed: connect-all reaches another daemon" referred
	step "the log in all its forms" log_forms
	step "the persistent controller has lived through it" still_followed
	step "tshark finds nothing malformed in any of it" ask capture judge
}
