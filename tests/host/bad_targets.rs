//! Targets that are not there, refuse, break the protocol or lie: survived, within the time that
//! was given, and told in words.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::cqe::Completion;
use nvmf_proto::opcode::{FABRICS, admin, fabrics, nvm};
use nvmf_proto::pdu::{Fes, IcResp, PduType, termination};
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;

use super::nvmfctl::{host, host_with_input};
use super::scripted::{BLOCKS, Reply, Scripted, identify};

/// What silent targets are given: enough for a slow machine, and soon over.
const TIMEOUT: &str = "700ms";

const NAME: [&str; 2] = ["-n", "nqn.2014-08.org.example:vol0"];

fn is_connect(sqe: &Sqe) -> bool {
    sqe.opcode == FABRICS && sqe.fctype() == Some(fabrics::CONNECT)
}

fn refusing(reject: ConnectReject) -> Scripted {
    let Completion { status, result } = reject.into();
    let reply = Reply::Status(status, result);
    Scripted::start(move |_, sqe| is_connect(sqe).then(|| reply.clone()))
}

/// Asks for `command` at a target that is expected to fail it.
fn ask(target: &Scripted, command: &str) -> super::nvmfctl::Ended {
    host(
        &[
            &[command, &target.address(), "--timeout", TIMEOUT],
            &NAME[..],
        ]
        .concat(),
    )
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let words = format!("nobody listens at {address}: connection refused");
    for command in ["discover", "identify", "read"] {
        host(&[command, &address]).fails(69, &words);
    }
    host(&["identify", "no-such-host.invalid"]).fails(68, "no-such-host.invalid has no address");
}

#[test]
fn a_refused_connect_is_told_with_its_field_and_what_helps() {
    let cases = [
        (ConnectReject::HOSTID, 69, "do not retry), HOSTID"),
        (ConnectReject::SQSIZE, 69, "do not retry), SQSIZE"),
        (ConnectReject::BUSY, 69, "controller busy (SCT 1h SC 81h)"),
        (
            ConnectReject::HOST,
            77,
            "the target must allow nqn.2014-08.org.example:me",
        ),
        (
            ConnectReject::status(Status::AUTHENTICATION_REQUIRED),
            69,
            "authentication required",
        ),
        (
            ConnectReject::status(Status::new(7, 0xee)),
            69,
            "unknown status (SCT 7h SC EEh",
        ),
    ];
    for (reject, status, words) in cases {
        let target = refusing(reject);
        let me = ["--hostnqn", "nqn.2014-08.org.example:me"];
        let run = host(&[&["identify", &target.address()], &NAME[..], &me].concat());
        run.fails(status, words)
            .fails(status, "the target refused the Connect: ");
    }
}

#[test]
fn what_is_no_target_is_told_from_one() {
    let icresp = IcResp::new(1024, false, false);
    let bad_icresp: &'static [u8] = zerocopy::IntoBytes::as_bytes(&icresp).to_vec().leak();
    let fes = Fes::UnsupportedParameter;
    let terminated: &'static [u8] = termination(PduType::C2hTermReq, fes, 8, &[0; 24]).leak();
    let cases: [(&'static [u8], i32, &str); 5] = [
        (
            b"SSH-2.0-OpenSSH_9.9\r\n",
            76,
            "the target broke the protocol: ",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            76,
            "the target broke the protocol: ",
        ),
        (&[0xff; 4096], 76, "the target broke the protocol: "),
        (bad_icresp, 76, "invalid PDU header field, FEI 0xc"),
        (
            terminated,
            76,
            "terminated the connection: unsupported parameter, FES 6, FEI 0x8",
        ),
    ];
    for (bytes, status, words) in cases {
        let target = Scripted::saying(bytes);
        ask(&target, "identify").fails(status, words);
        ask(&target, "discover").fails(status, words);
    }
}

#[test]
fn silence_ends_in_time_wherever_it_begins() {
    let silent = Scripted::saying(b"");
    let never_connects = Scripted::start(|_, sqe| is_connect(sqe).then_some(Reply::Silence));
    let never_ready = Scripted::start(|_, sqe| {
        let csts = sqe.fctype() == Some(fabrics::PROPERTY_GET) && sqe.cdw11.get() == 0x1c;
        csts.then_some(Reply::Result(0))
    });
    let never_reads =
        Scripted::start(|qid, sqe| (qid != 0 && sqe.opcode == nvm::READ).then_some(Reply::Silence));
    let cases = [
        (&silent, "the target does not answer"),
        (&never_connects, "the target does not answer"),
        (&never_ready, "the controller does not become ready in time"),
        (
            &never_reads,
            "0 of 2097152 bytes at 0 were read: I/O queue 1, 127.0.0.1:",
        ),
    ];
    for (target, words) in cases {
        let run = ask(target, "read");
        assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
        assert!(run.said.contains(words), "{}", run.said);
        assert!(matches!(run.status, 69 | 76), "{run:?}");
    }
    assert!(never_reads.was_shut_down());
}

#[test]
fn a_target_that_sends_byte_by_byte_wins_no_time() {
    // Never silent, and never done: twelve times the silence is what an answer may take.
    let target =
        Scripted::start(|_, sqe| (sqe.opcode == admin::IDENTIFY).then_some(Reply::Dripping(4096)));
    let hurry = ["--timeout", "100ms"];
    let run = host(&[&["identify", &target.address()], &NAME[..], &hurry].concat());
    let run = run.fails(69, "the target does not answer");
    assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
}

/// A discovery log's header.
fn header(generation: u64, entries: u64) -> Vec<u8> {
    [
        &generation.to_le_bytes()[..],
        &entries.to_le_bytes(),
        &[0; 4],
    ]
    .concat()
}

/// An entry with this name.
fn entry(name: &[u8], fill: u8) -> Vec<u8> {
    let mut entry = vec![0; 1024];
    entry[..3].copy_from_slice(&[3, 1, 2]);
    let texts: [(usize, usize, &[u8]); 3] = [
        (32, 32, b"4420"),
        (256, 256, name),
        (512, 256, b"192.0.2.7"),
    ];
    for (at, length, text) in texts {
        entry[at..at + length].fill(fill);
        entry[at..at + text.len()].copy_from_slice(text);
    }
    entry
}

/// Answers reads of a log of these bytes.
fn log(bytes: &[u8], sqe: &Sqe) -> Option<Reply> {
    (sqe.opcode == admin::GET_LOG_PAGE).then(|| {
        let length = ((sqe.cdw10.get() >> 16) as usize + 1) * 4;
        let from = sqe.cdw12.get() as usize;
        let part = bytes.iter().skip(from).chain(std::iter::repeat(&0));
        Reply::Data(part.take(length).copied().collect())
    })
}

#[test]
fn a_discovery_log_is_bounded_and_must_hold_still() {
    for entries in [65_537, u64::MAX] {
        let target = Scripted::start(move |_, sqe| log(&header(1, entries), sqe));
        let words = format!("its discovery log promises {entries} entries");
        ask(&target, "discover").fails(76, &words);
        assert!(target.was_shut_down());
    }
    let generation = std::sync::atomic::AtomicU64::new(0);
    let target = Scripted::start(move |_, sqe| {
        let generation = generation.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        log(&header(generation, 0), sqe)
    });
    ask(&target, "discover").fails(76, "changed 10 times while it was read");
    let target = Scripted::start(|_, sqe| {
        (sqe.opcode == admin::GET_LOG_PAGE)
            .then(|| Reply::Status(Status::INVALID_LOG_PAGE.dnr(), 0))
    });
    let words = "the target refuses log page 70h from 0: invalid log page (SCT 1h SC 09h";
    ask(&target, "discover").fails(74, words);
}

#[test]
fn many_entries_are_read_whatever_fills_their_fields() {
    const ENTRIES: usize = 1001;
    for fill in [0, b' '] {
        let mut bytes = header(3, ENTRIES as u64);
        bytes.resize(1024, 0);
        for number in 0..ENTRIES {
            bytes.extend(entry(
                format!("nqn.2014-08.org.example:{number}").as_bytes(),
                fill,
            ));
        }
        let target = Scripted::start(move |_, sqe| log(&bytes, sqe));
        let run = host(&["--json", "discover", &target.address()]).succeeds();
        let found = run.json();
        let entries = found["entries"].as_array().expect("a list");
        assert_eq!(entries.len(), ENTRIES);
        assert_eq!(entries[1000]["subnqn"], "nqn.2014-08.org.example:1000");
        assert_eq!(entries[1000]["traddr"], "192.0.2.7");
    }
}

#[test]
fn what_a_target_calls_itself_cannot_move_the_cursor() {
    let name = b"nqn.2014-08.org.example:\x1b[2J\x9b\r\nnvm\xe2\x80\xae\xff";
    let mut bytes = header(3, 1);
    bytes.resize(1024, 0);
    bytes.extend(entry(name, 0));
    let target = Scripted::start(move |_, sqe| {
        let mut page = identify(1);
        page[24..32].copy_from_slice(b"\x1b]0;hi\x07\n");
        let controller = sqe.opcode == admin::IDENTIFY && sqe.cdw10.get() == 1;
        log(&bytes, sqe).or(controller.then_some(Reply::Data(page)))
    });
    let calm = |text: &str| {
        let odd = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!text.replace('\n', "").contains(odd), "{text:?}");
    };
    let run = host(&["discover", &target.address()]).succeeds();
    calm(run.text());
    assert_eq!(run.text().lines().count(), 3, "{}", run.text());
    let run = ask(&target, "identify").succeeds();
    calm(run.text());
    assert!(run.text().contains(r"\u{1b}]0;hi\u{7}\n"), "{}", run.text());
    let run = host(&["identify", &target.address()]);
    run.fails(64, "discovery names none at");
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    type Spoil = fn(&mut [u8]);
    let cases: [(Spoil, &str); 4] = [
        (
            |page| page[130] = 40,
            "namespace 1 has blocks of 2^40 bytes",
        ),
        (
            |page| page[..8].fill(0xff),
            "18446744073709551615 blocks of 2^9 bytes",
        ),
        (|page| page[128] = 8, "8 bytes of metadata with each block"),
        (
            |page| page[130] = 20,
            "it moves 8192 bytes at once and has blocks of 1048576",
        ),
    ];
    for (spoil, words) in cases {
        let target = Scripted::start(move |qid, sqe| {
            let asked = qid == 0 && sqe.opcode == admin::IDENTIFY && sqe.cdw10.get() == 0;
            asked.then(|| {
                let mut page = identify(0);
                spoil(&mut page);
                Reply::Data(page)
            })
        });
        let run = ask(&target, "read");
        assert!(run.said.contains(words), "{}", run.said);
        assert!(matches!(run.status, 65 | 76), "{run:?}");
        assert!(target.was_shut_down());
    }
}

#[test]
fn a_failure_in_the_middle_says_how_much_is_there() {
    const BAD: u64 = 1600;
    let at = |sqe: &Sqe| sqe.cdw10_11() <= BAD && BAD < sqe.cdw10_11() + 16;
    let target = Scripted::start(move |qid, sqe| {
        let status = match (qid, sqe.opcode) {
            (0, _) => return None,
            (_, nvm::READ) => Status::UNRECOVERED_READ_ERROR,
            (_, nvm::WRITE) => Status::WRITE_FAULT.dnr(),
            _ => return None,
        };
        at(sqe).then_some(Reply::Status(status, 0))
    });
    let run = ask(&target, "read");
    let good = BAD * 512;
    let run = run.fails(
        74,
        &format!("{good} of {} bytes at 0 were read: ", BLOCKS * 512),
    );
    let words =
        "the target refuses to read 8192 bytes at 819200 of namespace 1: unrecovered read error";
    assert_eq!(run.fails(74, words).out.len() as u64, good);
    assert!(target.was_shut_down());
    let write = ["write", &target.address(), "--offset", "0", "--depth", "1"];
    let run = host_with_input(&[&write, &NAME[..]].concat(), &vec![7; 1 << 20]);
    run.fails(74, "819200 bytes at 0 were written")
        .fails(74, "write fault (SCT 2h SC 80h");
    let bench = ["bench", &target.address(), "--time", "5s"];
    host(&[&bench[..], &NAME].concat()).fails(74, "to read 4096 bytes: unrecovered read error");
}

#[test]
fn a_connection_that_breaks_ends_the_work_and_nothing_else() {
    let target = Scripted::start(|qid, sqe| {
        (qid != 0 && sqe.opcode == nvm::READ && sqe.cdw10_11() >= 1600).then_some(Reply::Close)
    });
    let run = ask(&target, "read");
    run.fails(69, "were read: I/O queue 1, ")
        .fails(69, "the target closed the connection");
    let junk = Scripted::start(|qid, sqe| {
        (qid != 0 && sqe.opcode == nvm::READ).then(|| Reply::Bytes(vec![0x77; 64]))
    });
    for command in ["read", "bench"] {
        ask(&junk, command)
            .fails(76, "I/O queue 1, ")
            .fails(76, "the target broke the protocol: ");
    }
    assert!(junk.was_shut_down());
}
