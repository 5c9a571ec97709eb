//! Connections taken in and dealt out to the reactors. No byte of a peer is read here.
//!
//! One thread has all listeners. Others come and go while it runs ([`Accepting::replace`]).

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry as Poller, Token, Waker};
use nix::errno::Errno;
use tracing::{debug, error, warn};

use super::Shared;
use super::message::{Accepted, Message, WAKER};
use crate::log::{Quota, told};

/// Accepted in one go before the other listeners have their turn.
const BATCH: usize = 64;

/// What to wait when the system has no descriptor or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Lines that say so. Peers cause them at will.
static EXHAUSTED: Quota = Quota::new(1, Duration::from_secs(10));

/// The listeners and whom to give connections to.
pub(super) struct Acceptor {
    poll: Poll,
    wishes: Receiver<Wish>,
    listeners: HashMap<u16, TcpListener>,
    shared: Arc<Shared>,
}

/// Reaches an [`Acceptor`] that runs.
#[derive(Debug)]
pub(super) struct Accepting {
    poller: Poller,
    waker: Waker,
    wishes: Sender<Wish>,
}

/// Listeners that wait for connections already, and are nobody's yet.
pub(super) struct Ready(Vec<(u16, TcpListener)>);

enum Wish {
    /// Take these in, close those of portals that are gone, and say when that is done.
    Replace(Ready, Sender<()>),
    Stop,
}

impl Accepting {
    /// Makes listeners ready: the last step that can fail.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn prepare(&self, listeners: Vec<(u16, StdListener)>) -> io::Result<Ready> {
        prepare(&self.poller, listeners)
    }

    /// From now on these are listened to as well, and those whose portal the snapshot does not have
    /// are closed when this returns.
    pub(super) fn replace(&self, listeners: Ready) {
        let (done, replaced) = bounded(1);
        self.wish(Wish::Replace(listeners, done));
        // An error says that the acceptor has ended, and its listeners with it.
        let _ = replaced.recv();
    }

    /// No connection is taken in any more; the listeners are closed.
    pub(super) fn stop(&self) {
        self.wish(Wish::Stop);
    }

    fn wish(&self, wish: Wish) {
        // Either fails only when nobody is left to be told.
        let _ = self.wishes.send(wish);
        let _ = self.waker.wake();
    }
}

impl Acceptor {
    /// Takes listeners over, each with its portal's identifier.
    ///
    /// # Errors
    /// The system's, when it has no descriptor for a poll.
    pub(super) fn new(
        listeners: Vec<(u16, StdListener)>,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, Accepting)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let Ready(listeners) = prepare(poll.registry(), listeners)?;
        let (sender, wishes) = unbounded();
        let accepting = Accepting {
            poller: poll.registry().try_clone()?,
            waker,
            wishes: sender,
        };
        let acceptor = Self {
            poll,
            wishes,
            listeners: listeners.into_iter().collect(),
            shared,
        };
        Ok((acceptor, accepting))
    }

    /// Accepts until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        // Listeners that may have more than was taken; edges do not come again for it.
        let mut waiting: Vec<u16> = Vec::new();
        loop {
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
            while let Ok(wish) = self.wishes.try_recv() {
                match wish {
                    Wish::Stop => return,
                    Wish::Replace(Ready(new), done) => {
                        // What came before we had them has had its event.
                        waiting.extend(new.iter().map(|(portal, _)| portal));
                        self.replace(new);
                        // Whoever asked may have given up.
                        let _ = done.send(());
                    }
                }
            }
            for Token(token) in events.iter().map(mio::event::Event::token) {
                if let Ok(portal) = u16::try_from(token)
                    && !waiting.contains(&portal)
                {
                    waiting.push(portal);
                }
            }
            waiting.retain(|&portal| self.accept_batch(portal));
        }
    }

    fn replace(&mut self, new: Vec<(u16, TcpListener)>) {
        self.listeners.extend(new);
        let snapshot = self.shared.served.load();
        let gone = |portal: &u16| snapshot.portal(*portal).is_none();
        for (_, mut listener) in self.listeners.extract_if(|portal, _| gone(portal)) {
            forget(self.poll.registry(), &mut listener);
        }
    }

    /// Whether there may be more.
    fn accept_batch(&self, portal: u16) -> bool {
        let Some(listener) = self.listeners.get(&portal) else {
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

    fn deal(&self, portal: u16, stream: TcpStream, peer: std::net::SocketAddr) {
        let reactors = &self.shared.reactors;
        let Some((index, reactor)) = reactors
            .iter()
            .enumerate()
            .min_by_key(|(_, reactor)| reactor.load())
        else {
            return;
        };
        let limits = self.shared.served.load().limits;
        let (place, evicted) = self.shared.admission.enter(peer.ip(), index, &limits);
        for evicted in evicted {
            if let Some(owner) = reactors.get(evicted.reactor) {
                owner.send(Message::Evict(evicted.id));
            }
        }
        self.shared.stats.accepted();
        reactor.add_load();
        reactor.send(Message::Accepted(Box::new(Accepted {
            stream,
            peer,
            portal,
            place,
        })));
    }
}

fn prepare(poller: &Poller, listeners: Vec<(u16, StdListener)>) -> io::Result<Ready> {
    let mut ready = Ready(Vec::new());
    for (portal, listener) in listeners {
        let token = Token(portal.into());
        let registered = listener.set_nonblocking(true).and_then(|()| {
            let mut listener = TcpListener::from_std(listener);
            poller.register(&mut listener, token, Interest::READABLE)?;
            Ok(listener)
        });
        match registered {
            Ok(listener) => ready.0.push((portal, listener)),
            Err(error) => {
                for (_, listener) in &mut ready.0 {
                    forget(poller, listener);
                }
                return Err(error);
            }
        }
    }
    Ok(ready)
}

/// Takes a listener out of the poll, which closing does only once no other process has it.
fn forget(poller: &Poller, listener: &mut TcpListener) {
    // It was in; nothing is left to say if it is not.
    let _ = poller.deregister(listener);
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
            if let Some(suppressed) = EXHAUSTED.admit(Instant::now()) {
                let suppressed = told(suppressed);
                if error.raw_os_error() == Some(Errno::EMFILE as i32) {
                    warn!(
                        suppressed,
                        "every descriptor is taken, and hosts wait: raise the limit"
                    );
                } else {
                    warn!(suppressed, %error, "cannot take in a connection; trying again");
                }
            }
            std::thread::sleep(EXHAUSTED_PAUSE);
            true
        }
    }
}
