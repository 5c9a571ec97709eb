//! What can go wrong between a host and a target, in words that say who and what.
//!
//! [`QueueError`] is why a queue came to its end. [`HostError`] is why a command of nvmfctl did:
//! one line, with its causes behind it, and an exit status.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::host::Misuse;
use nvmf_proto::pdu::{Fes, PduError};
use nvmf_proto::status::Status;

use super::stop::INTERRUPTED;
use crate::error::{Exit, PathText};

/// Why nothing more comes from a target.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The transport failed.
    #[error("{0}")]
    Io(io::Error),
    /// It took too long.
    #[error("the target does not answer")]
    Timeout,
    /// The target closed the connection.
    #[error("the target closed the connection")]
    Closed,
    /// The target broke the protocol.
    #[error("the target broke the protocol: {0}")]
    Violation(PduError),
    /// The target refused the Connect.
    #[error("the target refused the Connect: {0}")]
    Refused(ConnectReject),
    /// The target sent a Terminate Connection Request.
    #[error("the target terminated the connection: {}, FES {fes}, FEI {fei:#x}", Fes::describe(*.fes))]
    Terminated {
        /// Fatal Error Status.
        fes: u16,
        /// Fatal Error Information.
        fei: u32,
    },
    /// More was submitted than the queue takes.
    #[error("{0}")]
    Misuse(Misuse),
    /// A signal told us to end.
    #[error("interrupted")]
    Stopped,
}

impl From<io::Error> for QueueError {
    fn from(error: io::Error) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<PduError> for QueueError {
    fn from(error: PduError) -> Self {
        Self::Violation(error)
    }
}

impl From<Misuse> for QueueError {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No address for the name.
    #[error("{host} has no address that is known here")]
    Resolve {
        /// As given.
        host: String,
        /// The resolver's word.
        source: io::Error,
    },
    /// No connection.
    #[error("{}", unreachable(*.address, .source, *.silence))]
    Unreachable {
        /// Where the target should be.
        address: SocketAddr,
        /// What happened.
        source: QueueError,
        /// How long we waited.
        silence: Duration,
    },
    /// A queue that could not be, or came to its end.
    #[error("{what}, {address}: {source}{}", .hint.as_deref().map(|it| format!("; {it}")).unwrap_or_default())]
    Queue {
        /// Which.
        what: String,
        /// Where.
        address: SocketAddr,
        /// Why.
        // Said by the line itself, so no cause behind it.
        source: Box<QueueError>,
        /// The way out, if one is known.
        hint: Option<String>,
    },
    /// A command that the target completed with an error.
    #[error("the target refuses {what}: {status}")]
    Command {
        /// Which.
        what: String,
        /// Its status.
        status: Status,
    },
    /// An answer that cannot be.
    #[error("the target makes no sense: {what}")]
    Nonsense {
        /// What it says.
        what: String,
    },
    /// What was asked for does not fit what is there.
    #[error("{message}")]
    Unfit {
        /// Why, and what would.
        message: String,
    },
    /// Several subsystems, or none, where one must be chosen.
    #[error("{message}")]
    Choice {
        /// Which there are.
        message: String,
    },
    /// A local file.
    #[error("cannot {what} {path}")]
    File {
        /// What with it.
        what: &'static str,
        /// As given.
        path: PathText,
        /// The system's word.
        source: io::Error,
    },
    /// The system refuses what every host needs.
    #[error("cannot {what}")]
    System {
        /// What was asked, as it follows "cannot".
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// It ended in the middle.
    #[error("{done}")]
    Partly {
        /// How far it came.
        done: String,
        /// Why no further.
        source: Box<Self>,
    },
    /// A signal told us to end.
    #[error("interrupted")]
    Stopped,
}

impl HostError {
    /// A local file's failure.
    pub fn file(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.into();
        Self::File { what, path, source }
    }

    /// Something that does not fit.
    pub fn unfit(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Unfit { message }
    }

    /// The target's nonsense.
    pub fn nonsense(what: impl Into<String>) -> Self {
        Self::Nonsense { what: what.into() }
    }

    /// The same with what helps against it, if it is a queue's end that nobody has a hint for yet.
    #[must_use]
    pub fn with_hint(
        mut self,
        find: impl FnOnce(SocketAddr, &QueueError) -> Option<String>,
    ) -> Self {
        if let Self::Queue {
            address,
            source,
            hint: hint @ None,
            ..
        } = &mut self
        {
            *hint = find(*address, source);
        }
        self
    }

    /// The line to print, with the chain of causes.
    pub fn report(&self) -> String {
        match self {
            Self::Partly { done, source } => format!("{done}: {}", source.report()),
            Self::Resolve { source, .. }
            | Self::File { source, .. }
            | Self::System { source, .. } => format!("{self}: {source}"),
            Self::Unreachable { .. }
            | Self::Queue { .. }
            | Self::Command { .. }
            | Self::Nonsense { .. }
            | Self::Unfit { .. }
            | Self::Choice { .. }
            | Self::Stopped => self.to_string(),
        }
    }

    /// The status that the process ends with.
    pub fn exit(&self) -> u8 {
        let exit = match self {
            Self::Resolve { .. } => Exit::NoHost,
            Self::Stopped => return INTERRUPTED,
            Self::Unreachable { source, .. } => return of_queue(source),
            Self::Queue { source, .. } => return of_queue(source),
            Self::Command { .. } => Exit::InputOutput,
            Self::Nonsense { .. } => Exit::Protocol,
            Self::Unfit { .. } => Exit::Data,
            Self::Choice { .. } => Exit::Usage,
            Self::File { what, .. } if *what == CREATE => Exit::CannotCreate,
            Self::File { what, .. } if *what == OPEN => Exit::NoInput,
            Self::File { .. } => Exit::InputOutput,
            Self::System { .. } => Exit::System,
            Self::Partly { source, .. } => return source.exit(),
        };
        exit as u8
    }
}

/// What cannot be done with a file, as it follows "cannot".
pub(super) const CREATE: &str = "create";
pub(super) const OPEN: &str = "open";

fn of_queue(error: &QueueError) -> u8 {
    let exit = match error {
        QueueError::Stopped => return INTERRUPTED,
        QueueError::Refused(why) if why.status.is(Status::CONNECT_INVALID_HOST) => {
            Exit::NoPermission
        }
        QueueError::Violation(_) | QueueError::Terminated { .. } => Exit::Protocol,
        QueueError::Io(_) | QueueError::Timeout | QueueError::Closed | QueueError::Refused(_) => {
            Exit::Unavailable
        }
        QueueError::Misuse(_) => Exit::System,
    };
    exit as u8
}

fn unreachable(address: SocketAddr, error: &QueueError, silence: Duration) -> String {
    let error = match error {
        QueueError::Io(error) => error,
        QueueError::Timeout => {
            return format!("{address} does not answer within {}", words(silence));
        }
        QueueError::Closed
        | QueueError::Violation(_)
        | QueueError::Refused(_)
        | QueueError::Terminated { .. }
        | QueueError::Misuse(_)
        | QueueError::Stopped => return format!("{address}: {error}"),
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nobody listens at {address}: connection refused")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("there is no route to {address}: {error}")
        }
        _ => format!("cannot connect to {address}: {error}"),
    }
}

/// A time as options take it.
pub(super) fn words(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}
