use super::super::tests::{Bench, ENABLE, namespace};
use super::super::{Kind, NamespaceInfo};
use super::*;
use crate::opcode::admin;

fn read(fid: u32, select: u32, argument: u32) -> Sqe {
    let mut sqe = Sqe::new(admin::GET_FEATURES, 1);
    sqe.cdw10 = (fid | select << 8).into();
    sqe.cdw11 = argument.into();
    sqe
}

fn write(fid: u32, value: u32) -> Sqe {
    let mut sqe = Sqe::new(admin::SET_FEATURES, 1);
    sqe.cdw10 = fid.into();
    sqe.cdw11 = value.into();
    sqe
}

fn result(bench: &mut Bench, sqe: &Sqe) -> Result<u64, Status> {
    let Completion { status, result } = bench.completion(sqe);
    if status.is_success() {
        Ok(result)
    } else {
        Err(status)
    }
}

const INVALID: Result<u64, Status> = Err(Status::INVALID_FIELD.dnr());

#[test]
fn what_is_written_is_read_until_a_reset() {
    let mut bench = Bench::new(Kind::Io);
    let cases = [
        (0x01, 0x0102_0307, 7),
        (0x02, 0x60, 0),
        (0x04, 0x0150, 0xffff),
        (0x05, 0x64, 0),
        (0x06, 0, 1),
        (0x0a, 1, 0),
        (0x0b, 0x1, 0x100),
        (0x0f, 30_000, 120_000),
    ];
    for (fid, value, default) in cases {
        assert_eq!(
            result(&mut bench, &read(fid, 0, 0)),
            Ok(default),
            "{fid:#x}"
        );
        assert_eq!(result(&mut bench, &write(fid, value)), Ok(0), "{fid:#x}");
        assert_eq!(
            result(&mut bench, &read(fid, 0, 0)),
            Ok(value.into()),
            "current {fid:#x}"
        );
        assert_eq!(
            result(&mut bench, &read(fid, 1, 0)),
            Ok(default),
            "default {fid:#x}"
        );
        assert_eq!(
            result(&mut bench, &read(fid, 2, 0)),
            Ok(default),
            "saved {fid:#x}"
        );
        assert_eq!(
            result(&mut bench, &read(fid, 3, 0)),
            Ok(4),
            "supported {fid:#x}"
        );
    }
    assert!(!bench.controller.write_cache_enabled());
    bench.write_cc(ENABLE & !1).unwrap();
    bench.write_cc(ENABLE).unwrap();
    assert!(bench.controller.write_cache_enabled());
    for (fid, value, default) in cases {
        // KATO belongs to the association.
        let expected = if fid == 0x0f { value.into() } else { default };
        assert_eq!(
            result(&mut bench, &read(fid, 0, 0)),
            Ok(expected),
            "{fid:#x}"
        );
    }
}

#[test]
fn queues_are_granted_in_pairs_until_one_exists() {
    let mut bench = Bench::new(Kind::Io);
    assert_eq!(bench.controller.io_queues_granted(), 8);
    assert_eq!(result(&mut bench, &write(7, 0x0003_0003)), Ok(0x0003_0003));
    assert_eq!(bench.controller.io_queues_granted(), 4);
    assert_eq!(result(&mut bench, &write(7, 0x0001_00ff)), Ok(0x0001_0001));
    assert_eq!(
        result(&mut bench, &write(7, 0xfffe_fffe)),
        Ok(0x0007_0007),
        "no more than 8"
    );
    for value in [0xffff, 0xffff_0000, u32::MAX] {
        assert_eq!(result(&mut bench, &write(7, value)), INVALID);
    }
    bench.controller.io_queue_created();
    let late = Err(Status::COMMAND_SEQUENCE_ERROR.dnr());
    assert_eq!(result(&mut bench, &write(7, 0)), late);
    assert_eq!(result(&mut bench, &read(7, 0, 0)), Ok(0x0007_0007));
    bench.write_cc(0).unwrap();
    bench.write_cc(ENABLE).unwrap();
    assert_eq!(result(&mut bench, &write(7, 0)), Ok(0));
    assert_eq!(bench.controller.io_queues_granted(), 1);
}

#[test]
fn nothing_can_be_saved() {
    let mut bench = Bench::new(Kind::Io);
    for fid in [0x01, 0x06, 0x07, 0x0b, 0x0f] {
        let sqe = write(fid | 1 << 31, 0);
        assert_eq!(
            result(&mut bench, &sqe),
            Err(Status::FEATURE_NOT_SAVEABLE.dnr())
        );
    }
}

#[test]
fn unknown_features_and_selections_are_invalid_fields() {
    let mut bench = Bench::new(Kind::Io);
    for fid in [
        0x00, 0x03, 0x08, 0x09, 0x0c, 0x0e, 0x10, 0x16, 0x80, 0x82, 0xc0, 0xff,
    ] {
        assert_eq!(result(&mut bench, &read(fid, 0, 0)), INVALID, "{fid:#x}");
        assert_eq!(result(&mut bench, &write(fid, 0)), INVALID, "{fid:#x}");
    }
    for select in 4..8 {
        assert_eq!(result(&mut bench, &read(7, select, 0)), INVALID);
    }
}

#[test]
fn the_host_identifier_is_read_whole_and_never_set() {
    let mut bench = Bench::new(Kind::Io);
    assert_eq!(bench.data(&read(0x81, 0, 1)), [7; 16]);
    assert_eq!(
        result(&mut bench, &read(0x81, 0, 0)),
        INVALID,
        "64 bits are not enough"
    );
    assert_eq!(result(&mut bench, &read(0x81, 3, 0)), Ok(0));
    let fixed = Err(Status::COMMAND_SEQUENCE_ERROR.dnr());
    assert_eq!(result(&mut bench, &write(0x81, 1)), fixed);
}

#[test]
fn values_that_would_be_lies_are_refused() {
    let mut bench = Bench::new(Kind::Io);
    assert_eq!(
        result(&mut bench, &write(0x02, 1)),
        INVALID,
        "another power state"
    );
    assert_eq!(result(&mut bench, &write(0x05, 1 << 16)), INVALID, "DULBE");
    assert_eq!(
        result(&mut bench, &write(0x04, 1 << 16)),
        INVALID,
        "a sensor we do not have"
    );
    assert_eq!(
        result(&mut bench, &write(0x04, 2 << 20)),
        INVALID,
        "a reserved threshold"
    );
    assert_eq!(result(&mut bench, &write(0x19, 0)), Ok(0));
    let rejected = Err(Status::COMMAND_SET_COMBINATION_REJECTED.dnr());
    assert_eq!(result(&mut bench, &write(0x19, 1)), rejected);
}

#[test]
fn thresholds_above_and_below_are_two() {
    let mut bench = Bench::new(Kind::Io);
    assert_eq!(result(&mut bench, &write(0x04, 1 << 20 | 0x100)), Ok(0));
    assert_eq!(result(&mut bench, &read(0x04, 0, 1 << 20)), Ok(0x100));
    assert_eq!(result(&mut bench, &read(0x04, 0, 0)), Ok(0xffff));
}

#[test]
fn without_a_cache_there_is_nothing_to_switch() {
    let mut bench = Bench::new(Kind::Io);
    bench.set_namespaces([(
        1,
        NamespaceInfo {
            volatile_cache: false,
            ..namespace()
        },
    )]);
    assert_eq!(result(&mut bench, &read(0x06, 0, 0)), INVALID);
    assert_eq!(result(&mut bench, &write(0x06, 0)), INVALID);
}

#[test]
fn a_discovery_controller_has_two_features() {
    let mut bench = Bench::new(Kind::Discovery);
    assert_eq!(result(&mut bench, &read(0x0b, 0, 0)), Ok(1 << 31));
    assert_eq!(result(&mut bench, &write(0x0b, 0)), Ok(0));
    assert_eq!(result(&mut bench, &write(0x0f, 1500)), Ok(0));
    assert_eq!(
        result(&mut bench, &read(0x0f, 0, 0)),
        Ok(2000),
        "rounded up to KAS"
    );
    for fid in [0x01, 0x02, 0x06, 0x07, 0x19, 0x81] {
        assert_eq!(result(&mut bench, &read(fid, 0, 1)), INVALID, "{fid:#x}");
    }
}
