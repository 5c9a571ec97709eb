//! The announcer as a process: it dies, and nothing else does; without its monitor it is gone.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use nvmfd_tests::operator;
use nvmfd_tests::target::Target;

use crate::cdc::{Cdc, Manners};
use crate::scene::{A, Result, announcer, file, registration, serving, until};

fn pid(target: &Target) -> u32 {
    until("an announcer", || announcer(target).pid)
}

fn kill_it(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process");
    kill(Pid::from_raw(pid), signal).expect("it runs");
}

fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).expect("a process");
    kill(Pid::from_raw(pid), None).is_ok()
}

#[test]
fn an_announcer_that_is_killed_is_started_again_and_registers_again() -> Result {
    let cdc = Cdc::start(Manners::Good);
    let target = serving(&file(&cdc.key(), &[A]));
    cdc.await_entries(1);
    let (worker, first) = (target.worker(), pid(&target));
    let connections = cdc.connections();
    kill_it(first, Signal::SIGKILL);
    until("another one", || {
        announcer(&target).pid.filter(|&it| it != first)
    });
    until("another connection", || {
        (cdc.connections() > connections).then_some(())
    });
    until("a registration", || registration(&target).entries);
    assert_eq!(target.worker(), worker, "the worker has noticed nothing");
    assert!(announcer(&target).restarts >= 1);
    target.says("the announcer has ended");
    Ok(())
}

#[test]
fn an_announcer_leaves_signals_to_the_monitor() -> Result {
    let cdc = Cdc::start(Manners::Good);
    let target = serving(&file(&cdc.key(), &[A]));
    cdc.await_entries(1);
    let announcer = pid(&target);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill_it(announcer, signal);
    }
    until("a registration", || registration(&target).entries);
    assert_eq!(pid(&target), announcer);
    Ok(())
}

#[test]
fn an_announcer_does_not_outlive_its_monitor() -> Result {
    let mut target = serving(&file("mdns = true", &[A]));
    let announcer = pid(&target);
    target.end_with(Signal::SIGKILL);
    until("its end", || (!is_there(announcer)).then_some(()));
    Ok(())
}

#[test]
fn a_hanging_announcer_keeps_nobody_from_ending() -> Result {
    let mut target = serving(&file("mdns = true", &[A]));
    let announcer = pid(&target);
    kill_it(announcer, Signal::SIGSTOP);
    assert!(target.stop().success());
    assert!(
        target.log().contains("does not end in order"),
        "it was given up"
    );
    until("its end", || (!is_there(announcer)).then_some(()));
    Ok(())
}

#[test]
fn an_announcer_that_registers_is_confined_and_an_operator_is_told() -> Result {
    let cdc = Cdc::start(Manners::Good);
    let target = serving(&file(&cdc.key(), &[A]));
    cdc.await_entries(1);
    let told = announcer(&target);
    let process = pid(&target);
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else {
        eprintln!("NOT RUN: what the kernel says of the announcer, which needs Linux's /proc");
        return Ok(());
    };
    let says = |line: &str| status.lines().any(|it| it == line);
    assert!(says("Seccomp:\t2") && says("NoNewPrivs:\t1"), "{status}");
    assert!(told.confinement.is_confined(), "{:?}", told.confinement);
    if Uid::effective().is_root() {
        assert_eq!(told.confinement.user.as_deref(), Some("nobody"));
        assert!(!status.contains("Uid:\t0"), "{status}");
    }
    Ok(())
}

#[test]
fn who_announces_nothing_has_no_announcer() -> Result {
    let target = serving(&file("", &[A]));
    assert_eq!(operator::status(&target.socket()).announcer, None);
    let error = target
        .plan(&file("register = [\"0.0.0.0\"]", &[A]))
        .unwrap_err();
    assert!(error.text.contains("no single address"), "{}", error.text);
    Ok(())
}
