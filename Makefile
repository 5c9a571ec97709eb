# What a person types; the work is in scripts/ and cargo. For GNU make and BSD make.

PREFIX ?= /usr/local
DESTDIR ?=
MANDIR ?= $(PREFIX)/share/man
# rc, systemd or none; else what this system has. Where the programs are; else where
# cargo puts them.
INIT ?=
PROGRAMS ?=

INSTALL = PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' MANDIR='$(MANDIR)' INIT='$(INIT)' \
	PROGRAMS='$(PROGRAMS)' sh scripts/install.sh

help:
	@echo 'make demo           build nvmfd and serve a RAM disk on loopback, until Ctrl-C'
	@echo 'make test           run every test that this machine can run'
	@echo 'make build          build nvmfd (release)'
	@echo 'make install        install into PREFIX ($(PREFIX)), below DESTDIR if that is set'
	@echo 'make uninstall      remove what that installed; nvmfd.toml stays'
	@echo 'make lint           formatting, clippy, house rules, documentation'
	@echo 'make audit          licences and sources of all that we depend on'
	@echo 'make sanitize       the daemon under AddressSanitizer and ThreadSanitizer'
	@echo 'make check-freebsd  check and link for FreeBSD, on Linux'
	@echo 'make bench          measure speed'
	@echo
	@echo 'demo and test install what they need from the system (apt or pkg).'
	@echo 'Some of the tests: NVMFD_TEST_ONLY="fmt unit" make test; see scripts/test.sh --help.'

demo:
	@sh scripts/demo.sh

build:
	@sh scripts/with-rust.sh cargo build --release --locked --package nvmfd

test:
	@sh scripts/test.sh

lint:
	@sh scripts/test.sh bootstrap fmt clippy rules doc

audit:
	@sh scripts/audit.sh

sanitize:
	@sh scripts/sanitize.sh

check-freebsd:
	@sh scripts/freebsd-check.sh

bench:
	@sh scripts/with-rust.sh cargo bench --workspace --locked --bench '*'

# Builds only when nothing is built: root needs no compiler.
install:
	@programs='$(PROGRAMS)'; programs=$${programs:-$${CARGO_TARGET_DIR:-target}/release}; \
		{ [ -x "$$programs/nvmfd" ] && [ -x "$$programs/nvmfctl" ]; } || $(MAKE) build
	@$(INSTALL) install

uninstall:
	@$(INSTALL) uninstall

.PHONY: help demo build test lint audit sanitize check-freebsd bench install uninstall
