//! A daemon that makes itself known: by multicast DNS, read by another DNS library than the daemon's,
//! and to Centralized Discovery Controllers, which are played here; all of it on loopback.

#![forbid(unsafe_code)]

mod cdc;
mod dim;
mod link;
mod mdns;
mod process;
mod registration;
mod scene;
