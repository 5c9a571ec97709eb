//! Thousands of hosts on one thread, each with a persistent discovery controller and nothing to do but
//! wait for news.
//!
//! Each is the protocol's host half on a socket of its own. It does what Linux does: makes the
//! controller ready, reads the log (the first 1,024 bytes, then exactly the rest, as FreeBSD does),
//! leaves an event request and is silent, but for its Keep Alives. Whatever does not go well for one of
//! them is the end of the measurement.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nvmf_proto::handshake::host::{Handshake, Progress};
use nvmf_proto::host::{Answer, Payload, Queue, Step};
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::{admin, fabrics};
use nvmf_proto::outbox::Outbox;
use nvmf_proto::sqe::Sqe;
use nvmfd_tests::peer::{CC_ENABLED, HostOptions, PATIENCE, PeerError, log_page_sqe, property};

/// The hosts, and when those that wait for news must say that they live.
pub(crate) struct Crowd {
    poll: Poll,
    members: Vec<Member>,
    buffer: Vec<u8>,
    /// Pauses between a host's Keep Alives, and whose is next; none of them sends any without.
    keep_alive: Option<(Duration, VecDeque<(Instant, usize)>)>,
}

struct Member {
    stream: TcpStream,
    state: State,
    told: Option<Instant>,
}

enum State {
    /// It is not connected yet.
    Greeting(Box<Handshake>),
    Connected(Box<Queue>, Doing),
}

/// What the host's latest command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// The controller becomes ready.
    Enabling,
    /// The first 1,024 bytes of the log.
    Header,
    /// The others.
    Entries,
    /// An event request has this identifier.
    Waiting { request: u16 },
    /// The event came; the log has not been read since.
    Told,
}

impl Crowd {
    /// Connects so many hosts. With a Keep Alive Timeout that is to pass, they send as many Keep Alives
    /// as Linux does: two in that time.
    pub(crate) fn gather(
        address: SocketAddr,
        count: usize,
        kato: Duration,
    ) -> Result<Self, PeerError> {
        let mut crowd = Self {
            poll: Poll::new()?,
            members: Vec::with_capacity(count),
            buffer: vec![0; BUFFER],
            keep_alive: None,
        };
        let mut arrived = 0;
        while arrived < count {
            while crowd.members.len() < count && crowd.members.len() - arrived < AT_ONCE {
                crowd.connect(address, kato)?;
            }
            arrived += crowd.turn(Instant::now() + PATIENCE)?;
        }
        Ok(crowd)
    }

    fn connect(&mut self, address: SocketAddr, kato: Duration) -> Result<(), PeerError> {
        let number = self.members.len();
        let options = HostOptions {
            kato,
            ..HostOptions::named(u32::try_from(number).expect("a small number"))
        };
        let mut stream = TcpStream::connect(address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(number), interest)?;
        let handshake = Handshake::new(options.admin(&Nqn::discovery()));
        self.members.push(Member {
            stream,
            state: State::Greeting(Box::new(handshake)),
            told: None,
        });
        Ok(())
    }

    /// Sees to it that every host sends a Keep Alive in each `period`, evenly spread.
    pub(crate) fn stay_alive(&mut self, period: Duration) {
        let (now, count) = (Instant::now(), self.members.len());
        let spread = period / u32::try_from(count).expect("a small number");
        let due = (0_u32..).zip(0..count);
        let due = due.map(|(nth, member)| (now + spread * nth, member));
        self.keep_alive = Some((period, due.collect()));
    }

    /// So much time passes, in which nothing but Keep Alives may happen.
    pub(crate) fn idle(&mut self, time: Duration) -> Result<(), PeerError> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let arrived = self.turn(until)?;
            assert_eq!(arrived, 0, "news, and nothing has changed");
        }
        Ok(())
    }

    /// Waits until every host has been told of a change: when each was, in order.
    pub(crate) fn await_news(&mut self) -> Result<Vec<Instant>, PeerError> {
        self.await_all()?;
        let mut times: Vec<Instant> = self.members.iter().filter_map(|it| it.told).collect();
        times.sort_unstable();
        Ok(times)
    }

    /// All of them read the log and leave another event request.
    pub(crate) fn read_log(&mut self) -> Result<(), PeerError> {
        for member in &mut self.members {
            member.read_log()?;
        }
        self.await_all()
    }

    fn await_all(&mut self) -> Result<(), PeerError> {
        let deadline = Instant::now() + PATIENCE;
        let mut arrived = 0;
        while arrived < self.members.len() {
            if Instant::now() > deadline {
                return Err(PeerError::Timeout);
            }
            arrived += self.turn(deadline)?;
        }
        Ok(())
    }

    /// Waits for something to happen and sees to it. How many hosts came to wait or were told.
    fn turn(&mut self, until: Instant) -> Result<usize, PeerError> {
        let next = self.keep_alive.as_ref().and_then(|(_, due)| due.front());
        let until = next.map_or(until, |&(due, _)| due.min(until));
        let timeout = until.saturating_duration_since(Instant::now());
        let mut events = Events::with_capacity(1024);
        self.poll
            .poll(&mut events, Some(timeout + Duration::from_millis(1)))?;
        let mut arrived = 0;
        for event in &events {
            let Token(number) = event.token();
            arrived += self.members[number].go_on(&mut self.buffer)?;
        }
        self.send_keep_alives()?;
        Ok(arrived)
    }

    fn send_keep_alives(&mut self) -> Result<(), PeerError> {
        let Some((period, due)) = &mut self.keep_alive else {
            return Ok(());
        };
        let now = Instant::now();
        while let Some(&(when, member)) = due.front()
            && when <= now
        {
            due.pop_front();
            due.push_back((when + *period, member));
            self.members[member].keep_alive()?;
        }
        Ok(())
    }
}

impl Member {
    /// Sends and takes in what there is. 1 if it came to wait, or was told.
    fn go_on(&mut self, buffer: &mut [u8]) -> Result<usize, PeerError> {
        let mut arrived = 0;
        loop {
            self.send()?;
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(PeerError::Closed),
                Ok(count) => count,
                Err(error) if is_not_ready(&error) => return Ok(arrived),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let mut input = &buffer[..count];
            while !input.is_empty() {
                arrived += self.take_in(&mut input)?;
            }
            // Less than there was room for is all there was.
            if count < buffer.len() {
                self.send()?;
                return Ok(arrived);
            }
        }
    }

    fn take_in(&mut self, input: &mut &[u8]) -> Result<usize, PeerError> {
        match &mut self.state {
            State::Greeting(handshake) => match handshake.next(input)? {
                Progress::NeedMore => {}
                Progress::Established(established) => {
                    let queue = Box::new(established.queue);
                    self.state = State::Connected(queue, Doing::Enabling);
                    let mut sqe = Sqe::fabrics(fabrics::PROPERTY_SET, 0);
                    sqe.cdw11 = property::CC.into();
                    sqe.cdw12 = CC_ENABLED.into();
                    self.submit(sqe, Payload::None)?;
                }
                Progress::Refused(reject) => return Err(PeerError::Refused(reject)),
                Progress::Terminated { fes, fei } => {
                    return Err(PeerError::Terminated { fes, fei });
                }
            },
            State::Connected(queue, _) => match queue.next(input)? {
                None => {}
                Some(Step::Completed(answer)) => return self.answered(&answer),
                Some(Step::Terminated { fes, fei }) => {
                    return Err(PeerError::Terminated { fes, fei });
                }
            },
        }
        Ok(0)
    }

    fn answered(&mut self, answer: &Answer) -> Result<usize, PeerError> {
        let status = answer.completion.status;
        assert!(status.is_success(), "a host is told {status}");
        let State::Connected(_, doing) = &mut self.state else {
            return Ok(0);
        };
        match *doing {
            Doing::Enabling => self.read_log()?,
            Doing::Header => {
                *doing = Doing::Entries;
                let records = answer.data[8..].first_chunk().expect("1024 bytes");
                let rest = u32::try_from(u64::from_le_bytes(*records) * 1024).expect("a log");
                self.read(1024, rest)?;
            }
            Doing::Entries => {
                let request =
                    self.submit(Sqe::new(admin::ASYNC_EVENT_REQUEST, 0), Payload::None)?;
                self.doing(Doing::Waiting { request });
                return Ok(1);
            }
            Doing::Waiting { request } if request == answer.cid => {
                assert_eq!(answer.completion.result, DISCOVERY_CHANGED);
                *doing = Doing::Told;
                self.told = Some(Instant::now());
                return Ok(1);
            }
            // A Keep Alive's.
            Doing::Waiting { .. } | Doing::Told => {}
        }
        Ok(0)
    }

    fn doing(&mut self, what: Doing) {
        if let State::Connected(_, doing) = &mut self.state {
            *doing = what;
        }
    }

    /// From its beginning.
    fn read_log(&mut self) -> Result<(), PeerError> {
        self.doing(Doing::Header);
        self.read(0, 1024)?;
        self.send()
    }

    fn read(&mut self, offset: u64, length: u32) -> Result<(), PeerError> {
        let into = Vec::new();
        let payload = Payload::ToHost { length, into };
        self.submit(log_page_sqe(0x70, offset, length), payload)?;
        Ok(())
    }

    fn keep_alive(&mut self) -> Result<(), PeerError> {
        self.submit(Sqe::new(admin::KEEP_ALIVE, 0), Payload::None)?;
        self.send()
    }

    fn submit(&mut self, sqe: Sqe, payload: Payload) -> Result<u16, PeerError> {
        match &mut self.state {
            State::Greeting(_) => Err(PeerError::Closed),
            State::Connected(queue, _) => Ok(queue.submit(sqe, payload)?),
        }
    }

    fn send(&mut self) -> Result<(), PeerError> {
        let outbox: &mut Outbox = match &mut self.state {
            State::Greeting(handshake) => handshake.outbox(),
            State::Connected(queue, _) => queue.outbox(),
        };
        while !outbox.is_empty() {
            let pieces: Vec<IoSlice<'_>> = outbox.pieces().map(IoSlice::new).collect();
            match self.stream.write_vectored(&pieces) {
                Ok(count) => outbox.advance(count),
                Err(error) if is_not_ready(&error) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Whether an event will say when to try again.
fn is_not_ready(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

/// Hosts that connect at the same time: fewer than one address may have in negotiation.
const AT_ONCE: usize = 16;

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// What an event says of the discovery log: a notice, that it has changed, and which log.
const DISCOVERY_CHANGED: u64 = 0x0070_f002;
