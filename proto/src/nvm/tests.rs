use std::mem::offset_of;

use proptest::prelude::*;
use zerocopy::FromZeros;

use super::*;

const GEOMETRY: Geometry = Geometry {
    blocks: 1000,
    block_size: 512,
};
const MAX_TRANSFER: u32 = 128 << 10;

/// An entry for `blocks` (1–65536) from `lba`.
fn sqe(opcode: u8, lba: u64, blocks: u32) -> Sqe {
    let mut sqe = Sqe::new(opcode, 1);
    sqe.nsid = 1.into();
    sqe.set_cdw10_11(lba);
    sqe.cdw12 = (blocks - 1).into();
    sqe
}

fn parse(sqe: &Sqe) -> Result<Command, Status> {
    Command::parse(sqe, &GEOMETRY, MAX_TRANSFER)
}

fn invalid<T>() -> Result<T, Status> {
    Err(Status::INVALID_FIELD.dnr())
}

const OUT_OF_RANGE: Status = Status::LBA_OUT_OF_RANGE.dnr();

#[test]
fn ranges_are_laid_out_as_the_specification_has_them() {
    assert_eq!(offset_of!(DsmRange, blocks), 4);
    assert_eq!(offset_of!(DsmRange, lba), 8);
    assert_eq!(offset_of!(CopyRange, lba), 8);
    assert_eq!(offset_of!(CopyRange, blocks), 16);
    assert_eq!(offset_of!(CopyRange, protection), 24);
}

#[test]
fn a_read_says_what_it_moves() {
    let command = parse(&sqe(opcode::nvm::READ, 992, 8)).unwrap();
    let extent = Extent {
        lba: 992,
        blocks: 8,
    };
    assert_eq!(command, Command::Read { extent });
    assert_eq!(command.data(&GEOMETRY), Data::ToHost(4096));
    assert_eq!(
        (extent.offset(&GEOMETRY), extent.bytes(&GEOMETRY)),
        (507_904, 4096)
    );
}

#[test]
fn every_command_is_parsed() {
    let extent = Extent { lba: 8, blocks: 8 };
    let cases = [
        (
            opcode::nvm::WRITE,
            Command::Write { extent, fua: true },
            Data::FromHost(4096),
        ),
        (
            opcode::nvm::COMPARE,
            Command::Compare { extent },
            Data::FromHost(4096),
        ),
        (opcode::nvm::VERIFY, Command::Verify { extent }, Data::None),
        (opcode::nvm::FLUSH, Command::Flush, Data::None),
        (
            opcode::nvm::WRITE_ZEROES,
            Command::WriteZeroes {
                extent,
                deallocate: false,
                fua: true,
            },
            Data::None,
        ),
    ];
    for (opcode, expected, data) in cases {
        let mut sqe = sqe(opcode, 8, 8);
        sqe.cdw12 = (sqe.cdw12.get() | FUA).into();
        let command = parse(&sqe).unwrap();
        assert_eq!(command, expected);
        assert_eq!(command.data(&GEOMETRY), data);
    }
}

#[test]
fn only_what_changes_blocks_is_refused_by_a_read_only_namespace() {
    let modifies = |opcode| parse(&sqe(opcode, 0, 1)).unwrap().modifies();
    assert!(modifies(opcode::nvm::WRITE) && modifies(opcode::nvm::WRITE_ZEROES));
    assert!(!modifies(opcode::nvm::READ) && !modifies(opcode::nvm::COMPARE));
    assert!(!modifies(opcode::nvm::FLUSH) && !modifies(opcode::nvm::VERIFY));
    assert!(
        !modifies(opcode::nvm::DATASET_MANAGEMENT),
        "without AD it is only a hint"
    );
}

#[test]
fn nothing_lies_beyond_the_end() {
    for opcode in [
        opcode::nvm::READ,
        opcode::nvm::WRITE,
        opcode::nvm::COMPARE,
        opcode::nvm::VERIFY,
        opcode::nvm::WRITE_ZEROES,
    ] {
        assert!(parse(&sqe(opcode, 999, 1)).is_ok());
        for (lba, blocks) in [
            (999, 2),
            (1000, 1),
            (u64::MAX, 1),
            (u64::MAX, 65_536),
            (0, 65_536),
        ] {
            assert_eq!(
                parse(&sqe(opcode, lba, blocks)),
                Err(OUT_OF_RANGE),
                "{lba}+{blocks}"
            );
        }
    }
}

#[test]
fn lengths_do_not_overflow_32_bits() {
    // 65536 blocks of 64 KiB are 4 GiB, which is 0 in 32 bits.
    let huge = Geometry {
        blocks: 1 << 40,
        block_size: 65_536,
    };
    for opcode in [opcode::nvm::READ, opcode::nvm::WRITE_ZEROES] {
        assert_eq!(
            Command::parse(&sqe(opcode, 0, 65_536), &huge, u32::MAX),
            invalid()
        );
    }
}

#[test]
fn transfers_are_bounded_by_mdts() {
    assert!(parse(&sqe(opcode::nvm::WRITE, 0, 256)).is_ok());
    for opcode in [
        opcode::nvm::READ,
        opcode::nvm::WRITE,
        opcode::nvm::COMPARE,
        opcode::nvm::VERIFY,
    ] {
        assert_eq!(parse(&sqe(opcode, 0, 257)), invalid());
    }
}

#[test]
fn write_zeroes_has_a_limit_of_its_own() {
    let geometry = Geometry {
        blocks: 1 << 30,
        block_size: 4096,
    };
    let parse =
        |blocks| Command::parse(&sqe(opcode::nvm::WRITE_ZEROES, 0, blocks), &geometry, 4096);
    assert!(parse(8192).is_ok());
    assert_eq!(parse(8193), invalid());
    let small = Geometry {
        blocks: 1 << 30,
        block_size: 512,
    };
    let whole = sqe(opcode::nvm::WRITE_ZEROES, 0, 65_536);
    assert!(
        Command::parse(&whole, &small, 4096).is_ok(),
        "all that NLB can say"
    );
}

#[test]
fn protection_directives_and_unknown_opcodes_are_refused() {
    let with = |opcode, bits: u32| {
        let mut sqe = sqe(opcode, 0, 1);
        sqe.cdw12 = (sqe.cdw12.get() | bits).into();
        parse(&sqe)
    };
    assert_eq!(with(opcode::nvm::READ, 1 << 29), invalid());
    assert_eq!(with(opcode::nvm::WRITE, 1 << 26), invalid());
    assert_eq!(with(opcode::nvm::WRITE_ZEROES, 1 << 27), invalid());
    assert_eq!(with(opcode::nvm::WRITE, 1 << 20), invalid());
    for opcode in [0x04, 0x0d, 0x0e, 0x11, 0x15, 0x79, 0x80, 0xff] {
        assert_eq!(
            with(opcode, 0),
            Err(Status::INVALID_OPCODE.dnr()),
            "{opcode:#x}"
        );
    }
}

#[test]
fn deallocation_takes_up_to_256_ranges() {
    let mut sqe = Sqe::new(opcode::nvm::DATASET_MANAGEMENT, 1);
    sqe.cdw10 = 0xffff_ffff.into();
    sqe.cdw11 = 4.into();
    let command = parse(&sqe).unwrap();
    assert_eq!(
        command,
        Command::DatasetManagement {
            ranges: 256,
            deallocate: true
        }
    );
    assert_eq!(command.data(&GEOMETRY), Data::FromHost(4096));
    assert!(command.modifies());
}

#[test]
fn ranges_to_deallocate_are_read_and_bounded() {
    let range = |lba: u64, blocks: u32| DsmRange {
        attributes: 0xffff_ffff.into(),
        blocks: blocks.into(),
        lba: lba.into(),
    };
    let list = [range(0, 1000), range(1000, 0), range(999, 1)];
    assert_eq!(
        deallocate_ranges(list.as_bytes(), 3, &GEOMETRY),
        Ok(vec![
            Extent {
                lba: 0,
                blocks: 1000
            },
            Extent {
                lba: 1000,
                blocks: 0
            },
            Extent {
                lba: 999,
                blocks: 1
            },
        ])
    );
    for bad in [range(999, 2), range(u64::MAX, u32::MAX), range(1001, 0)] {
        let list = [range(0, 1), bad];
        assert_eq!(
            deallocate_ranges(list.as_bytes(), 2, &GEOMETRY),
            Err(OUT_OF_RANGE)
        );
    }
    let short = Err(Status::DATA_SGL_LENGTH_INVALID.dnr());
    assert_eq!(
        deallocate_ranges(&list.as_bytes()[..47], 3, &GEOMETRY),
        short
    );
}

fn copy_sqe(destination: u64, ranges: u32) -> Sqe {
    let mut sqe = sqe(opcode::nvm::COPY, destination, 1);
    sqe.cdw12 = (ranges - 1).into();
    sqe
}

fn copy_range(lba: u64, blocks: u16) -> CopyRange {
    let mut range = CopyRange::new_zeroed();
    range.lba = lba.into();
    range.blocks = (blocks - 1).into();
    range
}

#[test]
fn copy_fills_its_destination_from_its_sources() {
    let command = parse(&copy_sqe(500, 2)).unwrap();
    assert_eq!(
        command,
        Command::Copy {
            destination: 500,
            ranges: 2,
            fua: false
        }
    );
    assert_eq!(command.data(&GEOMETRY), Data::FromHost(64));
    let list = [copy_range(0, 10), copy_range(990, 10)];
    assert_eq!(
        copy_ranges(list.as_bytes(), 2, 500, &GEOMETRY),
        Ok(CopyPlan {
            sources: vec![
                Extent { lba: 0, blocks: 10 },
                Extent {
                    lba: 990,
                    blocks: 10
                }
            ],
            destination: Extent {
                lba: 500,
                blocks: 20
            },
        })
    );
    assert_eq!(
        copy_ranges(list.as_bytes(), 2, 981, &GEOMETRY),
        Err(OUT_OF_RANGE)
    );
    let beyond = [copy_range(991, 10)];
    assert_eq!(
        copy_ranges(beyond.as_bytes(), 1, 0, &GEOMETRY),
        Err(OUT_OF_RANGE)
    );
}

#[test]
fn copy_has_the_limits_that_identify_reports() {
    let exceeded = Status::COMMAND_SIZE_LIMIT_EXCEEDED.dnr();
    assert!(parse(&copy_sqe(0, 128)).is_ok());
    assert_eq!(parse(&copy_sqe(0, 129)), Err(exceeded));
    let mut format_1 = copy_sqe(0, 1);
    format_1.cdw12 = (1 << 8).into();
    assert_eq!(parse(&format_1), invalid());

    let large = Geometry {
        blocks: 1 << 20,
        block_size: 512,
    };
    let plan = |list: &[CopyRange]| {
        let ranges = u16::try_from(list.len()).unwrap();
        copy_ranges(list.as_bytes(), ranges, 0, &large)
    };
    assert!(plan(&[copy_range(0, 2048); 8]).is_ok());
    assert_eq!(plan(&[copy_range(0, 2049)]), Err(exceeded), "MSSRL");
    assert_eq!(plan(&[copy_range(0, 2048); 9]), Err(exceeded), "MCL");
}

#[test]
fn only_compare_and_write_of_the_same_blocks_are_fused() {
    let compare = parse(&sqe(opcode::nvm::COMPARE, 8, 1)).unwrap();
    let write = parse(&sqe(opcode::nvm::WRITE, 8, 1)).unwrap();
    let elsewhere = parse(&sqe(opcode::nvm::WRITE, 9, 1)).unwrap();
    let longer = parse(&sqe(opcode::nvm::WRITE, 8, 2)).unwrap();
    assert_eq!(fused_pair(&compare, &write), Ok(()));
    for (first, second) in [
        (compare, elsewhere),
        (compare, longer),
        (write, compare),
        (compare, compare),
    ] {
        assert_eq!(fused_pair(&first, &second), invalid());
    }
}

proptest! {
    #[test]
    fn what_is_parsed_lies_within_its_limits(
        opcode in 0_u8..0x20,
        cdw10 in prop_oneof![0_u32..0x400, any::<u32>()],
        cdw11 in prop_oneof![Just(0_u32), any::<u32>()],
        cdw12 in prop_oneof![0_u32..0x100, any::<u32>()],
        power in 9_u32..17,
    ) {
        let mut sqe = Sqe::new(opcode, 1);
        sqe.cdw10 = cdw10.into();
        sqe.cdw11 = cdw11.into();
        sqe.cdw12 = cdw12.into();
        let geometry = Geometry { blocks: 1 << 16, block_size: 1 << power };
        match Command::parse(&sqe, &geometry, MAX_TRANSFER) {
            Ok(
                command @ (Command::Read { extent }
                | Command::Write { extent, .. }
                | Command::Compare { extent }
                | Command::Verify { extent }),
            ) => {
                prop_assert!(extent.lba + extent.blocks <= geometry.blocks);
                prop_assert!(extent.bytes(&geometry) <= MAX_TRANSFER.into());
                match command.data(&geometry) {
                    Data::ToHost(bytes) | Data::FromHost(bytes) => {
                        prop_assert_eq!(u64::from(bytes), extent.bytes(&geometry));
                    }
                    Data::None => prop_assert_eq!(command, Command::Verify { extent }),
                }
            }
            Ok(_) => {}
            Err(status) => prop_assert!(status.is_dnr()),
        }
    }

    #[test]
    fn garbage_ranges_never_leave_the_namespace(
        data in proptest::collection::vec(any::<u8>(), 0..4096),
        ranges in 1_u16..=256,
        destination in 0_u64..2000,
    ) {
        if let Ok(extents) = deallocate_ranges(&data, ranges, &GEOMETRY) {
            prop_assert!(extents.iter().all(|extent| extent.lba + extent.blocks <= 1000));
        }
        if let Ok(plan) = copy_ranges(&data, ranges, destination, &GEOMETRY) {
            let total: u64 = plan.sources.iter().map(|extent| extent.blocks).sum();
            prop_assert_eq!(plan.destination.blocks, total);
            prop_assert!(destination + total <= 1000);
        }
    }
}
