//! Our host half as load: one queue that is kept full.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvmf_proto::host::{Answer, Payload};
use nvmf_proto::opcode::nvm;
use nvmfd_tests::peer::{BLOCK, Host, HostOptions, PeerError, Qpair, nvm_sqe};
use nvmfd_tests::target::Target;

use crate::report::Round;

/// Bytes of the RAM disk.
pub(crate) const DISK: u64 = 256 << 20;

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the host.
    Read,
    /// To the program.
    Write,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) direction: Direction,
    /// Bytes of each command.
    pub(crate) length: u32,
    /// Commands outstanding.
    pub(crate) depth: u16,
    pub(crate) sequential: bool,
    /// Header and data digests.
    pub(crate) digests: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.sequential {
            "sequential"
        } else {
            "random"
        };
        let direction = match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        };
        let (kib, depth) = (self.length / 1024, self.depth);
        let digests = if self.digests { ", digests" } else { "" };
        write!(f, "{kib} KiB {order} {direction}, QD {depth}{digests}")
    }
}

/// Writes all of the disk, so that no read meets memory that is not there yet.
pub(crate) fn fill(target: &Target) -> Result<(), PeerError> {
    const PIECE: u32 = 1 << 20;
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::default())?;
    let data = Arc::new(vec![0xa5; PIECE as usize]);
    for piece in 0..DISK / u64::from(PIECE) {
        let lba = piece * u64::from(PIECE / BLOCK);
        let sqe = nvm_sqe(nvm::WRITE, lba, data.len());
        let answer = host.io[0].run(sqe, Payload::FromHost(Arc::clone(&data)))?;
        assert!(answer.completion.status.is_success());
    }
    Ok(())
}

/// Keeps `case.depth` commands outstanding for `time`.
pub(crate) fn run(target: &Target, case: &Case, time: Duration) -> Result<Round, PeerError> {
    let options = HostOptions {
        header_digest: case.digests,
        data_digest: case.digests,
        io_entries: u32::from(case.depth) + 1,
        ..HostOptions::default()
    };
    let mut host = Host::connect(target.io(), &target.nqn(), &options)?;
    let mut load = Load {
        case,
        queue: &mut host.io[0],
        next: 0x9e37_79b9_7f4a_7c15,
        data: Arc::new(vec![0x5a; case.length as usize]),
        began: vec![Instant::now(); usize::from(case.depth) + 1],
        latencies: Vec::with_capacity(1 << 20),
    };
    let began = Instant::now();
    for _ in 0..case.depth {
        load.submit(Vec::new(), began)?;
    }
    let mut elapsed = Duration::ZERO;
    while elapsed < time {
        // As many as have come are answered with as many new ones, all in one write.
        let mut answer = load.queue.next_answer()?;
        loop {
            let now = Instant::now();
            elapsed = now - began;
            load.take(answer, now)?;
            match load.queue.ready_answer()? {
                Some(another) => answer = another,
                None => break,
            }
        }
        load.queue.send()?;
    }
    Ok(Round::new(load.latencies, elapsed))
}

struct Load<'a> {
    case: &'a Case,
    queue: &'a mut Qpair,
    /// State of the generator of places, or the next place.
    next: u64,
    data: Arc<Vec<u8>>,
    /// When each outstanding command was submitted, by identifier.
    began: Vec<Instant>,
    latencies: Vec<u64>,
}

impl Load<'_> {
    fn submit(&mut self, buffer: Vec<u8>, now: Instant) -> Result<(), PeerError> {
        let places = DISK / u64::from(self.case.length);
        let place = if self.case.sequential {
            self.next = self.next.wrapping_add(1);
            self.next % places
        } else {
            self.next ^= self.next << 13;
            self.next ^= self.next >> 7;
            self.next ^= self.next << 17;
            (self.next >> 20) % places
        };
        let lba = place * u64::from(self.case.length / BLOCK);
        let length = self.case.length;
        let (opcode, payload) = match self.case.direction {
            Direction::Read => {
                let into = buffer;
                (nvm::READ, Payload::ToHost { length, into })
            }
            Direction::Write => (nvm::WRITE, Payload::FromHost(Arc::clone(&self.data))),
        };
        let cid = self
            .queue
            .submit(nvm_sqe(opcode, lba, length as usize), payload)?;
        self.began[usize::from(cid)] = now;
        Ok(())
    }

    fn take(&mut self, answer: Answer, now: Instant) -> Result<(), PeerError> {
        let status = answer.completion.status;
        assert!(status.is_success(), "{}: {status}", self.case);
        let latency = now - self.began[usize::from(answer.cid)];
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.push(nanoseconds);
        self.submit(answer.data, now)
    }
}
