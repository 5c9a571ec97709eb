//! The healthy host: it was there before, and writes, reads what it wrote and keeps alive all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nvmf_proto::nqn::Nqn;
use nvmfd_tests::peer::{BLOCK, Host, HostOptions, PATIENCE, PeerError};

use crate::scene::Result;

/// Blocks of each of its queues, from block 0: nobody else writes there.
const REGION: u64 = 8 * PLACE;

/// Blocks that one round writes: 64 KiB, of which the first 4 KiB go within their capsule.
const PLACE: u64 = 128;
const SMALL: usize = 4096;

/// Its I/O queues.
const QUEUES: u16 = 3;

/// How long the target may hear nothing from it.
const KATO: Duration = Duration::from_secs(5);

/// Between two rounds, so that the stories are not about its load.
const PACE: Duration = Duration::from_millis(2);

/// The first block that is not the healthy host's.
pub(crate) const FREE: u64 = REGION * QUEUES as u64;

/// A host in a thread of its own.
pub(crate) struct Healthy {
    rounds: Arc<AtomicU64>,
    end: SyncSender<()>,
    thread: Option<JoinHandle<Result>>,
}

impl Healthy {
    /// Connects with digests and several queues, and does not stop any more.
    pub(crate) fn connect(at: std::net::SocketAddr, subnqn: &Nqn) -> Result<Self> {
        let options = HostOptions {
            header_digest: true,
            data_digest: true,
            kato: KATO,
            io_queues: QUEUES,
            ..HostOptions::named(999)
        };
        let host = Host::connect(at, subnqn, &options)?;
        let (end, ends) = sync_channel(1);
        let rounds = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&rounds);
        let thread = thread::spawn(move || Life::new(host).live(&counted, &ends));
        Ok(Self {
            rounds,
            end,
            thread: Some(thread),
        })
    }

    /// Whole rounds begin and end.
    ///
    /// # Panics
    /// If they do not, or anything was wrong before.
    pub(crate) fn goes_on(&mut self) -> Result {
        let enough = self.rounds.load(Ordering::SeqCst) + 2;
        let deadline = Instant::now() + PATIENCE;
        while self.rounds.load(Ordering::SeqCst) < enough {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                self.leave()?;
                panic!("the healthy host has left");
            }
            assert!(Instant::now() < deadline, "a healthy host is not served");
            thread::sleep(PACE);
        }
        Ok(())
    }

    /// Looks at all that it wrote once more, and goes.
    pub(crate) fn leave(&mut self) -> Result {
        // It may have ended by itself; then its thread says why.
        let _ = self.end.try_send(());
        match self.thread.take() {
            Some(thread) => thread.join().expect("no panic in the healthy host"),
            None => Ok(()),
        }
    }
}

/// What it does there.
struct Life {
    host: Host,
    round: u64,
    kept_alive: Instant,
}

impl Life {
    fn new(host: Host) -> Self {
        Self {
            host,
            round: 0,
            kept_alive: Instant::now(),
        }
    }

    fn live(mut self, rounds: &AtomicU64, end: &Receiver<()>) -> Result {
        while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(PACE) {
            self.write()?;
            self.verify(self.round)?;
            self.verify(self.round.saturating_sub(REGION / PLACE - 1))?;
            self.keep_alive()?;
            self.round += 1;
            rounds.store(self.round, Ordering::SeqCst);
        }
        let last = self.round.saturating_sub(1);
        for round in last.saturating_sub(REGION / PLACE - 1)..=last {
            if self.round > 0 {
                self.verify(round)?;
            }
        }
        self.host.shut_down()?;
        Ok(())
    }

    /// All queues at once.
    fn write(&mut self) -> Result {
        for (number, queue) in (0..).zip(&mut self.host.io) {
            let data = pattern(number, self.round);
            let lba = place(number, self.round);
            let after = lba + (SMALL as u64) / u64::from(BLOCK);
            assert!(queue.write(lba, data[..SMALL].to_vec())?.is_success());
            assert!(queue.write(after, data[SMALL..].to_vec())?.is_success());
        }
        Ok(())
    }

    fn verify(&mut self, round: u64) -> Result {
        for (number, queue) in (0..).zip(&mut self.host.io) {
            let expected = pattern(number, round);
            let read = queue.read(place(number, round), expected.len())?;
            let read = read.expect("a healthy host is served");
            assert!(read == expected, "round {round} of queue {number} is lost");
        }
        Ok(())
    }

    /// On time, and answered in time.
    fn keep_alive(&mut self) -> std::result::Result<(), PeerError> {
        if self.kept_alive.elapsed() < KATO / 10 {
            return Ok(());
        }
        let asked = Instant::now();
        assert!(self.host.keep_alive()?.status.is_success());
        let took = asked.elapsed();
        assert!(took < KATO, "a Keep Alive took {took:?}");
        self.kept_alive = Instant::now();
        Ok(())
    }
}

fn place(queue: u64, round: u64) -> u64 {
    queue * REGION + round % (REGION / PLACE) * PLACE
}

/// What no other round and no other block has.
fn pattern(queue: u64, round: u64) -> Vec<u8> {
    let words = (0..PLACE * u64::from(BLOCK) / 8).map(|word| queue << 56 ^ round << 24 ^ word);
    words.flat_map(u64::to_le_bytes).collect()
}
