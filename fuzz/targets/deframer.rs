//! A stream of any bytes, cut into PDUs.
//!
//! However the network cuts it, the same is found in it; no more is asked for than the rules allow, and
//! who is dead stays dead, for the same reason.

#![no_main]
#![forbid(unsafe_code)]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvmf_proto::deframer::{Deframer, Event, Rules, Side};
use nvmf_proto::pdu::{Framing, Header, PduError};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    host: bool,
    initialized: bool,
    header_digest: bool,
    data_digest: bool,
    alignment: u8,
    max_data: u16,
    /// Bytes of each piece, again and again.
    pieces: [u8; 4],
    stream: &'a [u8],
}

/// What was found, with the pieces of a PDU's data put together.
#[derive(Debug, PartialEq)]
enum Found {
    Header(Header, u32),
    Data(Vec<u8>),
    End(bool),
    Error(PduError),
}

/// Cuts `stream`, of which `piece` says how much comes next, given what is wanted.
fn cut(rules: Rules, stream: &[u8], mut piece: impl FnMut(usize) -> usize) -> Vec<Found> {
    let mut deframer = Deframer::new(rules);
    let mut found = Vec::new();
    let mut rest = stream;
    let mut expected: Option<u32> = None;
    while !rest.is_empty() {
        let wants = deframer.wants();
        assert!(wants > 0, "it is alive and wants nothing");
        let (mut chunk, behind) = rest.split_at(piece(wants).clamp(1, rest.len()));
        rest = behind;
        loop {
            match deframer.next(&mut chunk) {
                Ok(None) => break,
                Ok(Some(Event::Header {
                    header,
                    data_length,
                })) => {
                    assert_eq!(expected, None, "a header within another's data");
                    assert!(deframer.header_bytes().len() <= 132);
                    let most = rules.max_data.max(rules.max_capsule_data).max(128);
                    assert!(data_length <= most, "{data_length} bytes of data");
                    expected = (data_length != 0).then_some(data_length);
                    found.push(Found::Header(header, data_length));
                }
                Ok(Some(Event::Data(data))) => {
                    assert!(!data.is_empty());
                    let length = u32::try_from(data.len()).unwrap();
                    expected = Some(expected.unwrap().checked_sub(length).unwrap());
                    match found.last_mut() {
                        Some(Found::Data(before)) => before.extend_from_slice(data),
                        _ => found.push(Found::Data(data.to_vec())),
                    }
                }
                Ok(Some(Event::End { intact })) => {
                    assert_eq!(expected.take(), Some(0), "data is missing");
                    found.push(Found::End(intact));
                }
                Err(error) => {
                    assert_eq!(deframer.wants(), 0);
                    assert_eq!(deframer.next(&mut &stream[..]), Err(error), "dead is dead");
                    found.push(Found::Error(error));
                    return found;
                }
            }
        }
        assert!(chunk.is_empty(), "it left bytes behind");
    }
    found
}

fuzz_target!(|input: Input<'_>| {
    let rules = Rules {
        side: if input.host {
            Side::Host
        } else {
            Side::Controller
        },
        framing: Framing {
            header_digest: input.header_digest,
            data_digest: input.data_digest,
            send_alignment: 4,
            receive_alignment: 4 * (u32::from(input.alignment) % 32 + 1),
        },
        max_capsule_data: u32::from(input.max_data) / 2,
        max_data: input.max_data.into(),
        initialized: input.initialized,
    };
    let whole = cut(rules, input.stream, |_| usize::MAX);
    let mut sizes = input.pieces.iter().cycle();
    let pieces = cut(rules, input.stream, |_| {
        sizes.next().copied().unwrap_or(1).into()
    });
    assert_eq!(whole, pieces);
    let wanted = cut(rules, input.stream, |wants| wants);
    assert_eq!(whole, wanted);
});
