//! Connections taken in and dealt out to the reactors. No byte of a peer is read here.
//!
//! One thread has all listeners. Others come and go while it runs ([`Accepting::replace`]).

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry as Poller, Token, Waker};
use nix::errno::Errno;
use tracing::{debug, error, info, warn};

use super::Shared;
use super::admission::Admitted;
use super::close::CloseReason;
use super::limits::Limit;
use super::lines::Kind;
use super::message::{Accepted, Message, WAKER};

/// Accepted in one go before the other listeners have their turn.
const BATCH: usize = 64;

/// What to wait when the system has no descriptor or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long there must have been enough of both until that is said.
const CALM: Duration = Duration::from_secs(1);

/// The listeners and whom to give connections to.
pub(super) struct Acceptor {
    poll: Poll,
    wishes: Receiver<Wish>,
    listeners: HashMap<u16, TcpListener>,
    shared: Arc<Shared>,
    exhaustion: Option<Exhaustion>,
}

/// A time in which the system has no descriptor or memory for another connection: those that wait stay in
/// their listener's queue.
#[derive(Debug, Clone, Copy)]
struct Exhaustion {
    since: Instant,
    /// When it last showed.
    last: Instant,
}

/// Reaches an [`Acceptor`] that runs.
#[derive(Debug)]
pub(super) struct Accepting {
    poller: Poller,
    waker: Arc<Waker>,
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
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        shared.lines.wake(Arc::clone(&waker));
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
            exhaustion: None,
        };
        Ok((acceptor, accepting))
    }

    /// Accepts until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        // Listeners that may have more than was taken; edges do not come again for it.
        let mut waiting: Vec<u16> = Vec::new();
        loop {
            let now = Instant::now();
            let told = self.shared.lines.tell(now);
            let timeout = self.timeout(&waiting, told, now);
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
            self.recover(Instant::now());
        }
    }

    /// How long there is nothing to do without an event.
    fn timeout(&self, waiting: &[u16], told: Option<Instant>, now: Instant) -> Option<Duration> {
        let next = match self.exhaustion {
            Some(it) if waiting.is_empty() => Some(it.last + CALM),
            Some(it) => Some(it.last + EXHAUSTED_PAUSE),
            None if waiting.is_empty() => None,
            None => return Some(Duration::ZERO),
        };
        let next = next.into_iter().chain(told).min()?;
        let left = next.saturating_duration_since(now);
        // Rounded up: a poll that wakes a moment early would spin until then.
        Some(match left.is_zero() {
            true => left,
            false => left + Duration::from_millis(1),
        })
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
    fn accept_batch(&mut self, portal: u16) -> bool {
        let now = Instant::now();
        if self
            .exhaustion
            .is_some_and(|it| now < it.last + EXHAUSTED_PAUSE)
        {
            return true;
        }
        let Some(listener) = self.listeners.get(&portal) else {
            return false;
        };
        for _ in 0..BATCH {
            match listener.accept() {
                Ok((stream, peer)) => self.deal(portal, stream, peer),
                Err(error) => return self.survive(&error, now),
            }
        }
        true
    }

    fn deal(&self, portal: u16, stream: TcpStream, peer: SocketAddr) {
        let reactors = &self.shared.reactors;
        let Some((index, reactor)) = reactors
            .iter()
            .enumerate()
            .min_by_key(|(_, reactor)| reactor.load())
        else {
            return;
        };
        let limits = self.shared.served.load().limits;
        let entered = self.shared.admission.enter(peer.ip(), index, &limits);
        let Admitted {
            place,
            seat,
            evicted,
        } = match entered {
            Ok(admitted) => admitted,
            Err(limit) => return self.refuse(peer, limit),
        };
        for evicted in evicted {
            self.shared.stats.limits.count(evicted.limit);
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
            seat,
        })));
    }

    /// Takes note of a connection that is closed at once.
    fn refuse(&self, peer: SocketAddr, limit: Limit) {
        let reason = CloseReason::Limit(limit);
        self.shared.stats.limits.count(limit);
        self.shared.stats.refusals.count(reason.into());
        self.shared.refusals.note(peer, reason, None);
        if self.shared.lines.admit(Kind::Refused, Instant::now()) {
            warn!(%peer, %reason, "refused");
        }
    }

    /// Whether there may be more after accept failed.
    fn survive(&mut self, error: &io::Error, now: Instant) -> bool {
        let passing = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::Interrupted,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::NetworkDown,
        ];
        if error.kind() == io::ErrorKind::WouldBlock {
            return false;
        }
        // The peer was gone before we came; Linux says here why.
        if passing.contains(&error.kind()) {
            if self.shared.lines.admit(Kind::Closed, now) {
                debug!(%error, "a connection ended before it was accepted");
            }
            return true;
        }
        let since = self.exhaustion.map(|it| it.since);
        if since.is_none() {
            self.shared.stats.limits.count(Limit::Descriptors);
            if error.raw_os_error() == Some(Errno::EMFILE as i32) {
                warn!("every descriptor is taken, and hosts wait: raise the limit");
            } else {
                warn!(%error, "cannot take in connections, and hosts wait; trying again");
            }
        }
        self.exhaustion = Some(Exhaustion {
            since: since.unwrap_or(now),
            last: now,
        });
        true
    }

    /// Says so when accept has not failed for a while.
    fn recover(&mut self, now: Instant) {
        let over = |it: &mut Exhaustion| now >= it.last + CALM;
        if let Some(it) = self.exhaustion.take_if(over) {
            let seconds = it.last.saturating_duration_since(it.since).as_secs();
            info!(seconds, "connections are taken in again");
        }
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
