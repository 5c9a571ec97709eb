//! Endings at a bad moment: hosts that leave while the target owes them answers, controllers that are
//! reset and shut down in a hurry, a target that is stopped while hosts knock.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nvmf_proto::connect::ConnectReject;
use nvmf_proto::host::Payload;
use nvmf_proto::opcode::admin;
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Raw};
use nvmfd_tests::target::Target;
use zerocopy::IntoBytes;

use crate::scene::{DISABLED, ENABLED, Result, Scene, configure};

#[test]
fn hosts_that_fill_a_small_queue_with_event_requests_and_leave_are_seen_to_go() -> Result {
    let scene = Scene::new()?;
    let mut wishes = scene.admin();
    wishes.connect.entries = 2;
    for _ in 0..30 {
        let mut raw = Raw::establish(scene.io(), &wishes)?;
        raw.send(&raw.capsule(configure(ENABLED), &[]))?;
        assert!(raw.response()?.1.status.is_success());
        for cid in 1..=4 {
            let request = Sqe::new(admin::ASYNC_EVENT_REQUEST, cid);
            raw.send(&raw.capsule(request, &[]))?;
        }
    }
    scene.ends_well()
}

#[test]
fn a_reset_in_a_hurry_does_not_end_the_association_that_goes_on() -> Result {
    // Longer than an association outlives the loss of a queue.
    const WHILE: Duration = Duration::from_secs(4);
    let scene = Scene::new()?;
    // So many queues that some are let go of only when the controller is enabled again.
    let options = HostOptions {
        io_queues: 8,
        ..HostOptions::named(50)
    };
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
    for cc in [DISABLED, ENABLED] {
        host.admin.submit(configure(cc), Payload::None)?;
    }
    for _ in 0..2 {
        assert!(host.admin.next_answer()?.completion.status.is_success());
    }
    host.set_queues(1)?;
    let mut queue = host.connect_io(1)?;
    let began = Instant::now();
    while began.elapsed() < WHILE {
        assert!(host.keep_alive()?.status.is_success());
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(queue.read(64, 512)?.expect("data"), scene.data[..512]);
    drop((host, queue));
    scene.ends_well()
}

#[test]
fn a_controller_that_is_shut_down_lets_its_queues_go_and_takes_no_more_until_it_is_reset() -> Result
{
    let scene = Scene::new()?;
    let options = HostOptions {
        io_queues: 2,
        ..HostOptions::named(51)
    };
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
    host.shut_down()?;
    for queue in &mut host.io {
        let end = queue.await_end();
        assert!(matches!(end, Err(PeerError::Closed)), "{end:?}");
    }
    let early = ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr());
    for qid in [1, 2] {
        let refused = host.connect_io(qid).map(drop);
        assert!(
            matches!(refused, Err(PeerError::Refused(why)) if why == early),
            "{qid}: {refused:?}"
        );
    }
    host.disable()?;
    host.enable()?;
    host.set_queues(1)?;
    let mut queue = host.connect_io(1)?;
    assert_eq!(queue.read(64, 512)?.expect("data"), scene.data[..512]);
    drop((host, queue));
    scene.ends_well()
}

#[test]
fn a_target_that_is_stopped_while_hosts_connect_ends() -> Result {
    for _ in 0..6 {
        let mut target = Target::start();
        let (sqe, data) = HostOptions::default()
            .admin(&target.nqn())
            .connect
            .to_wire(0);
        let mut hosts = (0..200)
            .map(|_| Raw::negotiate(target.io(), false, false))
            .collect::<Result<Vec<_>>>()?;
        let (early, late) = hosts.split_at_mut(100);
        let connect = early[0].capsule(sqe, data.as_bytes());
        // The signal and the Connects of one half find it at the same moment, the others come after.
        target.signal(Signal::SIGSTOP);
        for raw in early {
            raw.send(&connect)?;
        }
        target.signal(Signal::SIGTERM);
        target.signal(Signal::SIGCONT);
        for raw in late {
            raw.send(&connect)?;
        }
        assert!(target.await_end().success());
    }
    Ok(())
}
