//! Peers that die in the middle, are many, or do not read.

use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::flags;
use nvmfd_tests::peer::{Host, HostOptions, Raw, nvm_sqe};
use nvmfd_tests::target::Setup;

use crate::scene::{Mode, Result, Scene, good_start, solicited};

pub(crate) fn a_host_that_is_killed_in_the_middle_of_a_write(scene: &mut Scene) -> Result {
    const LENGTH: u32 = 32_768;
    let (raw, tags, host) = solicited(scene, LENGTH)?;
    let piece = vec![0xcc; 8192];
    let pdus: Vec<Vec<u8>> = (0..4)
        .map(|part| {
            let last = if part == 3 { flags::LAST_PDU } else { 0 };
            raw.h2c_data(tags, part * 8192, &piece, last)
        })
        .collect();
    drop((raw, host));
    let stream = pdus.concat();
    let (header, whole) = (24, pdus[0].len());
    let ends = (0..4).flat_map(|part| {
        let start = part * whole;
        [
            start,
            start + 1,
            start + header,
            start + header + 1,
            start + whole - 1,
        ]
    });
    for end in ends {
        for abrupt in [false, true] {
            let (mut raw, now, host) = solicited(scene, LENGTH)?;
            assert_eq!(now, tags);
            raw.send(&stream[..end])?;
            if abrupt {
                raw.reset()?;
            }
            drop(host);
        }
    }
    // The healthy host's data is where they wanted to write.
    Ok(())
}

pub(crate) fn a_host_that_is_killed_with_thousands_of_commands_in_flight(
    scene: &mut Scene,
) -> Result {
    for round in 0..4 {
        let options = HostOptions {
            io_queues: 8,
            io_entries: 128,
            ..HostOptions::named(20 + round)
        };
        let mut host = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
        for queue in &mut host.io {
            while queue.queue().room() > 0 {
                let payload = Payload::ToHost {
                    length: 131_072,
                    into: Vec::new(),
                };
                queue.submit(nvm_sqe(nvm::READ, 1024, 131_072), payload)?;
            }
            queue.send()?;
        }
        // Some of it is under way.
        thread::sleep(Duration::from_millis(u64::from(round) * 5));
        drop(host);
    }
    Ok(())
}

pub(crate) fn a_target_without_descriptors(mode: Mode) -> Result {
    let setup = Setup {
        descriptors: Some(80),
        ..Setup::default()
    };
    let mut scene = Scene::in_mode(mode, &setup)?;
    let crowd: Vec<Raw> = (0..200)
        .map(|_| Raw::connect(scene.io()))
        .collect::<Result<_>>()?;
    scene
        .target
        .says("few descriptors, and every connection takes one");
    scene.target.says("evicted");
    // New hosts are served, too: the crowd is silent.
    scene.is_well()?;
    for _ in 0..100 {
        let read = scene.healthy.io[0]
            .read(64, 512)?
            .expect("a healthy host is served");
        assert_eq!(read, scene.data[..512]);
    }
    drop(crowd);
    scene.ends_well()
}

pub(crate) fn hosts_that_do_not_read(mode: Mode) -> Result {
    let mut scene = Scene::in_mode(mode, &Setup::default())?;
    for number in 30..33 {
        let options = HostOptions {
            io_queues: 4,
            io_entries: 128,
            ..HostOptions::named(number)
        };
        let mut lazy = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
        for queue in &mut lazy.io {
            while queue.queue().room() > 0 {
                let payload = Payload::ToHost {
                    length: 1 << 20,
                    into: Vec::new(),
                };
                queue.submit(nvm_sqe(nvm::READ, 0, 1 << 20), payload)?;
            }
            queue.send()?;
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(500) {
            scene.is_well()?;
            // 508 MiB are asked for; each of the four queues may be stored a few for.
            scene.holds_at_most(64 * 1024);
        }
        drop(lazy);
        if number == 30 {
            // What the allocator keeps for the next one is not counted; it must not grow.
            scene.is_usual()?;
        }
    }
    scene.ends_well()
}

pub(crate) fn a_thousand_connections_that_stop_half_way(scene: &mut Scene) -> Result {
    let start = good_start(&scene.admin().connect);
    let mut crowd = Vec::new();
    for round in 0..1000 {
        let mut raw = Raw::connect(scene.io())?;
        raw.send(&start[..[0, 64, 128, 600][round % 4]])?;
        crowd.push(raw);
        if round % 100 == 99 {
            scene.is_well()?;
        }
    }
    Ok(())
}
