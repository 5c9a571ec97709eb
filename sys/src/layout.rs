//! What the bindings must be, asserted when they are compiled.
//!
//! Sizes, offsets and codes are literals, found by compiling FreeBSD's declarations for FreeBSD
//! (15.0, amd64, arm64 and riscv64; i386 for 32 bits): whichever headers bindgen read, and for
//! whatever host, what differs from the kernel's does not compile.
