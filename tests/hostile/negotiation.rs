//! Peers that do not get as far as a Connect (rows 1–17).

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::pdu::{Fes, Framing, IcReq};
use nvmfd_tests::peer::{PATIENCE, Raw};
use zerocopy::IntoBytes;

use crate::scene::{FIELD, Result, SEQUENCE, Scene, good_start};

/// What a peer that says nothing is given before it must go (10 s), and some more.
const NEGOTIATION_TIME: Duration = Duration::from_secs(14);

#[test]
fn rows_1_and_2_peers_that_say_nothing_or_little_are_put_out() -> Result {
    let scene = Scene::new()?;
    let said = [0, 1, 7, 8, 127, 128, 129, 1223];
    let start = good_start(&scene.admin().connect);
    let peers: Vec<Raw> = said
        .iter()
        .flat_map(|&count| [(scene.io(), count), (scene.target.discovery(), count)])
        .map(|(address, count)| {
            let mut raw = Raw::connect(address)?;
            raw.send(&start[..count])?;
            Ok(raw)
        })
        .collect::<Result<_>>()?;
    let began = Instant::now();
    for mut raw in peers {
        let said = raw.until_closed(NEGOTIATION_TIME)?;
        // Whoever sent an ICReq has got its answer, and nobody anything else.
        assert!(
            said.is_empty() || (said.len() == 128 && said[0] == 1),
            "{said:02x?}"
        );
    }
    assert!(
        began.elapsed() > Duration::from_secs(2),
        "hosts may be slow"
    );
    scene.ends_well()
}

#[test]
fn row_2_a_byte_now_and_then_does_not_move_the_deadline() -> Result {
    let scene = Scene::new()?;
    let mut raw = Raw::connect(scene.io())?;
    let start = good_start(&scene.admin().connect);
    let began = Instant::now();
    for byte in &start[..100] {
        if raw.stream().write_all(std::slice::from_ref(byte)).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(200));
        if began.elapsed() > NEGOTIATION_TIME {
            break;
        }
    }
    raw.until_closed(Duration::from_secs(1))?;
    scene.ends_well()
}

#[test]
fn row_3_random_bytes_and_the_end_of_them() -> Result {
    let scene = Scene::new()?;
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
    scene.ends_well()
}

#[test]
fn row_4_cve_2026_74385_connections_that_are_reset_as_soon_as_they_are_there() -> Result {
    let scene = Scene::new()?;
    for _ in 0..500 {
        Raw::connect(scene.io())?.reset()?;
    }
    scene.ends_well()
}

#[test]
fn rows_5_and_6_who_does_not_begin_with_an_icreq_is_told_so() -> Result {
    let scene = Scene::new()?;
    let (sqe, data) = scene.admin().connect.to_wire(0);
    let mut capsule = Vec::new();
    Framing::INITIAL.capsule_cmd(&mut capsule, sqe, 1024);
    capsule.extend_from_slice(data.as_bytes());
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x55; 506]].concat();
    for bytes in [capsule, client_hello, b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        for address in [scene.io(), scene.target.discovery()] {
            let mut raw = Raw::connect(address)?;
            raw.send(&bytes)?;
            raw.stream().shutdown(std::net::Shutdown::Write)?;
            assert_eq!(raw.termination(0)?, (FIELD, 0));
        }
    }
    scene.ends_well()
}

#[test]
fn rows_7_to_16_wrong_icreqs_are_named_by_their_field() -> Result {
    let scene = Scene::new()?;
    let cases: [(usize, u8, u16, u32); 8] = [
        (4, 127, FIELD, 4),
        (2, 127, FIELD, 2),
        (3, 1, FIELD, 3),
        (1, 3, FIELD, 1),
        (8, 1, Fes::UnsupportedParameter as u16, 8),
        (10, 32, FIELD, 10),
        (10, 255, FIELD, 10),
        (11, 4, FIELD, 11),
    ];
    for (at, value, fes, fei) in cases {
        let mut icreq = IcReq::new(0, 0, false, false).as_bytes().to_vec();
        icreq[at] = value;
        let mut raw = Raw::connect(scene.io())?;
        raw.send(&icreq)?;
        assert_eq!(raw.termination(0)?, (fes, fei), "byte {at} is {value}");
    }
    let mut raw = Raw::negotiate(scene.io(), true, true)?;
    raw.send(IcReq::new(0, 0, true, true).as_bytes())?;
    assert_eq!(raw.termination(0)?, (SEQUENCE, 0), "row 16");
    scene.ends_well()
}

#[test]
fn row_17_cve_2026_46135_an_icreq_and_away_a_thousand_times() -> Result {
    let scene = Scene::new()?;
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
    scene.ends_well()
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
