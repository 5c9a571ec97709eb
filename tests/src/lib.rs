//! The tests that see nvmfd from outside.
//!
//! * [`target`]: the program itself, started on loopback with ports of its own.
//! * [`peer`]: a host in user space around the protocol crate's host half, or a raw socket for what
//!   no host would send.
//! * [`program`]: where the program is, freshly built.
//! * [`kernel`]: FreeBSD's kernel, played, for kernel mode.
//! * [`usage`]: what the program holds, as the system counts it.
//! * [`pcap`]: captured conversations with a real Linux host.
//!
//! The stories are in `loopback.rs`, `kernel/` and `hostile/`, real Linux hosts in `linux_host.rs`, the
//! benchmark in `benches/loopback`.

#![forbid(unsafe_code)]

pub mod kernel;
pub mod operator;
pub mod pcap;
pub mod peer;
pub mod program;
pub mod target;
pub mod usage;
