//! Data that comes when it should not, or spoilt.

use nvmf_proto::opcode::{admin, nvm};
use nvmf_proto::pdu::flags;
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{Raw, nvm_sqe};

use crate::run::{end, goes_on};
use crate::scene::{FIELD, Result, Scene, solicit, solicited};
use crate::table::Gets;

const UNASKED: Gets = Gets::Terminated(FIELD, 10);

pub(crate) fn data_of_a_write_that_has_ended(scene: &mut Scene) -> Result {
    for at_once in [true, false] {
        let (mut raw, tags, _host) = solicited(scene, 4096)?;
        // What is there already.
        let data = raw.h2c_data(tags, 0, &scene.data[..4096], flags::LAST_PDU);
        raw.send(&data)?;
        if !at_once {
            assert!(raw.response()?.1.status.is_success());
        }
        raw.send(&data)?;
        assert_eq!(end(&mut raw)?, UNASKED, "at once: {at_once}");
    }
    Ok(())
}

pub(crate) fn the_data_of_an_aborted_write_is_swallowed(scene: &mut Scene) -> Result {
    let (mut raw, tags, mut host) = solicited(scene, 8192)?;
    raw.send(&raw.h2c_data(tags, 0, &[0xdd; 4096], 0))?;
    let mut abort = Sqe::new(admin::ABORT, 0);
    abort.cdw10 = (u32::from(tags.0) << 16 | 1).into();
    let aborted = host.admin.command(abort)?;
    assert!(aborted.status.is_success() && aborted.result & 1 == 0);
    raw.send(&raw.h2c_data(tags, 4096, &[0xdd; 4096], flags::LAST_PDU))?;
    let (cid, completion) = raw.response()?;
    assert_eq!((cid, completion.status), (tags.0, Status::ABORT_REQUESTED));
    goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))?;
    raw.send(&raw.h2c_data(tags, 0, &[0xdd; 512], flags::LAST_PDU))?;
    assert_eq!(end(&mut raw)?, UNASKED, "and then no more");
    Ok(())
}

/// A queue with data digests.
fn with_digests(scene: &Scene) -> Result<(Raw, nvmfd_tests::peer::Host)> {
    let (host, mut wishes) = scene.without_queue(46)?;
    wishes.data_digest = true;
    Ok((Raw::establish(scene.io(), &wishes)?, host))
}

fn spoilt(mut pdu: Vec<u8>) -> Vec<u8> {
    *pdu.last_mut().expect("a digest") ^= 1;
    pdu
}

pub(crate) fn a_spoilt_data_digest_fails_its_command_once(scene: &mut Scene) -> Result {
    let (mut raw, _host) = with_digests(scene)?;
    let mut write = nvm_sqe(nvm::WRITE, 64, 512);
    write.sgl = SglDescriptor::in_capsule(512);
    raw.send(&spoilt(raw.capsule(write, &[0xbb; 512])))?;
    let failed = Status::TRANSIENT_TRANSPORT_ERROR;
    assert!(raw.response()?.1.status.is(failed), "in a capsule");
    for spoilt_part in 0..3 {
        let tags = solicit(&mut raw, 12_288)?;
        for part in 0..3 {
            let last = if part == 2 { flags::LAST_PDU } else { 0 };
            let pdu = raw.h2c_data(tags, part * 4096, &[0xbb; 4096], last);
            raw.send(&if part == spoilt_part {
                spoilt(pdu)
            } else {
                pdu
            })?;
        }
        let (cid, completion) = raw.response()?;
        assert!(
            cid == tags.0 && completion.status.is(failed),
            "{completion:?}"
        );
        // There is no second answer before this one.
        goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))?;
    }
    Ok(())
}

pub(crate) fn a_spoilt_digest_of_a_failed_command(scene: &mut Scene) -> Result {
    let (mut raw, _host) = with_digests(scene)?;
    let mut write = nvm_sqe(nvm::WRITE, 64, 512);
    write.sgl = SglDescriptor::in_capsule(512);
    write.sgl.address = 4.into();
    raw.send(&spoilt(raw.capsule(write, &[0xbb; 512])))?;
    assert_eq!(raw.response()?.1.status, Status::SGL_OFFSET_INVALID.dnr());
    goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))
}

pub(crate) fn data_for_commands_that_asked_for_none(scene: &mut Scene) -> Result {
    for opcode in [nvm::READ, nvm::FLUSH, nvm::WRITE] {
        let (_host, wishes) = scene.without_queue(47)?;
        let mut raw = Raw::establish(scene.io(), &wishes)?;
        let mut sqe = nvm_sqe(opcode, 64, 512);
        sqe.cid = 7.into();
        let data = match opcode {
            nvm::WRITE => {
                sqe.sgl = SglDescriptor::in_capsule(512);
                &scene.data[..512]
            }
            _ => {
                sqe.sgl = SglDescriptor::transport(512);
                &[]
            }
        };
        let unasked = raw.h2c_data((7, 0), 0, &[0xdd; 512], flags::LAST_PDU);
        raw.send(&[raw.capsule(sqe, data), unasked].concat())?;
        assert_eq!(end(&mut raw)?, UNASKED, "opcode {opcode}");
    }
    Ok(())
}

pub(crate) fn one_r2t_for_each_write(scene: &mut Scene) -> Result {
    const LENGTH: u32 = 1 << 20;
    let (_host, wishes) = scene.without_queue(48)?;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let mut asked = Vec::new();
    for cid in [1, 2] {
        let mut write = nvm_sqe(nvm::WRITE, 4096, LENGTH as usize);
        write.cid = cid.into();
        write.sgl = SglDescriptor::transport(LENGTH);
        raw.send(&raw.capsule(write, &[]))?;
        asked.push(raw.r2t()?);
    }
    // Nothing else is asked for before its data is there: the next word is the answer to this.
    goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))?;
    let piece = vec![0x48; 128 << 10];
    for (tags, offset, length) in asked {
        assert_eq!(
            (offset, length),
            (0, LENGTH),
            "all of it is asked for at once"
        );
        for part in 0..8 {
            let last = if part == 7 { flags::LAST_PDU } else { 0 };
            raw.send(&raw.h2c_data(tags, part * (128 << 10), &piece, last))?;
        }
        let (cid, completion) = raw.response()?;
        assert!(
            cid == tags.0 && completion.status.is_success(),
            "{completion:?}"
        );
    }
    Ok(())
}
