//! The tests that see nvmfd from outside.
//!
//! * [`target`]: the program itself, started on loopback with ports of its own.
//! * [`peer`]: a host in user space around the protocol crate's host half, or a raw socket for what
//!   no host would send.
//! * [`program`]: where the program is, freshly built.
//! * [`operator`]: who asks it over its control socket.
//! * [`kernel`]: FreeBSD's kernel, played, for kernel mode.
//! * [`usage`]: what the program holds, as the system counts it.
//! * [`pcap`]: captured conversations with a real Linux host.
//! * [`decoder`]: what somebody else's decoder reads in a capture.
//!
//! The stories are beside it, each subject in a target of its own: hosts (`loopback`, `hostile`,
//! `faults`, `kernel`, `linux_host`, `soak`), operators (`operate`, `nvmfctl`, `cli`, `conf`, `metrics`), who has taken a
//! worker over (`sandbox`), readers of the manual (`manual`), who installs it (`install`); benchmarks are
//! in `benches`.

#![forbid(unsafe_code)]

pub mod decoder;
pub mod kernel;
pub mod operator;
pub mod pcap;
pub mod peer;
pub mod program;
pub mod target;
pub mod usage;
