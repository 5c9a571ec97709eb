//! The seam over a Unix socket, so that the fake kernel is another process, which outlives the daemon
//! as a kernel does.
//!
//! A request travels with the bytes of its memory, their addresses, and the descriptor that it names
//! (SCM_RIGHTS) with its number; the answer with what was written and whether the descriptor was taken.
//! Each connection carries one request at a time; a caller with several at once has several connections,
//! so that one that sleeps holds up no other. Tests use the same socket for what no kernel can be asked
//! ([`RemoteKernel::misuses`] and so on).

#![forbid(unsafe_code)]

mod client;
mod frame;
mod server;
mod words;

pub use client::{Dump, RemoteKernel};
pub use server::serve;
