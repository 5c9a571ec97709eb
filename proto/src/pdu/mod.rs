//! The protocol data units of NVMe/TCP: one type a PDU, laid out as it stands on the wire.
//!
//! Reading them from a stream is [`crate::deframer`]'s part; this module knows only shapes.

mod build;
mod error;
mod ic;
mod term;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use build::{Framing, append_data_digest};
pub use error::{Fes, PduError};
pub use ic::{IcReq, IcResp};
pub use term::{TERM_MAX_LENGTH, TermReq, termination};

use crate::cqe::Cqe;
use crate::sqe::Sqe;

/// Bytes of the header that every PDU begins with.
pub const COMMON_HEADER_SIZE: usize = 8;

/// Bytes of a header digest and of a data digest (CRC32C).
pub const DIGEST_SIZE: usize = 4;

/// The header that every PDU begins with (NVMe/TCP §3.6.1).
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
pub struct CommonHeader {
    /// PDU type.
    pub pdu_type: u8,
    /// Flags; see [`flags`].
    pub flags: u8,
    /// Bytes of the header, without its digest.
    pub hlen: u8,
    /// Offset of the data from the start of the PDU, 0 without data.
    pub pdo: u8,
    /// Bytes of the whole PDU: header, digests, padding and data.
    pub plen: U32,
}

/// Bits of [`CommonHeader::flags`].
pub mod flags {
    /// A header digest follows the header.
    pub const HEADER_DIGEST: u8 = 1 << 0;
    /// A data digest follows the data.
    pub const DATA_DIGEST: u8 = 1 << 1;
    /// The last data PDU of its transfer.
    pub const LAST_PDU: u8 = 1 << 2;
    /// The command succeeded and no response capsule follows (C2HData only).
    pub const SUCCESS: u8 = 1 << 3;
}

/// The types of PDU, by their number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PduType {
    /// Initialize Connection Request, host to controller.
    IcReq = 0x00,
    /// Initialize Connection Response, controller to host.
    IcResp = 0x01,
    /// Host to controller Terminate Connection Request.
    H2cTermReq = 0x02,
    /// Controller to host Terminate Connection Request.
    C2hTermReq = 0x03,
    /// Command capsule, host to controller.
    CapsuleCmd = 0x04,
    /// Response capsule, controller to host.
    CapsuleResp = 0x05,
    /// Data, host to controller.
    H2cData = 0x06,
    /// Data, controller to host.
    C2hData = 0x07,
    /// Ready to Transfer, controller to host.
    R2t = 0x09,
}

impl PduType {
    /// The type with this number, if there is one.
    pub const fn from_wire(number: u8) -> Option<Self> {
        Some(match number {
            0x00 => Self::IcReq,
            0x01 => Self::IcResp,
            0x02 => Self::H2cTermReq,
            0x03 => Self::C2hTermReq,
            0x04 => Self::CapsuleCmd,
            0x05 => Self::CapsuleResp,
            0x06 => Self::H2cData,
            0x07 => Self::C2hData,
            0x09 => Self::R2t,
            _ => return None,
        })
    }

    /// Bytes of this type's header, without its digest.
    pub const fn header_length(self) -> u8 {
        match self {
            Self::IcReq | Self::IcResp => 128,
            Self::CapsuleCmd => 72,
            Self::H2cTermReq
            | Self::C2hTermReq
            | Self::CapsuleResp
            | Self::H2cData
            | Self::C2hData
            | Self::R2t => 24,
        }
    }

    /// Whether the controller receives it (the host sends it).
    pub const fn is_to_controller(self) -> bool {
        matches!(
            self,
            Self::IcReq | Self::H2cTermReq | Self::CapsuleCmd | Self::H2cData
        )
    }

    /// Whether it may carry data behind its header.
    pub const fn may_carry_data(self) -> bool {
        matches!(self, Self::CapsuleCmd | Self::H2cData | Self::C2hData)
    }

    /// Whether negotiated digests apply to it: not to connection set-up and termination.
    pub const fn has_digests(self) -> bool {
        !matches!(
            self,
            Self::IcReq | Self::IcResp | Self::H2cTermReq | Self::C2hTermReq
        )
    }
}

/// A command capsule's header (NVMe/TCP §3.6.2.3).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CapsuleCmd {
    /// Common header.
    pub common: CommonHeader,
    /// The command.
    pub sqe: Sqe,
}

/// A response capsule's header (NVMe/TCP §3.6.2.4).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CapsuleResp {
    /// Common header.
    pub common: CommonHeader,
    /// The completion.
    pub cqe: Cqe,
}

/// The header of data in either direction (NVMe/TCP §3.6.2.5, §3.6.2.6).
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
pub struct DataHeader {
    /// Common header.
    pub common: CommonHeader,
    /// Command capsule CID: the command whose data this is.
    pub cccid: U16,
    /// Transfer tag of the R2T that asked for it (host to controller), else reserved.
    pub ttag: U16,
    /// Offset of this data within the command's buffer, in bytes.
    pub datao: U32,
    /// Bytes of data in this PDU.
    pub datal: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}

/// Ready to Transfer (NVMe/TCP §3.6.2.7).
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
pub struct R2t {
    /// Common header.
    pub common: CommonHeader,
    /// Command capsule CID: the command whose data is asked for.
    pub cccid: U16,
    /// Transfer tag that the data must carry.
    pub ttag: U16,
    /// Offset of the data asked for within the command's buffer, in bytes.
    pub r2to: U32,
    /// Bytes asked for.
    pub r2tl: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}

/// A PDU's header, whole and found legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Initialize Connection Request.
    IcReq(IcReq),
    /// Initialize Connection Response.
    IcResp(IcResp),
    /// Host to controller Terminate Connection Request.
    H2cTermReq(TermReq),
    /// Controller to host Terminate Connection Request.
    C2hTermReq(TermReq),
    /// Command capsule.
    CapsuleCmd(CapsuleCmd),
    /// Response capsule.
    CapsuleResp(CapsuleResp),
    /// Host to controller data.
    H2cData(DataHeader),
    /// Controller to host data.
    C2hData(DataHeader),
    /// Ready to Transfer.
    R2t(R2t),
}

impl Header {
    /// Reads a header of type `pdu_type` from its bytes; `None` when there are too few.
    pub fn read(pdu_type: PduType, bytes: &[u8]) -> Option<Self> {
        fn prefix<T: FromBytes>(bytes: &[u8]) -> Option<T> {
            T::read_from_prefix(bytes).ok().map(|(value, _)| value)
        }
        Some(match pdu_type {
            PduType::IcReq => Self::IcReq(prefix(bytes)?),
            PduType::IcResp => Self::IcResp(prefix(bytes)?),
            PduType::H2cTermReq => Self::H2cTermReq(prefix(bytes)?),
            PduType::C2hTermReq => Self::C2hTermReq(prefix(bytes)?),
            PduType::CapsuleCmd => Self::CapsuleCmd(prefix(bytes)?),
            PduType::CapsuleResp => Self::CapsuleResp(prefix(bytes)?),
            PduType::H2cData => Self::H2cData(prefix(bytes)?),
            PduType::C2hData => Self::C2hData(prefix(bytes)?),
            PduType::R2t => Self::R2t(prefix(bytes)?),
        })
    }
}

const _: () = assert!(size_of::<CommonHeader>() == COMMON_HEADER_SIZE);
const _: () = assert!(size_of::<IcReq>() == PduType::IcReq.header_length() as usize);
const _: () = assert!(size_of::<IcResp>() == PduType::IcResp.header_length() as usize);
const _: () = assert!(size_of::<TermReq>() == PduType::C2hTermReq.header_length() as usize);
const _: () = assert!(size_of::<CapsuleCmd>() == PduType::CapsuleCmd.header_length() as usize);
const _: () = assert!(size_of::<CapsuleResp>() == PduType::CapsuleResp.header_length() as usize);
const _: () = assert!(size_of::<DataHeader>() == PduType::C2hData.header_length() as usize);
const _: () = assert!(size_of::<R2t>() == PduType::R2t.header_length() as usize);
