//! A queue pair over a TCP connection, blocking, with every wait bounded.
//!
//! The protocol is `proto`'s host half; this moves its bytes. What a target sends can end the queue
//! with a [`QueueError`] and do nothing else. Two bounds hold: [`Patience::silence`] for any single
//! wait, and [`Patience::answer`] for a whole answer, which a target could else draw out byte by
//! byte. The tests' hosts are made of this, too.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nvmf_proto::cqe::Completion;
use nvmf_proto::handshake::host::{Handshake, Progress, Wishes};
use nvmf_proto::host::{Answer, Payload, Queue, Step};
use nvmf_proto::pdu::IcResp;
use nvmf_proto::sqe::Sqe;

use super::error::QueueError;
use super::line::{Line, Patience};
use super::stop::Stop;

/// The host's end of an established queue.
#[derive(Debug)]
pub struct Qpair {
    line: Line,
    queue: Queue,
    cntlid: u16,
    icresp: IcResp,
    buffer: Vec<u8>,
    /// What of `buffer` is read from the socket and not yet taken in.
    unread: Range<usize>,
    /// Answers that came while another one was awaited.
    early: VecDeque<Answer>,
}

impl Qpair {
    /// Connects a queue.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn connect(
        address: SocketAddr,
        wishes: Wishes,
        patience: Patience,
        stop: &Stop,
    ) -> Result<Self, QueueError> {
        Self::over(Line::open(address, patience, stop)?, wishes)
    }

    /// Connects a queue over a connection on which nothing was said.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn over(line: Line, wishes: Wishes) -> Result<Self, QueueError> {
        let deadline = Instant::now() + line.patience().silence;
        let mut handshake = Handshake::new(wishes);
        let mut buffer = vec![0; BUFFER];
        loop {
            line.send(handshake.outbox())?;
            if !handshake.outbox().is_empty() {
                line.await_ready(PollFlags::POLLOUT, deadline)?;
                continue;
            }
            // Nothing comes unasked, so reading what is wanted loses nothing.
            let wanted = handshake.wants().min(BUFFER);
            let count = line.read(&mut buffer[..wanted], deadline)?;
            let progress = match handshake.next(&mut &buffer[..count]) {
                Ok(progress) => progress,
                Err(violation) => {
                    line.send(handshake.outbox())?;
                    return Err(violation.into());
                }
            };
            match progress {
                Progress::NeedMore => {}
                Progress::Established(established) => {
                    return Ok(Self {
                        line,
                        queue: established.queue,
                        cntlid: established.cntlid,
                        icresp: established.icresp,
                        buffer,
                        unread: 0..0,
                        early: VecDeque::new(),
                    });
                }
                Progress::Refused(reject) => return Err(QueueError::Refused(reject)),
                Progress::Terminated { fes, fei } => {
                    return Err(QueueError::Terminated { fes, fei });
                }
            }
        }
    }

    /// Our address on its connection.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.line.local_addr()
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

    /// From now on waits so long at most, and does not hear that it should stop.
    pub fn last_wait(&mut self, patience: Patience) {
        self.line.last_wait(patience);
    }

    /// From now on ends its waits when this is wished.
    pub fn heed(&mut self, stop: &Stop) {
        self.line.heed(stop);
    }

    /// Puts a command into the outbox; [`Self::next_answer`] sends it.
    ///
    /// # Errors
    /// Misuse, when the queue is full.
    pub fn submit(&mut self, sqe: Sqe, payload: Payload) -> Result<u16, QueueError> {
        Ok(self.queue.submit(sqe, payload)?)
    }

    /// Sends what waits as far as the socket takes it.
    ///
    /// # Errors
    /// The transport's.
    pub fn send(&mut self) -> Result<(), QueueError> {
        self.line.send(self.queue.outbox())
    }

    /// Sends everything that waits, taking in what comes meanwhile.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn send_all(&mut self) -> Result<(), QueueError> {
        let deadline = self.answer_deadline();
        loop {
            self.send()?;
            if self.queue.outbox().is_empty() {
                return Ok(());
            }
            if let Some(answer) = self.step(deadline)? {
                self.early.push_back(answer);
            }
        }
    }

    /// The next answer, whichever command's it is.
    ///
    /// # Errors
    /// Why none will come.
    pub fn next_answer(&mut self) -> Result<Answer, QueueError> {
        if let Some(answer) = self.early.pop_front() {
            return Ok(answer);
        }
        let deadline = self.answer_deadline();
        loop {
            if let Some(answer) = self.step(deadline)? {
                return Ok(answer);
            }
        }
    }

    /// An answer that is there without waiting for the target.
    ///
    /// # Errors
    /// Why none will come.
    pub fn ready_answer(&mut self) -> Result<Option<Answer>, QueueError> {
        match self.early.pop_front() {
            Some(answer) => Ok(Some(answer)),
            None => self.take_in(),
        }
    }

    /// Submits a command and waits for its answer; others are kept for [`Self::next_answer`].
    ///
    /// # Errors
    /// Why none will come.
    pub fn run(&mut self, sqe: Sqe, payload: Payload) -> Result<Answer, QueueError> {
        let cid = self.submit(sqe, payload)?;
        self.await_answer(cid)
    }

    /// The same with the command's descriptor as it is.
    ///
    /// # Errors
    /// Why none will come.
    pub fn run_as_is(&mut self, sqe: Sqe, payload: Payload) -> Result<Answer, QueueError> {
        let cid = self.queue.submit_as_is(sqe, payload)?;
        self.await_answer(cid)
    }

    /// Submits a command without data.
    ///
    /// # Errors
    /// Why no answer will come.
    pub fn command(&mut self, sqe: Sqe) -> Result<Completion, QueueError> {
        Ok(self.run(sqe, Payload::None)?.completion)
    }

    /// Waits for the answer to this command.
    ///
    /// # Errors
    /// Why none will come.
    pub fn await_answer(&mut self, cid: u16) -> Result<Answer, QueueError> {
        if let Some(at) = self.early.iter().position(|answer| answer.cid == cid)
            && let Some(answer) = self.early.remove(at)
        {
            return Ok(answer);
        }
        let deadline = self.answer_deadline();
        loop {
            match self.step(deadline)? {
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
    pub fn await_end(&mut self) -> Result<std::convert::Infallible, QueueError> {
        loop {
            self.step(self.answer_deadline())?;
        }
    }

    /// Whether nothing comes for this long.
    ///
    /// # Errors
    /// Why nothing ever will.
    pub fn is_silent_for(&mut self, time: Duration) -> Result<bool, QueueError> {
        let deadline = Instant::now() + time;
        self.send_all()?;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if !self.early.is_empty() {
                return Ok(false);
            }
            let ready = self.line.wait(PollFlags::POLLIN, left)?;
            if !ready.is_empty()
                && let Some(answer) = self.step(self.answer_deadline())?
            {
                self.early.push_back(answer);
            }
        }
        Ok(self.early.is_empty())
    }

    fn answer_deadline(&self) -> Instant {
        Instant::now() + self.line.patience().answer
    }

    /// Sends, waits for input if there is none, and takes it in up to the next answer.
    fn step(&mut self, deadline: Instant) -> Result<Option<Answer>, QueueError> {
        if let Some(answer) = self.take_in()? {
            return Ok(Some(answer));
        }
        if !self.queue.outbox().is_empty() {
            self.send()?;
        }
        if !self.queue.outbox().is_empty() {
            // The target may not read because we do not: listen to both.
            let both = PollFlags::POLLIN | PollFlags::POLLOUT;
            let ready = self.line.await_ready(both, deadline)?;
            if !ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                return Ok(None);
            }
        }
        let count = self.line.read(&mut self.buffer, deadline)?;
        self.unread = 0..count;
        self.take_in()
    }

    fn take_in(&mut self) -> Result<Option<Answer>, QueueError> {
        let mut input = &self.buffer[self.unread.clone()];
        let step = self.queue.next(&mut input);
        self.unread.start = self.unread.end - input.len();
        match step {
            Ok(None) => Ok(None),
            Ok(Some(Step::Completed(answer))) => Ok(Some(answer)),
            Ok(Some(Step::Terminated { fes, fei })) => Err(QueueError::Terminated { fes, fei }),
            Err(violation) => {
                self.send()?;
                Err(violation.into())
            }
        }
    }
}

/// Its connection, for what only a system can be asked.
impl AsFd for Qpair {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

/// Bytes taken from the socket at once.
const BUFFER: usize = 256 * 1024;
