//! Connects that are not welcome, on a kernel that would panic at the worst of them.

use std::time::Instant;

use nvmf_proto::connect::{Connect, ConnectReject};
use nvmf_proto::status::Status;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::{HostOptions, PATIENCE, PeerError, Raw};
use nvmfd_tests::target::Setup;
use zerocopy::IntoBytes;

use crate::scene::{Result, Scene};

/// A scene in kernel mode.
fn scene(kernel: &Kernel) -> Result<Scene> {
    Scene::with(&Setup {
        kernel: Some(kernel.socket().to_owned()),
        ..Setup::default()
    })
}

/// The refusal that a Connect gets; the connection is closed behind it.
pub(crate) fn refused(scene: &Scene, connect: &Connect) -> Result<ConnectReject> {
    let mut raw = Raw::negotiate(scene.io(), true, false)?;
    let completion = raw.fabric_connect(connect)?;
    assert!(!completion.status.is_success(), "{connect:?} was accepted");
    assert_eq!(raw.until_closed(PATIENCE)?, b"");
    Ok(ConnectReject::from_completion(completion))
}

#[test]
fn cve_2026_4652_bogus_stale_and_foreign_controllers() -> Result {
    let kernel = Kernel::start();
    let scene = scene(&kernel)?;
    let (host, wishes) = scene.without_queue(5)?;
    let connect = |cntlid| Connect {
        cntlid,
        ..wishes.connect.clone()
    };
    for bogus in [0, 0x1234, 0xffef, 0xfff0, 0xfffe, 0xffff] {
        let reject = refused(&scene, &connect(bogus))?;
        assert_eq!(reject, ConnectReject::CNTLID, "{bogus:#x}");
    }
    // Another host's controller.
    let foreign = connect(scene.healthy.admin.cntlid());
    assert_eq!(refused(&scene, &foreign)?, ConnectReject::HOSTNQN);
    // A controller that is gone, or about to go.
    let stale = host.admin.cntlid();
    drop(host);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        assert!(Instant::now() < deadline, "it does not go");
        let completion = match raw.fabric_connect(&connect(stale)) {
            Ok(completion) => completion,
            // It joined, and went with the controller before it was answered.
            Err(PeerError::Closed | PeerError::Io(_)) => continue,
            Err(error) => return Err(error),
        };
        let reject = ConnectReject::from_completion(completion);
        if reject == ConnectReject::CNTLID {
            break;
        }
        assert!(completion.status.is_success(), "{reject}");
    }
    scene.ends_well()?;
    kernel.is_well();
    Ok(())
}

/// Between our look at the kernel's list and the hand-off a controller can end, and nothing of ours can
/// close that gap: this one takes a kernel with the remedy.
#[test]
fn queues_of_controllers_that_end_while_they_are_on_their_way() -> Result {
    let kernel = Kernel::patched();
    let scene = scene(&kernel)?;
    for round in 0..40 {
        let (host, wishes) = scene.without_queue(100 + round)?;
        let mut attempts = Vec::new();
        for qid in 1..=4 {
            let mut raw = Raw::negotiate(scene.io(), false, false)?;
            let (sqe, data) = Connect {
                qid,
                ..wishes.connect.clone()
            }
            .to_wire(qid);
            raw.send(&raw.capsule(sqe, data.as_bytes()))?;
            attempts.push(raw);
        }
        // Its host vanishes while they are on their way.
        drop(host);
        for mut raw in attempts {
            // Whatever the answer is, it is one, or the end.
            match raw.response() {
                Ok(_) | Err(PeerError::Closed) => {}
                Err(error) => assert!(matches!(error, PeerError::Io(_)), "{error}"),
            }
        }
    }
    scene.ends_well()?;
    kernel.is_well();
    Ok(())
}

#[test]
fn another_host_and_queues_that_are_there_already_or_cannot_be() -> Result {
    let kernel = Kernel::start();
    let scene = scene(&kernel)?;
    let (host, wishes) = scene.without_queue(6)?;
    let with = |change: &dyn Fn(&mut Connect)| {
        let mut connect = wishes.connect.clone();
        change(&mut connect);
        connect
    };
    let first = Raw::establish(scene.io(), &wishes)?;
    let sequence = ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr());
    assert_eq!(refused(&scene, &wishes.connect)?, sequence, "there already");
    for qid in [5, 1000, 0xffff] {
        let reject = refused(&scene, &with(&|it| it.qid = qid))?;
        assert_eq!(reject, ConnectReject::QID, "{qid}");
    }
    let reject = refused(&scene, &with(&|it| it.hostid = [0x77; 16]))?;
    assert_eq!(reject, ConnectReject::HOSTID);
    let stranger = HostOptions::named(77).hostnqn;
    let reject = refused(&scene, &with(&|it| it.hostnqn = stranger.clone()))?;
    assert_eq!(reject, ConnectReject::HOSTNQN);
    // Too early: no number of queues was asked for.
    let early = scene.admin();
    let admin = Raw::establish(scene.io(), &early)?;
    drop((admin, first, host));
    scene.ends_well()?;
    kernel.is_well();
    Ok(())
}

#[test]
fn names_that_the_kernels_lists_cannot_hold() -> Result {
    let kernel = Kernel::start();
    let scene = scene(&kernel)?;
    let good = scene.admin().connect;
    for name in [
        "nqn.2014-08.org.example:<connection id=\"5\">",
        "nqn.2014-08.org.example:a&b",
        "nqn.2014-08.org.example:a'b",
        "nqn.2014-08.org.example:é",
        "nqn.2014-08.org.example:a b",
    ] {
        let connect = Connect {
            hostnqn: name.parse().expect("a name"),
            ..good.clone()
        };
        assert_eq!(refused(&scene, &connect)?, ConnectReject::HOSTNQN, "{name}");
    }
    let nobody = Connect {
        subnqn: "nqn.2014-08.org.example:nobody".parse().expect("a name"),
        ..good.clone()
    };
    assert_eq!(refused(&scene, &nobody)?, ConnectReject::SUBNQN);
    // What follows a name's end is not the kernel's to compare: both queues have other dirt there.
    let (sqe, mut data) = good.to_wire(0);
    data.hostnqn[200..].fill(0xaa);
    data.subnqn[200..].fill(0x55);
    let mut admin = Raw::negotiate(scene.io(), false, false)?;
    admin.send(&admin.capsule(sqe, data.as_bytes()))?;
    assert!(admin.response()?.1.status.is_success());
    drop(admin);
    scene.ends_well()?;
    kernel.is_well();
    Ok(())
}
