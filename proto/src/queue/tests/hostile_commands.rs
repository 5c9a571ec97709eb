//! Commands that are wrong below their meaning (tests/NEGATIVE.md, rows 49–52): their number, their
//! identifiers, their descriptors, and halves of fused pairs.

use super::super::Step;
use super::target::{
    DIGESTS, LAST, PLAIN, Target, capsule, h2c, read_sqe, solicited_write, status_of, write_sqe,
};
use crate::cqe::Completion;
use crate::opcode::admin;
use crate::pdu::{Fes, Header, PduError};
use crate::sqe::{SglDescriptor, Sqe};
use crate::status::Status;

#[test]
fn row_49_more_commands_than_entries_are_taken_twice_over_and_then_reading_stops() {
    let mut target = Target::new(PLAIN);
    for cid in 0..8 {
        assert!(!target.queue.is_full());
        target
            .feed(&capsule(PLAIN, &read_sqe(cid, 512), &[]))
            .unwrap();
    }
    assert!(target.queue.is_full(), "the driver reads no more");
    while let Some(tag) = target.ready.pop() {
        target.queue.complete_read(tag, vec![0; 512]);
    }
    assert!(!target.queue.is_full());
    // Each of these waits for the host, which sends more commands instead of data.
    for cid in 0..8 {
        target
            .feed(&capsule(PLAIN, &solicited_write(cid, 512), &[]))
            .unwrap();
    }
    target.answers();
    let error = target.feed(&capsule(PLAIN, &solicited_write(8, 512), &[]));
    assert_eq!(error, Err(PduError::sequence(0)));
    target.is_terminated(Fes::SequenceError, 0);
}

#[test]
fn row_50_an_identifier_in_use_is_refused_and_the_first_command_goes_on() {
    let mut target = Target::new(PLAIN);
    target
        .feed(&capsule(PLAIN, &solicited_write(7, 512), &[]))
        .unwrap();
    let tags = (7, target.r2t());
    for again in [
        capsule(PLAIN, &read_sqe(7, 512), &[]),
        capsule(PLAIN, &write_sqe(7, 4), &[1; 4]),
    ] {
        let status = Status::COMMAND_ID_CONFLICT;
        assert_eq!(
            target.feed(&again),
            Ok(vec![Step::Failed { cid: 7, status }])
        );
        assert_eq!(status_of(&target.answers()), (7, status));
    }
    target.feed(&h2c(PLAIN, tags, 0, 512, LAST)).unwrap();
    let tag = target.ready.pop().unwrap();
    assert_eq!(target.queue.take_data(tag), [0xda; 512]);
    target.queue.complete(tag, Completion::SUCCESS);
    assert_eq!(status_of(&target.answers()), (7, Status::SUCCESS));
}

#[test]
fn row_51_descriptors_that_say_the_wrong_thing_fail_their_command_and_the_queue_goes_on() {
    type Spoil = fn(&mut Sqe);
    let cases: [(&str, Spoil, usize, Status); 11] = [
        (
            "PRP instead of SGL",
            |sqe| sqe.flags = 0,
            512,
            Status::INVALID_FIELD,
        ),
        (
            "SGL in a segment",
            |sqe| sqe.flags = 0x80,
            512,
            Status::INVALID_FIELD,
        ),
        (
            "reserved PSDT",
            |sqe| sqe.flags = 0xc0,
            512,
            Status::INVALID_FIELD,
        ),
        (
            "data block with address",
            |sqe| sqe.sgl.kind = 0,
            512,
            Status::SGL_DESCRIPTOR_TYPE_INVALID,
        ),
        (
            "bit bucket",
            |sqe| sqe.sgl.kind = 0x10,
            512,
            Status::SGL_DESCRIPTOR_TYPE_INVALID,
        ),
        (
            "keyed",
            |sqe| sqe.sgl.kind = 0x40,
            512,
            Status::SGL_DESCRIPTOR_TYPE_INVALID,
        ),
        (
            "offset in the capsule",
            |sqe| sqe.sgl.address = 4.into(),
            512,
            Status::SGL_OFFSET_INVALID,
        ),
        (
            "shorter than the capsule",
            |sqe| sqe.sgl.length = 508.into(),
            512,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        (
            "longer than the capsule",
            |sqe| sqe.sgl.length = 516.into(),
            512,
            Status::DATA_SGL_LENGTH_INVALID,
        ),
        (
            "by the transport, and yet in the capsule",
            |sqe| sqe.sgl.kind = 0x5a,
            512,
            Status::INVALID_FIELD,
        ),
        (
            "beyond MDTS (nvmet 4a3f0026)",
            |sqe| sqe.sgl = SglDescriptor::transport(u32::MAX),
            0,
            Status::INVALID_FIELD,
        ),
    ];
    let mut target = Target::new(PLAIN);
    for (name, spoil, data, status) in cases {
        println!("{name}");
        let mut sqe = write_sqe(7, 512);
        spoil(&mut sqe);
        let status = status.dnr();
        let steps = target.feed(&capsule(PLAIN, &sqe, &vec![0; data]));
        assert_eq!(steps, Ok(vec![Step::Failed { cid: 7, status }]));
        assert_eq!(status_of(&target.answers()), (7, status));
        assert!(target.ready.is_empty() && target.queue.outstanding() == 0);
    }
}

#[test]
fn row_51_a_descriptor_that_is_too_short_for_its_command_moves_nothing() {
    let mut target = Target::new(PLAIN);
    let mut read = read_sqe(7, 4096);
    read.sgl.length = 4092.into();
    target.feed(&capsule(PLAIN, &read, &[])).unwrap();
    let expected = Status::DATA_SGL_LENGTH_INVALID.dnr();
    assert_eq!(status_of(&target.answers()), (7, expected));
    let mut write = write_sqe(8, 4096);
    write.sgl.length = 512.into();
    target.feed(&capsule(PLAIN, &write, &[0; 512])).unwrap();
    assert_eq!(status_of(&target.answers()), (8, expected));
    // Room for more than a read brings is legal; only what was asked for comes.
    let mut read = read_sqe(9, 512);
    read.sgl.length = 8192.into();
    target.feed(&capsule(PLAIN, &read, &[])).unwrap();
    let tag = target.ready.pop().unwrap();
    assert_eq!(target.queue.to_host(tag), 512);
}

#[test]
fn row_51_a_read_into_the_capsule_is_refused() {
    let mut target = Target::new(PLAIN);
    let sgl = SglDescriptor::in_capsule(512);
    let read = Sqe {
        sgl,
        ..read_sqe(7, 512)
    };
    target.feed(&capsule(PLAIN, &read, &[0; 512])).unwrap();
    let expected = Status::SGL_DESCRIPTOR_TYPE_INVALID.dnr();
    assert_eq!(status_of(&target.answers()), (7, expected));
}

#[test]
fn row_52_halves_of_a_fused_pair_fail_without_each_other_under_their_own_identifiers() {
    let fused = |cid, bits| {
        let mut sqe = write_sqe(cid, 512);
        sqe.flags |= bits;
        capsule(PLAIN, &sqe, &[0; 512])
    };
    let (first, second, normal) = (0b01, 0b10, 0b00);
    let missing = Status::FUSED_MISSING;
    let cases = [
        ("second alone", vec![fused(1, second)], vec![(1, missing)]),
        (
            "first, then an unfused command",
            vec![fused(1, first), fused(2, normal)],
            vec![(1, missing)],
        ),
        (
            "first twice",
            vec![fused(1, first), fused(2, first), fused(3, normal)],
            vec![(1, missing), (2, missing)],
        ),
        (
            "second twice",
            vec![fused(1, first), fused(2, second), fused(3, second)],
            vec![(3, missing)],
        ),
    ];
    for (name, commands, expected) in cases {
        println!("{name}");
        let mut target = Target::new(PLAIN);
        let mut failed = Vec::new();
        for command in commands {
            for step in target.feed(&command).unwrap() {
                match step {
                    Step::Failed { cid, status } => failed.push((cid, status)),
                    Step::Capsule(_) | Step::Ready(_) | Step::Terminated { .. } => unreachable!(),
                }
            }
        }
        assert_eq!(failed, expected);
    }
    // Both bits at once are reserved; a first half before them is alone.
    let mut target = Target::new(PLAIN);
    target.feed(&fused(1, first)).unwrap();
    let steps = target.feed(&fused(2, 0b11)).unwrap();
    let (cid, status) = (2, Status::INVALID_FIELD.dnr());
    let missed = Step::Failed {
        cid: 1,
        status: missing,
    };
    assert_eq!(steps, [missed, Step::Failed { cid, status }]);
    assert!(target.ready.is_empty() && target.queue.outstanding() == 0);
}

#[test]
fn a_half_whose_partner_failed_is_not_executed() {
    let mut target = Target::new(DIGESTS);
    let mut compare = write_sqe(1, 512);
    compare.flags |= 0b01;
    let mut pdu = capsule(DIGESTS, &compare, &[0; 512]);
    *pdu.last_mut().unwrap() ^= 1;
    target.feed(&pdu).unwrap();
    let mut write = write_sqe(2, 512);
    write.flags |= 0b10;
    let steps = target.feed(&capsule(DIGESTS, &write, &[0; 512])).unwrap();
    assert!(matches!(steps[..], [Step::Failed { cid: 2, .. }]));
    assert!(target.ready.is_empty() && target.queue.outstanding() == 0);
}

#[test]
fn row_66_what_a_host_does_not_read_is_counted_until_it_leaves() {
    let mut target = Target::new(PLAIN);
    target
        .feed(&capsule(PLAIN, &read_sqe(1, 1 << 20), &[]))
        .unwrap();
    assert_eq!(target.queue.backlog(), 1 << 20, "promised");
    let tag = target.ready.pop().unwrap();
    target.queue.complete_read(tag, vec![0; 1 << 20]);
    let (four_pdus, response) = (4 * 24, 24);
    assert_eq!(target.queue.backlog(), (1 << 20) + four_pdus + response);
    target.queue.outbox().advance(1 << 20);
    assert_eq!(target.queue.backlog(), four_pdus + response);
    target.queue.outbox().take();
    assert_eq!(target.queue.backlog(), 0);
    // A read that fails promises nothing any more.
    target
        .feed(&capsule(PLAIN, &read_sqe(1, 4096), &[]))
        .unwrap();
    let tag = target.ready.pop().unwrap();
    let error = Status::UNRECOVERED_READ_ERROR;
    target.queue.complete(tag, error.into());
    assert_eq!(status_of(&target.answers()), (1, error));
    assert_eq!(target.queue.backlog(), 0);
}

#[test]
fn commands_that_a_reset_forgets_are_consumed_like_any_other() {
    let mut target = Target::new(PLAIN);
    let event_request = |cid| capsule(PLAIN, &Sqe::new(admin::ASYNC_EVENT_REQUEST, cid), &[]);
    for cid in 0..5 {
        target.feed(&event_request(cid)).unwrap();
        let tag = target.ready.pop().unwrap();
        target.queue.hold(tag);
        target.queue.forget(tag);
    }
    target
        .feed(&capsule(PLAIN, &Sqe::new(admin::KEEP_ALIVE, 9), &[]))
        .unwrap();
    let tag = target.ready.pop().unwrap();
    target.queue.complete(tag, Completion::SUCCESS);
    match target.answers()[..] {
        // Six commands on a queue of four entries.
        [Header::CapsuleResp(capsule)] => assert_eq!(capsule.cqe.sqhd.get(), 6 % 4),
        ref other => panic!("{other:?}"),
    }
}
