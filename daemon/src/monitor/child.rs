//! The worker as a process: started, asked, listened to, and given up when it misbehaves.
//!
//! It reads what peers send, so nothing that it says is believed beyond its type: an answer that was
//! not asked for, one that makes no sense and one that takes too long are all its end. A worker that
//! is gone is the caller's to start again.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::debug;

use crate::control::message::{Refusal, Refusals, Session, Whose};
use crate::ipc::{Channel, ToMonitor, ToWorker};

/// Why a worker is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// It could not be started.
    #[error("the worker cannot be started")]
    Start(#[source] io::Error),
    /// It has ended, or said nonsense; its end says more.
    #[error("the worker is gone")]
    Gone,
    /// It does not answer.
    #[error("the worker does not answer")]
    Silent,
    /// It said what nobody had asked.
    #[error("the worker answers what it was not asked")]
    Nonsense,
    /// It is of another release: the program was replaced.
    #[error(
        "the program was replaced by release {0} while it runs; service nvmfd upgrade changes over"
    )]
    Replaced(String),
    /// It said no to what every worker can do.
    #[error("the worker cannot serve: {0}")]
    Refused(String),
}

/// A worker that runs.
#[derive(Debug)]
pub(super) struct Child {
    channel: Channel,
    answers: Receiver<ToMonitor>,
    process: u32,
    /// When it was started.
    pub(super) started: SystemTime,
    ended: Receiver<ExitStatus>,
}

impl Child {
    /// Starts the same program as this one, as a worker, and waits until it is there. What it logs to
    /// standard error goes to `stderr`.
    pub(super) fn start(arguments: &[OsString], stderr: Stdio) -> Result<Self, Lost> {
        let (channel, theirs) = Channel::pair().map_err(Lost::Start)?;
        let program = program().map_err(Lost::Start)?;
        let mut child = Command::new(program)
            .arg0("nvmfd: worker")
            .arg(WORKER)
            .args(arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(stderr)
            // Signals of the terminal are the monitor's.
            .process_group(0)
            .spawn()
            .map_err(Lost::Start)?;
        let process = child.id();
        let (ended_sender, ended) = bounded(1);
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // Nobody may care any more.
                let _ = ended_sender.send(status);
            }
        });
        let receiving = channel.try_clone().map_err(Lost::Start)?;
        let (sender, answers) = bounded(ANSWERS_MAX);
        thread::spawn(move || receive(&receiving, &sender));
        let child = Self {
            channel,
            answers,
            process,
            started: SystemTime::now(),
            ended,
        };
        let ToMonitor::Hello { release } = child.answer(Instant::now() + START_TIME)? else {
            return Err(Lost::Nonsense);
        };
        match release == crate::RELEASE {
            true => Ok(child),
            false => Err(Lost::Replaced(printable(&release))),
        }
    }

    /// Its process.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// Where its end shows.
    pub(super) fn ended(&self) -> &Receiver<ExitStatus> {
        &self.ended
    }

    /// Where it must say nothing unless it is asked.
    pub(super) fn answers(&self) -> &Receiver<ToMonitor> {
        &self.answers
    }

    /// Tells it something.
    pub(super) fn tell(
        &self,
        message: &ToWorker,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), Lost> {
        self.channel.send(message, descriptor).map_err(|error| {
            match error.kind() == io::ErrorKind::WouldBlock {
                true => Lost::Silent,
                false => Lost::Gone,
            }
        })
    }

    /// Waits until what was sent in pieces is served.
    pub(super) fn commit(&self) -> Result<(), Lost> {
        self.tell(&ToWorker::Commit, None)?;
        let ToMonitor::Committed(committed) = self.answer(Instant::now() + ANSWER_TIME)? else {
            return Err(Lost::Nonsense);
        };
        committed.map_err(|why| Lost::Refused(printable(&why)))
    }

    /// Waits until nothing is being handed over. A hand-off can last as long as the kernel pleases.
    pub(super) fn hold_handoffs(&self) -> Result<(), Lost> {
        self.tell(&ToWorker::HoldHandoffs, None)?;
        let ToMonitor::Held = self.answer(Instant::now() + HOLD_TIME)? else {
            return Err(Lost::Nonsense);
        };
        Ok(())
    }

    /// Connections in negotiation, and those that were refused.
    pub(super) fn counts(&self) -> Result<(u64, u64), Lost> {
        self.tell(&ToWorker::Count, None)?;
        let answer = self.answer(Instant::now() + ANSWER_TIME)?;
        let ToMonitor::Counts {
            negotiating,
            refused,
        } = answer
        else {
            return Err(Lost::Nonsense);
        };
        Ok((negotiating, refused))
    }

    /// Its sessions.
    pub(super) fn sessions(&self) -> Result<Vec<Session>, Lost> {
        self.tell(&ToWorker::Sessions, None)?;
        let deadline = Instant::now() + ANSWER_TIME;
        let mut sessions = Vec::new();
        while sessions.len() < SESSIONS_MAX {
            let ToMonitor::Sessions { part, more } = self.answer(deadline)? else {
                break;
            };
            sessions.extend(part);
            if !more {
                return Ok(sessions);
            }
        }
        Err(Lost::Nonsense)
    }

    /// Its refusals.
    pub(super) fn refusals(&self) -> Result<Refusals, Lost> {
        self.tell(&ToWorker::Refusals, None)?;
        let deadline = Instant::now() + ANSWER_TIME;
        let mut last: Vec<Refusal> = Vec::new();
        while last.len() < SESSIONS_MAX {
            let ToMonitor::Refusals { total, part, more } = self.answer(deadline)? else {
                break;
            };
            last.extend(part);
            if !more {
                return Ok(Refusals { total, last });
            }
        }
        Err(Lost::Nonsense)
    }

    /// Ends sessions; how many.
    pub(super) fn terminate(&self, whose: &Whose) -> Result<u64, Lost> {
        self.tell(&ToWorker::Terminate(whose.clone()), None)?;
        let ToMonitor::Terminated(count) = self.answer(Instant::now() + ANSWER_TIME)? else {
            return Err(Lost::Nonsense);
        };
        Ok(count)
    }

    /// Ends it at once. What it had begun with a backend may or may not be done.
    pub(super) fn kill(&self) {
        if let Ok(process) = i32::try_from(self.process) {
            // It may have ended by itself.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(process),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }

    fn answer(&self, deadline: Instant) -> Result<ToMonitor, Lost> {
        self.answers
            .recv_deadline(deadline)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => Lost::Silent,
                RecvTimeoutError::Disconnected => Lost::Gone,
            })
    }
}

impl Drop for Child {
    /// A worker without its monitor is of no use to anybody.
    fn drop(&mut self) {
        if self.ended.is_empty() {
            self.kill();
        }
    }
}

/// Passes on what the worker says until it is gone or makes no sense.
fn receive(channel: &Channel, answers: &Sender<ToMonitor>) {
    loop {
        match channel.receive::<ToMonitor>() {
            Ok(Some((message, _descriptor))) => {
                if answers.send(message).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                debug!(%error, "from the worker");
                return;
            }
        }
    }
}

/// This program, even if another has taken its name since.
fn program() -> io::Result<PathBuf> {
    let itself = PathBuf::from("/proc/self/exe");
    if itself.exists() {
        return Ok(itself);
    }
    std::env::current_exe()
}

/// A worker's words, fit for a log.
fn printable(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .flat_map(char::escape_debug)
        .collect()
}

/// The argument by which the program knows that it is a worker.
pub const WORKER: &str = "--worker";

const TEXT_MAX: usize = 1024;

/// Answers that may wait; a worker that says more waits itself.
const ANSWERS_MAX: usize = 64;

/// More sessions than CNTLIDs is nonsense.
const SESSIONS_MAX: usize = 1 << 17;

/// What a worker may take to start.
const START_TIME: Duration = Duration::from_secs(20);

/// What an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// What the kernel may take for the hand-off that is under way.
const HOLD_TIME: Duration = Duration::from_secs(60);
