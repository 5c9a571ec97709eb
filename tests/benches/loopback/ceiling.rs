//! The same bytes over a bare TCP connection: what no program behind it can beat.
//!
//! Each message says how long it is and how many bytes are to answer it; that is all that either
//! end looks at. Messages have the lengths of the PDUs that they stand for, and answers that are
//! due together leave together, as the program's do.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nvmfd_tests::peer::PeerError;

use crate::load::{Case, Direction};
use crate::report::Round;

/// Bytes read at once, as both halves of the protocol do it.
const BUFFER: usize = 256 * 1024;

/// Pieces in one vectored write.
const PIECES: usize = 64;

/// In-capsule data of the program's I/O queues.
const IN_CAPSULE: u32 = 16 * 1024;

/// One message and the length of its answer.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    request: u32,
    answer: u32,
}

/// What one command of `case` says and hears, in order.
fn exchanges(case: &Case) -> Vec<Exchange> {
    let digest = if case.digests { 4 } else { 0 };
    let (command, response, r2t) = (72 + digest, 24 + digest, 24 + digest);
    let data = 24 + digest + case.length + digest;
    let exchange = |request, answer| Exchange { request, answer };
    match case.direction {
        Direction::Read => vec![exchange(command, data + response)],
        Direction::Write if case.length <= IN_CAPSULE => {
            vec![exchange(command + case.length + digest, response)]
        }
        Direction::Write => vec![exchange(command, r2t), exchange(data, response)],
    }
}

/// The other end of bare connections, in a process of its own as the program is.
#[derive(Debug)]
pub(crate) struct Bare {
    process: Child,
    address: SocketAddr,
}

/// Makes this program the other end: see [`answer`].
pub(crate) const ANSWER: &str = "--answer";

impl Bare {
    /// Starts it.
    pub(crate) fn start() -> Result<Self, PeerError> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ANSWER)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut address)?;
        let address = address.trim().parse().expect("an address");
        Ok(Self { process, address })
    }

    /// Keeps `case.depth` exchanges outstanding for `time`.
    pub(crate) fn run(&self, case: &Case, time: Duration) -> Result<Round, PeerError> {
        load(&TcpStream::connect(self.address)?, case, time)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says where it listens and answers one connection after the other, until it is killed.
pub(crate) fn answer() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    loop {
        serve(&listener.accept()?.0)?;
    }
}

/// Messages cut out of a stream, their content passed over.
#[derive(Default)]
struct Messages {
    /// Bytes of the current message that are still to come.
    left: usize,
    /// Its beginning, as far as it came.
    head: Vec<u8>,
}

const HEAD: usize = 8;

impl Messages {
    /// The message that ends within `input`, if one does: its second number.
    fn next(&mut self, input: &mut &[u8]) -> Option<u32> {
        if self.head.len() < HEAD {
            let (head, rest) = input.split_at(input.len().min(HEAD - self.head.len()));
            self.head.extend_from_slice(head);
            *input = rest;
            if self.head.len() < HEAD {
                return None;
            }
            self.left = number(&self.head[..4]) as usize - HEAD;
        }
        let passed = self.left.min(input.len());
        *input = &input[passed..];
        self.left -= passed;
        if self.left != 0 {
            return None;
        }
        let second = number(&self.head[4..]);
        self.head.clear();
        Some(second)
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("4 bytes"))
}

/// A message of `length` bytes with a second number.
fn message(length: u32, second: u32) -> Vec<u8> {
    let mut bytes = [length.to_le_bytes(), second.to_le_bytes()].concat();
    bytes.resize(length as usize, 0);
    bytes
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut messages = Messages::default();
    let mut known: Vec<Vec<u8>> = Vec::new();
    loop {
        let count = match (&mut &*stream).read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut input = &buffer[..count];
        let mut due = Vec::new();
        while let Some(length) = messages.next(&mut input) {
            let answer = known.iter().position(|it| it.len() == length as usize);
            due.push(answer.unwrap_or_else(|| {
                known.push(message(length, 0));
                known.len() - 1
            }));
        }
        let due: Vec<&[u8]> = due
            .into_iter()
            .map(|index| known[index].as_slice())
            .collect();
        write_all(stream, &due)?;
    }
}

fn write_all(mut stream: &TcpStream, messages: &[&[u8]]) -> io::Result<()> {
    for part in messages.chunks(PIECES) {
        let mut pieces: Vec<IoSlice<'_>> = part.iter().map(|it| IoSlice::new(it)).collect();
        let mut left = pieces.as_mut_slice();
        while !left.is_empty() {
            match stream.write_vectored(left) {
                Err(error) if is_gone(&error) => return Ok(()),
                written => IoSlice::advance_slices(&mut left, written?),
            }
        }
    }
    Ok(())
}

/// Whether the load has what it came for and has closed.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

fn load(stream: &TcpStream, case: &Case, time: Duration) -> Result<Round, PeerError> {
    stream.set_nodelay(true)?;
    let exchanges = exchanges(case);
    let requests: Vec<Vec<u8>> = exchanges
        .iter()
        .map(|exchange| message(exchange.request, exchange.answer))
        .collect();
    let mut buffer = vec![0; BUFFER];
    let mut messages = Messages::default();
    let mut latencies = Vec::with_capacity(1 << 20);
    let began = Instant::now();
    // Answers come in the order of requests: which exchange of its command each is, and since when.
    let mut outstanding: VecDeque<(usize, Instant)> = VecDeque::new();
    outstanding.extend((0..case.depth).map(|_| (0, began)));
    let first: Vec<&[u8]> = (0..case.depth).map(|_| requests[0].as_slice()).collect();
    write_all(stream, &first)?;
    let mut elapsed = Duration::ZERO;
    while elapsed < time {
        let count = (&mut &*stream).read(&mut buffer)?;
        if count == 0 {
            return Err(PeerError::Closed);
        }
        let mut input = &buffer[..count];
        let mut due: Vec<&[u8]> = Vec::new();
        while messages.next(&mut input).is_some() {
            let (step, since) = outstanding.pop_front().expect("an answer to a request");
            let now = Instant::now();
            elapsed = now - began;
            let next = (step + 1) % requests.len();
            if next == 0 {
                latencies.push(u64::try_from((now - since).as_nanos()).unwrap_or(u64::MAX));
                outstanding.push_back((0, now));
            } else {
                outstanding.push_back((next, since));
            }
            due.push(&requests[next]);
        }
        write_all(stream, &due)?;
    }
    Ok(Round::new(latencies, elapsed))
}
