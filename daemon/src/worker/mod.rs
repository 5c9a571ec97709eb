//! Everything that meets peers: accepting, negotiating, judging, serving.
//!
//! The worker takes descriptors and a [`Snapshot`], never paths or configuration: it is a process of its
//! own ([`process`]), which the monitor starts. What it serves can be changed while it serves
//! ([`change`]), and an operator can ask it things ([`operator`]).

#![forbid(unsafe_code)]

mod accept;
pub mod admission;
#[cfg(feature = "fake")]
pub mod adopt;
mod assembly;
#[cfg(feature = "fake")]
mod attempts;
pub mod change;
pub mod close;
pub mod connection;
pub mod discovery;
pub mod figures;
pub mod handoff;
pub mod limits;
pub mod lines;
pub mod memory;
pub mod message;
pub mod operator;
pub mod process;
mod reactor;
mod ready;
mod refusals;
pub mod registry;
pub mod route;
pub mod served;
mod sleep;
pub mod snapshot;
mod socket;
pub mod stats;
pub mod views;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use accept::{Accepting, Acceptor};
use admission::Admission;
use handoff::Handoffs;
use lines::Lines;
use memory::Memory;
use message::{ConnectionId, Message, ReactorHandle};
use mio::Poll;
use nvmf_kmod::Ctl;
use reactor::Reactor;
use refusals::Refusals;
use registry::Registry;
use served::Served;
use snapshot::Snapshot;
use stats::Stats;

use crate::engine::pool::Pool;

/// What all reactors share.
#[derive(Debug)]
pub struct Shared {
    /// What is served now.
    pub served: Arc<Served>,
    /// Controllers that live.
    pub registry: Registry,
    /// Executes what may sleep.
    pub pool: Pool,
    /// Hands over to the kernel, where that serves anything.
    handoffs: OnceLock<Handoffs>,
    /// What all hosts together may make us hold.
    pub memory: Arc<Memory>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What is logged of peers.
    pub lines: Arc<Lines>,
    admission: Admission,
    refusals: Refusals,
    reactors: Arc<[ReactorHandle]>,
}

impl Shared {
    /// Hands whatever the kernel serves over to `ctl`, where nothing was until now.
    fn hand_over_to(&self, ctl: Ctl) -> io::Result<()> {
        if self.handoffs.get().is_none() {
            let (served, reactors) = (Arc::clone(&self.served), Arc::clone(&self.reactors));
            let (stats, lines) = (Arc::clone(&self.stats), Arc::clone(&self.lines));
            let started = Handoffs::start(ctl, served, reactors, stats, lines)?;
            self.handoffs.get_or_init(|| started);
        }
        Ok(())
    }

    /// Sends a message to the reactor that has this connection.
    pub fn send(&self, to: ConnectionId, message: Message) {
        if let Some(reactor) = self.reactors.get(to.reactor) {
            reactor.send(message);
        }
    }
}

/// The threads that serve.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    accepting: Accepting,
    threads: Vec<JoinHandle<()>>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Worker {
    /// Starts serving `snapshot` on `listeners`, each with its portal's identifier, with `reactors`
    /// threads. Whatever the kernel serves is handed over to `ctl`.
    ///
    /// # Errors
    /// The system's, when it has no descriptors or threads left; nothing is started then.
    pub fn start(
        snapshot: Snapshot,
        listeners: Vec<(u16, TcpListener)>,
        reactors: usize,
        ctl: Option<Ctl>,
    ) -> io::Result<Self> {
        let mut polls = Vec::new();
        let mut handles = Vec::new();
        for _ in 0..reactors.max(1) {
            let poll = Poll::new()?;
            let (handle, receiver) = ReactorHandle::new(poll.registry())?;
            polls.push((poll, receiver));
            handles.push(handle);
        }
        let handles: Arc<[ReactorHandle]> = handles.into();
        let pool = Pool::start(&handles, &snapshot.namespaces())?;
        let memory = Arc::new(Memory::new(&snapshot.limits, Arc::clone(&handles)));
        let served = Arc::new(Served::new(snapshot));
        let shared = Arc::new(Shared {
            served,
            registry: Registry::default(),
            pool,
            handoffs: OnceLock::new(),
            memory,
            stats: Arc::default(),
            lines: Arc::default(),
            admission: Admission::default(),
            refusals: Refusals::default(),
            reactors: handles,
        });
        shared.lines.set_rate(shared.served.load().limits.log_rate);
        if let Some(ctl) = ctl {
            shared.hand_over_to(ctl)?;
        }
        let (acceptor, accepting) = Acceptor::new(listeners, Arc::clone(&shared))?;
        let mut threads = Vec::new();
        for (index, (poll, receiver)) in polls.into_iter().enumerate() {
            let reactor = Reactor::new(index, poll, receiver, Arc::clone(&shared));
            threads.push(spawn(format!("reactor {index}"), move || reactor.run())?);
        }
        threads.push(spawn("accept".into(), move || acceptor.run())?);
        Ok(Self {
            shared,
            accepting,
            threads,
            changing: Mutex::default(),
        })
    }

    /// What reactors share, for who watches them.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Ends in order: nothing new is accepted, I/O that has begun ends or is given up after a few
    /// seconds, connections are closed, volatile caches flushed.
    pub fn stop(self) {
        self.accepting.stop();
        if let Some(handoffs) = self.shared.handoffs.get() {
            handoffs.stop();
        }
        for reactor in self.shared.reactors.iter() {
            reactor.send(Message::Stop);
        }
        for thread in self.threads {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
        self.shared.pool.stop();
        for subsystem in &self.shared.served.load().subsystems {
            if let Some(namespaces) = subsystem.namespaces() {
                namespaces.flush_all();
            }
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(run)
}
