//! Hosts in user space, for tests and for load: blocking, and every wait bounded.
//!
//! [`Qpair`] drives the protocol crate's host half over a socket; [`Host`] is an admin queue with
//! its I/O queues; [`Raw`] says whatever it is told to say.

mod discovery;
mod host;
mod nvm;
mod qpair;
mod raw;

use std::time::Duration;

pub use nvmfd::host::error::QueueError as PeerError;

pub use discovery::{
    DiscoveryLog, DiscoveryRecord, discover, read_discovery_log, try_read_discovery_log,
};
pub use host::{CC_ENABLED, Host, HostOptions, log_page_sqe, property};
pub use nvm::{BLOCK, nvm_sqe};
pub use qpair::Qpair;
pub use raw::Raw;

/// What any single wait for the target may take.
pub const PATIENCE: Duration = Duration::from_secs(15);
