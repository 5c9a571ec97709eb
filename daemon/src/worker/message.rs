//! What reactors are asked by other threads, and how they are reached.
//!
//! The only way from one thread's connection to another's. A message names its connection by a
//! [`ConnectionId`] that is never used again, so that one which comes too late finds nobody and is
//! dropped.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};
use mio::net::TcpStream;
use mio::{Registry as Poller, Token, Waker};
use nvmf_proto::connect::{Connect, ConnectReject};
use nvmf_proto::cqe::Completion;
use nvmf_proto::outbox::Outbox;
use nvmf_proto::queue::Tag;

use super::admission::{Place, PlaceId, Seat};
use super::close::CloseReason;
use crate::engine::Executed;

/// The token under which a reactor is woken.
pub(super) const WAKER: Token = Token(usize::MAX);

/// Names a connection for good: a place in a reactor, and which of its tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Reactor.
    pub reactor: usize,
    /// Place.
    pub token: usize,
    /// Tenant.
    pub generation: u64,
}

/// What others ask of a reactor.
#[derive(Debug)]
pub enum Message {
    /// A new connection.
    Accepted(Box<Accepted>),
    /// A connection that was to be handed over, and is not: its host is told.
    Returned(Box<Returned>),
    /// A connection whose Connect somebody else has negotiated.
    #[cfg(feature = "fake")]
    Adopted(Box<super::adopt::Adopted>),
    /// This connection in negotiation makes room for another.
    Evict(PlaceId),
    /// A command that was given to the I/O pool has been executed.
    Executed(ConnectionId, Tag, Executed),
    /// There are so many bytes for what this connection waits to begin.
    Granted(ConnectionId, u64),
    /// The controller's volatile caches are flushed: its shutdown is complete.
    ShutdownFlushed(ConnectionId),
    /// The controller that this connection's queue belongs to has ended, or dropped its queues.
    Close(ConnectionId, CloseReason),
    /// An I/O queue of this admin queue's controller is gone.
    QueueLost(ConnectionId),
    /// These namespaces of this admin queue's subsystem came, went or changed.
    NamespacesChanged(ConnectionId, Arc<[u32]>),
    /// The log that this discovery controller shows has changed.
    DiscoveryChanged(ConnectionId),
    /// Abort a command of this I/O queue, and tell the admin queue whether that was possible.
    Abort {
        /// The I/O queue.
        queue: ConnectionId,
        /// The command.
        cid: u16,
        /// Who asks, and its Abort command.
        answer: (ConnectionId, Tag),
    },
    /// The answer to an Abort.
    Aborted((ConnectionId, Tag), Completion),
    /// End every connection, then the reactor.
    Stop,
}

/// A connection as it comes from its listener.
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) portal: u16,
    pub(super) place: Place,
    pub(super) seat: Seat,
}

/// A connection that comes back from the thread that hands over.
#[derive(Debug)]
pub struct Returned {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) portal: u16,
    /// Its place among those in negotiation, which it has until it is gone, as any that is refused.
    pub(super) place: Option<Place>,
    pub(super) seat: Option<Seat>,
    pub(super) refusal: Refusal,
}

/// A Connect that is refused.
#[derive(Debug)]
pub struct Refusal {
    pub(super) connect: Connect,
    pub(super) reject: ConnectReject,
    /// The answer.
    pub(super) outbox: Outbox,
}

/// Reaches a reactor from other threads.
#[derive(Debug)]
pub struct ReactorHandle {
    sender: Sender<Message>,
    waker: Waker,
    /// Set from the first message until the reactor looks: one wake-up serves many messages.
    awake: AtomicBool,
    connections: AtomicUsize,
}

impl ReactorHandle {
    /// A handle that wakes the reactor of `poller`, and where its messages arrive.
    pub(crate) fn new(poller: &Poller) -> io::Result<(Self, Receiver<Message>)> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let handle = Self {
            sender,
            waker: Waker::new(poller, WAKER)?,
            awake: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        };
        Ok((handle, receiver))
    }

    /// The reactor looks at its messages now: the next one must wake it again.
    pub(super) fn looking(&self) {
        self.awake.store(false, Ordering::Release);
    }

    /// A connection that was dealt to the reactor is gone.
    pub(super) fn drop_load(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives the reactor something to do.
    pub fn send(&self, message: Message) {
        // Fails only when the reactor is gone, and with it whatever the message is about.
        let _ = self.sender.send(message);
        if !self.awake.swap(true, Ordering::AcqRel) {
            let _ = self.waker.wake();
        }
    }

    pub(super) fn load(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn add_load(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }
}
