//! The handshake: both halves against each other, and what a controller says to hosts that do it
//! wrong (tests/NEGATIVE.md, rows 2–16 and 26–36), with FreeBSD's answers.

use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

use super::host::{self, Progress as HostProgress, Wishes};
use super::{ConnectRequest, DigestOffer, Handshake, Offer, Progress};
use crate::connect::{Connect, ConnectData, ConnectReject};
use crate::cqe::Completion;
use crate::deframer::{Deframer, Event, Rules, Side};
use crate::opcode::{self, nvm};
use crate::pair::{Cut, OFFER, Pair, QUEUE_LIMITS, wishes};
use crate::pdu::{
    Fes, Framing, Header, IcReq, IcResp, PduError, PduType, append_data_digest, flags, termination,
};
use crate::sqe::{SglDescriptor, Sqe};
use crate::status::Status;

/// A host that has its ICResp; its Connect is what the test makes of it.
fn negotiated(offer: Offer, icreq: &IcReq) -> Handshake {
    let mut controller = Handshake::new(offer);
    let progress = controller.next(&mut icreq.as_bytes());
    assert!(matches!(progress, Ok(Progress::NeedMore)), "{progress:?}");
    let icresp = IcResp::read_from_bytes(&controller.outbox().take()).unwrap();
    assert_eq!(icresp.validate(icreq), Ok(()));
    controller
}

fn plain() -> Handshake {
    negotiated(OFFER, &IcReq::new(0, 0, false, false))
}

fn capsule(sqe: Sqe, data: &[u8]) -> Vec<u8> {
    let mut pdu = Vec::new();
    Framing::INITIAL.capsule_cmd(&mut pdu, sqe, u32::try_from(data.len()).unwrap());
    pdu.extend_from_slice(data);
    pdu
}

fn connect_capsule(connect: &Connect) -> Vec<u8> {
    let (sqe, data) = connect.to_wire(0);
    capsule(sqe, data.as_bytes())
}

fn headers(bytes: &[u8], framing: Framing, initialized: bool) -> Vec<Header> {
    let mut deframer = Deframer::new(Rules {
        side: Side::Host,
        framing,
        max_capsule_data: 0,
        max_data: 0,
        initialized,
    });
    let (mut input, mut headers) = (bytes, Vec::new());
    while let Some(event) = deframer.next(&mut input).unwrap() {
        if let Event::Header { header, .. } = event {
            headers.push(header);
        }
    }
    headers
}

/// The refusal that waits to be sent, as the host will read it.
fn refusal(controller: &mut Handshake) -> ConnectReject {
    let sent = controller.outbox().take();
    match headers(&sent, Framing::INITIAL, true)[..] {
        [Header::CapsuleResp(capsule)] => {
            assert_eq!(capsule.cqe.cid, 0);
            ConnectReject::from_completion(Completion {
                status: capsule.cqe.status(),
                result: capsule.cqe.result.get(),
            })
        }
        ref other => panic!("{other:?}"),
    }
}

/// The host is told `fes` and `fei`; whatever follows is not heard.
fn is_terminated(controller: &mut Handshake, fes: Fes, fei: u32) {
    let sent = controller.outbox().take();
    match headers(&sent, Framing::INITIAL, false)[..] {
        [Header::C2hTermReq(request)] => {
            assert_eq!((request.fes.get(), request.fei.get()), (fes as u16, fei));
        }
        ref other => panic!("{other:?}"),
    }
    is_silent(controller);
}

fn is_silent(controller: &mut Handshake) {
    assert_eq!(controller.wants(), 0);
    let good = IcReq::new(0, 0, false, false);
    let progress = controller.next(&mut good.as_bytes());
    assert!(matches!(progress, Ok(Progress::NeedMore)));
    assert!(controller.outbox().is_empty());
}

fn digest_offer() -> impl Strategy<Value = DigestOffer> {
    use DigestOffer::{Allow, Off, Require};
    prop_oneof![Just(Off), Just(Allow), Just(Require)]
}

#[test]
fn a_host_that_does_not_ask_for_a_digest_that_is_required_is_terminated() {
    let require = DigestOffer::Require;
    let header = Offer {
        header_digest: require,
        ..OFFER
    };
    let data = Offer {
        data_digest: require,
        ..OFFER
    };
    let both = Offer {
        data_digest: require,
        ..header
    };
    for (offer, asked, served) in [
        (header, (false, true), false),
        (header, (true, false), true),
        (data, (true, false), false),
        (data, (false, true), true),
        (both, (false, false), false),
        (both, (true, false), false),
        (both, (true, true), true),
    ] {
        let icreq = IcReq::new(0, 0, asked.0, asked.1);
        let mut controller = Handshake::new(offer);
        let progress = controller.next(&mut icreq.as_bytes());
        if served {
            assert!(matches!(progress, Ok(Progress::NeedMore)), "{asked:?}");
        } else {
            assert!(progress.is_err(), "{asked:?}");
            is_terminated(&mut controller, Fes::UnsupportedParameter, 11);
        }
    }
}

proptest! {
    #[test]
    fn row_13_both_halves_agree_whatever_they_want_and_however_the_network_cuts(
        hpda in 0_u8..32,
        max_r2ts in prop_oneof![Just(1_u32), any::<u32>()],
        (asks_header, asks_data) in any::<(bool, bool)>(),
        (gives_header, gives_data) in (digest_offer(), digest_offer()),
        sq_flow_control in any::<bool>(),
        qid in prop_oneof![Just(0_u16), 1_u16..100],
        cut in prop_oneof![Just(Cut::Whole), Just(Cut::Bytes), Just(Cut::Random), Just(Cut::Wanted)],
        seed in any::<u64>(),
    ) {
        let mut wishes = Wishes {
            hpda,
            max_r2ts: max_r2ts.max(1),
            header_digest: asks_header,
            data_digest: asks_data,
            ..wishes()
        };
        wishes.connect.sq_flow_control = sq_flow_control;
        if qid != 0 {
            (wishes.connect.qid, wishes.connect.cntlid) = (qid, 5);
            wishes.connect.kato = std::time::Duration::ZERO;
        }
        let offer = Offer { header_digest: gives_header, data_digest: gives_data, ..OFFER };
        prop_assume!(gives_header != DigestOffer::Require || asks_header);
        prop_assume!(gives_data != DigestOffer::Require || asks_data);
        let pair = Pair::connect(wishes, offer, cut, seed);
        let (gives_header, gives_data) = (gives_header != DigestOffer::Off, gives_data != DigestOffer::Off);
        let (host, controller) = (pair.host.parameters(), pair.controller.parameters());
        prop_assert_eq!(host.framing.header_digest, asks_header && gives_header);
        prop_assert_eq!(host.framing.data_digest, asks_data && gives_data);
        prop_assert_eq!(controller.framing.header_digest, host.framing.header_digest);
        prop_assert_eq!(controller.framing.data_digest, host.framing.data_digest);
        prop_assert_eq!(controller.framing.send_alignment, (u32::from(hpda) + 1) * 4);
        prop_assert_eq!(host.framing.receive_alignment, controller.framing.send_alignment);
        prop_assert_eq!(host.framing.send_alignment, controller.framing.receive_alignment);
        prop_assert_eq!(host.maxh2cdata, controller.maxh2cdata);
        prop_assert_eq!(host.sq_flow_control, sq_flow_control);
        prop_assert_eq!(controller.sq_flow_control, sq_flow_control);
        prop_assert_eq!((host.entries, controller.entries), (32, 32));
    }

    #[test]
    fn rows_3_and_36_random_or_broken_off_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        sensible in 0_usize..128 + 72 + 1024,
    ) {
        let icreq = IcReq::new(0, 0, false, false);
        let start = [icreq.as_bytes(), &connect_capsule(&wishes().connect)].concat();
        let stream = [&start[..sensible], &bytes].concat();
        let mut controller = Handshake::new(OFFER);
        let mut input = stream.as_slice();
        while !input.is_empty() {
            match controller.next(&mut input) {
                Ok(Progress::NeedMore) => prop_assert!(input.is_empty()),
                Ok(_) | Err(_) => break,
            }
        }
        prop_assert!(controller.wants() <= 1024 + 128);
    }
}

#[test]
fn who_reads_what_is_wanted_reads_the_connect_and_not_a_byte_beyond() {
    let icreq = IcReq::new(0, 0, true, true);
    let mut controller = negotiated(OFFER, &icreq);
    let (sqe, data) = wishes().connect.to_wire(0);
    let framing = Framing {
        header_digest: true,
        data_digest: true,
        ..Framing::INITIAL
    };
    let mut stream = Vec::new();
    framing.capsule_cmd(&mut stream, sqe, 1024);
    stream.extend_from_slice(data.as_bytes());
    append_data_digest(&mut stream, data.as_bytes());
    let connect_length = stream.len();
    stream.extend_from_slice(b"what comes behind belongs to the kernel");
    let mut read = 0;
    let request = loop {
        let wants = controller.wants();
        assert!(wants > 0);
        let mut input = &stream[read..read + wants];
        read += wants;
        match controller.next(&mut input).unwrap() {
            Progress::NeedMore => assert!(input.is_empty()),
            Progress::Connect(request) => break request,
            Progress::Refused(reject) => panic!("{reject}"),
            Progress::Terminated { .. } => panic!("the host terminates"),
        }
    };
    assert_eq!(read, connect_length);
    // With bytes read ahead there is no hand-off, without there is, with the very bytes that came.
    let request = request.into_handoff(b"w").unwrap_err();
    let handoff = request.into_handoff(b"").unwrap();
    assert_eq!(handoff.connect, wishes().connect);
    assert_eq!(
        (handoff.sqe, handoff.data.as_slice()),
        (sqe, data.as_bytes())
    );
    assert!(handoff.framing.header_digest && handoff.framing.data_digest);
    assert_eq!((handoff.entries, handoff.maxr2t), (32, 0));
    // Whoever takes it over has all that it takes to answer, or to hand it on.
    let again = ConnectRequest::resume(handoff.clone()).into_handoff(b"");
    assert_eq!(again.unwrap(), handoff);
    let mut queue = ConnectRequest::resume(handoff).accept(7, QUEUE_LIMITS);
    let sent = queue.outbox().take();
    let (digest, cqe) = (sent.len() - 24, &sent[8..24]);
    assert_eq!(
        (sent[0], digest),
        (5, 4),
        "an answer with its header digest"
    );
    let cid = sqe.cid.get().to_le_bytes();
    assert_eq!(
        cqe,
        [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, cid[0], cid[1], 0, 0]
    );
}

#[test]
fn while_the_icresp_is_unsent_there_is_no_handoff() {
    let mut controller = Handshake::new(OFFER);
    let icreq = IcReq::new(0, 0, false, false);
    let stream = [icreq.as_bytes(), &connect_capsule(&wishes().connect)].concat();
    let Ok(Progress::Connect(request)) = controller.next(&mut stream.as_slice()) else {
        panic!("no Connect")
    };
    let request = request.into_handoff(b"").unwrap_err();
    // It can still be answered here; ICResp and answer leave in order.
    let mut queue = request.accept(1, QUEUE_LIMITS);
    let sent = queue.outbox().take();
    assert_eq!((sent[0], sent[128], sent.len()), (1, 5, 128 + 24));
}

#[test]
fn rows_5_and_6_whoever_does_not_begin_with_an_icreq_is_told_so() {
    let client_hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let cases: [(&str, Vec<u8>); 5] = [
        ("row 5: a command", connect_capsule(&wishes().connect)),
        ("row 6: a TLS ClientHello", client_hello.to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\n".to_vec()),
        (
            "an ICResp",
            IcResp::new(4096, false, false).as_bytes().to_vec(),
        ),
        ("zeroes but for the type", vec![6, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (name, bytes) in cases {
        println!("{name}");
        let mut controller = Handshake::new(OFFER);
        let error = controller.next(&mut bytes.as_slice()).unwrap_err();
        assert_eq!(error, PduError::field(0));
        is_terminated(&mut controller, Fes::InvalidHeaderField, 0);
    }
}

#[test]
fn rows_7_to_14_a_wrong_field_of_the_icreq_is_named_lowest_first() {
    type Spoil = fn(&mut [u8]);
    let field = Fes::InvalidHeaderField;
    let cases: [(&str, Spoil, Fes, u32); 14] = [
        ("row 7: PLEN 0", |pdu| pdu[4] = 0, field, 4),
        ("row 7: PLEN 127", |pdu| pdu[4] = 127, field, 4),
        ("row 7: PLEN 129", |pdu| pdu[4] = 129, field, 4),
        ("row 7: PLEN 4 GiB", |pdu| pdu[4..8].fill(0xff), field, 4),
        ("row 8: HLEN 0", |pdu| pdu[2] = 0, field, 2),
        ("row 8: HLEN 8", |pdu| pdu[2] = 8, field, 2),
        ("row 8: HLEN 255", |pdu| pdu[2] = 255, field, 2),
        ("row 9: PDO 4", |pdu| pdu[3] = 4, field, 3),
        ("row 10: HDGSTF", |pdu| pdu[1] = 1, field, 1),
        ("row 10: DDGSTF", |pdu| pdu[1] = 2, field, 1),
        (
            "row 11: PFV 1",
            |pdu| pdu[8] = 1,
            Fes::UnsupportedParameter,
            8,
        ),
        (
            "row 11: PFV 256",
            |pdu| pdu[9] = 1,
            Fes::UnsupportedParameter,
            8,
        ),
        ("row 12: HPDA 32", |pdu| pdu[10] = 32, field, 10),
        ("row 12: HPDA 255", |pdu| pdu[10] = 255, field, 10),
    ];
    for (name, spoil, fes, fei) in cases {
        println!("{name}");
        let mut pdu = IcReq::new(0, 0, false, false).as_bytes().to_vec();
        spoil(&mut pdu);
        let mut controller = Handshake::new(OFFER);
        let error = controller.next(&mut pdu.as_slice()).unwrap_err();
        assert_eq!(error, PduError::Fatal { fes, fei });
        is_terminated(&mut controller, fes, fei);
    }
    for dgst in [4_u8, 0x80, 0xff] {
        let mut pdu = IcReq::new(0, 0, false, false).as_bytes().to_vec();
        pdu[11] = dgst;
        let mut controller = Handshake::new(OFFER);
        controller.next(&mut pdu.as_slice()).unwrap_err();
        is_terminated(&mut controller, field, 11);
    }
}

#[test]
fn row_15_any_number_of_r2ts_is_borne_and_reserved_bytes_are_not_looked_at() {
    let mut icreq = IcReq::new(31, u32::MAX, true, true);
    icreq.reserved = [0xff; 112];
    negotiated(OFFER, &icreq);
}

#[test]
fn row_16_a_second_icreq_is_a_sequence_error() {
    let mut controller = plain();
    let again = IcReq::new(0, 0, false, false);
    let error = controller.next(&mut again.as_bytes()).unwrap_err();
    assert_eq!(error, PduError::sequence(0));
    is_terminated(&mut controller, Fes::SequenceError, 0);
}

#[test]
fn row_24_terminations_end_the_handshake_in_silence() {
    for fes in [0_u16, 3, 6, 7, u16::MAX] {
        let mut pdu = termination(PduType::H2cTermReq, Fes::SequenceError, 9, &[1; 24]);
        pdu[8..10].copy_from_slice(&fes.to_le_bytes());
        for mut controller in [Handshake::new(OFFER), plain()] {
            let progress = controller.next(&mut pdu.as_slice()).unwrap();
            let as_sent = |got| matches!(got, Progress::Terminated { fes: f, fei: 9 } if f == fes);
            assert!(as_sent(progress));
            is_silent(&mut controller);
        }
    }
    let mut pdu = termination(PduType::H2cTermReq, Fes::SequenceError, 0, &[]);
    pdu[4] = 153;
    let mut controller = Handshake::new(OFFER);
    let error = controller.next(&mut pdu.as_slice()).unwrap_err();
    assert_eq!(error, PduError::MalformedTermination);
    is_silent(&mut controller);
}

/// What is wrong with a Connect, and how it is refused.
struct Wrong {
    name: &'static str,
    spoil: fn(&mut Sqe, &mut ConnectData),
    reject: ConnectReject,
}

const fn status(status: Status) -> ConnectReject {
    ConnectReject::status(status.dnr())
}

const WRONG_CONNECTS: [Wrong; 21] = [
    Wrong {
        name: "row 26: an I/O command",
        spoil: |sqe, _| sqe.opcode = nvm::WRITE,
        reject: status(Status::INVALID_OPCODE),
    },
    Wrong {
        name: "row 26: Property Set",
        spoil: |sqe, _| sqe.nsid = u32::from(opcode::fabrics::PROPERTY_SET).into(),
        reject: status(Status::INVALID_OPCODE),
    },
    Wrong {
        name: "row 26: Authentication Send",
        spoil: |sqe, _| sqe.nsid = u32::from(opcode::fabrics::AUTH_SEND).into(),
        reject: status(Status::INVALID_OPCODE),
    },
    Wrong {
        name: "row 27: 1023 bytes in the descriptor, 1024 in the capsule",
        spoil: |sqe, _| sqe.sgl.length = 1023.into(),
        reject: status(Status::DATA_SGL_LENGTH_INVALID),
    },
    Wrong {
        name: "a PRP",
        spoil: |sqe, _| sqe.flags = 0,
        reject: status(Status::INVALID_FIELD),
    },
    Wrong {
        name: "a keyed SGL",
        spoil: |sqe, _| sqe.sgl.kind = 0x40,
        reject: status(Status::SGL_DESCRIPTOR_TYPE_INVALID),
    },
    Wrong {
        name: "an offset into the capsule",
        spoil: |sqe, _| sqe.sgl.address = 1.into(),
        reject: status(Status::SGL_OFFSET_INVALID),
    },
    Wrong {
        name: "row 28: RECFMT 1",
        spoil: |sqe, _| sqe.cdw10 = 1.into(),
        reject: ConnectReject::RECFMT,
    },
    Wrong {
        name: "row 29: CNTLID 0 on an admin queue",
        spoil: |_, data| data.cntlid = 0.into(),
        reject: ConnectReject::CNTLID,
    },
    Wrong {
        name: "row 29: CNTLID FFFEh (static) on an admin queue",
        spoil: |_, data| data.cntlid = 0xfffe.into(),
        reject: ConnectReject::CNTLID,
    },
    Wrong {
        name: "row 30: CNTLID FFFFh on an I/O queue",
        spoil: |sqe, _| {
            sqe.cdw10 = (1 << 16).into();
            sqe.cdw12 = 0.into();
        },
        reject: ConnectReject::CNTLID,
    },
    Wrong {
        name: "row 30: CNTLID FFF0h on an I/O queue",
        spoil: |sqe, data| {
            sqe.cdw10 = (1 << 16).into();
            sqe.cdw12 = 0.into();
            data.cntlid = 0xfff0.into();
        },
        reject: ConnectReject::CNTLID,
    },
    Wrong {
        name: "row 32: SQSIZE 0",
        spoil: |sqe, _| sqe.cdw11 = 0.into(),
        reject: ConnectReject::SQSIZE,
    },
    Wrong {
        name: "row 32: SQSIZE beyond the admin queue's",
        spoil: |sqe, _| sqe.cdw11 = 4096.into(),
        reject: ConnectReject::SQSIZE,
    },
    Wrong {
        name: "row 32: SQSIZE beyond MQES",
        spoil: |sqe, _| {
            sqe.cdw10 = (1 << 16).into();
            sqe.cdw11 = 1024.into();
        },
        reject: ConnectReject::SQSIZE,
    },
    Wrong {
        name: "row 33: an empty SUBNQN",
        spoil: |_, data| data.subnqn = [0; 256],
        reject: ConnectReject::SUBNQN,
    },
    Wrong {
        name: "row 33, CVE-2023-6121: a SUBNQN without NUL",
        spoil: |_, data| data.subnqn = [b'a'; 256],
        reject: ConnectReject::SUBNQN,
    },
    Wrong {
        name: "row 33: a SUBNQN of 224 bytes",
        spoil: |_, data| data.subnqn[..224].fill(b'a'),
        reject: ConnectReject::SUBNQN,
    },
    Wrong {
        name: "row 33: a HOSTNQN that is not UTF-8",
        spoil: |_, data| data.hostnqn[0] = 0xff,
        reject: ConnectReject::HOSTNQN,
    },
    Wrong {
        name: "row 33: a HOSTNQN with an escape sequence",
        spoil: |_, data| data.hostnqn[..5].copy_from_slice(b"\x1b[31m"),
        reject: ConnectReject::HOSTNQN,
    },
    Wrong {
        name: "row 34: no host identifier",
        spoil: |_, data| data.hostid = [0; 16],
        reject: ConnectReject::HOSTID,
    },
];

#[test]
fn rows_26_to_34_a_wrong_connect_is_refused_by_name_and_nothing_more_is_heard() {
    for Wrong {
        name,
        spoil,
        reject,
    } in WRONG_CONNECTS
    {
        println!("{name}");
        let (mut sqe, mut data) = wishes().connect.to_wire(0);
        spoil(&mut sqe, &mut data);
        let mut controller = plain();
        let progress = controller.next(&mut capsule(sqe, data.as_bytes()).as_slice());
        let refused = |progress| matches!(progress, Ok(Progress::Refused(with)) if with == reject);
        assert!(refused(progress));
        assert_eq!(refusal(&mut controller), reject);
        is_silent(&mut controller);
    }
}

#[test]
fn row_27_connects_of_another_length_are_refused() {
    for length in [0_u16, 1, 1023, 1025, 8192] {
        let (mut sqe, _) = wishes().connect.to_wire(0);
        sqe.sgl.length = u32::from(length).into();
        let mut controller = plain();
        let pdu = capsule(sqe, &vec![1; length.into()]);
        let progress = controller.next(&mut pdu.as_slice()).unwrap();
        assert!(matches!(progress, Progress::Refused(_)), "{length}");
        assert_eq!(refusal(&mut controller), ConnectReject::SGL);
    }
    // More than any capsule may carry is not even awaited.
    let (mut sqe, _) = wishes().connect.to_wire(0);
    sqe.sgl.length = 8193.into();
    let mut controller = plain();
    let pdu = capsule(sqe, &[1; 8193]);
    assert!(controller.next(&mut pdu.as_slice()).is_err());
    is_terminated(&mut controller, Fes::LimitExceeded, 4);
}

#[test]
fn row_27_a_connect_whose_data_is_not_in_the_capsule_is_asked_for_it() {
    let (mut sqe, data) = wishes().connect.to_wire(0);
    sqe.sgl = SglDescriptor::transport(1024);
    let mut controller = plain();
    let progress = controller.next(&mut capsule(sqe, &[]).as_slice()).unwrap();
    assert!(matches!(progress, Progress::NeedMore));
    let sent = controller.outbox().take();
    let [Header::R2t(r2t)] = headers(&sent, Framing::INITIAL, true)[..] else {
        panic!("no R2T")
    };
    assert_eq!((r2t.r2to.get(), r2t.r2tl.get()), (0, 1024));
    let mut answer = Vec::new();
    let tags = (0, r2t.ttag.get());
    Framing::INITIAL.h2c_data(&mut answer, tags, 0, 1024, flags::LAST_PDU);
    answer.extend_from_slice(data.as_bytes());
    let progress = controller.next(&mut answer.as_slice()).unwrap();
    let Progress::Connect(request) = progress else {
        panic!("{progress:?}")
    };
    assert_eq!(*request.connect(), wishes().connect);
}

#[test]
fn row_31_a_second_command_before_the_answer_does_not_get_through() {
    // A Connect whose data is awaited, and then another.
    let (mut sqe, _) = wishes().connect.to_wire(0);
    sqe.sgl = SglDescriptor::transport(1024);
    let (second, data) = wishes().connect.to_wire(1);
    let stream = [capsule(sqe, &[]), capsule(second, data.as_bytes())].concat();
    let mut controller = plain();
    let mut input = stream.as_slice();
    let progress = controller.next(&mut input);
    assert!(
        matches!(progress, Ok(Progress::Refused(_)) | Err(_)),
        "{progress:?}"
    );
    assert!(!controller.outbox().is_empty());
}

#[test]
fn row_35_reserved_attributes_and_bytes_are_not_looked_at() {
    let (mut sqe, mut data) = wishes().connect.to_wire(0);
    sqe.flags |= 0b11_1111;
    sqe.cdw11 = (sqe.cdw11.get() | 0xfffb_0000).into();
    sqe.cdw15 = u32::MAX.into();
    data.as_mut_bytes()[18..256].fill(0xff);
    data.as_mut_bytes()[768..].fill(0xff);
    let mut controller = plain();
    let progress = controller
        .next(&mut capsule(sqe, data.as_bytes()).as_slice())
        .unwrap();
    let Progress::Connect(request) = progress else {
        panic!("{progress:?}")
    };
    assert_eq!(*request.connect(), wishes().connect);
}

#[test]
fn a_policys_refusal_reaches_the_host_by_name() {
    for reject in [
        ConnectReject::HOST,
        ConnectReject::BUSY,
        ConnectReject::SUBNQN,
    ] {
        let mut host = host::Handshake::new(wishes());
        let mut controller = Handshake::new(OFFER);
        let sent = host.outbox().take();
        controller.next(&mut sent.as_slice()).unwrap();
        let sent = controller.outbox().take();
        host.next(&mut sent.as_slice()).unwrap();
        let sent = host.outbox().take();
        let Ok(Progress::Connect(request)) = controller.next(&mut sent.as_slice()) else {
            panic!("no Connect")
        };
        let sent = request.reject(reject).take();
        let progress = host.next(&mut sent.as_slice()).unwrap();
        assert!(matches!(progress, HostProgress::Refused(with) if with == reject));
        assert_eq!(host.wants(), 0);
    }
}
