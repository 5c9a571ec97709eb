//! A connection's socket and what is known of it without asking.
//!
//! Events are edges: one that was seen does not come again until the socket was found empty (or
//! full). So readiness is remembered here, and nothing is tried that is known to be vain. Errors are
//! reasons for the connection to end.

#![forbid(unsafe_code)]

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Registry as Poller, event::Event};
use nvmf_proto::outbox::Outbox;
use socket2::{SockRef, TcpKeepalive};

use super::close::CloseReason;

/// Pieces in one vectored write; systems take up to 1024.
const PIECES: usize = 64;

/// Silence after which a peer is asked whether it is still there, and how often it may not answer:
/// what finds out dead hosts that have no keep-alive timer.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// A stream that never waits.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// The peer has ended its side (or the connection failed), which only reading to the end shows.
    read_closed: bool,
}

impl Socket {
    /// Takes over a stream that is registered with a poll: both directions are worth a try.
    ///
    /// # Errors
    /// The system's, when the peer is gone already.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let probes = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY)
            .with_retries(PROBES);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
        Ok(Self {
            stream,
            readable: true,
            writable: true,
            read_closed: false,
        })
    }

    /// Our address as the peer reached it.
    ///
    /// # Errors
    /// The system's, when the peer is gone already.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Takes note of an event.
    pub(super) fn event(&mut self, event: &Event) {
        self.read_closed |= event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || self.read_closed;
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Whether reading is worth a try.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Reads once; 0 when nothing is there.
    ///
    /// # Errors
    /// The end of the stream too.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, CloseReason> {
        while self.readable && !buffer.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return Err(CloseReason::PeerClosed),
                Ok(count) => {
                    // Less than there was room for is all there was, and more comes with an event;
                    // the end of the stream may have come with the last one.
                    self.readable = count == buffer.len() || self.read_closed;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseReason::Transport(error.kind())),
            }
        }
        Ok(0)
    }

    /// Sends what waits in `outbox`, as much as the system takes and no more than `most` bytes. Those
    /// that were sent.
    ///
    /// # Errors
    /// Whatever shows that the peer is gone.
    pub(super) fn send(&mut self, outbox: &mut Outbox, most: usize) -> Result<usize, CloseReason> {
        let mut left = most;
        while self.writable && !outbox.is_empty() && left > 0 {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let (mut used, mut room) = (0, left);
            for (slot, piece) in pieces.iter_mut().zip(outbox.pieces()) {
                let piece = piece.get(..room).unwrap_or(piece);
                *slot = IoSlice::new(piece);
                used += 1;
                room -= piece.len();
                if room == 0 {
                    break;
                }
            }
            match self
                .stream
                .write_vectored(pieces.get(..used).unwrap_or_default())
            {
                Ok(0) => return Err(CloseReason::PeerClosed),
                Ok(count) => {
                    outbox.advance(count);
                    left -= count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseReason::Transport(error.kind())),
            }
        }
        Ok(most - left)
    }

    /// Says that nothing more comes from us.
    pub(super) fn finish(&self) {
        // Fails only when the peer is gone already, which reading shows.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Takes it out of its poll, and leaves its descriptor.
    pub(super) fn into_descriptor(mut self, poller: &Poller) -> OwnedFd {
        self.deregister(poller);
        self.stream.into()
    }

    /// Takes it out of its poll, before its descriptor is closed.
    pub(super) fn deregister(&mut self, poller: &Poller) {
        // Nothing is left to say if this fails.
        let _ = poller.deregister(&mut self.stream);
    }
}
