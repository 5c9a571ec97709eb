//! PDUs that are wrong, at every stage of a connection (rows 18–25).

use super::{Act, Case, Gets, Row, Stage};
use crate::scene::{FIELD, LIMIT};
use crate::stories::headers as story;
use nvmf_proto::pdu::Fes;

const fn header(name: &'static str, start: [u8; 4], plen: u32, fes: Fes, fei: u32) -> Case {
    at(Stage::Io, name, start, plen, fes, fei)
}

const fn at(
    stage: Stage,
    name: &'static str,
    [kind, bits, hlen, pdo]: [u8; 4],
    plen: u32,
    fes: Fes,
    fei: u32,
) -> Case {
    let [a, b, c, d] = plen.to_le_bytes();
    let header = [kind, bits, hlen, pdo, a, b, c, d];
    Case::new(name, Act::Header(stage, header), Gets::Terminated(fes, fei))
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        number: 18,
        peer: "sends a PDU of every type, known or not, at every stage",
        source: "NVMe/TCP §3.6.1; FreeBSD nvmf_tcp_validate_pdu",
        freebsd: None,
        cases: &[Case::story(
            "256 types at four stages",
            story::every_type_at_every_stage,
            "FES 1 FEI 0; of types that are expected, what else is wrong with them",
        )],
    },
    Row {
        number: 19,
        peer: "says an HLEN that the type does not have",
        source: "NVMe/TCP §3.6.1; FreeBSD nvmf_tcp_validate_pdu; CVE-2025-21927",
        freebsd: None,
        cases: &[
            header("HLEN 0", [4, 0, 0, 0], 72, FIELD, 2),
            header("HLEN 7", [4, 0, 7, 0], 72, FIELD, 2),
            header("HLEN 8", [4, 0, 8, 0], 72, FIELD, 2),
            header("HLEN 71", [4, 0, 71, 0], 72, FIELD, 2),
            header("HLEN 73", [4, 0, 73, 0], 73, FIELD, 2),
            header("HLEN 255", [4, 0, 255, 0], 255, FIELD, 2),
            header("HLEN 72 of data", [6, 0, 72, 72], 512, FIELD, 2),
            at(
                Stage::Negotiated,
                "HLEN 0 before Connect",
                [4, 0, 0, 0],
                72,
                FIELD,
                2,
            ),
            at(
                Stage::Admin,
                "HLEN 255 on an admin queue",
                [4, 0, 255, 0],
                255,
                FIELD,
                2,
            ),
        ],
    },
    Row {
        number: 20,
        peer: "says a PLEN that cannot be, or is enormous",
        source: "NVMe/TCP §3.6.1; FreeBSD nvmf_tcp_validate_pdu, whose userland allocates up to 4 GiB before it looks",
        freebsd: None,
        cases: &[
            header("PLEN 0", [4, 0, 72, 0], 0, FIELD, 4),
            header("PLEN less than HLEN", [4, 0, 72, 0], 71, FIELD, 4),
            header("4 GiB of a capsule", [4, 0, 72, 72], u32::MAX, LIMIT, 4),
            header(
                "a byte beyond IOCCSZ",
                [4, 0, 72, 72],
                72 + 16_385,
                LIMIT,
                4,
            ),
            header("4 GiB of data", [6, 0, 24, 24], u32::MAX, LIMIT, 4),
            at(
                Stage::Negotiated,
                "4 GiB of Connect",
                [4, 0, 72, 72],
                u32::MAX,
                LIMIT,
                4,
            ),
            at(
                Stage::Admin,
                "a byte beyond 8 KiB on an admin queue",
                [4, 0, 72, 72],
                72 + 8193,
                LIMIT,
                4,
            ),
        ],
    },
    Row {
        number: 21,
        peer: "says a PDO that points elsewhere than behind the header",
        source: "NVMe/TCP §3.6.1; FreeBSD nvmf_tcp_validate_pdu",
        freebsd: None,
        cases: &[
            header("not aligned", [4, 0, 72, 73], 200, FIELD, 3),
            header("beyond 128", [4, 0, 72, 255], 400, FIELD, 3),
            header("in the header", [4, 0, 72, 4], 200, FIELD, 3),
            header("of data, in the header", [6, 0, 24, 20], 200, FIELD, 3),
            at(
                Stage::Negotiated,
                "of a Connect, in the header",
                [4, 0, 72, 8],
                1096,
                FIELD,
                3,
            ),
        ],
    },
    Row {
        number: 22,
        peer: "sets digest flags that were not negotiated, or leaves out what was",
        source: "NVMe/TCP §3.6.1; FreeBSD nvmf_tcp_validate_pdu",
        freebsd: None,
        cases: &[
            header("HDGSTF", [4, 1, 72, 0], 72, FIELD, 1),
            header("DDGSTF", [4, 2, 72, 72], 584, FIELD, 1),
            header("reserved flags", [4, 0xf0, 72, 0], 72, FIELD, 1),
            header(
                "SUCCESS on data to the controller",
                [6, 8, 24, 24],
                536,
                FIELD,
                1,
            ),
            Case::story(
                "without flags, where digests are in use",
                story::digest_flags_are_missing,
                "FES 1 FEI 1",
            ),
        ],
    },
    Row {
        number: 23,
        peer: "sends a wrong header digest",
        source: "NVMe/TCP §3.6.2.1; FreeBSD nvmf_tcp_validate_pdu",
        freebsd: None,
        cases: &[Case::story(
            "of a Connect, of a command, of data",
            story::a_wrong_header_digest_is_sent_back,
            "FES 3, FEI the digest",
        )],
    },
    Row {
        number: 24,
        peer: "sends terminations of every kind, of 24 to 153 bytes",
        source: "NVMe/TCP §3.6.2.1: they are not answered; SPDK a1b2c9d635",
        freebsd: None,
        cases: &[Case::story(
            "ten states, four lengths, four stages",
            story::terminations_end_the_connection_without_a_word,
            "closed without a word",
        )],
    },
    Row {
        number: 25,
        peer: "sends a byte at a time, a hundred commands at once, or cuts a PDU anywhere",
        source: "TCP has no boundaries",
        freebsd: None,
        cases: &[
            Case::story(
                "byte after byte",
                story::a_host_that_sends_byte_after_byte_is_served,
                "served",
            ),
            Case::story(
                "a hundred at once",
                story::a_hundred_commands_in_one_segment_are_all_served,
                "served",
            ),
            Case::story(
                "cut at every offset",
                story::a_write_that_is_cut_anywhere_is_served,
                "served",
            ),
        ],
    },
];
