//! One HTTP connection: a request is read, its answer sent, and that is all.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::request::{self, HEAD_MAX};

/// What a client has to send its request, then to take the answer, then to close.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are thrown away of a client that sends more than a request. Closing at once would let
/// them destroy the answer before it is read.
const DISCARD_MAX: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    Reading { head: Vec<u8> },
    Writing { answer: Vec<u8>, sent: usize },
    Closing { discarded: usize },
}

/// Whether there is more to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// At once.
    Next,
    /// When the socket says so.
    Wait,
    /// Nothing.
    End,
}

impl Client {
    /// A connection of which nothing has been read.
    pub(super) fn new(stream: TcpStream, now: Instant) -> Self {
        Self {
            stream,
            state: State::Reading { head: Vec::new() },
            deadline: now + PATIENCE,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// When it must have gone on.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Goes as far as it can without waiting. Whether it goes on later.
    pub(super) fn run(&mut self, now: Instant, metrics: &dyn Fn() -> String) -> bool {
        loop {
            let step = match &mut self.state {
                State::Reading { .. } => self.read(now, metrics),
                State::Writing { .. } => self.write(now),
                State::Closing { .. } => self.discard(),
            };
            match step {
                Ok(Step::Next) => {}
                Ok(Step::Wait) => return true,
                Ok(Step::End) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    fn read(&mut self, now: Instant, metrics: &dyn Fn() -> String) -> io::Result<Step> {
        let State::Reading { head } = &mut self.state else {
            return Ok(Step::Wait);
        };
        let mut piece = [0; 1024];
        let room = piece.len().min(HEAD_MAX - head.len());
        let count = self.stream.read(&mut piece[..room])?;
        if count == 0 {
            return Ok(Step::End);
        }
        head.extend_from_slice(&piece[..count]);
        if let Some(asked) = request::read(head) {
            let answer = asked.answer(metrics);
            self.state = State::Writing { answer, sent: 0 };
            self.deadline = now + PATIENCE;
        }
        Ok(Step::Next)
    }

    fn write(&mut self, now: Instant) -> io::Result<Step> {
        let State::Writing { answer, sent } = &mut self.state else {
            return Ok(Step::Wait);
        };
        *sent += self.stream.write(&answer[*sent..])?;
        if *sent == answer.len() {
            self.stream.shutdown(Shutdown::Write)?;
            self.state = State::Closing { discarded: 0 };
            self.deadline = now + PATIENCE;
        }
        Ok(Step::Next)
    }

    fn discard(&mut self) -> io::Result<Step> {
        let State::Closing { discarded } = &mut self.state else {
            return Ok(Step::Wait);
        };
        let count = self.stream.read(&mut [0; 4096])?;
        *discarded += count;
        if count == 0 || *discarded > DISCARD_MAX {
            return Ok(Step::End);
        }
        Ok(Step::Next)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as Peer};

    use super::*;

    /// A client, and the other end.
    fn pair() -> (Client, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let client = Client::new(TcpStream::from_std(stream), Instant::now());
        (client, peer)
    }

    /// Runs it until it has read what was sent.
    fn until_answering(client: &mut Client, metrics: &dyn Fn() -> String) {
        while matches!(client.state, State::Reading { .. }) {
            assert!(client.run(Instant::now(), metrics));
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_answer_that_the_socket_does_not_take_at_once_is_sent_in_pieces() {
        let (mut client, mut peer) = pair();
        let metrics = || "a".repeat(64 << 20);
        peer.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        until_answering(&mut client, &metrics);
        assert!(
            matches!(client.state, State::Writing { .. }),
            "it is too much"
        );
        let reader = std::thread::spawn(move || {
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).unwrap();
            answer
        });
        while client.run(Instant::now(), &metrics) {
            std::thread::yield_now();
        }
        let answer = reader.join().unwrap();
        assert!(answer.len() > 64 << 20 && answer.ends_with(b"aaaa"));
    }

    #[test]
    fn who_does_not_read_does_not_get_more_time() {
        let (mut client, mut peer) = pair();
        let metrics = || "a".repeat(64 << 20);
        peer.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        until_answering(&mut client, &metrics);
        let deadline = client.deadline();
        for _ in 0..3 {
            let mut some = [0; 1024];
            peer.read_exact(&mut some).unwrap();
            assert!(client.run(deadline, &metrics));
            assert_eq!(client.deadline(), deadline);
        }
    }

    #[test]
    fn what_comes_after_a_request_is_thrown_away_up_to_a_bound() {
        let (mut client, mut peer) = pair();
        let flood = std::thread::spawn(move || {
            let request = b"GET / HTTP/1.1\r\n\r\n";
            let sent = peer.write_all(request);
            sent.and_then(|()| (0..64).try_for_each(|_| peer.write_all(&[b'x'; 1 << 20])))
        });
        while client.run(Instant::now(), &String::new) {
            std::thread::yield_now();
        }
        drop(client);
        assert!(flood.join().unwrap().is_err(), "64 MiB were read");
    }
}
