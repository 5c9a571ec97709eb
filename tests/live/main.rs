//! A worker that is changed while hosts use it: our host half over loopback, and [`Worker::apply`]
//! called where the daemon would.
//!
//! [`Worker::apply`]: nvmfd::worker::Worker::apply

#![forbid(unsafe_code)]

mod handoffs;
mod hosts;
mod namespaces;
mod portals;
mod stage;
