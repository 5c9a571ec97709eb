//! The beginning of a connection: negotiated, judged, and on its way to whoever serves it.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use nvmf_proto::connect::{Connect, ConnectReject};
use nvmf_proto::handshake::{ConnectRequest, Progress};
use nvmf_proto::outbox::Outbox;
use nvmf_proto::status::Status;
use tracing::{info, warn};

use super::{Connection, State, Turn, Unread};
use crate::engine::session::Session;
use crate::worker::Shared;
use crate::worker::close::CloseReason;
use crate::worker::handoff;
use crate::worker::limits::Limit;
use crate::worker::lines::Kind;
use crate::worker::memory::Funds;
use crate::worker::message::{ConnectionId, Refusal};
use crate::worker::registry::Origin;
use crate::worker::route::Route;
use crate::worker::stats::reason::Outcome;

/// Why a Connect is not served.
enum Denied {
    Rejected(ConnectReject),
    Full(Limit),
}

impl Connection {
    /// One step of the handshake. The bytes that were taken in.
    pub(super) fn negotiate(&mut self, turn: &mut Turn<'_>) -> Result<usize, CloseReason> {
        let State::Negotiating { handshake, .. } = &mut self.state else {
            return Ok(0);
        };
        // Never more than the handshake wants: what lies beyond may be another engine's.
        let wanted = handshake.wants().min(turn.scratch.len());
        let Some(buffer) = turn.scratch.get_mut(..wanted) else {
            return Ok(0);
        };
        let count = self.socket.receive(buffer)?;
        let mut input = buffer.get(..count).unwrap_or_default();
        while !input.is_empty() {
            match handshake.next(&mut input) {
                Ok(Progress::NeedMore) => {}
                Ok(Progress::Connect(request)) => {
                    self.connect(*request, turn);
                    return Ok(count);
                }
                Ok(Progress::Refused(reject)) => {
                    if reject == ConnectReject::SQSIZE {
                        turn.shared.stats.limits.count(Limit::QueueEntries);
                    }
                    let outbox = std::mem::take(handshake.outbox());
                    self.refuse(outbox, CloseReason::Refused(reject), None, turn);
                    return Ok(count);
                }
                Ok(Progress::Terminated { fes, fei }) => {
                    return Err(CloseReason::Terminated { fes, fei });
                }
                Err(error) => {
                    let outbox = std::mem::take(handshake.outbox());
                    self.refuse(outbox, CloseReason::Violation(error), None, turn);
                    return Ok(count);
                }
            }
        }
        Ok(count)
    }

    /// A legal Connect: the one place where it is judged is [`crate::worker::route`].
    fn connect(&mut self, request: ConnectRequest, turn: &mut Turn<'_>) {
        let registry = &turn.shared.registry;
        let connect = request.connect();
        let (judged, snapshot) = turn.shared.served.judge(self.portal, connect);
        let origin = self.origin(&request, turn.now);
        let memory = &turn.shared.memory;
        let funded = || {
            let funds = Funds::new(memory, self.id, Session::share(connect));
            funds.ok_or(Denied::Rejected(ConnectReject::BUSY))
        };
        let joined = match judged {
            Route::Reject(reject) => Err(Denied::Rejected(reject)),
            Route::Discovery => funded().and_then(|funds| {
                let created = registry.create(connect, None, self.id, origin, &snapshot.limits);
                Ok((created.map_err(Denied::Full)?, funds))
            }),
            Route::Userspace(subsystem) if connect.qid == 0 => funded().and_then(|funds| {
                let limits = &snapshot.limits;
                let created = registry.create(connect, Some(subsystem), self.id, origin, limits);
                Ok((created.map_err(Denied::Full)?, funds))
            }),
            Route::Userspace(subsystem) => funded().and_then(|funds| {
                let joined = registry.join(connect, &subsystem, self.id);
                Ok((joined.map_err(Denied::Rejected)?, funds))
            }),
            Route::Kernel(_) => return self.leave(request, turn),
        };
        match joined {
            Ok((association, funds)) => {
                if turn.shared.lines.admit(Kind::Served, turn.now) {
                    info!(
                        peer = %self.peer,
                        host = %association.hostnqn,
                        subsystem = %connect.subnqn,
                        cntlid = association.cntlid,
                        qid = connect.qid,
                        entries = connect.entries,
                        "connected"
                    );
                }
                turn.shared.look_again(&association, &snapshot);
                let session = Session::new(request, association, funds, turn);
                self.state = State::Serving(Box::new(session));
                let place = self.place.take();
                turn.shared
                    .stats
                    .negotiated(Outcome::Served, place.as_ref());
                if let Some(place) = place {
                    place.served();
                }
            }
            Err(denied) => {
                let (reject, reason, limit) = match denied {
                    Denied::Rejected(reject) => {
                        let large = reject == ConnectReject::SQSIZE;
                        let limit = large.then_some(Limit::QueueEntries);
                        (reject, CloseReason::Refused(reject), limit)
                    }
                    // What is short now may not be later.
                    Denied::Full(limit) => {
                        let reason = CloseReason::Limit(limit);
                        (ConnectReject::BUSY, reason, Some(limit))
                    }
                };
                if let Some(limit) = limit {
                    turn.shared.stats.limits.count(limit);
                }
                let connect = connect.clone();
                self.refuse(request.reject(reject), reason, Some(&connect), turn);
            }
        }
    }

    fn origin(&self, request: &ConnectRequest, now: Instant) -> Origin {
        let framing = request.framing();
        Origin {
            peer: self.peer,
            local: self.local,
            portal: self.portal,
            header_digest: framing.header_digest,
            data_digest: framing.data_digest,
            since: now,
        }
    }

    /// Everything that the kernel relies on is there and right, or the host is refused.
    fn leave(&mut self, request: ConnectRequest, turn: &Turn<'_>) {
        let connect = request.connect().clone();
        let handoffs = turn.shared.handoffs.get();
        let refused = match request.into_handoff(self.unread.as_slice()) {
            // A host that does not take our 128 bytes will not take more.
            Err(request) => (*request, ConnectReject::status(Status::INTERNAL_ERROR)),
            Ok(mut handoff) => match handoff::preflight(&mut handoff) {
                Err(reject) => (ConnectRequest::resume(handoff), reject),
                Ok(()) if handoffs.is_none_or(|it| it.is_full_for(self.peer)) => {
                    (ConnectRequest::resume(handoff), ConnectReject::BUSY)
                }
                Ok(()) => {
                    self.state = State::Leaving {
                        handoff: Box::new(handoff),
                        deadline: self.deadline(turn.shared).unwrap_or(turn.now),
                    };
                    return;
                }
            },
        };
        let (request, reject) = refused;
        let reason = CloseReason::Refused(reject);
        self.refuse(request.reject(reject), reason, Some(&connect), turn);
    }

    /// From now on the peer is only told why, and given the time to read it.
    pub(super) fn refuse(
        &mut self,
        outbox: Outbox,
        reason: CloseReason,
        connect: Option<&Connect>,
        turn: &Turn<'_>,
    ) {
        take_note(turn.shared, self.peer, reason, connect, turn.now);
        self.count_end(reason, &turn.shared.stats);
        self.unread = Unread::default();
        self.state = State::closing(outbox, reason, turn.now);
    }

    /// A connection that is only to be told why the kernel does not serve it.
    ///
    /// # Errors
    /// The system's, when the peer is gone already.
    pub(in crate::worker) fn returned(
        id: ConnectionId,
        stream: TcpStream,
        peer: SocketAddr,
        portal: u16,
        refusal: Refusal,
        (shared, now): (&Shared, Instant),
    ) -> io::Result<Self> {
        let Refusal {
            connect,
            reject,
            outbox,
        } = refusal;
        let reason = CloseReason::Refused(reject);
        take_note(shared, peer, reason, Some(&connect), now);
        let state = State::closing(outbox, reason, now);
        Self::with(id, stream, peer, portal, state)
    }

    /// A connection whose Connect somebody else has negotiated; it is judged like any other.
    ///
    /// # Errors
    /// The system's, when the peer is gone already.
    #[cfg(feature = "fake")]
    pub(in crate::worker) fn adopted(
        id: ConnectionId,
        stream: TcpStream,
        peer: SocketAddr,
        adoption: crate::worker::adopt::Adoption,
        turn: &mut Turn<'_>,
    ) -> io::Result<Self> {
        let snapshot = turn.shared.served.load();
        let portal = snapshot.portals.first();
        let portal = portal.ok_or(io::ErrorKind::NotConnected)?;
        let state = State::Negotiating {
            handshake: super::Handshake::new(portal.offer),
            deadline: turn.now,
        };
        let mut connection = Self::with(id, stream, peer, portal.id, state)?;
        connection.connect(adoption.request, turn);
        let outcome = match &connection.state {
            State::Serving(session) => Ok(session.association().cntlid),
            State::Closing {
                reason: CloseReason::Refused(reject),
                ..
            } => Err(*reject),
            State::Closing {
                reason: CloseReason::Limit(_),
                ..
            } => Err(ConnectReject::BUSY),
            State::Negotiating { .. } | State::Leaving { .. } | State::Closing { .. } => {
                Err(ConnectReject::status(Status::INTERNAL_ERROR))
            }
        };
        // Whoever asked may have given up.
        let _ = adoption.reply.send(outcome);
        Ok(connection)
    }
}

fn take_note(
    shared: &Shared,
    peer: SocketAddr,
    reason: CloseReason,
    connect: Option<&Connect>,
    now: Instant,
) {
    shared.refusals.note(peer, reason, connect);
    shared.stats.refusals.count(reason.into());
    if shared.lines.admit(Kind::Refused, now) {
        warn!(
            %peer,
            host = connect.map(|it| display(&it.hostnqn)),
            subsystem = connect.map(|it| display(&it.subnqn)),
            qid = connect.map(|it| it.qid),
            %reason,
            "refused"
        );
    }
}
