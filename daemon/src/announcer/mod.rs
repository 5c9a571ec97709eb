//! The process that makes the daemon known: by multicast DNS (TP 8009), and to Centralized Discovery
//! Controllers (TP 8010).
//!
//! It is started only where the configuration asks for either, and has no listener, storage or kernel
//! of ours: it reads what the network says, and so must not be the monitor, and it opens sockets, and
//! so cannot be the worker. [`process`] is its end of the channel and says what is to be
//! [announced](announcement); [`mdns`] and [`registration`] do it.

#![forbid(unsafe_code)]

pub mod announcement;
mod dim;
pub mod instance;
pub mod mdns;
pub mod news;
pub mod orders;
pub mod process;
pub mod registration;
