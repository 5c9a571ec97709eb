//! Peers that make the target wait, or whom it makes wait: full queues, slow storage, its clock.

use std::fs::File;
use std::io::Read;
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nvmf_proto::host::Payload;
use nvmf_proto::opcode::{admin, nvm};
use nvmf_proto::pdu::flags;
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmfd_tests::peer::{Host, HostOptions, Raw, nvm_sqe};
use nvmfd_tests::target::Setup;
use tempfile::TempDir;

use crate::scene::{Result, SLACK, Scene, configure};

#[test]
fn a_full_queue_answers_the_command_that_filled_it_and_sees_its_peer_go() -> Result {
    let scene = Scene::new()?;
    let (host, mut wishes) = scene.without_queue(40)?;
    wishes.connect.entries = 2;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    // Twice the entries are taken: three that wait for their data, and another.
    let mut tags = Vec::new();
    for cid in 0..3 {
        let mut write = nvm_sqe(nvm::WRITE, 1024, 4096);
        write.cid = cid.into();
        write.sgl = SglDescriptor::transport(4096);
        raw.send(&raw.capsule(write, &[]))?;
        tags.push(raw.r2t()?.0);
    }
    let mut flush = Sqe::new(nvm::FLUSH, 9);
    flush.nsid = 1.into();
    for _ in 0..3 {
        raw.send(&raw.capsule(flush, &[]))?;
        let (cid, completion) = raw.response()?;
        assert!(cid == 9 && completion.status.is_success());
    }
    raw.send(&raw.h2c_data(tags[0], 0, &[1; 4096], flags::LAST_PDU))?;
    let (cid, completion) = raw.response()?;
    assert!(cid == tags[0].0 && completion.status.is_success());
    // Full again, and its host goes.
    for cid in [9, 10] {
        flush.cid = cid.into();
        raw.send(&raw.capsule(flush, &[]))?;
    }
    drop((raw, host));
    scene.ends_well()
}

#[test]
fn a_host_that_kept_alive_all_the_while_survives_a_pause_of_the_target() -> Result {
    let scene = Scene::new()?;
    let options = HostOptions {
        kato: Duration::from_secs(1),
        io_queues: 0,
        ..HostOptions::named(41)
    };
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
    const TIMES: usize = 20;
    scene.target.signal(Signal::SIGSTOP);
    for _ in 0..TIMES {
        let keep_alive = Sqe::new(admin::KEEP_ALIVE, 0);
        host.admin.submit(keep_alive, Payload::None)?;
        host.admin.send()?;
        thread::sleep(Duration::from_millis(100));
    }
    scene.target.signal(Signal::SIGCONT);
    for _ in 0..TIMES {
        assert!(host.admin.next_answer()?.completion.status.is_success());
    }
    assert!(host.keep_alive()?.status.is_success());
    drop(host);
    scene.ends_well()
}

#[test]
fn a_host_that_deallocates_for_hours_and_leaves_holds_up_nobody() -> Result {
    let directory = TempDir::new()?;
    let mut scene = Scene::with(&on_file_and(&directory, &["ramdisk:2t"])?)?;
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &HostOptions::named(42))?;
    let whole = [[0; 4], [0xff; 4], [0; 4], [0; 4]].concat();
    let ranges = Arc::new(whole.repeat(256));
    let queue = &mut host.io[0];
    for _ in 0..16 {
        let mut sqe = Sqe::new(nvm::DATASET_MANAGEMENT, 0);
        sqe.nsid = 2.into();
        sqe.cdw10 = 255.into();
        sqe.cdw11 = 0b100.into();
        queue.submit(sqe, Payload::FromHost(Arc::clone(&ranges)))?;
    }
    queue.send_all()?;
    // Some of it is under way.
    thread::sleep(Duration::from_millis(200));
    drop(host);
    scene.is_well()?;
    assert!(scene.target.stop().success());
    Ok(())
}

#[test]
fn shutdowns_by_the_hundred_thousand_are_not_stored_and_hold_up_nobody() -> Result {
    // Shutdown, enable, reset.
    const CYCLE: [u32; 3] = [0x46_4000, 0x46_0001, 0x46_0000];
    let directory = TempDir::new()?;
    let mut scene = Scene::with(&on_file_and(&directory, &[])?)?;
    let mut raw = Raw::establish(scene.io(), &scene.admin())?;
    let cycle = CYCLE.map(|cc| raw.capsule(configure(cc), &[]));
    let cycles = cycle.concat().repeat(1000);
    let mut answers = raw.stream().try_clone()?;
    let reader = thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while answers.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    for _ in 0..200 {
        raw.send(&cycles)?;
    }
    scene.is_well()?;
    scene.holds_at_most(SLACK);
    raw.stream().shutdown(Shutdown::Both)?;
    reader.join().expect("the reader");
    drop(raw);
    scene.ends_well()
}

#[test]
fn timers_that_are_set_again_and_again_are_not_stored() -> Result {
    const ROUNDS: u32 = 2000;
    let scene = Scene::new()?;
    let options = HostOptions {
        kato: Duration::from_secs(1),
        io_queues: 0,
        ..HostOptions::named(43)
    };
    let mut hosts = (0..50)
        .map(|_| {
            let mut host = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
            assert!(host.set_feature(0x0f, u32::MAX)?.status.is_success());
            Ok(host)
        })
        .collect::<Result<Vec<_>>>()?;
    // The timer that was set before passes, and from now on each is earlier than the last.
    thread::sleep(Duration::from_millis(1200));
    let before = scene.target.usage();
    for round in 1..=ROUNDS {
        let mut sqe = Sqe::new(admin::SET_FEATURES, 0);
        sqe.cdw10 = 0x0f.into();
        sqe.cdw11 = (u32::MAX - round * 2000).into();
        for host in &mut hosts {
            host.admin.submit(sqe, Payload::None)?;
            host.admin.send()?;
        }
        for host in &mut hosts {
            assert!(host.admin.next_answer()?.completion.status.is_success());
        }
    }
    if let (Some(before), Some(now)) = (before, scene.target.usage()) {
        let more = now.resident.saturating_sub(before.resident);
        // Stored, they would be a few MiB.
        assert!(more < 1024, "{more} KiB more for timers");
    }
    drop(hosts);
    scene.ends_well()
}

/// A target whose first namespace is a file, with further devices.
fn on_file_and(directory: &TempDir, devices: &[&str]) -> Result<Setup> {
    let path = directory.path().join("disk");
    File::create(&path)?.set_len(64 << 20)?;
    let file = path.to_str().expect("a path").to_owned();
    let others = devices.iter().map(|&device| device.to_owned());
    Ok(Setup {
        devices: std::iter::once(file).chain(others).collect(),
        ..Setup::default()
    })
}
