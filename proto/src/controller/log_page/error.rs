//! The error log (01h; Base 2.0 §5.16.1.2): the latest failures of a controller, newest first.

use std::collections::VecDeque;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::status::Status;

/// The latest failures. The caller keeps it where all queues of the controller can record.
#[derive(Debug, Default)]
pub struct ErrorLog {
    entries: VecDeque<ErrorEntry>,
    count: u64,
}

/// A command that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRecord {
    /// Queue of the command.
    pub sqid: u16,
    /// Identifier of the command.
    pub cid: u16,
    /// How it ended.
    pub status: Status,
    /// Namespace, 0 for none.
    pub nsid: u32,
    /// First logical block that failed, 0 for none.
    pub lba: u64,
}

/// An entry of the log page.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ErrorEntry {
    /// Number of this error, from 1; 0 for an unused entry.
    pub error_count: U64,
    /// Queue of the command.
    pub sqid: U16,
    /// Identifier of the command.
    pub cid: U16,
    /// Status field as in the completion.
    pub status: U16,
    /// Where in the command the error lies: FFFFh, not told.
    pub location: U16,
    /// First logical block that failed.
    pub lba: U64,
    /// Namespace.
    pub nsid: U32,
    /// Vendor's log page: none.
    pub vendor: u8,
    /// Transport: 3, TCP.
    pub trtype: u8,
    /// Reserved, and information of commands and transports that have none.
    pub reserved: [u8; 34],
}

const _: () = assert!(size_of::<ErrorEntry>() == 64);

impl ErrorLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a failure; the oldest one makes room.
    pub fn record(&mut self, record: &ErrorRecord) {
        self.count += 1;
        let mut entry = ErrorEntry::new_zeroed();
        entry.error_count = self.count.into();
        entry.sqid = record.sqid.into();
        entry.cid = record.cid.into();
        entry.status = record.status.to_wire().into();
        entry.location = LOCATION_UNKNOWN.into();
        entry.lba = record.lba.into();
        entry.nsid = record.nsid.into();
        entry.trtype = TRTYPE_TCP;
        self.entries.truncate(usize::from(ERROR_ENTRIES) - 1);
        self.entries.push_front(entry);
    }

    /// Failures recorded so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The log page.
    pub(super) fn page(&self) -> Vec<u8> {
        let size = usize::from(ERROR_ENTRIES) * size_of::<ErrorEntry>();
        let mut page = Vec::with_capacity(size);
        for entry in &self.entries {
            page.extend(entry.as_bytes());
        }
        page.resize(size, 0);
        page
    }
}

/// Entries of the log: one page of 4096 bytes.
pub(in super::super) const ERROR_ENTRIES: u8 = 64;

const LOCATION_UNKNOWN: u16 = 0xffff;
const TRTYPE_TCP: u8 = 3;
