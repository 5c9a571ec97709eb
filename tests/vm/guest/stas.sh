# Sourced by the exercise: nvme-stas, whose stafd connects to discovery services and whose stacd connects
# to what those show, both by themselves. Only one image has it. There is no systemd: what its units
# would do is done here.
# shellcheck shell=sh

# stas_up LINE...: both services, with these lines for stafd, and Avahi for it to ask.
stas_up() {
	mkdir -p /etc/nvme /run/dbus /run/stafd /run/stacd /run/udev /var/cache/stafd /var/cache/stacd
	ln -sfn /run /var/run
	echo "$hostnqn" >/etc/nvme/hostnqn
	echo "$hostid" >/etc/nvme/hostid
	dbus-uuidgen --ensure=/etc/machine-id
	/usr/lib/systemd/systemd-udevd --daemon
	dbus-daemon --system --nopidfile
	within 10 [ -S /run/dbus/system_bus_socket ]
	hostname guest
	/usr/sbin/avahi-daemon --no-drop-root --no-chroot --no-rlimits >/tmp/avahi.log 2>&1 &
	within 10 [ -e /run/avahi-daemon/pid ]
	printf '%s\n' "$@" >/etc/stas/stafd.conf
	printf '%s\n' '[Global]' 'ignore-iface=true' >/etc/stas/stacd.conf
	python3 -u /usr/sbin/stafd >/tmp/stafd.log 2>&1 &
	python3 -u /usr/sbin/stacd >/tmp/stacd.log 2>&1 &
}

# What they said is of interest only when something went wrong.
stas_said() {
	cat /tmp/stafd.log /tmp/stacd.log
	fail "$*"
}

stas_connects() {
	ask target serve unique
	stas_up '[Service Discovery]' 'zeroconf=disabled' '[Controllers]' \
		"controller=transport=tcp;traddr=$ADDRESS;trsvcid=$DISCOVERY_PORT"
	within 60 live || stas_said "not connected"
	of "$second" gone
	# Found, not told of.
	[ "$(stafctl ls | grep -c "'trsvcid': '$DISCOVERY_PORT'")" -eq 1 ]
}

stas_follows() {
	ask target reload second
	within 60 of "$second" live || stas_said "the new subsystem is not connected"
	grep -q 'Received AEN: 0x70f002' /tmp/stafd.log
	live
}

stas_down() {
	killall python3
	nvme disconnect-all
	killall avahi-daemon dbus-daemon systemd-udevd
	rm -f /run/dbus/* /run/avahi-daemon/pid
	within 10 gone
	within 10 of "$second" gone
}

# A daemon that is known to nobody, in this guest: it announces itself on the link that both are on.
found=nqn.2014-08.org.example:found
guest_address=10.0.2.15

# serves NQN...: its file, with these subsystems.
serves() {
	{
		printf '[discovery]\nlisten = ["%s:8009"]\nmdns = true\n' "$guest_address"
		printf '[[portal]]\nname = "here"\nlisten = ["%s:4420"]\n' "$guest_address"
		for nqn in "$@"; do
			printf '[[subsystem]]\nnqn = "%s"\nmode = "user"\nportals = ["here"]\nallow-any-host = true\n' "$nqn"
			printf '[[subsystem.namespace]]\nnsid = 1\nram = "16m"\n'
		done
	} >/tmp/nvmfd.toml
}

# Both ends are on one machine, where nothing comes back by the interface that it is bound to.
stas_finds() {
	serves "$found"
	/job/nvmfd -d -f /tmp/nvmfd.toml --socket /tmp/nvmfd.sock >/tmp/nvmfd.log 2>&1 &
	stas_up '[Global]' 'ignore-iface=true' '[Service Discovery]' 'zeroconf=enabled' '[Controllers]'
	within 60 of "$found" live || {
		cat /tmp/nvmfd.log /tmp/avahi.log
		stas_said "not found by multicast DNS"
	}
	stafctl ls
	stafctl ls | grep "'traddr': '$guest_address'"
}

stas_follows_whom_it_found() {
	serves "$found" "$second"
	killall -HUP nvmfd
	within 60 of "$second" live || stas_said "the new subsystem is not connected"
	grep -q 'Received AEN: 0x70f002' /tmp/stafd.log
	of "$found" live
}

stas_found_down() {
	killall -INT nvmfd
	stas_down
	within 10 of "$found" gone
}

stas_steps() {
	step "nvme-stas: stafd follows discovery, stacd connects what that shows" stas_connects
	step "nvme-stas: after a reload an event, and the new subsystem is connected" stas_follows
	step "nvme-stas: ended" stas_down
	step "nvme-stas: stafd finds a daemon by multicast DNS, stacd connects what that shows" stas_finds
	step "nvme-stas: an event of whom it found, and the new subsystem is connected" stas_follows_whom_it_found
	step "nvme-stas: ended again" stas_found_down
}
