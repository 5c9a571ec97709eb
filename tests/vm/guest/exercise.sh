# The exercise: a Linux host uses the target for everything that a host does.
#
# Settings: TARGET (nvmfd, nvmfd-kernel for kernel mode, or nvmet for the reference in this guest),
# LEVEL (essential or full), ADDRESS, PORT, DISCOVERY_PORT, NQN. The order matters: each part leaves
# the host disconnected.
# shellcheck shell=sh
. /job/steps.sh
. /job/nvmet.sh
. /job/discovery.sh
. /job/admin.sh
. /job/data.sh
. /job/trouble.sh
. /job/kernel.sh
. /job/news.sh
. /job/stas.sh
. /job/reload.sh

[ "$TARGET" != nvmet ] || step "the reference target is set up" nvmet_up

discovery_steps
digest_steps

step "connect" connect
admin_steps
data_steps
step "disconnect" disconnect

trouble_steps
[ "$TARGET" != nvmfd-kernel ] || kernel_steps
[ "$TARGET" = nvmet ] || news_steps
[ ! -e /usr/sbin/stafd ] || stas_steps
[ "$TARGET" = nvmet ] || reload_steps
end_steps
plan

# The runner ends this guest without warning and looks at what that did to the target.
if [ "$TARGET" != nvmet ]; then
	[ "$LEVEL" = essential ] || die_under_io freeze
	die_under_io kill
fi
plan >/dev/null
