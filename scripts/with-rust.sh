#!/bin/sh
# Runs a command at the top of the repository with the project's Rust in the PATH,
# installing that first if it is missing. For the Makefile.
#
# usage: with-rust.sh COMMAND [ARGUMENT...]

set -eu
. "$(dirname "$0")/env.sh"

sh scripts/bootstrap.sh build
exec "$@"
