//! Commands and data that are wrong on an established queue (rows 40–56).

use std::sync::Arc;

use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::flags;
use nvmf_proto::queue::ADMIN_IN_CAPSULE;
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, Raw, nvm_sqe};

use crate::scene::{FIELD, LIMIT, RANGE, Result, SEQUENCE, Scene, solicited};

#[test]
fn rows_40_to_44_data_that_was_not_asked_for_so_ends_the_connection() -> Result {
    type Make = fn(&Raw, (u16, u16)) -> Vec<u8>;
    const LAST: u8 = flags::LAST_PDU;
    let scene = Scene::new()?;
    let cases: [(&str, Make, u16, u32); 9] = [
        (
            "CVE-2022-50717: a tag beyond the table",
            |raw, (cid, _)| raw.h2c_data((cid, 0xffff), 0, &[0; 512], 0),
            FIELD,
            10,
        ),
        (
            "CVE-2023-6356: a tag that was never issued",
            |raw, (cid, ttag)| raw.h2c_data((cid, ttag + 1), 0, &[0; 512], 0),
            FIELD,
            10,
        ),
        (
            "another command's tag",
            |raw, (cid, ttag)| raw.h2c_data((cid + 1, ttag), 0, &[0; 512], 0),
            FIELD,
            8,
        ),
        (
            "an offset that skips",
            |raw, tags| raw.h2c_data(tags, 4, &[0; 512], 0),
            SEQUENCE,
            12,
        ),
        (
            "CVE-2026-23112: an offset that wraps",
            |raw, tags| raw.h2c_data(tags, u32::MAX - 511, &[0; 512], 0),
            RANGE,
            12,
        ),
        (
            "more than was asked for",
            |raw, tags| raw.h2c_data(tags, 0, &[0; 33_280], LAST),
            RANGE,
            12,
        ),
        (
            "CVE-2023-52454: a length that is not the PDU's",
            |raw, tags| {
                let mut pdu = raw.h2c_data(tags, 0, &[0; 512], 0);
                pdu[16..20].copy_from_slice(&4096_u32.to_le_bytes());
                pdu
            },
            FIELD,
            16,
        ),
        (
            "CVE-2023-52454: more than MAXH2CDATA",
            |raw, tags| raw.h2c_data(tags, 0, &vec![0; 262_148], 0),
            LIMIT,
            4,
        ),
        (
            "last, and yet not all",
            |raw, tags| raw.h2c_data(tags, 0, &[0; 512], LAST),
            SEQUENCE,
            1,
        ),
    ];
    for (name, make, fes, fei) in cases {
        println!("{name}");
        let (mut raw, tags, _host) = solicited(&scene, 32_768)?;
        let pdu = make(&raw, tags);
        raw.send(&pdu)?;
        assert_eq!(raw.termination(0)?, (fes, fei), "{name}");
    }
    scene.ends_well()
}

#[test]
fn row_46_a_spoilt_data_digest_fails_its_command_and_writes_nothing() -> Result {
    let scene = Scene::new()?;
    let (host, mut wishes) = scene.without_queue(10)?;
    wishes.data_digest = true;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let mut write = nvm_sqe(nvm::WRITE, 64, 512);
    write.sgl = SglDescriptor::in_capsule(512);
    let mut capsule = raw.capsule(write, &[0xbb; 512]);
    *capsule.last_mut().expect("a digest") ^= 1;
    raw.send(&capsule)?;
    let (_, completion) = raw.response()?;
    assert!(completion.status.is(Status::TRANSIENT_TRANSPORT_ERROR));
    write.sgl = SglDescriptor::transport(512);
    raw.send(&raw.capsule(write, &[]))?;
    let (tags, ..) = raw.r2t()?;
    let mut data = raw.h2c_data(tags, 0, &[0xbb; 512], flags::LAST_PDU);
    *data.last_mut().expect("a digest") ^= 1;
    raw.send(&data)?;
    assert!(
        raw.response()?
            .1
            .status
            .is(Status::TRANSIENT_TRANSPORT_ERROR)
    );
    drop((raw, host));
    // Block 64 is where the healthy host's data is.
    scene.ends_well()
}

#[test]
fn row_49_far_more_commands_than_the_queue_has_entries() -> Result {
    let scene = Scene::new()?;
    let (host, mut wishes) = scene.without_queue(11)?;
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
    // Writes that all wait for their data while more of them come: no end of it.
    let mut all = Vec::new();
    for cid in 0..200 {
        let mut write = nvm_sqe(nvm::WRITE, 0, 512);
        write.cid = cid.into();
        write.sgl = SglDescriptor::transport(512);
        all.extend(raw.capsule(write, &[]));
    }
    raw.send(&all)?;
    let said = raw.until_closed(PATIENCE)?;
    let last = &said[said.len() - 96..];
    assert_eq!(
        (last[0], last[8]),
        (3, SEQUENCE.to_le_bytes()[0]),
        "{said:02x?}"
    );
    drop((raw, host));
    scene.ends_well()
}

#[test]
fn rows_51_to_56_commands_that_cannot_be_end_with_their_status_and_the_queue_goes_on() -> Result {
    type Change = fn(&mut Sqe);
    let scene = Scene::new()?;
    let last_block = (64 << 20) / 512;
    let cases: [(&str, Change, Status); 14] = [
        ("row 51: PRP", |it| it.flags = 0, Status::INVALID_FIELD),
        (
            "row 51: keyed",
            |it| it.sgl.kind = 0x40,
            Status::SGL_DESCRIPTOR_TYPE_INVALID,
        ),
        (
            "row 51: 4 GiB",
            |it| it.sgl.length = u32::MAX.into(),
            Status::INVALID_FIELD,
        ),
        (
            "row 51: short",
            |it| it.sgl.length = 508.into(),
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        (
            "row 53: NSID 0",
            |it| it.nsid = 0.into(),
            Status::INVALID_NAMESPACE,
        ),
        (
            "row 53: NSID 2",
            |it| it.nsid = 2.into(),
            Status::INVALID_NAMESPACE,
        ),
        (
            "row 53: all",
            |it| it.nsid = u32::MAX.into(),
            Status::INVALID_NAMESPACE,
        ),
        (
            "row 54: past the end",
            |it| it.set_cdw10_11((64 << 20) / 512),
            Status::LBA_OUT_OF_RANGE,
        ),
        (
            "row 54: overflow",
            |it| it.set_cdw10_11(u64::MAX),
            Status::LBA_OUT_OF_RANGE,
        ),
        (
            "row 54: 65536 blocks from the last",
            |it| {
                it.set_cdw10_11((64 << 20) / 512 - 1);
                it.cdw12 = 0xffff.into();
            },
            Status::LBA_OUT_OF_RANGE,
        ),
        (
            "protection",
            |it| it.cdw12 = (1 << 26).into(),
            Status::INVALID_FIELD,
        ),
        (
            "an opcode of nobody",
            |it| it.opcode = 0x7e,
            Status::INVALID_OPCODE,
        ),
        (
            "Disconnect",
            |it| *it = Sqe::fabrics(8, 0),
            Status::INVALID_OPCODE,
        ),
        (
            "row 52: both fuse bits",
            |it| it.flags |= 0b11,
            Status::INVALID_FIELD,
        ),
    ];
    let (host, wishes) = scene.without_queue(12)?;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    for (name, change, status) in cases {
        let mut read = nvm_sqe(nvm::READ, last_block - 1, 512);
        read.sgl = SglDescriptor::transport(512);
        println!("{name}");
        change(&mut read);
        raw.send(&raw.capsule(read, &[]))?;
        let (_, completion) = raw.response()?;
        assert!(
            completion.status.is(status),
            "{name}: {}",
            completion.status
        );
        assert!(completion.status.is_dnr(), "{name}");
        assert_eq!(completion.result, 0, "{name}: CVE-2024-41079");
    }
    drop((raw, host));
    scene.ends_well()
}

#[test]
fn row_56_cve_2026_64320_logs_are_not_read_beyond_their_end() -> Result {
    let scene = Scene::new()?;
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
    scene.ends_well()
}

#[test]
fn the_in_capsule_limit_of_admin_queues_is_8_kib() -> Result {
    let scene = Scene::new()?;
    let mut raw = Raw::establish(scene.io(), &scene.admin())?;
    let mut sqe = Sqe::new(0x06, 1);
    sqe.sgl = SglDescriptor::in_capsule(ADMIN_IN_CAPSULE + 4);
    let capsule = raw.capsule(sqe, &vec![0; ADMIN_IN_CAPSULE as usize + 4]);
    raw.send(&capsule)?;
    assert_eq!(raw.termination(0)?, (LIMIT, 4));
    scene.ends_well()
}

#[test]
fn row_52_fused_admin_commands_are_refused_and_the_queue_goes_on() -> Result {
    let mut scene = Scene::new()?;
    let mut halves = [Sqe::new(0x06, 7), Sqe::new(0x06, 8)];
    halves[0].flags |= 0b01;
    halves[1].flags |= 0b10;
    for sqe in &mut halves {
        sqe.cdw10 = 1.into();
        sqe.sgl = SglDescriptor::transport(4096);
    }
    let mut raw = Raw::establish(scene.io(), &scene.admin())?;
    let mut enable = Sqe::fabrics(0x00, 6);
    enable.cdw11 = 0x14.into();
    enable.cdw12 = 0x46_0001.into();
    raw.send(&raw.capsule(enable, &[]))?;
    assert!(raw.response()?.1.status.is_success());
    for sqe in halves {
        raw.send(&raw.capsule(sqe, &[]))?;
        let (cid, completion) = raw.response()?;
        assert_eq!(cid, sqe.cid.get());
        assert!(!completion.status.is_success());
    }
    scene.is_well()?;
    drop(raw);
    scene.ends_well()
}

#[test]
fn row_55_ranges_that_leave_the_namespace_deallocate_nothing() -> Result {
    let mut scene = Scene::new()?;
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &HostOptions::named(13))?;
    let queue = &mut host.io[0];
    let last = (64 << 20) / 512;
    // The first range is good, and the healthy host's.
    for bad in [(last, 1), (last - 1, 2), (u64::MAX, 1), (0, u32::MAX)] {
        let status = queue.deallocate(&[(64, 8), bad])?;
        assert!(status.is(Status::LBA_OUT_OF_RANGE), "{bad:?}: {status}");
    }
    scene.is_well()?;
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
    scene.ends_well()
}

#[test]
fn rows_59_and_60_properties_and_features_that_are_not_there() -> Result {
    let scene = Scene::new()?;
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &HostOptions::named(14))?;
    let mut property = |fctype, attributes: u32, offset: u32| -> Result {
        let mut sqe = Sqe::fabrics(fctype, 0);
        sqe.cdw10 = attributes.into();
        sqe.cdw11 = offset.into();
        let status = host.admin.command(sqe)?.status;
        assert!(
            !status.is_success(),
            "{fctype} {attributes} {offset:#x}: {status}"
        );
        Ok(())
    };
    let (set, get) = (0, 4);
    for (attributes, offset) in [
        (2, 0x14),
        (7, 0x14),
        (1, 0x14),
        (0, 0x24),
        (0, 3),
        (1, u32::MAX),
    ] {
        property(get, attributes, offset)?;
        property(set, attributes, offset)?;
    }
    for offset in [0x00, 0x08, 0x1c, 0x28, 0x30] {
        property(set, 0, offset)?;
    }
    for feature in [0x00, 0x7f, 0xc0, 0xff] {
        assert!(
            !host.set_feature(feature, 1)?.status.is_success(),
            "{feature:#x}"
        );
    }
    // Saved values there are none of; and 65,536 queues neither.
    assert!(!host.set_feature(0x8000_000b, 0)?.status.is_success());
    assert!(!host.set_feature(0x07, u32::MAX)?.status.is_success());
    assert!(host.keep_alive()?.status.is_success());
    drop(host);
    scene.ends_well()
}
