//! Connections taken in and dealt out to the reactors. No byte of a peer is read here.

#![forbid(unsafe_code)]

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use tracing::{debug, error, warn};

use super::admission::Admission;
use super::message::{Accepted, Message, ReactorHandle, WAKER};

/// Accepted in one go before the other listeners have their turn.
const BATCH: usize = 64;

/// What to wait when the system has no descriptor or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The listeners and whom to give connections to.
pub(super) struct Acceptor {
    poll: Poll,
    listeners: Vec<TcpListener>,
    reactors: Arc<[ReactorHandle]>,
    admission: Admission,
    stop: Arc<AtomicBool>,
}

/// Stops an [`Acceptor`] that runs.
#[derive(Debug)]
pub(super) struct StopAccepting {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl StopAccepting {
    /// No connection is taken in any more; the listeners are closed.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // A waker that fails has no poll left to wake.
        let _ = self.waker.wake();
    }
}

impl Acceptor {
    /// Takes listeners over; the index of each is its portal's.
    ///
    /// # Errors
    /// The system's, when it has no descriptor for a poll.
    pub(super) fn new(
        listeners: Vec<StdListener>,
        reactors: Arc<[ReactorHandle]>,
        admission: Admission,
    ) -> io::Result<(Self, StopAccepting)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let mut ours = Vec::new();
        for (portal, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking(true)?;
            let mut listener = TcpListener::from_std(listener);
            poll.registry()
                .register(&mut listener, Token(portal), Interest::READABLE)?;
            ours.push(listener);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let handle = StopAccepting {
            stop: Arc::clone(&stop),
            waker,
        };
        Ok((
            Self {
                poll,
                listeners: ours,
                reactors,
                admission,
                stop,
            },
            handle,
        ))
    }

    /// Accepts until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        // Listeners that may have more than was taken; edges do not come again for it.
        let mut waiting: Vec<usize> = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let timeout = if waiting.is_empty() {
                None
            } else {
                Some(Duration::ZERO)
            };
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() != io::ErrorKind::Interrupted {
                    error!(%error, "waiting for connections failed");
                    std::thread::sleep(EXHAUSTED_PAUSE);
                }
                continue;
            }
            for Token(portal) in events.iter().map(mio::event::Event::token) {
                if portal < self.listeners.len() && !waiting.contains(&portal) {
                    waiting.push(portal);
                }
            }
            waiting.retain(|&portal| self.accept_batch(portal));
        }
    }

    /// Whether there may be more.
    fn accept_batch(&self, portal: usize) -> bool {
        let Some(listener) = self.listeners.get(portal) else {
            return false;
        };
        for _ in 0..BATCH {
            match listener.accept() {
                Ok((stream, peer)) => self.deal(portal, stream, peer),
                Err(error) => return survive(&error),
            }
        }
        true
    }

    fn deal(&self, portal: usize, stream: TcpStream, peer: std::net::SocketAddr) {
        let Some((index, reactor)) = self
            .reactors
            .iter()
            .enumerate()
            .min_by_key(|(_, reactor)| reactor.load())
        else {
            return;
        };
        let (place, evicted) = self.admission.enter(peer.ip(), index);
        if let Some(evicted) = evicted
            && let Some(owner) = self.reactors.get(evicted.reactor)
        {
            owner.send(Message::Evict(evicted.id));
        }
        reactor.add_load();
        reactor.send(Message::Accepted(Box::new(Accepted {
            stream,
            peer,
            portal,
            place,
        })));
    }
}

/// Whether to go on at once after accept failed.
fn survive(error: &io::Error) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
    match error.kind() {
        io::ErrorKind::WouldBlock => false,
        // The peer was gone before we came.
        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {
            debug!(%error, "a connection ended before it was accepted");
            true
        }
        _ => {
            // Out of descriptors or memory: those that wait stay in the listener's queue.
            warn!(%error, "cannot take in a connection; trying again");
            std::thread::sleep(EXHAUSTED_PAUSE);
            true
        }
    }
}
