//! The deframer under every cut, and what it says to headers that are wrong (tests/NEGATIVE.md,
//! rows 18–25).

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;
use crate::cqe::Cqe;
use crate::opcode::nvm;
use crate::pair::Rng;
use crate::pdu::{IcReq, IcResp, append_data_digest, termination};
use crate::sqe::Sqe;

const PLAIN: Framing = Framing::INITIAL;
const DIGESTS: Framing = Framing {
    header_digest: true,
    data_digest: true,
    ..PLAIN
};

fn rules(side: Side, framing: Framing) -> Rules {
    Rules {
        side,
        framing,
        max_capsule_data: 8192,
        max_data: 65536,
        initialized: true,
    }
}

fn fatal(fes: Fes, fei: u32) -> PduError {
    PduError::Fatal { fes, fei }
}

/// What a controller says to `bytes`, which come at once.
fn verdict(framing: Framing, bytes: &[u8]) -> Result<(), PduError> {
    verdict_of(rules(Side::Controller, framing), bytes)
}

fn verdict_of(rules: Rules, bytes: &[u8]) -> Result<(), PduError> {
    let mut deframer = Deframer::new(rules);
    let mut input = bytes;
    while deframer.next(&mut input)?.is_some() {}
    Ok(())
}

/// A PDU to be sent.
#[derive(Clone, Debug)]
enum Pdu {
    Capsule(Sqe, Vec<u8>),
    H2cData(u16, u32, Vec<u8>),
    Response(Cqe),
    C2hData(u16, u32, Vec<u8>),
    R2t(u16, u32, u32),
    Termination(Side, Vec<u8>),
}

fn length(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap()
}

impl Pdu {
    fn bytes(&self, framing: &Framing) -> Vec<u8> {
        let mut out = Vec::new();
        let data = match self {
            Self::Capsule(sqe, data) => {
                framing.capsule_cmd(&mut out, *sqe, length(data));
                data
            }
            Self::H2cData(tag, offset, data) => {
                framing.h2c_data(&mut out, (*tag, !tag), *offset, length(data), 0);
                data
            }
            Self::C2hData(cid, offset, data) => {
                framing.c2h_data(&mut out, *cid, *offset, length(data), flags::LAST_PDU);
                data
            }
            Self::Response(cqe) => {
                framing.capsule_resp(&mut out, *cqe);
                return out;
            }
            Self::R2t(cid, offset, length) => {
                framing.r2t(&mut out, *cid, !cid, *offset, *length);
                return out;
            }
            Self::Termination(side, copy) => {
                let pdu_type = match side {
                    Side::Controller => PduType::H2cTermReq,
                    Side::Host => PduType::C2hTermReq,
                };
                return termination(pdu_type, Fes::SequenceError, 8, copy);
            }
        };
        out.extend_from_slice(data);
        if framing.data_digest && !data.is_empty() {
            append_data_digest(&mut out, data);
        }
        out
    }

    /// Whether what a deframer saw is this PDU, every field of it.
    fn is(&self, seen: &Seen) -> bool {
        let (same_header, data) = match (self, &seen.header) {
            (Self::Capsule(sqe, data), Header::CapsuleCmd(got)) => (got.sqe == *sqe, data),
            (Self::H2cData(tag, offset, data), Header::H2cData(got))
            | (Self::C2hData(tag, offset, data), Header::C2hData(got)) => {
                let ttag = if matches!(self, Self::H2cData(..)) {
                    !tag
                } else {
                    0
                };
                let tags = got.cccid == *tag && got.ttag == ttag;
                let place = got.datao == *offset && got.datal == length(data);
                (tags && place, data)
            }
            (Self::Response(cqe), Header::CapsuleResp(got)) => (got.cqe == *cqe, &Vec::new()),
            (Self::R2t(cid, offset, length), Header::R2t(got)) => {
                let tags = got.cccid == *cid && got.ttag == !*cid;
                (
                    tags && got.r2to == *offset && got.r2tl == *length,
                    &Vec::new(),
                )
            }
            (Self::Termination(_, copy), Header::H2cTermReq(got) | Header::C2hTermReq(got)) => {
                (got.fes == Fes::SequenceError as u16 && got.fei == 8, copy)
            }
            _ => return false,
        };
        same_header && seen.data == *data && seen.intact
    }
}

/// A PDU as it came, its data put together again.
#[derive(Debug, PartialEq)]
struct Seen {
    header: Header,
    data: Vec<u8>,
    intact: bool,
    /// Where in the stream it ended.
    end: usize,
}

/// Feeds `bytes` in chunks whose sizes `cut` chooses, knowing what the deframer wants.
fn observe(
    rules: Rules,
    bytes: &[u8],
    mut cut: impl FnMut(usize) -> usize,
) -> Result<Vec<Seen>, PduError> {
    let mut deframer = Deframer::new(rules);
    let (mut seen, mut fed) = (Vec::<Seen>::new(), 0);
    while fed < bytes.len() {
        let chunk = cut(deframer.wants()).clamp(1, bytes.len() - fed);
        let mut input = &bytes[fed..fed + chunk];
        fed += chunk;
        while let Some(event) = deframer.next(&mut input)? {
            let end = fed - input.len();
            match event {
                Event::Header {
                    header,
                    data_length,
                } => seen.push(Seen {
                    header,
                    data: Vec::new(),
                    intact: data_length == 0,
                    end,
                }),
                Event::Data(piece) => seen.last_mut().unwrap().data.extend_from_slice(piece),
                Event::End { intact } => {
                    let last = seen.last_mut().unwrap();
                    (last.intact, last.end) = (intact, end);
                }
            }
        }
        assert!(input.is_empty());
    }
    Ok(seen)
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..64),
        (1_usize..8192, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

fn sqe() -> impl Strategy<Value = Sqe> {
    any::<[u8; 64]>().prop_map(|bytes| Sqe::read_from_bytes(&bytes).unwrap())
}

fn cqe() -> impl Strategy<Value = Cqe> {
    any::<[u8; 16]>().prop_map(|bytes| Cqe::read_from_bytes(&bytes).unwrap())
}

/// Some PDUs that go to `side`.
fn pdus(side: Side) -> BoxedStrategy<Vec<Pdu>> {
    let copy = prop::collection::vec(any::<u8>(), 0..=128);
    let termination = copy.prop_map(move |copy| Pdu::Termination(side, copy));
    let moved = (any::<u16>(), any::<u32>(), data());
    let one = match side {
        Side::Controller => prop_oneof![
            4 => (sqe(), data()).prop_map(|(sqe, data)| Pdu::Capsule(sqe, data)),
            4 => moved.prop_map(|(tag, offset, data)| Pdu::H2cData(tag, offset, data)),
            1 => termination,
        ]
        .boxed(),
        Side::Host => prop_oneof![
            3 => cqe().prop_map(Pdu::Response),
            3 => any::<(u16, u32, u32)>().prop_map(|(cid, at, n)| Pdu::R2t(cid, at, n)),
            4 => moved.prop_map(|(cid, offset, data)| Pdu::C2hData(cid, offset, data)),
            1 => termination,
        ]
        .boxed(),
    };
    prop::collection::vec(one, 1..8).boxed()
}

fn side_and_pdus() -> impl Strategy<Value = (Side, Vec<Pdu>)> {
    prop_oneof![Just(Side::Controller), Just(Side::Host)]
        .prop_flat_map(|side| (Just(side), pdus(side)))
}

proptest! {
    #[test]
    fn every_cut_gives_the_same_pdus_and_they_are_those_that_were_sent(
        (side, pdus) in side_and_pdus(),
        (header_digest, data_digest) in any::<(bool, bool)>(),
        alignment in 1_u32..=32,
        seed in any::<u64>(),
    ) {
        let framing = Framing {
            header_digest,
            data_digest,
            send_alignment: alignment * 4,
            receive_alignment: alignment * 4,
        };
        let pieces: Vec<Vec<u8>> = pdus.iter().map(|pdu| pdu.bytes(&framing)).collect();
        let stream = pieces.concat();
        let whole = observe(rules(side, framing), &stream, |_| usize::MAX).unwrap();
        prop_assert_eq!(whole.len(), pdus.len());
        let mut end = 0;
        for ((pdu, seen), bytes) in pdus.iter().zip(&whole).zip(&pieces) {
            end += bytes.len();
            prop_assert!(pdu.is(seen), "{:?} became {:?}", pdu, seen);
            prop_assert_eq!(seen.end, end);
        }
        let one_by_one = observe(rules(side, framing), &stream, |_| 1).unwrap();
        prop_assert_eq!(&one_by_one, &whole);
        let mut rng = Rng::new(seed);
        let at_random = observe(rules(side, framing), &stream, |_| 1 + rng.below(200)).unwrap();
        prop_assert_eq!(&at_random, &whole);
        // Who reads what is wanted reads to the end of each PDU and not a byte further.
        let as_wanted = observe(rules(side, framing), &stream, |wants| wants).unwrap();
        prop_assert_eq!(&as_wanted, &whole);
    }

    #[test]
    fn row_3_random_bytes_end_in_an_error_that_stays_or_wait_for_more(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        start in prop_oneof![Just(vec![]), header_starts()],
        (controller, initialized, digests) in any::<(bool, bool, bool)>(),
    ) {
        let side = if controller { Side::Controller } else { Side::Host };
        let framing = if digests { DIGESTS } else { PLAIN };
        let mut deframer = Deframer::new(Rules { initialized, ..rules(side, framing) });
        let stream = [start, bytes].concat();
        let mut input = stream.as_slice();
        loop {
            let wants = deframer.wants();
            prop_assert!(wants <= 65536, "{wants} bytes are wanted");
            match deframer.next(&mut input) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    // CVE-2026-52989: whatever follows, the verdict stands.
                    let good = Pdu::Capsule(Sqe::new(nvm::FLUSH, 1), vec![]).bytes(&framing);
                    prop_assert_eq!(deframer.next(&mut good.as_slice()), Err(error));
                    prop_assert_eq!(deframer.wants(), 0);
                    break;
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_a_header_or_its_digest_never_passes(
        sqe in sqe(), at in 0_usize..76, bit in 0_u32..8,
    ) {
        let mut bytes = Pdu::Capsule(sqe, vec![]).bytes(&DIGESTS);
        bytes[at] ^= 1 << bit;
        // A longer PLEN leaves the deframer waiting, anything else is found out at once.
        let awaits_more = observe(rules(Side::Controller, DIGESTS), &bytes, |_| usize::MAX)
            .is_ok_and(|seen| seen.is_empty());
        prop_assert!(awaits_more || verdict(DIGESTS, &bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_in_data_or_its_digest_is_told_once_at_the_end(
        at in 76_usize..76 + 516, bit in 0_u32..8,
    ) {
        let mut bytes = Pdu::Capsule(Sqe::new(nvm::WRITE, 1), vec![7; 512]).bytes(&DIGESTS);
        bytes[at] ^= 1 << bit;
        let seen = observe(rules(Side::Controller, DIGESTS), &bytes, |_| 100).unwrap();
        prop_assert_eq!(seen.len(), 1);
        prop_assert!(!seen[0].intact);
    }
}

/// Common headers that look right up to some field, so that random bytes get further than TYPE.
fn header_starts() -> impl Strategy<Value = Vec<u8>> {
    let types = prop::sample::select(vec![0_u8, 1, 2, 3, 4, 5, 6, 7, 9]);
    (
        types,
        0_u8..16,
        prop::sample::select(vec![24_u8, 72, 128]),
        any::<u8>(),
        0_u16..2000,
    )
        .prop_map(|(number, flags, hlen, pdo, plen)| {
            let [low, high] = plen.to_le_bytes();
            vec![number, flags, hlen, pdo, low, high, 0, 0]
        })
}

#[test]
fn row_18_every_type_in_every_state_on_both_sides() {
    for number in 0..=u8::MAX {
        for side in [Side::Controller, Side::Host] {
            for initialized in [false, true] {
                let pdu_type = PduType::from_wire(number);
                let hlen = pdu_type.map_or(24, PduType::header_length);
                let common = [number, 0, hlen, 0, hlen, 0, 0, 0];
                let got = verdict_of(
                    Rules {
                        initialized,
                        ..rules(side, PLAIN)
                    },
                    &common,
                );
                let expected = match (side, number) {
                    (Side::Controller, 0x02) | (Side::Host, 0x03) => Ok(()),
                    (Side::Controller, 0x00) | (Side::Host, 0x01) if !initialized => Ok(()),
                    (Side::Controller, 0x00) | (Side::Host, 0x01) => Err(PduError::sequence(0)),
                    (Side::Controller, 0x04 | 0x06) if initialized => Ok(()),
                    (Side::Host, 0x05 | 0x07 | 0x09) if initialized => Ok(()),
                    _ => Err(PduError::field(0)),
                };
                assert_eq!(got, expected, "{number:#x} {side:?} {initialized}");
            }
        }
    }
}

/// The common header of a good PDU with one thing changed.
fn spoilt(framing: Framing, pdu: &Pdu, spoil: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = pdu.bytes(&framing);
    spoil(&mut bytes);
    bytes.truncate(COMMON_HEADER_SIZE);
    bytes
}

fn capsule(bytes: usize) -> Pdu {
    Pdu::Capsule(Sqe::new(nvm::WRITE, 1), vec![0; bytes])
}

fn h2c(bytes: usize) -> Pdu {
    Pdu::H2cData(1, 0, vec![0; bytes])
}

#[test]
fn row_19_a_header_length_that_is_not_the_types_is_refused() {
    for pdu in [capsule(0), capsule(512), h2c(512)] {
        let good = pdu.bytes(&PLAIN)[2];
        for hlen in (0..=u8::MAX).filter(|hlen| *hlen != good) {
            let header = spoilt(PLAIN, &pdu, |bytes| bytes[2] = hlen);
            assert_eq!(verdict(PLAIN, &header), Err(PduError::field(2)), "{hlen}");
        }
    }
}

#[test]
fn row_20_lengths_that_cannot_be_are_refused_before_anything_is_awaited() {
    let plen = |framing, pdu: &Pdu, plen: u32| {
        let header = spoilt(framing, pdu, |bytes| {
            bytes[4..8].copy_from_slice(&plen.to_le_bytes());
        });
        verdict(framing, &header)
    };
    let wrong = Err(PduError::field(4));
    // Without data PDO is 0 and the PDU is its header.
    for (framing, lengths) in [(PLAIN, [0, 8, 71]), (DIGESTS, [0, 72, 75])] {
        for length in lengths {
            assert_eq!(plen(framing, &capsule(0), length), wrong, "{length}");
        }
    }
    assert_eq!(plen(PLAIN, &capsule(0), 73), Err(PduError::field(3)));
    // With data it must reach beyond PDO, and with digests beyond the digest.
    assert_eq!(plen(PLAIN, &capsule(512), 71), Err(PduError::field(3)));
    assert_eq!(plen(PLAIN, &h2c(512), 23), Err(PduError::field(3)));
    for length in [77, 79, 80] {
        assert_eq!(plen(DIGESTS, &capsule(512), length), wrong, "{length}");
    }
    assert_eq!(plen(DIGESTS, &capsule(512), 81), Ok(()));
    // And it must stay below what the connection allows.
    let limit = Err(fatal(Fes::LimitExceeded, 4));
    assert_eq!(plen(PLAIN, &capsule(512), 72 + 8192), Ok(()));
    assert_eq!(plen(PLAIN, &capsule(512), 72 + 8193), limit);
    assert_eq!(plen(PLAIN, &h2c(512), 24 + 65536), Ok(()));
    assert_eq!(plen(PLAIN, &h2c(512), 24 + 65537), limit);
    assert_eq!(plen(DIGESTS, &h2c(512), u32::MAX), limit);
}

#[test]
fn row_21_data_offsets_that_do_not_point_behind_the_header_and_aligned_are_refused() {
    let aligned = Framing {
        receive_alignment: 32,
        ..PLAIN
    };
    let pdo = |framing, pdu: &Pdu, pdo: u8| {
        verdict(framing, &spoilt(framing, pdu, |bytes| bytes[3] = pdo))
    };
    let wrong = Err(PduError::field(3));
    for offset in [0, 4, 71, 73, 255] {
        assert_eq!(pdo(PLAIN, &capsule(512), offset), wrong, "{offset}");
    }
    assert_eq!(pdo(PLAIN, &capsule(40), 116), wrong, "beyond the PDU");
    assert_eq!(pdo(DIGESTS, &capsule(512), 72), wrong, "over the digest");
    for offset in [72, 76, 92, 100] {
        assert_eq!(pdo(aligned, &capsule(512), offset), wrong, "{offset}");
    }
    for (framing, offset) in [(PLAIN, 76), (PLAIN, 252), (aligned, 96), (aligned, 128)] {
        assert_eq!(pdo(framing, &capsule(512), offset), Ok(()), "{offset}");
    }
}

#[test]
fn row_22_digest_flags_say_what_was_negotiated_neither_more_nor_less() {
    let headers = Framing {
        data_digest: false,
        ..DIGESTS
    };
    let data = Framing {
        header_digest: false,
        ..DIGESTS
    };
    let cases = [
        (PLAIN, capsule(0), 0b00),
        (PLAIN, capsule(512), 0b00),
        (headers, capsule(512), 0b01),
        (headers, h2c(512), 0b01),
        (data, capsule(512), 0b10),
        (data, capsule(0), 0b00),
        (DIGESTS, capsule(512), 0b11),
        (DIGESTS, capsule(0), 0b01),
    ];
    for (framing, pdu, expected) in cases {
        for bits in 0..=u8::MAX {
            let last_allowed = matches!(pdu, Pdu::H2cData(..));
            let header = spoilt(framing, &pdu, |bytes| bytes[1] = bits);
            let legal = bits == expected || last_allowed && bits == expected | flags::LAST_PDU;
            let verdict = verdict(framing, &header);
            assert_eq!(verdict.is_ok(), legal, "{framing:?} {bits:#b}");
            assert!(legal || verdict == Err(PduError::field(1)));
        }
    }
}

#[test]
fn a_wrong_length_is_named_even_where_a_data_digest_was_to_follow() {
    let header = spoilt(DIGESTS, &h2c(512), |bytes| {
        bytes[4..8].copy_from_slice(&[30, 0, 0, 0])
    });
    assert_eq!(verdict(DIGESTS, &header), Err(PduError::field(4)));
    let header = spoilt(DIGESTS, &h2c(512), |bytes| bytes[3] = 29);
    assert_eq!(verdict(DIGESTS, &header), Err(PduError::field(3)));
}

#[test]
fn the_lowest_wrong_field_is_the_one_that_is_named() {
    let mut header = [0xff_u8; 8];
    let repairs: [(usize, u8, u32); 4] = [(0, 6, 1), (1, 0, 2), (2, 24, 3), (3, 24, 4)];
    assert_eq!(verdict(PLAIN, &header), Err(PduError::field(0)));
    for (at, good, next) in repairs {
        header[at] = good;
        let expected = match next {
            4 => fatal(Fes::LimitExceeded, 4),
            next => PduError::field(next),
        };
        assert_eq!(verdict(PLAIN, &header), Err(expected));
    }
}

#[test]
fn row_24_terminations_are_taken_up_to_152_bytes_and_never_with_digests() {
    for side in [Side::Controller, Side::Host] {
        for copied in [0, 1, 128] {
            let bytes = Pdu::Termination(side, vec![9; copied]).bytes(&DIGESTS);
            let seen = observe(rules(side, DIGESTS), &bytes, |_| 7).unwrap();
            assert_eq!((seen.len(), seen[0].data.len()), (1, copied));
        }
        for plen in [0_u32, 8, 23, 153, u32::MAX] {
            let mut bytes = Pdu::Termination(side, vec![]).bytes(&PLAIN);
            bytes[4..8].copy_from_slice(&plen.to_le_bytes());
            let verdict = verdict_of(rules(side, PLAIN), &bytes);
            assert_eq!(verdict, Err(PduError::MalformedTermination), "{plen}");
        }
    }
}

#[test]
fn before_the_connection_is_set_up_only_its_set_up_is_read() {
    let before = |side| Rules {
        initialized: false,
        max_capsule_data: 0,
        max_data: 0,
        ..rules(side, PLAIN)
    };
    let request = IcReq::new(0, 0, true, true);
    let seen = observe(before(Side::Controller), request.as_bytes(), |wants| wants).unwrap();
    assert_eq!(seen[0].header, Header::IcReq(request));
    let response = IcResp::new(4096, true, true);
    let seen = observe(before(Side::Host), response.as_bytes(), |_| 1).unwrap();
    assert_eq!(seen[0].header, Header::IcResp(response));
    for pdu in [capsule(0), h2c(512)] {
        let verdict = verdict_of(before(Side::Controller), &pdu.bytes(&PLAIN));
        assert_eq!(verdict, Err(PduError::field(0)), "row 5");
    }
}

#[test]
fn row_25_two_pdus_are_cut_at_every_offset_and_a_hundred_come_at_once() {
    let one = [capsule(300), h2c(40)];
    let stream: Vec<u8> = one.iter().flat_map(|pdu| pdu.bytes(&DIGESTS)).collect();
    let whole = observe(rules(Side::Controller, DIGESTS), &stream, |_| usize::MAX).unwrap();
    for at in 1..stream.len() {
        let mut cuts = [at, stream.len()].into_iter();
        let seen = observe(rules(Side::Controller, DIGESTS), &stream, |_| {
            cuts.next().unwrap_or(1)
        });
        assert_eq!(seen.unwrap(), whole, "cut at {at}");
    }
    let many = stream.repeat(100);
    let seen = observe(rules(Side::Controller, DIGESTS), &many, |_| 65536).unwrap();
    assert_eq!(seen.len(), 200);
}
