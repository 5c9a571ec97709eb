//! What a session shares with the jobs that the pool has of it.

#![forbid(unsafe_code)]

use std::sync::OnceLock;

use crate::worker::memory::Funds;

/// The memory that the jobs of a session that has ended still hold.
#[derive(Debug, Default)]
pub struct Life {
    /// Goes with whoever is the last to have something of the session's.
    pub left: OnceLock<Funds>,
}
