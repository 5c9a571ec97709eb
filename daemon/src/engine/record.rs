//! What a controller's log pages tell of the past: errors and counters.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nvmf_proto::controller::{ErrorLog, IoStatistics};
use nvmf_proto::nvm::{Command, Geometry};

use super::ledger::Totals;

/// Counters and errors of one controller, written by all of its queues.
#[derive(Debug)]
pub struct Record {
    since: Instant,
    reads: AtomicU64,
    writes: AtomicU64,
    others: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    media_errors: AtomicU64,
    errors: Mutex<ErrorLog>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            others: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            media_errors: AtomicU64::new(0),
            errors: Mutex::default(),
        }
    }
}

impl Record {
    /// Counts a command that is executed: Compare reads, as the specification counts it (Base 2.0
    /// §5.16.1.3); lists of ranges are not data.
    pub fn count(&self, command: &Command, geometry: &Geometry) {
        let (commands, bytes, extent) = match command {
            Command::Read { extent } | Command::Compare { extent } => {
                (&self.reads, &self.bytes_read, extent)
            }
            Command::Write { extent, .. } => (&self.writes, &self.bytes_written, extent),
            Command::Flush
            | Command::WriteZeroes { .. }
            | Command::DatasetManagement { .. }
            | Command::Verify { .. }
            | Command::Copy { .. } => {
                self.others.fetch_add(1, Relaxed);
                return;
            }
        };
        commands.fetch_add(1, Relaxed);
        bytes.fetch_add(extent.bytes(geometry), Relaxed);
    }

    /// Counts a failure of the medium.
    pub fn count_media_error(&self) {
        self.media_errors.fetch_add(1, Relaxed);
    }

    /// The counters as the SMART log reports them.
    pub fn statistics(&self) -> IoStatistics {
        IoStatistics {
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            media_errors: self.media_errors.load(Relaxed),
            uptime: self.since.elapsed(),
        }
    }

    /// All that was counted.
    pub fn totals(&self) -> Totals {
        Totals {
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            others: self.others.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            errors: self.errors().count(),
            media_errors: self.media_errors.load(Relaxed),
        }
    }

    /// The errors; held for as long as a log page takes to be copied.
    pub fn errors(&self) -> MutexGuard<'_, ErrorLog> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
