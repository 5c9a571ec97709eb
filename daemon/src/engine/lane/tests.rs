//! Which jobs can be taken, with others under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use nvmf_proto::nqn::Nqn;

use super::*;
use crate::engine::backend::DeviceSpec;
use crate::engine::backend::ram::{Ram, RamSize};
use crate::engine::namespace::Namespace;
use crate::identity::NamespaceIds;
use crate::worker::message::ConnectionId;

struct Bench {
    lane: Lane,
    namespace: Arc<Namespace>,
}

impl Bench {
    fn new() -> Self {
        let size = RamSize::from_bytes(1 << 20).unwrap();
        let ids = NamespaceIds::new(&Nqn::discovery(), b"disk");
        let disk = Arc::new(Ram::new(size));
        Self {
            lane: Lane::default(),
            namespace: Arc::new(Namespace::new(1, DeviceSpec::Ram(size), disk, ids)),
        }
    }

    /// Adds a command, known by `token`.
    fn push(&self, token: usize, command: Command, data: Vec<u8>) -> Arc<AtomicBool> {
        let alive = Arc::new(AtomicBool::new(true));
        let job = self.job(token, command, data, &alive);
        assert!(self.lane.push(job).is_ok());
        alive
    }

    fn job(&self, token: usize, command: Command, data: Vec<u8>, alive: &Arc<AtomicBool>) -> Job {
        Job {
            connection: ConnectionId {
                reactor: 0,
                token,
                generation: 1,
            },
            tag: None,
            host: [7; 16],
            alive: Arc::clone(alive),
            life: Arc::default(),
            task: Task::Command {
                namespace: Arc::clone(&self.namespace),
                command,
                data,
                durable: false,
            },
        }
    }

    fn write(&self, token: usize, lba: u64, blocks: u64) -> Arc<AtomicBool> {
        let extent = Extent { lba, blocks };
        self.push(token, Command::Write { extent, fua: false }, Vec::new())
    }

    fn read(&self, token: usize, lba: u64, blocks: u64) {
        let extent = Extent { lba, blocks };
        self.push(token, Command::Read { extent }, Vec::new());
    }

    /// The next job, which there must be.
    fn take(&self) -> (usize, Running<'_>) {
        assert!(self.has_one(), "nothing can be taken");
        let (job, running) = self.lane.take().unwrap();
        (job.connection.token, running)
    }

    /// Whether a job could be taken now.
    fn has_one(&self) -> bool {
        let mut state = self.lane.lock();
        let Some(next) = state.next() else {
            return false;
        };
        state.waiting.push_front(next);
        true
    }
}

#[test]
fn a_write_waits_for_what_came_before_it_and_touches_its_blocks() {
    let it = Bench::new();
    it.write(1, 0, 8);
    let (_, hangs) = it.take();
    it.write(2, 7, 2);
    it.read(3, 8, 1);
    it.write(4, 100, 1);
    // The read comes after a write that waits, and would see what was before it.
    let (token, _elsewhere) = it.take();
    assert_eq!(token, 4);
    assert!(!it.has_one());
    drop(hangs);
    let (token, second) = it.take();
    assert_eq!(token, 2);
    assert!(!it.has_one());
    drop(second);
    assert_eq!(it.take().0, 3);
}

#[test]
fn reads_wait_for_no_reads_and_for_no_deallocation() {
    let it = Bench::new();
    it.read(1, 0, 8);
    let (_, _reading) = it.take();
    it.read(2, 0, 8);
    let (token, _reading_too) = it.take();
    assert_eq!(token, 2);
    // One range: 8 blocks from 0.
    let mut ranges = vec![0; 16];
    ranges[4] = 8;
    let deallocate = Command::DatasetManagement {
        ranges: 1,
        deallocate: true,
    };
    it.push(3, deallocate, ranges);
    let (token, _deallocating) = it.take();
    assert_eq!(token, 3);
    it.write(4, 4, 1);
    assert!(!it.has_one());
}

/// A Dataset Management of one block from each of these.
fn deallocation(blocks: &[u32]) -> (Command, Vec<u8>) {
    let range = |lba: &u32| {
        let mut range = [0; 16];
        range[4] = 1;
        range[8..12].copy_from_slice(&lba.to_le_bytes());
        range
    };
    let command = Command::DatasetManagement {
        ranges: blocks.len().try_into().unwrap(),
        deallocate: true,
    };
    (command, blocks.iter().flat_map(range).collect())
}

#[test]
fn of_few_ranges_each_is_looked_at_and_of_many_the_whole() {
    let it = Bench::new();
    let (command, data) = deallocation(&[10, 20]);
    it.push(1, command, data);
    let (_, _deallocating) = it.take();
    it.write(2, 15, 1);
    assert_eq!(it.take().0, 2);

    let many: Vec<_> = (0..256).map(|at| 1000 + 2 * at).collect();
    let (command, data) = deallocation(&many);
    let touch = Touch::of_command(&command, &data, &it.namespace.geometry);
    assert!(touch.uses().len() <= EXTENTS_MAX);
    it.push(3, command, data);
    let (_, deallocating) = it.take();
    // Before the first, behind the last, and one between two.
    it.write(4, 999, 1);
    assert_eq!(it.take().0, 4);
    it.write(5, 1511, 1);
    assert_eq!(it.take().0, 5);
    it.write(6, 1001, 1);
    assert!(!it.has_one());
    drop(deallocating);
    assert_eq!(it.take().0, 6);
}

#[test]
fn of_a_copy_with_many_sources_the_whole_and_the_destination_are_looked_at() {
    let it = Bench::new();
    // One block each, every second from 0.
    let mut sources = vec![0; 32 * 128];
    for (source, lba) in sources.chunks_mut(32).zip((0_u8..).step_by(2)) {
        source[8] = lba;
    }
    let copy = Command::Copy {
        destination: 1000,
        ranges: 128,
        fua: false,
    };
    let touch = Touch::of_command(&copy, &sources, &it.namespace.geometry);
    assert!(touch.uses().len() <= EXTENTS_MAX + 1);
    for (lba, waits) in [(1, true), (300, false), (1127, true), (1128, false)] {
        it.push(1, copy, sources.clone());
        let (_, copying) = it.take();
        it.write(2, lba, 1);
        assert_eq!(!it.has_one(), waits, "{lba}");
        drop(copying);
        assert_eq!(it.take().0, 2);
    }
}

#[test]
fn a_copy_waits_for_its_sources_and_its_destination() {
    let it = Bench::new();
    // One source: 2 blocks from 8, to 100.
    let mut source = vec![0; 32];
    source[8] = 8;
    source[16] = 1;
    let copy = || Command::Copy {
        destination: 100,
        ranges: 1,
        fua: false,
    };
    for lba in [9, 101] {
        it.write(1, lba, 1);
        let (_, writing) = it.take();
        it.push(2, copy(), source.clone());
        assert!(!it.has_one());
        drop(writing);
        assert_eq!(it.take().0, 2);
    }
}

#[test]
fn what_nobody_waits_for_is_dropped_and_keeps_nobody() {
    let it = Bench::new();
    it.write(1, 0, 8);
    let (_, hangs) = it.take();
    let lost = it.write(2, 0, 16);
    it.write(3, 12, 1);
    assert!(!it.has_one());
    lost.store(false, Ordering::Release);
    assert_eq!(it.take().0, 3);
    drop(hangs);
    assert_eq!(it.lane.waiting(), 0);
}

#[test]
fn what_nobody_waits_for_is_dropped_without_a_thread() {
    let it = Bench::new();
    it.write(1, 0, 8);
    let (_, _hangs) = it.take();
    let lost: Vec<_> = (0..3).map(|_| it.write(2, 0, 16)).collect();
    it.write(3, 0, 1);
    for one in &lost {
        one.store(false, Ordering::Release);
    }
    it.lane.sweep();
    assert_eq!(it.lane.waiting(), 1);
    // Nothing of them is left: whoever lost them has the last.
    assert!(lost.iter().all(|one| Arc::strong_count(one) == 1));
}

#[test]
fn a_closed_lane_takes_nothing() {
    let it = Bench::new();
    it.lane.close();
    let job = it.job(1, Command::Flush, Vec::new(), &Arc::default());
    let refused = it.lane.push(job).unwrap_err();
    assert_eq!(refused.connection.token, 1);
    assert!(it.lane.take().is_none());
}

#[test]
fn a_lane_that_closes_is_emptied_first() {
    let it = Bench::new();
    it.write(1, 0, 8);
    let (_, hangs) = it.take();
    it.write(2, 0, 8);
    it.lane.close();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut taken = Vec::new();
                    while let Some((job, _running)) = it.lane.take() {
                        taken.push(job.connection.token);
                    }
                    taken
                })
            })
            .collect();
        drop(hangs);
        let taken = threads.into_iter().flat_map(|it| it.join().unwrap());
        assert_eq!(taken.collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn a_thread_that_panics_gives_its_blocks_back() {
    let it = Bench::new();
    it.write(1, 0, 8);
    it.write(2, 0, 8);
    thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let _running = it.lane.take();
            panic!("on purpose");
        });
        assert!(panics.join().is_err());
    });
    assert_eq!(it.take().0, 2);
}

#[test]
fn many_threads_do_all_jobs_and_those_that_meet_in_the_order_in_which_they_came() {
    const JOBS: usize = 1000;
    let it = Bench::new();
    // Few blocks, so that they meet often: what was done last to each, by whom.
    let blocks: [AtomicUsize; 8] = Default::default();
    let done = AtomicUsize::new(0);
    let perform = |job: &Job| {
        let Touch::One((used, extent)) = Touch::of(&job.task) else {
            panic!("only reads and writes were pushed")
        };
        let writes = used == Use::Write;
        let [lba, count] = [extent.lba, extent.blocks].map(|it| usize::try_from(it).unwrap());
        let touched = &blocks[lba..][..count];
        for block in touched {
            let last = block.load(Ordering::SeqCst);
            assert!(last <= job.connection.token, "{last} was overtaken");
            if writes {
                block.store(job.connection.token, Ordering::SeqCst);
            }
        }
        thread::yield_now();
        // Nobody else was here meanwhile.
        let seen = touched.iter().map(|block| block.load(Ordering::SeqCst));
        let ours = |seen: usize| !writes || seen == job.connection.token;
        assert!(seen.into_iter().all(ours));
        done.fetch_add(1, Ordering::SeqCst);
    };
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut taken = it.lane.take();
                while let Some((job, running)) = taken {
                    perform(&job);
                    taken = running.next().or_else(|| it.lane.take());
                }
            });
        }
        let mut random: u64 = 1;
        for token in 1..=JOBS {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (lba, blocks) = ((random >> 33) % 6, 1 + (random >> 40) % 3);
            match (random >> 50) % 2 {
                0 => it.read(token, lba, blocks),
                _ => drop(it.write(token, lba, blocks)),
            }
            if token % 64 == 0 {
                thread::yield_now();
            }
        }
        it.lane.close();
    });
    assert_eq!(done.load(Ordering::SeqCst), JOBS);
}
