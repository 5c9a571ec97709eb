//! The conversations with clients: a thread accepts, and each client has one of its own.
//!
//! Every line of a client is bounded in length and time, and so is every answer that it is to read.
//! Who sends what is no request is told so, where it listens, and let go. Nothing is decided here:
//! a request is put to the monitor as a [`Question`].

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use mio::net::UnixListener;
use mio::{Events, Interest, Poll, Token, Waker};
use serde::Deserialize;
use tracing::{debug, warn};

use super::line::{Broken, Lines, send};
use super::message::{Answer, Answered, Asked, Failure, FailureKind, Request, VERSION};
use super::socket::{ControlSocket, SocketFile};
use crate::log::{Quota, told};

/// A request, for the monitor. One that is dropped with its `reply` unused is answered as busy.
#[derive(Debug)]
pub struct Question {
    /// What a client asks for.
    pub request: Request,
    /// Where the answer goes: there is room for one, and sending never waits.
    pub reply: Sender<Answer>,
}

/// What one client, or all of them, can hold of the daemon.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Clients at a time.
    pub clients: usize,
    /// Bytes of a line.
    pub line: usize,
    /// Until a line must have come.
    pub read: Duration,
    /// Until an answer must have been taken.
    pub write: Duration,
    /// Until the monitor must have answered.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 16,
            // A configuration file of at most 4 MiB, as a JSON string.
            line: 8 << 20,
            read: Duration::from_secs(30),
            write: Duration::from_secs(30),
            // A start of the worker, with a file system that is slow, is within it.
            answer: Duration::from_secs(120),
        }
    }
}

impl ControlSocket {
    /// Answers clients, with whatever answers `questions`.
    ///
    /// # Errors
    /// The system's, when it has no thread or descriptor for it.
    pub fn serve(self, questions: Sender<Question>) -> io::Result<Server> {
        self.serve_within(questions, Limits::default())
    }

    /// The same within other limits.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn serve_within(self, questions: Sender<Question>, limits: Limits) -> io::Result<Server> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        self.listener.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(self.listener);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = Arc::new(Clients::default());
        let acceptor = Acceptor {
            poll,
            listener,
            stop: Arc::clone(&stop),
            clients: Arc::clone(&clients),
            desk: Desk {
                questions,
                limits: limits.into(),
            },
        };
        let thread = thread::Builder::new().name("control".into());
        Ok(Server {
            stop,
            waker,
            acceptor: thread.spawn(move || acceptor.run())?,
            clients,
            file: self.file,
        })
    }
}

/// A control socket that is served, until it is closed.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    waker: Waker,
    acceptor: JoinHandle<()>,
    clients: Arc<Clients>,
    file: SocketFile,
}

impl Server {
    /// Takes no more clients and no more requests, and removes the socket. Answers that were given
    /// are still delivered, to who reads them soon. The receiver of questions is to be dropped
    /// before, so that no client waits for an answer that will not come.
    ///
    /// # Errors
    /// The system's, when it does not remove the file.
    pub fn close(self) -> io::Result<()> {
        let removed = self.file.remove();
        self.stop.store(true, Ordering::Release);
        // A waker that fails has no poll left to wake.
        let _ = self.waker.wake();
        // It can only have ended by our own bug, which has been told already.
        let _ = self.acceptor.join();
        self.clients.send_away();
        removed
    }
}

/// Who is connected.
#[derive(Debug, Default)]
struct Clients {
    streams: Mutex<HashMap<u64, UnixStream>>,
    left: Condvar,
}

impl Clients {
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among at most `max`.
    fn enter(self: &Arc<Self>, id: u64, stream: &UnixStream, max: usize) -> Option<Place> {
        let mut streams = self.streams();
        if streams.len() >= max {
            return None;
        }
        streams.insert(id, stream.try_clone().ok()?);
        let clients = Arc::clone(self);
        Some(Place { clients, id })
    }

    /// Ends all conversations, those that have an answer to deliver a little later.
    fn send_away(&self) {
        let streams = self.streams();
        for stream in streams.values() {
            // A client that is gone already is as well.
            let _ = stream.shutdown(Shutdown::Read);
        }
        let waited = self
            .left
            .wait_timeout_while(streams, FAREWELL, |streams| !streams.is_empty());
        let (streams, _) = waited.unwrap_or_else(PoisonError::into_inner);
        for stream in streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A client's place, which is free again when this is dropped.
struct Place {
    clients: Arc<Clients>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.streams().remove(&self.id);
        self.clients.left.notify_all();
    }
}

struct Acceptor {
    poll: Poll,
    listener: UnixListener,
    stop: Arc<AtomicBool>,
    clients: Arc<Clients>,
    desk: Desk,
}

impl Acceptor {
    fn run(mut self) {
        let mut events = Events::with_capacity(4);
        let mut next_id = 0;
        while !self.stop.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, None) {
                survive(&error);
                continue;
            }
            // An edge comes once for all that wait.
            while !self.stop.load(Ordering::Acquire) {
                match self.listener.accept() {
                    Ok((stream, _)) => {
                        next_id += 1;
                        self.admit(next_id, OwnedFd::from(stream).into());
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => survive(&error),
                }
            }
        }
    }

    /// Starts a conversation, or says why not; that never waits.
    fn admit(&self, id: u64, stream: UnixStream) {
        let max = self.desk.limits.clients;
        let Some(place) = self.clients.enter(id, &stream, max) else {
            let text = format!("{max} clients are connected already; try again when one has ended");
            return turn_away(&stream, failure(FailureKind::Busy, text));
        };
        let refused = stream.try_clone();
        let desk = self.desk.clone();
        let conversation = move || {
            let _place = place;
            match stream.set_nonblocking(false) {
                Ok(()) => desk.converse(&stream),
                Err(error) => debug!(%error, "a control client cannot be served"),
            }
        };
        let spawned = thread::Builder::new()
            .name("control client".into())
            .spawn(conversation);
        if let (Err(error), Ok(stream)) = (spawned, refused) {
            let text = format!("no thread to answer with: {error}; try again");
            turn_away(&stream, failure(FailureKind::Busy, text));
        }
    }
}

/// What each conversation needs.
#[derive(Clone)]
struct Desk {
    questions: Sender<Question>,
    limits: Arc<Limits>,
}

impl Desk {
    fn converse(&self, stream: &UnixStream) {
        let mut lines = Lines::of(stream, self.limits.line);
        loop {
            let (answer, last) = match lines.next(self.limits.read) {
                Ok(Some(line)) => match read_request(&line) {
                    Ok(request) => (self.ask(request), false),
                    Err(failure) => (Answer::Failed(failure), true),
                },
                Ok(None) | Err(Broken::Late { begun: false }) => return,
                Err(Broken::Late { begun: true }) => {
                    let text = format!("no whole line came within {:?}", self.limits.read);
                    (failure(FailureKind::Request, text), true)
                }
                Err(Broken::TooLong) => {
                    let text = format!("a line has at most {} bytes", self.limits.line);
                    (failure(FailureKind::Request, text), true)
                }
                Err(Broken::Io(error)) => {
                    debug!(%error, "a control client is gone");
                    return;
                }
            };
            if let Err(error) = send(stream, encode(answer), self.limits.write) {
                debug!(?error, "a control client does not take its answer");
                return;
            }
            if last {
                return;
            }
        }
    }

    /// The monitor's answer.
    fn ask(&self, request: Request) -> Answer {
        let ends = || failure(FailureKind::Busy, "nvmfd is about to end".into());
        let deadline = Instant::now() + self.limits.answer;
        let (reply, answer) = bounded(1);
        let sent = self
            .questions
            .send_deadline(Question { request, reply }, deadline);
        match sent {
            Ok(()) => {}
            Err(error) if error.is_timeout() => {
                let text = "nvmfd is busy and has not begun with it; try again";
                return failure(FailureKind::Busy, text.into());
            }
            Err(_) => return ends(),
        }
        match answer.recv_deadline(deadline) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => ends(),
            Err(RecvTimeoutError::Timeout) => {
                let waited = self.limits.answer.as_secs();
                let text = format!(
                    "nvmfd has not done it within {waited} seconds and may do it later; see \
                     nvmfctl status"
                );
                failure(FailureKind::Busy, text)
            }
        }
    }
}

/// What a line asks for. Another version is told of as such, whatever else the line says; but the
/// daemon of any version can be asked to leave, or no upgrade could move the version.
fn read_request(line: &[u8]) -> Result<Request, Failure> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
        request: Option<String>,
    }
    let bad = |error: serde_json::Error| {
        // It may quote the client, at any length.
        let text: String = error.to_string().chars().take(ERROR_MAX).collect();
        let text = format!("this is no request: {}", text.escape_debug());
        let kind = FailureKind::Request;
        Failure { kind, text }
    };
    let Versioned { version, request } = serde_json::from_slice(line).map_err(bad)?;
    if version != VERSION {
        if request.as_deref() == Some("leave") {
            return Ok(Request::Leave);
        }
        let release = env!("CARGO_PKG_VERSION");
        let text = format!(
            "the client speaks version {version} of the control protocol and nvmfd {release} \
             version {VERSION}; use nvmfctl and nvmfd of one release"
        );
        let kind = FailureKind::Request;
        return Err(Failure { kind, text });
    }
    let Asked { request, .. } = serde_json::from_slice(line).map_err(bad)?;
    Ok(request)
}

/// An answer as its line. What JSON cannot hold is a path that is no text.
fn encode(answer: Answer) -> Vec<u8> {
    let line = |answer| {
        serde_json::to_vec(&Answered {
            version: VERSION,
            answer,
        })
    };
    line(answer).unwrap_or_else(|error| {
        let text = format!("the answer cannot be put into JSON: {error}");
        line(failure(FailureKind::System, text)).expect("text can be put into JSON")
    })
}

fn failure(kind: FailureKind, text: String) -> Answer {
    Answer::Failed(Failure { kind, text })
}

/// Tells a client why it is not served, if it can be told without waiting.
fn turn_away(mut stream: &UnixStream, answer: Answer) {
    let mut line = encode(answer);
    line.push(b'\n');
    if stream.set_nonblocking(true).is_ok() {
        // There is room for it in a new socket, or else nobody to tell.
        let _ = stream.write(&line);
    }
}

/// Goes on after accept or poll failed.
fn survive(error: &io::Error) {
    static QUOTA: Quota = Quota::new(1, Duration::from_secs(60));
    let passing = [io::ErrorKind::Interrupted, io::ErrorKind::ConnectionAborted];
    if passing.contains(&error.kind()) {
        return;
    }
    // Out of descriptors or memory: who waits stays in the listener's queue.
    if let Some(suppressed) = QUOTA.admit(Instant::now()) {
        warn!(%error, suppressed = told(suppressed), "cannot take in a control client; trying again");
    }
    thread::sleep(EXHAUSTED_PAUSE);
}

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// What to wait when the system has no descriptor or memory for another client.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long an answer may take to be delivered when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Characters of a parser's complaint.
const ERROR_MAX: usize = 200;
