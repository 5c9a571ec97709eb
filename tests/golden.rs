//! What a real Linux host and nvmfd said to each other, as captured on the wire: our code must read
//! every frame, make the same bytes again, and see the same as an independent decoder does.
//!
//! The capture is made by `cargo test -p nvmfd-tests --test linux_host -- --capture
//! tests/data/linux-6.12.pcap`; `vm/guest/capture.sh` is the conversation.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use nvmf_proto::deframer::{Deframer, Event, Rules, Side};
use nvmf_proto::opcode;
use nvmf_proto::pdu::{Framing, Header, IcReq, IcResp, PduType, append_data_digest, flags};
use nvmfd_tests::decoder;
use nvmfd_tests::pcap::{Conversation, conversations};

const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/linux-6.12.pcap");
const PORTS: [u16; 2] = [4420, 8009];

/// A PDU of the capture.
struct Frame {
    header: Header,
    data: Vec<u8>,
}

fn capture() -> Vec<Conversation> {
    conversations(&std::fs::read(CAPTURE).unwrap(), &PORTS)
}

/// Cuts one direction into PDUs; the first, which is not framed yet, says how the others are.
fn frames(bytes: &[u8], side: Side, framing: Framing) -> Vec<Frame> {
    let rules = |initialized, framing| Rules {
        side,
        framing,
        max_capsule_data: 16384,
        max_data: 1 << 20,
        initialized,
    };
    let (first, mut rest) = bytes.split_at(128);
    let mut found = Vec::new();
    let mut deframer = Deframer::new(rules(false, Framing::INITIAL));
    found.extend(cut(&mut deframer, &mut &*first));
    let mut deframer = Deframer::new(rules(true, framing));
    found.extend(cut(&mut deframer, &mut rest));
    found
}

fn cut(deframer: &mut Deframer, input: &mut &[u8]) -> Vec<Frame> {
    let mut found: Vec<Frame> = Vec::new();
    while let Some(event) = deframer.next(input).expect("a real peer breaks no rule") {
        match event {
            Event::Header { header, .. } => found.push(Frame {
                header,
                data: Vec::new(),
            }),
            Event::Data(piece) => found.last_mut().unwrap().data.extend_from_slice(piece),
            Event::End { intact } => assert!(intact, "a data digest is right"),
        }
    }
    found
}

/// What ICReq and ICResp settled.
fn framing(conversation: &Conversation) -> Framing {
    let icresp = &frames_of_first(&conversation.from_port, Side::Host)[0];
    let Header::IcResp(icresp) = icresp.header else {
        panic!("the first answer is ICResp")
    };
    Framing {
        header_digest: icresp.header_digest(),
        data_digest: icresp.data_digest(),
        ..Framing::INITIAL
    }
}

fn frames_of_first(bytes: &[u8], side: Side) -> Vec<Frame> {
    frames(&bytes[..128], side, Framing::INITIAL)
}

/// The bytes that we would send for this PDU.
fn encode(frame: &Frame, framing: &Framing) -> Vec<u8> {
    let mut out = Vec::new();
    let length = u32::try_from(frame.data.len()).unwrap();
    let kept = |flags: u8| flags & (flags::LAST_PDU | flags::SUCCESS);
    match &frame.header {
        Header::IcReq(it) => {
            let (hpda, maxr2t) = (it.hpda, it.maxr2t.get());
            let icreq = IcReq::new(hpda, maxr2t, it.header_digest(), it.data_digest());
            assert_eq!(icreq, *it);
            return zerocopy_bytes(&icreq);
        }
        Header::IcResp(it) => {
            let icresp = IcResp::new(it.maxh2cdata.get(), it.header_digest(), it.data_digest());
            assert_eq!(icresp, *it);
            return zerocopy_bytes(&icresp);
        }
        Header::CapsuleCmd(it) => framing.capsule_cmd(&mut out, it.sqe, length),
        Header::CapsuleResp(it) => framing.capsule_resp(&mut out, it.cqe),
        Header::H2cData(it) => {
            let names = (it.cccid.get(), it.ttag.get());
            framing.h2c_data(
                &mut out,
                names,
                it.datao.get(),
                length,
                kept(it.common.flags),
            );
        }
        Header::C2hData(it) => {
            let (cccid, datao) = (it.cccid.get(), it.datao.get());
            framing.c2h_data(&mut out, cccid, datao, length, kept(it.common.flags));
        }
        Header::R2t(it) => {
            framing.r2t(
                &mut out,
                it.cccid.get(),
                it.ttag.get(),
                it.r2to.get(),
                it.r2tl.get(),
            );
        }
        Header::H2cTermReq(_) | Header::C2hTermReq(_) => panic!("nobody was terminated"),
    }
    if !frame.data.is_empty() {
        out.extend_from_slice(&frame.data);
        if framing.data_digest {
            append_data_digest(&mut out, &frame.data);
        }
    }
    out
}

fn zerocopy_bytes(value: &(impl zerocopy::IntoBytes + zerocopy::Immutable)) -> Vec<u8> {
    value.as_bytes().to_vec()
}

fn type_of(header: &Header) -> PduType {
    match header {
        Header::IcReq(_) => PduType::IcReq,
        Header::IcResp(_) => PduType::IcResp,
        Header::H2cTermReq(_) => PduType::H2cTermReq,
        Header::C2hTermReq(_) => PduType::C2hTermReq,
        Header::CapsuleCmd(_) => PduType::CapsuleCmd,
        Header::CapsuleResp(_) => PduType::CapsuleResp,
        Header::H2cData(_) => PduType::H2cData,
        Header::C2hData(_) => PduType::C2hData,
        Header::R2t(_) => PduType::R2t,
    }
}

#[test]
fn every_frame_is_read_and_made_again_byte_for_byte() {
    let conversations = capture();
    assert!(
        conversations.len() >= 4,
        "discovery, an admin queue and two I/O queues"
    );
    let mut seen = BTreeMap::new();
    for conversation in &conversations {
        let framing = framing(conversation);
        let directions = [
            (&conversation.to_port, Side::Controller),
            (&conversation.from_port, Side::Host),
        ];
        for (bytes, side) in directions {
            let mut made = Vec::new();
            for frame in frames(bytes, side, framing) {
                *seen.entry(type_of(&frame.header) as u8).or_insert(0) += 1;
                made.extend(encode(&frame, &framing));
            }
            assert!(made == *bytes, "port {} {side:?}", conversation.port);
        }
    }
    let types: Vec<u8> = seen.keys().copied().collect();
    assert_eq!(
        types,
        [0, 1, 4, 5, 6, 7, 9],
        "every type of a healthy connection occurs: {seen:?}"
    );
}

#[test]
fn the_host_connects_with_digests_and_writes_both_ways() {
    let conversations = capture();
    let io = |it: &&Conversation| it.port == 4420;
    let mut writes = Vec::new();
    for conversation in conversations.iter().filter(io) {
        let framing = framing(conversation);
        assert!(framing.header_digest && framing.data_digest);
        for frame in frames(&conversation.to_port, Side::Controller, framing) {
            if let Header::CapsuleCmd(capsule) = frame.header
                && capsule.sqe.opcode == opcode::nvm::WRITE
            {
                writes.push(frame.data.len());
            }
        }
    }
    assert!(
        writes.iter().any(|&in_capsule| in_capsule != 0),
        "{writes:?}"
    );
    assert!(
        writes.contains(&0),
        "one write was too large for its capsule: {writes:?}"
    );
}

/// Type, HLEN and PLEN of each PDU, as tshark decodes the capture.
fn decoded_by_tshark() -> Vec<(u8, u8, u32)> {
    let fields = ["nvme-tcp.type", "nvme-tcp.hlen", "nvme-tcp.plen"];
    let frames = decoder::frames(CAPTURE.as_ref(), &PORTS, "nvme-tcp", &fields)
        .expect("tshark reads it; scripts/bootstrap.sh test installs it");
    let mut found = Vec::new();
    for frame in frames {
        // There may be several PDUs in one segment.
        let column = |index: usize| frame[index].iter().map(|it| decoder::number(it));
        for ((kind, hlen), plen) in column(0).zip(column(1)).zip(column(2)) {
            found.push((kind.try_into().unwrap(), hlen.try_into().unwrap(), plen));
        }
    }
    found
}

#[test]
fn an_independent_decoder_sees_the_same_frames() {
    let mut ours = Vec::new();
    for conversation in capture() {
        let framing = framing(&conversation);
        for (bytes, side) in [
            (&conversation.to_port, Side::Controller),
            (&conversation.from_port, Side::Host),
        ] {
            for frame in frames(bytes, side, framing) {
                let kind = type_of(&frame.header);
                let plen = encode(&frame, &framing).len();
                ours.push((
                    kind as u8,
                    kind.header_length(),
                    u32::try_from(plen).unwrap(),
                ));
            }
        }
    }
    let mut theirs = decoded_by_tshark();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
}

#[test]
fn an_independent_decoder_finds_nothing_malformed_and_reads_the_discovery_log() {
    let complaints = decoder::complaints(CAPTURE.as_ref(), &PORTS).unwrap();
    assert_eq!(complaints, [""; 0]);
    let entries = decoder::discovery_entries(CAPTURE.as_ref(), &PORTS).unwrap();
    let discovery = "nqn.2014-08.org.nvmexpress.discovery";
    let entry = |entry: &decoder::Entry| {
        let decoder::Entry {
            traddr, trsvcid, ..
        } = entry;
        format!("{} {} {traddr} {trsvcid}", entry.subtype, entry.subnqn)
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    assert_eq!(entries, [format!("3 {discovery} 10.99.0.1 8009")]);
}
