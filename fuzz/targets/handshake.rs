//! A connection's beginning: any bytes to a controller that negotiates, from ICReq to Connect.
//!
//! It never reads beyond the Connect, says at most one word of farewell, and whatever it sends is what a
//! host may be sent.

#![no_main]
#![forbid(unsafe_code)]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvmf_proto::connect::{ConnectReject, Limits};
use nvmf_proto::deframer::{Deframer, Event, Rules, Side};
use nvmf_proto::handshake::{DigestOffer, Handshake, Offer, Progress, QueueLimits};
use nvmf_proto::pdu::{Framing, Header};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    header_digest: u8,
    data_digest: u8,
    flow_control_optional: bool,
    /// What policy says of a legal Connect.
    accepted: bool,
    /// Bytes of each piece, again and again; 0 for as many as are wanted.
    pieces: [u8; 4],
    stream: &'a [u8],
}

fn offer(choice: u8) -> DigestOffer {
    match choice % 3 {
        0 => DigestOffer::Off,
        1 => DigestOffer::Allow,
        _ => DigestOffer::Require,
    }
}

/// What a host finds in all that was sent: it must be legal from the first byte to the last.
fn as_a_host_reads(sent: &[u8], header_digest: bool) {
    let rules = |initialized| Rules {
        side: Side::Host,
        framing: Framing {
            header_digest: header_digest && initialized,
            ..Framing::INITIAL
        },
        max_capsule_data: 0,
        max_data: u32::MAX,
        initialized,
    };
    let mut deframer = Deframer::new(rules(false));
    let mut rest = sent;
    let mut ended = false;
    while let Some(event) = deframer.next(&mut rest).expect("a controller may send it") {
        assert!(!ended, "something was said after the farewell");
        match event {
            Event::Header {
                header: Header::IcResp(_),
                ..
            } => deframer = Deframer::new(rules(true)),
            Event::Header {
                header: Header::CapsuleResp(_),
                ..
            } => {}
            Event::Header {
                header: Header::C2hTermReq(_),
                ..
            } => {}
            Event::Header { header, .. } => panic!("{header:?} during negotiation"),
            Event::Data(_) => {}
            Event::End { .. } => ended = true,
        }
    }
    assert!(rest.is_empty());
}

fuzz_target!(|input: Input<'_>| {
    let mut handshake = Handshake::new(Offer {
        header_digest: offer(input.header_digest),
        data_digest: offer(input.data_digest),
        maxh2cdata: 8192,
        limits: Limits {
            max_admin_entries: 4096,
            max_io_entries: 1024,
            sq_flow_control_optional: input.flow_control_optional,
        },
    });
    let mut sent = Vec::new();
    let mut rest = input.stream;
    let mut sizes = input.pieces.iter().cycle();
    let mut header_digest = false;
    'stream: while !rest.is_empty() {
        let wants = handshake.wants();
        if wants == 0 {
            break;
        }
        let size = match sizes.next() {
            None | Some(0) => wants,
            Some(&size) => wants.min(size.into()),
        };
        let (mut chunk, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        while !chunk.is_empty() {
            match handshake.next(&mut chunk) {
                Ok(Progress::NeedMore) => assert!(chunk.is_empty(), "it left bytes behind"),
                Ok(Progress::Connect(request)) => {
                    // Who reads no more than is wanted has nothing of what follows.
                    assert!(chunk.is_empty(), "it read beyond the Connect");
                    sent.extend(handshake.outbox().take());
                    header_digest = request.framing().header_digest;
                    if input.accepted {
                        let limits = QueueLimits {
                            in_capsule: 8192,
                            max_transfer: 1 << 20,
                        };
                        let mut queue = request.accept(1, limits);
                        sent.extend(queue.outbox().take());
                    } else {
                        sent.extend(request.reject(ConnectReject::SUBNQN).take());
                    }
                    break 'stream;
                }
                Ok(Progress::Refused(_) | Progress::Terminated { .. }) | Err(_) => {
                    // What follows is ignored, and answered by nothing.
                    sent.extend(handshake.outbox().take());
                    assert_eq!(handshake.wants(), 0);
                    assert!(matches!(handshake.next(&mut rest), Ok(Progress::NeedMore)));
                    assert!(rest.is_empty() && handshake.outbox().is_empty());
                    break 'stream;
                }
            }
        }
        let more = handshake.outbox().take();
        // ICResp says what was settled.
        if sent.is_empty() && more.len() >= 12 {
            header_digest = more.get(11).is_some_and(|digests| digests & 1 != 0);
        }
        sent.extend(more);
    }
    if sent.len() >= 12 && sent.first() == Some(&1) {
        header_digest = sent.get(11).is_some_and(|digests| digests & 1 != 0);
    }
    as_a_host_reads(&sent, header_digest);
});
