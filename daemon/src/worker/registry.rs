//! The controllers there are, and which connections belong to each.
//!
//! Whatever joins a queue to a controller — finding it, seeing that it lives, taking the queue's
//! place — is one step under one lock, so that an I/O Connect cannot race the end of its
//! controller. Locks are held for a few instructions and never while another is awaited, except
//! registry before association.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nvmf_proto::connect::{CNTLID_MAX, Connect, ConnectReject};
use nvmf_proto::nqn::Nqn;
use nvmf_proto::status::Status;

use super::limits::Limit;
use super::message::ConnectionId;
use super::snapshot::{Limits, Subsystem};
use crate::engine::namespace::{Namespaces, View};
use crate::engine::record::Record;

/// All controllers of all subsystems, and discovery controllers.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    controllers: HashMap<u16, Arc<Association>>,
    /// How many each host has.
    by_host: HashMap<Nqn, usize>,
    /// Controllers of which a queue is left, so that no stale Connect can meet a new one.
    taken: HashSet<u16>,
    /// Last CNTLID that was given; the next one is searched from here, so that none is reused soon.
    last: u16,
}

/// What the queues of one controller share.
#[derive(Debug)]
pub struct Association {
    /// Controller identifier.
    pub cntlid: u16,
    /// Host that made the association.
    pub hostnqn: Nqn,
    /// Its host identifier.
    pub hostid: [u8; 16],
    /// The name that it connected by.
    pub subnqn: Nqn,
    /// What it is connected to; `None` of discovery controllers.
    pub subsystem: Option<Arc<Subsystem>>,
    /// The admin queue's connection.
    pub admin: ConnectionId,
    /// Where it came from.
    pub origin: Origin,
    /// I/O queues that it may have, as its host is told.
    pub max_io_queues: u16,
    /// Entries that they may have, likewise.
    pub max_io_entries: u32,
    /// Keep Alive Timeout in force, in milliseconds.
    pub kato: AtomicU32,
    /// When the last command came: whole seconds since [`Origin::since`].
    last_command: AtomicU64,
    /// Whether any queue saw a command since the keep-alive timer last asked (TBKAS).
    pub traffic: AtomicBool,
    /// Whether writes may stay in a volatile cache (feature 06h).
    pub write_cache: AtomicBool,
    /// Whether the host was told that nothing has a volatile cache. It need not flush then, not even
    /// what came later and has one, as long as it stays connected.
    pub cacheless: AtomicBool,
    /// Errors and counters that log pages report.
    pub record: Arc<Record>,
    queues: Mutex<Queues>,
}

/// Where an association came from, and what its admin queue's connection is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The host's address.
    pub peer: SocketAddr,
    /// Ours, as the host reached it.
    pub local: SocketAddr,
    /// The portal's identifier.
    pub portal: u16,
    /// Whether headers have digests.
    pub header_digest: bool,
    /// Whether data has.
    pub data_digest: bool,
    /// When the Connect came.
    pub since: Instant,
}

#[derive(Debug, Default)]
struct Queues {
    /// Cleared for good when the admin queue ends.
    dead: bool,
    /// Highest QID that may join; `None` while the controller is not ready.
    granted: Option<u16>,
    io: HashMap<u16, IoQueue>,
    /// Entries of the largest I/O queue so far.
    entries: u32,
}

#[derive(Debug)]
struct IoQueue {
    connection: ConnectionId,
    /// Cleared at once when the queue ends, whatever its reactor is busy with: nothing of it begins then.
    alive: Arc<AtomicBool>,
}

impl IoQueue {
    fn end(&self) -> ConnectionId {
        self.alive.store(false, Ordering::Release);
        self.connection
    }
}

/// How much there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Controllers.
    pub controllers: usize,
    /// Of the host that has most.
    pub controllers_per_host: usize,
    /// I/O queues of the controller that has most.
    pub queues: usize,
    /// Entries of the largest I/O queue that a controller has had.
    pub entries: u32,
}

impl Registry {
    /// Makes a controller for an admin queue's Connect.
    ///
    /// # Errors
    /// The limit that is reached; so it is while every CNTLID is taken.
    pub fn create(
        &self,
        connect: &Connect,
        subsystem: Option<Arc<Subsystem>>,
        admin: ConnectionId,
        origin: Origin,
        limits: &Limits,
    ) -> Result<Arc<Association>, Limit> {
        let engine = subsystem.as_ref().and_then(|it| it.namespaces());
        let record = engine.map_or_else(Arc::default, |it| it.ledger.open());
        let mut state = self.lock();
        if state.controllers.len() >= limits.controllers {
            return Err(Limit::Controllers);
        }
        let its = state.by_host.get(&connect.hostnqn);
        if its.is_some_and(|&count| count >= limits.controllers_per_host) {
            return Err(Limit::ControllersPerHost);
        }
        let cntlid = state.next_cntlid().ok_or(Limit::Controllers)?;
        let association = Arc::new(Association {
            cntlid,
            hostnqn: connect.hostnqn.clone(),
            hostid: connect.hostid,
            subnqn: connect.subnqn.clone(),
            subsystem,
            admin,
            origin,
            max_io_queues: limits.queues,
            max_io_entries: limits.queue_entries,
            kato: AtomicU32::new(u32::try_from(connect.kato.as_millis()).unwrap_or(u32::MAX)),
            last_command: AtomicU64::new(0),
            traffic: AtomicBool::new(false),
            write_cache: AtomicBool::new(true),
            cacheless: AtomicBool::new(false),
            record,
            queues: Mutex::default(),
        });
        state.controllers.insert(cntlid, Arc::clone(&association));
        let its = state.by_host.entry(connect.hostnqn.clone());
        *its.or_default() += 1;
        Ok(association)
    }

    /// Joins an I/O queue to the controller that its Connect names.
    ///
    /// # Errors
    /// What FreeBSD's kernel answers in the same case. A CNTLID that does not exist, is stale or
    /// belongs to another subsystem is Invalid Parameters (CVE-2026-4652 was a panic here).
    pub fn join(
        &self,
        connect: &Connect,
        subsystem: &Subsystem,
        connection: ConnectionId,
    ) -> Result<Arc<Association>, ConnectReject> {
        let state = self.lock();
        let association = state
            .controllers
            .get(&connect.cntlid)
            .filter(|it| {
                it.subsystem
                    .as_ref()
                    .is_some_and(|its| its.is_still(subsystem))
            })
            .ok_or(ConnectReject::CNTLID)?;
        if association.hostid != connect.hostid {
            return Err(ConnectReject::HOSTID);
        }
        if association.hostnqn != connect.hostnqn {
            return Err(ConnectReject::HOSTNQN);
        }
        let mut queues = association.lock();
        if queues.dead {
            return Err(ConnectReject::CNTLID);
        }
        let early = ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr());
        let granted = queues.granted.ok_or(early)?;
        if connect.qid > granted {
            return Err(ConnectReject::QID);
        }
        if connect.entries > association.max_io_entries {
            return Err(ConnectReject::SQSIZE);
        }
        if queues.io.contains_key(&connect.qid) {
            return Err(ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr()));
        }
        let alive = Arc::new(AtomicBool::new(true));
        queues.io.insert(connect.qid, IoQueue { connection, alive });
        queues.entries = queues.entries.max(connect.entries);
        Ok(Arc::clone(association))
    }

    /// Ends a controller: nothing joins it from now on. Its I/O queues' connections are the
    /// caller's to close.
    pub fn end(&self, association: &Association) -> Vec<ConnectionId> {
        let mut state = self.lock();
        if state.controllers.remove(&association.cntlid).is_some() {
            state.has_one_less(&association.hostnqn);
        }
        let mut queues = association.lock();
        queues.dead = true;
        if queues.io.is_empty() {
            state.taken.remove(&association.cntlid);
        }
        queues.io.values().map(IoQueue::end).collect()
    }

    /// An I/O queue's connection is gone. Whether its controller still lives.
    pub fn leave(&self, association: &Association, qid: u16, connection: ConnectionId) -> bool {
        let mut state = self.lock();
        let mut queues = association.lock();
        // A reset has let go of it already: it is not lost.
        if queues.io.get(&qid).map(|it| it.connection) != Some(connection) {
            return false;
        }
        queues.io.remove(&qid);
        if queues.dead && queues.io.is_empty() {
            state.taken.remove(&association.cntlid);
        }
        !queues.dead && queues.granted.is_some()
    }

    /// The controllers that live, in the order of their identifiers.
    pub fn associations(&self) -> Vec<Arc<Association>> {
        let mut all: Vec<_> = self.lock().controllers.values().map(Arc::clone).collect();
        all.sort_unstable_by_key(|it| it.cntlid);
        all
    }

    /// How much there is now.
    pub fn held(&self) -> Held {
        let state = self.lock();
        let mut held = Held {
            controllers: state.controllers.len(),
            controllers_per_host: state.by_host.values().copied().max().unwrap_or(0),
            ..Held::default()
        };
        for association in state.controllers.values() {
            let queues = association.lock();
            held.queues = held.queues.max(queues.io.len());
            held.entries = held.entries.max(queues.entries);
        }
        held
    }

    /// The counters of a controller that lives.
    #[cfg(feature = "fake")]
    pub fn record_of(&self, cntlid: u16) -> Option<Arc<Record>> {
        let state = self.lock();
        let controller = state.controllers.get(&cntlid)?;
        Some(Arc::clone(&controller.record))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_one_less(&mut self, host: &Nqn) {
        if let Some(count) = self.by_host.get_mut(host) {
            *count -= 1;
            if *count == 0 {
                self.by_host.remove(host);
            }
        }
    }

    fn next_cntlid(&mut self) -> Option<u16> {
        let after = (self.last % CNTLID_MAX) + 1;
        let found = (after..=CNTLID_MAX)
            .chain(1..after)
            .find(|id| !self.taken.contains(id))?;
        self.taken.insert(found);
        self.last = found;
        Some(found)
    }
}

impl Association {
    /// The namespaces that its subsystem has now; discovery controllers have none.
    pub fn namespaces(&self) -> Option<View> {
        self.engine().map(|namespaces| namespaces.load())
    }

    /// Where it came in: our address, and the portal.
    pub fn place(&self) -> (SocketAddr, u16) {
        (self.origin.local, self.origin.portal)
    }

    /// What its subsystem's namespaces are kept in.
    pub fn engine(&self) -> Option<&Arc<Namespaces>> {
        self.subsystem.as_ref()?.namespaces()
    }

    /// The controller is ready: I/O queues with a QID up to `granted` may join from now on.
    pub fn admit(&self, granted: u16) {
        self.lock().granted = Some(granted);
    }

    /// The controller is not ready any more: nothing joins it, and these I/O queues are the
    /// caller's to close.
    pub fn dismiss(&self) -> Vec<ConnectionId> {
        let mut queues = self.lock();
        queues.granted = None;
        queues.io.drain().map(|(_, queue)| queue.end()).collect()
    }

    /// Whether any I/O queue is connected.
    pub fn has_io_queues(&self) -> bool {
        self.io_queues() != 0
    }

    /// How many I/O queues are connected.
    pub fn io_queues(&self) -> usize {
        self.lock().io.len()
    }

    /// The connection of an I/O queue.
    pub fn io_queue(&self, qid: u16) -> Option<ConnectionId> {
        self.lock().io.get(&qid).map(|it| it.connection)
    }

    /// What is cleared when an I/O queue ends; it is already, if another has its place or none.
    pub fn alive(&self, qid: u16, connection: ConnectionId) -> Arc<AtomicBool> {
        let queues = self.lock();
        let queue = queues.io.get(&qid).filter(|it| it.connection == connection);
        queue.map_or_else(Arc::default, |it| Arc::clone(&it.alive))
    }

    /// An I/O queue saw a command: its host lives.
    pub fn saw_traffic(&self, now: Instant) {
        self.saw_command(now);
        // Written only when it changes, so that queues on several cores do not share a dirty line.
        if !self.traffic.load(Ordering::Relaxed) {
            self.traffic.store(true, Ordering::Relaxed);
        }
    }

    /// A queue saw a command.
    pub fn saw_command(&self, now: Instant) {
        let second = now.saturating_duration_since(self.origin.since).as_secs();
        // Likewise, and that is once a second.
        if self.last_command.load(Ordering::Relaxed) < second {
            self.last_command.store(second, Ordering::Relaxed);
        }
    }

    /// How long no queue has seen a command, about to the second.
    pub fn idle(&self, now: Instant) -> Duration {
        let last = Duration::from_secs(self.last_command.load(Ordering::Relaxed));
        now.saturating_duration_since(self.origin.since)
            .saturating_sub(last)
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::snapshot::Engine;
    use crate::worker::snapshot::tests::subsystem as any_subsystem;

    struct Bench {
        registry: Registry,
        subsystem: Arc<Subsystem>,
        connections: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                registry: Registry::default(),
                subsystem: subsystem("a"),
                connections: 0,
            }
        }

        fn connection(&mut self) -> ConnectionId {
            self.connections += 1;
            ConnectionId {
                reactor: 0,
                token: 0,
                generation: self.connections,
            }
        }

        fn create(&mut self) -> Arc<Association> {
            let connection = self.connection();
            let subsystem = Some(Arc::clone(&self.subsystem));
            let connect = connect(0, 0xffff);
            self.registry
                .create(&connect, subsystem, connection, origin(), &unlimited())
                .unwrap()
        }

        /// A controller that is enabled and has been granted two I/O queues.
        fn ready(&mut self) -> Arc<Association> {
            let association = self.create();
            association.admit(2);
            association
        }

        fn join(&mut self, connect: &Connect) -> Result<ConnectionId, ConnectReject> {
            let connection = self.connection();
            self.registry
                .join(connect, &self.subsystem, connection)
                .map(|_| connection)
        }
    }

    fn subsystem(name: &str) -> Arc<Subsystem> {
        Arc::new(any_subsystem(
            &format!("nqn.2014-08.org.example:{name}"),
            [1],
        ))
    }

    /// As many of one host as there are identifiers.
    fn unlimited() -> Limits {
        let limits = Limits::default();
        Limits {
            controllers_per_host: limits.controllers,
            ..limits
        }
    }

    fn origin() -> Origin {
        Origin {
            peer: "192.0.2.7:50000".parse().unwrap(),
            local: "192.0.2.1:4420".parse().unwrap(),
            portal: 1,
            header_digest: false,
            data_digest: false,
            since: Instant::now(),
        }
    }

    fn connect(qid: u16, cntlid: u16) -> Connect {
        Connect {
            qid,
            entries: 32,
            sq_flow_control: true,
            kato: Duration::ZERO,
            hostid: [1; 16],
            cntlid,
            subnqn: "nqn.2014-08.org.example:a".parse().unwrap(),
            hostnqn: "nqn.2014-08.org.example:host".parse().unwrap(),
        }
    }

    const SEQUENCE: ConnectReject = ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr());

    #[test]
    fn io_queues_join_the_controller_that_they_name() {
        let mut bench = Bench::new();
        let association = bench.ready();
        let first = bench.join(&connect(1, association.cntlid)).unwrap();
        let second = bench.join(&connect(2, association.cntlid)).unwrap();
        assert_eq!(association.io_queue(1), Some(first));
        assert_eq!(
            bench.join(&connect(2, association.cntlid)),
            Err(SEQUENCE),
            "already there"
        );
        assert_eq!(
            bench.join(&connect(3, association.cntlid)),
            Err(ConnectReject::QID)
        );
        let mut left = bench.registry.end(&association);
        left.sort_by_key(|id| id.generation);
        assert_eq!(left, [first, second]);
    }

    #[test]
    fn what_an_io_queue_has_not_begun_never_does_once_its_controller_was_reset_or_ended() {
        let mut bench = Bench::new();
        let association = bench.ready();
        let queue = bench.join(&connect(1, association.cntlid)).unwrap();
        let before = association.alive(1, queue);
        assert!(before.load(Ordering::Acquire));
        assert_eq!(association.dismiss(), [queue]);
        assert!(!before.load(Ordering::Acquire));
        // Its reactor has yet to hear of it, or has heard of it before it asked.
        assert!(!association.alive(1, queue).load(Ordering::Acquire));
        association.admit(2);
        let next = bench.join(&connect(1, association.cntlid)).unwrap();
        assert!(!association.alive(1, queue).load(Ordering::Acquire));
        let after = association.alive(1, next);
        assert!(after.load(Ordering::Acquire));
        assert_eq!(bench.registry.end(&association), [next]);
        assert!(!after.load(Ordering::Acquire));
    }

    #[test]
    fn queues_that_come_too_early_are_told_so() {
        let mut bench = Bench::new();
        let association = bench.create();
        assert_eq!(
            bench.join(&connect(1, association.cntlid)),
            Err(SEQUENCE),
            "CC.EN is 0"
        );
        association.admit(1);
        assert!(bench.join(&connect(1, association.cntlid)).is_ok());
    }

    #[test]
    fn cve_2026_4652_bogus_stale_and_foreign_controllers_are_refused() {
        let mut bench = Bench::new();
        let association = bench.ready();
        let cntlid = association.cntlid;
        assert_eq!(
            bench.join(&connect(1, cntlid + 1)),
            Err(ConnectReject::CNTLID)
        );
        assert_eq!(bench.join(&connect(1, 0)), Err(ConnectReject::CNTLID));
        let other_host = Connect {
            hostid: [2; 16],
            ..connect(1, cntlid)
        };
        assert_eq!(bench.join(&other_host), Err(ConnectReject::HOSTID));
        let other_name = "nqn.2014-08.org.example:guest".parse().unwrap();
        let other_host = Connect {
            hostnqn: other_name,
            ..connect(1, cntlid)
        };
        assert_eq!(bench.join(&other_host), Err(ConnectReject::HOSTNQN));
        bench.subsystem = subsystem("b");
        assert_eq!(bench.join(&connect(1, cntlid)), Err(ConnectReject::CNTLID));
        bench.subsystem = association.subsystem.clone().unwrap();
        bench.registry.end(&association);
        assert_eq!(bench.join(&connect(1, cntlid)), Err(ConnectReject::CNTLID));
    }

    #[test]
    fn a_cntlid_is_free_when_the_last_queue_is_gone_and_not_reused_at_once() {
        let mut bench = Bench::new();
        let association = bench.ready();
        let queue = bench.join(&connect(1, association.cntlid)).unwrap();
        bench.registry.end(&association);
        assert!(
            bench.registry.lock().taken.contains(&association.cntlid),
            "a queue is left"
        );
        assert!(!bench.registry.leave(&association, 1, queue));
        assert!(!bench.registry.lock().taken.contains(&association.cntlid));
        assert_ne!(bench.create().cntlid, association.cntlid);
        assert_eq!(bench.registry.associations().len(), 1);
    }

    #[test]
    fn when_every_cntlid_is_taken_hosts_are_told_to_come_back() {
        let mut bench = Bench::new();
        let all: Vec<_> = (0..CNTLID_MAX).map(|_| bench.create()).collect();
        let connection = bench.connection();
        let refused = bench
            .registry
            .create(
                &connect(0, 0xffff),
                None,
                connection,
                origin(),
                &unlimited(),
            )
            .unwrap_err();
        assert_eq!(refused, Limit::Controllers);
        bench.registry.end(&all[77]);
        assert_eq!(bench.create().cntlid, all[77].cntlid);
    }

    #[test]
    fn controllers_are_bounded_in_all_and_of_one_host() {
        let mut bench = Bench::new();
        let limits = Limits {
            controllers: 3,
            controllers_per_host: 2,
            ..unlimited()
        };
        let mut create = |host: &str| {
            let connect = Connect {
                hostnqn: format!("nqn.2014-08.org.example:{host}").parse().unwrap(),
                ..connect(0, 0xffff)
            };
            let connection = bench.connection();
            bench
                .registry
                .create(&connect, None, connection, origin(), &limits)
        };
        let first = create("a").unwrap();
        create("a").unwrap();
        assert_eq!(create("a").unwrap_err(), Limit::ControllersPerHost);
        create("b").unwrap();
        assert_eq!(create("c").unwrap_err(), Limit::Controllers);
        bench.registry.end(&first);
        bench.registry.end(&first);
        let held = bench.registry.held();
        assert_eq!((held.controllers, held.controllers_per_host), (2, 1));
    }

    #[test]
    fn a_queue_has_no_more_entries_than_its_controller_was_told() {
        let mut bench = Bench::new();
        let limits = Limits {
            queue_entries: 16,
            ..unlimited()
        };
        let connection = bench.connection();
        let subsystem = Some(Arc::clone(&bench.subsystem));
        let admin = connect(0, 0xffff);
        let association = bench
            .registry
            .create(&admin, subsystem, connection, origin(), &limits)
            .unwrap();
        association.admit(2);
        let large = bench.join(&connect(1, association.cntlid));
        assert_eq!(large, Err(ConnectReject::SQSIZE), "32 entries");
        let small = Connect {
            entries: 16,
            ..connect(1, association.cntlid)
        };
        assert!(bench.join(&small).is_ok());
        assert_eq!(bench.registry.held().entries, 16);
        // Who was told of more has more.
        let before = bench.ready();
        assert!(bench.join(&connect(1, before.cntlid)).is_ok());
    }

    #[test]
    fn a_queue_that_a_reset_dropped_is_not_lost_even_when_the_host_is_ready_again() {
        let mut bench = Bench::new();
        let association = bench.ready();
        let queue = bench.join(&connect(1, association.cntlid)).unwrap();
        association.dismiss();
        association.admit(2);
        assert!(!bench.registry.leave(&association, 1, queue));
        let again = bench.join(&connect(1, association.cntlid)).unwrap();
        assert!(bench.registry.leave(&association, 1, again), "this one is");
    }

    #[test]
    fn a_reset_drops_the_queues_and_what_was_granted() {
        let mut bench = Bench::new();
        let association = bench.ready();
        let queue = bench.join(&connect(1, association.cntlid)).unwrap();
        assert_eq!(association.dismiss(), [queue]);
        assert!(
            !bench.registry.leave(&association, 1, queue),
            "not lost: it was dropped"
        );
        assert_eq!(bench.join(&connect(1, association.cntlid)), Err(SEQUENCE));
    }

    #[test]
    fn queues_join_the_same_subsystem_in_another_snapshot_and_no_other_of_its_name() {
        let mut bench = Bench::new();
        let association = bench.ready();
        let engine = Arc::clone(bench.subsystem.namespaces().unwrap());
        let mut later = any_subsystem("nqn.2014-08.org.example:a", [2]);
        later.engine = Engine::Userspace(engine);
        bench.subsystem = Arc::new(later);
        assert!(bench.join(&connect(1, association.cntlid)).is_ok());
        bench.subsystem = subsystem("a");
        let refused = bench.join(&connect(2, association.cntlid));
        assert_eq!(refused, Err(ConnectReject::CNTLID));
    }

    #[test]
    fn how_long_a_host_is_idle_is_known_to_the_second() {
        let association = Bench::new().create();
        let at = |seconds| association.origin.since + Duration::from_secs(seconds);
        assert_eq!(association.idle(at(5)), Duration::from_secs(5));
        association.saw_traffic(at(5) + Duration::from_millis(900));
        assert_eq!(association.idle(at(8)), Duration::from_secs(3));
        association.saw_command(at(7));
        assert_eq!(association.idle(at(8)), Duration::from_secs(1));
    }
}
