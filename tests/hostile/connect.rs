//! Connects that are not welcome (rows 26–39).

use std::net::SocketAddr;
use std::time::Instant;

use nvmf_proto::connect::{Connect, ConnectReject};
use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::nvm;
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, Raw, nvm_sqe};
use zerocopy::IntoBytes;

use crate::scene::{Result, Scene, good_start};

/// The refusal that a Connect gets; the connection is closed behind it.
fn refused(address: SocketAddr, connect: &Connect) -> Result<ConnectReject> {
    let mut raw = Raw::negotiate(address, false, false)?;
    let completion = raw.fabric_connect(connect)?;
    assert!(!completion.status.is_success(), "{connect:?} was accepted");
    assert_eq!(raw.until_closed(PATIENCE)?, b"");
    Ok(ConnectReject::from_completion(completion))
}

#[test]
fn row_26_nothing_but_connect_is_heard_first() -> Result {
    let scene = Scene::new()?;
    let commands = [
        Sqe::new(nvm::FLUSH, 5),
        nvm_sqe(nvm::READ, 0, 512),
        Sqe::fabrics(0x00, 5),
        Sqe::fabrics(0x04, 5),
        Sqe::fabrics(0x05, 5),
        Sqe::fabrics(0xff, 5),
        Sqe::new(0x06, 5),
        Sqe::new(0xff, 5),
    ];
    for sqe in commands {
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        raw.send(&raw.capsule(sqe, &[]))?;
        let (_, completion) = raw.response()?;
        assert!(
            completion.status.is(Status::INVALID_OPCODE),
            "{}",
            completion.status
        );
        assert_eq!(raw.until_closed(PATIENCE)?, b"");
    }
    scene.ends_well()
}

#[test]
fn row_30_cve_2026_4652_io_connects_of_bogus_stale_and_foreign_controllers() -> Result {
    let scene = Scene::new()?;
    let (host, wishes) = scene.without_queue(5)?;
    let connect = |cntlid| Connect {
        cntlid,
        ..wishes.connect.clone()
    };
    for bogus in [0, 0x1234, 0xffef] {
        assert_eq!(
            refused(scene.io(), &connect(bogus))?,
            ConnectReject::CNTLID,
            "{bogus:#x}"
        );
    }
    for illegal in [0xfff0, 0xfffe, 0xffff] {
        assert_eq!(
            refused(scene.io(), &connect(illegal))?,
            ConnectReject::CNTLID
        );
    }
    // Another host's controller: told apart by its identifier, and by its name.
    let foreign = scene.healthy.admin.cntlid();
    assert_eq!(
        refused(scene.io(), &connect(foreign))?,
        ConnectReject::HOSTID
    );
    let options = HostOptions::named(999);
    let mut mine = connect(foreign);
    mine.hostid = options.hostid;
    assert_eq!(refused(scene.io(), &mine)?, ConnectReject::HOSTNQN);
    // A controller that is gone.
    let stale = host.admin.cntlid();
    drop(host);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        let completion = raw.fabric_connect(&connect(stale))?;
        let reject = ConnectReject::from_completion(completion);
        if reject == ConnectReject::CNTLID {
            break;
        }
        // It takes the target a moment to see that its host has gone.
        assert!(
            completion.status.is_success() && Instant::now() < deadline,
            "{reject}"
        );
    }
    scene.ends_well()
}

#[test]
fn row_31_queues_that_are_there_already_or_cannot_be() -> Result {
    let scene = Scene::new()?;
    let (host, wishes) = scene.without_queue(6)?;
    let connect = |qid| Connect {
        qid,
        ..wishes.connect.clone()
    };
    let first = Raw::establish(scene.io(), &wishes)?;
    let again = ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr());
    assert_eq!(refused(scene.io(), &connect(1))?, again);
    for qid in [5, 1000, 0xffff] {
        assert_eq!(
            refused(scene.io(), &connect(qid))?,
            ConnectReject::QID,
            "{qid}"
        );
    }
    // A second Connect on a connection is an error, of the same queue and of another.
    let mut admin = Raw::establish(scene.io(), &scene.admin())?;
    let mut second = wishes.clone();
    second.connect = connect(2);
    let mut io = Raw::establish(scene.io(), &second)?;
    for (raw, again) in [(&mut admin, scene.admin().connect), (&mut io, connect(3))] {
        let (sqe, data) = again.to_wire(9);
        raw.send(&raw.capsule(sqe, data.as_bytes()))?;
        let (cid, completion) = raw.response()?;
        assert!(cid == 9 && !completion.status.is_success());
    }
    drop((first, admin, io, host));
    scene.ends_well()
}

#[test]
fn row_31_a_queue_can_be_connected_again_when_its_connection_is_gone() -> Result {
    let scene = Scene::new()?;
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
    scene.ends_well()
}

#[test]
fn rows_32_to_34_what_cannot_be_in_a_connect() -> Result {
    let scene = Scene::new()?;
    let good = scene.admin().connect;
    let with = |change: fn(&mut Connect)| {
        let mut connect = good.clone();
        change(&mut connect);
        connect
    };
    let cases: [(Connect, ConnectReject); 5] = [
        (with(|it| it.entries = 1), ConnectReject::SQSIZE),
        (with(|it| it.entries = 4097), ConnectReject::SQSIZE),
        (with(|it| it.entries = 65_536), ConnectReject::SQSIZE),
        (with(|it| it.hostid = [0; 16]), ConnectReject::HOSTID),
        (
            with(|it| it.subnqn = "nqn.2014-08.org.example:vol1".parse().expect("a name")),
            ConnectReject::SUBNQN,
        ),
    ];
    for (connect, reject) in cases {
        assert_eq!(refused(scene.io(), &connect)?, reject);
    }
    // Two entries are enough.
    drop(Raw::establish(
        scene.io(),
        &Wishes {
            connect: with(|it| it.entries = 2),
            ..scene.admin()
        },
    )?);
    // CVE-2023-6121: names without an end, and with what could forge a log line.
    for name in [[b'a'; 256], {
        let mut name = [0; 256];
        name[..20].copy_from_slice(b"nqn.\n2026 ERROR fake");
        name
    }] {
        let (sqe, mut data) = good.to_wire(0);
        data.subnqn = name;
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        raw.send(&raw.capsule(sqe, data.as_bytes()))?;
        let reject = ConnectReject::from_completion(raw.response()?.1);
        assert_eq!(reject, ConnectReject::SUBNQN);
    }
    assert!(
        !scene
            .target
            .log()
            .lines()
            .any(|line| line.starts_with("2026 ERROR"))
    );
    scene.ends_well()
}

#[test]
fn row_36_cve_2024_42152_a_host_that_goes_away_at_each_byte_of_the_exchange() -> Result {
    let scene = Scene::new()?;
    let start = good_start(&scene.admin().connect);
    for length in 0..=start.len() {
        let mut raw = Raw::connect(scene.io())?;
        raw.send(&start[..length])?;
        if length % 2 == 0 {
            raw.reset()?;
        }
    }
    scene.ends_well()
}

#[test]
fn rows_37_and_38_io_queues_before_the_controller_is_ready_and_of_discovery() -> Result {
    let scene = Scene::new()?;
    let options = HostOptions::named(8);
    let early = Host::connect_admin(scene.io(), &scene.target.nqn(), &options)?;
    let wishes = options.io(&scene.target.nqn(), early.admin.cntlid(), 1, 16_384);
    let reject = refused(scene.io(), &wishes.connect)?;
    assert!(reject.status.is(Status::COMMAND_SEQUENCE_ERROR), "{reject}");
    let name = Nqn::discovery();
    let mut discovery = Host::connect_admin(scene.target.discovery(), &name, &options)?;
    discovery.enable()?;
    let wishes = options.io(&name, discovery.admin.cntlid(), 1, 16_384);
    for address in [scene.io(), scene.target.discovery()] {
        assert_eq!(refused(address, &wishes.connect)?, ConnectReject::QID);
    }
    drop((early, discovery));
    scene.ends_well()
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
