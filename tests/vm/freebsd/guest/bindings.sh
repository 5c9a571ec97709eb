# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# Our declarations of the kernel's interface, against the headers of the kernel that runs here.

needs_headers_test() {
	headers=$(find "$suite/rust" -name 'headers-*' -perm -100 2>/dev/null | head -n 1)
	[ -n "$headers" ] || atf_skip "the test program of nvmf-sys was not brought along (--tests)"
	command -v cc >/dev/null || atf_skip "there is no C compiler (FreeBSD-clang)"
}

story installed_headers "the bindings are what /usr/include has of nvmf(4)"
installed_headers_body() {
	needs_headers_test
	[ -e /usr/include/dev/nvmf/nvmf.h ] || atf_skip "there are no headers in /usr/include (FreeBSD-clibs-dev)"
	cd "$suite/sys" || atf_fail "there is no $suite/sys"
	# Named, so that what cannot be compared fails instead of being left out.
	must env NVMF_SYS_CC=cc "$headers" freebsds_nvmf_headers
}

story kernel_source "the bindings are what /usr/src has of CTL"
kernel_source_body() {
	needs_headers_test
	[ -e /usr/src/sys/cam/ctl/ctl_ioctl.h ] ||
		atf_skip "there is no /usr/src (its tar archive is src.txz of the release)"
	cd "$suite/sys" || atf_fail "there is no $suite/sys"
	must env NVMF_SYS_CC=cc "$headers" freebsds_ctl_headers >said
	holds "it was compared" not grep -q 'NOT RUN' said
}
