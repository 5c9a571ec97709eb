//! Commands that are wrong on an established queue.

use std::sync::Arc;

use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::{admin, nvm};
use nvmf_proto::pdu::flags;
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{Host, HostOptions, Raw, nvm_sqe};

use crate::run::{enabled, end, goes_on};
use crate::scene::{Result, SEQUENCE, Scene, solicited};
use crate::table::Gets;

pub(crate) fn far_more_reads_than_the_queue_has_entries(scene: &mut Scene) -> Result {
    let (_host, mut wishes) = scene.without_queue(11)?;
    wishes.connect.entries = 2;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let mut all = Vec::new();
    for cid in 0..200 {
        let mut read = nvm_sqe(nvm::READ, 64, 512);
        read.cid = cid.into();
        read.sgl = SglDescriptor::transport(512);
        all.extend(raw.capsule(read, &[]));
    }
    raw.send(&all)?;
    for _ in 0..200 {
        assert_eq!(raw.pdu()?[0], 7, "data");
        assert!(raw.response()?.1.status.is_success());
    }
    Ok(())
}

pub(crate) fn far_more_writes_than_the_queue_has_entries(scene: &mut Scene) -> Result {
    let (_host, mut wishes) = scene.without_queue(11)?;
    wishes.connect.entries = 2;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    // Writes that all wait for their data while more of them come: no end of it.
    let mut all = Vec::new();
    for cid in 0..200 {
        let mut write = nvm_sqe(nvm::WRITE, 0, 512);
        write.cid = cid.into();
        write.sgl = SglDescriptor::transport(512);
        all.extend(raw.capsule(write, &[]));
    }
    raw.send(&all)?;
    assert_eq!(end(&mut raw)?, Gets::Terminated(SEQUENCE, 0));
    Ok(())
}

pub(crate) fn an_identifier_in_use(scene: &mut Scene) -> Result {
    let (mut raw, tags, _host) = solicited(scene, 4096)?;
    let mut read = nvm_sqe(nvm::READ, 64, 512);
    read.cid = tags.0.into();
    read.sgl = SglDescriptor::transport(512);
    raw.send(&raw.capsule(read, &[]))?;
    let (cid, completion) = raw.response()?;
    assert!(cid == tags.0 && completion.status.is(Status::COMMAND_ID_CONFLICT));
    // The first write goes on, with what is there already.
    let data = raw.h2c_data(tags, 0, &scene.data[..4096], flags::LAST_PDU);
    raw.send(&data)?;
    let (cid, completion) = raw.response()?;
    assert!(cid == tags.0 && completion.status.is_success());
    goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))
}

pub(crate) fn a_first_half_alone(scene: &mut Scene) -> Result {
    let (_host, wishes) = scene.without_queue(52)?;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let mut compare = nvm_sqe(nvm::COMPARE, 64, 512);
    compare.cid = 1.into();
    compare.flags |= 0b01;
    compare.sgl = SglDescriptor::in_capsule(512);
    let mut flush = Sqe::new(nvm::FLUSH, 2);
    flush.nsid = 1.into();
    let compare = raw.capsule(compare, &scene.data[..512]);
    raw.send(&[compare, raw.capsule(flush, &[])].concat())?;
    let mut answers = [raw.response()?, raw.response()?];
    answers.sort_by_key(|(cid, _)| *cid);
    let [(1, first), (2, other)] = answers else {
        panic!("{answers:?}")
    };
    assert!(first.status.is(Status::FUSED_MISSING) && other.status.is_success());
    goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))
}

pub(crate) fn fused_admin_commands(scene: &mut Scene) -> Result {
    let mut raw = enabled(scene)?;
    for bits in [0b01, 0b10, 0b11] {
        let mut sqe = Sqe::new(admin::IDENTIFY, 7);
        sqe.flags |= bits;
        sqe.cdw10 = 1.into();
        sqe.sgl = SglDescriptor::transport(4096);
        raw.send(&raw.capsule(sqe, &[]))?;
        let (cid, completion) = raw.response()?;
        assert!(cid == 7 && !completion.status.is_success(), "{bits:#b}");
    }
    let mut keep_alive = Sqe::new(admin::KEEP_ALIVE, 8);
    keep_alive.nsid = 0.into();
    raw.send(&raw.capsule(keep_alive, &[]))?;
    assert!(raw.response()?.1.status.is_success());
    Ok(())
}

pub(crate) fn a_fifth_event_request(scene: &mut Scene) -> Result {
    let mut raw = enabled(scene)?;
    for cid in 1..=5 {
        raw.send(&raw.capsule(Sqe::new(admin::ASYNC_EVENT_REQUEST, cid), &[]))?;
    }
    let (cid, completion) = raw.response()?;
    assert!(cid == 5 && completion.status.is(Status::AER_LIMIT_EXCEEDED));
    // The four are held: nothing else is said before this.
    raw.send(&raw.capsule(Sqe::new(admin::KEEP_ALIVE, 6), &[]))?;
    let (cid, completion) = raw.response()?;
    assert!(cid == 6 && completion.status.is_success());
    Ok(())
}

pub(crate) fn ranges_that_leave_the_namespace(scene: &mut Scene) -> Result {
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &HostOptions::named(13))?;
    let queue = &mut host.io[0];
    let last = (64 << 20) / 512;
    // The first range is good, and the healthy host's.
    for bad in [(last, 1), (last - 1, 2), (u64::MAX, 1), (0, u32::MAX)] {
        let status = queue.deallocate(&[(64, 8), bad])?;
        assert!(status.is(Status::LBA_OUT_OF_RANGE), "{bad:?}: {status}");
    }
    // 256 ranges are said, one is there.
    let mut sqe = Sqe::new(nvm::DATASET_MANAGEMENT, 0);
    sqe.nsid = 1.into();
    sqe.cdw10 = 255.into();
    sqe.cdw11 = 4.into();
    let one = Payload::FromHost(Arc::new(vec![0; 16]));
    let status = queue.run(sqe, one)?.completion.status;
    assert!(status.is(Status::DATA_SGL_LENGTH_INVALID), "{status}");
    let all: Vec<_> = (0..256).map(|range| (8192 + range * 8, 8)).collect();
    assert!(queue.deallocate(&all)?.is_success());
    drop(host);
    Ok(())
}

pub(crate) fn the_discovery_log_is_not_read_beyond_its_end(scene: &mut Scene) -> Result {
    let name = Nqn::discovery();
    let mut host = Host::connect_admin(scene.target.discovery(), &name, &HostOptions::default())?;
    host.enable()?;
    let size = 1024 * 3;
    for offset in [size + 4, 1 << 31, 1 << 32, u64::MAX - 3, u64::MAX - 4095] {
        for length in [4, 4096, 65_536] {
            let status = host
                .log_page(0x70, offset, length)?
                .expect_err("beyond the end");
            assert!(
                status.is(Status::INVALID_FIELD) && status.is_dnr(),
                "{offset}: {status}"
            );
        }
    }
    for offset in [1, 2, 3, 1025] {
        let status = host.log_page(0x70, offset, 16)?.expect_err("unaligned");
        assert!(status.is(Status::INVALID_FIELD), "{offset}: {status}");
    }
    // What reaches beyond the end is zero there.
    let tail = host
        .log_page(0x70, size - 8, 4096)?
        .expect("the end can be read");
    assert!(tail[8..].iter().all(|&byte| byte == 0));
    assert_eq!(
        host.log_page(0x70, size, 64)?.expect("the very end"),
        [0; 64]
    );
    drop(host);
    Ok(())
}
