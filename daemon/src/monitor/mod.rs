//! The monitor: the process that an operator starts, signals and asks.
//!
//! It reads the configuration, binds, opens, exports and watches the worker, which meets the peers;
//! no byte of a peer is read here. Everything is done on one thread, in the order in which it is asked
//! for: a reload, a question and a worker's end never meet. A worker that dies is started again with
//! what is served now.
//!
//! Everything that can fail is done before anything is promised: storage is opened, listeners bound,
//! the pid file locked, the kernel's exports made, the worker started; then the banner is printed and
//! the terminal left. Whatever fails before leaves nothing behind.

#![forbid(unsafe_code)]

mod announced;
mod announcing;
mod answer;
mod changes;
mod child;
mod delivery;
mod descriptors;
mod kernel;
mod relay;
mod reload;
mod resources;
mod restarts;
mod signals;
mod start;
mod status;
mod storage;
mod subprocess;
mod supply;

use std::ffi::OsString;
use std::iter;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, after, never, select};
use nix::sys::signal::Signal;
use tracing::{error, info, warn};

pub use announcing::ANNOUNCER;
pub use child::WORKER;
pub use signals::OURS as SIGNALS;
pub use start::{check, modules, run};

use crate::cli::Options;
use crate::config::Config;
use crate::config::model::Destination;
use crate::confinement::{Confine, Confinement, Order};
use crate::control::Question;
use crate::control::message::Answer;
use crate::identity::HostIdentity;
use crate::ipc::ToWorker;
use crate::log::Verbosity;
use announced::Announced;
use announcing::Announcing;
use child::{Child, Lost};
use kernel::OpenKernel;
use resources::{Numbers, Resources};
use restarts::Restarts;
use supply::Supply;

/// The daemon, as it serves.
#[derive(Debug)]
struct Monitor<'a> {
    options: &'a Options,
    host: &'a HostIdentity,
    verbosity: Verbosity,
    destination: Destination,
    /// How the worker is confined.
    order: Order,
    /// What is served.
    config: Config,
    resources: Resources,
    numbers: Numbers,
    /// GENCTR.
    generation: u64,
    /// CTL, once something needs it.
    kernel: Option<OpenKernel>,
    worker: Option<Child>,
    /// Whether the worker can hand over to it.
    worker_has_kernel: bool,
    restarts: Restarts,
    announcing: Announcing,
    draining: bool,
    started: SystemTime,
    loaded: SystemTime,
    reload_failed: Option<String>,
}

/// Why the daemon ends.
#[derive(Debug)]
enum End {
    /// By a signal: nothing of ours stays.
    Stop(Signal),
    /// To be followed by another: what the kernel serves stays.
    Leave(Sender<Answer>),
}

impl Monitor<'_> {
    /// Answers, reloads and keeps a worker running, until the daemon is to end.
    fn serve(&mut self, signals: &Receiver<Signal>, questions: &Receiver<Question>) -> End {
        let mut pulse = Instant::now() + PULSE;
        loop {
            let (ended, answers) = match &self.worker {
                Some(child) => (child.ended().clone(), child.answers().clone()),
                None => (never(), never()),
            };
            let at = |due: Instant| after(due.saturating_duration_since(Instant::now()));
            let due = self.restarts.due.map_or_else(never, at);
            let announcer_due = self.announcing.due().map_or_else(never, at);
            let (announcer_ended, said) = (self.announcing.ended(), self.announcing.said());
            select! {
                recv(signals) -> signal => {
                    let signal = signal.unwrap_or(Signal::SIGTERM);
                    // One reload is enough for all that wait, and the end does not wait for it.
                    let mut waiting = iter::once(signal).chain(signals.try_iter());
                    let reloads = |signal: &Signal| {
                        *signal == Signal::SIGHUP && self.options.config.is_some()
                    };
                    match waiting.find(|signal| !reloads(signal)) {
                        Some(end) => return End::Stop(end),
                        None => self.reload_by_signal(),
                    }
                }
                recv(questions) -> question => {
                    let Ok(question) = question else { continue };
                    if let Some(end) = self.answer(question) {
                        return end;
                    }
                }
                recv(ended) -> status => self.worker_ended(status.ok()),
                // It says nothing by itself: this is nonsense, or its end.
                recv(answers) -> message => match message {
                    Ok(_) => self.worker_lost(&Lost::Nonsense),
                    Err(_) => self.worker_lost(&Lost::Gone),
                },
                recv(due) -> _ => self.start_worker_again(),
                recv(at(pulse)) -> _ => {
                    // One that hangs is given up though nobody asks.
                    let _ = self.ask(Child::listens);
                    pulse = Instant::now() + PULSE;
                }
                recv(announcer_ended) -> status => self.announcing.has_ended(status.ok()),
                recv(said) -> message => self.announcing.hear(message.ok()),
                recv(announcer_due) -> _ => self.announcing.is_due(),
            }
        }
    }

    /// Starts a worker that serves what is served now.
    fn start_worker(&mut self) -> Result<Child, Lost> {
        let stderr = match self.destination {
            Destination::Stderr => Stdio::inherit(),
            // It has no way to syslog; a terminal that we leave must not stay open because of it either.
            Destination::Syslog => Stdio::piped(),
        };
        let child = Child::start(&self.worker_arguments(), stderr, &self.order)?;
        tell_of(&child.confinement, self.order.confine);
        let log = ToWorker::Log {
            level: self.verbosity.get().to_string(),
            destination: self.destination,
        };
        child.tell(&log, None)?;
        if let Some(kernel) = &self.kernel {
            child.tell(&ToWorker::Kernel, kernel.for_worker())?;
        }
        if self.draining {
            child.tell(&ToWorker::Drain(true), None)?;
        }
        let supply = Supply {
            config: &self.config,
            resources: &self.resources,
            generation: self.generation,
            host: self.host,
            has: &Resources::default(),
        };
        supply.give(&child)?;
        self.worker_has_kernel = self.kernel.is_some();
        Ok(child)
    }

    fn worker_arguments(&self) -> Vec<OsString> {
        #[cfg(feature = "fake")]
        return self.options.ctl.iter().map(Into::into).collect();
        #[cfg(not(feature = "fake"))]
        Vec::new()
    }

    /// Asks the worker something. One that misbehaves is given up.
    fn ask<T>(&mut self, question: impl FnOnce(&Child) -> Result<T, Lost>) -> Result<T, Lost> {
        let worker = self.worker.as_ref().ok_or(Lost::Gone)?;
        let answer = question(worker);
        match &answer {
            Ok(_) | Err(Lost::Refused(_)) => {}
            Err(lost) => self.worker_lost(lost),
        }
        answer
    }

    /// The worker has ended by itself.
    fn worker_ended(&mut self, status: Option<ExitStatus>) {
        let status = status.map_or_else(|| "ended".into(), |status| status.to_string());
        error!(%status, "the worker has ended; hosts in user mode and discovery will come back");
        self.schedule_restart();
    }

    /// The worker is given up, unless it has ended by itself.
    fn worker_lost(&mut self, lost: &Lost) {
        let ended = self.worker.as_ref().map(Child::ended);
        if let (Lost::Gone, Some(ended)) = (lost, ended)
            && let Ok(status) = ended.recv_timeout(LAST_WORDS)
        {
            return self.worker_ended(Some(status));
        }
        error!(reason = %crate::error::chain(lost), "the worker is given up");
        if let Some(worker) = &self.worker {
            worker.kill();
            // From its end on it hands nothing over, and writes nothing that the next one may read.
            let _ = worker.ended().recv_timeout(LAST_WORDS);
        }
        self.schedule_restart();
    }

    fn schedule_restart(&mut self) {
        let lived = self.worker.take().map(|worker| worker.lived());
        self.restarts.schedule(lived);
    }

    fn start_worker_again(&mut self) {
        self.restarts.begin();
        match self.start_worker() {
            Ok(worker) => {
                info!(process = worker.process(), "the worker is started again");
                self.worker = Some(worker);
            }
            Err(lost) => {
                error!(reason = %crate::error::chain(&lost), "the worker does not start");
                self.schedule_restart();
            }
        }
    }

    /// Has announced what is served now, if it is to be.
    fn announce_what_is_served(&mut self) {
        let announced = Announced::of(&self.config, &self.resources, self.host);
        self.announcing.announce(announced, self.verbosity.get());
    }

    /// Ends the worker in order, and waits until it has ended: from then on nothing is handed over.
    fn stop_worker(&mut self) {
        // One that hangs would not hear of it.
        let _ = self.ask(Child::listens);
        let Some(worker) = self.worker.take() else {
            return;
        };
        if worker.tell(&ToWorker::Stop, None).is_err() {
            warn!("the worker does not listen any more");
            worker.kill();
        }
        // Its kernel and its disks may be slow; a second signal does not wait.
        if worker.ended().recv_timeout(STOP_TIME).is_err() {
            warn!("the worker does not end in order");
            worker.kill();
            let _ = worker.ended().recv_timeout(LAST_WORDS);
        }
    }
}

/// Says what keeps a worker in, and what does not.
fn tell_of(confinement: &Confinement, confine: Confine) {
    let by = words(confinement.fences.iter());
    let user = confinement.user.as_deref();
    match (confine, confinement.is_confined()) {
        (_, true) => info!(%by, user, "the worker is confined"),
        (Confine::Off, false) => {
            warn!(
                user,
                "the worker is not confined: it could open files and connect to others"
            );
        }
        (Confine::Required | Confine::IfPossible, false) => {
            warn!(%by, user, "the worker is NOT confined: it could open files or connect to others");
        }
    }
    for lacks in &confinement.lacks {
        warn!(%lacks, "the worker is confined by less than it should be");
    }
}

/// Things, with commas between them.
fn words(things: impl Iterator<Item = impl ToString>) -> String {
    let words: Vec<String> = things.map(|it| it.to_string()).collect();
    words.join(", ")
}

/// How often a worker is asked whether it still listens.
const PULSE: Duration = Duration::from_secs(5);

/// What a worker may take to end in order.
const STOP_TIME: Duration = Duration::from_secs(120);

/// How long after a worker's last words its end may show.
const LAST_WORDS: Duration = Duration::from_millis(500);
