//! Peers that do not get as far as a Connect.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::{IcReq, flags};
use nvmf_proto::sqe::SglDescriptor;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, Raw, nvm_sqe};
use nvmfd_tests::target::NQN;
use zerocopy::IntoBytes;

use crate::scene::{Mode, Result, Scene, good_start};
use crate::stories::served::{self, Served};

/// What peers are given for their negotiation here, instead of 10 s.
const NEGOTIATION_TIME: Duration = Duration::from_secs(2);

/// A target that does not wait for long.
fn impatient(mode: Mode) -> Result<Scene> {
    let limits = format!("negotiation-time = \"{}s\"", NEGOTIATION_TIME.as_secs());
    served::scene(
        mode,
        &Served {
            limits: &limits,
            ..Served::default()
        },
    )
}

/// Each of these says so much of a good host's stream and waits for the end.
fn are_put_out(mode: Mode, said: &[usize]) -> Result {
    let scene = impatient(mode)?;
    let start = good_start(&scene.admin().connect);
    let began = Instant::now();
    let peers: Vec<Raw> = said
        .iter()
        .flat_map(|&count| [(scene.io(), count), (scene.target.discovery(), count)])
        .map(|(address, count)| {
            let mut raw = Raw::connect(address)?;
            raw.send(&start[..count])?;
            Ok(raw)
        })
        .collect::<Result<_>>()?;
    for mut raw in peers {
        let said = raw.until_closed(PATIENCE)?;
        // Whoever sent an ICReq has got its answer, and nobody anything else.
        assert!(
            said.is_empty() || (said.len() == 128 && said[0] == 1),
            "{said:02x?}"
        );
    }
    // Timers may be a little early, and must not be at once.
    assert!(began.elapsed() > NEGOTIATION_TIME / 2, "hosts may be slow");
    scene.ends_well()
}

pub(crate) fn silent_peers_are_put_out(mode: Mode) -> Result {
    are_put_out(mode, &[0])
}

pub(crate) fn peers_that_say_little_are_put_out(mode: Mode) -> Result {
    are_put_out(mode, &[1, 7, 8, 127, 128, 129, 1223])
}

pub(crate) fn a_byte_now_and_then_does_not_move_the_deadline(mode: Mode) -> Result {
    let scene = impatient(mode)?;
    let mut raw = Raw::connect(scene.io())?;
    let start = good_start(&scene.admin().connect);
    let began = Instant::now();
    for byte in start.iter().cycle() {
        if raw.stream().write_all(std::slice::from_ref(byte)).is_err() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the deadline moves");
        // Slow enough to be in the middle of the ICReq when the time is up.
        thread::sleep(NEGOTIATION_TIME / 20);
    }
    assert_eq!(raw.until_closed(PATIENCE)?, b"");
    scene.ends_well()
}

pub(crate) fn random_bytes_and_the_end_of_them(scene: &mut Scene) -> Result {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let mut bytes = [0; 128];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[4];
        }
        let mut raw = Raw::connect(scene.io())?;
        raw.send(&bytes)?;
        let said = raw.finish()?;
        assert!(said.is_empty() || said[0] == 3, "{said:02x?}");
    }
    Ok(())
}

pub(crate) fn connections_that_are_reset_as_soon_as_they_are_there(scene: &mut Scene) -> Result {
    for _ in 0..500 {
        Raw::connect(scene.io())?.reset()?;
    }
    Ok(())
}

pub(crate) fn every_alignment_is_served(scene: &mut Scene) -> Result {
    for hpda in 1..=31 {
        let options = HostOptions {
            hpda,
            header_digest: hpda % 2 == 0,
            data_digest: hpda % 3 == 0,
            ..HostOptions::named(13)
        };
        let mut host = Host::connect(scene.io(), &NQN.parse().expect("a name"), &options)?;
        let read = host.io[0].read(64, 4096)?.expect("served");
        assert!(read == scene.data[..4096], "HPDA {hpda}");
    }
    Ok(())
}

pub(crate) fn any_number_of_r2ts_is_borne(scene: &mut Scene) -> Result {
    let (_host, wishes) = scene.without_queue(15)?;
    let mut raw = Raw::connect(scene.io())?;
    raw.send(IcReq::new(0, u32::MAX, false, false).as_bytes())?;
    assert_eq!(raw.receive(128)?[0], 1);
    assert!(raw.fabric_connect(&wishes.connect)?.status.is_success());
    // What it writes is what is there already.
    let mut write = nvm_sqe(nvm::WRITE, 64, 32_768);
    write.sgl = SglDescriptor::transport(32_768);
    raw.send(&raw.capsule(write, &[]))?;
    let mut done = 0;
    while done < 32_768 {
        let (tags, offset, length) = raw.r2t()?;
        assert_eq!(offset, done);
        done += length;
        let data = &scene.data[offset as usize..done as usize];
        raw.send(&raw.h2c_data(tags, offset, data, flags::LAST_PDU))?;
    }
    assert!(raw.response()?.1.status.is_success());
    Ok(())
}

pub(crate) fn an_icreq_and_away_a_thousand_times(scene: &mut Scene) -> Result {
    let icreq = IcReq::new(0, 0, true, true);
    for round in 0..1000 {
        let mut raw = Raw::connect(scene.io())?;
        raw.send(icreq.as_bytes())?;
        match round % 3 {
            0 => raw.reset()?,
            1 => drop(raw),
            _ => drop(raw.receive(128)?),
        }
    }
    Ok(())
}

#[test]
fn a_host_that_floods_with_data_after_its_refusal_is_not_listened_to_for_ever() -> Result {
    let scene = Scene::new()?;
    let mut raw = Raw::negotiate(scene.io(), false, false)?;
    raw.send(&[0xff; 8])?;
    raw.stream()
        .set_write_timeout(Some(Duration::from_secs(1)))?;
    let began = Instant::now();
    let junk = vec![0xff; 65_536];
    while began.elapsed() < PATIENCE {
        if raw.stream().write_all(&junk).is_err() {
            break;
        }
    }
    assert!(began.elapsed() < PATIENCE, "the target listens to anything");
    let mut rest = [0; 64];
    while raw.stream().read(&mut rest).is_ok_and(|count| count != 0) {}
    scene.ends_well()
}
