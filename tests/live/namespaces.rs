//! Namespaces that come, go and grow under hosts that use others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;
use nvmf_proto::status::Status;
use nvmfd::config::model::Access;
use nvmfd::engine::backend::{self, DeviceSpec, Opened};
use nvmfd::engine::namespace::Namespace;
use nvmfd_tests::peer::{HostOptions, Qpair, nvm_sqe};

use crate::stage::{
    NAMESPACES_CHANGED, Result, Stage, active, blocks, changed, event, listen, namespace, ram,
    was_told_nothing,
};

const PIECE: usize = 4096;

/// Often enough that a command is between its look at the namespace and its thread.
const GROWTHS: u64 = 500;

fn write(queue: &mut Qpair, nsid: u32, lba: u64, data: &[u8]) -> Result<Status> {
    let mut sqe = nvm_sqe(nvm::WRITE, lba, data.len());
    sqe.nsid = nsid.into();
    let answer = queue.run(sqe, Payload::FromHost(Arc::new(data.to_vec())))?;
    Ok(answer.completion.status)
}

fn read(queue: &mut Qpair, nsid: u32, lba: u64) -> Result<(Status, Vec<u8>)> {
    let mut sqe = nvm_sqe(nvm::READ, lba, PIECE);
    sqe.nsid = nsid.into();
    let payload = Payload::ToHost {
        length: u32::try_from(PIECE).expect("a transfer"),
        into: Vec::new(),
    };
    let answer = queue.run(sqe, payload)?;
    Ok((answer.completion.status, answer.data))
}

fn file(bytes: u64) -> (tempfile::NamedTempFile, Opened) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(bytes).expect("space");
    let device = DeviceSpec::Path(file.path().into());
    let opened = backend::open(&device, Access::ReadWrite).expect("a file");
    (file, opened)
}

/// As the process that serves has it: made of a descriptor and of facts.
fn served(nsid: u32, opened: &Opened) -> Namespace {
    let descriptor = opened.descriptor().expect("a file has one");
    let descriptor = descriptor.try_clone_to_owned().expect("a descriptor");
    let facts = opened.look_again().expect("a file");
    let backend = backend::from_parts(facts, Some(descriptor)).expect("a file");
    namespace(nsid, DeviceSpec::Path("file".into()), backend)
}

#[test]
fn a_namespace_appears_under_a_live_host() -> Result {
    let mut stage = Stage::start();
    let mut host = stage.connect(&HostOptions::default())?;
    assert_eq!(active(&mut host)?, [1]);
    let told = listen(&mut host)?;
    was_told_nothing(&mut host)?;
    let queue = &mut host.io[0];
    assert!(read(queue, 3, 0)?.0.is(Status::INVALID_NAMESPACE));

    stage.subsystem().namespaces().push(ram(3, 2 << 20));
    stage.apply();
    assert_eq!(event(&mut host, told)?, NAMESPACES_CHANGED);
    assert_eq!(changed(&mut host)?, [3]);
    assert_eq!(active(&mut host)?, [1, 3]);
    assert_eq!(blocks(&mut host, 3)?, 4096);
    let queue = &mut host.io[0];
    assert!(write(queue, 3, 8, &[7; PIECE])?.is_success());
    assert_eq!(read(queue, 3, 8)?.1, [7; PIECE]);

    // What does not change is not told.
    let _told = listen(&mut host)?;
    stage.apply();
    was_told_nothing(&mut host)?;
    assert!(changed(&mut host)?.is_empty());
    Ok(())
}

#[test]
fn hosts_of_other_subsystems_and_of_discovery_are_not_told() -> Result {
    use crate::stage::{Wanted, Wish};
    use nvmfd_tests::peer::Host;
    let mut stage = Stage::start();
    let other = "nqn.2014-08.org.example:other";
    let engine = Wish::user([ram(1, 1 << 20)]);
    stage.subsystems.push(Wanted::new(other, [1], engine));
    stage.apply();
    let (options, other) = (HostOptions::default(), other.parse().expect("a name"));
    let mut others = Host::connect(stage.address(1), &other, &options)?;
    let discovery = nvmf_proto::nqn::Nqn::discovery();
    let mut looking = Host::connect_admin(stage.address(2), &discovery, &options)?;
    looking.enable()?;
    listen(&mut others)?;
    listen(&mut looking)?;
    stage.subsystem().namespaces().push(ram(2, 1 << 20));
    stage.apply();
    was_told_nothing(&mut others)?;
    was_told_nothing(&mut looking)
}

#[test]
fn a_namespace_goes_while_io_goes_on_everywhere() -> Result {
    let mut stage = Stage::start();
    let (_file, opened) = file(1 << 20);
    let on_disk = Arc::new(served(2, &opened));
    let namespaces = stage.subsystem().namespaces();
    namespaces.extend([on_disk, ram(3, 1 << 20)]);
    stage.apply();
    let options = HostOptions {
        io_queues: 3,
        ..HostOptions::default()
    };
    let mut host = stage.connect(&options)?;
    let told = listen(&mut host)?;
    let [stays, on_disk, in_memory] = std::mem::take(&mut host.io)
        .try_into()
        .expect("three queues");
    let goes_on = AtomicBool::new(true);
    let started = std::sync::Barrier::new(4);
    // Writes and reads until there is no such namespace, or it is told to end.
    let use_it = |nsid: u32, mut queue: Qpair| -> Result<Option<Status>> {
        let mut turn: u64 = 0;
        while goes_on.load(Ordering::Relaxed) {
            turn += 1;
            let lba = 8 * (turn % 16);
            let data = [turn.to_le_bytes()[0]; PIECE];
            let written = write(&mut queue, nsid, lba, &data)?;
            if !written.is_success() {
                return Ok(Some(written));
            }
            let (status, found) = read(&mut queue, nsid, lba)?;
            if !status.is_success() {
                return Ok(Some(status));
            }
            assert_eq!(found, data);
            if turn == 16 {
                started.wait();
            }
        }
        Ok(None)
    };
    thread::scope(|scope| {
        let stays = scope.spawn(|| use_it(1, stays));
        let going = [(2, on_disk), (3, in_memory)];
        let going = going.map(|(nsid, queue)| {
            let use_it = &use_it;
            scope.spawn(move || use_it(nsid, queue))
        });
        started.wait();
        stage.subsystem().namespaces().truncate(1);
        stage.apply();
        for it in going {
            let ended = it.join().expect("no panic")?.expect("it is gone");
            assert!(ended.is(Status::INVALID_NAMESPACE), "{ended}");
            assert!(ended.is_dnr());
        }
        goes_on.store(false, Ordering::Relaxed);
        assert_eq!(stays.join().expect("no panic")?, None);
        assert_eq!(event(&mut host, told)?, NAMESPACES_CHANGED);
        assert_eq!(changed(&mut host)?, [2, 3]);
        assert_eq!(active(&mut host)?, [1]);
        Ok(())
    })
}

#[test]
fn a_file_grows_and_keeps_what_it_holds() -> Result {
    let mut stage = Stage::start();
    let (file, opened) = file(1 << 20);
    stage
        .subsystem()
        .namespaces()
        .push(Arc::new(served(2, &opened)));
    stage.apply();
    let mut host = stage.connect(&HostOptions::default())?;
    let told = listen(&mut host)?;
    assert!(write(&mut host.io[0], 2, 0, &[1; PIECE])?.is_success());
    let beyond = (1 << 20) / 512;
    let refused = write(&mut host.io[0], 2, beyond, &[2; PIECE])?;
    assert!(refused.is(Status::LBA_OUT_OF_RANGE), "{refused}");

    file.as_file().set_len(2 << 20).expect("space");
    let namespaces = stage.subsystem().namespaces();
    let grown = served(2, &opened).succeeding(&namespaces[1]);
    namespaces[1] = Arc::new(grown);
    stage.apply();
    assert_eq!(event(&mut host, told)?, NAMESPACES_CHANGED);
    assert_eq!(changed(&mut host)?, [2]);
    assert_eq!(active(&mut host)?, [1, 2]);
    assert_eq!(blocks(&mut host, 2)?, 2 * beyond);
    let queue = &mut host.io[0];
    assert!(write(queue, 2, beyond, &[2; PIECE])?.is_success());
    assert_eq!(read(queue, 2, beyond)?.1, [2; PIECE]);
    assert_eq!(read(queue, 2, 0)?.1, [1; PIECE]);
    Ok(())
}

#[test]
fn a_file_that_grows_again_and_again_fails_no_command() -> Result {
    let mut stage = Stage::start();
    let (file, opened) = file(1 << 20);
    stage.subsystem().namespaces()[0] = Arc::new(served(1, &opened));
    stage.apply();
    let options = HostOptions {
        io_queues: 4,
        ..HostOptions::default()
    };
    let mut host = stage.connect(&options)?;
    let queues = std::mem::take(&mut host.io);
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let goes_on = &goes_on;
        let writers: Vec<_> = queues
            .into_iter()
            .map(|mut queue| {
                scope.spawn(move || -> Result {
                    while goes_on.load(Ordering::Relaxed) {
                        let status = write(&mut queue, 1, 0, &[1; PIECE])?;
                        assert!(status.is_success(), "{status}");
                    }
                    Ok(())
                })
            })
            .collect();
        for grown in 1..=GROWTHS {
            let bytes = (1 << 20) + grown * 512;
            file.as_file().set_len(bytes).expect("space");
            let namespaces = stage.subsystem().namespaces();
            namespaces[0] = Arc::new(served(1, &opened).succeeding(&namespaces[0]));
            stage.apply();
        }
        goes_on.store(false, Ordering::Relaxed);
        for writer in writers {
            writer.join().expect("an error was answered")?;
        }
        Ok(())
    })
}

#[test]
fn a_subsystem_that_goes_ends_connections_and_fails_no_command() -> Result {
    let mut stage = Stage::start();
    let (_file, opened) = file(1 << 20);
    stage.subsystem().namespaces()[0] = Arc::new(served(1, &opened));
    stage.apply();
    let options = HostOptions {
        io_queues: 4,
        ..HostOptions::default()
    };
    let mut host = stage.connect(&options)?;
    let queues = std::mem::take(&mut host.io);
    let started = std::sync::Barrier::new(1 + queues.len());
    thread::scope(|scope| {
        let started = &started;
        let writers: Vec<_> = queues
            .into_iter()
            .map(|mut queue| {
                scope.spawn(move || {
                    for turn in 0.. {
                        match write(&mut queue, 1, 8 * (turn % 16), &[1; PIECE]) {
                            Ok(status) => assert!(status.is_success(), "{status}"),
                            Err(_) => break,
                        }
                        if turn == 16 {
                            started.wait();
                        }
                    }
                })
            })
            .collect();
        started.wait();
        stage.subsystems.clear();
        stage.apply();
        for writer in writers {
            writer.join().expect("an error was answered");
        }
    });
    Ok(())
}
