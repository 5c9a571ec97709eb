//! PDUs made ready to send: lengths, alignment and digests.

use zerocopy::IntoBytes;

use super::{CapsuleCmd, CapsuleResp, CommonHeader, DIGEST_SIZE, DataHeader, PduType, R2t, flags};
use crate::cqe::Cqe;
use crate::sqe::Sqe;

/// How a connection's PDUs are framed, settled by ICReq and ICResp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Every PDU's header is followed by its digest.
    pub header_digest: bool,
    /// All data is followed by its digest.
    pub data_digest: bool,
    /// Data that we send starts at a multiple of this many bytes: 4–128.
    pub send_alignment: u32,
    /// Data that we receive must start at a multiple of this many bytes: 4–128.
    pub receive_alignment: u32,
}

impl Framing {
    /// Before anything is settled: no digests, dword alignment.
    pub const INITIAL: Self = Self {
        header_digest: false,
        data_digest: false,
        send_alignment: 4,
        receive_alignment: 4,
    };

    /// Appends a response capsule.
    pub fn capsule_resp(&self, out: &mut Vec<u8>, cqe: Cqe) {
        let common = self.common(PduType::CapsuleResp, 0, 0);
        self.append_header(out, CapsuleResp { common, cqe }.as_bytes());
    }

    /// Appends an R2T for `length` bytes at `offset` of command `cccid`'s data.
    pub fn r2t(&self, out: &mut Vec<u8>, cccid: u16, ttag: u16, offset: u32, length: u32) {
        let pdu = R2t {
            common: self.common(PduType::R2t, 0, 0),
            cccid: cccid.into(),
            ttag: ttag.into(),
            r2to: offset.into(),
            r2tl: length.into(),
            reserved: [0; 4],
        };
        self.append_header(out, pdu.as_bytes());
    }

    /// Appends the header of a C2HData PDU and its padding; `length` bytes of data and, with data
    /// digests, [`append_data_digest`] must follow. `extra` is LAST_PDU and SUCCESS as they apply.
    pub fn c2h_data(&self, out: &mut Vec<u8>, cccid: u16, offset: u32, length: u32, extra: u8) {
        self.data(PduType::C2hData, out, cccid, 0, offset, length, extra);
    }

    /// Appends the header of an H2CData PDU and its padding; the data and its digest must follow.
    pub fn h2c_data(
        &self,
        out: &mut Vec<u8>,
        (cccid, ttag): (u16, u16),
        offset: u32,
        length: u32,
        extra: u8,
    ) {
        self.data(PduType::H2cData, out, cccid, ttag, offset, length, extra);
    }

    /// Appends the header of a command capsule and its padding; `length` bytes of in-capsule data
    /// and their digest must follow when `length` is not 0.
    pub fn capsule_cmd(&self, out: &mut Vec<u8>, sqe: Sqe, length: u32) {
        let common = self.common(PduType::CapsuleCmd, 0, length);
        self.append_header(out, CapsuleCmd { common, sqe }.as_bytes());
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one header, named at each caller"
    )]
    fn data(
        &self,
        pdu_type: PduType,
        out: &mut Vec<u8>,
        cccid: u16,
        ttag: u16,
        offset: u32,
        length: u32,
        extra: u8,
    ) {
        let pdu = DataHeader {
            common: self.common(pdu_type, extra, length),
            cccid: cccid.into(),
            ttag: ttag.into(),
            datao: offset.into(),
            datal: length.into(),
            reserved: [0; 4],
        };
        self.append_header(out, pdu.as_bytes());
    }

    /// Offset of the data in a PDU with a header of `hlen` bytes: behind header and digest, aligned.
    fn data_offset(&self, hlen: u8) -> u8 {
        let digest = if self.header_digest { DIGEST_SIZE } else { 0 };
        let offset = (usize::from(hlen) + digest).next_multiple_of(self.send_alignment as usize);
        // At most 72 + 4 rounded up to 128.
        u8::try_from(offset).unwrap_or(u8::MAX)
    }

    fn common(&self, pdu_type: PduType, extra: u8, data_length: u32) -> CommonHeader {
        let hlen = pdu_type.header_length();
        let mut common = CommonHeader {
            flags: extra,
            ..CommonHeader::plain(pdu_type)
        };
        let mut plen = u32::from(hlen);
        if self.header_digest {
            common.flags |= flags::HEADER_DIGEST;
            plen += DIGEST_LENGTH;
        }
        if data_length != 0 {
            common.pdo = self.data_offset(hlen);
            plen = u32::from(common.pdo) + data_length;
            if self.data_digest {
                common.flags |= flags::DATA_DIGEST;
                plen += DIGEST_LENGTH;
            }
        }
        common.plen = plen.into();
        common
    }

    /// Appends a header, its digest and, when data follows, the padding up to it.
    fn append_header(&self, out: &mut Vec<u8>, header: &[u8]) {
        let start = out.len();
        out.extend_from_slice(header);
        if self.header_digest {
            out.extend_from_slice(&crc32c::crc32c(header).to_le_bytes());
        }
        // Byte 3 is PDO, 0 without data.
        let data_at = header.get(3).copied().map_or(0, usize::from);
        out.resize(out.len().max(start + data_at), 0);
    }
}

/// [`DIGEST_SIZE`] as lengths are counted on the wire.
const DIGEST_LENGTH: u32 = 4;

/// Appends the digest of `data`: CRC32C, least significant byte first.
pub fn append_data_digest(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&crc32c::crc32c(data).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGESTS: Framing = Framing {
        header_digest: true,
        data_digest: true,
        ..Framing::INITIAL
    };

    #[test]
    fn digests_and_padding_stand_between_header_and_data() {
        let mut out = vec![0xee];
        let aligned = Framing {
            send_alignment: 64,
            ..DIGESTS
        };
        aligned.c2h_data(&mut out, 7, 4096, 512, flags::LAST_PDU);
        assert_eq!(out.len(), 1 + 64);
        assert_eq!(out[1..9], [0x07, 0b111, 24, 64, 0x44, 0x02, 0, 0]);
        assert_eq!(out[25..29], crc32c::crc32c(&out[1..25]).to_le_bytes());
        assert!(out[29..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_pdu_without_data_has_no_data_digest() {
        let mut out = Vec::new();
        DIGESTS.capsule_resp(&mut out, Cqe::default());
        assert_eq!(out[..8], [0x05, 0b001, 24, 0, 28, 0, 0, 0]);
        assert_eq!(out.len(), 28);
    }

    #[test]
    fn the_digest_is_castagnoli_little_endian() {
        let mut out = Vec::new();
        append_data_digest(&mut out, b"123456789");
        assert_eq!(out, 0xe306_9283_u32.to_le_bytes());
    }
}
