//! Hosts that fall silent, reset and shut down, and a target that is told again and again what to serve.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;
use nvmfd::control::message::Request;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Raw, nvm_sqe};

use crate::run::{self, goes_on};
use crate::scene::{DISABLED, ENABLED, Mode, Result, Scene, configure};
use crate::stories::served::{self, Served};
use crate::table::{Act, Row, rows};

pub(crate) fn a_host_that_stops_keeping_alive(scene: &mut Scene) -> Result {
    let options = HostOptions {
        kato: Duration::from_secs(1),
        io_queues: 2,
        ..HostOptions::named(62)
    };
    let Host {
        mut admin, mut io, ..
    } = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
    for queue in io.iter_mut().chain([&mut admin]) {
        let ended = queue.await_end().expect_err("it was given up");
        assert!(matches!(ended, PeerError::Closed), "{ended}");
    }
    Ok(())
}

pub(crate) fn a_thousand_resets(scene: &mut Scene) -> Result {
    let mut raw = Raw::establish(scene.io(), &scene.admin())?;
    let cycle = [ENABLED, DISABLED].map(|cc| raw.capsule(configure(cc), &[]));
    let mut answers = raw.stream().try_clone()?;
    let reader = thread::spawn(move || {
        let mut all = vec![0; 2000 * 24];
        answers.read_exact(&mut all).map(|()| all)
    });
    raw.send(&cycle.concat().repeat(1000))?;
    let answers = reader.join().expect("the reader")?;
    for answer in answers.chunks(24) {
        assert!(Raw::read_response(answer).1.status.is_success());
    }
    goes_on(&mut raw, configure(ENABLED))
}

pub(crate) fn shutdowns_under_io(scene: &mut Scene) -> Result {
    for round in 0..8 {
        let options = HostOptions {
            io_queues: 2,
            ..HostOptions::named(63)
        };
        let mut host = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
        for queue in &mut host.io {
            while queue.queue().room() > 0 {
                let payload = Payload::ToHost {
                    length: 4096,
                    into: Vec::new(),
                };
                queue.submit(nvm_sqe(nvm::READ, 64, 4096), payload)?;
            }
            queue.send()?;
        }
        if round % 2 == 0 {
            host.shut_down()?;
        } else {
            host.disable()?;
        }
        for queue in &mut host.io {
            let ended = queue.await_end().expect_err("its controller is no more");
            assert!(matches!(ended, PeerError::Closed), "{ended}");
        }
        host.disable()?;
        host.enable()?;
        assert!(host.keep_alive()?.status.is_success());
    }
    Ok(())
}

/// Another subsystem, which comes and goes.
const OTHER: &str = r#"
[[subsystem]]
nqn = "nqn.2014-08.org.example:other"
mode = "user"
portals = ["front"]
allow-any-host = true

[[subsystem.namespace]]
nsid = 1
ram = "1m"
"#;

pub(crate) fn reloads_during_all_of_these(mode: Mode) -> Result {
    // What is long in itself, and what counts the entries of the discovery log, is left out.
    let left_out = BTreeSet::from([4, 17, 18, 24, 36, 56, 67]);
    let one = Served::default();
    let two = Served {
        more: OTHER,
        ..Served::default()
    };
    let texts = [two, one].map(|served| served::text(mode, &served));
    let mut scene = served::scene(mode, &one)?;
    let socket = scene.target.socket();
    let file = scene.target.config();
    let ends = AtomicBool::new(false);
    let reloads = thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut count = 0;
            while !ends.load(Ordering::Relaxed) {
                // At the end it is as it was.
                for text in &texts {
                    std::fs::write(&file, text).expect("a file");
                    let answer = operator::ask(&socket, Request::Reload);
                    operator::planned(answer).expect("it is served");
                    count += 1;
                }
            }
            count
        });
        let end = End(&ends);
        rows()
            .filter(|row| !left_out.contains(&row.number))
            .try_for_each(|row| during(row, &mut scene))?;
        drop(end);
        Ok::<_, PeerError>(reloading.join().expect("the operator"))
    })?;
    assert!(reloads >= 10, "{reloads} reloads");
    scene.ends_well()
}

/// Says that it is over when this goes, whichever way that is.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn during(row: &Row, scene: &mut Scene) -> Result {
    for case in row.cases {
        let shared = !matches!(case.act, Act::Own(_));
        if shared {
            println!("row {}: {}", row.number, case.name);
            run::run(case, scene)?;
        }
    }
    Ok(())
}
