//! Completion queue entries: 16 bytes that say how a command ended.

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::status::Status;

/// A completion queue entry as it stands in a response capsule (Base 2.0 §3.3.3.2).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct Cqe {
    /// Dwords 0 and 1: what the command returns.
    pub result: U64,
    /// Submission queue head pointer: how far the controller has consumed the queue.
    pub sqhd: U16,
    /// Submission queue identifier (reserved over fabrics).
    pub sqid: U16,
    /// Command identifier of the command that ended.
    pub cid: U16,
    /// Status field and phase tag.
    pub status: U16,
}

impl Cqe {
    /// The status, read from the wire's word.
    pub fn status(&self) -> Status {
        Status::from_wire(self.status.get())
    }
}

/// How a command ended, before a queue gives it its place on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// How it ended.
    pub status: Status,
    /// Dwords 0 (low half) and 1 (high half).
    pub result: u64,
}

impl Completion {
    /// Success with nothing to return.
    pub const SUCCESS: Self = Self {
        status: Status::SUCCESS,
        result: 0,
    };

    /// Success that returns `result` in dwords 0 and 1.
    pub const fn success(result: u64) -> Self {
        Self {
            status: Status::SUCCESS,
            result,
        }
    }

    /// Failure with nothing to return.
    pub const fn error(status: Status) -> Self {
        Self { status, result: 0 }
    }
}

impl From<Status> for Completion {
    fn from(status: Status) -> Self {
        Self::error(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_specification_puts_them() {
        let cqe = Cqe {
            result: 0x8877_6655_4433_2211.into(),
            sqhd: 0x0102.into(),
            sqid: 0.into(),
            cid: 0x0304.into(),
            status: Status::LBA_OUT_OF_RANGE.to_wire().into(),
        };
        let bytes = [
            0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 2, 1, 0, 0, 4, 3, 0x00, 0x01,
        ];
        assert_eq!(cqe.as_bytes(), bytes);
        assert!(cqe.status().is(Status::LBA_OUT_OF_RANGE));
    }
}
