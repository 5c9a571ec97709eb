# Sourced by the exercise for the reference: Linux's own target on this guest's loopback, with the
# namespaces that the runner gives to ours (a RAM disk and a file, 64 MiB each).
# shellcheck shell=sh

nvmet=/sys/kernel/config/nvmet

nvmet_up() {
	modprobe brd rd_nr=1 rd_size=65536
	modprobe nvmet_tcp
	[ -d "$nvmet" ] || mount -t configfs configfs /sys/kernel/config
	[ -e /tmp/namespace ] || truncate -s 64M /tmp/namespace

	subsystem=$nvmet/subsystems/$NQN
	mkdir "$subsystem"
	echo 1 >"$subsystem/attr_allow_any_host"
	mkdir "$subsystem/namespaces/1" "$subsystem/namespaces/2"
	echo /dev/ram0 >"$subsystem/namespaces/1/device_path"
	echo /tmp/namespace >"$subsystem/namespaces/2/device_path"
	# tmpfs has no direct I/O.
	echo 1 >"$subsystem/namespaces/2/buffered_io"
	echo 1 >"$subsystem/namespaces/1/enable"
	echo 1 >"$subsystem/namespaces/2/enable"

	mkdir "$nvmet/ports/1"
	echo tcp >"$nvmet/ports/1/addr_trtype"
	echo ipv4 >"$nvmet/ports/1/addr_adrfam"
	echo "$ADDRESS" >"$nvmet/ports/1/addr_traddr"
	echo "$PORT" >"$nvmet/ports/1/addr_trsvcid"
	ln -s "$subsystem" "$nvmet/ports/1/subsystems/$NQN"
}

nvmet_down() {
	rm -f "$nvmet/ports/1/subsystems/$NQN"
	rmdir "$nvmet/ports/1" "$nvmet/subsystems/$NQN/namespaces"/* "$nvmet/subsystems/$NQN"
	within 10 modprobe -r nvmet_tcp
}

# What the runner does to our daemon, as far as a kernel's target knows it.
nvmet_ask() {
	case $* in
	"target stop" | "target kill") rm "$nvmet/ports/1/subsystems/$NQN" ;;
	"target start") ln -s "$nvmet/subsystems/$NQN" "$nvmet/ports/1/subsystems/$NQN" ;;
	*) skip "needs the runner" ;;
	esac
}
