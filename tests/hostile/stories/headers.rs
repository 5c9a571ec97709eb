//! PDUs that are wrong, at every stage of a connection.

use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::{Fes, Framing, PduType, flags, termination};
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmfd_tests::peer::{PATIENCE, Raw, nvm_sqe};
use zerocopy::IntoBytes;

use crate::run::{at_stage, end, goes_on};
use crate::scene::{DIGEST, FIELD, Result, SEQUENCE, Scene, good_start, solicit};
use crate::table::{Gets, Stage};

const STAGES: [Stage; 4] = [Stage::Accepted, Stage::Negotiated, Stage::Admin, Stage::Io];

pub(crate) fn every_type_at_every_stage(scene: &mut Scene) -> Result {
    for stage in STAGES {
        let begun = !matches!(stage, Stage::Accepted);
        for number in 0..=u8::MAX {
            let expected = match number {
                0x00 if begun => Gets::Terminated(SEQUENCE, 0),
                // An ICReq of 24 bytes, the answer to which is its length.
                0x00 => Gets::Terminated(FIELD, 2),
                // A termination: closed without a word.
                0x02 => Gets::Silence,
                0x04 if begun => Gets::Terminated(FIELD, 2),
                // H2CData of no command: 8 bytes that were never asked for.
                0x06 if begun => Gets::Terminated(FIELD, 10),
                _ => Gets::Terminated(FIELD, 0),
            };
            let (mut raw, _host) = at_stage(scene, stage)?;
            let mut pdu = vec![number, 0, 24, 24, 32, 0, 0, 0];
            if number == 2 {
                pdu[3] = 0;
            }
            pdu.resize(32, 0);
            pdu[16] = 8;
            raw.send(&pdu)?;
            assert_eq!(end(&mut raw)?, expected, "type {number:#x} at {stage:?}");
        }
    }
    Ok(())
}

pub(crate) fn digest_flags_are_missing(scene: &mut Scene) -> Result {
    for (header, data) in [(true, false), (false, true)] {
        let mut raw = Raw::negotiate(scene.io(), header, data)?;
        // A capsule as it is without digests.
        let start = good_start(&scene.admin().connect);
        raw.send(&start[128..])?;
        assert_eq!(end(&mut raw)?, Gets::Terminated(FIELD, 1));
    }
    Ok(())
}

pub(crate) fn a_wrong_header_digest_is_sent_back(scene: &mut Scene) -> Result {
    const WRONG: [u8; 4] = [1, 2, 3, 4];
    let expected = Gets::Terminated(DIGEST, u32::from_le_bytes(WRONG));
    let (sqe, data) = scene.admin().connect.to_wire(0);
    let mut raw = Raw::negotiate(scene.io(), true, false)?;
    let mut capsule = raw.capsule(sqe, data.as_bytes());
    capsule[72..76].copy_from_slice(&WRONG);
    raw.send(&capsule)?;
    assert_eq!(end(&mut raw)?, expected, "of a Connect");
    for (kind, length) in [(nvm::WRITE, 24), (nvm::READ, 72)] {
        let (_host, mut wishes) = scene.without_queue(23)?;
        wishes.header_digest = true;
        let mut raw = Raw::establish(scene.io(), &wishes)?;
        let mut pdu = if kind == nvm::WRITE {
            let tags = solicit(&mut raw, 512)?;
            raw.h2c_data(tags, 0, &[0xcc; 512], flags::LAST_PDU)
        } else {
            let mut read = nvm_sqe(nvm::READ, 64, 512);
            read.sgl = SglDescriptor::transport(512);
            raw.capsule(read, &[])
        };
        pdu[length..length + 4].copy_from_slice(&WRONG);
        raw.send(&pdu)?;
        assert_eq!(end(&mut raw)?, expected, "opcode {kind}");
    }
    Ok(())
}

pub(crate) fn terminations_end_the_connection_without_a_word(scene: &mut Scene) -> Result {
    for stage in STAGES {
        for fes in [0_u16, 1, 2, 3, 4, 5, 6, 7, 255, u16::MAX] {
            for plen in [24_u32, 25, 152, 153] {
                let (mut raw, _host) = at_stage(scene, stage)?;
                let mut pdu = termination(PduType::H2cTermReq, Fes::SequenceError, 1, &[7; 128]);
                pdu[4..8].copy_from_slice(&plen.to_le_bytes());
                pdu[8..10].copy_from_slice(&fes.to_le_bytes());
                pdu.resize(plen as usize, 0);
                raw.send(&pdu)?;
                assert_eq!(raw.until_closed(PATIENCE)?, b"", "{stage:?} {fes} {plen}");
            }
        }
    }
    Ok(())
}

pub(crate) fn a_host_that_sends_byte_after_byte_is_served(scene: &mut Scene) -> Result {
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
    Ok(())
}

pub(crate) fn a_hundred_commands_in_one_segment_are_all_served(scene: &mut Scene) -> Result {
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
    Ok(())
}

pub(crate) fn a_write_that_is_cut_anywhere_is_served(scene: &mut Scene) -> Result {
    let (_host, wishes) = scene.without_queue(4)?;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let mut write = nvm_sqe(nvm::WRITE, 0, 512);
    write.sgl = SglDescriptor::in_capsule(512);
    let capsule = raw.capsule(write, &[0xa5; 512]);
    for at in 1..capsule.len() {
        let (first, second) = capsule.split_at(at);
        raw.send(first)?;
        raw.send(second)?;
        assert!(raw.response()?.1.status.is_success(), "cut at {at}");
    }
    goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))
}
