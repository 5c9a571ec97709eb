# Sourced by the exercise: administrative commands, on a connected controller.
# shellcheck shell=sh

device() { echo "/dev/$(controller)"; }

id_ctrl() {
	nvme id-ctrl "$(device)" -o json | tee /tmp/id-ctrl
	jq -e --arg nqn "$NQN" '.subnqn == $nqn and .nn >= 2 and .maxcmd > 0' /tmp/id-ctrl
}

# oncs BIT NAME: the optional NVM command is there.
oncs() {
	mask=$(nvme id-ctrl "$(device)" -o json | jq .oncs)
	[ $((mask >> $1 & 1)) -eq 1 ] || not_offered "$2"
}

id_ns() {
	for nsid in 1 2; do
		nvme id-ns "$(device)" -n "$nsid" -o json | tee /tmp/id-ns
		jq -e '.nsze > 0 and .ncap == .nsze and (.lbafs | length) > 0' /tmp/id-ns
		bytes=$(($(cat "/sys/block/$(basename "$(disk "$nsid")")/size") * 512))
		[ "$bytes" -eq $((64 << 20)) ]
	done
}

# A host tells namespaces apart by these, so two must not be alike.
ns_descs() {
	for nsid in 1 2; do
		nvme ns-descs "$(device)" -n "$nsid" | tee "/tmp/descs.$nsid"
		grep -E 'eui64|nguid|uuid' "/tmp/descs.$nsid" | grep -v '[: ]0*$'
	done
	! cmp -s /tmp/descs.1 /tmp/descs.2 || fail "both namespaces have the same identifiers"
}

list_ns() {
	nvme list-ns "$(device)" -o json | tee /tmp/list
	[ "$(jq -c '[.nsid_list[].nsid]' /tmp/list)" = '[1,2]' ]
}

# The Read command is supported: bit 0 of its four bytes. nvme-cli 2.3 prints nothing by itself.
effects_log() {
	nvme effects-log "$(device)"
	nvme get-log "$(device)" --log-id=5 --log-len=4096 -b >/tmp/effects
	[ $(($(od -An -tu1 -j $((1024 + 4 * 2)) -N 1 /tmp/effects) & 1)) -eq 1 ]
}

# get_feature FID: its value; nvme-cli writes "Current value:0x1" or "Current value:00000001".
get_feature() {
	nvme get-feature "$(device)" -f "$1" | tee -a /dev/stderr |
		sed -n 's/.*Current value: *\(0x\)*/0x/p'
}

feature_queues() {
	[ $(($(get_feature 7) & 0xffff)) -ge 1 ]
}

# set_feature FID VALUE: reads back as set, then is put back.
set_feature() {
	before=$(get_feature "$1")
	nvme set-feature "$(device)" -f "$1" --value="$2"
	after=$(get_feature "$1")
	[ $((after)) -eq $(($2)) ] || fail "set $2, got $after"
	nvme set-feature "$(device)" -f "$1" --value="$before"
}

# property OFFSET: its value; the form of the answer changed between versions like a feature's.
property() {
	nvme get-property "$(device)" --offset="$1" | tee -a /dev/stderr |
		sed -n 's/.*value: *\(0x\)*/0x/p'
}

# CAP.MQES is at least 1, VS 1.3 or newer; CC.EN and CSTS.RDY are set.
properties() {
	[ $(($(property 0) & 0xffff)) -ge 1 ]
	[ $(($(property 0x8))) -ge $((0x10300)) ]
	[ $(($(property 0x14) & 1)) -eq 1 ]
	[ $(($(property 0x1c) & 1)) -eq 1 ]
}

# Beyond NN it is an error; a target with a larger NN says that nothing is there.
no_namespace() {
	if nvme id-ns "$(device)" -n 77 -o json >/tmp/id-ns; then
		[ "$(jq .nsze /tmp/id-ns)" -eq 0 ]
	else
		refused 'invalid.namespace' nvme id-ns "$(device)" -n 77
	fi
}

bad_opcode() {
	refused 'invalid.*op' nvme admin-passthru "$(device)" --opcode=0xc7
}

admin_steps() {
	step "id-ctrl" id_ctrl
	step "id-ns" id_ns
	step "ns-descs" ns_descs
	step "list-ns" list_ns
	step "smart-log" nvme smart-log "$(device)"
	step "error-log" nvme error-log "$(device)" -e 1
	step "fw-log" nvme fw-log "$(device)"
	step "changed-ns-list-log" nvme changed-ns-list-log "$(device)"
	step "effects-log" effects_log
	step "get-feature 07h number of queues" feature_queues
	step "get-feature 0bh events" get_feature 0xb
	step "get-feature 0fh keep-alive timer" get_feature 0xf
	step "set-feature 0bh events" set_feature 0xb 0x100
	step "set-feature 0fh keep-alive timer" set_feature 0xf 20000
	step "get-property CAP VS CC CSTS" properties
	step "id-ns of a namespace that is not there" no_namespace
	step "an unknown admin command is refused" bad_opcode
}
