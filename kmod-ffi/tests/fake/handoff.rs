//! The hand-off with raw bytes: checked in the kernel's order while the socket is still the caller's.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nvmf_kmod::nv::{Nvlist, Value};
use nvmf_kmod::request::handoff_arguments;
use nvmf_proto::connect::Connect;

use super::attempt::{Attempt, with_controller};
use super::support::{
    ALL, DISABLE_PORT, ENABLE_PORT, Ended, NVMF, Raw, SUBNQN, admin_connect, connection, handoff,
    io_connect, kernel, make_port, map, online_port, switch,
};

/// An admin queue and an I/O queue, each for itself.
fn both() -> [Connect; 2] {
    [admin_connect(), io_connect(0, 1)]
}

#[test]
fn arguments_that_are_no_list_are_refused_first() {
    let why = "Failed to copyin and unpack handoff arguments";
    for connect in both() {
        let (fake, _, _, _host) = with_controller();
        let attempt = Attempt::new(connect);
        let packed = attempt.list.pack().unwrap();
        let length = packed.len() as u64;
        assert_eq!(length, 1651);
        let flagged = |flags| {
            let mut flagged = packed.clone();
            flagged[2] = flags;
            Raw::new(NVMF).input(8, 24, &flagged)
        };
        for mut raw in [
            attempt.raw().u64(8, 0),
            attempt.raw().u64(8, 0xdead_0000),
            attempt.raw().u64(24, length - 1),
            attempt.raw().u64(24, length + 1),
            attempt.raw().u64(24, u64::MAX),
            attempt.raw().u64(24, 0),
            flagged(1),
            flagged(2),
        ] {
            raw.send(&fake).unwrap();
            assert_eq!(raw.ended(), Ended::new(1, why));
        }
        attempt.nobody_answered(why);
    }
}

#[test]
fn each_outer_value_must_be_there_with_its_type() {
    let why = "Handoff arguments missing required value";
    for connect in both() {
        let (fake, _, _, _host) = with_controller();
        for key in ["trtype", "params", "cmd", "data"] {
            let attempt = || Attempt::new(connect.clone());
            attempt().outer(key, None).expect_refused(&fake, why);
            let text = Value::String(b"3".to_vec());
            attempt().outer(key, Some(text)).expect_refused(&fake, why);
        }
    }
}

#[test]
fn each_parameter_of_every_transport_must_be_there_with_its_type_and_in_range() {
    let why = "Invalid queue pair parameters";
    for connect in both() {
        let (fake, _, _, _host) = with_controller();
        let attempt = || Attempt::new(connect.clone());
        for key in ["admin", "sq_flow_control", "qsize", "sqhd"] {
            attempt().param(key, None).expect_refused(&fake, why);
            let text = Value::String(b"1".to_vec());
            attempt().param(key, Some(text)).expect_refused(&fake, why);
        }
        let most = if connect.qid == 0 { 4096 } else { 65536 };
        for qsize in [0, 1, most + 1, 1 << 32] {
            let qsize = Value::Number(qsize);
            attempt().param("qsize", qsize).expect_refused(&fake, why);
        }
        let entries = u64::from(connect.entries);
        for sqhd in [entries, u64::MAX] {
            let sqhd = Value::Number(sqhd);
            attempt().param("sqhd", sqhd).expect_refused(&fake, why);
        }
    }
}

#[test]
fn the_connect_has_64_bytes_and_its_data_1024() {
    for connect in both() {
        let (fake, _, _, _host) = with_controller();
        for (key, size, why) in [
            ("cmd", 64, "Wrong size for CONNECT SQE"),
            ("data", 1024, "Wrong size for CONNECT data"),
        ] {
            for size in [size - 1, size + 1] {
                let bytes = Value::Binary(vec![1; size]);
                let attempt = Attempt::new(connect.clone());
                attempt.outer(key, bytes).expect_refused(&fake, why);
            }
        }
    }
}

#[test]
fn a_subsystem_must_be_named_and_there_and_online() {
    for connect in both() {
        let (fake, _, port, _host) = with_controller();
        let named = |name: &[u8]| {
            let mut field = [0; 256];
            field[..name.len()].copy_from_slice(name);
            Attempt::new(connect.clone()).wire("data", 256, &field)
        };
        named(b"").expect_refused(&fake, "Invalid SubNQN");
        named(&[b'x'; 224]).expect_refused(&fake, "Invalid SubNQN");
        named(&[b'x'; 256]).expect_refused(&fake, "Invalid SubNQN");
        named(&[b'x'; 223]).expect_refused(&fake, "Unknown SubNQN");
        let other = SUBNQN.to_uppercase();
        named(other.as_bytes()).expect_refused(&fake, "Unknown SubNQN");
        switch(&fake, DISABLE_PORT, port).unwrap();
        named(SUBNQN.as_bytes()).expect_refused(&fake, "CTL port offline");
    }
}

#[test]
fn a_queue_number_that_does_not_fit_the_kind_of_queue_is_errno_22() {
    let (fake, _, _, _host) = with_controller();
    let admin = Attempt::new(admin_connect()).wire("cmd", 42, &[1, 0]);
    admin.expect_refused(&fake, "Failed to handoff admin queue: 22");
    let io = Attempt::new(io_connect(0, 1)).wire("cmd", 42, &[0, 0]);
    io.expect_refused(&fake, "Failed to handoff I/O queue: 22");
}

#[test]
fn what_the_transport_cannot_use_is_errno_6() {
    for connect in both() {
        let (fake, _, _, _host) = with_controller();
        let attempt = || Attempt::new(connect.clone());
        let kind = if connect.qid == 0 { "admin" } else { "I/O" };
        let why = &format!("Failed to handoff {kind} queue: 6");
        for key in [
            "fd",
            "rxpda",
            "txpda",
            "header_digests",
            "data_digests",
            "maxr2t",
            "maxh2cdata",
            "max_icd",
        ] {
            attempt().param(key, None).expect_refused(&fake, why);
            let text = Value::String(b"4".to_vec());
            attempt().param(key, Some(text)).expect_refused(&fake, why);
        }
        // Cut to 32 bits, 2^32 + 4 is 4: no transport has it.
        for trtype in [4, (1 << 32) + 4, u64::MAX] {
            let trtype = Value::Number(trtype);
            attempt().outer("trtype", trtype).expect_refused(&fake, why);
        }
        assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
        let other = Value::Number(9999);
        attempt().param("fd", other).expect_refused(&fake, why);
        assert_eq!(fake.misuses().len(), 1);
    }
}

#[test]
fn only_sockets_of_tcp_can_be_handed_over_and_only_once() {
    let (fake, _) = kernel();
    online_port(&fake, SUBNQN);
    let (unix, _other) = UnixStream::pair().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let why = "Failed to handoff admin queue: 6";
    let (_host, mut taken) = connection();
    let mut first = Attempt::new(admin_connect());
    std::mem::swap(&mut first.ours, &mut taken);
    let mut list = handoff_arguments(&handoff(admin_connect()), first.ours.as_raw_fd());
    std::mem::swap(&mut first.list, &mut list);
    assert_eq!(first.send(&fake), Ok(Ended::new(0, "")));
    for ours in [unix.into(), udp.into(), file.into(), first.ours] {
        let mut attempt = Attempt::new(admin_connect());
        attempt.ours = ours;
        let number = u64::try_from(attempt.ours.as_raw_fd()).unwrap();
        let mut attempt = attempt.param("fd", Value::Number(number));
        assert_eq!(attempt.send(&fake), Ok(Ended::new(1, why)));
    }
    let ipv6 = TcpListener::bind("[::1]:0").unwrap();
    let _host = TcpStream::connect(ipv6.local_addr().unwrap()).unwrap();
    let mut attempt = Attempt::new(admin_connect());
    attempt.ours = ipv6.accept().unwrap().0.into();
    let number = u64::try_from(attempt.ours.as_raw_fd()).unwrap();
    let (ended, _) = attempt
        .param("fd", Value::Number(number))
        .expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
}

#[test]
fn of_several_mistakes_the_kernels_first_is_named() {
    let (fake, _, port, _host) = with_controller();
    switch(&fake, DISABLE_PORT, port).unwrap();
    let mut attempt = Attempt::new(admin_connect())
        .wire("cmd", 42, &[1, 0])
        .param("txpda", None);
    let expect = |attempt: &mut Attempt, why| {
        assert_eq!(attempt.send(&fake), Ok(Ended::new(1, why)));
    };
    // From the last check to the first, each mistake hides those before.
    expect(&mut attempt, "CTL port offline");
    attempt = attempt.wire("data", 256, b"NQN");
    expect(&mut attempt, "Unknown SubNQN");
    attempt = attempt.wire("data", 256, &[0; 256]);
    expect(&mut attempt, "Invalid SubNQN");
    attempt = attempt.outer("data", Value::Binary(vec![1]));
    expect(&mut attempt, "Wrong size for CONNECT data");
    attempt = attempt.outer("cmd", Value::Binary(vec![1]));
    expect(&mut attempt, "Wrong size for CONNECT SQE");
    attempt = attempt.param("qsize", None);
    expect(&mut attempt, "Invalid queue pair parameters");
    attempt = attempt.outer("trtype", None);
    expect(&mut attempt, "Handoff arguments missing required value");

    // QID goes before everything of the transport.
    switch(&fake, ENABLE_PORT, port).unwrap();
    let attempt = Attempt::new(admin_connect())
        .wire("cmd", 42, &[1, 0])
        .param("txpda", None)
        .outer("trtype", Value::Number(9));
    attempt.expect_refused(&fake, "Failed to handoff admin queue: 22");
}

#[test]
fn unknown_keys_and_another_order_do_not_matter() {
    let (fake, _) = kernel();
    online_port(&fake, SUBNQN);
    let mut attempt = Attempt::new(admin_connect());
    let mut pairs: Vec<(String, Value)> = attempt
        .list
        .iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    pairs.reverse();
    pairs.insert(1, ("colour".into(), Value::Null));
    attempt.list = pairs
        .into_iter()
        .fold(Nvlist::new(), |list, (name, value)| list.with(name, value));
    let (ended, _host) = attempt.expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
}

#[test]
fn a_port_that_was_never_enabled_is_offline() {
    let (fake, _) = kernel();
    let port = make_port(&fake, SUBNQN, &[]);
    map(&fake, port, ALL, 0).unwrap();
    Attempt::new(admin_connect()).expect_refused(&fake, "CTL port offline");
}
