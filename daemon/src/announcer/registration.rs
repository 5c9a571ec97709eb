//! Registration with one Centralized Discovery Controller (CDC, TP 8010), and with it again: a thread
//! that connects as a host, tells what is served, keeps the connection alive, and takes everything back
//! in the end.
//!
//! A CDC is believed nothing. Every wait has a deadline, what goes wrong ends the connection, and the
//! next one is tried after a pause that grows; the daemon serves on whatever happens here.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use nvmf_proto::nqn::Nqn;
use tracing::{info, warn};

use super::announcement::{Announcement, Entry};
use super::dim::Clerk;
use super::news::News;
use super::orders::{Order, Orders};
use crate::host::controller::Controller;
use crate::host::error::HostError;
use crate::host::line::Patience;
use crate::host::options::HostOptions;
use crate::host::stop::Stop;
use crate::log::{Quota, told};

/// A thread that sees to it that a CDC knows us.
#[derive(Debug)]
pub struct Registration {
    orders: Arc<Orders>,
    news: Arc<News>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    _thread: JoinHandle<()>,
}

impl Registration {
    /// Registers with the CDC at `cdc`, once `before` has left it.
    ///
    /// # Errors
    /// The system's.
    pub fn start(
        cdc: SocketAddr,
        wanted: Arc<Announcement>,
        news: News,
        before: Option<Leaving>,
    ) -> io::Result<Self> {
        let (orders, news) = (Arc::new(Orders::default()), Arc::new(news));
        let (alive, ended) = bounded(0);
        let registrar = Registrar {
            cdc,
            orders: Arc::clone(&orders),
            news: Arc::clone(&news),
            pause: FIRST_PAUSE,
            tidings: Quota::new(LINES, LINES_TIME),
            complaints: Quota::new(LINES, LINES_TIME),
            registered: None,
        };
        let work = move || {
            if let Some(before) = before {
                // What it still takes back is what we are about to register.
                before.await_end(Instant::now() + LEFT_TIME);
            }
            registrar.run(wanted);
            drop(alive);
        };
        let thread = thread::Builder::new().name("registration".into());
        Ok(Self {
            orders,
            news,
            ended,
            _thread: thread.spawn(work)?,
        })
    }

    /// From now on registers this.
    pub fn register(&self, wanted: &Arc<Announcement>) {
        self.orders.give(Order::Register(Arc::clone(wanted)));
    }

    /// Takes everything back, and ends.
    pub fn leave(self) -> Leaving {
        self.news.hush();
        self.orders.give(Order::Leave);
        Leaving(self.ended)
    }
}

/// A thread that takes everything back.
#[derive(Debug)]
pub struct Leaving(Receiver<()>);

impl Leaving {
    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits until it has ended, but not beyond the deadline.
    pub fn await_end(self, deadline: Instant) {
        // Nothing is ever sent: it is the sender's end that shows.
        let _ = self.0.recv_deadline(deadline);
    }
}

/// The thread.
struct Registrar {
    cdc: SocketAddr,
    orders: Arc<Orders>,
    news: Arc<News>,
    /// Before the next attempt.
    pause: Duration,
    /// Since when the CDC knows us.
    registered: Option<Instant>,
    tidings: Quota,
    complaints: Quota,
}

/// How a connection ended in order.
enum Ended {
    /// We are known by another name now, and register anew.
    Renamed(Arc<Announcement>),
    /// We were told to leave.
    Left,
}

impl Registrar {
    fn run(mut self, mut wanted: Arc<Announcement>) {
        loop {
            match self.connect(&mut wanted) {
                Ok(Ended::Left) => return,
                Ok(Ended::Renamed(next)) => wanted = next,
                Err(error) => {
                    self.complain(&error);
                    let since = self.registered.take();
                    if since.is_some_and(|since| since.elapsed() >= GOOD_WHILE) {
                        self.pause = FIRST_PAUSE;
                    }
                    let pause = self.pause;
                    self.pause = (pause * 2).min(LONGEST_PAUSE);
                    match self.orders.wait(pause) {
                        Some(Order::Leave) => return,
                        Some(Order::Register(next)) => wanted = next,
                        None => {}
                    }
                }
            }
        }
    }

    /// Connects and registers what is `wanted` until the connection ends. What was wanted last is
    /// there then.
    fn connect(&mut self, wanted: &mut Arc<Announcement>) -> Result<Ended, HostError> {
        // A wish to end does not interrupt a command: what it did would not be known.
        let never = Stop::never();
        let host = host(wanted);
        let controller = Controller::connect(&[self.cdc], &Nqn::discovery(), &host, &never)?;
        let enabled = controller.enable();
        let ended = enabled.and_then(|()| match self.orders.is_to_leave() {
            true => Ok(Ended::Left),
            false => self.register(&controller, wanted),
        });
        // What went wrong before says more.
        let _ = controller.shut_down();
        ended
    }

    fn register(
        &mut self,
        controller: &Controller,
        wanted: &mut Arc<Announcement>,
    ) -> Result<Ended, HostError> {
        let here = controller.local_addr()?.ip();
        let clerk = Clerk::of(controller, wanted)?;
        let mut known = BTreeSet::new();
        let mut next_keep_alive = Instant::now() + KEEP_ALIVE;
        loop {
            let entries = wanted.entries(here);
            let change = Change::of(&known, &entries);
            clerk.deregister(&change.gone)?;
            clerk.register(&change.new)?;
            known = entries;
            self.tell(&change, known.len());
            let all: Vec<Entry> = known.iter().cloned().collect();
            match self.next_order(controller, &mut next_keep_alive)? {
                Order::Register(next) if next.is_of(wanted) => *wanted = next,
                Order::Register(next) => {
                    clerk.deregister(&all)?;
                    return Ok(Ended::Renamed(next));
                }
                Order::Leave => {
                    clerk.deregister(&all)?;
                    let cdc = self.cdc;
                    info!(%cdc, "deregistered from a Centralized Discovery Controller");
                    return Ok(Ended::Left);
                }
            }
        }
    }

    /// Keeps the connection alive until an order comes.
    fn next_order(
        &self,
        controller: &Controller,
        next_keep_alive: &mut Instant,
    ) -> Result<Order, HostError> {
        loop {
            if let Some(order) = self.orders.take() {
                return Ok(order);
            }
            let left = next_keep_alive.saturating_duration_since(Instant::now());
            match controller.rest(left, &self.orders.bell()) {
                Ok(true) => {
                    controller.keep_alive()?;
                    *next_keep_alive = Instant::now() + KEEP_ALIVE;
                }
                Ok(false) => return Err(HostError::nonsense("it says what nobody asked")),
                Err(HostError::Stopped) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn tell(&mut self, change: &Change, entries: usize) {
        let cdc = self.cdc;
        self.news.cdc(cdc, Some(entries), None);
        let (new, gone) = (change.new.len(), change.gone.len());
        if self.registered.is_none() {
            self.registered = Some(Instant::now());
            if let Some(suppressed) = self.tidings.admit(Instant::now()) {
                let suppressed = told(suppressed);
                let what = "registered with a Centralized Discovery Controller";
                info!(suppressed, %cdc, entries, "{what}");
            }
        } else if new + gone > 0 {
            info!(%cdc, entries, new, gone, "registration changed");
        }
    }

    fn complain(&self, error: &HostError) {
        let (cdc, reason) = (self.cdc, error.report());
        if let Some(suppressed) = self.complaints.admit(Instant::now()) {
            let suppressed = told(suppressed);
            warn!(suppressed, %cdc, reason, "not registered, and tried again later");
        }
        self.news.cdc(cdc, None, Some(reason));
    }
}

/// What a CDC must be told to know other entries.
struct Change {
    /// What is to be taken back.
    gone: Vec<Entry>,
    /// What is new, or replaces what has the same key.
    new: Vec<Entry>,
}

impl Change {
    fn of(known: &BTreeSet<Entry>, wanted: &BTreeSet<Entry>) -> Self {
        let keys: BTreeSet<_> = wanted.iter().map(Entry::key).collect();
        let gone = known.iter().filter(|entry| !keys.contains(&entry.key()));
        Self {
            gone: gone.cloned().collect(),
            new: wanted.difference(known).cloned().collect(),
        }
    }
}

/// Who we are to a CDC, and what we bear from it.
fn host(wanted: &Announcement) -> HostOptions {
    HostOptions {
        hostnqn: wanted.hostnqn.clone(),
        hostid: wanted.hostid,
        header_digest: false,
        data_digest: false,
        sq_flow_control: true,
        kato: KATO,
        patience: Patience {
            silence: SILENCE,
            answer: ANSWER,
        },
    }
}

/// How long a CDC keeps us without a word.
const KATO: Duration = Duration::from_secs(30);

/// How often it has one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a CDC may take to say anything at all,
const SILENCE: Duration = Duration::from_secs(5);

/// and to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Between attempts, doubled each time; from the beginning once a CDC has known us for a good while.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const GOOD_WHILE: Duration = Duration::from_secs(60);

/// What leaving all CDCs may take.
pub const LEAVE_TIME: Duration = Duration::from_secs(3);

/// What leaving a CDC may take if it is to be registered with again.
const LEFT_TIME: Duration = Duration::from_secs(60);

/// Lines of a kind that one CDC can cause.
const LINES: u32 = 3;
const LINES_TIME: Duration = Duration::from_secs(600);
