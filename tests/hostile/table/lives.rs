//! Whole lives of hosts that nobody wants to have (rows 62–68).

use super::{Case, Row};
use crate::stories::{crowds, lives};

pub(crate) const ROWS: &[Row] = &[
    Row {
        number: 62,
        peer: "stops keeping alive",
        source: "Base 2.0 §3.9: the controller fails, and all that it has is freed; FreeBSD's userland never looks",
        freebsd: None,
        cases: &[Case::story(
            "after a second of KATO",
            lives::a_host_that_stops_keeping_alive,
            "given up, with all its queues",
        )],
    },
    Row {
        number: 63,
        peer: "shuts down under I/O, resets a thousand times",
        source: "Base 2.0 §3.7.2; CVE-2025-21850",
        freebsd: Some("while it carries out a reset or a shutdown it refuses to write CC (0 / 02)"),
        cases: &[
            Case::story("a thousand times CC.EN", lives::a_thousand_resets, "served"),
            Case::story(
                "CC.SHN under reads",
                lives::shutdowns_under_io,
                "served; I/O ends",
            ),
        ],
    },
    Row {
        number: 64,
        peer: "is killed with thousands of commands, or in the middle of a write",
        source: "nothing that has not begun is written after the connection is lost",
        freebsd: None,
        cases: &[
            Case::story(
                "at twenty places of a write",
                crowds::a_host_that_is_killed_in_the_middle_of_a_write,
                "nothing of it is written",
            ),
            Case::story(
                "with 8 × 127 reads of 128 KiB",
                crowds::a_host_that_is_killed_with_thousands_of_commands_in_flight,
                "nothing is left of it",
            ),
        ],
    },
    Row {
        number: 65,
        peer: "takes all descriptors",
        source: "accept(2): EMFILE",
        freebsd: None,
        cases: &[Case::own(
            "200 connections where there are 80 descriptors",
            crowds::a_target_without_descriptors,
            "those that are served go on; the crowd makes room for hosts, and for itself",
        )],
    },
    Row {
        number: 66,
        peer: "never reads what it asked for",
        source: "one reader must not block others, nor make memory grow",
        freebsd: None,
        cases: &[Case::own(
            "508 MiB on four queues, three times",
            crowds::hosts_that_do_not_read,
            "nobody else notices; a few MiB are held for it",
        )],
    },
    Row {
        number: 67,
        peer: "stops half way, a thousand times",
        source: "FreeBSD's nvmfd is stopped by the first",
        freebsd: None,
        cases: &[Case::story(
            "at four places",
            crowds::a_thousand_connections_that_stop_half_way,
            "no host is kept out",
        )],
    },
    Row {
        number: 68,
        peer: "does any of this while the configuration is read again and again",
        source: "nvmet's races of configuration and Connect",
        freebsd: None,
        cases: &[Case::own(
            "most of the rows, under reloads that add and remove a subsystem",
            lives::reloads_during_all_of_these,
            "the same answers",
        )],
    },
];
