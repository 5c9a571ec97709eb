//! Initialize Connection: the parameters of a connection, settled before anything else.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{CommonHeader, Fes, PduError, PduType};

/// Largest HPDA and CPDA: 31, which means data aligned to 128 bytes.
const MAX_HPDA: u8 = 31;

/// Bit 0 of DGST: header digests.
const HEADER_DIGEST: u8 = 1 << 0;
/// Bit 1 of DGST: data digests.
const DATA_DIGEST: u8 = 1 << 1;

/// Initialize Connection Request (NVMe/TCP §3.6.2.2).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct IcReq {
    /// Common header.
    pub common: CommonHeader,
    /// PDU format version, 0.
    pub pfv: U16,
    /// Host PDU data alignment, 0's based, in dwords: data to the host starts at multiples of it.
    pub hpda: u8,
    /// Digests that the host asks for.
    pub dgst: u8,
    /// R2Ts outstanding per command that the host bears, 0's based.
    pub maxr2t: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}

/// Initialize Connection Response (NVMe/TCP §3.6.2.2).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct IcResp {
    /// Common header.
    pub common: CommonHeader,
    /// PDU format version, 0.
    pub pfv: U16,
    /// Controller PDU data alignment, 0's based, in dwords. Linux: must be 0.
    pub cpda: u8,
    /// Digests in use.
    pub dgst: u8,
    /// Bytes of data that one H2CData PDU may carry; at least 4096, a multiple of 4.
    pub maxh2cdata: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}

/// Header and data digests: asked for, or in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DigestBits {
    pub(crate) header: bool,
    pub(crate) data: bool,
}

impl DigestBits {
    fn from_wire(dgst: u8) -> Self {
        Self {
            header: dgst & HEADER_DIGEST != 0,
            data: dgst & DATA_DIGEST != 0,
        }
    }

    fn to_wire(self) -> u8 {
        (u8::from(self.header) * HEADER_DIGEST) | (u8::from(self.data) * DATA_DIGEST)
    }
}

impl IcReq {
    /// A request of a host with alignment `hpda`, `maxr2t` (0's based) and the digests it wants.
    pub fn new(hpda: u8, maxr2t: u32, header_digest: bool, data_digest: bool) -> Self {
        Self {
            common: CommonHeader::plain(PduType::IcReq),
            pfv: 0.into(),
            hpda,
            dgst: DigestBits {
                header: header_digest,
                data: data_digest,
            }
            .to_wire(),
            maxr2t: maxr2t.into(),
            reserved: [0; 112],
        }
    }

    /// Checks the fields behind the common header, lowest first, as FreeBSD's libnvmf does.
    ///
    /// # Errors
    /// The fatal error to terminate the connection with.
    pub fn validate(&self) -> Result<(), PduError> {
        if self.pfv.get() != 0 {
            Err(PduError::Fatal {
                fes: Fes::UnsupportedParameter,
                fei: 8,
            })
        } else if self.hpda > MAX_HPDA {
            Err(PduError::field(10))
        } else if self.dgst & !(HEADER_DIGEST | DATA_DIGEST) != 0 {
            Err(PduError::field(11))
        } else {
            Ok(())
        }
    }

    /// Whether the host asks for header digests.
    pub fn header_digest(&self) -> bool {
        DigestBits::from_wire(self.dgst).header
    }

    /// Whether the host asks for data digests.
    pub fn data_digest(&self) -> bool {
        DigestBits::from_wire(self.dgst).data
    }
}

impl IcResp {
    /// A response of a controller that takes `maxh2cdata` bytes a data PDU and uses these digests.
    pub fn new(maxh2cdata: u32, header_digest: bool, data_digest: bool) -> Self {
        Self {
            common: CommonHeader::plain(PduType::IcResp),
            pfv: 0.into(),
            cpda: 0,
            dgst: DigestBits {
                header: header_digest,
                data: data_digest,
            }
            .to_wire(),
            maxh2cdata: maxh2cdata.into(),
            reserved: [0; 112],
        }
    }

    /// Checks a response to `request` by the rules of Linux and FreeBSD hosts.
    ///
    /// # Errors
    /// The fatal error to terminate the connection with.
    pub fn validate(&self, request: &IcReq) -> Result<(), PduError> {
        if self.pfv.get() != 0 {
            Err(PduError::Fatal {
                fes: Fes::UnsupportedParameter,
                fei: 8,
            })
        } else if self.cpda > MAX_HPDA {
            Err(PduError::field(10))
        } else if self.dgst & !request.dgst != 0 {
            Err(PduError::field(11))
        } else if self.maxh2cdata.get() < 4096 || !self.maxh2cdata.get().is_multiple_of(4) {
            Err(PduError::field(12))
        } else {
            Ok(())
        }
    }

    /// Whether header digests are in use.
    pub fn header_digest(&self) -> bool {
        DigestBits::from_wire(self.dgst).header
    }

    /// Whether data digests are in use.
    pub fn data_digest(&self) -> bool {
        DigestBits::from_wire(self.dgst).data
    }
}

impl CommonHeader {
    /// The common header of a PDU that is its header alone, without digest.
    pub(crate) fn plain(pdu_type: PduType) -> Self {
        let hlen = pdu_type.header_length();
        Self {
            pdu_type: pdu_type as u8,
            flags: 0,
            hlen,
            pdo: 0,
            plen: u32::from(hlen).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn an_icreq_is_what_linux_sends() {
        let icreq = IcReq::new(0, 0, true, true);
        let bytes = icreq.as_bytes();
        assert_eq!(
            bytes[..16],
            [0, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]
        );
        assert_eq!(icreq.validate(), Ok(()));
    }

    #[test]
    fn wrong_fields_are_named_by_their_offset_lowest_first() {
        let good = IcReq::new(31, u32::MAX, false, true);
        assert_eq!(good.validate(), Ok(()));
        let mut bad = good;
        bad.dgst = 4;
        assert_eq!(bad.validate(), Err(PduError::field(11)));
        bad.hpda = 32;
        assert_eq!(bad.validate(), Err(PduError::field(10)));
        bad.pfv = 1.into();
        let unsupported = PduError::Fatal {
            fes: Fes::UnsupportedParameter,
            fei: 8,
        };
        assert_eq!(bad.validate(), Err(unsupported));
    }

    #[test]
    fn a_response_may_not_offer_what_was_not_asked() {
        let request = IcReq::new(0, 0, true, false);
        assert_eq!(IcResp::new(4096, true, false).validate(&request), Ok(()));
        assert_eq!(
            IcResp::new(4096, true, true).validate(&request),
            Err(PduError::field(11))
        );
        assert_eq!(
            IcResp::new(4095, true, false).validate(&request),
            Err(PduError::field(12))
        );
    }
}
