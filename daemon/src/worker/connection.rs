//! One connection: from its first byte to the one reason for its end.
//!
//! Moves bytes between its socket and whoever serves it: the handshake, then a session, then nobody.
//! It decides nothing about hosts ([`super::route`] does) and nothing about commands ([`Session`] does). It
//! never waits: whatever cannot go on now goes on at an event, a message or a deadline, and the
//! reactor is told which.

#![forbid(unsafe_code)]

mod negotiation;
mod pace;
mod unread;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Registry as Poller, event::Event};
use nvmf_proto::cqe::Completion;
use nvmf_proto::handshake::{Handoff, Handshake};
use nvmf_proto::outbox::Outbox;
use nvmf_proto::queue::Tag;
use pace::Pace;
use tracing::{debug, info, warn};
use unread::Unread;

use super::Shared;
use super::admission::{CLOSING_TIME, Place, PlaceId, Seat};
use super::close::CloseReason;
use super::handoff::Departure;
use super::lines::Kind;
use super::message::ConnectionId;
use super::ready::{Class, Had};
use super::snapshot::Portal;
use super::socket::Socket;
use super::stats::Stats;
use crate::engine::{Executed, life::Life, session::Session};

/// Bytes that are moved for one connection before the others have their turn, whichever way.
pub(super) const TURN: usize = 256 << 10;

/// The same for one that asks for more than a turn, while others ask for little.
pub(super) const SHORT_TURN: usize = 64 << 10;

/// What it costs to look at a connection, in bytes that could be moved meanwhile.
const LOOK: usize = 512;

/// What a connection may use while it has its turn.
pub struct Turn<'a> {
    /// The time.
    pub now: Instant,
    /// What all reactors share.
    pub shared: &'a Shared,
    /// The buffer that all connections of the reactor read into.
    pub scratch: &'a mut [u8],
    /// Bytes that are left of the turn.
    pub budget: usize,
}

impl<'a> Turn<'a> {
    /// A turn that begins now.
    pub(super) fn new(now: Instant, shared: &'a Shared, scratch: &'a mut [u8]) -> Self {
        Self {
            now,
            shared,
            scratch,
            budget: TURN,
        }
    }

    /// So many bytes were moved.
    pub fn spend(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes);
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    socket: Socket,
    peer: SocketAddr,
    local: SocketAddr,
    /// The portal's identifier. The portal may be gone.
    portal: u16,
    state: State,
    /// Held until negotiation has succeeded.
    place: Option<Place>,
    /// Its name as long as it lives, and its seat; those that somebody else accepted have none.
    seat: Option<Seat>,
    /// Bytes that were read but must wait until there is room for what they ask.
    unread: Unread,
    pace: Pace,
    /// What it has had of its reactor.
    pub(super) had: Had,
    /// When the reactor's next timer for this connection is due.
    pub(super) armed: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Negotiating {
        handshake: Handshake,
        deadline: Instant,
    },
    Serving(Box<Session>),
    /// On its way to the kernel.
    Leaving {
        handoff: Box<Handoff>,
        deadline: Instant,
    },
    Closing {
        outbox: Outbox,
        reason: CloseReason,
        deadline: Instant,
        told: bool,
        /// Has the memory of what is left of a session.
        _life: Option<Arc<Life>>,
    },
}

impl State {
    fn closing(outbox: Outbox, reason: CloseReason, now: Instant) -> Self {
        Self::Closing {
            outbox,
            reason,
            deadline: now + CLOSING_TIME,
            told: false,
            _life: None,
        }
    }
}

impl Connection {
    /// A connection of which nothing has been read.
    ///
    /// # Errors
    /// The system's, when the peer is gone already.
    pub(super) fn new(
        id: ConnectionId,
        stream: TcpStream,
        peer: SocketAddr,
        portal: &Portal,
        place: Place,
        deadline: Instant,
    ) -> io::Result<Self> {
        let state = State::Negotiating {
            handshake: Handshake::new(portal.offer),
            deadline,
        };
        let mut connection = Self::with(id, stream, peer, portal.id, state)?;
        connection.place = Some(place);
        Ok(connection)
    }

    fn with(
        id: ConnectionId,
        stream: TcpStream,
        peer: SocketAddr,
        portal: u16,
        state: State,
    ) -> io::Result<Self> {
        let socket = Socket::new(stream)?;
        let local = socket.local_addr()?;
        Ok(Self {
            id,
            socket,
            peer,
            local,
            portal,
            state,
            place: None,
            seat: None,
            unread: Unread::default(),
            pace: Pace::new(Instant::now()),
            had: Had::default(),
            armed: None,
        })
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) fn is_negotiating(&self) -> bool {
        matches!(self.state, State::Negotiating { .. })
    }

    pub(super) fn holds(&self, place: PlaceId) -> bool {
        self.place.as_ref().is_some_and(|held| held.id() == place)
    }

    /// The name of its place, whether or not it still has that.
    pub(super) fn place_id(&self) -> Option<PlaceId> {
        self.seat.as_ref().map(Seat::id)
    }

    /// Takes a seat among all connections.
    pub(super) fn sit(&mut self, seat: Option<Seat>) {
        self.seat = seat;
    }

    /// Goes on in a place among those in negotiation.
    pub(super) fn keep(&mut self, place: Option<Place>) {
        self.place = place;
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.socket.event(event);
    }

    /// Reads, serves and writes as far as it goes. Whether there is more to do without an event.
    pub(super) fn run(&mut self, turn: &mut Turn<'_>) -> Result<bool, CloseReason> {
        turn.spend(LOOK);
        loop {
            let taken = match &mut self.state {
                State::Negotiating { .. } => self.negotiate(turn)?,
                State::Serving(_) => self.serve(turn)?,
                State::Closing { .. } => return self.closing(turn),
                State::Leaving { .. } => return Err(CloseReason::HandedOver),
            };
            let sent = self.flush(turn)?;
            if let State::Serving(session) = &mut self.state {
                session.settle(turn.now);
                self.pace.moved(taken + sent, turn.now);
                self.pace.owes(session.is_owed(), turn.now);
            }
            if turn.budget == 0 {
                return Ok(true);
            }
            if taken == 0 {
                return self.idle();
            }
        }
    }

    /// Nothing more can be read or done now. A session that stops ends when it owes nothing.
    fn idle(&mut self) -> Result<bool, CloseReason> {
        match &mut self.state {
            State::Serving(session) if session.is_finished() => Err(CloseReason::Stopped),
            State::Serving(session) => {
                // Sending may have made room for what was held back.
                let waiting = self.socket.is_readable() || !self.unread.is_empty();
                Ok(session.has_ready() || waiting && !session.is_paused())
            }
            State::Negotiating { .. } | State::Closing { .. } | State::Leaving { .. } => Ok(false),
        }
    }

    /// Takes input in, what was held back first. The bytes that were taken in.
    fn serve(&mut self, turn: &mut Turn<'_>) -> Result<usize, CloseReason> {
        let State::Serving(session) = &mut self.state else {
            return Ok(0);
        };
        if session.is_paused() && !session.has_ready() {
            return Ok(0);
        }
        let (fed, taken) = if self.unread.is_empty() {
            let scratch = std::mem::take(&mut turn.scratch);
            let most = match session.is_paused() {
                true => 0,
                false => turn.shared.memory.read().min(scratch.len()),
            };
            let buffer = scratch.get_mut(..most).unwrap_or_default();
            let count = self.socket.receive(buffer)?;
            turn.spend(count);
            let mut rest = buffer.get(..count).unwrap_or_default();
            let fed = session.feed(&mut rest, turn);
            if !rest.is_empty() {
                self.unread = Unread::of(rest);
            }
            turn.scratch = scratch;
            (fed, count)
        } else {
            let input = self.unread.as_slice();
            let mut rest = input;
            let fed = session.feed(&mut rest, turn);
            let (taken, left) = (input.len() - rest.len(), rest.len());
            self.unread.leave(left);
            (fed, taken)
        };
        session.keep_unread(self.unread.kept());
        if let Err(reason) = fed {
            let (outbox, life) = session.end(turn);
            self.refuse(outbox, reason, None, turn);
            if let State::Closing { _life, .. } = &mut self.state {
                *_life = Some(life);
            }
        }
        Ok(taken)
    }

    /// Sends what waits, as much as the socket takes and the turn has left. The bytes that were sent.
    fn flush(&mut self, turn: &mut Turn<'_>) -> Result<usize, CloseReason> {
        let outbox = match &mut self.state {
            State::Negotiating { handshake, .. } => handshake.outbox(),
            State::Serving(session) => session.outbox(),
            State::Closing { outbox, .. } => outbox,
            State::Leaving { .. } => return Ok(0),
        };
        let sent = self.socket.send(outbox, turn.budget)?;
        turn.spend(sent);
        Ok(sent)
    }

    /// Tells the peer why, says that nothing more comes, and waits for it to close: closing at once
    /// would let unread bytes of the peer destroy what it has not read yet.
    fn closing(&mut self, turn: &mut Turn<'_>) -> Result<bool, CloseReason> {
        self.flush(turn).map_err(|_| self.reason())?;
        let State::Closing { outbox, told, .. } = &mut self.state else {
            return Ok(false);
        };
        if outbox.is_empty() && !*told {
            *told = true;
            self.socket.finish();
        }
        while turn.budget > 0 {
            match self.socket.receive(turn.scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => turn.spend(count),
                Err(_) => return Err(self.reason()),
            }
        }
        Ok(true)
    }

    fn reason(&self) -> CloseReason {
        match &self.state {
            State::Closing { reason, .. } => *reason,
            State::Leaving { .. } => CloseReason::HandedOver,
            State::Negotiating { .. } | State::Serving(_) => CloseReason::PeerClosed,
        }
    }

    /// When to look at it again, whatever its peer does.
    pub(super) fn deadline(&self, shared: &Shared) -> Option<Instant> {
        match &self.state {
            State::Negotiating { deadline, .. }
            | State::Leaving { deadline, .. }
            | State::Closing { deadline, .. } => Some(*deadline),
            State::Serving(session) => {
                let pace = self.pace.deadline(&shared.memory);
                [session.deadline(), pace].into_iter().flatten().min()
            }
        }
    }

    /// Looks at the clock.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) -> Result<(), CloseReason> {
        match &mut self.state {
            State::Negotiating { deadline, .. } if *deadline <= turn.now => {
                Err(CloseReason::NegotiationTimeout)
            }
            State::Closing {
                deadline, reason, ..
            } if *deadline <= turn.now => Err(*reason),
            State::Negotiating { .. } | State::Closing { .. } | State::Leaving { .. } => Ok(()),
            State::Serving(session) => {
                session.tick(turn)?;
                let has_drawn = session.has_drawn();
                self.pace.tick(&turn.shared.memory, has_drawn, turn.now)
            }
        }
    }

    /// There is memory for what it asked for.
    pub(super) fn granted(&mut self, bytes: u64, turn: &Turn<'_>) {
        match &mut self.state {
            State::Serving(session) => session.granted(bytes, turn),
            State::Negotiating { .. } | State::Closing { .. } | State::Leaving { .. } => {
                turn.shared.memory.give_back(bytes);
            }
        }
    }

    pub(super) fn executed(&mut self, tag: Tag, executed: Executed) {
        if let State::Serving(session) = &mut self.state {
            session.executed(tag, executed);
        }
    }

    pub(super) fn shutdown_flushed(&mut self, turn: &mut Turn<'_>) {
        if let State::Serving(session) = &mut self.state {
            session.shutdown_flushed(turn);
        }
    }

    pub(super) fn queue_lost(&mut self, turn: &mut Turn<'_>) {
        if let State::Serving(session) = &mut self.state {
            session.queue_lost(turn.now);
        }
    }

    pub(super) fn namespaces_changed(&mut self, nsids: &[u32]) {
        if let State::Serving(session) = &mut self.state {
            session.namespaces_changed(nsids);
        }
    }

    pub(super) fn discovery_changed(&mut self) {
        if let State::Serving(session) = &mut self.state {
            session.discovery_changed();
        }
    }

    pub(super) fn abort(&mut self, cid: u16) -> bool {
        match &mut self.state {
            State::Serving(session) => session.abort(cid),
            State::Negotiating { .. } | State::Closing { .. } | State::Leaving { .. } => false,
        }
    }

    pub(super) fn aborted(&mut self, tag: Tag, completion: Completion) {
        if let State::Serving(session) = &mut self.state {
            session.aborted(tag, completion);
        }
    }

    /// Whether it asks for more than it gets at once.
    pub(super) fn class(&self) -> Class {
        match &self.state {
            State::Negotiating { .. } | State::Leaving { .. } => Class::Light,
            State::Serving(session) if self.unread.is_empty() && !session.has_waiting() => {
                Class::Light
            }
            State::Serving(_) | State::Closing { .. } => Class::Heavy,
        }
    }

    /// Ends it by `deadline`: what has begun may end, nothing new begins.
    pub(super) fn stop(&mut self, deadline: Instant) {
        match &mut self.state {
            State::Negotiating { .. } | State::Leaving { .. } => {}
            State::Closing { deadline: by, .. } => *by = (*by).min(deadline),
            State::Serving(session) => session.stop(deadline),
        }
    }

    /// The end: everything that it held is given back.
    pub(super) fn close(
        mut self: Box<Self>,
        reason: CloseReason,
        poller: &Poller,
        turn: &mut Turn<'_>,
    ) {
        self.count_end(reason, &turn.shared.stats);
        match &mut self.state {
            State::Leaving { .. } => return self.depart(poller, turn),
            State::Serving(session) => {
                if turn.shared.lines.admit(Kind::Served, turn.now) {
                    info!(
                        peer = %self.peer,
                        host = %session.association().hostnqn,
                        cntlid = session.association().cntlid,
                        qid = session.qid(),
                        %reason,
                        "disconnected"
                    );
                }
                session.end(turn);
            }
            State::Negotiating { .. } | State::Closing { .. } => {
                if matches!(self.state, State::Negotiating { .. })
                    && matches!(
                        reason,
                        CloseReason::NegotiationTimeout | CloseReason::Evicted
                    )
                {
                    turn.shared.refusals.note(self.peer, reason, None);
                    turn.shared.stats.refusals.count(reason.into());
                }
                // What was refused has been told already; the rest is as common as port scanners are.
                let lines = &turn.shared.lines;
                if lines.admit(Kind::Closed, turn.now) {
                    debug!(peer = %self.peer, %reason, "closed");
                }
                if matches!(reason, CloseReason::Evicted) && lines.admit(Kind::Evicted, turn.now) {
                    warn!(peer = %self.peer, %reason, "evicted");
                }
            }
        }
        self.socket.deregister(poller);
    }

    /// Counts the end of a negotiation or of a queue. What is being closed has been counted, and what
    /// leaves is counted where it goes.
    fn count_end(&self, reason: CloseReason, stats: &Stats) {
        match &self.state {
            State::Negotiating { .. } => stats.negotiated(reason.into(), self.place.as_ref()),
            State::Serving(_) => stats.endings.count(reason.into()),
            State::Leaving { .. } | State::Closing { .. } => {}
        }
    }

    /// The end here: the socket goes to the thread that hands over.
    fn depart(self: Box<Self>, poller: &Poller, turn: &Turn<'_>) {
        let socket = self.socket.into_descriptor(poller);
        if let State::Leaving { handoff, deadline } = self.state
            && let Some(handoffs) = turn.shared.handoffs.get()
        {
            handoffs.submit(Departure {
                handoff: *handoff,
                socket,
                peer: self.peer,
                portal: self.portal,
                place: self.place,
                seat: self.seat,
                deadline,
                reactor: self.id.reactor,
            });
        }
    }
}
