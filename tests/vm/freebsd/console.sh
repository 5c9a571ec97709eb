# shellcheck shell=sh disable=SC2154 # run.sh sets what is used here
# A guest's serial console, driven as a person would: wait for a prompt, type a line. Sourced.
#
# The machine writes to $transcript and reads from descriptor 8, a FIFO. Every wait has a deadline
# and ends early when the machine does, panics or boots again; $why then says so. What is typed is
# echoed: a pattern must not match its own command, so markers are typed with quotes inside.

# What FreeBSD's kernel says last. At the beginning of a line, because logs may quote it.
console_panics='^panic: |^Fatal (trap|double fault)|^KDB: (enter|stack backtrace)|^db> '

# What only a machine says that begins once more.
console_boots='^---<<BOOT>>---|Autoboot in|^Copyright \(c\) 1992-|login: *$'

# console_start COMMAND...: the machine, in the background; sets $machine, its process.
console_start() {
	mkfifo "$work/keyboard"
	: >"$transcript"
	# Read and write: neither side waits for the other to open it.
	exec 8<>"$work/keyboard"
	"$@" <"$work/keyboard" >"$transcript" 2>"$work/hypervisor.log" 8>&- &
	machine=$!
	mark=0
}

console_size() {
	wc -c <"$transcript" | tr -d ' '
}

# What came since the last line was typed, without what moves cursors and chooses colours.
console_text() {
	tail -c "+$((mark + 1))" "$transcript" | tr -d '\r\000' | sed 's/'"$console_escape"'\[[0-9;?=]*[A-Za-z]//g'
}

console_escape=$(printf '\033')

# console_type LINE
console_type() {
	mark=$(console_size)
	printf '%s\r' "$1" >&8
}

# console_expect SECONDS PATTERN [PATTERN]: waits for an extended regular expression. 0: it came;
# 1: it did not, and $why says why; 2: the second one came first.
console_expect() {
	until=$(($(date +%s) + $1))
	while :; do
		# Before reading: what the machine wrote last is read, too.
		if kill -0 "$machine" 2>/dev/null; then alive=yes; else alive=no; fi
		console_text >"$work/recent"
		if grep -Eq -e "$console_panics" "$work/recent"; then
			console_settle
			why="the guest's kernel panicked: $(console_text | grep -E -m 1 -e "$console_panics")"
			return 1
		fi
		grep -Eq -e "$2" "$work/recent" && return 0
		[ -z "${3:-}" ] || ! grep -Eq -e "$3" "$work/recent" || return 2
		if [ "$booted" = yes ] && grep -Eq -e "$console_boots" "$work/recent"; then
			why="the guest rebooted"
			return 1
		fi
		if [ "$alive" = no ]; then
			status=0
			wait "$machine" || status=$?
			why="the virtual machine ended: $("${hypervisor}_said" "$status")"
			return 1
		fi
		if [ "$(date +%s)" -ge "$until" ]; then
			why="no answer within $1 s"
			return 1
		fi
		sleep "${NVMFD_VM_POLL:-0.5}"
	done
}

# A panic's backtrace is worth some seconds: until nothing more comes.
console_settle() {
	last=-1
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		now=$(console_size)
		[ "$now" != "$last" ] || break
		last=$now
		sleep "${NVMFD_VM_POLL:-0.5}"
	done
}

# console_login SECONDS: from power on to a root shell. Official images have no password, and a
# getty wherever the console is. Where a loader shows its menu, it is told so; without a menu there
# is nothing to tell.
console_login() {
	booted=no
	status=0
	console_expect "$1" 'login: *$' 'Autoboot in|Escape to loader prompt' || status=$?
	if [ "$status" = 2 ]; then
		console_loader
		status=0
		console_expect "$1" 'login: *$' || status=$?
	fi
	[ "$status" = 0 ] || return 1
	console_type root
	# A kernel message behind the prompt hides it; return brings another. The mark stays: the prompt
	# may have come at this very moment.
	patience=$(($(date +%s) + $1))
	while ! console_expect "${NVMFD_VM_NUDGE:-15}" '[#%$] *$'; do
		[ "$why" = "no answer within ${NVMFD_VM_NUDGE:-15} s" ] && [ "$(date +%s)" -lt "$patience" ] || return 1
		printf '\r' >&8
	done
	booted=yes
	# No line editing: it redraws long lines.
	console_type 'exec env ENV= HISTFILE= TERM=dumb /bin/sh'
	console_run 30 'stty -echo'
}

# The menu's third entry is the loader's prompt. UEFI's console has no lines, only places on a
# screen, so that the prompt is known by its end alone; and if it is not known, it is there.
console_loader() {
	printf 3 >&8
	for line in 'set boot_multicons="YES"' 'set boot_serial="YES"' boot; do
		console_expect "${NVMFD_VM_NUDGE:-15}" 'OK *$' || [ "$why" = "no answer within ${NVMFD_VM_NUDGE:-15} s" ] || return 0
		console_type "$line"
	done
}

# console_run SECONDS COMMAND: runs it, and has its status. With $why if there is none.
console_run() {
	command_number=$((${command_number:-0} + 1))
	end=nvmfd-vm-$command_number-
	console_type "$2; echo nvmfd-\"vm\"-$command_number-\$?-"
	console_expect "$1" "${end}[0-9]+-" || {
		why="$why (command: $2)"
		return 1
	}
	result=$(console_text | sed -n "s/.*$end\\([0-9]*\\)-.*/\\1/p" | head -n 1)
	[ "$result" = 0 ] || why="status $result (command: $2): $(console_text | tail -n 3 | tr '\n' ' ')"
	return "$result"
}

# console_end SECONDS: the machine goes down by itself, or is ended.
console_end() {
	[ -n "${machine:-}" ] || return 0
	within "$1" console_gone || {
		kill "$machine" 2>/dev/null
		within 10 console_gone || kill -9 "$machine" 2>/dev/null
	}
	wait "$machine" 2>/dev/null || true
	machine=
	exec 8>&-
}

console_gone() {
	! kill -0 "$machine" 2>/dev/null
}
