//! Hosts that make the worker hold memory, many at once, and let it have nothing back.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::opcode::nvm;
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, Raw, nvm_sqe};

use crate::scene::{Mode, Result, Scene};
use crate::stories::served::{self, Served};

/// What all hosts may make the worker hold here, in KiB.
const MEMORY: u64 = 32 << 10;

/// What a worker has besides: reactors' buffers, threads, and what malloc keeps for later.
const BESIDES: u64 = 16 << 10;

const LENGTH: u32 = 1 << 20;

fn poor(more: &str) -> Result<Scene> {
    let limits = format!("memory = \"{MEMORY}k\"\nthreads = 2\n{more}");
    let served = Served {
        limits: &limits,
        ..Served::default()
    };
    served::scene(Mode::Userspace, &served)
}

/// A queue of another host's, and what keeps it.
fn queue(scene: &Scene, number: u32) -> Result<(Raw, Host)> {
    let (host, wishes) = scene.without_queue(number)?;
    Ok((Raw::establish(scene.io(), &wishes)?, host))
}

/// Asks for as many reads of 1 MiB as the queue has entries for, and reads no answer.
fn ask_for_reads(raw: &mut Raw) -> Result {
    let reads: Vec<u8> = (0..31)
        .flat_map(|cid| {
            let mut read = nvm_sqe(nvm::READ, 0, LENGTH as usize);
            read.cid = cid.into();
            read.sgl = SglDescriptor::transport(LENGTH);
            raw.capsule(read, &[])
        })
        .collect();
    raw.send(&reads)
}

/// Announces as many writes of 1 MiB, and sends nearly all of the data that it is asked for first.
fn announce_writes(raw: &mut Raw) -> Result {
    let writes: Vec<u8> = (0..31)
        .flat_map(|cid| {
            let mut write = nvm_sqe(nvm::WRITE, 64 << 10, LENGTH as usize);
            write.cid = cid.into();
            write.sgl = SglDescriptor::transport(LENGTH);
            raw.capsule(write, &[])
        })
        .collect();
    raw.send(&writes)
}

fn send_nearly_all(raw: &mut Raw) -> Result {
    let (tags, ..) = raw.r2t()?;
    let piece = vec![0x77; 128 << 10];
    for part in 0..7 {
        raw.send(&raw.h2c_data(tags, part * (128 << 10), &piece, 0))?;
    }
    Ok(())
}

/// The worker keeps below its ceiling, and its healthy host goes on, for a while.
fn keeps_below(scene: &mut Scene, time: Duration) -> Result {
    let began = Instant::now();
    while began.elapsed() < time {
        scene.is_well()?;
        scene.holds_at_most(MEMORY + BESIDES);
        let level = operator::status(&scene.target.socket()).memory;
        assert!(level.held <= level.most, "{level:?}");
    }
    Ok(())
}

#[test]
fn hosts_that_do_not_read_hold_no_more_than_all_may() -> Result {
    let mut scene = poor("")?;
    let mut peers = Vec::new();
    for number in 100..150 {
        let (mut raw, host) = queue(&scene, number)?;
        ask_for_reads(&mut raw)?;
        peers.push((raw, host));
    }
    keeps_below(&mut scene, Duration::from_secs(3))?;
    let status = operator::status(&scene.target.socket());
    assert!(status.memory.met > 0, "{:?}", status.memory);
    drop(peers);
    scene.ends_well()
}

#[test]
fn hosts_that_announce_data_and_do_not_send_it_hold_no_more_than_all_may() -> Result {
    let mut scene = poor("")?;
    let mut peers = Vec::new();
    for number in 100..150 {
        let (mut raw, host) = queue(&scene, number)?;
        announce_writes(&mut raw)?;
        peers.push((raw, host));
    }
    for (raw, _) in &mut peers[..10] {
        // Not all of these are asked for their data.
        raw.stream()
            .set_read_timeout(Some(Duration::from_millis(200)))?;
        let _ = send_nearly_all(raw);
    }
    keeps_below(&mut scene, Duration::from_secs(3))?;
    drop(peers);
    scene.ends_well()
}

#[test]
fn who_stands_still_makes_room_for_who_waits() -> Result {
    let scene = poor("stall-time = \"4s\"\n")?;
    let mut peers = Vec::new();
    for number in 100..130 {
        let (mut raw, host) = queue(&scene, number)?;
        match number % 2 {
            0 => ask_for_reads(&mut raw)?,
            _ => announce_writes(&mut raw)?,
        }
        peers.push((raw, host));
    }
    let mut honest = Host::connect(scene.io(), &scene.target.nqn(), &HostOptions::named(99))?;
    let began = Instant::now();
    let data: Vec<u8> = (0..=250).cycle().take(LENGTH as usize).collect();
    for _ in 0..20 {
        assert!(honest.io[0].write(32 << 10, data.clone())?.is_success());
        let read = honest.io[0].read(32 << 10, data.len())?;
        assert!(read.expect("it is served") == data);
        assert!(honest.keep_alive()?.status.is_success());
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let status = operator::status(&scene.target.socket());
    assert!(status.stalled > 0, "{status:?}");
    scene
        .target
        .says("the host stood still with memory that others waited for");
    drop((peers, honest));
    scene.ends_well()
}

#[test]
fn who_does_not_move_for_too_long_is_put_out_and_who_moves_a_little_is_not() -> Result {
    let mut scene = poor("stall-time = \"1s\"\n")?;
    let (mut reader, _reader) = queue(&scene, 100)?;
    let (mut writer, _writer) = queue(&scene, 101)?;
    let (mut slow, _slow) = queue(&scene, 102)?;
    let (mut idle, _idle) = queue(&scene, 103)?;
    ask_for_reads(&mut reader)?;
    ask_for_reads(&mut slow)?;
    announce_writes(&mut writer)?;
    writer.until_closed(PATIENCE)?;
    scene
        .target
        .says("the host did not move a byte for too long");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        // As much as makes room in the socket again.
        let mut bytes = vec![0; 256 << 10];
        slow.stream().read_exact(&mut bytes)?;
        thread::sleep(Duration::from_millis(200));
    }
    reader.until_closed(PATIENCE)?;
    // Whoever owes nothing may be silent.
    idle.send(&idle.capsule(Sqe::new(nvm::FLUSH, 9), &[]))?;
    idle.response()?;
    scene.is_well()?;
    drop((reader, writer, slow, idle));
    scene.ends_well()
}

#[test]
fn others_go_on_beside_who_reads_or_sends_a_byte_now_and_then() -> Result {
    let mut scene = poor("")?;
    let (mut reader, _reader) = queue(&scene, 100)?;
    let (mut sender, _sender) = queue(&scene, 101)?;
    ask_for_reads(&mut reader)?;
    let flush = sender.capsule(Sqe::new(nvm::FLUSH, 9), &[]);
    for byte in &flush {
        reader.receive(1)?;
        sender.send(std::slice::from_ref(byte))?;
        scene.is_well()?;
    }
    // And neither is worse off than it makes itself.
    sender.response()?;
    drop((reader, sender));
    scene.ends_well()
}

#[test]
fn a_peer_without_a_connect_holds_a_few_kilobytes() -> Result {
    const PEERS: u64 = 300;
    let scene = poor("negotiation-time = \"1m\"\n")?;
    let Some(before) = scene.target.usage() else {
        println!("SKIPPED: this system has no /proc to count memory in");
        return Ok(());
    };
    let start = crate::scene::good_start(&scene.admin().connect);
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let mut raw = Raw::connect(scene.io())?;
        // All but the last byte of the Connect's data.
        raw.send(&start[..start.len() - 1])?;
        raw.receive(128)?;
        peers.push(raw);
    }
    let negotiating = operator::status(&scene.target.socket()).negotiating;
    assert_eq!(negotiating, PEERS);
    let more = scene.target.usage().map_or(0, |now| now.resident) - before.resident;
    println!("{PEERS} peers hold {more} KiB");
    assert!(more <= PEERS * 8, "{more} KiB");
    for raw in &mut peers {
        raw.stream().write_all(&start[start.len() - 1..])?;
    }
    drop(peers);
    scene.ends_well()
}
