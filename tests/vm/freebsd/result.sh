# shellcheck shell=sh
# The guest's results, read and judged. Sourced by run.sh.
#
# A result is a line as kyua prints it, whoever ran the case:
#
#   exports:names  ->  passed  [1.2s]
#   capsicum:blocks  ->  skipped: the worker is not in capability mode  [0.1s]
#
# The guest leaves all of them in a file on the third disk, between "cases N" and "end". The console
# has them too, but kernel messages get in between there: it is only asked how far a guest came that
# did not get to its end.

# result_lines FILE: "RESULT CASE REASON" of each case, in a line.
result_lines() {
	tr -d '\r' <"$1" | awk '
		match($0, /^[a-z0-9_]+:[A-Za-z0-9_]+  ->  /) {
			name = substr($0, 1, index($0, " ") - 1)
			text = substr($0, RLENGTH + 1)
			sub(/  \[[0-9.]+m?s\]$/, "", text)
			reason = text
			result = text
			sub(/:.*/, "", result)
			if (!sub(/^[a-z_]+: /, "", reason)) reason = ""
			print result, name, reason
		}'
}

# result_judge FILE: prints every case that did not pass, and the figures. Status 0: all passed or
# were skipped with a reason; 1: something failed, is missing or unknown; 75: nothing ran at all.
result_judge() {
	result_lines "$1" >"$1.lines"
	awk -v announced="$(sed -n 's/^cases \([0-9]*\)$/\1/p' "$1" | tail -n 1)" \
		-v ended="$(grep -c '^end$' "$1")" '
		{ name = $2; reason = $0; sub(/^[^ ]+ [^ ]+ ?/, "", reason) }
		seen[name]++ { print "FAILED  " name ": reported twice"; failed++; next }
		$1 == "passed" { passed++; next }
		$1 == "skipped" { print "SKIPPED " name ": " reason; skipped++; next }
		{ print "FAILED  " name ": " ($1 == "failed" ? "" : $1 " ") reason; failed++ }
		END {
			if (!ended) { print "FAILED  the guest did not get to the end of its tests"; failed++ }
			missing = announced - NR
			if (announced == "") { print "FAILED  the guest did not say how many cases it has"; failed++ }
			else if (missing > 0) { print "FAILED  " missing " of " announced " cases have no result"; failed++ }
			printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
			exit (failed ? 1 : (passed ? 0 : 75))
		}' "$1.lines"
}

# result_where FILE: the case that was running when the console stopped, if one was.
result_where() {
	tr -d '\r' <"$1" | sed -n 's/^\([a-z0-9_]*:[A-Za-z0-9_]*\)  ->  .*/\1/p' | tail -n 1
}
