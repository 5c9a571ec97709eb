//! The vectors that the real libnv made: what we render, and how the fake judges them.

use std::os::fd::AsRawFd;

use nvmf_kmod::nv::Nvlist;
use nvmf_kmod::request::handoff_arguments;
use nvmf_proto::connect::{Connect, Limits};
use nvmf_proto::handshake::Handoff;
use nvmf_proto::pdu::Framing;
use nvmf_proto::sqe::Sqe;
use serde_json::Value as Json;
use zerocopy::FromBytes;

use super::support::{Ended, NVMF, PORT_REQ, Raw, connection, kernel, lun_request, online_port};

/// The bytes of a vector.
fn vector(name: &str) -> Vec<u8> {
    let file = include_str!("../../data/nvlist-vectors.json");
    let file: Json = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name).unwrap();
    let hex = case["hex"].as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.chunks(2).map(byte).collect()
}

/// The hand-off of a vector, as our handshake would have made it.
fn handoff_of(list: &Nvlist) -> Handoff {
    let params = list.get_nvlist("params").unwrap();
    let number = |key: &str| u32::try_from(params.get_number(key).unwrap()).unwrap();
    let sqe = Sqe::read_from_bytes(list.get_binary("cmd").unwrap()).unwrap();
    let data = list.get_binary("data").unwrap().to_vec();
    let limits = Limits {
        max_admin_entries: 4096,
        max_io_entries: 1024,
        sq_flow_control_optional: true,
    };
    let connect = Connect::from_wire(&sqe, &data, &limits).unwrap();
    Handoff {
        framing: Framing {
            header_digest: params.get_bool("header_digests").unwrap(),
            data_digest: params.get_bool("data_digests").unwrap(),
            send_alignment: number("txpda"),
            receive_alignment: number("rxpda"),
        },
        maxr2t: number("maxr2t"),
        maxh2cdata: number("maxh2cdata"),
        entries: connect.entries,
        sq_flow_control: connect.sq_flow_control,
        connect,
        sqe,
        data,
    }
}

#[test]
fn hand_offs_are_rendered_to_the_bytes_of_libnv() {
    for (name, fd) in [("handoff_admin", 9), ("handoff_io", 10)] {
        let bytes = vector(name);
        let handoff = handoff_of(&Nvlist::unpack(&bytes, 0).unwrap());
        let rendered = handoff_arguments(&handoff, fd).pack().unwrap();
        assert_eq!(rendered, bytes, "{name}");
    }
}

#[test]
fn ports_of_the_vectors_are_made_and_removed_and_the_answer_is_theirs() {
    let request = |kind, bytes: &[u8]| {
        Raw::new(PORT_REQ)
            .bytes(0, b"nvmf")
            .u32(32, kind)
            .input(40, 56, bytes)
            .output(64, 256)
            .u64(80, 256)
    };
    for create in ["port_create_min", "port_create_full"] {
        for remove in ["port_remove_nqn", "port_remove_id"] {
            let (fake, _) = kernel();
            let mut raw = request(0, &vector(create));
            raw.send(&fake).unwrap();
            assert_eq!(raw.ended(), Ended::new(1, ""));
            assert_eq!(raw.written(), vector("port_create_reply"));
            let mut raw = request(1, &vector(remove));
            raw.send(&fake).unwrap();
            assert_eq!(raw.ended(), Ended::new(1, ""), "{remove}");
            assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
        }
    }
}

#[test]
fn luns_of_the_vectors_are_made() {
    let (fake, _) = kernel();
    let block = Nvlist::unpack(&vector("lun_create_block"), 0).unwrap();
    let mut raw = lun_request("block", 0, &block).u32(40, 0x30);
    raw.send(&fake).unwrap();
    // That disk is on another machine.
    let why = "error opening /dev/zvol/tank/disk0: 2";
    assert_eq!(raw.ended(), Ended::new(3, why));
    let ramdisk = Nvlist::unpack(&vector("lun_create_ramdisk"), 0).unwrap();
    let mut raw = lun_request("ramdisk", 0, &ramdisk)
        .u32(40, 0x30)
        .u64(48, 64 << 20);
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(1, ""));
}

#[test]
fn hand_offs_of_the_vectors_are_taken_under_another_number() {
    let (fake, books) = kernel();
    let port = online_port(&fake, "nqn.2026-01.org.example:disk0");
    let mut hosts = Vec::new();
    // CNTLID 5 is the sixth.
    for _ in 0..6 {
        hosts.push(hand_over(&fake, "handoff_admin"));
    }
    assert!(books.set_queues(port, 5, 1));
    hosts.push(hand_over(&fake, "handoff_io"));
    assert_eq!(books.queues(port, 5).len(), 1);
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

/// Hands over what a vector says, with the number of a descriptor that is there; the host's end.
fn hand_over(fake: &nvmf_kmod::fake::FakeKernel, name: &str) -> std::net::TcpStream {
    let (host, mut ours) = connection();
    let handoff = handoff_of(&Nvlist::unpack(&vector(name), 0).unwrap());
    let list = handoff_arguments(&handoff, ours.as_raw_fd());
    let mut raw = Raw::new(NVMF).input(8, 24, &list.pack().unwrap());
    raw.send_with(fake, Some(&mut ours)).unwrap();
    assert_eq!(raw.ended(), Ended::new(0, ""), "{name}");
    host
}
