//! The host that is measured, and its Keep Alives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;
use nvmfd_tests::peer::{BLOCK, Host, HostOptions, PeerError, nvm_sqe};
use nvmfd_tests::target::Target;

use crate::figures::percentile;

/// Bytes of the RAM disk.
pub(crate) const DISK: u64 = 64 << 20;

/// Commands outstanding at a time, in turn.
pub(crate) const DEPTHS: [u16; 2] = [1, 8];

/// What one turn gave, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Latency that half of the commands did not exceed.
    pub(crate) p50: f64,
    /// Latency that 99 of 100 did not exceed.
    pub(crate) p99: f64,
    /// Latency of the slowest Keep Alive.
    pub(crate) keep_alive: f64,
}

/// Two hosts: one reads, one keeps alive.
pub(crate) struct Honest {
    reader: Host,
    keeper: Host,
    /// State of the generator of places.
    next: u64,
}

/// Writes all of the disk, so that no read meets memory that is not there yet.
pub(crate) fn fill(target: &Target) -> Result<(), PeerError> {
    const PIECE: u32 = 1 << 20;
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::default())?;
    let data = Arc::new(vec![0xa5; PIECE as usize]);
    for piece in 0..DISK / u64::from(PIECE) {
        let lba = piece * u64::from(PIECE / BLOCK);
        let payload = Payload::FromHost(Arc::clone(&data));
        let answer = host.io[0].run(nvm_sqe(nvm::WRITE, lba, data.len()), payload)?;
        assert!(answer.completion.status.is_success());
    }
    Ok(())
}

impl Honest {
    pub(crate) fn connect(target: &Target) -> Result<Self, PeerError> {
        let connect = |number, io_queues| {
            let options = HostOptions {
                io_queues,
                ..HostOptions::named(number)
            };
            Host::connect(target.io(), &target.nqn(), &options)
        };
        Ok(Self {
            reader: connect(1, 1)?,
            keeper: connect(2, 0)?,
            next: 0x9e37_79b9_7f4a_7c15,
        })
    }

    /// Reads for so long at each depth.
    pub(crate) fn measure(&mut self, time: Duration) -> Result<[Turn; 2], PeerError> {
        let ends = AtomicBool::new(false);
        let Self {
            reader,
            keeper,
            next,
        } = self;
        let mut turns = Vec::new();
        for depth in DEPTHS {
            ends.store(false, Ordering::Relaxed);
            let (latencies, keep_alive) = thread::scope(|scope| {
                let keeping = scope.spawn(|| keep_alive(keeper, &ends));
                let latencies = read(reader, next, depth, time);
                ends.store(true, Ordering::Relaxed);
                let slowest = keeping.join().expect("the keeper");
                Ok::<_, PeerError>((latencies?, slowest?))
            })?;
            turns.push(Turn {
                p50: percentile(&latencies, 50),
                p99: percentile(&latencies, 99),
                keep_alive: keep_alive.as_secs_f64() * 1e6,
            });
        }
        Ok([turns[0], turns[1]])
    }
}

/// Sends Keep Alives until the end. How long the slowest took.
fn keep_alive(host: &mut Host, ends: &AtomicBool) -> Result<Duration, PeerError> {
    let mut slowest = Duration::ZERO;
    while !ends.load(Ordering::Relaxed) {
        let began = Instant::now();
        assert!(host.keep_alive()?.status.is_success());
        slowest = slowest.max(began.elapsed());
        // A pace, not a wait: hosts send one now and then.
        thread::sleep(Duration::from_millis(10));
    }
    Ok(slowest)
}

/// Keeps `depth` reads of 4 KiB outstanding for `time`. Their latencies, sorted, in nanoseconds.
fn read(
    host: &mut Host,
    next: &mut u64,
    depth: u16,
    time: Duration,
) -> Result<Vec<u64>, PeerError> {
    const LENGTH: u32 = 4096;
    let queue = &mut host.io[0];
    let mut began = vec![Instant::now(); usize::from(u16::MAX)];
    let mut latencies = Vec::with_capacity(1 << 16);
    let start = Instant::now();
    let mut outstanding = 0;
    let mut buffers = vec![Vec::new(); usize::from(depth)];
    loop {
        while start.elapsed() < time
            && let Some(into) = buffers.pop()
        {
            *next ^= *next << 13;
            *next ^= *next >> 7;
            *next ^= *next << 17;
            let lba = (*next >> 20) % (DISK / u64::from(LENGTH)) * u64::from(LENGTH / BLOCK);
            let payload = Payload::ToHost {
                length: LENGTH,
                into,
            };
            let cid = queue.submit(nvm_sqe(nvm::READ, lba, LENGTH as usize), payload)?;
            began[usize::from(cid)] = Instant::now();
            outstanding += 1;
        }
        if outstanding == 0 {
            latencies.sort_unstable();
            return Ok(latencies);
        }
        queue.send()?;
        let mut answer = queue.next_answer()?;
        loop {
            assert!(answer.completion.status.is_success());
            let latency = began[usize::from(answer.cid)].elapsed();
            latencies.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
            buffers.push(answer.data);
            outstanding -= 1;
            match queue.ready_answer()? {
                Some(another) => answer = another,
                None => break,
            }
        }
    }
}
