//! What a controller's log pages tell of the past: errors and counters.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nvmf_proto::controller::{ErrorLog, IoStatistics};
use nvmf_proto::sqe::Data;

/// Counters and errors of one controller, written by all of its queues.
#[derive(Debug)]
pub struct Record {
    since: Instant,
    reads: AtomicU64,
    writes: AtomicU64,
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
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            media_errors: AtomicU64::new(0),
            errors: Mutex::default(),
        }
    }
}

impl Record {
    /// Counts a command that moves data between host and medium.
    pub fn count(&self, data: Data) {
        match data {
            Data::None => {}
            Data::ToHost(bytes) => {
                self.reads.fetch_add(1, Relaxed);
                self.bytes_read.fetch_add(bytes.into(), Relaxed);
            }
            Data::FromHost(bytes) => {
                self.writes.fetch_add(1, Relaxed);
                self.bytes_written.fetch_add(bytes.into(), Relaxed);
            }
        }
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

    /// The errors; held for as long as a log page takes to be copied.
    pub fn errors(&self) -> MutexGuard<'_, ErrorLog> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
