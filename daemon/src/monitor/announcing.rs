//! The announcer: started while there is something to announce, told what, and believed nothing.
//!
//! Nothing waits for it, and nothing else notices how it fares: it is heard as one event among others,
//! started again when it dies, and given up when it says what makes no sense, or too much.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, never};
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, warn};

use super::announced::Announced;
use super::delivery::Delivery;
use super::restarts::Restarts;
use super::status::seconds;
use super::subprocess::{Role, Subprocess, printable};
use crate::config::model::Destination;
use crate::confinement::{Confine, Confinement, Order};
use crate::control::message;
use crate::ipc::announcement::TEXT_MAX;
use crate::ipc::{FromAnnouncer, ToAnnouncer};
use crate::log::Quota;

/// The announcer, and what it is for.
#[derive(Debug)]
pub(super) struct Announcing {
    destination: Destination,
    /// What is to keep it in.
    order: Order,
    level: LevelFilter,
    wanted: Option<Announced>,
    running: Option<Running>,
    restarts: Restarts,
    /// What it said last of multicast DNS.
    mdns: (u32, Option<String>),
    /// What it said last of each CDC that it was told of.
    cdcs: BTreeMap<SocketAddr, Fare>,
}

/// An announcer that runs.
#[derive(Debug)]
struct Running {
    process: Subprocess<FromAnnouncer>,
    /// What keeps it in.
    confinement: Confinement,
    /// Tells it.
    delivery: Delivery,
    stage: Stage,
    /// When it must have said that it is there, or have ended.
    deadline: Option<Instant>,
    /// What it may say.
    allowance: Quota,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not said that it is there.
    Starting,
    /// It is there, and has not said that it is confined.
    Confining,
    /// It knows what to announce.
    Told,
    /// It was told to end.
    Leaving,
}

/// How it fares with a CDC.
#[derive(Debug, Clone, Default)]
struct Fare {
    /// Entries that the CDC has of us, and since when.
    registered: Option<(u32, SystemTime)>,
    error: Option<String>,
}

/// Why an announcer is given up.
#[derive(Debug, thiserror::Error)]
enum Mad {
    #[error("it does not listen")]
    Deaf(#[source] io::Error),
    #[error("it is late")]
    Late,
    #[error("it says what makes no sense")]
    Nonsense,
    #[error("it talks without end")]
    Babble,
    #[error("the program was replaced by release {0} while it runs")]
    Replaced(String),
}

impl Announcing {
    /// Nothing to announce yet. Whoever is to announce is confined as `order` says, but not given up
    /// where the system has nothing for who makes sockets.
    pub(super) fn new(destination: Destination, order: &Order) -> Self {
        let confine = match order.confine {
            Confine::Required | Confine::IfPossible => Confine::IfPossible,
            Confine::Off => Confine::Off,
        };
        let user = order.user.clone();
        Self {
            destination,
            order: Order { confine, user },
            level: LevelFilter::INFO,
            wanted: None,
            running: None,
            restarts: Restarts::default(),
            mdns: (0, None),
            cdcs: BTreeMap::new(),
        }
    }

    /// From now on announces this, or nothing.
    pub(super) fn announce(&mut self, wanted: Option<Announced>, level: LevelFilter) {
        self.log(level);
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        let wanted = self.wanted.as_ref();
        let cdcs = wanted.map(|it| it.cdcs.clone()).unwrap_or_default();
        self.cdcs.retain(|cdc, _| cdcs.contains(cdc));
        for cdc in cdcs {
            self.cdcs.entry(cdc).or_default();
        }
        if wanted.is_none_or(|it| it.services.is_empty()) {
            self.mdns = (0, None);
        }
        match (&self.running, &self.wanted) {
            (None, Some(_)) if self.restarts.due.is_none() => self.start(),
            (None, None) => self.restarts.due = None,
            (None, Some(_)) => {}
            (Some(_), None) => self.stop(),
            (Some(running), Some(_)) => match running.stage {
                Stage::Told => self.tell(),
                // It is told when it is there, or the next one is.
                Stage::Starting | Stage::Confining | Stage::Leaving => {}
            },
        }
    }

    /// Logs what is at least as severe.
    pub(super) fn log(&mut self, level: LevelFilter) {
        if self.level == level {
            return;
        }
        self.level = level;
        if let Some(running) = self.running.as_ref().filter(|it| it.stage == Stage::Told) {
            running.delivery.hand(vec![self.log_message()]);
        }
    }

    /// Where its end shows.
    pub(super) fn ended(&self) -> Receiver<ExitStatus> {
        let running = self.running.as_ref();
        running.map_or_else(never, |it| it.process.ended().clone())
    }

    /// What it says.
    pub(super) fn said(&self) -> Receiver<FromAnnouncer> {
        let running = self.running.as_ref();
        running.map_or_else(never, |it| it.process.said().clone())
    }

    /// When [`Self::is_due`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        let deadline = self.running.as_ref().and_then(|it| it.deadline);
        [deadline, self.restarts.due].into_iter().flatten().min()
    }

    /// The time has come to start it, or to end its time.
    pub(super) fn is_due(&mut self) {
        let now = Instant::now();
        let running = self.running.as_ref();
        if running
            .and_then(|it| it.deadline)
            .is_some_and(|it| it <= now)
        {
            return self.give_up(&Mad::Late);
        }
        if self.running.is_none() && self.restarts.due.is_some_and(|due| due <= now) {
            self.restarts.begin();
            self.start();
        }
    }

    /// It says something; `None`: it says no more.
    pub(super) fn hear(&mut self, message: Option<FromAnnouncer>) {
        let Some(running) = &self.running else { return };
        let stage = running.stage;
        if running.allowance.admit(Instant::now()).is_none() {
            return self.give_up(&Mad::Babble);
        }
        match (message, stage) {
            (Some(FromAnnouncer::Hello { release }), Stage::Starting) => {
                if release == crate::RELEASE {
                    self.confine();
                } else {
                    self.give_up(&Mad::Replaced(printable(&release)));
                }
            }
            (Some(FromAnnouncer::Confined(confinement)), Stage::Confining) => {
                if let Some(running) = &mut self.running {
                    running.confinement = confinement;
                }
                self.tell();
            }
            (Some(FromAnnouncer::Mdns { announced, error }), Stage::Told) if is_short(&error) => {
                self.mdns = (announced, error.map(|it| printable(&it)));
            }
            (
                Some(FromAnnouncer::Cdc {
                    address,
                    entries,
                    error,
                }),
                Stage::Told,
            ) if is_short(&error) => self.fares(address, entries, error),
            // The last words before it has heard that it is to end.
            (Some(_), Stage::Leaving) => {}
            (Some(_), _) => self.give_up(&Mad::Nonsense),
            (None, _) => match running.process.ended().recv_timeout(LAST_WORDS) {
                Ok(status) => self.has_ended(Some(status)),
                Err(_) => {
                    let deaf = running.delivery.failure().map(Mad::Deaf);
                    self.give_up(&deaf.unwrap_or(Mad::Nonsense));
                }
            },
        }
    }

    fn fares(&mut self, address: SocketAddr, entries: Option<u32>, error: Option<String>) {
        // Of one that is not in the file any more nobody needs to know.
        if let Some(fare) = self.cdcs.get_mut(&address) {
            let since = fare
                .registered
                .map_or_else(SystemTime::now, |(_, since)| since);
            fare.registered = entries.map(|entries| (entries, since));
            fare.error = error.map(|it| printable(&it));
        }
    }

    /// It has ended.
    pub(super) fn has_ended(&mut self, status: Option<ExitStatus>) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.forget();
        if running.stage == Stage::Leaving {
            info!("nothing is announced any more");
            if self.wanted.is_some() {
                self.start();
            }
            return;
        }
        let status = status.map_or_else(|| "ended".into(), |status| status.to_string());
        error!(%status, "the announcer has ended; what is served is served on");
        self.restarts.schedule(Some(running.process.lived()));
    }

    /// Tells it to take everything back and to end.
    pub(super) fn stop(&mut self) {
        self.wanted = None;
        self.restarts.due = None;
        let Some(running) = &mut self.running else {
            return;
        };
        running.stage = Stage::Leaving;
        running.deadline = Some(Instant::now() + STOP_TIME);
        running.delivery.hand(vec![ToAnnouncer::Stop]);
    }

    /// Waits until it has ended, after [`Self::stop`].
    pub(super) fn await_end(&mut self) {
        while let Some(running) = &self.running {
            // What it still says has to go somewhere.
            let _ = running.process.said().try_iter().count();
            match running.process.ended().recv_timeout(LAST_WORDS) {
                Ok(status) => self.has_ended(Some(status)),
                Err(_) => self.is_due(),
            }
        }
    }

    /// How it fares, if there is anything to announce.
    pub(super) fn status(&self) -> Option<message::Announcer> {
        let wanted = self.wanted.as_ref()?;
        let running = self.running.as_ref();
        let of = |(cdc, fare): (&SocketAddr, &Fare)| message::Registration {
            cdc: *cdc,
            entries: fare.registered.map(|(entries, _)| entries),
            since: fare.registered.map(|(_, since)| seconds(since)),
            error: fare.error.clone(),
        };
        let (announced, error) = &self.mdns;
        Some(message::Announcer {
            pid: running.map(|it| it.process.process()),
            started: running.map_or(0, |it| seconds(it.process.started())),
            restarts: self.restarts.count,
            confinement: running.map(|it| it.confinement.clone()).unwrap_or_default(),
            mdns: (!wanted.services.is_empty()).then(|| message::Mdns {
                announced: *announced,
                error: error.clone(),
            }),
            registrations: self.cdcs.iter().map(of).collect(),
        })
    }

    fn start(&mut self) {
        let stderr = match self.destination {
            Destination::Stderr => Stdio::inherit(),
            // A terminal that we leave must not stay open because of it, and syslog is out of its reach.
            Destination::Syslog => Stdio::piped(),
        };
        let started = Subprocess::start(ROLE, &[], stderr);
        match started.and_then(|process| Ok((process.channel()?, process))) {
            Ok((channel, process)) => {
                debug!(process = process.process(), "the announcer is started");
                self.running = Some(Running {
                    process,
                    confinement: Confinement::default(),
                    delivery: Delivery::over(channel),
                    stage: Stage::Starting,
                    deadline: Some(Instant::now() + START_TIME),
                    allowance: Quota::new(ALLOWED, ALLOWED_TIME),
                });
            }
            Err(error) => {
                error!(%error, "the announcer cannot be started");
                self.restarts.schedule(None);
            }
        }
    }

    /// Has it confined, which it answers.
    fn confine(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.stage = Stage::Confining;
        let order = ToAnnouncer::Confine(self.order.clone());
        running.delivery.hand(vec![order]);
    }

    /// Tells it what is wanted. It is there, and only has to listen.
    fn tell(&mut self) {
        let log = self.log_message();
        let (Some(running), Some(wanted)) = (&mut self.running, &self.wanted) else {
            return self.stop();
        };
        running.stage = Stage::Told;
        running.deadline = None;
        let each = ALLOWED_EACH.saturating_mul(wanted.talkative());
        running.allowance = Quota::new(ALLOWED.saturating_add(each), ALLOWED_TIME);
        let letter = iter::once(log).chain(wanted.messages());
        running.delivery.hand(letter.collect());
    }

    fn log_message(&self) -> ToAnnouncer {
        ToAnnouncer::Log {
            level: self.level.to_string(),
            destination: self.destination,
        }
    }

    fn give_up(&mut self, mad: &Mad) {
        let Some(running) = self.running.take() else {
            return;
        };
        self.forget();
        running.process.kill();
        if running.stage == Stage::Leaving {
            warn!(
                "the announcer does not end in order; what it has announced may still be believed"
            );
            if self.wanted.is_some() {
                self.start();
            }
            return;
        }
        let reason = crate::error::chain(mad);
        error!(%reason, "the announcer is given up; what is served is served on");
        self.restarts.schedule(Some(running.process.lived()));
    }

    /// What one that is gone has said is not so any more.
    fn forget(&mut self) {
        self.mdns = (0, None);
        for fare in self.cdcs.values_mut() {
            *fare = Fare::default();
        }
    }
}

fn is_short(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(|text| text.len() <= TEXT_MAX)
}

/// The argument by which the program knows that it is an announcer.
pub const ANNOUNCER: &str = "--announcer";

const ROLE: Role = Role {
    argument: ANNOUNCER,
    name: "announcer",
    title: "nvmfd: announcer",
};

/// What an announcer may take to start.
const START_TIME: Duration = Duration::from_secs(20);

/// What it may take to take everything back.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How long after its last words its end may show.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Messages that it may send in so much time, and so many more for each thing that it does.
const ALLOWED: u32 = 64;
const ALLOWED_EACH: u32 = 32;
const ALLOWED_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
