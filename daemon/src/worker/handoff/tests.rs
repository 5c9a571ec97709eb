use std::time::Duration;

use nvmf_kmod::{Errno, KernelError};
use nvmf_proto::pdu::Framing;
use zerocopy::IntoBytes;

use super::*;

fn connect(qid: u16, cntlid: u16) -> Connect {
    Connect {
        qid,
        entries: 128,
        sq_flow_control: true,
        kato: Duration::ZERO,
        hostid: [1; 16],
        cntlid,
        subnqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
        hostnqn: "nqn.2014-08.org.example:host".parse().unwrap(),
    }
}

fn handoff(connect: Connect) -> Handoff {
    let (sqe, data) = connect.to_wire(3);
    Handoff {
        sqe,
        data: data.as_bytes().to_vec(),
        framing: Framing {
            header_digest: false,
            data_digest: false,
            send_alignment: 4,
            receive_alignment: 4,
        },
        maxr2t: 0,
        maxh2cdata: 4096,
        entries: connect.entries,
        sq_flow_control: connect.sq_flow_control,
        connect,
    }
}

fn refusal(spoil: impl FnOnce(&mut Handoff)) -> Result<(), ConnectReject> {
    let mut handoff = handoff(connect(1, 5));
    spoil(&mut handoff);
    preflight(&mut handoff)
}

#[test]
fn what_the_kernel_takes_on_trust_is_judged_here() {
    assert_eq!(refusal(|_| {}), Ok(()));
    let admin = handoff(connect(0, 0xffff));
    assert_eq!(preflight(&mut admin.clone()), Ok(()));
    let internal = ConnectReject::status(Status::INTERNAL_ERROR.dnr());
    type Spoil = fn(&mut Handoff);
    let cases: [(&str, Spoil, ConnectReject); 8] = [
        (
            "a CNTLID beyond the last",
            |it| it.connect.cntlid = 0xfff0,
            ConnectReject::CNTLID,
        ),
        (
            "a queue of one entry",
            |it| it.entries = 1,
            ConnectReject::SQSIZE,
        ),
        (
            "a queue that is too long",
            |it| it.entries = MAX_IO_ENTRIES + 1,
            ConnectReject::SQSIZE,
        ),
        (
            "HPDA 32, of which the kernel keeps 132",
            |it| it.framing.send_alignment = 132,
            internal,
        ),
        (
            "HPDA 63, by which the kernel divides as by 0",
            |it| it.framing.send_alignment = 256,
            internal,
        ),
        (
            "markup in the host's name",
            |it| it.connect.hostnqn = "nqn.2014-08.org.example:<a>".parse().unwrap(),
            ConnectReject::HOSTNQN,
        ),
        (
            "a host's name beyond ASCII",
            |it| it.connect.hostnqn = "nqn.2014-08.org.example:é".parse().unwrap(),
            ConnectReject::HOSTNQN,
        ),
        (
            "a quote in the subsystem's name",
            |it| it.connect.subnqn = "nqn.2014-08.org.example:'".parse().unwrap(),
            ConnectReject::SUBNQN,
        ),
    ];
    for (name, spoil, reject) in cases {
        assert_eq!(refusal(spoil), Err(reject), "{name}");
    }
    let mut fixed = admin.clone();
    fixed.connect.cntlid = 7;
    assert_eq!(preflight(&mut fixed), Err(ConnectReject::CNTLID));
}

#[test]
fn what_follows_a_names_end_is_zero_and_nothing_else_changes() {
    let clean = handoff(connect(1, 5));
    let mut dirty = clean.clone();
    for at in [SUBNQN_AT, HOSTNQN_AT] {
        let name = dirty.data[at..].iter().position(|&byte| byte == 0).unwrap();
        dirty.data[at + name + 1..at + NQN_FIELD_SIZE].fill(0xaa);
    }
    dirty.data[1023] = 0x55;
    preflight(&mut dirty).unwrap();
    let mut wanted = clean.data;
    wanted[1023] = 0x55;
    assert_eq!(dirty.data, wanted);
}

fn session(cntlid: u16, subnqn: &str, hostnqn: &str) -> ListedSession {
    ListedSession {
        cntlid,
        hostnqn: format!("nqn.2014-08.org.example:{hostnqn}"),
        subnqn: format!("nqn.2014-08.org.example:{subnqn}"),
        trtype: 3,
    }
}

#[test]
fn cve_2026_4652_only_queues_of_controllers_that_the_kernel_lists_pass() {
    let connect = connect(1, 5);
    let unknown = Err(ConnectReject::CNTLID);
    assert_eq!(among(&[], &connect), unknown);
    assert_eq!(among(&[session(4, "vol0", "host")], &connect), unknown);
    let of_another_port = session(5, "vol1", "host");
    assert_eq!(among(&[of_another_port], &connect), unknown);
    let of_another_host = session(5, "vol0", "guest");
    let refused = Err(ConnectReject::HOSTNQN);
    assert_eq!(among(&[of_another_host], &connect), refused);
    let all = [
        session(5, "vol1", "guest"),
        session(6, "vol0", "host"),
        session(5, "vol0", "host"),
    ];
    assert_eq!(among(&all, &connect), Ok(()));
}

#[test]
fn the_host_is_answered_exactly_where_the_kernel_has_not() {
    let failed = |refused_for, socket| HandoffError {
        error: KernelError::Ioctl {
            what: "hand over".into(),
            errno: Errno::EIO,
        },
        refused_for,
        socket,
    };
    let internal = ConnectReject::status(Status::INTERNAL_ERROR);
    let table = [
        (RefusedFor::Subsystem, ConnectReject::SUBNQN),
        (RefusedFor::Offline, ConnectReject::BUSY),
        (RefusedFor::Parameters, ConnectReject::SQSIZE),
        (RefusedFor::Other(Some(Errno::ENXIO)), internal),
        (RefusedFor::Other(None), internal),
    ];
    for (refused_for, reject) in table {
        assert_eq!(answer(&failed(refused_for, Socket::Ours)), Some(reject));
        assert_eq!(answer(&failed(refused_for, Socket::Taken)), None);
    }
}
