# Sourced by the exercise: nvme-stas, whose stafd connects to discovery services and whose stacd connects
# to what those show, both by themselves. Only one image has it. There is no systemd: what its units
# would do is done here.
# shellcheck shell=sh

# stas_up LINE...: both services, with these lines for stafd.
stas_up() {
	mkdir -p /etc/nvme /run/dbus /run/stafd /run/stacd /run/udev /var/cache/stafd /var/cache/stacd
	ln -sfn /run /var/run
	echo "$hostnqn" >/etc/nvme/hostnqn
	echo "$hostid" >/etc/nvme/hostid
	dbus-uuidgen --ensure=/etc/machine-id
	/usr/lib/systemd/systemd-udevd --daemon
	dbus-daemon --system --nopidfile
	within 10 [ -S /run/dbus/system_bus_socket ]
	printf '%s\n' "$@" >/etc/stas/stafd.conf
	echo '[Global]' >/etc/stas/stacd.conf
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
	killall dbus-daemon systemd-udevd
	within 10 gone
	within 10 of "$second" gone
}

stas_steps() {
	step "nvme-stas: stafd follows discovery, stacd connects what that shows" stas_connects
	step "nvme-stas: after a reload an event, and the new subsystem is connected" stas_follows
	step "nvme-stas: ended" stas_down
}
