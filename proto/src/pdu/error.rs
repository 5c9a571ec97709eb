//! What a peer can do wrong below the level of commands, in the wire's own vocabulary.

/// Fatal Error Status of a Terminate Connection Request (NVMe/TCP §3.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Fes {
    /// A header field has a value that it must not have; FEI is the field's offset.
    InvalidHeaderField = 1,
    /// A PDU came where it may not.
    SequenceError = 2,
    /// The header digest is wrong; FEI is the digest received.
    HeaderDigestError = 3,
    /// Data outside the range that was asked for.
    DataOutOfRange = 4,
    /// More data than the limit allows (an R2T too many, on the host's side).
    LimitExceeded = 5,
    /// A parameter that is not supported; FEI is the field's offset.
    UnsupportedParameter = 6,
}

impl Fes {
    /// What a number received means; peers may send any, so unknown ones have a text too.
    pub const fn describe(number: u16) -> &'static str {
        match number {
            1 => "invalid PDU header field",
            2 => "PDU sequence error",
            3 => "header digest error",
            4 => "data transfer out of range",
            5 => "data transfer limit exceeded",
            6 => "unsupported parameter",
            _ => "unknown fatal error",
        }
    }
}

/// A violation that ends the connection. A state that has reported one is dead for good
/// (CVE-2026-52989).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// Answered with a Terminate Connection Request.
    #[error("{}, FEI {fei:#x}", Fes::describe(*.fes as u16))]
    Fatal {
        /// What is wrong.
        fes: Fes,
        /// Fatal Error Information: mostly the offset of the wrong field in the header.
        fei: u32,
    },
    /// A Terminate Connection Request of impossible length: nothing can be said to such a peer.
    #[error("malformed terminate connection request")]
    MalformedTermination,
}

impl PduError {
    /// An invalid header field at byte `offset`.
    pub const fn field(offset: u32) -> Self {
        Self::Fatal {
            fes: Fes::InvalidHeaderField,
            fei: offset,
        }
    }

    /// A PDU that may not come here.
    pub const fn sequence(offset: u32) -> Self {
        Self::Fatal {
            fes: Fes::SequenceError,
            fei: offset,
        }
    }
}
