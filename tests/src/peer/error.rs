//! What can end a conversation with a target.

use std::fmt;
use std::io;

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::host::Misuse;
use nvmf_proto::pdu::{Fes, PduError};

/// Why nothing more comes from a target.
#[derive(Debug)]
pub enum PeerError {
    /// The transport failed.
    Io(io::Error),
    /// It took too long.
    Timeout,
    /// The target closed the connection.
    Closed,
    /// The target broke the protocol.
    Violation(PduError),
    /// The target refused the Connect.
    Refused(ConnectReject),
    /// The target sent a Terminate Connection Request.
    Terminated {
        /// Fatal Error Status.
        fes: u16,
        /// Fatal Error Information.
        fei: u32,
    },
    /// The test asked for something that cannot be.
    Misuse(Misuse),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Timeout => f.write_str("the target does not answer"),
            Self::Closed => f.write_str("the target closed the connection"),
            Self::Violation(error) => write!(f, "the target broke the protocol: {error}"),
            Self::Refused(reject) => write!(f, "the target refused the Connect: {reject}"),
            Self::Terminated { fes, fei } => {
                let text = Fes::describe(*fes);
                write!(
                    f,
                    "the target terminated the connection: {text}, FEI {fei:#x}"
                )
            }
            Self::Misuse(misuse) => write!(f, "{misuse}"),
        }
    }
}

impl std::error::Error for PeerError {}

impl From<io::Error> for PeerError {
    fn from(error: io::Error) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<PduError> for PeerError {
    fn from(error: PduError) -> Self {
        Self::Violation(error)
    }
}

impl From<Misuse> for PeerError {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}
