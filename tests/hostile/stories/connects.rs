//! Connects that are not welcome, and queues that come and go.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use nvmf_kmod::fake::{Bookkeeper, FakeKernel};
use nvmf_proto::connect::{Connect, ConnectReject};
use nvmf_proto::nqn::Nqn;
use nvmf_proto::pdu::flags;
use nvmf_proto::sqe::SglDescriptor;
use nvmf_proto::status::Status;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, Qpair, Raw};
use nvmfd_tests::target::{NQN, Setup, Target};
use zerocopy::IntoBytes;

use crate::scene::{Mode, Result, Scene, good_start};

/// The refusal that a Connect gets; the connection is closed behind it.
fn refused(address: SocketAddr, connect: &Connect) -> Result<ConnectReject> {
    let mut raw = Raw::negotiate(address, false, false)?;
    let completion = raw.fabric_connect(connect)?;
    assert!(!completion.status.is_success(), "{connect:?} was accepted");
    assert_eq!(raw.until_closed(PATIENCE)?, b"");
    Ok(ConnectReject::from_completion(completion))
}

pub(crate) fn connect_data_that_is_not_in_the_capsule_is_asked_for(scene: &mut Scene) -> Result {
    for address in [scene.io(), scene.target.discovery()] {
        let mut connect = scene.admin().connect;
        if address != scene.io() {
            connect.subnqn = Nqn::discovery();
        }
        let (mut sqe, data) = connect.to_wire(3);
        sqe.sgl = SglDescriptor::transport(1024);
        let mut raw = Raw::negotiate(address, true, true)?;
        raw.send(&raw.capsule(sqe, &[]))?;
        let (tags, offset, length) = raw.r2t()?;
        assert_eq!((tags.0, offset, length), (3, 0, 1024));
        raw.send(&raw.h2c_data(tags, 0, data.as_bytes(), flags::LAST_PDU))?;
        assert!(raw.response()?.1.status.is_success());
    }
    Ok(())
}

pub(crate) fn another_hosts_controller_is_not_joined(scene: &mut Scene) -> Result {
    let (_host, wishes) = scene.without_queue(5)?;
    let mut connect = Connect {
        cntlid: scene.healthy.admin.cntlid(),
        ..wishes.connect
    };
    // The kernel's list has names alone.
    let first = match scene.mode() {
        Mode::Userspace => ConnectReject::HOSTID,
        Mode::Kernel => ConnectReject::HOSTNQN,
    };
    assert_eq!(refused(scene.io(), &connect)?, first);
    connect.hostid = HostOptions::named(999).hostid;
    assert_eq!(refused(scene.io(), &connect)?, ConnectReject::HOSTNQN);
    Ok(())
}

pub(crate) fn a_controller_that_is_gone_is_not_joined(scene: &mut Scene) -> Result {
    let (host, wishes) = scene.without_queue(5)?;
    drop(host);
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "it does not go");
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        let completion = match raw.fabric_connect(&wishes.connect) {
            Ok(completion) => completion,
            // It joined, and went with the controller before it was answered.
            Err(PeerError::Closed | PeerError::Io(_)) => continue,
            Err(error) => return Err(error),
        };
        let reject = ConnectReject::from_completion(completion);
        if reject == ConnectReject::CNTLID {
            return Ok(());
        }
        // It takes the target a moment to see that its host has gone.
        assert!(completion.status.is_success(), "{reject}");
    }
}

pub(crate) fn queues_that_are_there_already(scene: &mut Scene) -> Result {
    let (host, wishes) = scene.without_queue(6)?;
    let connect = |qid| Connect {
        qid,
        ..wishes.connect.clone()
    };
    let first = Raw::establish(scene.io(), &wishes)?;
    let again = ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr());
    assert_eq!(refused(scene.io(), &connect(1))?, again);
    // A second Connect on a connection is an error, of the same queue and of another.
    let mut admin = Raw::establish(scene.io(), &scene.admin())?;
    let mut second = wishes.clone();
    second.connect = connect(2);
    let mut io = Raw::establish(scene.io(), &second)?;
    for (raw, again) in [(&mut admin, scene.admin().connect), (&mut io, connect(3))] {
        let (sqe, data) = again.to_wire(9);
        raw.send(&raw.capsule(sqe, data.as_bytes()))?;
        let (cid, completion) = raw.response()?;
        assert_eq!(
            (cid, completion.status),
            (9, Status::COMMAND_SEQUENCE_ERROR.dnr())
        );
    }
    drop((first, admin, io, host));
    Ok(())
}

pub(crate) fn a_queue_can_be_connected_again_when_its_connection_is_gone(
    scene: &mut Scene,
) -> Result {
    let (mut host, wishes) = scene.without_queue(7)?;
    for _ in 0..50 {
        let deadline = Instant::now() + PATIENCE;
        // The target may see the end of the old connection after the new one's Connect.
        while let Err(error) = Raw::establish(scene.io(), &wishes).map(drop) {
            let again = ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr());
            assert!(
                matches!(error, PeerError::Refused(why) if why == again),
                "{error}"
            );
            assert!(Instant::now() < deadline);
        }
    }
    drop(host.keep_alive());
    drop(host);
    Ok(())
}

pub(crate) fn names_do_not_forge_lines_of_the_log(scene: &mut Scene) -> Result {
    let (sqe, mut data) = scene.admin().connect.to_wire(0);
    data.subnqn[..20].copy_from_slice(b"nqn.\n2026 ERROR fake");
    let mut raw = Raw::negotiate(scene.io(), false, false)?;
    raw.send(&raw.capsule(sqe, data.as_bytes()))?;
    let reject = ConnectReject::from_completion(raw.response()?.1);
    assert_eq!(reject, ConnectReject::SUBNQN);
    let log = scene.target.log();
    assert!(!log.lines().any(|line| line.starts_with("2026 ERROR")));
    Ok(())
}

pub(crate) fn a_host_that_goes_away_at_each_byte(scene: &mut Scene) -> Result {
    let start = good_start(&scene.admin().connect);
    for length in 0..=start.len() {
        let mut raw = Raw::connect(scene.io())?;
        raw.send(&start[..length])?;
        if length % 2 == 0 {
            raw.reset()?;
        }
    }
    Ok(())
}

pub(crate) fn io_queues_before_the_controller_is_ready(scene: &mut Scene) -> Result {
    let options = HostOptions::named(8);
    let early = Host::connect_admin(scene.io(), &scene.target.nqn(), &options)?;
    let wishes = options.io(&scene.target.nqn(), early.admin.cntlid(), 1, 16_384);
    let reject = refused(scene.io(), &wishes.connect)?;
    assert!(reject.status.is(Status::COMMAND_SEQUENCE_ERROR), "{reject}");
    Ok(())
}

pub(crate) fn io_queues_of_a_discovery_controller(scene: &mut Scene) -> Result {
    let options = HostOptions::named(8);
    let name = Nqn::discovery();
    let mut discovery = Host::connect_admin(scene.target.discovery(), &name, &options)?;
    discovery.enable()?;
    let wishes = options.io(&name, discovery.admin.cntlid(), 1, 16_384);
    for address in [scene.io(), scene.target.discovery()] {
        assert_eq!(refused(address, &wishes.connect)?, ConnectReject::QID);
    }
    Ok(())
}

/// Controllers of the kernel that runs out of them.
const FEW: u16 = 4;

/// Controllers that there may be of our own.
const MANY: u16 = 300;

pub(crate) fn every_controller_is_taken_and_given_back(mode: Mode) -> Result {
    match mode {
        Mode::Userspace => every_controller_that_there_may_be(),
        Mode::Kernel => every_controller_of_a_small_kernel(),
    }
}

fn every_controller_that_there_may_be() -> Result {
    let mut scene = Scene::with(&Setup {
        config: Some(format!(
            r#"
[discovery]
listen = ["127.0.0.1:0"]
[[portal]]
name = "front"
listen = ["127.0.0.1:0"]
header-digest = "allow"
data-digest = "allow"
[[subsystem]]
nqn = "{NQN}"
mode = "user"
portals = ["front"]
allow-any-host = true
[[subsystem.namespace]]
nsid = 1
ram = "64m"
[limits]
controllers = {MANY}
"#
        )),
        ..Setup::default()
    })?;
    for _ in 0..2 {
        let mut taken = BTreeSet::from([scene.healthy.admin.cntlid()]);
        // The healthy host has one.
        let mut all = (1..MANY)
            .map(|_| await_served(|| Qpair::connect(scene.io(), scene.admin())))
            .collect::<Result<Vec<_>>>()?;
        for queue in &all {
            assert!(taken.insert(queue.cntlid()), "{} twice", queue.cntlid());
        }
        for _ in 0..50 {
            let busy = refused(scene.io(), &scene.admin().connect)?;
            assert_eq!(busy, ConnectReject::BUSY);
        }
        scene.healthy.keep_alive()?;
        // One goes, and another can come.
        all.pop();
        await_served(|| Qpair::connect(scene.io(), scene.admin()))?;
    }
    scene.ends_well()
}

/// A kernel that executes nothing and has few controllers to give.
fn every_controller_of_a_small_kernel() -> Result {
    let kernel =
        Kernel::of(FakeKernel::new(Arc::new(Bookkeeper::with_controllers(FEW))).unpatched());
    let target = Target::with(&Setup {
        kernel: Some(kernel.socket().to_owned()),
        ..Setup::default()
    });
    let wishes = HostOptions::named(39).admin(&target.nqn());
    let full = ConnectReject::status(Status::CONNECT_INVALID_HOST);
    for _ in 0..2 {
        let mut all = (0..FEW)
            .map(|_| await_served(|| Raw::establish(target.io(), &wishes)))
            .collect::<Result<Vec<_>>>()?;
        assert_eq!(refused(target.io(), &wishes.connect)?, full);
        // One goes, and another can come.
        all.pop();
        await_served(|| Raw::establish(target.io(), &wishes))?;
    }
    kernel.is_well();
    Ok(())
}

/// An admin queue, as soon as the target has seen that another is gone.
fn await_served<T>(connect: impl Fn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connect() {
            Err(PeerError::Refused(why)) => assert!(Instant::now() < deadline, "{why}"),
            other => return other,
        }
    }
}

#[test]
fn an_admin_queue_that_goes_takes_its_io_queues_with_it() -> Result {
    let scene = Scene::new()?;
    let options = HostOptions {
        io_queues: 4,
        ..HostOptions::named(40)
    };
    let Host { admin, io, .. } = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
    drop(admin);
    for mut queue in io {
        let ended = queue.await_end().expect_err("the controller is gone");
        assert!(matches!(ended, PeerError::Closed), "{ended}");
    }
    scene.ends_well()
}
