//! PDUs that are wrong, at every stage of a connection (rows 18–25).

use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::{Fes, Framing, PduType, termination};
use nvmf_proto::sqe::SglDescriptor;
use nvmfd_tests::peer::{Host, PATIENCE, Raw, nvm_sqe};
use zerocopy::IntoBytes;

use crate::scene::{DIGEST, FIELD, LIMIT, Result, SEQUENCE, Scene, good_start};

/// How far a connection has come when the test begins.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Accepted,
    Negotiated,
    Admin,
    Io,
}

const STAGES: [Stage; 4] = [Stage::Accepted, Stage::Negotiated, Stage::Admin, Stage::Io];

/// A connection at `stage`, with the host that it belongs to.
fn at_stage(scene: &Scene, stage: Stage) -> Result<(Raw, Option<Host>)> {
    let address = scene.io();
    Ok(match stage {
        Stage::Accepted => (Raw::connect(address)?, None),
        Stage::Negotiated => (Raw::negotiate(address, false, false)?, None),
        Stage::Admin => (Raw::establish(address, &scene.admin())?, None),
        Stage::Io => {
            let (host, wishes) = scene.without_queue(2)?;
            (Raw::establish(address, &wishes)?, Some(host))
        }
    })
}

#[test]
fn row_18_every_type_at_every_stage() -> Result {
    let scene = Scene::new()?;
    for stage in STAGES {
        let begun = !matches!(stage, Stage::Accepted);
        for number in 0..=u8::MAX {
            let expected = match number {
                0x00 if begun => Some((SEQUENCE, 0)),
                // An ICReq of 24 bytes, the answer to which is its length.
                0x00 => Some((FIELD, 2)),
                // A termination: closed without a word.
                0x02 => None,
                0x04 if begun => Some((FIELD, 2)),
                // H2CData of no command: 8 bytes that were never asked for.
                0x06 if begun => Some((FIELD, 10)),
                _ => Some((FIELD, 0)),
            };
            let (mut raw, _host) = at_stage(&scene, stage)?;
            let mut pdu = vec![number, 0, 24, 24, 32, 0, 0, 0];
            if number == 2 {
                pdu[3] = 0;
            }
            pdu.resize(32, 0);
            pdu[16] = 8;
            raw.send(&pdu)?;
            match expected {
                Some(expected) => {
                    let got = raw.termination(0)?;
                    assert_eq!(got, expected, "type {number:#x} at {stage:?}");
                }
                None => assert_eq!(raw.until_closed(PATIENCE)?, b""),
            }
        }
    }
    scene.ends_well()
}

#[test]
fn rows_19_to_22_headers_with_extreme_fields() -> Result {
    let scene = Scene::new()?;
    // TYPE, FLAGS, HLEN, PDO, PLEN; then what is wrong first.
    let cases: [(u8, u8, u8, u8, u32, u16, u32); 18] = [
        (4, 0, 0, 0, 72, FIELD, 2),
        (4, 0, 7, 0, 72, FIELD, 2),
        (4, 0, 8, 0, 72, FIELD, 2),
        (4, 0, 71, 0, 72, FIELD, 2),
        (4, 0, 73, 0, 73, FIELD, 2),
        (4, 0, 255, 0, 255, FIELD, 2),
        (4, 0, 72, 0, 0, FIELD, 4),
        (4, 0, 72, 0, 71, FIELD, 4),
        (4, 0, 72, 72, u32::MAX, LIMIT, 4),
        (4, 0, 72, 72, 72 + 16_385, LIMIT, 4),
        (4, 0, 72, 73, 200, FIELD, 3),
        (4, 0, 72, 255, 400, FIELD, 3),
        (4, 0, 72, 4, 200, FIELD, 3),
        (4, 1, 72, 0, 72, FIELD, 1),
        (4, 2, 72, 72, 584, FIELD, 1),
        (4, 0xf0, 72, 0, 72, FIELD, 1),
        (6, 0, 24, 24, u32::MAX, LIMIT, 4),
        (6, 8, 24, 24, 536, FIELD, 1),
    ];
    for (pdu_type, bits, hlen, pdo, plen, fes, fei) in cases {
        let (mut raw, _host) = at_stage(&scene, Stage::Io)?;
        let mut header = vec![pdu_type, bits, hlen, pdo];
        header.extend_from_slice(&plen.to_le_bytes());
        raw.send(&header)?;
        let got = raw.termination(0)?;
        assert_eq!(got, (fes, fei), "{header:02x?}");
    }
    scene.ends_well()
}

#[test]
fn row_23_a_wrong_header_digest_is_sent_back() -> Result {
    let scene = Scene::new()?;
    let mut raw = Raw::negotiate(scene.io(), true, false)?;
    let (sqe, data) = scene.admin().connect.to_wire(0);
    let mut capsule = raw.capsule(sqe, data.as_bytes());
    capsule[72..76].copy_from_slice(&[1, 2, 3, 4]);
    raw.send(&capsule)?;
    assert_eq!(raw.termination(0)?, (DIGEST, 0x0403_0201));
    scene.ends_well()
}

#[test]
fn row_24_terminations_of_every_kind_end_the_connection_without_a_word() -> Result {
    let scene = Scene::new()?;
    for stage in STAGES {
        for fes in [0_u16, 1, 2, 3, 4, 5, 6, 7, 255, u16::MAX] {
            for plen in [24_u32, 25, 152, 153] {
                let (mut raw, _host) = at_stage(&scene, stage)?;
                let mut pdu = termination(PduType::H2cTermReq, Fes::SequenceError, 1, &[7; 128]);
                pdu[4..8].copy_from_slice(&plen.to_le_bytes());
                pdu[8..10].copy_from_slice(&fes.to_le_bytes());
                pdu.resize(plen as usize, 0);
                raw.send(&pdu)?;
                assert_eq!(raw.until_closed(PATIENCE)?, b"", "{stage:?} {fes} {plen}");
            }
        }
    }
    scene.ends_well()
}

#[test]
fn row_25_a_host_that_sends_byte_after_byte_is_served() -> Result {
    let scene = Scene::new()?;
    let (host, wishes) = scene.without_queue(4)?;
    let mut raw = Raw::connect(scene.io())?;
    let mut slowly = |bytes: &[u8]| -> Result {
        bytes
            .iter()
            .try_for_each(|byte| raw.send(std::slice::from_ref(byte)))
    };
    slowly(&good_start(&wishes.connect))?;
    let mut write = nvm_sqe(nvm::WRITE, 0, 512);
    write.sgl = SglDescriptor::in_capsule(512);
    let mut capsule = Vec::new();
    Framing::INITIAL.capsule_cmd(&mut capsule, write, 512);
    capsule.extend_from_slice(&[0x5a; 512]);
    slowly(&capsule)?;
    assert_eq!(raw.receive(128)?[0], 1);
    assert!(raw.response()?.1.status.is_success());
    assert!(raw.response()?.1.status.is_success());
    drop((raw, host));
    scene.ends_well()
}

#[test]
fn row_25_a_hundred_commands_in_one_segment_are_all_served() -> Result {
    let scene = Scene::new()?;
    let (host, wishes) = scene.without_queue(4)?;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let mut all = Vec::new();
    for cid in 0..100 {
        let mut write = nvm_sqe(nvm::WRITE, 4096 + u64::from(cid), 512);
        write.cid = cid.into();
        write.sgl = SglDescriptor::in_capsule(512);
        all.extend(raw.capsule(write, &[cid.to_le_bytes()[0]; 512]));
    }
    raw.send(&all)?;
    let mut answered: Vec<u16> = (0..100)
        .map(|_| Ok(raw.response()?.0))
        .collect::<Result<_>>()?;
    answered.sort_unstable();
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
    drop((raw, host));
    scene.ends_well()
}
