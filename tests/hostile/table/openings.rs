//! Peers that do not get as far as a Connect (rows 1–17).

use nvmf_proto::connect::Connect;
use nvmf_proto::pdu::IcReq;
use nvmfd_tests::peer::HostOptions;
use nvmfd_tests::target::NQN;
use zerocopy::IntoBytes;

use super::{Act, Case, Gets, Row, Stage};
use crate::scene::{FIELD, SEQUENCE, good_start};
use crate::stories::openings as story;
use nvmf_proto::pdu::Fes;

const fn icreq(name: &'static str, at: usize, value: u8, fes: Fes, fei: u32) -> Case {
    Case::new(name, Act::IcReq { at, value }, Gets::Terminated(fes, fei))
}

/// A good host's Connect.
fn good() -> Connect {
    HostOptions::named(1)
        .admin(&NQN.parse().expect("a name"))
        .connect
}

fn second_icreq() -> Vec<u8> {
    IcReq::new(0, 0, false, false).as_bytes().to_vec()
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        number: 1,
        peer: "says nothing",
        source: "the specification leaves the time to the target; FreeBSD has none, and one silent client stops its nvmfd",
        freebsd: None,
        cases: &[Case::own(
            "nothing is said, to either portal",
            story::silent_peers_are_put_out,
            "closed at the one deadline (`negotiation-time`), without a word",
        )],
    },
    Row {
        number: 2,
        peer: "says a few bytes and then nothing, or a byte now and then",
        source: "as row 1",
        freebsd: None,
        cases: &[
            Case::own(
                "parts of a good host's stream, and silence",
                story::peers_that_say_little_are_put_out,
                "closed at the same deadline; an ICReq is answered",
            ),
            Case::own(
                "a byte now and then",
                story::a_byte_now_and_then_does_not_move_the_deadline,
                "closed at the same deadline",
            ),
        ],
    },
    Row {
        number: 3,
        peer: "sends 128 random bytes and the end",
        source: "CVE-2023-5178",
        freebsd: None,
        cases: &[Case::story(
            "200 times",
            story::random_bytes_and_the_end_of_them,
            "a termination or nothing, and the end",
        )],
    },
    Row {
        number: 4,
        peer: "resets as soon as it is connected",
        source: "CVE-2026-74385, CVE-2025-38035",
        freebsd: None,
        cases: &[Case::story(
            "500 times",
            story::connections_that_are_reset_as_soon_as_they_are_there,
            "nothing is left of it",
        )],
    },
    Row {
        number: 5,
        peer: "begins with a capsule",
        source: "FreeBSD nvmf_tcp_validate_pdu: the type is the first field that it looks at; the specification would have a sequence error",
        freebsd: None,
        cases: &[
            Case::new(
                "a Connect capsule",
                Act::Opens(|| good_start(&good()).split_off(128)),
                Gets::Terminated(FIELD, 0),
            ),
            Case::new(
                "a termination",
                Act::Opens(|| {
                    vec![
                        2, 0, 24, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                    ]
                }),
                Gets::Silence,
            ),
        ],
    },
    Row {
        number: 6,
        peer: "begins with a TLS ClientHello, or with another protocol",
        source: "as row 5; there are no TLS portals, and so no plain ICReq to one",
        freebsd: None,
        cases: &[
            Case::new(
                "a ClientHello",
                Act::Opens(|| {
                    [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x55; 506]].concat()
                }),
                Gets::Terminated(FIELD, 0),
            ),
            Case::new(
                "HTTP",
                Act::Opens(|| b"GET / HTTP/1.1\r\n\r\n".to_vec()),
                Gets::Terminated(FIELD, 0),
            ),
        ],
    },
    Row {
        number: 7,
        peer: "sends an ICReq whose PLEN is not 128",
        source: "NVMe/TCP §3.6.2.2; FreeBSD nvmf_tcp_validate_pdu",
        freebsd: None,
        cases: &[
            icreq("PLEN 127", 4, 127, FIELD, 4),
            icreq("PLEN 129", 4, 129, FIELD, 4),
            icreq("PLEN 0", 4, 0, FIELD, 4),
            icreq("PLEN 4 GiB less a little", 7, 0xff, FIELD, 4),
        ],
    },
    Row {
        number: 8,
        peer: "sends an ICReq whose HLEN is not 128",
        source: "as row 7",
        freebsd: None,
        cases: &[
            icreq("HLEN 127", 2, 127, FIELD, 2),
            icreq("HLEN 129", 2, 129, FIELD, 2),
            icreq("HLEN 0", 2, 0, FIELD, 2),
            icreq("HLEN 255", 2, 255, FIELD, 2),
        ],
    },
    Row {
        number: 9,
        peer: "sends an ICReq with a PDO",
        source: "as row 7",
        freebsd: None,
        cases: &[
            icreq("PDO 1", 3, 1, FIELD, 3),
            icreq("PDO 128", 3, 128, FIELD, 3),
        ],
    },
    Row {
        number: 10,
        peer: "sends an ICReq with flags",
        source: "as row 7",
        freebsd: None,
        cases: &[
            icreq("HDGSTF", 1, 1, FIELD, 1),
            icreq("DDGSTF", 1, 2, FIELD, 1),
            icreq("both", 1, 3, FIELD, 1),
            icreq("a reserved one", 1, 0x80, FIELD, 1),
        ],
    },
    Row {
        number: 11,
        peer: "sends an ICReq of another PDU format version",
        source: "NVMe/TCP §3.6.2.2; FreeBSD tcp_accept",
        freebsd: None,
        cases: &[
            icreq("PFV 1", 8, 1, Fes::UnsupportedParameter, 8),
            icreq("PFV 256", 9, 1, Fes::UnsupportedParameter, 8),
        ],
    },
    Row {
        number: 12,
        peer: "sends an ICReq whose HPDA is more than 31",
        source: "NVMe/TCP §3.6.2.2; FreeBSD tcp_accept",
        freebsd: None,
        cases: &[
            icreq("HPDA 32", 10, 32, FIELD, 10),
            icreq("HPDA 255", 10, 255, FIELD, 10),
        ],
    },
    Row {
        number: 13,
        peer: "asks for any alignment that there is, HPDA 1–31",
        source: "NVMe/TCP §3.6.2.2",
        freebsd: None,
        cases: &[Case::story(
            "each of them",
            story::every_alignment_is_served,
            "served",
        )],
    },
    Row {
        number: 14,
        peer: "sends an ICReq with reserved bits in DGST",
        source: "NVMe/TCP §3.6.2.2; FreeBSD tcp_accept",
        freebsd: None,
        cases: &[
            icreq("bit 2", 11, 4, FIELD, 11),
            icreq("bit 7 beside digests", 11, 0x83, FIELD, 11),
        ],
    },
    Row {
        number: 15,
        peer: "takes 4,294,967,296 R2Ts at once (MAXR2T FFFFFFFFh)",
        source: "NVMe/TCP §3.6.2.2; FreeBSD keeps the number as it is",
        freebsd: None,
        cases: &[Case::story(
            "and then writes",
            story::any_number_of_r2ts_is_borne,
            "served",
        )],
    },
    Row {
        number: 16,
        peer: "sends a second ICReq",
        source: "NVMe/TCP §3.6.2.2: a sequence error",
        freebsd: None,
        cases: &[
            Case::new(
                "before Connect",
                Act::Says(Stage::Negotiated, |_| second_icreq()),
                Gets::Terminated(SEQUENCE, 0),
            ),
            Case::new(
                "on an admin queue",
                Act::Says(Stage::Admin, |_| second_icreq()),
                Gets::Terminated(SEQUENCE, 0),
            ),
            Case::new(
                "on an I/O queue",
                Act::Says(Stage::Io, |_| second_icreq()),
                Gets::Terminated(SEQUENCE, 0),
            ),
        ],
    },
    Row {
        number: 17,
        peer: "sends an ICReq and goes away",
        source: "CVE-2026-46135",
        freebsd: None,
        cases: &[Case::story(
            "a thousand times",
            story::an_icreq_and_away_a_thousand_times,
            "nothing is left of it",
        )],
    },
];
