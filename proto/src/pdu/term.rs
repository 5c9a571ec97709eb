//! Terminate Connection Requests: the last thing said on a broken connection.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{CommonHeader, Fes, PduType};

/// Bytes that a Terminate Connection Request may have: its header and 128 of the offending PDU.
pub const TERM_MAX_LENGTH: u32 = 152;

/// Bytes of the offending PDU's header that are sent back.
const COPY_MAX: usize = 128;

/// The header of a Terminate Connection Request, in either direction (NVMe/TCP §3.6.2.1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct TermReq {
    /// Common header.
    pub common: CommonHeader,
    /// Fatal Error Status; any number may come, see [`Fes::describe`].
    pub fes: U16,
    /// Fatal Error Information.
    pub fei: U32,
    /// Reserved.
    pub reserved: [u8; 10],
}

/// The whole PDU of type `pdu_type` that reports `fes` and `fei` and sends back the header that
/// was wrong (at most 128 bytes of it). It carries no digests, whatever was negotiated.
pub fn termination(pdu_type: PduType, fes: Fes, fei: u32, offending: &[u8]) -> Vec<u8> {
    let copy = offending.get(..COPY_MAX).unwrap_or(offending);
    let mut header = TermReq {
        common: CommonHeader::plain(pdu_type),
        fes: (fes as u16).into(),
        fei: fei.into(),
        reserved: [0; 10],
    };
    let length = size_of::<TermReq>() + copy.len();
    header.common.plen = u32::try_from(length).unwrap_or(TERM_MAX_LENGTH).into();
    [header.as_bytes(), copy].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_quotes_the_offending_header_and_no_more() {
        let pdu = termination(
            PduType::C2hTermReq,
            Fes::UnsupportedParameter,
            8,
            &[0xaa; 200],
        );
        assert_eq!(pdu.len(), 152);
        assert_eq!(pdu[..14], [3, 0, 24, 0, 152, 0, 0, 0, 6, 0, 8, 0, 0, 0]);
        assert!(pdu[14..24].iter().all(|&byte| byte == 0) && pdu[24..].iter().all(|&b| b == 0xaa));
    }
}
