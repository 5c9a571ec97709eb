//! Lines over a Unix socket: bounded in length, and in time from the first wait to the newline.
//!
//! Both the daemon and nvmfctl read and write with this, and neither trusts the other to be quick,
//! brief or well.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Why no line came, or none could be written.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It is longer than a line may be.
    TooLong,
    /// The time is over.
    Late {
        /// Whether a part of the line had come, or gone.
        begun: bool,
    },
    /// The system's word.
    Io(io::Error),
}

/// The lines that come from a peer.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    stream: &'a UnixStream,
    max: usize,
    buffer: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Those of `stream`, each of at most `max` bytes.
    pub(crate) fn of(stream: &'a UnixStream, max: usize) -> Self {
        Self {
            stream,
            max,
            buffer: Vec::new(),
        }
    }

    /// The next line without its newline; none when the peer has ended. What a peer wrote last
    /// counts as a line.
    pub(crate) fn next(&mut self, within: Duration) -> Result<Option<Vec<u8>>, Broken> {
        let deadline = Instant::now() + within;
        let mut searched = 0;
        loop {
            let newline = self.buffer[searched..].iter().position(|&it| it == b'\n');
            if let Some(found) = newline {
                let rest = self.buffer.split_off(searched + found + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > self.max {
                return Err(Broken::TooLong);
            }
            if self.read(deadline)? == 0 {
                let last = std::mem::take(&mut self.buffer);
                return Ok((!last.is_empty()).then_some(last));
            }
        }
    }

    fn read(&mut self, deadline: Instant) -> Result<usize, Broken> {
        let before = self.buffer.len();
        let begun = before > 0;
        self.buffer.resize(before + CHUNK, 0);
        let read = until(deadline, begun, |left| {
            self.stream.set_read_timeout(Some(left))?;
            self.stream.read(&mut self.buffer[before..])
        });
        self.buffer.truncate(before + read.as_ref().unwrap_or(&0));
        read
    }
}

/// Writes `line`, which has no newline in it, and a newline.
pub(crate) fn send(
    mut stream: &UnixStream,
    mut line: Vec<u8>,
    within: Duration,
) -> Result<(), Broken> {
    line.push(b'\n');
    let deadline = Instant::now() + within;
    let mut sent = 0;
    while sent < line.len() {
        sent += until(deadline, sent > 0, |left| {
            stream.set_write_timeout(Some(left))?;
            stream.write(&line[sent..])
        })?;
    }
    Ok(())
}

/// Tries until it is done or the time is over; `begun` is for the error.
fn until(
    deadline: Instant,
    begun: bool,
    mut attempt: impl FnMut(Duration) -> io::Result<usize>,
) -> Result<usize, Broken> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Broken::Late { begun });
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
        match attempt(left) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut => {}
                _ => return Err(Broken::Io(error)),
            },
        }
    }
}

/// What is read at once.
const CHUNK: usize = 16 << 10;
