# shellcheck shell=sh disable=SC2154,SC2094,SC2034 # one program with daemon.sh, host.sh, peer.sh
# Another configuration while hosts are there.

reload() {
	needs_nvmfctl
	must nvmfctl reload
}

story namespace_comes_and_goes "a namespace appears and disappears beside one in use" 600
namespace_comes_and_goes_body() {
	needs_host
	needs_nvmfctl
	configure kernel 1=ram:64m
	start
	connect
	cntlid=$(associations)
	must newfs "$(disk 1)" >/dev/null
	mkdir -p /mnt/nvmfd
	must mount "$(disk 1)" /mnt/nvmfd
	configure kernel 1=ram:64m 2=ram:32m
	reload
	comes 30 "the new namespace's disk" disk 2
	written_and_read "$(disk 2)"
	configure kernel 1=ram:64m
	reload
	comes 30 "its end" not disk 2
	pattern
	must cp pattern /mnt/nvmfd/
	holds "the mounted one is whole" cmp pattern /mnt/nvmfd/pattern
	must umount /mnt/nvmfd
	holds "the same association" test "$(associations)" = "$cntlid"
}

story namespace_grows "a file that has grown is larger for its host"
namespace_grows_body() {
	needs_host
	needs_nvmfctl
	truncate -s 32m /var/tmp/nvmfd-vol
	configure kernel 1=/var/tmp/nvmfd-vol
	start
	connect
	truncate -s 64m /var/tmp/nvmfd-vol
	reload
	comes 30 "the larger disk" disk_has 67108864
}

disk_has() {
	[ "$(diskinfo "$(disk 1)" | awk '{ print $3 }')" = "$1" ]
}

story bad_file_changes_nothing "a file with a mistake is refused, and everything stays"
bad_file_changes_nothing_body() {
	needs_host
	needs_nvmfctl
	configure kernel 1=ram:64m
	start
	connect
	before=$(ports)
	io_begin "$(disk 1)"
	echo 'colour = "green"' >>"$config"
	status=0
	nvmfctl reload 2>said || status=$?
	holds "the reload is refused" test "$status" -ne 0
	holds "and says what is wrong" grep -q colour said
	io_goes_on
	io_ended
	holds "the same port" test "$(ports)" = "$before"
}

story plan_runs_nothing "a plan says what a reload would do, and does none of it"
plan_runs_nothing_body() {
	needs_kernel_mode
	needs_nvmfctl
	configure kernel 1=ram:64m
	start
	before=$(ports)$(luns)
	cp "$config" other.toml
	printf '\n[[subsystem.namespace]]\nnsid = 2\nram = "32m"\n' >>other.toml
	must nvmfctl plan other.toml >plan
	holds "it names the namespace" grep -q 2 plan
	holds "nothing has changed" test "$(ports)$(luns)" = "$before"
}

story host_revoked "a host that a reload takes off the list is ended, if the file says so"
host_revoked_body() {
	needs_host
	needs_nvmfctl
	extra="hosts = [\"$(own_hostnqn)\"]
terminate-on-revoke = true"
	configure kernel 1=ram:64m
	start
	connect
	extra='hosts = ["nqn.2014-08.org.example:another"]
terminate-on-revoke = true'
	configure kernel 1=ram:64m
	reload
	comes 30 "the host's end" association_count 0
	status=0
	nvmecontrol connect "127.0.0.1:$port" "$nqn" 2>said || status=$?
	holds "it cannot come back" test "$status" -ne 0
}

story sighup_reloads "SIGHUP is a reload"
sighup_reloads_body() {
	needs_kernel_mode
	configure kernel 1=ram:64m
	start
	configure kernel 1=ram:64m 2=ram:32m
	kill -HUP "$(daemon)"
	comes 20 "the second LUN" two_luns
	holds "the daemon runs" daemon_runs
}

two_luns() {
	[ "$(luns | wc -l)" -eq 2 ]
}
