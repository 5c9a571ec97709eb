//! What is on stable storage when it is answered, and what is remembered of what is not.

use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use nvmfd::engine::backend::ram::{Ram, RamSize};
use nvmfd::engine::fault::Operation::{Flush, Write};
use nvmfd_tests::peer::{Host, HostOptions, Qpair, nvm_sqe};

use crate::injected::Event::{Began, Ended};
use crate::injected::{Injected, SIZE};
use crate::scene::{PATIENCE, PIECE, Result, Scene, namespace};

/// VWC: byte 525 of Identify Controller, bit 0.
fn has_volatile_cache(host: &mut Host) -> Result<bool> {
    Ok(host.identify(0x01, 0)?[525] & 1 != 0)
}

/// The command that was sent is not answered before the flush that it waits for has ended.
fn is_answered_after_the_flush(queue: &mut Qpair, disk: &Injected, cid: u16) -> Result {
    disk.await_begun(Flush, 1);
    // A command that comes later is answered: the other could have been.
    assert!(queue.read(512, PIECE)?.is_ok());
    let early = queue.ready_answer()?;
    assert!(early.is_none(), "{early:?}");
    disk.release();
    let answer = queue.await_answer(cid)?;
    assert!(answer.completion.status.is_success());
    let events = disk.events();
    assert!(events.contains(&Ended(Flush, 0)), "{events:?}");
    Ok(())
}

fn fua_write() -> Sqe {
    let mut sqe = nvm_sqe(nvm::WRITE, 0, PIECE);
    sqe.cdw12 = (sqe.cdw12.get() | 1 << 30).into();
    sqe
}

#[test]
fn a_write_is_acknowledged_when_the_backend_took_it_and_without_a_flush() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    disk.hang(Write, 1);
    let queue = &mut host.io[0];
    let payload = Payload::FromHost(Arc::new(vec![1; PIECE]));
    let cid = queue.submit(nvm_sqe(nvm::WRITE, 0, PIECE), payload)?;
    queue.send_all()?;
    disk.await_begun(Write, 1);
    assert!(queue.read(512, PIECE)?.is_ok());
    assert!(queue.ready_answer()?.is_none());
    disk.release();
    assert!(queue.await_answer(cid)?.completion.status.is_success());
    assert_eq!(disk.holds(0, PIECE), [1; PIECE]);
    let events = disk.events();
    assert!(!events.contains(&Began(Flush, 0)), "{events:?}");
    Ok(())
}

#[test]
fn flush_and_forced_unit_access_are_answered_after_the_backend_has_flushed() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    let queue = &mut host.io[0];
    disk.hang(Flush, 1);
    let mut flush = Sqe::new(nvm::FLUSH, 0);
    flush.nsid = 1.into();
    let cid = queue.submit(flush, Payload::None)?;
    queue.send_all()?;
    is_answered_after_the_flush(queue, &disk, cid)?;

    disk.hang(Flush, 1);
    let payload = Payload::FromHost(Arc::new(vec![1; PIECE]));
    let cid = queue.submit(fua_write(), payload)?;
    queue.send_all()?;
    is_answered_after_the_flush(queue, &disk, cid)
}

#[test]
fn with_the_write_cache_off_every_write_is_answered_after_a_flush() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    assert!(host.set_feature(0x06, 0)?.status.is_success());
    disk.hang(Flush, 1);
    let queue = &mut host.io[0];
    let payload = Payload::FromHost(Arc::new(vec![1; PIECE]));
    let cid = queue.submit(nvm_sqe(nvm::WRITE, 0, PIECE), payload)?;
    queue.send_all()?;
    is_answered_after_the_flush(queue, &disk, cid)?;
    assert!(queue.write_zeroes(0, PIECE)?.is_success());
    assert!(queue.copy(&[(0, 8)], 100)?.is_success());
    let flushes = disk
        .events()
        .into_iter()
        .filter(|it| *it == Ended(Flush, 0));
    assert_eq!(flushes.count(), 2);
    Ok(())
}

#[test]
fn a_host_that_was_told_of_no_cache_need_not_flush_what_comes_later() -> Result {
    let size = RamSize::from_bytes(SIZE).expect("whole blocks");
    let memory = namespace(1, Arc::new(Ram::new(size)));
    let scene = Scene::with(vec![Arc::clone(&memory)]);
    let mut host = scene.connect(&HostOptions::default())?;
    assert!(!has_volatile_cache(&mut host)?);

    let disk = Arc::new(Injected::new());
    scene.serve(vec![memory, namespace(2, disk.clone())]);
    let mut write = nvm_sqe(nvm::WRITE, 0, PIECE);
    write.nsid = 2.into();
    let payload = || Payload::FromHost(Arc::new(vec![1; PIECE]));
    let answer = host.io[0].run(write, payload())?;
    assert!(answer.completion.status.is_success());
    let durable = [
        Began(Write, 0),
        Ended(Write, 0),
        Began(Flush, 0),
        Ended(Flush, 0),
    ];
    assert_eq!(disk.events(), durable);

    // An operator's tool has looked again, and what writes has not heard of it.
    assert!(has_volatile_cache(&mut host)?);
    let answer = host.io[0].run(write, payload())?;
    assert!(answer.completion.status.is_success());
    assert_eq!(disk.events(), durable);

    // Once it has connected again it knows better.
    drop(host);
    let mut host = scene.connect(&HostOptions::default())?;
    assert!(has_volatile_cache(&mut host)?);
    let answer = host.io[0].run(write, payload())?;
    assert!(answer.completion.status.is_success());
    assert_eq!(disk.events(), [Began(Write, 0), Ended(Write, 0)]);
    Ok(())
}

#[test]
fn lost_writes_are_told_to_every_host_once_also_to_one_that_was_away() -> Result {
    let (scene, disk) = Scene::injected();
    let mut first = scene.connect(&HostOptions::named(1))?;
    let mut second = scene.connect(&HostOptions::named(2))?;
    let away = scene.connect(&HostOptions::named(3))?;
    for host in [&mut first, &mut second] {
        assert!(host.io[0].write(0, vec![1; PIECE])?.is_success());
    }
    drop(away);
    disk.fail(Flush, Errno::EIO);
    assert_eq!(first.io[0].flush()?, Status::WRITE_FAULT);
    disk.heal();
    // The medium works again, and only who has been told may believe it.
    assert!(first.io[0].flush()?.is_success());
    assert_eq!(second.io[0].flush()?, Status::WRITE_FAULT);
    assert!(second.io[0].flush()?.is_success());
    let mut away = scene.connect(&HostOptions::named(3))?;
    let payload = Payload::FromHost(Arc::new(vec![1; PIECE]));
    let told = away.io[0].run(fua_write(), payload)?;
    assert_eq!(told.completion.status, Status::WRITE_FAULT);
    assert!(away.io[0].flush()?.is_success());
    // Another connection of a host that was told is no other host.
    drop(first);
    let mut first = scene.connect(&HostOptions::named(1))?;
    assert!(first.io[0].flush()?.is_success());
    Ok(())
}

#[test]
fn lost_writes_are_told_to_a_host_that_was_cut_off_when_they_were_lost() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    assert!(host.io[0].write(0, vec![1; PIECE])?.is_success());
    disk.hang(Flush, 1);
    let mut flush = Sqe::new(nvm::FLUSH, 0);
    flush.nsid = 1.into();
    host.io[0].submit(flush, Payload::None)?;
    host.io[0].send_all()?;
    disk.await_begun(Flush, 1);
    drop(host);
    scene.await_nobody();
    disk.fail(Flush, Errno::EIO);
    disk.release();
    let deadline = Instant::now() + PATIENCE;
    while !disk.events().contains(&Ended(Flush, 0)) {
        assert!(Instant::now() < deadline, "the flush hangs");
        std::thread::yield_now();
    }
    disk.heal();
    // Its host sends again what was not answered.
    let mut host = scene.connect(&HostOptions::default())?;
    assert_eq!(host.io[0].flush()?, Status::WRITE_FAULT);
    assert!(host.io[0].flush()?.is_success());
    Ok(())
}

#[test]
fn a_shutdown_that_loses_writes_is_remembered() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    assert!(host.io[0].write(0, vec![1; PIECE])?.is_success());
    disk.fail(Flush, Errno::ENOSPC);
    host.shut_down()?;
    disk.heal();
    let mut host = scene.connect(&HostOptions::default())?;
    assert_eq!(host.io[0].flush()?, Status::CAPACITY_EXCEEDED.dnr());
    assert!(host.io[0].flush()?.is_success());
    Ok(())
}
