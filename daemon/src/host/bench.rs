//! A queue that is kept full for a while, and what became of its commands.
//!
//! Only what completes between begin and end counts, and each command's time runs from its
//! submission to its answer, the time in our own queue included: what a program would see.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;

use super::disk::command;
use super::error::{HostError, QueueError};
use super::facts::NamespaceFacts;
use super::input::Pattern;
use super::latency::Latencies;
use super::qpair::Qpair;
use super::stop::Stop;

/// What one queue does.
#[derive(Debug, Clone)]
pub struct Load {
    /// The namespace.
    pub namespace: NamespaceFacts,
    /// The bytes that are used.
    pub range: Range<u64>,
    /// Bytes of each command.
    pub length: u32,
    /// Commands outstanding.
    pub depth: usize,
    /// Whether one follows the other.
    pub sequential: bool,
    /// Reads in a hundred.
    pub reads: u8,
    /// Tells queues apart.
    pub seed: u64,
}

/// What became of a load.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Reads that completed.
    pub reads: Latencies,
    /// Writes that did.
    pub writes: Latencies,
}

/// Why a load ended early.
#[derive(Debug)]
pub enum Failure {
    /// The queue did.
    Queue(QueueError),
    /// A command was refused, or the target makes no sense.
    Command(HostError),
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl Load {
    /// Keeps the queue full until the time is over, or until we should stop; then awaits what is
    /// still out.
    ///
    /// # Errors
    /// The first that happened: a figure with failures in it would be none.
    pub fn run(&self, queue: &mut Qpair, end: Instant, stop: &Stop) -> Result<Done, Failure> {
        let mut done = Done::default();
        let mut choice = Choice::new(self);
        let mut out: Vec<Option<Out>> = Vec::new();
        let mut outstanding = 0;
        loop {
            let mut now = Instant::now();
            let over = now >= end || stop.is_wished();
            while !over && outstanding < self.depth && queue.queue().room() != 0 {
                let (read, offset) = choice.next();
                let buffer = choice.spare.pop().unwrap_or_default();
                let cid = self.submit(queue, read, offset, buffer, &choice.data)?;
                let slot = usize::from(cid);
                out.resize_with(out.len().max(slot + 1), || None);
                out[slot] = Some(Out { read, since: now });
                outstanding += 1;
            }
            if outstanding == 0 {
                if over {
                    return Ok(done);
                }
                let what = "all commands are answered and yet its queue is full";
                return Err(Failure::Command(HostError::nonsense(what)));
            }
            let mut answer = match queue.next_answer() {
                // What was measured until then is worth telling.
                Err(QueueError::Stopped) => return Ok(done),
                answer => Some(answer?),
            };
            now = Instant::now();
            while let Some(its) = answer {
                let taken = out.get_mut(usize::from(its.cid)).and_then(Option::take);
                let Some(Out { read, since }) = taken else {
                    let error = HostError::nonsense("it answers a command twice");
                    return Err(Failure::Command(error));
                };
                outstanding -= 1;
                let status = its.completion.status;
                if !status.is_success() {
                    let way = if read { "read" } else { "write" };
                    let what = format!("to {way} {} bytes", self.length);
                    return Err(Failure::Command(HostError::Command { what, status }));
                }
                if now <= end {
                    let which = match read {
                        true => &mut done.reads,
                        false => &mut done.writes,
                    };
                    which.record(now - since);
                }
                choice.spare.push(its.data);
                answer = queue.ready_answer()?;
            }
        }
    }

    fn submit(
        &self,
        queue: &mut Qpair,
        read: bool,
        offset: u64,
        into: Vec<u8>,
        data: &Arc<Vec<u8>>,
    ) -> Result<u16, QueueError> {
        let length = self.length;
        let (opcode, payload) = match read {
            true => (nvm::READ, Payload::ToHost { length, into }),
            false => (nvm::WRITE, Payload::FromHost(Arc::clone(data))),
        };
        queue.submit(command(opcode, &self.namespace, offset, length), payload)
    }
}

/// A command that is out.
#[derive(Debug)]
struct Out {
    read: bool,
    since: Instant,
}

/// What comes next.
#[derive(Debug)]
struct Choice {
    range: Range<u64>,
    length: u64,
    sequential: bool,
    reads: u64,
    cursor: u64,
    random: u64,
    /// What is written, always the same.
    data: Arc<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Choice {
    fn new(load: &Load) -> Self {
        let mut data = Vec::new();
        if load.reads < 100 {
            Pattern(load.seed).append(&mut data, 0, load.length as usize);
        }
        Self {
            range: load.range.clone(),
            length: load.length.into(),
            sequential: load.sequential,
            reads: load.reads.into(),
            cursor: 0,
            random: load.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            data: Arc::new(data),
            spare: Vec::new(),
        }
    }

    /// Whether to read, and where. The range has room for one command at least.
    fn next(&mut self) -> (bool, u64) {
        let places = ((self.range.end - self.range.start) / self.length).max(1);
        let place = match self.sequential {
            true => self.cursor % places,
            false => self.draw() % places,
        };
        self.cursor = place + 1;
        let read = match self.reads {
            0 => false,
            100 => true,
            reads => self.draw() % 100 < reads,
        };
        (read, self.range.start + place * self.length)
    }

    /// Xorshift: fast, and random enough to defeat a cache.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(sequential: bool, reads: u64) -> Choice {
        Choice {
            range: 8192..8192 + 10 * 4096 + 100,
            length: 4096,
            sequential,
            reads,
            cursor: 0,
            random: 7,
            data: Arc::new(Vec::new()),
            spare: Vec::new(),
        }
    }

    #[test]
    fn a_sequence_begins_again_at_its_end() {
        let mut choice = choice(true, 100);
        let places: Vec<_> = (0..12).map(|_| choice.next()).collect();
        assert_eq!(places[0], (true, 8192));
        assert_eq!(places[9], (true, 8192 + 9 * 4096));
        assert_eq!(places[10], places[0]);
    }

    #[test]
    fn chance_meets_every_place_and_keeps_the_mix() {
        let mut choice = choice(false, 70);
        let drawn: Vec<_> = (0..10_000).map(|_| choice.next()).collect();
        for place in 0..10 {
            let at = 8192 + place * 4096;
            let hits = drawn.iter().filter(|(_, offset)| *offset == at).count();
            assert!((700..1300).contains(&hits), "{place}: {hits}");
        }
        let reads = drawn.iter().filter(|(read, _)| *read).count();
        assert!((6700..7300).contains(&reads), "{reads}");
    }
}
