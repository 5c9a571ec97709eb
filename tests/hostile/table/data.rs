//! Data that was not asked for so (rows 40–48).

use nvmf_proto::pdu::{Fes, flags};
use nvmfd_tests::peer::Raw;

use super::{Act, Case, Gets, Row};
use crate::scene::{FIELD, LIMIT, RANGE, SEQUENCE};
use crate::stories::data as story;

type Make = fn(&Raw, (u16, u16)) -> Vec<u8>;

const LAST: u8 = flags::LAST_PDU;

const fn data(name: &'static str, make: Make, fes: Fes, fei: u32) -> Case {
    Case::new(name, Act::Data(make), Gets::Terminated(fes, fei))
}

/// Data that says another length than it has.
fn saying(mut pdu: Vec<u8>, length: u32) -> Vec<u8> {
    pdu[16..20].copy_from_slice(&length.to_le_bytes());
    pdu
}

/// FreeBSD's kernel and its userland judge data with the same checks.
const SAME: Option<&str> = None;

pub(crate) const ROWS: &[Row] = &[
    Row {
        number: 40,
        peer: "sends data for a transfer tag that was never issued, or has ended",
        source: "CVE-2022-50717, CVE-2023-6356; FreeBSD nvmf_tcp_handle_h2c_data",
        freebsd: SAME,
        cases: &[
            data(
                "a tag beyond the table",
                |raw, (cid, _)| raw.h2c_data((cid, 0xffff), 0, &[0; 512], 0),
                FIELD,
                10,
            ),
            data(
                "a tag that was never issued",
                |raw, (cid, ttag)| raw.h2c_data((cid, ttag + 1), 0, &[0; 512], 0),
                FIELD,
                10,
            ),
            Case::story(
                "data again, when it has all come",
                story::data_of_a_write_that_has_ended,
                "FES 1 FEI 10",
            ),
        ],
    },
    Row {
        number: 41,
        peer: "sends data with another command's identifier",
        source: "NVMe/TCP §3.6.2.5; SPDK",
        freebsd: SAME,
        cases: &[data(
            "CCCID and 1",
            |raw, (cid, ttag)| raw.h2c_data((cid + 1, ttag), 0, &[0; 512], 0),
            FIELD,
            8,
        )],
    },
    Row {
        number: 42,
        peer: "sends data at an offset that skips, repeats, overlaps or wraps",
        source: "CVE-2026-23112 and nvmet-tcp's fix of 2020; FreeBSD nvmf_tcp_handle_h2c_data",
        freebsd: SAME,
        cases: &[
            data(
                "skips",
                |raw, tags| raw.h2c_data(tags, 4, &[0; 512], 0),
                SEQUENCE,
                12,
            ),
            data(
                "repeats",
                |raw, tags| raw.h2c_data(tags, 0, &[0; 512], 0).repeat(2),
                SEQUENCE,
                12,
            ),
            data(
                "overlaps",
                |raw, tags| {
                    [
                        raw.h2c_data(tags, 0, &[0; 512], 0),
                        raw.h2c_data(tags, 508, &[0; 512], 0),
                    ]
                    .concat()
                },
                SEQUENCE,
                12,
            ),
            data(
                "wraps in 32 bits",
                |raw, tags| raw.h2c_data(tags, u32::MAX - 511, &[0; 512], 0),
                RANGE,
                12,
            ),
        ],
    },
    Row {
        number: 43,
        peer: "says a length of data that is 0, more than is left, beyond MAXH2CDATA, or not the PDU's",
        source: "CVE-2023-52454; FreeBSD nvmf_tcp_handle_h2c_data",
        freebsd: SAME,
        cases: &[
            data(
                "no data at all",
                |raw, tags| raw.h2c_data(tags, 0, &[], 0),
                FIELD,
                16,
            ),
            data(
                "0, with data behind it",
                |raw, tags| saying(raw.h2c_data(tags, 0, &[0; 512], 0), 0),
                FIELD,
                16,
            ),
            data(
                "more than the PDU has",
                |raw, tags| saying(raw.h2c_data(tags, 0, &[0; 512], 0), 4096),
                FIELD,
                16,
            ),
            data(
                "more than is left",
                |raw, tags| raw.h2c_data(tags, 0, &[0; 33_280], LAST),
                RANGE,
                12,
            ),
            data(
                "beyond MAXH2CDATA",
                |raw, tags| raw.h2c_data(tags, 0, &vec![0; 262_148], 0),
                LIMIT,
                4,
            ),
        ],
    },
    Row {
        number: 44,
        peer: "sets LAST too early, or not at all",
        source: "NVMe/TCP §3.6.2.5; FreeBSD nvmf_tcp_handle_h2c_data",
        freebsd: SAME,
        cases: &[
            data(
                "last, and yet not all",
                |raw, tags| raw.h2c_data(tags, 0, &[0; 512], LAST),
                SEQUENCE,
                1,
            ),
            data(
                "all, and yet not last",
                |raw, tags| raw.h2c_data(tags, 0, &[0; 32_768], 0),
                SEQUENCE,
                1,
            ),
        ],
    },
    Row {
        number: 45,
        peer: "sends the data of a write that it has aborted",
        source: "Base 2.0 §5.1 (Abort)",
        freebsd: Some("has no Abort (0 / 01): the write goes on"),
        cases: &[Case::story(
            "the rest of it",
            story::the_data_of_an_aborted_write_is_swallowed,
            "swallowed; 0 / 07; nothing is written",
        )],
    },
    Row {
        number: 46,
        peer: "sends a wrong data digest",
        source: "NVMe/TCP §3.3.1.2: not fatal; CVE-2026-64534, CVE-2026-64535",
        freebsd: SAME,
        cases: &[
            Case::story(
                "in a capsule, and of the first, a middle and the last piece",
                story::a_spoilt_data_digest_fails_its_command_once,
                "0 / 22 once, when all data is there; nothing is written",
            ),
            Case::story(
                "of a command that has failed",
                story::a_spoilt_digest_of_a_failed_command,
                "that command's own status",
            ),
        ],
    },
    Row {
        number: 47,
        peer: "sends data for commands that asked for none",
        source: "CVE-2026-22998, CVE-2023-6535; FreeBSD nvmf_tcp_handle_h2c_data",
        freebsd: SAME,
        cases: &[Case::story(
            "a read, a flush, a write that had its data in the capsule",
            story::data_for_commands_that_asked_for_none,
            "FES 1 FEI 10",
        )],
    },
    Row {
        number: 48,
        peer: "takes one R2T at a time (MAXR2T 0)",
        source: "NVMe/TCP §3.6.2.7",
        freebsd: Some("sends up to MAXR2T and 1"),
        cases: &[Case::story(
            "for writes of 1 MiB, side by side",
            story::one_r2t_for_each_write,
            "one R2T for each command until its data is there",
        )],
    },
];
