//! `CTL_GET_PORT_STATS` with raw bytes, and as a daemon asks for it.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread;

use nvmf_kmod::fake::faults::{FaultKind, Faults, Faulty, Verdict};
use nvmf_kmod::fake::{Bookkeeper, Traffic};
use nvmf_kmod::request::{PortId, Statistics};
use nvmf_kmod::{Ctl, Errno, KernelError};

use super::attempt::with_controller;
use super::support::{
    PORT_STATS, Raw, SUBNQN, is_closed, kernel, make_port, port_request, strings,
};

/// Bytes of one port's counters.
const ITEM: usize = 176;

/// A request for the counters of `ports` ports.
fn ask(ports: usize) -> Raw {
    let space = ports * ITEM;
    Raw::new(PORT_STATS).output(0, space).u64(8, space as u64)
}

/// Bytes filled, ports there are, status.
fn ended(raw: &Raw) -> (u64, u32, u32) {
    (raw.read_u64(16), raw.read_u32(28), raw.read_u32(32))
}

/// The numbers of the ports whose counters were given.
fn items(raw: &Raw) -> Vec<u32> {
    let number = |item: &[u8]| u32::from_ne_bytes(item[..4].try_into().unwrap());
    raw.written().chunks(ITEM).map(number).collect()
}

fn some(books: &Bookkeeper, port: u32) {
    let traffic = Traffic {
        reads: 3,
        writes: 4,
        bytes_read: 3 << 40,
        bytes_written: 4 << 40,
    };
    books.count(port, traffic);
}

#[test]
fn counters_are_where_freebsd_has_them() {
    let (fake, books) = kernel();
    let port = make_port(&fake, SUBNQN, &[]);
    some(&books, port);
    let mut raw = ask(8).u32(24, port);
    raw.send(&fake).unwrap();
    assert_eq!(ended(&raw), (176, 4, 0));
    let mut expected = [0; ITEM];
    // ctl_io_stats on machines of 64 bits: item, bytes[3], operations[3], dmas[3], and times.
    let fields: [(usize, u64); 7] = [
        (0, port.into()),
        (16, 3 << 40),
        (24, 4 << 40),
        (40, 3),
        (48, 4),
        (64, 3),
        (72, 4),
    ];
    for (at, value) in fields {
        expected[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    assert_eq!(raw.written(), expected);
    assert_eq!(raw.read_u32(36), 0);
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

#[test]
fn ports_with_smaller_numbers_are_passed_over_and_counted() {
    let (fake, _) = kernel();
    make_port(&fake, "a", &[]);
    make_port(&fake, "b", &[]);
    let from = |first: u32| {
        let mut raw = ask(8).u32(24, first);
        raw.send(&fake).unwrap();
        assert_eq!(ended(&raw).1, 5);
        items(&raw)
    };
    assert_eq!(from(0), [0, 1, 2, 3, 4]);
    assert_eq!(from(3), [3, 4]);
    assert!(from(5).is_empty());
    // A C int: this is -1.
    assert_eq!(from(u32::MAX), [0, 1, 2, 3, 4]);
    // A number that is free is no item.
    let gone = strings(&[("subnqn", "a")]);
    port_request(1, &gone).send(&fake).unwrap();
    let mut raw = ask(8);
    raw.send(&fake).unwrap();
    assert_eq!((items(&raw), ended(&raw).1), (vec![0, 1, 2, 4], 4));
}

#[test]
fn what_fits_is_given_and_the_rest_needs_more_space() {
    let (fake, _) = kernel();
    for (ports, status) in [(0, 1), (2, 1), (3, 0), (4, 0)] {
        let mut raw = ask(ports);
        raw.send(&fake).unwrap();
        let given = ports.min(3);
        assert_eq!(ended(&raw), ((given * ITEM) as u64, 3, status), "{ports}");
        assert_eq!(items(&raw).len(), given);
    }
    let mut raw = ask(3).u64(8, 3 * ITEM as u64 - 1);
    raw.send(&fake).unwrap();
    assert_eq!((items(&raw), ended(&raw).2), (vec![0, 1], 1));
}

#[test]
fn a_bad_address_is_an_errno_and_nothing_comes_back() {
    let (fake, _) = kernel();
    let mut raw = Raw::new(PORT_STATS).u64(0, 0xdead_0000).u64(8, 4096);
    assert_eq!(raw.send(&fake), Err(Errno::EFAULT));
    assert_eq!(ended(&raw), (0, 0, 0));
    // One that turns bad: what was written stays.
    let mut raw = ask(2).u64(8, 4096);
    assert_eq!(raw.send(&fake), Err(Errno::EFAULT));
    assert_eq!((ended(&raw), items(&raw)), ((0, 0, 0), vec![0, 1]));
    assert!(fake.misuses().is_empty());
}

#[test]
fn bytes_that_only_the_kernel_writes_should_be_zero() {
    for at in [16, 28, 32, 36, 40, 48] {
        let (fake, _) = kernel();
        ask(8).u32(at, 1).send(&fake).unwrap();
        let [misuse] = &fake.misuses()[..] else {
            panic!("{at}: {:?}", fake.misuses());
        };
        assert!(misuse.contains("should be zero"), "{misuse}");
    }
}

#[test]
fn a_daemon_reads_the_statistics_of_every_port() {
    let (fake, books) = kernel();
    let ctl = Ctl::new(Arc::new(fake.clone()));
    let port = make_port(&fake, SUBNQN, &[]);
    let read = || ctl.port_statistics().unwrap();
    let none = Statistics::default();
    let ids = [0, 1, 2, port].map(PortId);
    assert_eq!(read(), BTreeMap::from(ids.map(|id| (id, none))));
    some(&books, port);
    let expected = Statistics {
        reads: 3,
        writes: 4,
        bytes_read: 3 << 40,
        bytes_written: 4 << 40,
    };
    assert_eq!(read()[&PortId(port)], expected);
    assert_eq!(read()[&PortId(0)], none);
    // The next port under this number begins at zero.
    ctl.remove_port(&SUBNQN.parse().unwrap()).unwrap();
    assert_eq!(read().len(), 3);
    assert_eq!(make_port(&fake, SUBNQN, &[]), port);
    assert_eq!(read()[&PortId(port)], none);
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

#[test]
fn statistics_of_any_number_of_ports_are_read() {
    let (fake, books) = kernel();
    for index in 0..200 {
        make_port(&fake, &format!("nqn.2026-01.org.example:{index}"), &[]);
    }
    some(&books, 202);
    let statistics = Ctl::new(Arc::new(fake)).port_statistics().unwrap();
    assert_eq!(statistics.len(), 203);
    assert_eq!(statistics[&PortId(202)].writes, 4);
}

#[test]
fn a_kernel_that_never_has_enough_space_is_not_asked_for_ever() {
    let faults = Faults::new();
    for index in 0..100 {
        faults.order_at(index, FaultKind::Refuse(Verdict::new(1, "")));
    }
    let ctl = Ctl::new(Arc::new(Faulty::new(kernel().0, faults.clone())));
    let error = ctl.port_statistics().unwrap_err();
    assert!(matches!(error, KernelError::Answer { .. }), "{error}");
    assert!(faults.requests() < 20, "{}", faults.requests());
}

#[test]
fn a_status_without_a_text_is_a_refusal() {
    let faults = Faults::new();
    faults.order_at(0, FaultKind::Refuse(Verdict::new(2, "")));
    let ctl = Ctl::new(Arc::new(Faulty::new(kernel().0, faults)));
    let error = ctl.port_statistics().unwrap_err();
    let line = "cannot read the statistics of the ports: the kernel says: nothing";
    assert_eq!(error.to_string(), line);
}

#[test]
fn statistics_wait_until_a_port_is_removed() {
    let (fake, books, _, mut host) = with_controller();
    let ctl = Ctl::new(Arc::new(fake.clone()));
    books.hold_teardown(true);
    let removing = ctl.clone();
    let removal = thread::spawn(move || removing.remove_port(&SUBNQN.parse().unwrap()));
    // It is under way, and sleeps until the controller is gone.
    assert!(is_closed(&mut host));
    let (about_to, asks) = mpsc::channel();
    let asking = ctl.clone();
    let statistics = thread::spawn(move || {
        about_to.send(()).unwrap();
        asking.port_statistics()
    });
    asks.recv().unwrap();
    books.hold_teardown(false);
    removal.join().unwrap().unwrap();
    assert_eq!(statistics.join().unwrap().unwrap().len(), 3);
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

#[test]
fn who_asks_while_a_port_is_removed_walks_a_list_that_changes() {
    let (fake, books, _, mut host) = with_controller();
    books.hold_teardown(true);
    let removing = fake.clone();
    let gone = strings(&[("subnqn", SUBNQN)]);
    let removal = thread::spawn(move || port_request(1, &gone).send(&removing));
    assert!(is_closed(&mut host));
    ask(8).send(&fake).unwrap();
    books.hold_teardown(false);
    removal.join().unwrap().unwrap();
    let [misuse] = &fake.misuses()[..] else {
        panic!("{:?}", fake.misuses());
    };
    assert!(misuse.contains("no lock"), "{misuse}");
}
