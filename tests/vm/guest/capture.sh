# A short conversation for the runner's packet capture: both digests, data in the capsule, data
# after an R2T, data to the host.
# shellcheck shell=sh

. /job/steps.sh
. /job/discovery.sh
. /job/admin.sh
. /job/data.sh

# 32 KiB do not fit into a capsule: the target must ask for them.
large_write() {
	yes 0123456789abcde | head -c 32768 >/tmp/large
	nvme write "$(disk 2)" -s 64 -c "$(nlb "$(disk 2)" 32768)" -z 32768 -d /tmp/large
}

step "discover" discovered "$DISCOVERY_PORT"
step "connect, both digests, 2 queues" connect -g -G -i 2
step "write and read 4 KiB" write_read
step "write 32 KiB" large_write
step "identify" id_ctrl
step "disconnect" disconnect
plan
