# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# The Rust tests that were built for FreeBSD, run there for once.

# run_units PATTERN: every test program of that name.
run_units() {
	found=no
	for program in "$suite"/rust/$1; do
		# The program itself may lie beside its tests, by the same name.
		"$program" --list 2>/dev/null </dev/null | grep -q ': test$' || continue
		found=yes
		"$program" >"$results/${program##*/}.output" 2>&1 </dev/null ||
			atf_fail "${program##*/}: $(grep -E '^test result|FAILED$' "$results/${program##*/}.output" | tail -n 5 | tr '\n' ' ')"
	done
	[ "$found" = yes ] || atf_skip "no test program $1 was brought along (--tests)"
}

story protocol "nvmf-proto's tests" 900
protocol_body() {
	run_units 'nvmf_proto-*'
}

story kernel_interface "nvmf-kmod's tests" 900
kernel_interface_body() {
	run_units 'nvmf_kmod-*'
}

story daemon_units "nvmfd's and nvmfctl's tests" 900
daemon_units_body() {
	run_units 'nvmf[dc]*-*'
}
