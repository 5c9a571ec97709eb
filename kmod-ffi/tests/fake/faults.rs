//! Failures to order, seen through the requests.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nvmf_kmod::fake::FakeKernel;
use nvmf_kmod::fake::faults::{Fault, FaultKind, Faults, Faulty, Verdict};
use nvmf_kmod::request::{HandoffError, NewPort, RefusedFor, Socket};
use nvmf_kmod::{Ctl, Errno, KernelError};

use super::support::{
    NVMF, PORT_LIST, PORT_REQ, SUBNQN, admin_connect, completion, connection, handoff, is_closed,
    kernel, online_port,
};

fn faulty() -> (Ctl, Faults, FakeKernel) {
    let (fake, _) = kernel();
    let faults = Faults::new();
    let ctl = Ctl::new(Arc::new(Faulty::new(fake.clone(), faults.clone())));
    (ctl, faults, fake)
}

fn new_port(subnqn: &str) -> NewPort {
    NewPort {
        subnqn: subnqn.parse().unwrap(),
        portid: 1,
        max_io_qsize: 1024,
        ioccsz: 16448,
        nn: 1024,
        serial: "S1".into(),
        options: Vec::new(),
    }
}

#[test]
fn a_request_fails_before_it_is_done() {
    let (ctl, faults, fake) = faulty();
    faults.order_at(0, FaultKind::Fail(Errno::ENOMEM));
    let error = ctl.create_port(&new_port("a")).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENOMEM));
    assert!(!fake.port_list().contains("nvmf"));
    faults.order_at(0, FaultKind::Refuse(Verdict::new(2, "no")));
    let error = ctl.create_port(&new_port("a")).unwrap_err();
    assert_eq!(error.text(), Some("no"));
    assert!(!fake.port_list().contains("nvmf"));
    // Each comes once.
    ctl.create_port(&new_port("a")).unwrap();
    assert_eq!((faults.outstanding(), faults.requests()), (0, 3));
}

#[test]
fn a_request_fails_after_it_is_done() {
    let (ctl, faults, fake) = faulty();
    faults.order_at(0, FaultKind::FailAfter(Errno::EFAULT));
    let error = ctl.create_port(&new_port("a")).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EFAULT));
    assert!(fake.port_list().contains("<subnqn>a</subnqn>"));
    let verdict = Verdict::new(2, "Cannot copyout() the result.");
    faults.order_at(0, FaultKind::RefuseAfter(verdict));
    let error = ctl.create_port(&new_port("b")).unwrap_err();
    assert_eq!(error.text(), Some("Cannot copyout() the result."));
    assert!(fake.port_list().contains("<subnqn>b</subnqn>"));
}

#[test]
fn the_nth_request_of_a_kind_can_be_struck() {
    let (ctl, faults, _) = faulty();
    faults.order(Fault {
        code: Some(PORT_REQ),
        skip: 1,
        kind: FaultKind::Fail(Errno::EIO),
    });
    ctl.ports().unwrap();
    ctl.create_port(&new_port("a")).unwrap();
    ctl.ports().unwrap();
    ctl.create_port(&new_port("b")).unwrap_err();
    ctl.create_port(&new_port("b")).unwrap();
    faults.order(Fault {
        code: Some(PORT_LIST),
        skip: 0,
        kind: FaultKind::Refuse(Verdict::new(
            3,
            "Unable to allocate 4096 bytes for LUN list",
        )),
    });
    ctl.ports().unwrap_err();
}

#[test]
fn a_caller_that_has_died_does_nothing_more() {
    let (ctl, faults, fake) = faulty();
    faults.order_at(1, FaultKind::CrashAfter);
    ctl.create_port(&new_port("a")).unwrap();
    ctl.create_port(&new_port("b")).unwrap_err();
    ctl.create_port(&new_port("c")).unwrap_err();
    ctl.ports().unwrap_err();
    let list = fake.port_list();
    assert!(list.contains("<subnqn>b</subnqn>") && !list.contains("<subnqn>c</subnqn>"));
    faults.clear();
    faults.order_at(0, FaultKind::Crash);
    ctl.create_port(&new_port("d")).unwrap_err();
    assert!(!fake.port_list().contains("<subnqn>d</subnqn>"));
}

/// A hand-off under an ordered failure.
fn struck(kind: FaultKind) -> (HandoffError, TcpStream, OwnedFd) {
    let (ctl, faults, fake) = faulty();
    online_port(&fake, SUBNQN);
    faults.order(Fault {
        code: Some(NVMF),
        skip: 0,
        kind,
    });
    let (host, mut ours) = connection();
    let error = ctl.hand_off(&handoff(admin_connect()), &mut ours);
    (error.unwrap_err(), host, ours)
}

#[test]
fn a_hand_off_can_be_refused_with_every_text_and_the_socket_left() {
    for admin in [true, false] {
        let verdicts = Verdict::of_handoff(admin);
        assert_eq!(verdicts.len(), 10);
        for verdict in verdicts {
            let (error, _host, _ours) = struck(FaultKind::Refuse(verdict.clone()));
            assert_eq!(error.error.text(), Some(verdict.text.as_str()));
            assert_eq!(error.socket, Socket::Ours);
        }
    }
    let verdict = Verdict::of_handoff(true)[7].clone();
    let (error, ..) = struck(FaultKind::Refuse(verdict));
    assert_eq!(error.refused_for, RefusedFor::Offline);
}

#[test]
fn a_hand_off_can_fail_with_the_socket_taken() {
    let verdict = Verdict::new(1, "Failed to handoff admin queue: 12");
    let (error, mut host, _ours) = struck(FaultKind::TakeAndRefuse(verdict));
    assert_eq!(error.refused_for, RefusedFor::Other(Some(Errno::ENOMEM)));
    assert_eq!(error.socket, Socket::Taken);
    assert!(is_closed(&mut host));
    let (error, mut host, _ours) = struck(FaultKind::TakeAndFail(Errno::EINTR));
    assert!(matches!(error.error, KernelError::Ioctl { errno, .. } if errno == Errno::EINTR));
    assert_eq!(error.socket, Socket::Taken);
    assert!(is_closed(&mut host));
    // Done, but the caller does not hear of it: the kernel serves the queue.
    let (error, mut host, _ours) = struck(FaultKind::FailAfter(Errno::EINTR));
    assert_eq!(error.socket, Socket::Taken);
    completion(&mut host, false);
}
