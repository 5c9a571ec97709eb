//! What one I/O queue does, over all its connections: commands by chance, and the judgement of their answers.
//!
//! No two commands that are under way touch the same block, so each answer is judged by what is known when it
//! comes.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nvmf_proto::host::{Answer, Payload};
use nvmf_proto::opcode::nvm;
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{PeerError, Qpair, nvm_sqe};
use socket2::SockRef;

use crate::oracle::{BYTES, Extent, Version, ZEROES};
use crate::tally::Tally;

/// Blocks of the longest command: 1 MiB.
pub(crate) const LONGEST: usize = (1 << 20) / BYTES;

/// Commands under way, at the most.
const DEPTH: usize = 8;

/// Force Unit Access.
const FUA: u32 = 1 << 30;

/// The queue and what belongs to it.
#[derive(Debug)]
pub(crate) struct Work {
    /// For people.
    name: String,
    /// Its own, and behind them those that nobody writes.
    extents: Vec<Extent>,
    own: usize,
    chance: Rng,
    under_way: HashMap<u16, Command>,
    /// How long one command after the other, so that all together keep to the rate.
    interval: Duration,
}

#[derive(Debug)]
struct Command {
    extent: usize,
    range: Range<usize>,
    what: What,
    asked: Instant,
}

/// What a command does to its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Read,
    Write(Version),
    /// Write Zeroes, or deallocation, after which the daemon promises zeroes.
    WriteZeroes,
    Deallocate,
    Compare,
    /// Compare with what is not there.
    Differ,
    Verify,
    Flush,
}

impl Work {
    pub(crate) fn new(
        name: String,
        own: Vec<Extent>,
        shared: Vec<Extent>,
        chance: Rng,
        interval: Duration,
    ) -> Self {
        Self {
            name,
            own: own.len(),
            extents: own.into_iter().chain(shared).collect(),
            chance,
            under_way: HashMap::new(),
            interval,
        }
    }

    /// Goes on until this time.
    pub(crate) fn go_on(
        &mut self,
        queue: &mut Qpair,
        until: Instant,
        tally: &Tally,
    ) -> Result<(), PeerError> {
        let mut due = Instant::now();
        while !tally.is_over() {
            let now = Instant::now();
            if now >= until {
                break;
            }
            if now >= due && self.under_way.len() < DEPTH {
                due = now + self.interval * self.begin_some(queue)?;
            } else if self.under_way.is_empty() {
                sleep((due - now).min(until - now).min(Duration::from_millis(50)));
            } else {
                let answer = queue.next_answer()?;
                self.ended(&answer, tally);
            }
        }
        Ok(())
    }

    /// Begins several commands at once, or a queue that keeps to a rate would never have two; how many.
    pub(crate) fn begin_some(&mut self, queue: &mut Qpair) -> Result<u32, PeerError> {
        let burst = self.chance.u32(1..=8);
        for _ in 0..burst {
            self.begin_any(queue)?;
        }
        Ok(burst)
    }

    /// Waits for whatever is under way.
    pub(crate) fn finish(&mut self, queue: &mut Qpair, tally: &Tally) -> Result<(), PeerError> {
        while !self.under_way.is_empty() {
            let answer = queue.next_answer()?;
            self.ended(&answer, tally);
        }
        Ok(())
    }

    /// The connection has ended: nobody will ever know of what was under way.
    pub(crate) fn lose(&mut self, tally: &Tally) {
        let now = Instant::now();
        for (_, command) in self.under_way.drain() {
            let version = match command.what {
                What::Write(version) => version,
                What::WriteZeroes | What::Deallocate => ZEROES,
                What::Read | What::Compare | What::Differ | What::Verify | What::Flush => continue,
            };
            self.extents[command.extent].lost(command.range, version, now);
            tally.counts.lost.one();
        }
    }

    /// Sends a write's capsule in part, after which the connection must be closed. What did not arrive whole
    /// must not happen: there is nothing to lose.
    pub(crate) fn begin_and_break_off(&mut self, queue: &mut Qpair) -> Result<(), PeerError> {
        let Some((extent, range)) = self.choose(self.own, 8) else {
            return Ok(());
        };
        queue.send_all()?;
        let data = self.extents[extent].data(range.clone(), Version::MAX);
        let sqe = self.sqe(nvm::WRITE, extent, &range);
        queue.submit(sqe, Payload::FromHost(Arc::new(data)))?;
        let bytes: Vec<u8> = queue.queue().outbox().pieces().flatten().copied().collect();
        let part = self.chance.usize(1..bytes.len());
        // Sockets' buffers may be full, which cuts it even shorter.
        match SockRef::from(&*queue).send(&bytes[..part]) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Writes everything once.
    pub(crate) fn fill(&mut self, queue: &mut Qpair, tally: &Tally) -> Result<(), PeerError> {
        for extent in 0..self.own {
            for first in (0..self.extents[extent].len()).step_by(LONGEST) {
                let range = first..(first + LONGEST).min(self.extents[extent].len());
                self.begin(queue, extent, range, What::Write(ZEROES))?;
                self.finish(queue, tally)?;
            }
        }
        Ok(())
    }

    /// Reads everything once; when nothing is unsettled any more, nothing is unsure afterwards.
    pub(crate) fn read_all(&mut self, queue: &mut Qpair, tally: &Tally) -> Result<(), PeerError> {
        for extent in 0..self.extents.len() {
            for first in (0..self.extents[extent].len()).step_by(LONGEST) {
                let range = first..(first + LONGEST).min(self.extents[extent].len());
                self.begin(queue, extent, range, What::Read)?;
                self.finish(queue, tally)?;
            }
        }
        Ok(())
    }

    /// Its own extents.
    pub(crate) fn own(&mut self) -> &mut [Extent] {
        &mut self.extents[..self.own]
    }

    fn begin_any(&mut self, queue: &mut Qpair) -> Result<(), PeerError> {
        if self.under_way.len() >= DEPTH {
            return Ok(());
        }
        let what = match self.chance.u8(0..100) {
            0..42 => What::Read,
            42..80 => What::Write(ZEROES),
            80..84 => What::WriteZeroes,
            84..88 => What::Deallocate,
            88..93 => What::Compare,
            93..95 => What::Differ,
            95..98 => What::Verify,
            _ => What::Flush,
        };
        let among = match what {
            What::Read | What::Compare | What::Differ | What::Verify => self.extents.len(),
            What::Write(_) | What::WriteZeroes | What::Deallocate | What::Flush => self.own,
        };
        let longest = match self.chance.u8(0..100) {
            0..20 => 1,
            20..65 => 8,
            65..96 => 128,
            _ => LONGEST,
        };
        match self.choose(among, longest) {
            Some((extent, range)) => self.begin(queue, extent, range, what),
            None => Ok(()),
        }
    }

    /// Blocks that no other command touches; none if chance would have it otherwise.
    fn choose(&mut self, among: usize, longest: usize) -> Option<(usize, Range<usize>)> {
        let extent = self.chance.usize(..among);
        let all = self.extents[extent].len();
        let length = self.chance.usize(1..=longest.min(all));
        let first = self.chance.usize(..=all - length);
        let touches = |other: &Command| {
            other.extent == extent && other.range.start < first + length && first < other.range.end
        };
        let free = !self.under_way.values().any(touches);
        free.then_some((extent, first..first + length))
    }

    fn begin(
        &mut self,
        queue: &mut Qpair,
        extent: usize,
        range: Range<usize>,
        mut what: What,
    ) -> Result<(), PeerError> {
        let asked = Instant::now();
        let it = &mut self.extents[extent];
        match what {
            What::Write(_) | What::WriteZeroes | What::Deallocate
                if it.settles(range.clone(), asked) =>
            {
                what = What::Read;
            }
            What::Write(_) => what = What::Write(it.next_version()),
            What::Compare | What::Differ if it.known(range.clone()).is_none() => what = What::Read,
            What::Read
            | What::WriteZeroes
            | What::Deallocate
            | What::Compare
            | What::Differ
            | What::Verify
            | What::Flush => {}
        }
        let (sqe, payload) = self.command(what, extent, &range);
        let cid = match queue.submit(sqe, payload) {
            Ok(cid) => cid,
            // A short queue: another time.
            Err(PeerError::Misuse(_)) => return Ok(()),
            Err(other) => return Err(other),
        };
        let command = Command {
            extent,
            range,
            what,
            asked,
        };
        self.under_way.insert(cid, command);
        queue.send()
    }

    fn sqe(&self, opcode: u8, extent: usize, range: &Range<usize>) -> Sqe {
        let it = &self.extents[extent];
        let mut sqe = nvm_sqe(opcode, it.lba(range.start), range.len() * BYTES);
        sqe.nsid = it.nsid.into();
        sqe
    }

    /// A command as it is sent.
    fn command(&mut self, what: What, extent: usize, range: &Range<usize>) -> (Sqe, Payload) {
        let length = u32::try_from(range.len() * BYTES).expect("at most 1 MiB");
        let fua = self.chance.u8(..) < 16;
        let it = &self.extents[extent];
        let from_host = |data| Payload::FromHost(Arc::new(data));
        match what {
            What::Read => {
                let into = Vec::new();
                let payload = Payload::ToHost { length, into };
                (self.sqe(nvm::READ, extent, range), payload)
            }
            What::Write(version) => {
                let data = it.data(range.clone(), version);
                let mut sqe = self.sqe(nvm::WRITE, extent, range);
                if fua {
                    sqe.cdw12 = (sqe.cdw12.get() | FUA).into();
                }
                (sqe, from_host(data))
            }
            What::WriteZeroes => (self.sqe(nvm::WRITE_ZEROES, extent, range), Payload::None),
            What::Deallocate => {
                let blocks = u32::try_from(range.len()).expect("at most 1 MiB");
                let mut data = vec![0; 4];
                data.extend(blocks.to_le_bytes());
                data.extend(it.lba(range.start).to_le_bytes());
                let mut sqe = Sqe::new(nvm::DATASET_MANAGEMENT, 0);
                sqe.nsid = it.nsid.into();
                sqe.cdw11 = 0b100.into();
                (sqe, from_host(data))
            }
            What::Compare | What::Differ => {
                let mut data = it.known(range.clone()).expect("it was looked at");
                if what == What::Differ {
                    let at = self.chance.usize(..data.len());
                    data[at] ^= 0x80;
                }
                (self.sqe(nvm::COMPARE, extent, range), from_host(data))
            }
            What::Verify => (self.sqe(nvm::VERIFY, extent, range), Payload::None),
            What::Flush => {
                let mut sqe = Sqe::new(nvm::FLUSH, 0);
                sqe.nsid = it.nsid.into();
                (sqe, Payload::None)
            }
        }
    }

    /// Judges an answer.
    fn ended(&mut self, answer: &Answer, tally: &Tally) {
        let Some(command) = self.under_way.remove(&answer.cid) else {
            return tally.fault(format!("{}: an answer to nothing: {answer:?}", self.name));
        };
        let Command {
            extent,
            range,
            what,
            asked,
        } = command;
        let status = answer.completion.status;
        let as_it_must_be = match what {
            What::Differ => status.is(Status::COMPARE_FAILURE),
            What::Read
            | What::Write(_)
            | What::WriteZeroes
            | What::Deallocate
            | What::Compare
            | What::Verify
            | What::Flush => status.is_success(),
        };
        if !as_it_must_be {
            let it = &self.extents[extent];
            let (nsid, lba) = (it.nsid, it.lba(range.start));
            return tally.fault(format!(
                "{}: {what:?} of {} blocks at {lba} of namespace {nsid}: {status}",
                self.name,
                range.len()
            ));
        }
        let bytes = (range.len() * BYTES) as u64;
        let it = &mut self.extents[extent];
        match what {
            What::Read => match it.read(range, &answer.data, asked) {
                Ok(resolved) => {
                    tally.counts.read.add(bytes);
                    tally.resolved(resolved);
                }
                Err(corruption) => tally.fault(format!("{}: {corruption}", self.name)),
            },
            What::Write(version) => {
                it.written(range, version);
                tally.counts.written.add(bytes);
            }
            What::WriteZeroes | What::Deallocate => it.written(range, ZEROES),
            What::Flush => tally.counts.flushes.one(),
            What::Compare | What::Differ | What::Verify => {}
        }
        tally.counts.commands.one();
    }
}
