//! The error log (01h; Base 2.0 §5.16.1.2): the latest failures of a controller, newest first.

use std::collections::VecDeque;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::opcode::nvm;
use crate::sqe::Sqe;
use crate::status::Status;

/// The latest failures. The caller keeps it where all queues of the controller can record.
#[derive(Debug, Default)]
pub struct ErrorLog {
    entries: VecDeque<ErrorEntry>,
    count: u64,
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
    pub const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            count: 0,
        }
    }

    /// Records that command `cid` of queue `sqid` failed. Its entry, where it is known, tells which
    /// namespace and blocks it was about. The oldest failure makes room.
    pub fn record(&mut self, sqid: u16, cid: u16, status: Status, sqe: Option<&Sqe>) {
        self.count += 1;
        let mut entry = ErrorEntry::new_zeroed();
        entry.error_count = self.count.into();
        entry.sqid = sqid.into();
        entry.cid = cid.into();
        entry.status = status.to_wire().into();
        entry.location = LOCATION_UNKNOWN.into();
        entry.trtype = TRTYPE_TCP;
        // Fabrics commands keep their type where others have the namespace.
        if let Some(sqe) = sqe.filter(|sqe| sqe.fctype().is_none()) {
            entry.nsid = sqe.nsid;
            if sqid != 0 && has_lba(sqe.opcode) {
                entry.lba = sqe.cdw10_11().into();
            }
        }
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

/// Whether dwords 10 and 11 of an NVM command are its first logical block.
fn has_lba(opcode: u8) -> bool {
    matches!(
        opcode,
        nvm::READ | nvm::WRITE | nvm::COMPARE | nvm::WRITE_ZEROES | nvm::VERIFY | nvm::COPY
    )
}

/// Entries of the log: one page of 4096 bytes.
pub(in super::super) const ERROR_ENTRIES: u8 = 64;

const LOCATION_UNKNOWN: u16 = 0xffff;
const TRTYPE_TCP: u8 = 3;
