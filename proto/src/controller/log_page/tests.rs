use std::mem::offset_of;
use std::time::Duration;

use proptest::prelude::*;
use zerocopy::FromBytes;

use super::super::Kind;
use super::super::tests::{Bench, log_sqe};
use super::*;
use crate::opcode::{self, admin};

const SIZES: [(u8, u64); 8] = [
    (0x00, 1024),
    (0x01, 4096),
    (0x02, 512),
    (0x03, 512),
    (0x04, 4096),
    (0x05, 4096),
    (0x12, 1024),
    (0x13, 4096),
];

#[test]
fn fields_stand_where_the_specification_puts_them() {
    let offsets = [
        (offset_of!(ErrorEntry, sqid), 8),
        (offset_of!(ErrorEntry, cid), 10),
        (offset_of!(ErrorEntry, status), 12),
        (offset_of!(ErrorEntry, location), 14),
        (offset_of!(ErrorEntry, lba), 16),
        (offset_of!(ErrorEntry, nsid), 24),
        (offset_of!(ErrorEntry, vendor), 28),
        (offset_of!(ErrorEntry, trtype), 29),
        (offset_of!(HealthInformation, temperature), 1),
        (offset_of!(HealthInformation, available_spare), 3),
        (offset_of!(HealthInformation, percentage_used), 5),
        (offset_of!(HealthInformation, data_units_read), 32),
        (offset_of!(HealthInformation, data_units_written), 48),
        (offset_of!(HealthInformation, host_reads), 64),
        (offset_of!(HealthInformation, host_writes), 80),
        (offset_of!(HealthInformation, busy_minutes), 96),
        (offset_of!(HealthInformation, power_cycles), 112),
        (offset_of!(HealthInformation, power_on_hours), 128),
        (offset_of!(HealthInformation, unsafe_shutdowns), 144),
        (offset_of!(HealthInformation, media_errors), 160),
        (offset_of!(HealthInformation, error_entries), 176),
        (offset_of!(HealthInformation, temperature_minutes), 192),
    ];
    for (offset, expected) in offsets {
        assert_eq!(offset, expected);
    }
}

#[test]
fn the_supported_pages_are_the_ones_that_can_be_read() {
    for kind in [Kind::Io, Kind::Discovery] {
        let mut bench = Bench::new(kind);
        let supported = bench.data(&log_sqe(0, 0, 1024, false));
        for lid in 0..=255_u8 {
            let sqe = log_sqe(lid, 0, 4, true);
            let readable = bench.succeeds(&sqe);
            if !readable {
                assert_eq!(bench.status(&sqe), Status::INVALID_LOG_PAGE.dnr());
            }
            let announced = supported[usize::from(lid) * 4] == 1;
            assert_eq!(readable, announced, "{kind:?} {lid:#x}");
        }
    }
}

#[test]
fn offsets_are_multiples_of_four_within_the_page() {
    let mut bench = Bench::new(Kind::Io);
    let invalid = Status::INVALID_FIELD.dnr();
    for (lid, size) in SIZES {
        for offset in [1, 2, 3, 6, u64::MAX] {
            assert_eq!(bench.status(&log_sqe(lid, offset, 4, true)), invalid);
        }
        for offset in [size + 4, 1 << 32, u64::MAX - 3] {
            assert_eq!(
                bench.status(&log_sqe(lid, offset, 4, true)),
                invalid,
                "{lid} {offset}"
            );
        }
        assert_eq!(
            bench.data(&log_sqe(lid, size, 8, true)),
            [0; 8],
            "the end itself is empty"
        );
    }
}

#[test]
fn lengths_are_bounded_before_anything_is_allocated() {
    let mut bench = Bench::new(Kind::Io);
    assert_eq!(bench.data(&log_sqe(2, 0, 1 << 20, true)).len(), 1 << 20);
    for length in [(1 << 20) + 4, 1 << 31, 1 << 34] {
        let status = bench.status(&log_sqe(2, 0, length, true));
        assert_eq!(status, Status::INVALID_FIELD.dnr(), "{length}");
    }
}

#[test]
fn offsets_in_other_units_are_refused() {
    let mut bench = Bench::new(Kind::Io);
    let mut index = log_sqe(5, 0, 4, true);
    index.cdw14 = (1 << 23).into();
    assert_eq!(bench.status(&index), Status::INVALID_FIELD.dnr());
}

#[test]
fn no_command_of_another_command_set_is_supported() {
    let mut bench = Bench::new(Kind::Io);
    let io_commands = 1024..2048;
    let nvm = bench.data(&log_sqe(5, 0, 4096, true));
    assert!(nvm[io_commands.clone()].iter().any(|&byte| byte != 0));
    let mut zoned = log_sqe(5, 0, 4096, true);
    zoned.cdw14 = (2 << 24).into();
    let zoned = bench.data(&zoned);
    assert!(zoned[io_commands].iter().all(|&byte| byte == 0));
    assert_eq!(
        zoned[..1024],
        nvm[..1024],
        "admin commands are the same for all"
    );
}

#[test]
fn health_is_of_the_controller_only() {
    let mut bench = Bench::new(Kind::Io);
    bench.io = IoStatistics {
        bytes_read: 512_001,
        bytes_written: 512_000,
        reads: 3,
        writes: 4,
        media_errors: 5,
        uptime: Duration::from_secs(7200),
    };
    bench.errors.record(0, 1, Status::INVALID_FIELD.dnr(), None);
    let data = bench.data(&log_sqe(2, 0, 512, false));
    let health = HealthInformation::read_from_bytes(&data).unwrap();
    assert_eq!(health.data_units_read[0].get(), 2, "rounded up");
    assert_eq!(health.data_units_written[0].get(), 1);
    assert_eq!(
        (health.host_reads[0].get(), health.host_writes[0].get()),
        (3, 4)
    );
    assert_eq!(
        (health.media_errors[0].get(), health.error_entries[0].get()),
        (5, 1)
    );
    assert_eq!(health.power_on_hours[0].get(), 2);
    assert_eq!((health.critical_warning, health.available_spare), (0, 100));
    let mut single = log_sqe(2, 0, 512, false);
    single.nsid = 1.into();
    assert_eq!(bench.status(&single), Status::INVALID_FIELD.dnr());
    single.nsid = 0.into();
    assert_eq!(bench.data(&single), data);
}

#[test]
fn the_firmware_is_in_its_only_slot() {
    let data = Bench::new(Kind::Io).data(&log_sqe(3, 0, 16, false));
    assert_eq!(data, *b"\x01\0\0\0\0\0\0\x000.1.0   ");
}

#[test]
fn failures_are_logged_newest_first_and_the_oldest_go() {
    let mut bench = Bench::new(Kind::Io);
    let mut write = Sqe::new(opcode::nvm::WRITE, 9);
    write.nsid = 3.into();
    write.set_cdw10_11(0x1_0000_0000);
    for cid in 0..100 {
        bench
            .errors
            .record(1, cid, Status::LBA_OUT_OF_RANGE.dnr(), Some(&write));
    }
    let data = bench.data(&log_sqe(1, 0, 4096, false));
    let (newest, rest) = ErrorEntry::read_from_prefix(&data).unwrap();
    assert_eq!(newest.error_count.get(), 100);
    assert_eq!(
        (newest.sqid.get(), newest.cid.get(), newest.nsid.get()),
        (1, 99, 3)
    );
    assert_eq!(newest.lba.get(), 0x1_0000_0000);
    assert_eq!(
        newest.status.get(),
        Status::LBA_OUT_OF_RANGE.dnr().to_wire()
    );
    assert_eq!(
        ErrorEntry::read_from_prefix(rest)
            .unwrap()
            .0
            .error_count
            .get(),
        99
    );
    let (_, oldest) = ErrorEntry::read_from_suffix(&data).unwrap();
    assert_eq!(oldest.error_count.get(), 37);
    assert_eq!(bench.errors.count(), 100);
}

#[test]
fn a_fabrics_command_has_no_namespace() {
    let mut errors = ErrorLog::new();
    let sqe = Sqe::fabrics(opcode::fabrics::PROPERTY_GET, 1);
    errors.record(0, 1, Status::INVALID_FIELD.dnr(), Some(&sqe));
    let (entry, _) = ErrorEntry::read_from_prefix(&errors.page()).unwrap();
    assert_eq!(entry.nsid.get(), 0);
}

#[test]
fn effects_name_every_command_that_works_and_no_other() {
    let data = Bench::new(Kind::Io).data(&log_sqe(5, 0, 4096, false));
    let effects = |table: usize, opcode: u8| {
        u32::read_from_prefix(&data[table * 1024 + usize::from(opcode) * 4..])
            .unwrap()
            .0
    };
    let named = |table| {
        (0..=255_u8)
            .filter(|&opcode| effects(table, opcode) & 1 != 0)
            .count()
    };
    assert_eq!((named(0), named(1)), (8, 8));
    assert_eq!(effects(0, admin::IDENTIFY), 1 | 1 << 21);
    assert_eq!(effects(1, opcode::nvm::READ), 1 | 1 << 20);
    assert_eq!(effects(1, opcode::nvm::WRITE), 0b11 | 1 << 20);
    assert!(data[2048..].iter().all(|&byte| byte == 0));
}

#[test]
fn feature_effects_name_the_features_that_can_be_read() {
    let mut bench = Bench::new(Kind::Io);
    let data = bench.data(&log_sqe(0x12, 0, 1024, false));
    for fid in 0..=255_u8 {
        let mut sqe = Sqe::new(admin::GET_FEATURES, 1);
        sqe.cdw10 = u32::from(fid).into();
        sqe.cdw11 = u32::from(fid == 0x81).into();
        let readable = bench.succeeds(&sqe);
        assert_eq!(readable, data[usize::from(fid) * 4] == 1, "{fid:#x}");
    }
}

proptest! {
    #[test]
    fn any_split_of_reads_reassembles_to_the_page(
        page in 0_usize..8,
        pieces in proptest::collection::vec(1_u64..300, 1..20),
    ) {
        let (lid, size) = SIZES[page];
        let mut bench = Bench::new(Kind::Io);
        bench.controller.namespaces_changed((1..500).step_by(3));
        for cid in 0..20 {
            bench.errors.record(0, cid, Status::INVALID_FIELD, None);
        }
        let whole = bench.data(&log_sqe(lid, 0, size, true));
        let mut read = Vec::new();
        for piece in pieces.iter().cycle() {
            if read.len() as u64 >= size {
                break;
            }
            read.extend(bench.data(&log_sqe(lid, read.len() as u64, piece * 4, true)));
        }
        prop_assert_eq!(&read[..whole.len()], &whole);
        prop_assert!(read[whole.len()..].iter().all(|&byte| byte == 0));
    }
}
