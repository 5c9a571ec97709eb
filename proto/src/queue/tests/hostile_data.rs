//! What hosts do wrong with PDUs and data on an established queue (tests/NEGATIVE.md, rows 16–25
//! and 40–47), and the answers of FreeBSD's target.

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::super::{SOLICIT_MAX, Step};
use super::target::{
    DIGESTS, LAST, MAXH2CDATA, PLAIN, Target, capsule, h2c, read_sqe, solicited_write, status_of,
    write_sqe,
};
use crate::cqe::Completion;
use crate::opcode::nvm;
use crate::pdu::{CommonHeader, Fes, Header, IcReq, PduError, PduType, termination};
use crate::sqe::{SglDescriptor, Sqe};
use crate::status::Status;

proptest! {
    #[test]
    fn streams_with_a_few_wrong_bytes_never_panic_and_an_error_is_final(
        digests in any::<bool>(),
        commands in prop::collection::vec((0_u8..4, 1_u32..6000), 1..8),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..=255), 0..4),
        cut in 1_usize..3000,
    ) {
        let framing = if digests { DIGESTS } else { PLAIN };
        let mut stream = Vec::new();
        for (cid, (kind, length)) in (0..).zip(commands) {
            stream.extend(match kind {
                0 => capsule(framing, &read_sqe(cid, length), &[]),
                1 => capsule(framing, &write_sqe(cid, length), &vec![1; length as usize]),
                2 => capsule(framing, &solicited_write(cid, length.min(4096)), &[]),
                _ => h2c(framing, (cid.wrapping_sub(1), cid), 0, length.min(4096), LAST),
            });
        }
        for (place, bits) in spoils {
            *place.get_mut(&mut stream) ^= bits;
        }
        let mut target = Target::new(framing);
        for chunk in stream.chunks(cut) {
            let fed = target.feed(chunk);
            prop_assert!(target.queue.outstanding() <= 8);
            prop_assert!(target.queue.wants() <= 8192);
            if fed.is_err() {
                target.ready.clear();
                target.queue.outbox().take();
                target.is_silent();
                break;
            }
            // The engine answers some at once and leaves others.
            if let Some(tag) = target.ready.pop() {
                target.queue.take_data(tag);
                target.queue.complete(tag, Completion::SUCCESS);
            }
        }
    }
}

#[test]
fn row_16_a_second_icreq_is_a_sequence_error() {
    let mut target = Target::new(PLAIN);
    let error = target.feed(IcReq::new(0, 0, false, false).as_bytes());
    assert_eq!(error, Err(PduError::sequence(0)));
    target.is_terminated(Fes::SequenceError, 0);
}

#[test]
fn row_18_types_that_a_controller_does_not_take_are_refused() {
    for number in 0..=u8::MAX {
        let taken = [0x00, 0x02, 0x04, 0x06].contains(&number);
        if !taken {
            let mut target = Target::new(PLAIN);
            let header = [number, 0, 24, 0, 24, 0, 0, 0];
            assert_eq!(target.feed(&header), Err(PduError::field(0)), "{number:#x}");
            target.is_terminated(Fes::InvalidHeaderField, 0);
        }
    }
}

#[test]
fn row_20_in_capsule_data_beyond_the_limit_is_not_awaited() {
    let mut target = Target::new(PLAIN);
    let pdu = capsule(PLAIN, &write_sqe(1, 8196), &[0; 8196]);
    let limit = PduError::Fatal {
        fes: Fes::LimitExceeded,
        fei: 4,
    };
    assert_eq!(target.feed(&pdu[..8]), Err(limit));
    target.is_terminated(Fes::LimitExceeded, 4);
}

#[test]
fn row_23_a_wrong_header_digest_is_sent_back() {
    let pdus = [
        capsule(DIGESTS, &read_sqe(1, 512), &[]),
        capsule(DIGESTS, &write_sqe(1, 512), &[1; 512]),
        h2c(DIGESTS, (1, 0), 0, 512, LAST),
    ];
    for mut pdu in pdus {
        let mut target = Target::new(DIGESTS);
        let at = usize::from(pdu[2]);
        pdu[at] ^= 1;
        let received = u32::from_le_bytes(pdu[at..at + 4].try_into().unwrap());
        assert!(target.feed(&pdu).is_err());
        target.is_terminated(Fes::HeaderDigestError, received);
    }
}

#[test]
fn row_24_a_termination_ends_the_queue_without_an_answer_whatever_its_status() {
    for fes in [0, 1, 6, 7, u16::MAX] {
        for copied in [0, 1, 128] {
            let mut target = Target::new(DIGESTS);
            target
                .feed(&capsule(DIGESTS, &read_sqe(1, 512), &[]))
                .unwrap();
            let mut pdu = termination(PduType::H2cTermReq, Fes::SequenceError, 77, &[0; 128]);
            pdu.truncate(24 + copied);
            pdu[4..8].copy_from_slice(&u32::try_from(24 + copied).unwrap().to_le_bytes());
            pdu[8..10].copy_from_slice(&fes.to_le_bytes());
            let steps = target.feed(&pdu).unwrap();
            assert_eq!(steps, [Step::Terminated { fes, fei: 77 }]);
            // A command in execution may still end; nobody hears of it.
            let tag = target.ready.pop().unwrap();
            target.queue.complete_read(tag, vec![0; 512]);
            target.is_silent();
        }
    }
}

#[test]
fn row_24_a_termination_of_impossible_length_is_not_answered() {
    for plen in [0_u32, 23, 153, u32::MAX] {
        let mut target = Target::new(PLAIN);
        let mut pdu = termination(PduType::H2cTermReq, Fes::SequenceError, 0, &[]);
        pdu[4..8].copy_from_slice(&plen.to_le_bytes());
        assert_eq!(target.feed(&pdu), Err(PduError::MalformedTermination));
        target.is_silent();
    }
}

/// What a host may do wrong with the data of a write of 10,000 bytes whose R2T it got.
struct Answered {
    name: &'static str,
    /// The data PDUs that it sends, given command identifier and transfer tag.
    pdus: fn((u16, u16)) -> Vec<u8>,
    fes: Fes,
    fei: u32,
}

#[test]
fn rows_40_to_44_data_that_does_not_answer_its_r2t_ends_the_queue() {
    let cases = [
        Answered {
            name: "row 40, CVE-2022-50717: a tag beyond the table",
            pdus: |(cid, _)| h2c(PLAIN, (cid, 0xffff), 0, 4096, 0),
            fes: Fes::InvalidHeaderField,
            fei: 10,
        },
        Answered {
            name: "row 40, CVE-2023-6356: a tag that was never issued",
            pdus: |(cid, ttag)| h2c(PLAIN, (cid, ttag + 1), 0, 4096, 0),
            fes: Fes::InvalidHeaderField,
            fei: 10,
        },
        Answered {
            name: "row 41: the tag of another command",
            pdus: |(cid, ttag)| h2c(PLAIN, (cid + 1, ttag), 0, 4096, 0),
            fes: Fes::InvalidHeaderField,
            fei: 8,
        },
        Answered {
            name: "row 42: an offset that skips",
            pdus: |tags| h2c(PLAIN, tags, 4, 4096, 0),
            fes: Fes::SequenceError,
            fei: 12,
        },
        Answered {
            name: "row 42: an offset that repeats",
            pdus: |tags| [h2c(PLAIN, tags, 0, 4096, 0), h2c(PLAIN, tags, 0, 4096, 0)].concat(),
            fes: Fes::SequenceError,
            fei: 12,
        },
        Answered {
            name: "row 42: an offset that overlaps",
            pdus: |tags| {
                [
                    h2c(PLAIN, tags, 0, 4096, 0),
                    h2c(PLAIN, tags, 4092, 4096, 0),
                ]
                .concat()
            },
            fes: Fes::SequenceError,
            fei: 12,
        },
        Answered {
            name: "row 42, CVE-2026-23112: offset and length that wrap in 32 bits",
            pdus: |tags| h2c(PLAIN, tags, u32::MAX - 3, 4096, 0),
            fes: Fes::DataOutOfRange,
            fei: 12,
        },
        Answered {
            name: "row 43: no data at all",
            pdus: |tags| h2c(PLAIN, tags, 0, 0, 0),
            fes: Fes::InvalidHeaderField,
            fei: 16,
        },
        Answered {
            name: "row 43, CVE-2023-52454: a length of 0 with data behind it",
            pdus: |tags| h2c_saying(0, h2c(PLAIN, tags, 0, 4096, 0)),
            fes: Fes::InvalidHeaderField,
            fei: 16,
        },
        Answered {
            name: "row 43, CVE-2023-52454: a length that is not the PDU's",
            pdus: |tags| h2c_saying(4092, h2c(PLAIN, tags, 0, 4096, 0)),
            fes: Fes::InvalidHeaderField,
            fei: 16,
        },
        Answered {
            name: "row 43, CVE-2023-52454: a length beyond MAXH2CDATA",
            pdus: |tags| h2c(PLAIN, tags, 0, MAXH2CDATA + 4, 0),
            fes: Fes::LimitExceeded,
            fei: 4,
        },
        Answered {
            name: "row 43: more than the R2T asked for",
            pdus: |tags| {
                let first = [
                    h2c(PLAIN, tags, 0, 4096, 0),
                    h2c(PLAIN, tags, 4096, 4096, 0),
                ];
                [first.concat(), h2c(PLAIN, tags, 8192, 1812, LAST)].concat()
            },
            fes: Fes::DataOutOfRange,
            fei: 12,
        },
        Answered {
            name: "row 44: last, and yet not all",
            pdus: |tags| h2c(PLAIN, tags, 0, 4096, LAST),
            fes: Fes::SequenceError,
            fei: 1,
        },
        Answered {
            name: "row 44: all, and yet not last",
            pdus: |tags| {
                let first = [
                    h2c(PLAIN, tags, 0, 4096, 0),
                    h2c(PLAIN, tags, 4096, 4096, 0),
                ];
                [first.concat(), h2c(PLAIN, tags, 8192, 1808, 0)].concat()
            },
            fes: Fes::SequenceError,
            fei: 1,
        },
    ];
    for Answered {
        name,
        pdus,
        fes,
        fei,
    } in cases
    {
        println!("{name}");
        let mut target = Target::new(PLAIN);
        target
            .feed(&capsule(PLAIN, &solicited_write(7, 10_000), &[]))
            .unwrap();
        let ttag = target.r2t();
        assert_eq!(
            target.feed(&pdus((7, ttag))),
            Err(PduError::Fatal { fes, fei })
        );
        target.is_terminated(fes, fei);
    }
}

#[test]
fn row_40_cve_2023_6356_data_of_a_write_that_has_ended_ends_the_queue() {
    let mut target = Target::new(PLAIN);
    target
        .feed(&capsule(PLAIN, &solicited_write(7, 4096), &[]))
        .unwrap();
    let tags = (7, target.r2t());
    let data = h2c(PLAIN, tags, 0, 4096, LAST);
    target.feed(&data).unwrap();
    // While it executes, and after.
    let tag = target.ready.pop().unwrap();
    let mut ended = Target::new(PLAIN);
    std::mem::swap(&mut ended, &mut target);
    ended.queue.complete(tag, Completion::SUCCESS);
    assert!(status_of(&ended.answers()).1.is_success());
    assert_eq!(ended.feed(&data), Err(PduError::field(10)));
    ended.is_terminated(Fes::InvalidHeaderField, 10);
}

#[test]
fn row_40_data_again_while_its_write_executes_ends_the_queue() {
    let mut target = Target::new(PLAIN);
    target
        .feed(&capsule(PLAIN, &solicited_write(7, 4096), &[]))
        .unwrap();
    let tags = (7, target.r2t());
    let data = h2c(PLAIN, tags, 0, 4096, LAST);
    target.feed(&data).unwrap();
    target.ready.clear();
    assert_eq!(target.feed(&data), Err(PduError::field(10)));
    target.is_terminated(Fes::InvalidHeaderField, 10);
}

#[test]
fn row_47_cve_2026_22998_data_for_commands_that_asked_for_none_ends_the_queue() {
    let commands = [
        ("a read", read_sqe(7, 4096)),
        ("a flush", Sqe::new(nvm::FLUSH, 7)),
        (
            "a write that had its data in the capsule",
            write_sqe(7, 4096),
        ),
    ];
    for (name, sqe) in commands {
        println!("{name}");
        let mut target = Target::new(PLAIN);
        let in_capsule = sqe.sgl.kind == SglDescriptor::IN_CAPSULE;
        let data = vec![0; if in_capsule { 4096 } else { 0 }];
        target.feed(&capsule(PLAIN, &sqe, &data)).unwrap();
        target.ready.clear();
        let error = target.feed(&h2c(PLAIN, (7, 0), 0, 4096, LAST));
        assert_eq!(error, Err(PduError::field(10)));
        target.is_terminated(Fes::InvalidHeaderField, 10);
    }
}

#[test]
fn cve_2026_22998_data_before_its_r2t_ends_the_queue_and_the_budget_bounds_what_is_asked_for() {
    let mut target = Target::new(PLAIN);
    let most = SOLICIT_MAX >> 20;
    let mut tags = Vec::new();
    for cid in 0..u16::try_from(most).unwrap() {
        target
            .feed(&capsule(PLAIN, &solicited_write(cid, 1 << 20), &[]))
            .unwrap();
        tags.push((cid, target.r2t()));
    }
    target
        .feed(&capsule(PLAIN, &solicited_write(100, 1 << 20), &[]))
        .unwrap();
    assert_eq!(target.answers(), [], "the budget is spent");
    // Ending one makes room for the next.
    for offset in (0..1 << 20).step_by(4096) {
        let last = if offset + 4096 == 1 << 20 { LAST } else { 0 };
        target
            .feed(&h2c(PLAIN, tags[0], offset, 4096, last))
            .unwrap();
    }
    assert_eq!(
        target.answers(),
        [],
        "until it is executed its data is held"
    );
    target
        .feed(&capsule(PLAIN, &solicited_write(101, 1 << 20), &[]))
        .unwrap();
    let tag = target.ready.pop().unwrap();
    target.queue.complete(tag, Completion::SUCCESS);
    let answers = target.answers();
    assert!(matches!(answers[..], [Header::R2t(r2t), Header::CapsuleResp(_)] if r2t.cccid == 100));
    let unasked = h2c(PLAIN, (101, tags.len().try_into().unwrap()), 0, 4096, 0);
    assert!(target.feed(&unasked).is_err());
}

#[test]
fn row_45_the_data_of_an_aborted_write_is_swallowed_and_then_no_more() {
    let mut target = Target::new(PLAIN);
    target
        .feed(&capsule(PLAIN, &solicited_write(7, 8192), &[]))
        .unwrap();
    let tags = (7, target.r2t());
    target.feed(&h2c(PLAIN, tags, 0, 4096, 0)).unwrap();
    assert!(target.queue.abort(7));
    assert_eq!(target.answers(), [], "its data is still on the way");
    let rest = h2c(PLAIN, tags, 4096, 4096, LAST);
    let status = Status::ABORT_REQUESTED;
    let failed = Step::Failed { cid: 7, status };
    assert_eq!(target.feed(&rest), Ok(vec![failed]));
    assert_eq!(status_of(&target.answers()), (7, status));
    assert_eq!((target.queue.outstanding(), target.queue.backlog()), (0, 0));
    assert_eq!(target.feed(&rest), Err(PduError::field(10)));
}

#[test]
fn row_46_cve_2026_64535_a_spoilt_data_digest_fails_its_command_once_and_no_other() {
    for spoilt in 0..3 {
        let mut target = Target::new(DIGESTS);
        target
            .feed(&capsule(DIGESTS, &solicited_write(7, 12_288), &[]))
            .unwrap();
        let tags = (7, target.r2t());
        for part in 0..3 {
            let last = if part == 2 { LAST } else { 0 };
            let mut pdu = h2c(DIGESTS, tags, part * 4096, 4096, last);
            if part == spoilt {
                *pdu.last_mut().unwrap() ^= 0xff;
            }
            let steps = target.feed(&pdu).unwrap();
            assert_eq!(
                steps.len(),
                usize::from(part == 2),
                "at the end of all data"
            );
        }
        let answer = status_of(&target.answers());
        assert_eq!(answer, (7, Status::TRANSIENT_TRANSPORT_ERROR));
        assert!(target.ready.is_empty());
        target
            .feed(&capsule(DIGESTS, &write_sqe(8, 512), &[5; 512]))
            .unwrap();
        let tag = target.ready.pop().unwrap();
        assert_eq!(target.queue.take_data(tag), [5; 512]);
    }
}

#[test]
fn row_46_cve_2026_64534_a_spoilt_digest_of_a_command_that_failed_before_changes_nothing() {
    let mut target = Target::new(DIGESTS);
    // An SGL whose offset is not 0: the command fails, its data must still pass.
    let mut sqe = write_sqe(7, 512);
    sqe.sgl.address = 4.into();
    let mut pdu = capsule(DIGESTS, &sqe, &[0; 512]);
    *pdu.last_mut().unwrap() ^= 1;
    let status = Status::SGL_OFFSET_INVALID.dnr();
    assert_eq!(target.feed(&pdu), Ok(vec![Step::Failed { cid: 7, status }]));
    assert_eq!(status_of(&target.answers()), (7, status));
    assert_eq!(target.queue.outstanding(), 0);
    // And one that was aborted in the middle of its data.
    target
        .feed(&capsule(DIGESTS, &solicited_write(8, 4096), &[]))
        .unwrap();
    let mut pdu = h2c(DIGESTS, (8, target.r2t()), 0, 4096, LAST);
    *pdu.last_mut().unwrap() ^= 1;
    target.feed(&pdu[..1000]).unwrap();
    assert!(target.queue.abort(8));
    target.feed(&pdu[1000..]).unwrap();
    assert_eq!(status_of(&target.answers()), (8, Status::ABORT_REQUESTED));
    assert_eq!(target.queue.outstanding(), 0);
}

#[test]
fn writes_aborted_before_their_data_was_asked_for_leave_nothing_behind() {
    const MOST: u32 = 1 << 20;
    let mut target = Target::new(PLAIN);
    // These are asked for all that may be asked for at once.
    for cid in 0..4 {
        target
            .feed(&capsule(PLAIN, &solicited_write(cid, MOST), &[]))
            .unwrap();
    }
    assert_eq!(target.answers().len(), 4);
    for cid in 100..200 {
        target
            .feed(&capsule(PLAIN, &solicited_write(cid, 4096), &[]))
            .unwrap();
        assert!(target.queue.abort(cid));
        let status = Status::ABORT_REQUESTED;
        assert_eq!(target.feed(&[]), Ok(vec![Step::Failed { cid, status }]));
        assert_eq!(status_of(&target.answers()), (cid, status));
        assert!(target.queue.unsolicited.is_empty());
    }
    assert_eq!(target.queue.outstanding(), 4);
}

#[test]
fn nothing_is_sent_for_a_header_that_only_promises_data() {
    // 4 GiB are promised; the header alone is judged, and nothing is kept for it.
    let mut target = Target::new(PLAIN);
    let common = CommonHeader {
        pdu_type: PduType::H2cData as u8,
        flags: LAST,
        hlen: 24,
        pdo: 24,
        plen: u32::MAX.into(),
    };
    let error = target.feed(common.as_bytes()).unwrap_err();
    let limit = PduError::Fatal {
        fes: Fes::LimitExceeded,
        fei: 4,
    };
    assert_eq!(error, limit);
}

/// H2CData that says `datal`, whatever it carries.
fn h2c_saying(datal: u32, mut pdu: Vec<u8>) -> Vec<u8> {
    pdu[16..20].copy_from_slice(&datal.to_le_bytes());
    pdu
}
