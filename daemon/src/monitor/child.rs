//! The worker as a process: started, asked, listened to, and given up when it misbehaves.
//!
//! It reads what peers send, so nothing that it says is believed beyond its type: an answer that was
//! not asked for, one that makes no sense and one that takes too long are all its end. A worker that
//! is gone is the caller's to start again.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::subprocess::{Role, Subprocess, printable};
use crate::confinement::{Confinement, Order};
use crate::control::message::{LimitUse, Refusal, Refusals, Session, Whose};
use crate::ipc::message::{ERROR_MAX, FailingStorage, PART_MAX};
use crate::ipc::{ToMonitor, ToWorker};
use crate::os::{self, Purpose};
use crate::worker::limits::Limit;
use crate::worker::memory::Level;
use crate::worker::stats::tally::Label;

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
    /// It is not confined as it must be.
    #[error(
        "the worker cannot be confined: {0}; to serve all the same, say confine = \"if-possible\" \
         in [sandbox], or --confine if-possible"
    )]
    Unconfined(String),
    /// What it is to be handed cannot be made ready for it.
    #[error("a descriptor cannot be cut to what the worker needs")]
    Descriptor(#[source] io::Error),
    /// It said no to what every worker can do.
    #[error("the worker cannot serve: {0}")]
    Refused(String),
}

/// A worker that runs.
#[derive(Debug)]
pub(super) struct Child {
    process: Subprocess<ToMonitor>,
    /// What keeps it in.
    pub(super) confinement: Confinement,
}

/// What a worker counts, for operators.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) negotiating: u64,
    pub(super) refused: u64,
    pub(super) stalled: u64,
    pub(super) memory: Level,
}

impl Child {
    /// Starts the same program as this one, as a worker, and waits until it is there and confined. What
    /// it writes to standard error goes to `stderr`; if that is a pipe, to our log.
    pub(super) fn start(
        arguments: &[OsString],
        stderr: Stdio,
        order: &Order,
    ) -> Result<Self, Lost> {
        let started = Subprocess::start(ROLE, arguments, stderr);
        let mut child = Self::of(started.map_err(Lost::Start)?);
        let ToMonitor::Hello { release } = child.answer(Instant::now() + START_TIME)? else {
            return Err(Lost::Nonsense);
        };
        if release != crate::RELEASE {
            return Err(Lost::Replaced(printable(&release)));
        }
        child.confinement = child.confine(order)?;
        Ok(child)
    }

    /// One that has been told nothing yet.
    fn of(process: Subprocess<ToMonitor>) -> Self {
        let confinement = Confinement::default();
        Self {
            process,
            confinement,
        }
    }

    /// Has it confined. It has met no peer yet, so that it can be believed.
    fn confine(&self, order: &Order) -> Result<Confinement, Lost> {
        self.tell(&ToWorker::Confine(order.clone()), None)?;
        let ToMonitor::Confined(confined) = self.answer(Instant::now() + ANSWER_TIME)? else {
            return Err(Lost::Nonsense);
        };
        confined.map_err(|why| Lost::Unconfined(printable(&why)))
    }

    /// Its process.
    pub(super) fn process(&self) -> u32 {
        self.process.process()
    }

    /// When it was started.
    pub(super) fn started(&self) -> SystemTime {
        self.process.started()
    }

    /// How long it has been there.
    pub(super) fn lived(&self) -> Duration {
        self.process.lived()
    }

    /// Where its end shows.
    pub(super) fn ended(&self) -> &Receiver<ExitStatus> {
        self.process.ended()
    }

    /// Where it must say nothing unless it is asked.
    pub(super) fn answers(&self) -> &Receiver<ToMonitor> {
        self.process.said()
    }

    /// Tells it something. A descriptor that goes with it can do there what it is for, and no more.
    pub(super) fn tell(
        &self,
        message: &ToWorker,
        descriptor: Option<(BorrowedFd<'_>, Purpose)>,
    ) -> Result<(), Lost> {
        let limited = descriptor.map(|(descriptor, purpose)| os::limited(descriptor, purpose));
        let limited = limited.transpose().map_err(Lost::Descriptor)?;
        let descriptor = limited.as_ref().map(AsFd::as_fd);
        self.process.tell(message, descriptor).map_err(|error| {
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

    /// How many there are of what it counts.
    pub(super) fn counts(&self) -> Result<Counts, Lost> {
        self.counts_within(ANSWER_TIME)
    }

    /// Whether it still listens to us.
    pub(super) fn listens(&self) -> Result<(), Lost> {
        self.counts_within(LISTEN_TIME).map(drop)
    }

    fn counts_within(&self, time: Duration) -> Result<Counts, Lost> {
        self.tell(&ToWorker::Count, None)?;
        let answer = self.answer(Instant::now() + time)?;
        let ToMonitor::Counts {
            negotiating,
            refused,
            stalled,
            memory,
        } = answer
        else {
            return Err(Lost::Nonsense);
        };
        Ok(Counts {
            negotiating,
            refused,
            stalled,
            memory,
        })
    }

    /// How much is used of what is limited.
    pub(super) fn limits(&self) -> Result<Vec<LimitUse>, Lost> {
        self.tell(&ToWorker::Limits, None)?;
        let ToMonitor::Limits(limits) = self.answer(Instant::now() + ANSWER_TIME)? else {
            return Err(Lost::Nonsense);
        };
        let known = limits
            .iter()
            .map(|it| it.limit)
            .eq(Limit::ALL.iter().copied());
        known.then_some(limits).ok_or(Lost::Nonsense)
    }

    /// Its sessions.
    pub(super) fn sessions(&self) -> Result<Vec<Session>, Lost> {
        self.tell(&ToWorker::Sessions, None)?;
        self.parts(SESSIONS_MAX, |answer| {
            let ToMonitor::Sessions { part, more } = answer else {
                return None;
            };
            part.iter().all(is_short).then_some((part, more))
        })
    }

    /// Its refusals.
    pub(super) fn refusals(&self) -> Result<Refusals, Lost> {
        self.tell(&ToWorker::Refusals, None)?;
        let mut all = 0;
        let last: Vec<Refusal> = self.parts(REFUSALS_MAX, |answer| {
            let ToMonitor::Refusals { total, part, more } = answer else {
                return None;
            };
            all = total;
            Some((part, more))
        })?;
        Ok(Refusals { total: all, last })
    }

    /// A list that comes in parts, each with something in it, and no longer than lists get.
    fn parts<T>(
        &self,
        max: usize,
        mut part_of: impl FnMut(ToMonitor) -> Option<(Vec<T>, bool)>,
    ) -> Result<Vec<T>, Lost> {
        let deadline = Instant::now() + ANSWER_TIME;
        let mut list = Vec::new();
        loop {
            let (part, more) = part_of(self.answer(deadline)?).ok_or(Lost::Nonsense)?;
            let endless = more && part.is_empty();
            if endless || part.len() > PART_MAX || list.len() + part.len() > max {
                return Err(Lost::Nonsense);
            }
            list.extend(part);
            if !more {
                return Ok(list);
            }
        }
    }

    /// What fails of its storage.
    pub(super) fn failing(&self) -> Result<Vec<FailingStorage>, Lost> {
        self.tell(&ToWorker::Failing, None)?;
        let fits = |it: &FailingStorage| {
            it.nqn.len() <= NQN_MAX && it.failing.error.chars().count() <= ERROR_MAX
        };
        self.parts(FAILING_MAX, |answer| {
            let ToMonitor::Failing { part, more } = answer else {
                return None;
            };
            part.iter().all(fits).then_some((part, more))
        })
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
        self.process.kill();
    }

    fn answer(&self, deadline: Instant) -> Result<ToMonitor, Lost> {
        if deadline < Instant::now() {
            // What it says without an end is no answer.
            return Err(Lost::Silent);
        }
        self.answers()
            .recv_deadline(deadline)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => Lost::Silent,
                RecvTimeoutError::Disconnected => Lost::Gone,
            })
    }
}

/// Whether its texts are no longer than names get, so that all of them together are bounded.
fn is_short(session: &Session) -> bool {
    let texts = [
        Some(&session.subsystem),
        Some(&session.hostnqn),
        session.hostid.as_ref(),
    ];
    texts.into_iter().flatten().all(|it| it.len() <= NQN_MAX)
}

/// The argument by which the program knows that it is a worker.
pub const WORKER: &str = "--worker";

const ROLE: Role = Role {
    argument: WORKER,
    name: "worker",
    title: "nvmfd: worker",
};

/// Bytes of a name.
const NQN_MAX: usize = 223;

/// More sessions than CNTLIDs is nonsense.
const SESSIONS_MAX: usize = 1 << 16;

/// More than a worker keeps of refusals is nonsense.
const REFUSALS_MAX: usize = 1 << 10;

/// More than three for each of a subsystem's possible namespaces, in many subsystems, is nonsense.
const FAILING_MAX: usize = 1 << 16;

/// What a worker may take to start.
const START_TIME: Duration = Duration::from_secs(20);

/// What an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// What the least answer may take, of a worker that has nothing else to do for us.
const LISTEN_TIME: Duration = Duration::from_secs(10);

/// What the kernel may take for the hand-off that is under way.
const HOLD_TIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
