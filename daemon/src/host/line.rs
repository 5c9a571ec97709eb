//! A TCP connection to a target: every wait on it is bounded, and ends when we should stop.

#![forbid(unsafe_code)]

use std::io::{self, IoSlice, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nvmf_proto::outbox::Outbox;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::error::QueueError;
use super::stop::Stop;

/// How long a target may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To send or take anything at all; also to accept a connection, and then its queue.
    pub silence: Duration,
    /// To complete a command, however busily it sends.
    pub answer: Duration,
}

impl Patience {
    /// With so much silence, and enough for an answer over a slow line.
    pub fn new(silence: Duration) -> Self {
        Self {
            silence,
            answer: silence.saturating_mul(12),
        }
    }
}

/// A connection. It never blocks but in [`Self::wait`].
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    patience: Patience,
    stop: Stop,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// The system's, or that nobody answered.
    pub fn open(address: SocketAddr, patience: Patience, stop: &Stop) -> Result<Self, QueueError> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
            Err(error) => return Err(error.into()),
        }
        let line = Self {
            stream: socket.into(),
            patience,
            stop: stop.clone(),
        };
        line.await_ready(PollFlags::POLLOUT, Instant::now() + patience.silence)?;
        match line.stream.take_error()? {
            Some(error) => Err(error.into()),
            None => Ok(line),
        }
    }

    /// Our address, as the target sees it unless it is behind something.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// How long the target may take.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// From now on waits so long at most, and does not hear that it should stop.
    pub fn last_wait(&mut self, patience: Patience) {
        self.patience = patience;
        self.stop = Stop::never();
    }

    /// From now on ends its waits when this is wished.
    pub fn heed(&mut self, stop: &Stop) {
        self.stop = stop.clone();
    }

    /// Sends what waits as far as the socket takes it.
    ///
    /// # Errors
    /// The transport's.
    pub fn send(&self, outbox: &mut Outbox) -> Result<(), QueueError> {
        let socket = SockRef::from(&self.stream);
        while !outbox.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut used = 0;
            for (slot, piece) in pieces.iter_mut().zip(outbox.pieces()) {
                *slot = IoSlice::new(piece);
                used += 1;
            }
            let flags = MsgFlags::MSG_NOSIGNAL.bits();
            match socket.send_vectored_with_flags(&pieces[..used], flags) {
                Ok(count) => outbox.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what there is, waiting for it if need be.
    ///
    /// # Errors
    /// Why nothing comes.
    pub fn read(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, QueueError> {
        // Looked at before every read: a target that never falls silent must not keep us.
        if self.stop.is_wished() {
            return Err(QueueError::Stopped);
        }
        loop {
            match (&self.stream).read(buffer) {
                Ok(0) => return Err(QueueError::Closed),
                Ok(count) if Instant::now() <= deadline => return Ok(count),
                Ok(_) => return Err(QueueError::Timeout),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.await_ready(PollFlags::POLLIN, deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until it is ready for one of `flags`, and for which.
    ///
    /// # Errors
    /// That it took too long.
    pub fn await_ready(
        &self,
        flags: PollFlags,
        deadline: Instant,
    ) -> Result<PollFlags, QueueError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let ready = self.wait(flags, self.patience.silence.min(left))?;
        if ready.is_empty() {
            return Err(QueueError::Timeout);
        }
        Ok(ready)
    }

    /// Waits until it is ready for one of `flags`; empty after `time`.
    ///
    /// # Errors
    /// That we should stop.
    pub fn wait(&self, flags: PollFlags, time: Duration) -> Result<PollFlags, QueueError> {
        let connection = PollFd::new(self.stream.as_fd(), flags);
        // Rounded up: a wait that ends a moment early would count as one in vain.
        let time = time.saturating_add(Duration::from_micros(999));
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let polled = match self.stop.descriptor() {
            None => wait_for(&mut [connection], timeout)?,
            Some(stop) => {
                let stop = PollFd::new(stop, PollFlags::POLLIN);
                wait_for(&mut [connection, stop], timeout)?
            }
        };
        if self.stop.is_wished() {
            return Err(QueueError::Stopped);
        }
        Ok(polled)
    }
}

/// For what only a system can be asked; bytes go by [`Line`] alone, or the protocol is at sea.
impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Polls; what the first is ready for.
fn wait_for(waiting: &mut [PollFd<'_>], timeout: PollTimeout) -> io::Result<PollFlags> {
    loop {
        match poll(waiting, timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => {
                let first = waiting.first().and_then(PollFd::revents);
                return Ok(first.unwrap_or(PollFlags::empty()));
            }
        }
    }
}

/// Pieces in one vectored write.
const PIECES: usize = 64;
