//! A namespace through one I/O queue: bytes read and written in order, several commands at once.
//!
//! Memory is bounded by the depth: as many pieces as may be outstanding, and no more.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use nvmf_proto::host::{Answer, Payload};
use nvmf_proto::opcode::nvm;
use nvmf_proto::sqe::Sqe;

use super::controller::Controller;
use super::error::{HostError, QueueError};
use super::facts::{Active, ControllerFacts, NamespaceFacts};
use super::qpair::Qpair;

/// A namespace that can be read and written.
#[derive(Debug)]
pub struct Disk<'a> {
    controller: &'a Controller,
    queue: Qpair,
    qid: u16,
    facts: NamespaceFacts,
    /// Bytes that a command moves, whole blocks.
    piece: u32,
    depth: usize,
}

/// Whether to wait for input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing else is to be done.
    ForInput,
    /// There are answers to take in.
    No,
}

/// How far a piece came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// It is full.
    Full,
    /// More will come.
    NotYet,
    /// Nothing more will come; what there is, is the last.
    End,
}

/// A command that is out, or answered before one ahead of it.
#[derive(Debug)]
struct Piece {
    cid: u16,
    offset: u64,
    length: u32,
    /// What came, once it is answered.
    answered: Option<Vec<u8>>,
    /// The target refused it.
    refused: bool,
}

/// Finds the namespace that is meant.
///
/// # Errors
/// That there is none, or that blocks like its own cannot be moved.
pub fn namespace(controller: &Controller, nsid: Option<u32>) -> Result<NamespaceFacts, HostError> {
    let nsid = match nsid {
        Some(nsid) => nsid,
        None => Active::of(controller)?.default()?,
    };
    let Some(facts) = NamespaceFacts::of(controller, nsid)? else {
        let there = Active::of(controller)?;
        let there = there.listed();
        return Err(HostError::Choice {
            message: format!("there is no namespace {nsid} for this host; there are: {there}"),
        });
    };
    if facts.metadata != 0 {
        let bytes = facts.metadata;
        return Err(HostError::unfit(format!(
            "namespace {nsid} has {bytes} bytes of metadata with each block, which nvmfctl cannot move"
        )));
    }
    Ok(facts)
}

/// Bytes that a command should move: at most `wish`, at most what the controller can, whole blocks.
///
/// # Errors
/// That not even a block can be moved.
pub fn piece(
    controller: &ControllerFacts,
    namespace: &NamespaceFacts,
    wish: u32,
) -> Result<u32, HostError> {
    let block = namespace.block_size;
    let most = controller.max_transfer.unwrap_or(u64::MAX);
    // NLB counts at most 65536 blocks.
    let most = most.min(u64::from(wish)).min(u64::from(block) << 16);
    let blocks = most / u64::from(block);
    u32::try_from(blocks * u64::from(block))
        .ok()
        .filter(|piece| *piece != 0)
        .ok_or_else(|| {
            let most = controller.max_transfer.unwrap_or_default();
            HostError::nonsense(format!(
                "it moves {most} bytes at once and has blocks of {block}"
            ))
        })
}

/// A read or a write of whole blocks.
pub fn command(opcode: u8, namespace: &NamespaceFacts, offset: u64, length: u32) -> Sqe {
    let block = namespace.block_size;
    let mut sqe = Sqe::new(opcode, 0);
    sqe.nsid = namespace.nsid.into();
    sqe.set_cdw10_11(offset / u64::from(block));
    // NLB is 0's based.
    sqe.cdw12 = (length / block).saturating_sub(1).into();
    sqe
}

impl<'a> Disk<'a> {
    /// Connects an I/O queue for it.
    ///
    /// # Errors
    /// Whatever keeps it from being used.
    pub fn open(
        controller: &'a Controller,
        nsid: Option<u32>,
        entries: u32,
        depth: u16,
    ) -> Result<Self, HostError> {
        let its = ControllerFacts::of(controller)?;
        let facts = namespace(controller, nsid)?;
        let piece = piece(&its, &facts, PIECE.max(facts.block_size))?;
        controller.request_queues(1)?;
        let qid = 1;
        let queue = controller.io_queue(qid, entries, its.in_capsule)?;
        Ok(Self {
            controller,
            queue,
            qid,
            facts,
            piece,
            depth: depth.into(),
        })
    }

    /// What it is.
    pub fn facts(&self) -> &NamespaceFacts {
        &self.facts
    }

    /// Bytes that a command moves.
    pub fn piece(&self) -> usize {
        self.piece as usize
    }

    /// Reads the bytes `range`, whole blocks; `sink` gets them in order, each piece with its offset.
    ///
    /// # Errors
    /// The first that happened, here or in the sink.
    pub fn read(
        &mut self,
        range: Range<u64>,
        mut sink: impl FnMut(u64, &[u8]) -> Result<(), HostError>,
    ) -> Result<(), HostError> {
        let mut window: VecDeque<Piece> = VecDeque::new();
        let mut spare: Vec<Vec<u8>> = Vec::new();
        let mut next = range.start;
        loop {
            while next < range.end && self.may_submit(&window)? {
                let left = range.end - next;
                let length = u32::try_from(left).unwrap_or(u32::MAX).min(self.piece);
                let into = spare.pop().unwrap_or_default();
                let sqe = command(nvm::READ, &self.facts, next, length);
                self.submit(
                    &mut window,
                    sqe,
                    Payload::ToHost { length, into },
                    (next, length),
                )?;
                next += u64::from(length);
            }
            if window.is_empty() {
                return Ok(());
            }
            self.take_answer(&mut window, "read")?;
            while let Some((piece, data)) = first_answered(&mut window) {
                sink(piece.offset, &data)?;
                spare.push(data);
            }
        }
    }

    /// Writes what `source` has from `offset` on, until it ends, and then has it made durable.
    /// `source` appends to the piece that it is given, up to [`Self::piece`] bytes; its last piece
    /// is whole blocks, too. `written` is told how many bytes from `offset` on are written.
    ///
    /// # Errors
    /// The first that happened, here or in the source; what was under way is awaited.
    pub fn write(
        &mut self,
        offset: u64,
        mut source: impl FnMut(&mut Vec<u8>, Wait) -> Result<Filled, HostError>,
        mut written: impl FnMut(u64),
    ) -> Result<(), HostError> {
        let mut window: VecDeque<Piece> = VecDeque::new();
        let (mut filling, mut next) = (Vec::new(), offset);
        let (mut ended, mut gapless, mut failure) = (false, true, None);
        loop {
            while !ended && self.may_submit(&window)? {
                let wait = match window.is_empty() {
                    true => Wait::ForInput,
                    false => Wait::No,
                };
                match source(&mut filling, wait) {
                    Ok(Filled::NotYet) => break,
                    Ok(Filled::Full) => {}
                    Ok(Filled::End) => ended = true,
                    Err(error) => {
                        (ended, failure) = (true, failure.or(Some(error)));
                        filling.clear();
                    }
                }
                let data = std::mem::take(&mut filling);
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                if length != 0 {
                    let sqe = command(nvm::WRITE, &self.facts, next, length);
                    let payload = Payload::FromHost(Arc::new(data));
                    self.submit(&mut window, sqe, payload, (next, length))?;
                    next += u64::from(length);
                }
            }
            if window.is_empty() && ended {
                break;
            }
            if window.is_empty() {
                continue;
            }
            match self.take_answer(&mut window, "write") {
                Err(error @ HostError::Command { .. }) => {
                    (ended, failure) = (true, failure.or(Some(error)));
                }
                answered => answered?,
            }
            while let Some((piece, _)) = first_answered(&mut window) {
                gapless &= !piece.refused;
                if gapless {
                    written(piece.offset + u64::from(piece.length) - offset);
                }
            }
        }
        failure.map_or_else(|| self.flush(), Err)
    }

    fn flush(&mut self) -> Result<(), HostError> {
        let mut sqe = Sqe::new(nvm::FLUSH, 0);
        sqe.nsid = self.facts.nsid.into();
        let completion = self.queue.command(sqe);
        let status = completion.map_err(|error| self.ended(error))?.status;
        if status.is_success() {
            return Ok(());
        }
        let what = "to make durable what was written (Flush)".into();
        Err(HostError::Command { what, status })
    }

    /// Whether another command can go out.
    fn may_submit(&mut self, window: &VecDeque<Piece>) -> Result<bool, HostError> {
        let room = self.queue.queue().room();
        if room == 0 && window.is_empty() {
            let what = "all commands are answered and yet its queue is full";
            return Err(HostError::nonsense(what));
        }
        Ok(room != 0 && window.len() < self.depth)
    }

    fn submit(
        &mut self,
        window: &mut VecDeque<Piece>,
        sqe: Sqe,
        payload: Payload,
        (offset, length): (u64, u32),
    ) -> Result<(), HostError> {
        let cid = self.queue.submit(sqe, payload);
        window.push_back(Piece {
            cid: cid.map_err(|error| self.ended(error))?,
            offset,
            length,
            answered: None,
            refused: false,
        });
        Ok(())
    }

    /// Waits for an answer and keeps it until those before it are there.
    fn take_answer(&mut self, window: &mut VecDeque<Piece>, what: &str) -> Result<(), HostError> {
        let answer = self
            .queue
            .next_answer()
            .map_err(|error| self.ended(error))?;
        let Answer {
            cid,
            completion,
            data,
            ..
        } = answer;
        let mut waiting = window.iter_mut().filter(|piece| piece.answered.is_none());
        let Some(piece) = waiting.find(|piece| piece.cid == cid) else {
            return Err(HostError::nonsense("it answers a command twice"));
        };
        piece.answered = Some(data);
        let status = completion.status;
        if status.is_success() {
            return Ok(());
        }
        piece.refused = true;
        let (offset, length, nsid) = (piece.offset, piece.length, self.facts.nsid);
        let what = format!("to {what} {length} bytes at {offset} of namespace {nsid}");
        Err(HostError::Command { what, status })
    }

    fn ended(&self, error: QueueError) -> HostError {
        self.controller.io_ended(self.qid, error)
    }
}

/// The first piece of the window, once it is answered, and what came.
fn first_answered(window: &mut VecDeque<Piece>) -> Option<(Piece, Vec<u8>)> {
    let data = window.front_mut()?.answered.take()?;
    Some((window.pop_front()?, data))
}

/// Bytes that a command moves where nothing speaks for less.
const PIECE: u32 = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(max_transfer: Option<u64>, block_size: u32) -> (ControllerFacts, NamespaceFacts) {
        let controller = ControllerFacts {
            subnqn: "nqn".into(),
            cntlid: 1,
            kind: "io".into(),
            model: "".into(),
            serial: "".into(),
            firmware: "".into(),
            version: "2.0.0".into(),
            max_transfer,
            in_capsule: 0,
            max_entries: 128,
            max_nsid: 1,
            volatile_cache: false,
            keep_alive_ms: 0,
        };
        let namespace = NamespaceFacts {
            nsid: 3,
            block_size,
            blocks: 1 << 20,
            bytes: u64::from(block_size) << 20,
            metadata: 0,
            read_only: false,
            uuid: None,
            nguid: None,
            eui64: None,
        };
        (controller, namespace)
    }

    #[test]
    fn a_piece_is_whole_blocks_and_no_more_than_the_controller_moves() {
        let of = |max, block, wish| {
            let (controller, namespace) = facts(max, block);
            piece(&controller, &namespace, wish).map_err(|error| error.report())
        };
        assert_eq!(of(None, 512, PIECE), Ok(PIECE));
        assert_eq!(of(Some(8192), 512, PIECE), Ok(8192));
        assert_eq!(of(None, 4096, 10_000), Ok(8192));
        assert_eq!(of(None, 512, u32::MAX), Ok(512 << 16));
        assert!(
            of(Some(4096), 8192, PIECE)
                .unwrap_err()
                .contains("blocks of 8192")
        );
    }

    #[test]
    fn blocks_are_counted_from_zero_on_the_wire() {
        let (_, namespace) = facts(None, 4096);
        let sqe = command(nvm::READ, &namespace, 8192, 12_288);
        assert_eq!((sqe.nsid.get(), sqe.cdw10_11(), sqe.cdw12.get()), (3, 2, 2));
    }
}
