//! A queue pair over a TCP connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use nvmf_proto::cqe::Completion;
use nvmf_proto::handshake::host::{Handshake, Progress, Wishes};
use nvmf_proto::host::{Answer, Payload, Queue, Step};
use nvmf_proto::outbox::Outbox;
use nvmf_proto::pdu::IcResp;
use nvmf_proto::sqe::Sqe;
use socket2::SockRef;

use super::{PATIENCE, PeerError};

/// Bytes taken from the socket at once.
const BUFFER: usize = 256 * 1024;

/// Pieces in one vectored write.
const PIECES: usize = 64;

/// The host's end of an established queue.
#[derive(Debug)]
pub struct Qpair {
    stream: TcpStream,
    queue: Queue,
    cntlid: u16,
    icresp: IcResp,
    buffer: Vec<u8>,
    /// What of `buffer` is read from the socket and not yet taken in.
    unread: std::ops::Range<usize>,
    /// Answers that came while another one was awaited.
    early: VecDeque<Answer>,
}

impl Qpair {
    /// Connects a queue.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn connect(address: SocketAddr, wishes: Wishes) -> Result<Self, PeerError> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut handshake = Handshake::new(wishes);
        let mut buffer = vec![0; BUFFER];
        loop {
            while !handshake.outbox().is_empty() {
                send(&stream, handshake.outbox())?;
            }
            // Nothing comes unasked, so reading what is wanted loses nothing.
            let wanted = handshake.wants().min(BUFFER);
            let count = (&stream).read(&mut buffer[..wanted])?;
            if count == 0 {
                return Err(PeerError::Closed);
            }
            let mut input = &buffer[..count];
            let progress = match handshake.next(&mut input) {
                Ok(progress) => progress,
                Err(violation) => {
                    send(&stream, handshake.outbox())?;
                    return Err(violation.into());
                }
            };
            match progress {
                Progress::NeedMore => {}
                Progress::Established(established) => {
                    return Ok(Self {
                        stream,
                        queue: established.queue,
                        cntlid: established.cntlid,
                        icresp: established.icresp,
                        buffer,
                        unread: 0..0,
                        early: VecDeque::new(),
                    });
                }
                Progress::Refused(reject) => return Err(PeerError::Refused(reject)),
                Progress::Terminated { fes, fei } => {
                    return Err(PeerError::Terminated { fes, fei });
                }
            }
        }
    }

    /// The controller that the queue belongs to.
    pub fn cntlid(&self) -> u16 {
        self.cntlid
    }

    /// What the target answered to the ICReq.
    pub fn icresp(&self) -> &IcResp {
        &self.icresp
    }

    /// The protocol's side of it.
    pub fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// The connection, for saying what no host would say.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Puts a command into the outbox; [`Self::next_answer`] sends it.
    ///
    /// # Errors
    /// Misuse, when the queue is full.
    pub fn submit(&mut self, sqe: Sqe, payload: Payload) -> Result<u16, PeerError> {
        Ok(self.queue.submit(sqe, payload)?)
    }

    /// Sends what waits as far as the socket takes it.
    ///
    /// # Errors
    /// The transport's.
    pub fn send(&mut self) -> Result<(), PeerError> {
        send(&self.stream, self.queue.outbox())
    }

    /// Sends everything that waits, taking in what comes meanwhile.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn send_all(&mut self) -> Result<(), PeerError> {
        loop {
            self.send()?;
            if self.queue.outbox().is_empty() {
                return Ok(());
            }
            if let Some(answer) = self.step()? {
                self.early.push_back(answer);
            }
        }
    }

    /// The next answer, whichever command's it is.
    ///
    /// # Errors
    /// Why none will come.
    pub fn next_answer(&mut self) -> Result<Answer, PeerError> {
        if let Some(answer) = self.early.pop_front() {
            return Ok(answer);
        }
        loop {
            if let Some(answer) = self.step()? {
                return Ok(answer);
            }
        }
    }

    /// An answer that is there without waiting for the target.
    ///
    /// # Errors
    /// Why none will come.
    pub fn ready_answer(&mut self) -> Result<Option<Answer>, PeerError> {
        match self.early.pop_front() {
            Some(answer) => Ok(Some(answer)),
            None => self.take_in(),
        }
    }

    /// Submits a command and waits for its answer; others are kept for [`Self::next_answer`].
    ///
    /// # Errors
    /// Why none will come.
    pub fn run(&mut self, sqe: Sqe, payload: Payload) -> Result<Answer, PeerError> {
        let cid = self.submit(sqe, payload)?;
        self.await_answer(cid)
    }

    /// The same with the command's descriptor as it is.
    ///
    /// # Errors
    /// Why none will come.
    pub fn run_as_is(&mut self, sqe: Sqe, payload: Payload) -> Result<Answer, PeerError> {
        let cid = self.queue.submit_as_is(sqe, payload)?;
        self.await_answer(cid)
    }

    /// Submits a command without data.
    ///
    /// # Errors
    /// Why no answer will come.
    pub fn command(&mut self, sqe: Sqe) -> Result<Completion, PeerError> {
        Ok(self.run(sqe, Payload::None)?.completion)
    }

    /// Waits for the answer to this command.
    ///
    /// # Errors
    /// Why none will come.
    pub fn await_answer(&mut self, cid: u16) -> Result<Answer, PeerError> {
        if let Some(at) = self.early.iter().position(|answer| answer.cid == cid)
            && let Some(answer) = self.early.remove(at)
        {
            return Ok(answer);
        }
        loop {
            match self.step()? {
                Some(answer) if answer.cid == cid => return Ok(answer),
                Some(other) => self.early.push_back(other),
                None => {}
            }
        }
    }

    /// Waits for the target to end the connection.
    ///
    /// # Errors
    /// How it did: never `Ok`.
    pub fn await_end(&mut self) -> Result<std::convert::Infallible, PeerError> {
        loop {
            self.step()?;
        }
    }

    /// Whether nothing comes for this long.
    ///
    /// # Errors
    /// Why nothing ever will.
    pub fn is_silent_for(&mut self, time: Duration) -> Result<bool, PeerError> {
        let deadline = Instant::now() + time;
        self.send_all()?;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if !self.early.is_empty() {
                return Ok(false);
            }
            let ready = wait(&self.stream, PollFlags::POLLIN, left)?;
            if !ready.is_empty()
                && let Some(answer) = self.step()?
            {
                self.early.push_back(answer);
            }
        }
        Ok(self.early.is_empty())
    }

    /// Sends, waits for input if there is none, and takes it in up to the next answer.
    fn step(&mut self) -> Result<Option<Answer>, PeerError> {
        if let Some(answer) = self.take_in()? {
            return Ok(Some(answer));
        }
        if !self.queue.outbox().is_empty() {
            self.send()?;
        }
        if !self.queue.outbox().is_empty() {
            // The target may not read because we do not: listen to both.
            let both = PollFlags::POLLIN | PollFlags::POLLOUT;
            let ready = wait(&self.stream, both, PATIENCE)?;
            if ready.is_empty() {
                return Err(PeerError::Timeout);
            }
            if !ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                return Ok(None);
            }
        }
        let count = self.stream.read(&mut self.buffer)?;
        if count == 0 {
            return Err(PeerError::Closed);
        }
        self.unread = 0..count;
        self.take_in()
    }

    fn take_in(&mut self) -> Result<Option<Answer>, PeerError> {
        let mut input = &self.buffer[self.unread.clone()];
        let step = self.queue.next(&mut input);
        self.unread.start = self.unread.end - input.len();
        match step {
            Ok(None) => Ok(None),
            Ok(Some(Step::Completed(answer))) => Ok(Some(answer)),
            Ok(Some(Step::Terminated { fes, fei })) => Err(PeerError::Terminated { fes, fei }),
            Err(violation) => {
                self.send()?;
                Err(violation.into())
            }
        }
    }
}

/// Sends what waits without waiting for the socket.
fn send(stream: &TcpStream, outbox: &mut Outbox) -> Result<(), PeerError> {
    let socket = SockRef::from(stream);
    while !outbox.is_empty() {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut used = 0;
        for (slot, piece) in pieces.iter_mut().zip(outbox.pieces()) {
            *slot = IoSlice::new(piece);
            used += 1;
        }
        let flags = (MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).bits();
        match socket.send_vectored_with_flags(&pieces[..used], flags) {
            Ok(count) => outbox.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until the connection is ready for one of `flags`; empty after `time`.
fn wait(stream: &TcpStream, flags: PollFlags, time: Duration) -> Result<PollFlags, PeerError> {
    let mut waiting = [PollFd::new(stream.as_fd(), flags)];
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    poll(&mut waiting, timeout).map_err(io::Error::from)?;
    Ok(waiting[0].revents().unwrap_or(PollFlags::empty()))
}
