//! What a worker that was taken over tries.

use std::fs;
use std::path::Path;

use nvmfd::os::Fence;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions};
use nvmfd_tests::target::{Setup, Target};

use crate::scene::{Place, Result, poorer};

/// What a daemon's worker has tried, with what came of it.
fn outcomes(target: &Target) -> Vec<(String, bool)> {
    let log = target.log();
    let outcomes = log.lines().filter_map(|line| {
        let (_, attempt) = line.split_once("attempt to ")?;
        let (what, outcome) = attempt.split_once(": ")?;
        Some((what.to_owned(), outcome == "SUCCEEDED"))
    });
    outcomes.collect()
}

/// All of them were made, and none succeeded.
fn all_are_refused(target: &Target) {
    target.says("attempts: the end");
    let outcomes = outcomes(target);
    let succeeded: Vec<_> = outcomes
        .iter()
        .filter(|(_, succeeded)| *succeeded)
        .collect();
    assert!(succeeded.is_empty(), "{succeeded:?}");
    assert!(outcomes.len() >= 28, "{outcomes:?}");
}

#[test]
fn whatever_a_worker_tries_is_refused_and_it_serves_on() -> Result {
    // It is not that nobody may do as little: so it is for root.
    for user in ["nobody", "root"] {
        let place = Place::new()?;
        let target = Target::with(&place.setup(&["--user", user])?);
        all_are_refused(&target);
        assert_eq!(place.files()?, ["kept", "socket"].map(Path::new));
        let host = Host::connect(target.io(), &target.nqn(), &HostOptions::named(1));
        host?.keep_alive()?;
        let status = operator::status(&target.socket());
        assert_eq!(status.worker.restarts, 0);
    }
    Ok(())
}

#[test]
fn so_it_is_in_kernel_mode_and_queues_are_handed_over() -> Result {
    let (place, kernel) = (Place::new()?, Kernel::start());
    let setup = Setup {
        kernel: Some(kernel.socket().into()),
        ..place.setup(&[])?
    };
    let target = Target::with(&setup);
    all_are_refused(&target);
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::named(1))?;
    host.keep_alive()?;
    kernel.is_well();
    Ok(())
}

#[test]
fn the_next_worker_is_confined_too() -> Result {
    let place = Place::new()?;
    let target = Target::with(&place.setup(&[])?);
    all_are_refused(&target);
    let first = target.worker();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(first.try_into()?),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    target.says("the worker is started again");
    let twice = || target.log().matches("attempts: the end").count() == 2;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !twice() {
        assert!(std::time::Instant::now() < deadline, "it tries nothing");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    all_are_refused(&target);
    Ok(())
}

/// The second fence holds what it can by itself, for root as well.
#[test]
fn landlock_alone_keeps_it_from_files_and_from_the_monitor() -> Result {
    let place = Place::new()?;
    let setup = place.setup(&["--confine", "if-possible", "--user", "root"])?;
    let Some(starter) = poorer("seccomp")? else {
        return Ok(());
    };
    let target = Target::with(&Setup { starter, ..setup });
    let confinement = operator::status(&target.socket()).worker.confinement;
    if !confinement.fences.contains(&Fence::Landlock) {
        eprintln!("NOT RUN: Landlock, which this kernel has not");
        return Ok(());
    }
    target.says("attempts: the end");
    let outcomes = outcomes(&target);
    let refused = [
        "read a file",
        "write a file",
        "make a file",
        "link to a file",
        "make a directory",
        "list a directory",
        "open a device",
        "remove a file",
        "listen at a path",
        "read the monitor's memory",
        "trace the monitor",
        "be another program's parent",
        "become another program",
    ];
    for what in refused {
        assert!(
            outcomes.contains(&(what.into(), false)),
            "{what}: {outcomes:?}"
        );
    }
    assert_eq!(place.files()?, ["kept", "socket"].map(Path::new));
    Ok(())
}

/// Without this the others would prove nothing.
#[test]
fn the_same_attempts_succeed_from_a_worker_that_is_not_confined() -> Result {
    let place = Place::new()?;
    let target = Target::with(&place.setup(&["--confine", "off", "--user", "root"])?);
    target.says("attempts: all but the last are made");
    let outcomes = outcomes(&target);
    let possible = [
        "read a file",
        "write a file",
        "make a file",
        "look at a file",
        "link to a file",
        "make a directory",
        "list a directory",
        "go to a directory",
        "open a device",
        "rename a file",
        "remove a file",
        "connect to an address",
        "listen at an address",
        "have a socket for datagrams",
        "connect to a path",
        "listen at a path",
        "ask for what no ioctl is for",
        "be another program's parent",
    ];
    for what in possible {
        assert!(
            outcomes.contains(&(what.into(), true)),
            "{what}: {outcomes:?}"
        );
    }
    if Path::new("/proc/self/fd").exists() {
        let calls = outcomes
            .iter()
            .filter(|(what, _)| what.starts_with("the system call"));
        assert!(calls.count() > 20, "{outcomes:?}");
    }
    // The last one is to become another program, which ends at once.
    target.says("the worker has ended");
    Ok(())
}

/// Everything that a worker holds is a socket, a pipe, a poll, or a file that it serves.
#[test]
fn a_worker_holds_nothing_that_leads_further() -> Result {
    let directory = tempfile::tempdir()?;
    let image = directory.path().join("image");
    fs::File::create(&image)?.set_len(8 << 20)?;
    let setup = Setup {
        devices: vec![image.display().to_string(), "ramdisk:8m".into()],
        ..Setup::default()
    };
    let target = Target::with(&setup);
    let host = Host::connect(target.io(), &target.nqn(), &HostOptions::named(1))?;
    let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", target.worker())) else {
        eprintln!("NOT RUN: what its descriptors are: this system has no /proc");
        return Ok(());
    };
    for descriptor in descriptors {
        let place = fs::read_link(descriptor?.path())?;
        let text = place.display().to_string();
        let kinds = [
            "socket:",
            "pipe:",
            "anon_inode:[eventpoll]",
            "anon_inode:[eventfd]",
        ];
        let good = kinds.iter().any(|kind| text.starts_with(kind));
        assert!(
            good || text == "/dev/null" || place == image,
            "it holds {text}"
        );
    }
    drop(host);
    Ok(())
}
