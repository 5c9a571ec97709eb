//! The status field of a completion: what went wrong, and whether to try again.

use std::fmt;

/// A status field as in a completion's last word, without the phase bit: bits 7:0 SC, 10:8 SCT,
/// 12:11 CRD, 13 More, 14 DNR (Base 2.0 §3.3.3.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(u16);

/// Bit 14: the same command would fail again (Do Not Retry).
const DNR: u16 = 1 << 14;

impl Status {
    /// A status of status code type `sct` (0–7) and status code `sc`, which may be retried.
    pub const fn new(sct: u8, sc: u8) -> Self {
        Self((((sct & 7) as u16) << 8) | sc as u16)
    }

    /// The same status with Do Not Retry set: the refusal is permanent.
    #[must_use]
    pub const fn dnr(self) -> Self {
        Self(self.0 | DNR)
    }

    /// Reads the wire's 16-bit word, whose bit 0 is the phase tag (unused over fabrics).
    pub const fn from_wire(word: u16) -> Self {
        Self(word >> 1)
    }

    /// The wire's 16-bit word with a phase tag of 0.
    pub const fn to_wire(self) -> u16 {
        self.0 << 1
    }

    /// Status code (SC).
    pub const fn sc(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Status code type (SCT).
    pub const fn sct(self) -> u8 {
        ((self.0 >> 8) & 7) as u8
    }

    /// Whether Do Not Retry is set.
    pub const fn is_dnr(self) -> bool {
        self.0 & DNR != 0
    }

    /// Whether the command succeeded.
    pub const fn is_success(self) -> bool {
        self.0 & 0x7ff == 0
    }

    /// Whether both name the same condition, whatever their retry and more bits say.
    pub const fn is(self, other: Self) -> bool {
        self.0 & 0x7ff == other.0 & 0x7ff
    }
}

/// Names every status once: the constant, its codes, and the text that people read.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = ($sct:expr, $sc:expr), $text:expr;)*) => {
        impl Status {
            $($(#[$doc])* #[doc = concat!($text, ".")] pub const $name: Self = Self::new($sct, $sc);)*

            /// The condition in words, or `None` for one that this crate never sends.
            pub const fn text(self) -> Option<&'static str> {
                match (self.sct(), self.sc()) {
                    $(($sct, $sc) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    SUCCESS = (0, 0x00), "successful completion";
    INVALID_OPCODE = (0, 0x01), "invalid command opcode";
    INVALID_FIELD = (0, 0x02), "invalid field in command";
    COMMAND_ID_CONFLICT = (0, 0x03), "command id conflict";
    INTERNAL_ERROR = (0, 0x06), "internal error";
    ABORT_REQUESTED = (0, 0x07), "command abort requested";
    FUSED_FAILED = (0, 0x09), "command aborted due to failed fused command";
    FUSED_MISSING = (0, 0x0a), "command aborted due to missing fused command";
    INVALID_NAMESPACE = (0, 0x0b), "invalid namespace or format";
    COMMAND_SEQUENCE_ERROR = (0, 0x0c), "command sequence error";
    DATA_SGL_LENGTH_INVALID = (0, 0x0f), "data SGL length invalid";
    SGL_DESCRIPTOR_TYPE_INVALID = (0, 0x11), "SGL descriptor type invalid";
    SGL_OFFSET_INVALID = (0, 0x16), "SGL offset invalid";
    NAMESPACE_WRITE_PROTECTED = (0, 0x20), "namespace is write protected";
    TRANSIENT_TRANSPORT_ERROR = (0, 0x22), "transient transport error";
    LBA_OUT_OF_RANGE = (0, 0x80), "LBA out of range";
    CAPACITY_EXCEEDED = (0, 0x81), "capacity exceeded";
    NAMESPACE_NOT_READY = (0, 0x82), "namespace not ready";

    AER_LIMIT_EXCEEDED = (1, 0x05), "asynchronous event request limit exceeded";
    INVALID_LOG_PAGE = (1, 0x09), "invalid log page";
    FEATURE_NOT_SAVEABLE = (1, 0x0d), "feature identifier not saveable";
    COMMAND_SET_COMBINATION_REJECTED = (1, 0x2b), "I/O command set combination rejected";
    INVALID_DISCOVERY_INFORMATION = (1, 0x2f), "invalid discovery information";
    INSUFFICIENT_DISCOVERY_RESOURCES = (1, 0x32), "insufficient discovery resources";
    CONNECT_INCOMPATIBLE_FORMAT = (1, 0x80), "incompatible format";
    CONNECT_CONTROLLER_BUSY = (1, 0x81), "controller busy";
    CONNECT_INVALID_PARAMETERS = (1, 0x82), "connect invalid parameters";
    COMMAND_SIZE_LIMIT_EXCEEDED = (1, 0x83), "command size limit exceeded";
    CONNECT_INVALID_HOST = (1, 0x84), "connect invalid host";
    AUTHENTICATION_REQUIRED = (1, 0x91), "authentication required";

    WRITE_FAULT = (2, 0x80), "write fault";
    UNRECOVERED_READ_ERROR = (2, 0x81), "unrecovered read error";
    COMPARE_FAILURE = (2, 0x85), "compare failure";
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text().unwrap_or("unknown status");
        write!(f, "{text} (SCT {:X}h SC {:02X}h", self.sct(), self.sc())?;
        f.write_str(if self.is_dnr() {
            ", do not retry)"
        } else {
            ")"
        })
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_word_is_what_linux_prints() {
        // Linux logs a refused Connect as 0x182, and as 0x4182 with Do Not Retry.
        assert_eq!(Status::CONNECT_INVALID_PARAMETERS.to_wire() >> 1, 0x182);
        assert_eq!(
            Status::CONNECT_INVALID_PARAMETERS.dnr().to_wire() >> 1,
            0x4182
        );
    }

    #[test]
    fn retry_bits_do_not_change_the_condition() {
        let status = Status::LBA_OUT_OF_RANGE.dnr();
        assert!(status.is(Status::LBA_OUT_OF_RANGE) && status.is_dnr());
        assert_eq!(Status::from_wire(status.to_wire()), status);
        assert!(Status::SUCCESS.is_success() && !status.is_success());
        assert_eq!(
            status.to_string(),
            "LBA out of range (SCT 0h SC 80h, do not retry)"
        );
    }
}
