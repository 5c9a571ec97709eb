//! The real program with disks: loop devices whose files have no space, are cut off, and grow again.
//!
//! What a host writes to them is in the system's cache when it is acknowledged, so that it is a flush
//! that finds out: which is what hosts flush for.

use std::path::Path;

use nvmf_proto::status::Status;
use nvmfd::engine::fault::Operation;

use crate::files::{Result, connect, failing, fill, piece, serving, until_it_says, verify};
use crate::places::{Loop, SmallFileSystem, resize};

/// Size of the disks, and pieces of them, as in `files`.
const SIZE: u64 = 8 << 20;
const PIECES: u64 = 128;
const BLOCKS: u64 = 128;

#[test]
#[ignore = "needs Linux, root and loop devices"]
fn a_disk_without_space_fails_the_flush_and_one_that_came_back_takes_all_again() -> Result {
    let small = SmallFileSystem::of("2m");
    let file = small.sparse(SIZE);
    let disk = Loop::over(&file);
    let target = serving(Path::new(disk.path()));
    let mut host = connect(&target)?;
    let queue = &mut host.io[0];
    // The system may find out before all is written.
    let early = fill(queue)?;
    let failed = queue.flush()?;
    assert!(!failed.is_success(), "{early:?}");
    let (fault, full) = (Status::WRITE_FAULT, Status::CAPACITY_EXCEEDED);
    assert!(failed.is(fault) || failed.is(full), "{failed}");
    assert_eq!(failing(&target), [Operation::Flush]);
    target.says("flushes fail");

    small.resize("16m");
    // Its host was told, and writes again what it had not flushed.
    assert_eq!(fill(queue)?, None);
    assert!(queue.flush()?.is_success());
    let stored = std::fs::read(&file)?;
    for (index, found) in (0..PIECES).zip(stored.chunks(64 << 10)) {
        assert!(found == piece(index), "piece {index} is not stored");
    }
    until_it_says(&target, "flushes work again", || {
        assert!(queue.flush()?.is_success());
        Ok(())
    })?;
    assert!(failing(&target).is_empty());
    Ok(())
}

#[test]
#[ignore = "needs Linux, root and loop devices"]
fn a_disk_that_shrank_fails_where_nothing_is_and_works_when_it_has_grown() -> Result {
    let directory = tempfile::tempdir()?;
    let file = crate::places::sparse(&directory.path().join("disk"), SIZE);
    let disk = Loop::over(&file);
    let target = serving(Path::new(disk.path()));
    let mut host = connect(&target)?;
    let queue = &mut host.io[0];
    assert_eq!(fill(queue)?, None);
    assert!(queue.flush()?.is_success());
    resize(&file, SIZE / 2);
    disk.look_again();
    let beyond = PIECES / 2 * BLOCKS;
    let read = queue.read(beyond, 4096)?;
    assert_eq!(read, Err(Status::UNRECOVERED_READ_ERROR));
    // Linux has no space there.
    let written = queue.write(beyond, piece(0))?;
    assert_eq!(written, Status::CAPACITY_EXCEEDED.dnr());
    verify(queue, PIECES / 2)?;
    target.says("reads fail");

    resize(&file, SIZE);
    disk.look_again();
    assert_eq!(fill(queue)?, None);
    assert!(queue.flush()?.is_success());
    verify(queue, PIECES)
}
