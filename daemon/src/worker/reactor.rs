//! One thread, many connections: the loop that everything else is called from.
//!
//! A reactor owns its connections whole. Nothing here waits but [`Poll`], and nothing is shared with
//! other reactors but what `Shared` names. Whoever needs something done to a connection of another
//! thread sends it a [`Message`].

#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nvmf_proto::cqe::Completion;
use tracing::error;

use super::Shared;
use super::admission::PlaceId;
use super::close::CloseReason;
use super::connection::{Connection, SHORT_TURN, TURN, Turn};
use super::message::{Accepted, ConnectionId, Message, Returned};
use super::ready::{Class, Ready};
use super::sleep::Sleep;
use super::stats::reason::Outcome;

/// Bytes read from one connection at a time, into a buffer that all share.
pub(super) const SCRATCH: usize = 256 * 1024;

/// How long those that ask for much have short turns after somebody asked for little.
const LIGHT_TIME: Duration = Duration::from_millis(5);

/// What connections have to end their I/O when the daemon stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// The loop and what it owns.
pub(super) struct Reactor {
    index: usize,
    poll: Poll,
    receiver: Receiver<Message>,
    shared: Arc<Shared>,
    places: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    /// Where the connections are that have or had a place among those in negotiation: looking through all
    /// for one that must go would be work that strangers can make.
    tokens: HashMap<PlaceId, usize>,
    generation: u64,
    /// Connections that have something to do without a further event.
    runnable: Ready,
    /// When the last one ran that asks for little.
    light: Instant,
    /// When to look at which connection: one entry for each that is armed.
    timers: BTreeSet<(Instant, usize)>,
    scratch: Vec<u8>,
    stopping: Option<Instant>,
    sleep: Sleep,
}

impl Reactor {
    pub(super) fn new(
        index: usize,
        poll: Poll,
        receiver: Receiver<Message>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            index,
            poll,
            receiver,
            shared,
            places: Vec::new(),
            free: Vec::new(),
            tokens: HashMap::new(),
            generation: 0,
            runnable: Ready::default(),
            light: Instant::now(),
            timers: BTreeSet::new(),
            scratch: vec![0; SCRATCH],
            stopping: None,
            sleep: Sleep::new(Instant::now()),
        }
    }

    /// Runs until it was told to stop and its last connection is gone.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                // A timeout may have passed meanwhile, and events be there that count first.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    error!(%error, "waiting for peers failed");
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(()) => {}
            }
            let now = Instant::now();
            self.sleep.turn(now, timeout);
            for event in &events {
                let Token(token) = event.token();
                if let Some(connection) = self.places.get_mut(token).and_then(Option::as_mut) {
                    connection.event(event);
                    enqueue(&mut self.runnable, connection);
                }
            }
            self.messages(now);
            self.run_connections(now);
            if self.sleep.is_over(now) {
                self.expire(now);
            }
            if self.stopping.is_some() && self.places.iter().all(Option::is_none) {
                return;
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.runnable.is_empty() {
            return Some(Duration::ZERO);
        }
        let &(next, _) = self.timers.first()?;
        let next = self.sleep.grace().map_or(next, |grace| next.max(grace));
        // Rounded up: a poll that wakes a moment early would spin until the deadline.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    fn messages(&mut self, now: Instant) {
        self.shared.reactors[self.index].looking();
        while let Ok(message) = self.receiver.try_recv() {
            self.message(message, now);
        }
    }

    fn message(&mut self, message: Message, now: Instant) {
        match message {
            Message::Accepted(accepted) => self.accepted(*accepted, now),
            Message::Returned(returned) => self.returned(*returned, now),
            #[cfg(feature = "fake")]
            Message::Adopted(adopted) => self.adopted(*adopted, now),
            Message::Evict(place) => {
                let token = self.tokens.get(&place).copied();
                let connection = token.and_then(|token| self.places.get(token)?.as_ref());
                if let Some(connection) = connection
                    && connection.holds(place)
                {
                    self.close(connection.id().token, CloseReason::Evicted, now);
                }
            }
            Message::Executed(id, tag, executed) => {
                self.with(id, |connection, _| connection.executed(tag, executed), now);
            }
            Message::Granted(id, bytes) => match find(&mut self.places, id) {
                Some(_) => self.with(id, |connection, turn| connection.granted(bytes, turn), now),
                None => self.shared.memory.give_back(bytes),
            },
            Message::ShutdownFlushed(id) => {
                self.with(
                    id,
                    |connection, turn| connection.shutdown_flushed(turn),
                    now,
                );
            }
            Message::Close(id, reason) => {
                if find(&mut self.places, id).is_some() {
                    self.close(id.token, reason, now);
                }
            }
            Message::QueueLost(id) => {
                self.with(id, |connection, turn| connection.queue_lost(turn), now)
            }
            Message::NamespacesChanged(id, nsids) => {
                self.with(
                    id,
                    |connection, _| connection.namespaces_changed(&nsids),
                    now,
                );
            }
            Message::DiscoveryChanged(id) => {
                self.with(id, |connection, _| connection.discovery_changed(), now);
            }
            Message::Abort { queue, cid, answer } => {
                let mut done = false;
                self.with(queue, |connection, _| done = connection.abort(cid), now);
                // Bit 0 set: the command was not aborted.
                let completion = Completion::success(u64::from(!done));
                self.shared
                    .send(answer.0, Message::Aborted(answer, completion));
            }
            Message::Aborted((id, tag), completion) => {
                self.with(id, |connection, _| connection.aborted(tag, completion), now);
            }
            Message::Stop => self.stop(now),
        }
    }

    fn accepted(&mut self, accepted: Accepted, now: Instant) {
        let Accepted {
            stream,
            peer,
            portal,
            place,
            seat,
        } = accepted;
        let shared = Arc::clone(&self.shared);
        let snapshot = shared.served.load();
        let deadline = now + snapshot.limits.negotiation_time;
        // A portal that is gone has nothing to offer: the host finds it closed, as it will from now on.
        let Some(portal) = snapshot.portal(portal) else {
            shared.stats.negotiated(Outcome::Stopped, Some(&place));
            return self.shared.reactors[self.index].drop_load();
        };
        let taken_in = self.take_in(stream, |id, stream| {
            let mut connection = Connection::new(id, stream, peer, portal, place, deadline)?;
            connection.sit(Some(seat));
            Ok(connection)
        });
        if !taken_in {
            shared.stats.outcomes.count(Outcome::Abandoned);
        }
    }

    fn returned(&mut self, returned: Returned, now: Instant) {
        let Returned {
            stream,
            peer,
            portal,
            place,
            seat,
            refusal,
        } = returned;
        let shared = Arc::clone(&self.shared);
        self.take_in(stream, |id, stream| {
            let mut connection =
                Connection::returned(id, stream, peer, portal, refusal, (&shared, now))?;
            connection.keep(place);
            connection.sit(seat);
            Ok(connection)
        });
    }

    #[cfg(feature = "fake")]
    fn adopted(&mut self, adopted: super::adopt::Adopted, now: Instant) {
        let super::adopt::Adopted {
            stream,
            peer,
            adoption,
        } = adopted;
        let shared = Arc::clone(&self.shared);
        self.take_in(stream, |id, stream| {
            let mut turn = Turn::new(now, &shared, &mut []);
            Connection::adopted(id, stream, peer, adoption, &mut turn)
        });
    }

    /// Finds a place for a connection, and lets it run. Whether it is there.
    fn take_in(
        &mut self,
        mut stream: TcpStream,
        make: impl FnOnce(ConnectionId, TcpStream) -> io::Result<Connection>,
    ) -> bool {
        let token = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut stream, Token(token), interest);
        let connection = registered.and_then(|()| {
            self.generation += 1;
            let id = ConnectionId {
                reactor: self.index,
                token,
                generation: self.generation,
            };
            make(id, stream)
        });
        match connection {
            Ok(connection) if self.stopping.is_none() => {
                let connection = self.places[token].insert(Box::new(connection));
                if let Some(place) = connection.place_id() {
                    self.tokens.insert(place, token);
                }
                enqueue(&mut self.runnable, connection);
                self.arm(token);
                true
            }
            // The peer is gone already (CVE-2026-74385): nothing was made yet, so nothing is left.
            Ok(_) | Err(_) => {
                self.free.push(token);
                self.shared.reactors[self.index].drop_load();
                false
            }
        }
    }

    /// Does something to a connection if it is still there, and lets it run.
    fn with(
        &mut self,
        id: ConnectionId,
        act: impl FnOnce(&mut Connection, &mut Turn<'_>),
        now: Instant,
    ) {
        if let Some(connection) = find(&mut self.places, id) {
            let (shared, scratch) = (&*self.shared, &mut self.scratch);
            act(connection, &mut Turn::new(now, shared, scratch));
            enqueue(&mut self.runnable, connection);
        }
    }

    /// Lets those run that ask for little, and one that asks for much, until it is time to look at the
    /// sockets again.
    fn run_connections(&mut self, now: Instant) {
        for _ in 0..self.runnable.len(Class::Light) {
            if let Some(token) = self.runnable.next(Class::Light) {
                self.run_one(token, TURN, now);
                self.light = now;
            }
        }
        if let Some(token) = self.runnable.next(Class::Heavy) {
            let alone = now.saturating_duration_since(self.light) > LIGHT_TIME;
            let turn = if alone { TURN } else { SHORT_TURN };
            self.run_one(token, turn, now);
        }
    }

    /// Lets one connection run, and move so many bytes at most.
    fn run_one(&mut self, token: usize, budget: usize, now: Instant) {
        let Some(connection) = self.places.get_mut(token).and_then(Option::as_deref_mut) else {
            return;
        };
        connection.had.begins();
        let mut turn = Turn::new(now, &self.shared, &mut self.scratch);
        turn.budget = budget;
        let run = connection.run(&mut turn);
        let moved = budget - turn.budget;
        match run {
            Ok(more) => {
                connection.had.add(moved, connection.class());
                if more {
                    enqueue(&mut self.runnable, connection);
                }
                self.arm(token);
            }
            Err(reason) => self.close(token, reason, now),
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(when, token)) = self.timers.first() {
            if when > now {
                return;
            }
            self.timers.pop_first();
            let Some(connection) = self.places.get_mut(token).and_then(Option::as_deref_mut) else {
                continue;
            };
            connection.armed = None;
            // What has arrived counts before the clock does: after a stall of ours no host is late
            // whose keep-alive waits in its socket, or in another reactor's.
            if connection.had.is_queued() {
                self.runnable.remove(token, &connection.had);
                self.run_one(token, SHORT_TURN, now);
            }
            let Some(connection) = self.places.get_mut(token).and_then(Option::as_deref_mut) else {
                continue;
            };
            let mut turn = Turn::new(now, &self.shared, &mut self.scratch);
            match connection.tick(&mut turn) {
                Ok(()) => {
                    enqueue(&mut self.runnable, connection);
                    self.arm(token);
                }
                Err(reason) => self.close(token, reason, now),
            }
        }
    }

    /// Sees to it that the connection is looked at when it wants. An earlier entry serves too: it
    /// finds nothing to do and comes back here.
    fn arm(&mut self, token: usize) {
        let Some(connection) = self.places.get_mut(token).and_then(Option::as_deref_mut) else {
            return;
        };
        let Some(deadline) = connection.deadline(&self.shared) else {
            return;
        };
        if connection.armed.is_none_or(|armed| deadline < armed) {
            if let Some(later) = connection.armed.replace(deadline) {
                self.timers.remove(&(later, token));
            }
            self.timers.insert((deadline, token));
        }
    }

    fn close(&mut self, token: usize, reason: CloseReason, now: Instant) {
        let Some(place) = self.places.get_mut(token) else {
            return;
        };
        let Some(connection) = place.take() else {
            return;
        };
        if let Some(place) = connection.place_id() {
            self.tokens.remove(&place);
        }
        if let Some(armed) = connection.armed {
            self.timers.remove(&(armed, token));
        }
        self.runnable.remove(token, &connection.had);
        let mut turn = Turn::new(now, &self.shared, &mut []);
        connection.close(reason, self.poll.registry(), &mut turn);
        self.free.push(token);
        self.shared.reactors[self.index].drop_load();
    }

    fn stop(&mut self, now: Instant) {
        let deadline = now + STOP_TIME;
        self.stopping = Some(deadline);
        let strangers: Vec<_> = self
            .places
            .iter()
            .flatten()
            .filter(|it| it.is_negotiating())
            .map(|it| it.id().token)
            .collect();
        for token in strangers {
            self.close(token, CloseReason::Stopped, now);
        }
        for connection in self.places.iter_mut().flatten() {
            connection.stop(deadline);
            enqueue(&mut self.runnable, connection);
        }
    }
}

/// The connection of this name, unless it is gone.
fn find(places: &mut [Option<Box<Connection>>], id: ConnectionId) -> Option<&mut Connection> {
    let connection = places.get_mut(id.token)?.as_deref_mut()?;
    (connection.id() == id).then_some(connection)
}

/// Lets a connection run, once.
fn enqueue(runnable: &mut Ready, connection: &mut Connection) {
    runnable.add(connection.id().token, &mut connection.had);
}
