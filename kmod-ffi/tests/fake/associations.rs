//! Associations: listed, ended by request, by their hosts and by their ports.

use std::sync::Arc;

use nvmf_kmod::Ctl;
use nvmf_kmod::fake::{Bookkeeper, FakeKernel};
use nvmf_proto::connect::Connect;

use super::support::{
    DISABLE_PORT, Ended, HOSTNQN, NVMF, Raw, SUBNQN, admin_connect, completion, connection,
    eventually, handoff, io_connect, is_closed, kernel, online_port, switch,
};

/// Connects an admin queue; the host's end.
fn connect(fake: &FakeKernel, connect: Connect) -> std::net::TcpStream {
    let ctl = Ctl::new(Arc::new(fake.clone()));
    let (mut host, mut ours) = connection();
    ctl.hand_off(&handoff(connect), &mut ours).unwrap();
    completion(&mut host, false);
    host
}

fn of_host(subnqn: &str, hostnqn: &str) -> Connect {
    Connect {
        subnqn: subnqn.parse().unwrap(),
        hostnqn: hostnqn.parse().unwrap(),
        ..admin_connect()
    }
}

/// `CTL_NVMF` of type `TERMINATE`.
fn terminate(fake: &FakeKernel, cntlid: i32, hostnqn: &str, all: u32) -> Ended {
    let mut raw = Raw::new(NVMF)
        .u32(0, 2)
        .bytes(8, &cntlid.to_ne_bytes())
        .bytes(12, hostnqn.as_bytes())
        .u32(268, all);
    raw.send(fake).unwrap();
    raw.ended()
}

fn listed(fake: &FakeKernel) -> Vec<(u16, String, String)> {
    let list = nvmf_kmod::xml::sessions(fake.session_list().as_bytes()).unwrap();
    let sessions = list.sessions.into_iter();
    sessions
        .map(|it| (it.cntlid, it.hostnqn, it.subnqn))
        .collect()
}

/// Two ports, with two hosts at the first and one at the second.
fn three() -> (FakeKernel, Bookkeeper, [std::net::TcpStream; 3]) {
    let (fake, books) = kernel();
    online_port(&fake, "nqn.2026-01.org.example:a");
    online_port(&fake, "nqn.2026-01.org.example:b");
    let hosts = [("a", "h0"), ("a", "h1"), ("b", "h0")].map(|(sub, host)| {
        connect(
            &fake,
            of_host(&format!("nqn.2026-01.org.example:{sub}"), host),
        )
    });
    (fake, books, hosts)
}

#[test]
fn associations_are_listed_one_a_line_by_port_and_in_their_order() {
    let (fake, _, _hosts) = three();
    let line = |id, host, sub| {
        format!(
            "<connection id=\"{id}\"><hostnqn>{host}</hostnqn>\
             <subnqn>nqn.2026-01.org.example:{sub}</subnqn><trtype>3</trtype></connection>\n"
        )
    };
    let xml = [
        "<ctlnvmflist>\n",
        &line(0, "h0", "a"),
        &line(1, "h1", "a"),
        // CNTLIDs are a port's own.
        &line(0, "h0", "b"),
        "</ctlnvmflist>\n",
    ]
    .concat();
    assert_eq!(fake.session_list(), xml);
}

#[test]
fn all_goes_before_a_cntlid_and_a_cntlid_before_a_host() {
    let found = Ended::new(0, "");
    let none = Ended::new(3, "No matching associations found");
    type Case = (i32, &'static str, u32, &'static [usize]);
    let cases: &[Case] = &[
        (-1, "", 0, &[]),
        (-1, "h", 0, &[]),
        (-1, "h0", 0, &[0, 2]),
        (1, "", 0, &[1]),
        (0, "", 0, &[0, 2]),
        (0, "h1", 0, &[0, 2]),
        (7, "h0", 0, &[]),
        (7, "nobody", 1, &[0, 1, 2]),
    ];
    for &(cntlid, hostnqn, all, ended) in cases {
        let (fake, _, mut hosts) = three();
        let expected = if ended.is_empty() { &none } else { &found };
        assert_eq!(terminate(&fake, cntlid, hostnqn, all), *expected);
        let left = 3 - ended.len();
        eventually("they are gone", || listed(&fake).len() == left);
        for &index in ended {
            assert!(is_closed(&mut hosts[index]));
        }
        let misused = cntlid != -1 && !hostnqn.is_empty() && all == 0;
        assert_eq!(fake.misuses().len(), usize::from(misused));
    }
}

#[test]
fn an_association_stays_listed_until_its_teardown_is_over() {
    let (fake, books, _hosts) = three();
    books.hold_teardown(true);
    assert_eq!(terminate(&fake, 1, "", 0).status, 0);
    // Again, while it runs.
    assert_eq!(terminate(&fake, 1, "", 0).status, 0);
    assert_eq!(listed(&fake).len(), 3);
    books.hold_teardown(false);
    eventually("it is gone", || listed(&fake).len() == 2);
    assert_eq!(terminate(&fake, 1, "", 0).status, 3);
}

#[test]
fn the_lowest_cntlid_that_is_free_is_given() {
    let (fake, _, hosts) = three();
    let [first, _second, _third] = hosts;
    drop(first);
    eventually("its host is missed", || listed(&fake).len() == 2);
    let _again = connect(&fake, of_host("nqn.2026-01.org.example:a", "h9"));
    let a: Vec<u16> = listed(&fake)
        .into_iter()
        .filter(|(_, _, subnqn)| subnqn.ends_with(":a"))
        .map(|(cntlid, ..)| cntlid)
        .collect();
    assert_eq!(a, [1, 0]);
}

#[test]
fn a_port_that_goes_offline_sends_its_hosts_away_and_waits_for_it() {
    let (fake, books, mut hosts) = three();
    switch(&fake, DISABLE_PORT, 3).unwrap();
    // Nothing to wait for: it has waited.
    assert_eq!(listed(&fake).len(), 1);
    assert!(books.port(3).is_none() && books.port(4).is_some());
    assert!(is_closed(&mut hosts[0]) && is_closed(&mut hosts[1]));
}

#[test]
fn a_lost_io_queue_is_not_noticed() {
    let (fake, books) = kernel();
    let port = online_port(&fake, SUBNQN);
    let _host = connect(&fake, admin_connect());
    assert!(books.set_queues(port, 0, 2));
    let io = connect(&fake, io_connect(0, 1));
    drop(io);
    assert_eq!(listed(&fake), [(0, HOSTNQN.into(), SUBNQN.into())]);
    assert!(books.queues(port, 0).contains(&1));
    // It is free again when the controller is reset.
    assert!(books.shut_down(port, 0) && books.enable(port, 0));
    assert!(books.queues(port, 0).is_empty());
}
