//! Why nvmfctl did not do it: words, and an exit status.

#![forbid(unsafe_code)]

use std::io;

use super::printable::lines;
use crate::control::message::{Failure, FailureKind, VERSION};
use crate::error::PathText;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum CtlError {
    /// The command line, as clap puts it.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers.
    #[error("nvmfd is not running, or its socket is elsewhere (--socket): {path}: {source}")]
    NotRunning {
        /// Where it was looked for.
        path: PathText,
        /// The system's word.
        source: io::Error,
    },
    /// The socket is not ours to open.
    #[error("only root and the group operator may ask nvmfd; {path}: {source}")]
    NoPermission {
        /// Where it is.
        path: PathText,
        /// The system's word.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("cannot talk to nvmfd: {0}")]
    Talk(io::Error),
    /// It was closed without an answer.
    #[error("nvmfd ended before it answered; see its log")]
    Ended,
    /// No answer came.
    #[error("nvmfd does not answer; it may still do what it was asked to")]
    Silent,
    /// The daemon is of another release.
    #[error(
        "nvmfd speaks version {daemon} of the control protocol and nvmfctl {} version {VERSION}; \
         use nvmfctl and nvmfd of one release", env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The daemon's.
        daemon: u32,
    },
    /// What came is no answer.
    #[error("what answers is not nvmfd, or of another release: {0}")]
    Nonsense(String),
    /// The daemon's own words.
    #[error("{}", lines(&.0.text))]
    Refused(Failure),
    /// A file's problems, as they are shown.
    #[error("{0}")]
    File(FileProblems),
    /// Sessions that were to be ended are not there.
    #[error("{0} has no session; nvmfctl sessions shows who has")]
    NoSession(String),
    /// The terminal does not do as it is told.
    #[error("cannot use the terminal: {0}; try -n 1, or --json")]
    Terminal(io::Error),
    /// Nobody can read what is printed.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

/// What is wrong with a file, in several lines.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct FileProblems {
    /// The problems.
    pub(super) text: String,
    /// Whether there was anything to read.
    pub(super) read: bool,
}

impl CtlError {
    /// The status that the process ends with, as `sysexits.h` has them from 64 on.
    pub(super) fn exit(&self) -> u8 {
        match self {
            Self::NoSession(_) => NOBODY,
            Self::Usage(_) => USAGE,
            Self::File(FileProblems { read: true, .. }) => DATA,
            Self::File(FileProblems { read: false, .. }) => NO_INPUT,
            Self::NotRunning { .. } | Self::Ended => UNAVAILABLE,
            Self::Terminal(_) => SYSTEM,
            Self::Talk(_) | Self::Output(_) => IO,
            Self::Silent => TRY_AGAIN,
            Self::Version { .. } | Self::Nonsense(_) => PROTOCOL,
            Self::NoPermission { .. } => NO_PERMISSION,
            Self::Refused(failure) => match failure.kind {
                FailureKind::Request => USAGE,
                FailureKind::Config => DATA,
                FailureKind::NoConfig => UNAVAILABLE,
                FailureKind::System => SYSTEM,
                FailureKind::NotFound => NOBODY,
                FailureKind::Busy => TRY_AGAIN,
            },
        }
    }

    /// What to print, in whole lines. clap's words and a file's problems are that already.
    pub(super) fn report(&self) -> String {
        if matches!(self, Self::Usage(_) | Self::File(_)) {
            return self.to_string();
        }
        format!("nvmfctl: {self}\n")
    }

    /// Whether nobody is there any more to be told, as behind a pipe that is closed.
    pub(super) fn is_unheard(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

const NOBODY: u8 = 1;
const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const UNAVAILABLE: u8 = 69;
const SYSTEM: u8 = 71;
const IO: u8 = 74;
const TRY_AGAIN: u8 = 75;
const PROTOCOL: u8 = 76;
const NO_PERMISSION: u8 = 77;
