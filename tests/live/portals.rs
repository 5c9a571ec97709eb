//! Portals that come and go, and what they offer.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nvmf_proto::connect::ConnectReject;
use nvmfd::config::model::{Digest, SqFlowControl};
use nvmfd::worker::snapshot::{Limits, PortalKind, offer};
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, Raw, discover};

use crate::stage::{DISCOVERY_CHANGED, NQN, Result, Stage, discovery, event, listen};

fn through(stage: &Stage, portal: u16, options: &HostOptions) -> Result<Host> {
    let nqn = NQN.parse().expect("a name");
    Host::connect(stage.address(portal), &nqn, options)
}

#[test]
fn a_portal_comes_and_the_first_goes_without_its_hosts() -> Result {
    let mut stage = Stage::start();
    let options = HostOptions::default();
    let mut host = stage.connect(&options)?;
    let mut looking = discovery(&stage, &options)?;
    let told = listen(&mut looking)?;

    let another = stage.open(PortalKind::Io);
    stage.apply();
    let refused = through(&stage, another, &options).map(drop);
    assert!(
        matches!(refused, Err(PeerError::Refused(ConnectReject::SUBNQN))),
        "nothing is served there yet"
    );
    stage.subsystem().portals.insert(another);
    stage.apply();
    assert_eq!(event(&mut looking, told)?, DISCOVERY_CHANGED);
    assert_eq!(discover(stage.address(2), &options)?.len(), 3);
    let mut new = through(&stage, another, &options)?;

    let first = stage.address(1);
    stage.portals.remove(0);
    stage.subsystem().portals.remove(&1);
    stage.apply();
    let closed = TcpStream::connect(first).map(drop).unwrap_err();
    assert_eq!(closed.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(host.io[0].write(0, vec![1; 512])?.is_success());
    assert!(new.io[0].write(0, vec![1; 512])?.is_success());
    assert_eq!(discover(stage.address(2), &options)?.len(), 2);
    Ok(())
}

#[test]
fn a_host_whose_portal_goes_during_its_negotiation_is_told_to_try_again() -> Result {
    let mut stage = Stage::start();
    let mut raw = Raw::negotiate(stage.address(1), false, false)?;
    stage.portals.remove(0);
    stage.apply();
    let wishes = HostOptions::default().admin(&NQN.parse().expect("a name"));
    let refused = raw.fabric_connect(&wishes.connect)?;
    let reject = ConnectReject::from_completion(refused);
    assert_eq!(reject, ConnectReject::BUSY);
    Ok(())
}

#[test]
fn digests_are_offered_as_the_portal_says_now() -> Result {
    let mut stage = Stage::start();
    let plain = HostOptions::default();
    let both = HostOptions {
        header_digest: true,
        data_digest: true,
        ..HostOptions::default()
    };
    let mut before = stage.connect(&plain)?;
    let require = Digest::Require;
    stage.portals[0].offer = offer(require, require, 8192, SqFlowControl::Required);
    stage.apply();
    match stage.connect(&plain) {
        Err(PeerError::Terminated { fes: 6, fei: 11 }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was served"),
    }
    let mut host = stage.connect(&both)?;
    let icresp = host.admin.icresp();
    assert!(icresp.header_digest() && icresp.data_digest());
    assert_eq!(icresp.maxh2cdata, 8192);
    assert!(host.io[0].write(0, vec![1; 65536])?.is_success());
    assert!(before.io[0].write(0, vec![1; 512])?.is_success());
    let off = Digest::Off;
    stage.portals[0].offer = offer(off, off, 8192, SqFlowControl::Required);
    stage.apply();
    assert!(!stage.connect(&both)?.admin.icresp().header_digest());
    Ok(())
}

#[test]
fn bounds_of_negotiation_hold_from_the_next_connection_on() -> Result {
    let mut stage = Stage::start();
    // Silent after the ICResp: each is in negotiation, by the bounds of its time.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Raw::negotiate(stage.address(1), false, false)?);
    }
    assert_eq!(stage.worker().negotiating(), 8);
    stage.limits = Limits {
        negotiation_time: Duration::from_millis(200),
        negotiations: 4,
        negotiations_per_address: 2,
        ..Limits::default()
    };
    stage.apply();
    silent.push(Raw::connect(stage.address(1))?);
    // The newest has less time than the others, and only one of those has its place still.
    for raw in silent[..7].iter().chain(&silent[8..]) {
        assert!(matches!(raw.stream().read(&mut [0]), Ok(0)));
    }
    let deadline = Instant::now() + PATIENCE;
    while stage.worker().negotiating() > 1 {
        assert!(Instant::now() < deadline, "they are counted still");
        std::thread::yield_now();
    }
    let refusals = stage.worker().refusals();
    assert_eq!(refusals.total, 8);
    let late = &refusals.last[7].reason;
    assert_eq!(late, "the host did not finish negotiation in time");
    Ok(())
}
