//! The program sleeps, as on a machine that is suspended or has too much to do: hosts that were in time
//! all the while are not late because it was.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nvmf_proto::host::Payload;
use nvmf_proto::opcode::{admin, nvm};
use nvmf_proto::sqe::Sqe;
use nvmfd_tests::peer::{Host, HostOptions, nvm_sqe};

use crate::chance::number;
use crate::healthy::FREE;
use crate::scene::{Mode, Result, Scene};
use crate::worker::signal;

/// What hosts may be silent for, and less than the program sleeps.
const KATO: Duration = Duration::from_secs(1);

/// What hosts are silent for.
const PACE: Duration = Duration::from_millis(200);
const TIMES: usize = 12;

/// Hosts of each kind.
const HOSTS: u32 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It sends Keep Alives.
    KeepsAlive,
    /// It writes, which is as good (traffic based Keep Alive): on another connection than the timer's,
    /// and so perhaps on another thread.
    Writes,
}

fn say_something(host: &mut Host, kind: Kind) -> Result {
    match kind {
        Kind::KeepsAlive => {
            let keep_alive = Sqe::new(admin::KEEP_ALIVE, 0);
            host.admin.submit(keep_alive, Payload::None)?;
            host.admin.send()?;
        }
        Kind::Writes => {
            let data = Arc::new(vec![1; 512]);
            host.io[0].submit(nvm_sqe(nvm::WRITE, FREE, 512), Payload::FromHost(data))?;
            host.io[0].send()?;
        }
    }
    Ok(())
}

#[test]
fn hosts_that_were_in_time_survive_a_sleep_of_the_program() -> Result {
    let scene = Scene::new(Mode::User)?;
    let worker = scene.target.worker();
    let options = |number| HostOptions {
        kato: KATO,
        ..HostOptions::named(number)
    };
    let mut hosts = Vec::new();
    for number in 0..HOSTS {
        for kind in [Kind::KeepsAlive, Kind::Writes] {
            let options = options(100 + number);
            let host = Host::connect(scene.io(), &scene.nqn(), &options)?;
            hosts.push((kind, host));
        }
        // Nobody is late before it begins.
        for (kind, host) in &mut hosts {
            say_something(host, *kind)?;
            is_answered(host, *kind, 1)?;
        }
    }
    for _ in 0..number(2, 20) {
        signal(worker, Signal::SIGSTOP)?;
        for _ in 0..TIMES {
            for (kind, host) in &mut hosts {
                say_something(host, *kind)?;
            }
            thread::sleep(PACE);
        }
        signal(worker, Signal::SIGCONT)?;
        for (kind, host) in &mut hosts {
            is_answered(host, *kind, TIMES)?;
        }
    }
    for (_, host) in &mut hosts {
        assert!(host.keep_alive()?.status.is_success());
    }
    drop(hosts);
    scene.ends_well()
}

fn is_answered(host: &mut Host, kind: Kind, times: usize) -> Result {
    let queue = match kind {
        Kind::KeepsAlive => &mut host.admin,
        Kind::Writes => &mut host.io[0],
    };
    for _ in 0..times {
        assert!(queue.next_answer()?.completion.status.is_success());
    }
    Ok(())
}
