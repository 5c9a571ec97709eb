//! The real program with files: on a full file system, cut off, unlinked, replaced.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nvmf_proto::status::Status;
use nvmfd::engine::fault::Operation;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, Qpair};
use nvmfd_tests::target::{Setup, Target, configuration};

use crate::places::{SmallFileSystem, resize, sparse};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Size of the disks.
const SIZE: u64 = 8 << 20;

/// Bytes and blocks of a piece.
const PIECE: usize = 64 << 10;
const BLOCKS: u64 = PIECE as u64 / 512;

/// How long the daemon may take to say that storage works again: nothing must have failed for a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon that serves a device.
pub(crate) fn serving(device: &Path) -> Target {
    Target::with(&Setup {
        devices: vec![device.to_string_lossy().into_owned()],
        ..Setup::default()
    })
}

pub(crate) fn connect(target: &Target) -> Result<Host> {
    Ok(Host::connect(
        target.io(),
        &target.nqn(),
        &HostOptions::default(),
    )?)
}

/// Writes pieces that can be told apart, from the first to the last, until one fails; which, and how.
pub(crate) fn fill(queue: &mut Qpair) -> Result<Option<(u64, Status)>> {
    for index in 0..SIZE / PIECE as u64 {
        let status = queue.write(index * BLOCKS, piece(index))?;
        if !status.is_success() {
            return Ok(Some((index, status)));
        }
    }
    Ok(None)
}

/// The pieces up to `end` are as they were written.
pub(crate) fn verify(queue: &mut Qpair, end: u64) -> Result {
    for index in 0..end {
        let found = queue.read(index * BLOCKS, PIECE)?;
        assert!(found == Ok(piece(index)), "piece {index}");
    }
    Ok(())
}

pub(crate) fn piece(index: u64) -> Vec<u8> {
    vec![index.to_le_bytes()[0].wrapping_add(1); PIECE]
}

/// What the daemon tells operators that fails, of its one namespace.
pub(crate) fn failing(target: &Target) -> Vec<Operation> {
    let status = operator::status(&target.socket());
    let namespace = &status.subsystems[0].namespaces[0];
    let failing = namespace.failing.iter();
    failing.map(|it| it.operation).collect()
}

/// Does it until the daemon says this.
pub(crate) fn until_it_says(
    target: &Target,
    text: &str,
    mut perform: impl FnMut() -> Result,
) -> Result {
    let deadline = Instant::now() + PATIENCE;
    while !target.log().contains(text) {
        assert!(Instant::now() < deadline, "nvmfd does not say {text:?}");
        perform()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs Linux and root, to mount a small file system"]
fn a_full_file_system_is_told_as_such_and_all_is_well_when_there_is_space() -> Result {
    let small = SmallFileSystem::of("2m");
    let target = serving(&small.sparse(SIZE));
    let mut host = connect(&target)?;
    let queue = &mut host.io[0];
    let (full, status) = fill(queue)?.expect("there is no space for all of it");
    assert_eq!(status, Status::CAPACITY_EXCEEDED.dnr());
    // What was acknowledged is there, and goes on being changed.
    verify(queue, full)?;
    assert!(queue.write(0, piece(0))?.is_success());
    for _ in 0..100 {
        let status = queue.write(full * BLOCKS, piece(full))?;
        assert_eq!(status, Status::CAPACITY_EXCEEDED.dnr());
    }
    assert_eq!(failing(&target), [Operation::Write]);
    // One line, however many fail.
    assert_eq!(target.log().matches("writes fail").count(), 1);
    assert!(target.log().contains("No space left on device"));

    small.resize("16m");
    assert!(queue.write(full * BLOCKS, piece(full))?.is_success());
    assert_eq!(fill(queue)?, None);
    assert!(queue.flush()?.is_success());
    verify(queue, SIZE / PIECE as u64)?;
    until_it_says(&target, "writes work again", || {
        assert!(queue.write(0, piece(0))?.is_success());
        Ok(())
    })?;
    assert!(failing(&target).is_empty());
    Ok(())
}

#[test]
fn a_file_that_was_cut_off_fails_there_and_is_not_made_long_again() -> Result {
    let directory = tempfile::tempdir()?;
    let path = sparse(&directory.path().join("disk"), SIZE);
    let target = serving(&path);
    let mut host = connect(&target)?;
    let queue = &mut host.io[0];
    assert_eq!(fill(queue)?, None);
    resize(&path, SIZE / 2);
    let half = SIZE / 2 / PIECE as u64;
    let (beyond, last) = (half * BLOCKS, SIZE / 512 - BLOCKS);
    for lba in [beyond, last] {
        let read = queue.read(lba, PIECE)?;
        assert_eq!(read, Err(Status::UNRECOVERED_READ_ERROR));
        assert_eq!(queue.write(lba, piece(0))?, Status::WRITE_FAULT);
        assert_eq!(queue.write_zeroes(lba, PIECE)?, Status::WRITE_FAULT);
    }
    assert_eq!(fs::metadata(&path)?.len(), SIZE / 2);
    target.says("reads fail");
    target.says("was cut off");
    assert_eq!(failing(&target), [Operation::Read, Operation::Write]);
    verify(queue, half)?;

    resize(&path, SIZE);
    assert_eq!(fill(queue)?, None);
    verify(queue, SIZE / PIECE as u64)?;
    Ok(())
}

#[test]
fn a_volatile_write_cache_is_told_where_there_is_one() -> Result {
    let directory = tempfile::tempdir()?;
    let path = sparse(&directory.path().join("disk"), SIZE);
    let file = format!("path = \"{}\"", path.display());
    let expected = [
        ("ram = \"8m\"".into(), 0),
        (format!("{file}\nread-only = true"), 0),
        (file, 1),
    ];
    let mut target: Option<Target> = None;
    for (storage, present) in expected {
        let config = configuration(&storage, "");
        match &target {
            Some(target) => drop(target.reload(&config).expect("it is served")),
            None => {
                target = Some(Target::with(&Setup {
                    config: Some(config),
                    ..Setup::default()
                }));
            }
        }
        let target = target.as_ref().expect("it runs");
        // VWC: byte 525 of Identify Controller, bit 0.
        let controller = connect(target)?.identify(0x01, 0)?;
        assert_eq!(controller[525] & 1, present, "{storage}");
    }
    Ok(())
}

#[test]
fn a_file_that_was_unlinked_goes_on_until_another_takes_its_place() -> Result {
    let directory = tempfile::tempdir()?;
    let path = sparse(&directory.path().join("disk"), SIZE);
    let config = configuration(&format!("path = \"{}\"", path.display()), "");
    let target = Target::with(&Setup {
        config: Some(config.clone()),
        ..Setup::default()
    });
    let mut host = connect(&target)?;
    assert_eq!(fill(&mut host.io[0])?, None);
    fs::remove_file(&path)?;
    verify(&mut host.io[0], SIZE / PIECE as u64)?;
    // The operator is told, and hosts go on with what is open.
    let refused = target.reload(&config).expect_err("there is no such file");
    assert!(refused.text.contains("disk"), "{refused:?}");
    let failed = operator::status(&target.socket()).reload_failed;
    assert!(failed.is_some_and(|why| why.contains("disk")));
    assert!(host.io[0].write(0, piece(7))?.is_success());
    assert!(host.io[0].flush()?.is_success());
    assert_eq!(host.io[0].read(0, PIECE)?, Ok(piece(7)));

    // Another file is another disk, and said to be.
    sparse(&path, SIZE);
    let plan = target.reload(&config).expect("there is one again");
    let mut steps = plan.steps.iter();
    assert!(
        steps.any(|step| step.what.contains("was replaced")),
        "{plan:?}"
    );
    assert_eq!(host.io[0].read(0, PIECE)?, Ok(vec![0; PIECE]));
    Ok(())
}
