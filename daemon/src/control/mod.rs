//! The control socket: how an operator asks the daemon, and what is said.

#![forbid(unsafe_code)]

pub mod message;
