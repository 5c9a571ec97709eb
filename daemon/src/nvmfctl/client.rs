//! The client's side of the control socket: a connection for each question, so that a daemon that
//! was replaced in between is no matter.

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::failure::CtlError;
use crate::control::line::{Broken, Lines, send};
use crate::control::message::{Answer, Answered, Asked, Plan, Request, Sessions, VERSION};

/// A daemon, by its socket.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    /// Where the socket is.
    pub(super) socket: PathBuf,
}

impl Daemon {
    /// The daemon's answer, which is no failure.
    ///
    /// # Errors
    /// The failure, or why there is no answer.
    pub(super) fn ask(&self, request: Request) -> Result<Answer, CtlError> {
        let stream =
            UnixStream::connect(&self.socket).map_err(|source| self.unreachable(source))?;
        let leaves = request == Request::Leave;
        let version = VERSION;
        let line = serde_json::to_vec(&Asked { version, request })
            .map_err(|error| CtlError::Talk(error.into()))?;
        match send(&stream, line, PATIENCE) {
            Ok(()) => {}
            // It does not read to the end, perhaps because it has said why already.
            Err(Broken::Io(error)) if is_closed(&error) => {}
            Err(broken) => return Err(broken.into()),
        }
        let line = Lines::of(&stream, ANSWER_MAX).next(PATIENCE);
        let line = line?.ok_or(CtlError::Ended)?;
        // The daemon that is to go may be of another version than the one that comes.
        if leaves && is_done(&line) {
            return Ok(Answer::Done);
        }
        let answer = read_answer(&line)?;
        if let Answer::Failed(failure) = answer {
            return Err(CtlError::Refused(failure));
        }
        Ok(answer)
    }

    /// Who is connected.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn sessions(&self) -> Result<Sessions, CtlError> {
        let answer = self.ask(Request::Sessions)?;
        let Answer::Sessions(sessions) = answer else {
            return Err(unexpected(&answer));
        };
        Ok(sessions)
    }

    /// The plan that a request is answered with.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn plan(&self, request: Request) -> Result<Plan, CtlError> {
        let answer = self.ask(request)?;
        let Answer::Plan(plan) = answer else {
            return Err(unexpected(&answer));
        };
        Ok(plan)
    }

    /// Has something done that has no other answer.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn tell(&self, request: Request) -> Result<(), CtlError> {
        let answer = self.ask(request)?;
        let Answer::Done = answer else {
            return Err(unexpected(&answer));
        };
        Ok(())
    }

    fn unreachable(&self, source: io::Error) -> CtlError {
        let path = self.socket.as_path().into();
        if source.kind() == io::ErrorKind::PermissionDenied {
            CtlError::NoPermission { path, source }
        } else {
            CtlError::NotRunning { path, source }
        }
    }
}

impl From<Broken> for CtlError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::TooLong => Self::Nonsense("a line without an end".into()),
            Broken::Late { .. } => Self::Silent,
            Broken::Io(error) if is_closed(&error) => Self::Ended,
            Broken::Io(error) => Self::Talk(error),
        }
    }
}

/// An answer to another question.
pub(super) fn unexpected(answer: &Answer) -> CtlError {
    let text = format!("{answer:?}");
    CtlError::Nonsense(text.chars().take(ERROR_MAX).collect())
}

fn read_answer(line: &[u8]) -> Result<Answer, CtlError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let nonsense = |error: serde_json::Error| {
        let text: String = error.to_string().chars().take(ERROR_MAX).collect();
        CtlError::Nonsense(super::printable::printable(&text))
    };
    let Versioned { version: daemon } = serde_json::from_slice(line).map_err(nonsense)?;
    if daemon != VERSION {
        return Err(CtlError::Version { daemon });
    }
    let Answered { answer, .. } = serde_json::from_slice(line).map_err(nonsense)?;
    Ok(answer)
}

/// Whether an answer of any version says that it is done.
fn is_done(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Outcome {
        answer: String,
    }
    serde_json::from_slice(line).is_ok_and(|outcome: Outcome| outcome.answer == "done")
}

fn is_closed(error: &io::Error) -> bool {
    let closed = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    closed.contains(&error.kind())
}

/// A little more than the daemon gives itself.
const PATIENCE: Duration = Duration::from_secs(130);

/// Bytes of an answer: a hundred thousand sessions with names of full length.
const ANSWER_MAX: usize = 64 << 20;

/// Characters of a complaint.
const ERROR_MAX: usize = 200;
