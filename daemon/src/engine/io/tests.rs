//! Commands executed on a RAM disk, and on a disk that fails.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use nvmf_proto::nqn::Nqn;
use nvmf_proto::nvm::Geometry;
use nvmf_proto::opcode::nvm as opcode;
use nvmf_proto::sqe::Sqe;

use super::*;
use crate::engine::backend::ram::{Ram, RamSize};
use crate::engine::backend::{Backend, Character, DeviceSpec};
use crate::identity::NamespaceIds;

const BLOCK: usize = 512;

/// A RAM disk of 1 MiB whose health can be spoilt, and which counts its flushes.
struct Disk {
    ram: Ram,
    character: Character,
    fails_with: Option<io::ErrorKind>,
    flushes: AtomicUsize,
}

impl Disk {
    fn healthy() -> Self {
        let ram = Ram::new(RamSize::from_bytes(1 << 20).unwrap());
        let character = Character {
            volatile_cache: true,
            ..ram.character()
        };
        let flushes = AtomicUsize::new(0);
        Self {
            ram,
            character,
            fails_with: None,
            flushes,
        }
    }

    fn health(&self) -> io::Result<()> {
        self.fails_with.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl Backend for Disk {
    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }

    fn character(&self) -> Character {
        self.character
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.health().and_then(|()| self.ram.read(offset, into))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.health().and_then(|()| self.ram.write(offset, data))
    }

    fn write_zeroes(
        &self,
        offset: u64,
        length: u64,
        may_deallocate: bool,
        wanted: &AtomicBool,
    ) -> io::Result<()> {
        self.health().and_then(|()| {
            self.ram
                .write_zeroes(offset, length, may_deallocate, wanted)
        })
    }

    fn deallocate(&self, offset: u64, length: u64, wanted: &AtomicBool) -> io::Result<()> {
        self.health()
            .and_then(|()| self.ram.deallocate(offset, length, wanted))
    }

    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.health()
    }
}

fn namespace(disk: Arc<Disk>) -> Namespace {
    let device = DeviceSpec::Path("disk".into());
    Namespace::new(
        1,
        device,
        disk,
        NamespaceIds::new(&Nqn::discovery(), b"disk"),
    )
}

fn healthy() -> Namespace {
    namespace(Arc::new(Disk::healthy()))
}

fn errand(durable: bool, alive: &AtomicBool) -> Errand<'_> {
    Errand {
        host: [7; 16],
        durable,
        alive,
    }
}

/// Parses and executes an entry of `opcode` on `blocks` from `lba`; `change` does the rest.
fn run_with(
    namespace: &Namespace,
    opcode: u8,
    (lba, blocks): (u64, u32),
    data: &[u8],
    change: impl FnOnce(&mut Sqe),
) -> Result<Vec<u8>, Status> {
    let mut sqe = Sqe::new(opcode, 1);
    sqe.set_cdw10_11(lba);
    sqe.cdw12 = blocks.saturating_sub(1).into();
    change(&mut sqe);
    let command = Command::parse(&sqe, &namespace.geometry, 1 << 20)?;
    match execute(
        namespace,
        &command,
        data,
        &errand(false, &AtomicBool::new(true)),
    ) {
        Executed::Data(data) => Ok(data),
        Executed::Done(completion) if completion.status.is_success() => Ok(Vec::new()),
        Executed::Done(completion) => Err(completion.status),
        Executed::Fused(..) => panic!("nothing was fused"),
    }
}

fn run(
    namespace: &Namespace,
    opcode: u8,
    range: (u64, u32),
    data: &[u8],
) -> Result<Vec<u8>, Status> {
    run_with(namespace, opcode, range, data, |_| {})
}

#[test]
fn what_is_written_is_read_compared_zeroed_and_verified() {
    let namespace = healthy();
    let data = [0xa5; 2 * BLOCK];
    assert_eq!(run(&namespace, opcode::WRITE, (7, 2), &data), Ok(vec![]));
    assert_eq!(
        run(&namespace, opcode::READ, (7, 2), &[]),
        Ok(data.to_vec())
    );
    assert_eq!(run(&namespace, opcode::COMPARE, (7, 2), &data), Ok(vec![]));
    let other = run(&namespace, opcode::COMPARE, (7, 2), &[0xa4; 2 * BLOCK]);
    assert_eq!(other, Err(Status::COMPARE_FAILURE.dnr()));
    assert_eq!(run(&namespace, opcode::VERIFY, (7, 2), &[]), Ok(vec![]));
    assert_eq!(
        run(&namespace, opcode::WRITE_ZEROES, (8, 1), &[]),
        Ok(vec![])
    );
    let expected = [[0xa5; BLOCK], [0; BLOCK]].concat();
    assert_eq!(run(&namespace, opcode::READ, (7, 2), &[]), Ok(expected));
}

#[test]
fn ranges_are_deallocated_and_copied() {
    let namespace = healthy();
    run(&namespace, opcode::WRITE, (0, 8), &[1; 8 * BLOCK]).unwrap();
    // One range: 2 blocks from 4.
    let mut ranges = [0_u8; 16];
    ranges[4] = 2;
    ranges[8] = 4;
    let deallocate = |sqe: &mut Sqe| {
        sqe.cdw10 = 0.into();
        sqe.cdw11 = 4.into();
    };
    run_with(
        &namespace,
        opcode::DATASET_MANAGEMENT,
        (0, 1),
        &ranges,
        deallocate,
    )
    .unwrap();
    assert_eq!(
        run(&namespace, opcode::READ, (4, 2), &[]),
        Ok(vec![0; 2 * BLOCK])
    );
    // One source: 3 blocks from 2, to 100.
    let mut source = [0_u8; 32];
    source[8] = 2;
    source[16] = 2;
    run(&namespace, opcode::COPY, (100, 1), &source).unwrap();
    let expected = [[1; BLOCK], [1; BLOCK], [0; BLOCK]].concat();
    assert_eq!(run(&namespace, opcode::READ, (100, 3), &[]), Ok(expected));
}

#[test]
fn compare_and_write_writes_only_what_compared_equal() {
    let namespace = healthy();
    let extent = Extent::new(3, 1, &namespace.geometry).unwrap();
    let fused = |expected: &[u8], data: &[u8]| match execute_fused(
        &namespace,
        &extent,
        expected,
        data,
        &errand(false, &AtomicBool::new(true)),
    ) {
        Executed::Fused(first, second) => (first.status, second.status),
        Executed::Done(_) | Executed::Data(_) => panic!("a fused pair ends twice"),
    };
    let success = (Status::SUCCESS, Status::SUCCESS);
    assert_eq!(fused(&[0; BLOCK], &[1; BLOCK]), success);
    let missed = (Status::COMPARE_FAILURE.dnr(), Status::FUSED_FAILED);
    assert_eq!(fused(&[0; BLOCK], &[2; BLOCK]), missed);
    assert_eq!(
        run(&namespace, opcode::READ, (3, 1), &[]),
        Ok(vec![1; BLOCK])
    );
}

#[test]
fn compare_and_write_is_atomic_against_many_at_once() {
    const THREADS: usize = 4;
    const TURNS: u64 = 200;
    let namespace = healthy();
    let extent = Extent::new(0, 1, &namespace.geometry).unwrap();
    let block = |count: u64| {
        let mut block = [0_u8; BLOCK];
        block[..8].copy_from_slice(&count.to_le_bytes());
        block
    };
    // Every thread counts up by compare and write: no turn may be lost.
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    loop {
                        let seen = run(&namespace, opcode::READ, (0, 1), &[]).unwrap();
                        let count = u64::from_le_bytes(*seen.first_chunk().unwrap());
                        let (old, new) = (block(count), block(count + 1));
                        let alive = AtomicBool::new(true);
                        let errand = errand(false, &alive);
                        let executed = execute_fused(&namespace, &extent, &old, &new, &errand);
                        let Executed::Fused(first, _) = executed else {
                            panic!("not fused")
                        };
                        if first.status.is_success() {
                            break;
                        }
                    }
                }
            });
        }
    });
    let last = run(&namespace, opcode::READ, (0, 1), &[]).unwrap();
    assert_eq!(last, block(THREADS as u64 * TURNS));
}

#[test]
fn a_write_is_flushed_when_the_host_asks_for_it_and_only_then() {
    let disk = Arc::new(Disk::healthy());
    let namespace = namespace(Arc::clone(&disk));
    let flushes = || disk.flushes.load(Ordering::Relaxed);
    run(&namespace, opcode::WRITE, (0, 1), &[1; BLOCK]).unwrap();
    assert_eq!(flushes(), 0);
    let unit_access = |sqe: &mut Sqe| sqe.cdw12 = (1 << 30).into();
    run_with(&namespace, opcode::WRITE, (0, 1), &[1; BLOCK], unit_access).unwrap();
    assert_eq!(flushes(), 1, "Force Unit Access");
    run(&namespace, opcode::FLUSH, (0, 1), &[]).unwrap();
    assert_eq!(flushes(), 2);
    let write = Command::Write {
        extent: Extent::new(0, 1, &namespace.geometry).unwrap(),
        fua: false,
    };
    let alive = AtomicBool::new(true);
    execute(&namespace, &write, &[1; BLOCK], &errand(true, &alive));
    assert_eq!(flushes(), 3, "the host switched the cache off");
}

#[test]
fn what_the_medium_says_reaches_the_host() {
    let failing = |kind| {
        namespace(Arc::new(Disk {
            fails_with: Some(kind),
            ..Disk::healthy()
        }))
    };
    let broken = failing(io::ErrorKind::Other);
    let read = run(&broken, opcode::READ, (0, 1), &[]);
    assert_eq!(read, Err(Status::UNRECOVERED_READ_ERROR));
    let write = |namespace: &Namespace| run(namespace, opcode::WRITE, (0, 1), &[0; BLOCK]);
    assert_eq!(write(&broken), Err(Status::WRITE_FAULT));
    assert_eq!(
        run(&broken, opcode::FLUSH, (0, 1), &[]),
        Err(Status::WRITE_FAULT)
    );
    assert_eq!(
        write(&failing(io::ErrorKind::StorageFull)),
        Err(Status::CAPACITY_EXCEEDED.dnr())
    );
}

#[test]
fn a_read_only_namespace_refuses_whatever_changes_it() {
    let mut disk = Disk::healthy();
    disk.character.read_only = true;
    let namespace = namespace(Arc::new(disk));
    let protected = Err(Status::NAMESPACE_WRITE_PROTECTED.dnr());
    assert_eq!(
        run(&namespace, opcode::WRITE, (0, 1), &[0; BLOCK]),
        protected
    );
    assert_eq!(
        run(&namespace, opcode::WRITE_ZEROES, (0, 1), &[]),
        protected
    );
    assert_eq!(
        run(&namespace, opcode::READ, (0, 1), &[]),
        Ok(vec![0; BLOCK])
    );
}
