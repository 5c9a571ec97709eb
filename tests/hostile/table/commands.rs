//! Commands that are wrong (rows 49–61).

use nvmf_proto::opcode::{admin, fabrics};
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmf_proto::status::Status;

use super::{Act, Case, Gets, Row, Stage};
use crate::scene::LIMIT;
use crate::stories::commands as story;

type Spoil = fn(&mut Sqe);

/// A read that is refused for good.
const fn read(name: &'static str, spoil: Spoil, status: Status) -> Case {
    Case::new(name, Act::Read(spoil), Gets::Failed(status.dnr()))
}

/// A write that is refused for good.
const fn write(name: &'static str, spoil: Spoil, status: Status) -> Case {
    Case::new(name, Act::Write(spoil), Gets::Failed(status.dnr()))
}

/// An admin command that is refused for good.
const fn admin(name: &'static str, spoil: Spoil, status: Status) -> Case {
    Case::new(name, Act::Admin(spoil), Gets::Failed(status.dnr()))
}

/// An Abort that finds nothing.
const fn not_aborted(name: &'static str, spoil: Spoil) -> Case {
    Case::new(name, Act::Admin(spoil), Gets::Result(1))
}

const fn served(name: &'static str, spoil: Spoil) -> Case {
    Case::new(name, Act::Admin(spoil), Gets::Served)
}

fn identify(sqe: &mut Sqe, cns: u32, nsid: u32) {
    sqe.opcode = admin::IDENTIFY;
    sqe.nsid = nsid.into();
    sqe.cdw10 = cns.into();
}

/// 4 KiB of a log page from this offset.
fn log_page(sqe: &mut Sqe, page: u32, offset: u64) {
    sqe.opcode = admin::GET_LOG_PAGE;
    sqe.cdw10 = (page | 1023 << 16).into();
    let [a, b, c, d, e, f, g, h] = offset.to_le_bytes();
    sqe.cdw12 = u32::from_le_bytes([a, b, c, d]).into();
    sqe.cdw13 = u32::from_le_bytes([e, f, g, h]).into();
}

/// Property Get, or Set, of this size at this offset.
fn property(sqe: &mut Sqe, fctype: u8, size: u32, offset: u32) {
    *sqe = Sqe::fabrics(fctype, 7);
    sqe.cdw10 = size.into();
    sqe.cdw11 = offset.into();
}

fn feature(sqe: &mut Sqe, opcode: u8, fid: u32, value: u32) {
    *sqe = Sqe::new(opcode, 7);
    sqe.cdw10 = fid.into();
    sqe.cdw11 = value.into();
}

fn abort(sqe: &mut Sqe, sqid: u32, cid: u32) {
    *sqe = Sqe::new(admin::ABORT, 7);
    sqe.cdw10 = (sqid | cid << 16).into();
}

/// Blocks of the namespace.
const BLOCKS: u64 = (64 << 20) / 512;

const GET: u8 = fabrics::PROPERTY_GET;
const SET: u8 = fabrics::PROPERTY_SET;

pub(crate) const ROWS: &[Row] = &[
    Row {
        number: 49,
        peer: "sends more commands than the queue has entries",
        source: "Base 2.0: SQSIZE is what the host may have outstanding; Linux nvmet takes twice as many",
        freebsd: None,
        cases: &[
            Case::story(
                "200 reads on two entries",
                story::far_more_reads_than_the_queue_has_entries,
                "served, no more than twice the entries at a time",
            ),
            Case::story(
                "200 writes that all wait for data",
                story::far_more_writes_than_the_queue_has_entries,
                "FES 2 FEI 0",
            ),
        ],
    },
    Row {
        number: 50,
        peer: "uses an identifier that is in use",
        source: "Base 2.0 §3.3.3.1: identifiers are unique on a queue",
        freebsd: None,
        cases: &[Case::story(
            "that of a write that waits for data",
            story::an_identifier_in_use,
            "0 / 03; the first goes on",
        )],
    },
    Row {
        number: 51,
        peer: "describes its data by descriptors and lengths that do not fit",
        source: "Base 2.0 §4.1.2, NVMe/TCP §3.5; FreeBSD nvmf_validate_command_capsule; nvmet 4a3f0026",
        freebsd: Some("the same, without DNR; it has no MDTS"),
        cases: &[
            read("PRP", |sqe| sqe.flags = 0, Status::INVALID_FIELD),
            read(
                "an SGL in a segment",
                |sqe| sqe.flags = 0x80,
                Status::INVALID_FIELD,
            ),
            read(
                "reserved PSDT",
                |sqe| sqe.flags = 0xc0,
                Status::INVALID_FIELD,
            ),
            read(
                "keyed",
                |sqe| sqe.sgl.kind = 0x40,
                Status::SGL_DESCRIPTOR_TYPE_INVALID,
            ),
            read(
                "bit bucket",
                |sqe| sqe.sgl.kind = 0x10,
                Status::SGL_DESCRIPTOR_TYPE_INVALID,
            ),
            read(
                "data block with an address",
                |sqe| sqe.sgl.kind = 0,
                Status::SGL_DESCRIPTOR_TYPE_INVALID,
            ),
            read(
                "4 GiB",
                |sqe| sqe.sgl.length = u32::MAX.into(),
                Status::INVALID_FIELD,
            ),
            read(
                "too short",
                |sqe| sqe.sgl.length = 508.into(),
                Status::DATA_SGL_LENGTH_INVALID,
            ),
            write(
                "an offset into the capsule",
                |sqe| sqe.sgl.address = 4.into(),
                Status::SGL_OFFSET_INVALID,
            ),
            write(
                "less than the capsule has",
                |sqe| sqe.sgl.length = 508.into(),
                Status::DATA_SGL_LENGTH_INVALID,
            ),
            write(
                "more than the capsule has",
                |sqe| sqe.sgl.length = 516.into(),
                Status::DATA_SGL_LENGTH_INVALID,
            ),
            write(
                "by the transport, and yet in the capsule",
                |sqe| sqe.sgl.kind = 0x5a,
                Status::INVALID_FIELD,
            ),
            Case::new(
                "more in the capsule than IOCCSZ says",
                Act::Says(Stage::Io, |raw| {
                    let mut sqe = Sqe::new(1, 7);
                    sqe.sgl = SglDescriptor::in_capsule(16_388);
                    raw.capsule(sqe, &[0; 16_388])
                }),
                Gets::Terminated(LIMIT, 4),
            ),
            Case::new(
                "more in an admin capsule than 8 KiB",
                Act::Says(Stage::Admin, |raw| {
                    let mut sqe = Sqe::new(admin::IDENTIFY, 7);
                    sqe.sgl = SglDescriptor::in_capsule(8196);
                    raw.capsule(sqe, &[0; 8196])
                }),
                Gets::Terminated(LIMIT, 4),
            ),
        ],
    },
    Row {
        number: 52,
        peer: "sends halves of fused commands, alone or on the admin queue",
        source: "Base 2.0 §3.4.2",
        freebsd: None,
        cases: &[
            read(
                "both fuse bits",
                |sqe| sqe.flags |= 0b11,
                Status::INVALID_FIELD,
            ),
            Case::new(
                "a second half alone",
                Act::Read(|sqe| sqe.flags |= 0b10),
                Gets::Failed(Status::FUSED_MISSING),
            ),
            Case::story(
                "a first half alone",
                story::a_first_half_alone,
                "0 / 0A; the other is served",
            ),
            Case::story(
                "on the admin queue",
                story::fused_admin_commands,
                "refused; the queue goes on",
            ),
        ],
    },
    Row {
        number: 53,
        peer: "names namespaces that are not there",
        source: "Base 2.0 §5.17: invalid namespace; nvmet's identify_nslist",
        freebsd: Some(
            "its kernel never answers Identify 03h of a namespace that is not there, and answers 00h of an inactive one with zeroes",
        ),
        cases: &[
            read(
                "NSID 0",
                |sqe| sqe.nsid = 0.into(),
                Status::INVALID_NAMESPACE,
            ),
            read(
                "NSID 2",
                |sqe| sqe.nsid = 2.into(),
                Status::INVALID_NAMESPACE,
            ),
            read(
                "NSID beyond NN",
                |sqe| sqe.nsid = 100_000.into(),
                Status::INVALID_NAMESPACE,
            ),
            read(
                "all of them",
                |sqe| sqe.nsid = u32::MAX.into(),
                Status::INVALID_NAMESPACE,
            ),
            admin(
                "Identify 00h of NSID 0",
                |sqe| identify(sqe, 0, 0),
                Status::INVALID_NAMESPACE,
            ),
            admin(
                "Identify 00h beyond NN",
                |sqe| identify(sqe, 0, 100_000),
                Status::INVALID_NAMESPACE,
            ),
            admin(
                "Identify 03h beyond NN",
                |sqe| identify(sqe, 3, 100_000),
                Status::INVALID_NAMESPACE,
            ),
            admin(
                "Identify 02h from the last",
                |sqe| identify(sqe, 2, u32::MAX),
                Status::INVALID_NAMESPACE,
            ),
        ],
    },
    Row {
        number: 54,
        peer: "reads beyond the end, or so far that numbers wrap",
        source: "NVM 1.0 §3: LBA out of range",
        freebsd: None,
        cases: &[
            read(
                "the block behind the last",
                |sqe| sqe.set_cdw10_11(BLOCKS),
                Status::LBA_OUT_OF_RANGE,
            ),
            read(
                "the last block there can be",
                |sqe| sqe.set_cdw10_11(u64::MAX),
                Status::LBA_OUT_OF_RANGE,
            ),
            read(
                "65,536 blocks from the last",
                |sqe| sqe.cdw12 = 0xffff.into(),
                Status::LBA_OUT_OF_RANGE,
            ),
            read(
                "with protection information",
                |sqe| sqe.cdw12 = (1 << 26).into(),
                Status::INVALID_FIELD,
            ),
            read(
                "an opcode of nobody",
                |sqe| sqe.opcode = 0x7e,
                Status::INVALID_OPCODE,
            ),
            read(
                "Disconnect",
                |sqe| *sqe = Sqe::fabrics(fabrics::DISCONNECT, 7),
                Status::INVALID_OPCODE,
            ),
        ],
    },
    Row {
        number: 55,
        peer: "deallocates ranges beyond the end, or says more ranges than it sends",
        source: "NVM 1.0 §3.2.3",
        freebsd: None,
        cases: &[Case::story(
            "a good range and a bad one; 256 of which one is there",
            story::ranges_that_leave_the_namespace,
            "0 / 80; 0 / 0F; nothing is deallocated",
        )],
    },
    Row {
        number: 56,
        peer: "reads logs beyond their end, or at odd offsets",
        source: "CVE-2026-64320; Base 2.0 §5.16",
        freebsd: Some(
            "the discovery log is the daemon's; other logs want offsets that are multiples of three, and memory is allocated by NUMD before it looks",
        ),
        cases: &[
            admin(
                "SMART, far beyond its end",
                |sqe| log_page(sqe, 2, 1 << 32),
                Status::INVALID_FIELD,
            ),
            admin(
                "errors, at the end of all numbers",
                |sqe| log_page(sqe, 1, u64::MAX - 3),
                Status::INVALID_FIELD,
            ),
            admin(
                "at an odd offset",
                |sqe| log_page(sqe, 2, 1),
                Status::INVALID_FIELD,
            ),
            admin(
                "a log of nobody",
                |sqe| log_page(sqe, 0xc0, 0),
                Status::INVALID_LOG_PAGE,
            ),
            admin(
                "16 GiB into 4 KiB",
                |sqe| {
                    log_page(sqe, 2, 0);
                    sqe.cdw10 = 0xffff_0002.into();
                    sqe.cdw11 = 0xffff.into();
                },
                Status::INVALID_FIELD,
            ),
            Case::story(
                "the discovery log",
                story::the_discovery_log_is_not_read_beyond_its_end,
                "0 / 02 DNR; zeroes behind the end",
            ),
        ],
    },
    Row {
        number: 57,
        peer: "gives Identify a buffer that is too short, or too long",
        source: "Base 2.0 §5.17; an SGL may describe more than is moved",
        freebsd: Some("takes 4096 bytes and nothing else"),
        cases: &[
            admin(
                "too short",
                |sqe| {
                    identify(sqe, 1, 0);
                    sqe.sgl.length = 4092.into();
                },
                Status::DATA_SGL_LENGTH_INVALID,
            ),
            admin(
                "none",
                |sqe| {
                    identify(sqe, 1, 0);
                    sqe.sgl.length = 0.into();
                },
                Status::DATA_SGL_LENGTH_INVALID,
            ),
            served("too long", |sqe| {
                identify(sqe, 1, 0);
                sqe.sgl.length = 8192.into();
            }),
        ],
    },
    Row {
        number: 58,
        peer: "sends a fifth Asynchronous Event Request",
        source: "Base 2.0 §5.2",
        freebsd: Some("takes 16"),
        cases: &[Case::story(
            "while four are held",
            story::a_fifth_event_request,
            "1 / 05; the four are held",
        )],
    },
    Row {
        number: 59,
        peer: "reads and writes properties of other sizes, at other offsets, that are read-only or not there",
        source: "Base 2.0 §6 (Property Get and Set); Linux nvmet: invalid field",
        freebsd: Some("the same, without DNR"),
        cases: &[
            admin(
                "a size of nobody",
                |sqe| property(sqe, GET, 7, 0x14),
                Status::INVALID_FIELD,
            ),
            admin(
                "8 bytes of CC",
                |sqe| property(sqe, GET, 1, 0x14),
                Status::INVALID_FIELD,
            ),
            admin(
                "unaligned",
                |sqe| property(sqe, GET, 0, 3),
                Status::INVALID_FIELD,
            ),
            admin(
                "AQA, which is not of fabrics",
                |sqe| property(sqe, GET, 0, 0x24),
                Status::INVALID_FIELD,
            ),
            admin(
                "at the end of all offsets",
                |sqe| property(sqe, GET, 1, u32::MAX),
                Status::INVALID_FIELD,
            ),
            admin(
                "8 bytes into CC",
                |sqe| property(sqe, SET, 1, 0x14),
                Status::INVALID_FIELD,
            ),
            admin(
                "into CAP",
                |sqe| property(sqe, SET, 1, 0),
                Status::INVALID_FIELD,
            ),
            admin(
                "into VS",
                |sqe| property(sqe, SET, 0, 8),
                Status::INVALID_FIELD,
            ),
            admin(
                "into CSTS",
                |sqe| property(sqe, SET, 0, 0x1c),
                Status::INVALID_FIELD,
            ),
            admin(
                "into nothing",
                |sqe| property(sqe, SET, 0, 0x28),
                Status::INVALID_FIELD,
            ),
        ],
    },
    Row {
        number: 60,
        peer: "sets features that are not there, saves them, or asks for 65,536 queues",
        source: "Base 2.0 §5.27",
        freebsd: Some("has no Get Features (0 / 01)"),
        cases: &[
            admin(
                "feature 00h",
                |sqe| feature(sqe, admin::SET_FEATURES, 0, 1),
                Status::INVALID_FIELD,
            ),
            admin(
                "feature 7Fh",
                |sqe| feature(sqe, admin::SET_FEATURES, 0x7f, 1),
                Status::INVALID_FIELD,
            ),
            admin(
                "a vendor's",
                |sqe| feature(sqe, admin::SET_FEATURES, 0xc0, 1),
                Status::INVALID_FIELD,
            ),
            admin(
                "to be saved",
                |sqe| feature(sqe, admin::SET_FEATURES, 0x8000_000b, 0),
                Status::FEATURE_NOT_SAVEABLE,
            ),
            admin(
                "65,536 queues",
                |sqe| feature(sqe, admin::SET_FEATURES, 7, u32::MAX),
                Status::INVALID_FIELD,
            ),
            admin(
                "Get Features of nobody",
                |sqe| feature(sqe, admin::GET_FEATURES, 0x7f, 0),
                Status::INVALID_FIELD,
            ),
        ],
    },
    Row {
        number: 61,
        peer: "aborts commands and queues that are not there",
        source: "Base 2.0 §5.1: success, and bit 0 says that nothing was aborted",
        freebsd: Some("has no Abort (0 / 01)"),
        cases: &[
            not_aborted("a command of nobody", |sqe| abort(sqe, 0, 0x1234)),
            not_aborted("a queue of nobody", |sqe| abort(sqe, 9, 1)),
            not_aborted("the last queue there can be", |sqe| {
                abort(sqe, 0xffff, 0xffff)
            }),
            not_aborted("itself", |sqe| abort(sqe, 0, 7)),
        ],
    },
];
