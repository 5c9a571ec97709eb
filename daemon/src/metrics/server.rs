//! The loop that serves metrics: accepts, and gives each client its turns.
//!
//! A client can hold one of few places for a few seconds, and a few kilobytes. When the places are
//! taken the oldest makes room, as in the negotiation of hosts: a scrape is done within milliseconds
//! and never the oldest, so silent clients push out each other.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tracing::{error, info, warn};

use super::client::Client;
use super::exposition::Exposition;
use crate::log::{Quota, told};

/// Wakes the loop when there are orders.
pub(super) const WAKER: Token = Token(usize::MAX);

/// Clients at a time.
const CLIENTS_MAX: usize = 16;

/// Accepted from one listener before the others, and the clients, have their turn.
const BATCH: usize = 16;

/// What to wait when the system has no descriptor or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Lines of the system's failures to accept.
static FAILURES: Quota = Quota::new(1, Duration::from_secs(10));

/// A listener that is wanted: its address as it is configured, and the socket if it is a new one.
pub(super) type Wanted = (SocketAddr, Option<StdListener>);

/// What the loop is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Have these listeners, and say whether it was possible.
    Listen(Vec<Wanted>, Sender<io::Result<()>>),
    /// End.
    Stop,
}

/// The loop and what it owns.
pub(super) struct Server {
    poll: Poll,
    orders: Receiver<Order>,
    exposition: Exposition,
    listeners: HashMap<usize, Listener>,
    /// By token, which ascends: the first is the oldest.
    clients: BTreeMap<usize, Client>,
    /// The last token that was given; none is used again.
    last: usize,
}

struct Listener {
    /// What it is called by; the system may have chosen the port.
    address: SocketAddr,
    socket: TcpListener,
    /// When to accept without an event: there may be more than was taken.
    due: Option<Instant>,
}

impl Server {
    pub(super) fn new(poll: Poll, orders: Receiver<Order>, exposition: Exposition) -> Self {
        Self {
            poll,
            orders,
            exposition,
            listeners: HashMap::new(),
            clients: BTreeMap::new(),
            last: 0,
        }
    }

    /// Has these listeners from now on: new ones, and of those that there were the ones whose address
    /// is named without one.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left; the listeners are as before then.
    pub(super) fn listen(&mut self, wanted: Vec<Wanted>) -> io::Result<()> {
        let mut kept = HashSet::new();
        let mut new = Vec::new();
        for (address, socket) in wanted {
            match socket {
                Some(socket) => new.push((address, socket)),
                None => {
                    kept.insert(address);
                }
            }
        }
        let mut ready = HashMap::new();
        let mut done = Ok(());
        for (address, socket) in new {
            self.last += 1;
            done = self.prepare(address, socket).map(|listener| {
                ready.insert(self.last, listener);
            });
            if done.is_err() {
                break;
            }
        }
        let gone: HashMap<_, _> = match done {
            Ok(()) => {
                let gone = self
                    .listeners
                    .extract_if(|_, it| !kept.contains(&it.address))
                    .collect();
                self.listeners.extend(ready);
                gone
            }
            Err(_) => ready,
        };
        for (_, mut listener) in gone {
            // Closing it does the same, once nobody else has it.
            let _ = self.poll.registry().deregister(&mut listener.socket);
        }
        done
    }

    fn prepare(&self, address: SocketAddr, socket: StdListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let mut socket = TcpListener::from_std(socket);
        let registry = self.poll.registry();
        registry.register(&mut socket, Token(self.last), Interest::READABLE)?;
        if let Ok(bound) = socket.local_addr() {
            info!(address = %bound, "serving metrics");
        }
        Ok(Listener {
            address,
            socket,
            due: None,
        })
    }

    /// Serves until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.timeout())
                && error.kind() != ErrorKind::Interrupted
            {
                error!(%error, "waiting for readers of metrics failed");
                std::thread::sleep(EXHAUSTED_PAUSE);
            }
            let now = Instant::now();
            for Token(token) in events.iter().map(mio::event::Event::token) {
                match self.listeners.get_mut(&token) {
                    Some(listener) => listener.due = Some(now),
                    None => self.run_client(token, now),
                }
            }
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Listen(listeners, done) => {
                        // Whoever asked waits, or has given up.
                        let _ = done.send(self.listen(listeners));
                    }
                    Order::Stop => return,
                }
            }
            self.accept(now);
            self.clients.retain(|_, client| client.deadline() > now);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let clients = self.clients.values().map(Client::deadline);
        let listeners = self.listeners.values().filter_map(|it| it.due);
        let next = clients.chain(listeners).min()?;
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up: a poll that wakes a moment early would spin until the deadline.
        Some(match left.is_zero() {
            true => left,
            false => left + Duration::from_millis(1),
        })
    }

    fn accept(&mut self, now: Instant) {
        let mut accepted = Vec::new();
        for listener in self.listeners.values_mut() {
            if listener.due.is_some_and(|due| due <= now) {
                listener.accept(&mut accepted, now);
            }
        }
        for stream in accepted {
            self.take_in(stream, now);
        }
    }

    fn take_in(&mut self, stream: TcpStream, now: Instant) {
        while self.clients.len() >= CLIENTS_MAX {
            self.clients.pop_first();
        }
        self.last += 1;
        let mut client = Client::new(stream, now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        // Without a descriptor to spare it is closed.
        if registry
            .register(client.stream(), Token(self.last), interest)
            .is_ok()
        {
            self.clients.insert(self.last, client);
            // Its request has mostly come with it.
            self.run_client(self.last, now);
        }
    }

    fn run_client(&mut self, token: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if !client.run(now, &|| self.exposition.text()) {
            self.clients.remove(&token);
        }
    }
}

impl Listener {
    fn accept(&mut self, accepted: &mut Vec<TcpStream>, now: Instant) {
        self.due = None;
        for _ in 0..BATCH {
            match self.socket.accept() {
                Ok((stream, _)) => accepted.push(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client was gone before we came.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    if let Some(suppressed) = FAILURES.admit(now) {
                        warn!(suppressed = told(suppressed), %error, "cannot take in a reader of metrics");
                    }
                    self.due = Some(now + EXHAUSTED_PAUSE);
                    return;
                }
            }
        }
        self.due = Some(now);
    }
}
