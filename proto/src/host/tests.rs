//! What controllers do wrong, and what a host says to it.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::*;
use crate::cqe::Cqe;
use crate::handshake::host::{Handshake, Progress, Wishes};
use crate::opcode::nvm;
use crate::pair::wishes;
use crate::pdu::{Fes, IcReq, IcResp, flags};
use crate::sqe::Sqe;
use crate::status::Status;

const FRAMING: Framing = Framing::INITIAL;
const LAST: u8 = flags::LAST_PDU;

fn queue(sq_flow_control: bool) -> Queue {
    Queue::new(Parameters {
        framing: FRAMING,
        maxh2cdata: 4096,
        max_r2ts: 2,
        in_capsule: 512,
        entries: 4,
        sq_flow_control,
    })
}

/// A queue with a write of 8192 bytes (identifier 0) and a read of 4096 (identifier 1).
fn busy(sq_flow_control: bool) -> Queue {
    let mut queue = queue(sq_flow_control);
    let data = Payload::FromHost(Arc::new(vec![7; 8192]));
    assert_eq!(queue.submit(Sqe::new(nvm::WRITE, 9), data), Ok(0));
    assert_eq!(queue.submit(Sqe::new(nvm::READ, 9), read(4096)), Ok(1));
    queue.outbox().take();
    queue
}

fn read(length: u32) -> Payload {
    let into = Vec::new();
    Payload::ToHost { length, into }
}

fn r2t(cid: u16, offset: u32, length: u32) -> Vec<u8> {
    let mut pdu = Vec::new();
    FRAMING.r2t(&mut pdu, cid, 3, offset, length);
    pdu
}

fn c2h(cid: u16, offset: u32, length: u32, extra: u8) -> Vec<u8> {
    let mut pdu = Vec::new();
    FRAMING.c2h_data(&mut pdu, cid, offset, length, extra);
    pdu.resize(pdu.len() + length as usize, 0xda);
    pdu
}

fn response(cid: u16, sqhd: u16, status: Status) -> Vec<u8> {
    let cqe = Cqe {
        sqhd: sqhd.into(),
        cid: cid.into(),
        status: status.to_wire().into(),
        ..Cqe::default()
    };
    let mut pdu = Vec::new();
    FRAMING.capsule_resp(&mut pdu, cqe);
    pdu
}

fn feed(queue: &mut Queue, bytes: &[u8]) -> Result<Vec<Step>, PduError> {
    let (mut input, mut steps) = (bytes, Vec::new());
    while let Some(step) = queue.next(&mut input)? {
        steps.push(step);
    }
    Ok(steps)
}

#[test]
fn violations_end_the_queue_with_a_termination() {
    let range = Fes::DataOutOfRange;
    let field = Fes::InvalidHeaderField;
    let sequence = Fes::SequenceError;
    let success = LAST | flags::SUCCESS;
    let ok = Status::SUCCESS;
    let cases: [(&str, Vec<u8>, Fes, u32); 21] = [
        ("data of nobody", c2h(2, 0, 512, 0), field, 8),
        ("data of a write", c2h(0, 0, 512, 0), range, 12),
        ("no data at all", c2h(1, 0, 0, 0), field, 16),
        ("data that skips", c2h(1, 4, 512, 0), sequence, 12),
        ("data beyond the request", c2h(1, 0, 4100, LAST), range, 12),
        ("data far beyond", c2h(1, u32::MAX - 3, 512, 0), range, 12),
        ("last and yet not all", c2h(1, 0, 512, LAST), sequence, 1),
        ("all and yet not last", c2h(1, 0, 4096, 0), sequence, 1),
        (
            "success with flow control",
            c2h(1, 0, 4096, success),
            field,
            1,
        ),
        (
            "success before the end",
            c2h(1, 0, 512, flags::SUCCESS),
            field,
            1,
        ),
        ("an answer to nobody", response(2, 1, ok), field, 20),
        ("success without the data", response(1, 1, ok), sequence, 0),
        ("a head beyond the queue", response(0, 4, ok), field, 16),
        ("a head beyond the tail", response(0, 3, ok), field, 16),
        ("an R2T of nobody", r2t(2, 0, 512), field, 8),
        ("an R2T of a read", r2t(1, 0, 512), range, 12),
        ("an R2T of nothing", r2t(0, 0, 0), field, 16),
        ("an R2T that skips", r2t(0, 4, 512), sequence, 12),
        ("an R2T beyond the data", r2t(0, 0, 8196), range, 12),
        (
            "more R2Ts than we bear",
            [r2t(0, 0, 512), r2t(0, 512, 512), r2t(0, 1024, 512)].concat(),
            Fes::LimitExceeded,
            0,
        ),
        (
            "an ICResp",
            IcResp::new(4096, false, false).as_bytes().to_vec(),
            sequence,
            0,
        ),
    ];
    for (name, pdus, fes, fei) in cases {
        println!("{name}");
        let mut queue = busy(true);
        assert_eq!(feed(&mut queue, &pdus), Err(PduError::Fatal { fes, fei }));
        let sent = queue.outbox().take();
        // Behind the data that was asked for before, if any.
        let plen = |at: usize| u32::from_le_bytes(sent[at + 4..at + 8].try_into().unwrap());
        let mut at = 0;
        while sent[at] == PduType::H2cData as u8 {
            at += plen(at) as usize;
        }
        assert_eq!(sent[at], PduType::H2cTermReq as u8);
        let said = (u16::from(sent[at + 8]), u32::from(sent[at + 10]));
        assert_eq!(said, (fes as u16, fei));
        assert!(queue.is_dead() && queue.wants() == 0);
        assert_eq!(feed(&mut queue, &response(0, 1, ok)), Ok(vec![]));
        let misuse = queue.submit(Sqe::new(nvm::FLUSH, 0), Payload::None);
        assert_eq!(misuse, Err(Misuse::Dead));
    }
}

#[test]
fn r2ts_may_follow_each_other_as_their_data_leaves() {
    let mut queue = busy(true);
    for part in 0..16 {
        assert_eq!(feed(&mut queue, &r2t(0, part * 512, 512)), Ok(vec![]));
        if part % 2 == 1 {
            let sent = queue.outbox().len();
            assert_eq!(sent, 2 * (24 + 512));
            queue.outbox().advance(sent);
        }
    }
    assert_eq!(
        feed(&mut queue, &r2t(0, 8192, 1)).map(|_| ()),
        Err(fatal_range())
    );
}

fn fatal_range() -> PduError {
    PduError::Fatal {
        fes: Fes::DataOutOfRange,
        fei: 12,
    }
}

#[test]
fn without_flow_control_the_last_data_may_say_success() {
    let mut queue = busy(false);
    let pdus = [
        c2h(1, 0, 1024, 0),
        c2h(1, 1024, 3072, LAST | flags::SUCCESS),
    ]
    .concat();
    let steps = feed(&mut queue, &pdus).unwrap();
    let [Step::Completed(answer)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!((answer.cid, answer.completion), (1, Completion::SUCCESS));
    assert_eq!(
        (answer.sqhd, answer.data.as_slice()),
        (None, &[0xda; 4096][..])
    );
    assert_eq!(queue.outstanding(), 1);
}

#[test]
fn a_read_that_fails_may_bring_less() {
    let mut queue = busy(true);
    let pdus = [
        c2h(1, 0, 512, 0),
        response(1, 2, Status::UNRECOVERED_READ_ERROR),
    ]
    .concat();
    let steps = feed(&mut queue, &pdus).unwrap();
    let [Step::Completed(answer)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!(answer.completion.status, Status::UNRECOVERED_READ_ERROR);
    assert_eq!(answer.data.len(), 512);
}

#[test]
fn one_entry_stays_empty_and_the_head_makes_room() {
    let mut queue = busy(true);
    assert_eq!(queue.room(), 1);
    assert_eq!(queue.submit(Sqe::new(nvm::FLUSH, 0), Payload::None), Ok(2));
    let full = queue.submit(Sqe::new(nvm::FLUSH, 0), Payload::None);
    assert_eq!(full, Err(Misuse::Full));
    // The controller has consumed all three when it answers the flush.
    feed(&mut queue, &response(2, 3, Status::SUCCESS)).unwrap();
    assert_eq!((queue.room(), queue.outstanding()), (3, 2));
    let next: Vec<_> = (0..3)
        .map(|_| queue.submit(Sqe::new(nvm::FLUSH, 0), Payload::None))
        .collect();
    assert_eq!(next, [Ok(2), Ok(3), Ok(4)]);
}

#[test]
fn a_controllers_termination_is_told_and_not_answered() {
    let mut queue = busy(true);
    let pdu = termination(PduType::C2hTermReq, Fes::DataOutOfRange, 5, &[0; 24]);
    let step = Step::Terminated { fes: 4, fei: 5 };
    assert_eq!(feed(&mut queue, &pdu), Ok(vec![step]));
    assert!(queue.is_dead() && queue.outbox().is_empty());
}

/// How a handshake ends whose controller answers `icresp` and then `answer` to the Connect.
fn ends(wishes: Wishes, icresp: &[u8], answer: &[u8]) -> Result<Progress, PduError> {
    let mut host = Handshake::new(wishes);
    let icreq = host.outbox().take();
    assert_eq!(icreq.len(), size_of::<IcReq>());
    let progress = host.next(&mut &*icresp)?;
    if !matches!(progress, Progress::NeedMore) {
        return Ok(progress);
    }
    assert_eq!(host.outbox().take().len(), 72 + 1024);
    host.next(&mut &*answer)
}

#[test]
fn an_icresp_must_be_what_linux_and_freebsd_accept() {
    type Spoil = fn(&mut [u8]);
    let unsupported = PduError::Fatal {
        fes: Fes::UnsupportedParameter,
        fei: 8,
    };
    let cases: [(&str, Spoil, PduError); 9] = [
        ("another type", |pdu| pdu[0] = 5, PduError::field(0)),
        ("flags", |pdu| pdu[1] = 1, PduError::field(1)),
        ("HLEN", |pdu| pdu[2] = 24, PduError::field(2)),
        ("PLEN", |pdu| pdu[4] = 24, PduError::field(4)),
        ("PFV", |pdu| pdu[8] = 1, unsupported),
        ("CPDA", |pdu| pdu[10] = 32, PduError::field(10)),
        (
            "a digest that was not asked for",
            |pdu| pdu[11] = 1,
            PduError::field(11),
        ),
        (
            "MAXH2CDATA below 4096",
            |pdu| pdu[13] = 8,
            PduError::field(12),
        ),
        (
            "MAXH2CDATA not of dwords",
            |pdu| pdu[12] = 2,
            PduError::field(12),
        ),
    ];
    for (name, spoil, expected) in cases {
        println!("{name}");
        let mut icresp = IcResp::new(4096, false, false).as_bytes().to_vec();
        spoil(&mut icresp);
        let mut host = Handshake::new(wishes());
        host.outbox().take();
        assert_eq!(host.next(&mut icresp.as_slice()).unwrap_err(), expected);
        let sent = host.outbox().take();
        assert_eq!(sent[0], PduType::H2cTermReq as u8);
        assert_eq!(host.wants(), 0);
    }
}

#[test]
fn an_answer_to_the_connect_must_be_what_freebsd_accepts() {
    let icresp = IcResp::new(8192, false, false);
    let end = |wishes, answer: &[u8]| ends(wishes, icresp.as_bytes(), answer);
    let mut no_flow_control = wishes();
    no_flow_control.connect.sq_flow_control = false;

    let established = end(wishes(), &response(0, 1, Status::SUCCESS)).unwrap();
    let Progress::Established(established) = established else {
        panic!("{established:?}")
    };
    assert_eq!(established.queue.parameters().maxh2cdata, 8192);
    assert_eq!(
        established.queue.room(),
        31,
        "the queue begins where the answer says"
    );

    let without = end(
        no_flow_control.clone(),
        &response(0, 0xffff, Status::SUCCESS),
    );
    assert!(
        matches!(without, Ok(Progress::Established(it)) if !it.queue.parameters().sq_flow_control)
    );
    let kept = end(no_flow_control, &response(0, 0, Status::SUCCESS));
    assert!(matches!(kept, Ok(Progress::Established(it)) if it.queue.parameters().sq_flow_control));

    for sqhd in [0xffff, 32] {
        let error = end(wishes(), &response(0, sqhd, Status::SUCCESS));
        assert_eq!(error.unwrap_err(), PduError::field(16));
    }
    let error = end(wishes(), &response(1, 0, Status::SUCCESS));
    assert_eq!(error.unwrap_err(), PduError::field(20));
    let mut authenticate = response(0, 0, Status::SUCCESS);
    authenticate[10] = 2;
    let refused = end(wishes(), &authenticate).unwrap();
    assert!(
        matches!(refused, Progress::Refused(why) if why.status == Status::AUTHENTICATION_REQUIRED)
    );
}
