//! Connects that are not welcome (rows 26–39).

use nvmf_proto::connect::{ConnectData, ConnectReject};
use nvmf_proto::opcode::{admin, fabrics, nvm};
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;

use super::{Act, Case, Gets, Queue, Row};
use crate::stories::connects as story;

const fn first(name: &'static str, make: fn() -> Sqe) -> Case {
    let refused = Gets::Failed(Status::INVALID_OPCODE.dnr());
    Case::new(name, Act::First(make), refused)
}

type Spoil = fn(&mut Sqe, &mut ConnectData);

/// Refused on an admin queue.
const fn admin(name: &'static str, spoil: Spoil, reject: ConnectReject) -> Case {
    Case::new(
        name,
        Act::Connect(Queue::Admin, spoil),
        Gets::Refused(reject),
    )
}

/// Refused on an I/O queue.
const fn io(name: &'static str, spoil: Spoil, reject: ConnectReject) -> Case {
    Case::new(name, Act::Connect(Queue::Io, spoil), Gets::Refused(reject))
}

const fn served(name: &'static str, spoil: Spoil) -> Case {
    Case::new(name, Act::Connect(Queue::Admin, spoil), Gets::Served)
}

const fn of(name: &'static str, length: u32) -> Case {
    Case::new(
        name,
        Act::ConnectOf(length),
        Gets::Refused(ConnectReject::SGL),
    )
}

fn name(field: &mut [u8; 256], text: &[u8]) {
    field.fill(0);
    field[..text.len()].copy_from_slice(text);
}

/// A name of so many bytes.
fn long(field: &mut [u8; 256], length: usize) {
    name(field, b"nqn.2014-08.org.example:");
    field[24..length].fill(b'a');
}

/// A Connect's number of entries, less one.
fn sqsize(sqe: &mut Sqe, value: u16) {
    sqe.cdw11 = (sqe.cdw11.get() & 0xffff_0000 | u32::from(value)).into();
}

fn qid(sqe: &mut Sqe, value: u16) {
    sqe.cdw10 = (u32::from(value) << 16).into();
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        number: 26,
        peer: "begins with another command",
        source: "Base 2.0 §6.3: Connect is the first command; FreeBSD nvmf_accept; SPDK has a sequence error",
        freebsd: None,
        cases: &[
            first("Flush", || Sqe::new(nvm::FLUSH, 5)),
            first("Read", || Sqe::new(nvm::READ, 5)),
            first("Identify", || Sqe::new(admin::IDENTIFY, 5)),
            first("an opcode of nobody", || Sqe::new(0xff, 5)),
            first("Property Set", || Sqe::fabrics(fabrics::PROPERTY_SET, 5)),
            first("Property Get", || Sqe::fabrics(fabrics::PROPERTY_GET, 5)),
            first("Authentication Send", || {
                Sqe::fabrics(fabrics::AUTH_SEND, 5)
            }),
            first("a fabrics command of nobody", || Sqe::fabrics(0xff, 5)),
        ],
    },
    Row {
        number: 27,
        peer: "sends other than 1024 bytes of Connect data, or none in the capsule",
        source: "FreeBSD nvmf_accept, nvmf_validate_command_capsule; NVMe/TCP §3.5",
        freebsd: None,
        cases: &[
            of("none", 0),
            of("a byte", 1),
            of("1023", 1023),
            of("1025", 1025),
            of("8 KiB", 8192),
            admin(
                "1023 said, 1024 sent",
                |sqe, _| sqe.sgl.length = 1023.into(),
                ConnectReject::status(Status::DATA_SGL_LENGTH_INVALID.dnr()),
            ),
            Case::story(
                "by the transport",
                story::connect_data_that_is_not_in_the_capsule_is_asked_for,
                "asked for, and served",
            ),
        ],
    },
    Row {
        number: 28,
        peer: "asks in another record format",
        source: "Base 2.0 §6.3; FreeBSD nvmf_accept",
        freebsd: None,
        cases: &[
            admin(
                "RECFMT 1",
                |sqe, _| sqe.cdw10 = 1.into(),
                ConnectReject::RECFMT,
            ),
            admin(
                "RECFMT FFFFh",
                |sqe, _| sqe.cdw10 = 0xffff.into(),
                ConnectReject::RECFMT,
            ),
        ],
    },
    Row {
        number: 29,
        peer: "asks for an admin queue of a controller of its choice",
        source: "Base 2.0 §6.3: FFFFh where controllers are dynamic; FreeBSD nvmf_accept",
        freebsd: None,
        cases: &[
            admin(
                "CNTLID 0",
                |_, data| data.cntlid = 0.into(),
                ConnectReject::CNTLID,
            ),
            admin(
                "CNTLID 1",
                |_, data| data.cntlid = 1.into(),
                ConnectReject::CNTLID,
            ),
            admin(
                "CNTLID FFEFh",
                |_, data| data.cntlid = 0xffef.into(),
                ConnectReject::CNTLID,
            ),
            admin(
                "CNTLID FFFEh",
                |_, data| data.cntlid = 0xfffe.into(),
                ConnectReject::CNTLID,
            ),
        ],
    },
    Row {
        number: 30,
        peer: "asks for an I/O queue of a controller that is not there or not its own",
        source: "CVE-2026-4652: FreeBSD nvmft_handoff_io_queue panics; Base 2.0 §6.3",
        freebsd: Some(
            "never asked: the daemon looks at its list first. Patched kernels answer the same",
        ),
        cases: &[
            io(
                "CNTLID 0",
                |_, data| data.cntlid = 0.into(),
                ConnectReject::CNTLID,
            ),
            io(
                "CNTLID of nobody",
                |_, data| data.cntlid = 0x1234.into(),
                ConnectReject::CNTLID,
            ),
            io(
                "the last that there can be",
                |_, data| data.cntlid = 0xffef.into(),
                ConnectReject::CNTLID,
            ),
            io(
                "CNTLID FFF0h",
                |_, data| data.cntlid = 0xfff0.into(),
                ConnectReject::CNTLID,
            ),
            io(
                "CNTLID FFFEh",
                |_, data| data.cntlid = 0xfffe.into(),
                ConnectReject::CNTLID,
            ),
            io(
                "CNTLID FFFFh",
                |_, data| data.cntlid = 0xffff.into(),
                ConnectReject::CNTLID,
            ),
            Case::story(
                "another host's controller",
                story::another_hosts_controller_is_not_joined,
                "1 / 82 HOSTID or HOSTNQN",
            ),
            Case::story(
                "a controller that is gone",
                story::a_controller_that_is_gone_is_not_joined,
                "1 / 82 CNTLID as soon as it is seen to be gone",
            ),
        ],
    },
    Row {
        number: 31,
        peer: "asks for a queue that it was not granted or has already, or twice on a connection",
        source: "Base 2.0 §6.3; FreeBSD nvmft_handoff_io_queue; Linux nvmet: command sequence error",
        freebsd: Some("the same conditions, without DNR"),
        cases: &[
            io("QID 5 of 4", |sqe, _| qid(sqe, 5), ConnectReject::QID),
            io("QID 1000", |sqe, _| qid(sqe, 1000), ConnectReject::QID),
            io("QID FFFFh", |sqe, _| qid(sqe, 0xffff), ConnectReject::QID),
            Case::story(
                "there already; twice on a connection",
                story::queues_that_are_there_already,
                "0 / 0C DNR; the queue goes on",
            ),
            Case::story(
                "again when its connection is gone",
                story::a_queue_can_be_connected_again_when_its_connection_is_gone,
                "served",
            ),
        ],
    },
    Row {
        number: 32,
        peer: "asks for a queue of no size, or too large",
        source: "Base 2.0 §6.3; FreeBSD nvmf_accept: 2 to 4096, and to 1024 on I/O queues",
        freebsd: None,
        cases: &[
            admin("SQSIZE 0", |sqe, _| sqsize(sqe, 0), ConnectReject::SQSIZE),
            admin(
                "4097 entries",
                |sqe, _| sqsize(sqe, 4096),
                ConnectReject::SQSIZE,
            ),
            admin(
                "65,536 entries",
                |sqe, _| sqsize(sqe, 0xffff),
                ConnectReject::SQSIZE,
            ),
            io(
                "SQSIZE 0 of an I/O queue",
                |sqe, _| sqsize(sqe, 0),
                ConnectReject::SQSIZE,
            ),
            io(
                "beyond MQES",
                |sqe, _| sqsize(sqe, 1024),
                ConnectReject::SQSIZE,
            ),
            io(
                "65,536 entries of an I/O queue",
                |sqe, _| sqsize(sqe, 0xffff),
                ConnectReject::SQSIZE,
            ),
            served("two entries, less than ASQSZ", |sqe, _| sqsize(sqe, 1)),
        ],
    },
    Row {
        number: 33,
        peer: "gives names that are none, or that could forge a line of the log",
        source: "CVE-2023-6121; Base 2.0 §4.5; FreeBSD nvmf_accept: 1 to 223 bytes",
        freebsd: Some(
            "never asked: what its lists cannot hold (XML's characters, blanks, other than ASCII) the daemon refuses",
        ),
        cases: &[
            admin(
                "an empty SUBNQN",
                |_, data| data.subnqn = [0; 256],
                ConnectReject::SUBNQN,
            ),
            admin(
                "a SUBNQN without NUL",
                |_, data| data.subnqn = [b'a'; 256],
                ConnectReject::SUBNQN,
            ),
            admin(
                "a SUBNQN of 224 bytes",
                |_, data| long(&mut data.subnqn, 224),
                ConnectReject::SUBNQN,
            ),
            admin(
                "a subsystem of nobody, of 223 bytes",
                |_, data| long(&mut data.subnqn, 223),
                ConnectReject::SUBNQN,
            ),
            admin(
                "an empty HOSTNQN",
                |_, data| data.hostnqn = [0; 256],
                ConnectReject::HOSTNQN,
            ),
            admin(
                "a HOSTNQN without NUL",
                |_, data| data.hostnqn = [b'a'; 256],
                ConnectReject::HOSTNQN,
            ),
            admin(
                "a HOSTNQN of 224 bytes",
                |_, data| long(&mut data.hostnqn, 224),
                ConnectReject::HOSTNQN,
            ),
            served("a HOSTNQN of 223 bytes", |_, data| {
                long(&mut data.hostnqn, 223)
            }),
            admin(
                "not UTF-8",
                |_, data| data.hostnqn[0] = 0xff,
                ConnectReject::HOSTNQN,
            ),
            admin(
                "an escape sequence",
                |_, data| name(&mut data.hostnqn, b"nqn.\x1b[31m"),
                ConnectReject::HOSTNQN,
            ),
            served("XML", |_, data| {
                name(&mut data.hostnqn, b"nqn.2014-08.org.example:<a id=\"5\">")
            })
            .in_kernel_mode(Gets::Refused(ConnectReject::HOSTNQN)),
            served("letters beyond ASCII", |_, data| {
                name(&mut data.hostnqn, "nqn.2014-08.org.example:é".as_bytes())
            })
            .in_kernel_mode(Gets::Refused(ConnectReject::HOSTNQN)),
            served("dirt behind the end of names", |_, data| {
                data.hostnqn[200..].fill(0xaa);
                data.subnqn[200..].fill(0x55);
            }),
            Case::story(
                "a line of the log",
                story::names_do_not_forge_lines_of_the_log,
                "1 / 82 SUBNQN",
            ),
        ],
    },
    Row {
        number: 34,
        peer: "has no host identifier, or is another host than that of the admin queue",
        source: "Base 2.0 §6.3; FreeBSD nvmf_accept, nvmft_handoff_io_queue",
        freebsd: Some("the same, without DNR"),
        cases: &[
            admin(
                "HOSTID 0",
                |_, data| data.hostid = [0; 16],
                ConnectReject::HOSTID,
            ),
            io(
                "another HOSTID",
                |_, data| data.hostid = [0x77; 16],
                ConnectReject::HOSTID,
            ),
            io(
                "another HOSTNQN",
                |_, data| name(&mut data.hostnqn, b"nqn.2014-08.org.example:other"),
                ConnectReject::HOSTNQN,
            ),
        ],
    },
    Row {
        number: 35,
        peer: "sets reserved bits",
        source: "Base 2.0 §6.3: reserved bits are not looked at; FreeBSD nvmf_accept",
        freebsd: None,
        cases: &[
            served("CATTR", |sqe, _| {
                sqe.cdw11 = (sqe.cdw11.get() | 0xfffb_0000).into()
            }),
            served("the dwords behind KATO", |sqe, _| {
                sqe.cdw14 = u32::MAX.into();
                sqe.cdw15 = u32::MAX.into();
            }),
            Case::new(
                "KATO on an I/O queue, as SPDK's hosts do",
                Act::Connect(Queue::Io, |sqe, _| sqe.cdw12 = 10_000.into()),
                Gets::Served,
            ),
        ],
    },
    Row {
        number: 36,
        peer: "goes away at each byte of the exchange",
        source: "CVE-2024-42152, CVE-2024-46737, CVE-2026-46304",
        freebsd: None,
        cases: &[Case::story(
            "1353 bytes, in order or with a reset",
            story::a_host_that_goes_away_at_each_byte,
            "nothing is left of it",
        )],
    },
    Row {
        number: 37,
        peer: "asks for an I/O queue before CC.EN",
        source: "Base 2.0 §3.5.1: queues come after the controller is ready; Linux nvmet: command sequence error",
        freebsd: Some("the same, without DNR, until queues are asked for (Set Features 07h)"),
        cases: &[Case::story(
            "of a controller that was never enabled",
            story::io_queues_before_the_controller_is_ready,
            "0 / 0C",
        )],
    },
    Row {
        number: 38,
        peer: "asks for an I/O queue of a discovery controller",
        source: "Base 2.0: discovery controllers have no I/O queues; FreeBSD nvmf_accept",
        freebsd: None,
        cases: &[Case::story(
            "by both portals",
            story::io_queues_of_a_discovery_controller,
            "1 / 82 QID",
        )],
    },
    Row {
        number: 39,
        peer: "takes every CNTLID there is",
        source: "Base 2.0 §6.3: controller busy (1 / 81); of our own the limit is set to fewer, because no test has descriptors for 65,519 hosts",
        freebsd: Some("has 2048 for each port"),
        cases: &[Case::own(
            "all that there are",
            story::every_controller_is_taken_and_given_back,
            "1 / 81, in kernel mode 1 / 84, and served when one is given back",
        )],
    },
];
