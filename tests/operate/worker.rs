//! A worker that dies, and a monitor that does.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd_tests::operator;
use nvmfd_tests::target::Target;

use crate::scene::{A, B, HEAD, Result, host, pattern, read, serving, subsystem, write};

fn kill_worker(target: &Target, signal: Signal) {
    let worker = i32::try_from(target.worker()).expect("a process");
    kill(Pid::from_raw(worker), signal).expect("it runs");
}

/// Waits until another worker serves.
fn await_another(target: &Target, than: u32) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let worker = operator::status(&target.socket()).worker.pid;
        match worker {
            Some(pid) if pid != than => return pid,
            _ => assert!(Instant::now() < deadline, "no other worker is started"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn file(directory: &std::path::Path) -> String {
    let image = directory.join("image");
    if !image.exists() {
        let image = std::fs::File::create(&image).expect("a file");
        image.set_len(8 << 20).expect("space");
    }
    let path = format!("path = {:?}", image.display().to_string());
    format!("{HEAD}{}", subsystem(A, &[(1, &path)]))
}

#[test]
fn a_worker_that_is_killed_is_started_again_with_what_is_served() -> Result {
    let directory = tempfile::tempdir()?;
    let target = serving(&file(directory.path()));
    let (io, discovery) = (target.io(), target.discovery());
    let mut first = host(io, A, 1)?;
    assert!(write(&mut first, 1, 0, pattern(1))?.is_success());
    let mut worker = target.worker();
    for signal in [Signal::SIGKILL, Signal::SIGABRT, Signal::SIGKILL] {
        kill_worker(&target, signal);
        worker = await_another(&target, worker);
        // The same listeners: not one connection is refused in between.
        let mut again = host(io, A, 1)?;
        assert_eq!(read(&mut again, 1, 0, 8192)?, Ok(pattern(1)));
    }
    assert!(std::net::TcpStream::connect(discovery).is_ok());
    assert!(first.keep_alive().is_err());
    let status = operator::status(&target.socket());
    assert_eq!(status.worker.restarts, 3);
    target.says("the worker has ended");
    Ok(())
}

#[test]
fn a_worker_leaves_signals_to_the_monitor() -> Result {
    let directory = tempfile::tempdir()?;
    let target = serving(&file(directory.path()));
    let mut host = host(target.io(), A, 1)?;
    let worker = target.worker();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill_worker(&target, signal);
    }
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    assert_eq!(target.worker(), worker);
    Ok(())
}

#[test]
fn a_worker_does_not_outlive_its_monitor_and_the_next_daemon_finds_everything_free() -> Result {
    let directory = tempfile::tempdir()?;
    let text = file(directory.path());
    let mut target = serving(&text);
    let address = target.io();
    let mut lost = host(address, A, 1)?;
    assert!(write(&mut lost, 1, 0, pattern(9))?.is_success());
    target.end_with(Signal::SIGKILL);
    // The very same address and file, which the worker has had until a moment ago.
    let again = text.replacen(
        "name = \"front\"\nlisten = [\"127.0.0.1:0\"]",
        &format!("name = \"front\"\nlisten = [\"{address}\"]"),
        1,
    );
    let target = serving(&again);
    assert_eq!(target.io(), address);
    let mut host = host(address, A, 1)?;
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(9)));
    Ok(())
}

#[test]
fn a_worker_that_hangs_is_given_up_when_it_is_asked() -> Result {
    let directory = tempfile::tempdir()?;
    let target = serving(&file(directory.path()));
    let worker = target.worker();
    kill_worker(&target, Signal::SIGSTOP);
    // The question that it does not answer is its end.
    let status = operator::status(&target.socket());
    assert!(status.worker.pid != Some(worker), "{:?}", status.worker);
    await_another(&target, worker);
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    target.says("does not answer");
    Ok(())
}

#[test]
fn a_reload_gets_by_a_worker_that_hangs() -> Result {
    let directory = tempfile::tempdir()?;
    let text = file(directory.path());
    let target = serving(&text);
    let worker = target.worker();
    kill_worker(&target, Signal::SIGSTOP);
    let more = format!("{text}{}", subsystem(B, &[(1, "ram = \"8m\"")]));
    let plan = target.reload(&more).unwrap();
    assert!(
        plan.warnings
            .iter()
            .any(|it| it.contains("does not answer")),
        "{plan:?}"
    );
    await_another(&target, worker);
    assert_eq!(operator::status(&target.socket()).reload_failed, None);
    let mut host = host(target.io(), B, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    Ok(())
}

#[test]
fn a_worker_that_hangs_does_not_keep_the_daemon_from_ending() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut target = serving(&file(directory.path()));
    kill_worker(&target, Signal::SIGSTOP);
    assert!(target.stop().success(), "{}", target.log());
    assert!(!target.socket().exists());
}
