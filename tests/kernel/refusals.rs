//! Hand-offs that the kernel does not take: every host gets its one answer, and nothing is left over.

use nvmf_kmod::Errno;
use nvmf_kmod::fake::faults::{Fault, FaultKind, Verdict};
use nvmf_proto::connect::ConnectReject;
use nvmf_proto::status::Status;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Raw};
use nvmfd_tests::target::Setup;

use crate::connects::refused;
use crate::scene::{Result, Scene};

/// `CTL_NVMF`, as the kernel numbers it on machines of 64 bits.
const CTL_NVMF: u32 = 0xc1c8_e12b;

fn strike(kernel: &Kernel, skip: u32, kind: FaultKind) {
    kernel.order(&Fault {
        code: Some(CTL_NVMF),
        skip,
        kind,
    });
}

fn expected(text: &str) -> ConnectReject {
    match text {
        "Invalid SubNQN" | "Unknown SubNQN" => ConnectReject::SUBNQN,
        "CTL port offline" => ConnectReject::BUSY,
        "Invalid queue pair parameters" => ConnectReject::SQSIZE,
        _ => ConnectReject::status(Status::INTERNAL_ERROR),
    }
}

fn scene(kernel: &Kernel) -> Result<Scene> {
    Scene::with(&Setup {
        kernel: Some(kernel.socket().to_owned()),
        ..Setup::default()
    })
}

#[test]
fn where_the_kernel_has_answered_nothing_we_do() -> Result {
    let kernel = Kernel::start();
    let mut scene = scene(&kernel)?;
    let admin = scene.admin().connect;
    for verdict in Verdict::of_handoff(true) {
        let wanted = expected(&verdict.text);
        strike(&kernel, 0, FaultKind::Refuse(verdict.clone()));
        assert_eq!(refused(&scene, &admin)?, wanted, "{}", verdict.text);
        // The operator is told what the kernel said.
        scene.target.says(&verdict.text);
    }
    let (host, wishes) = scene.without_queue(5)?;
    for verdict in Verdict::of_handoff(false) {
        let wanted = expected(&verdict.text);
        // The list of associations is asked for first.
        strike(&kernel, 1, FaultKind::Refuse(verdict.clone()));
        assert_eq!(
            refused(&scene, &wishes.connect)?,
            wanted,
            "{}",
            verdict.text
        );
    }
    let internal = ConnectReject::status(Status::INTERNAL_ERROR);
    for errno in [Errno::ENOMEM, Errno::EFAULT, Errno::EINTR, Errno::ENOTTY] {
        strike(&kernel, 0, FaultKind::Fail(errno));
        assert_eq!(refused(&scene, &admin)?, internal, "{errno}");
        strike(&kernel, 0, FaultKind::Fail(errno));
        assert_eq!(
            refused(&scene, &wishes.connect)?,
            internal,
            "the list: {errno}"
        );
        strike(&kernel, 1, FaultKind::Fail(errno));
        assert_eq!(refused(&scene, &wishes.connect)?, internal, "{errno}");
    }
    scene.is_usual()?;
    drop(host);
    scene.ends_well()?;
    kernel.is_well();
    Ok(())
}

#[test]
fn where_the_kernel_has_taken_the_connection_we_say_nothing() -> Result {
    let kernel = Kernel::start();
    let mut scene = scene(&kernel)?;
    let admin = scene.admin();
    for number in [6, 12] {
        let text = format!("Failed to handoff admin queue: {number}");
        let verdict = Verdict::new(1, text);
        strike(&kernel, 0, FaultKind::TakeAndRefuse(verdict));
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        let ended = raw.fabric_connect(&admin.connect).unwrap_err();
        assert!(matches!(ended, PeerError::Closed), "{ended}");
    }
    let (host, wishes) = scene.without_queue(5)?;
    for number in [2, 22] {
        let text = format!("Failed to handoff I/O queue: {number}");
        strike(&kernel, 1, FaultKind::TakeAndRefuse(Verdict::new(1, text)));
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        let ended = raw.fabric_connect(&wishes.connect).unwrap_err();
        assert!(matches!(ended, PeerError::Closed), "{ended}");
    }
    scene.is_usual()?;
    drop(host);
    scene.ends_well()?;
    kernel.is_well();
    Ok(())
}

#[test]
fn a_port_that_goes_offline_turns_hosts_away_until_it_comes_back() -> Result {
    let kernel = Kernel::start();
    let mut scene = scene(&kernel)?;
    let ports = kernel.ctl().ports().unwrap().ports;
    let port = ports.iter().find(|port| port.frontend == "nvmf").unwrap();
    let id = nvmf_kmod::request::PortId(port.id);
    kernel.ctl().disable_port(id).unwrap();
    assert!(scene.healthy.keep_alive().is_err(), "hosts are sent away");
    let admin = scene.admin().connect;
    assert_eq!(refused(&scene, &admin)?, ConnectReject::BUSY);
    kernel.ctl().enable_port(id).unwrap();
    let options = HostOptions::default();
    let mut host = Host::connect(scene.io(), &scene.target.nqn(), &options)?;
    assert!(host.io[0].read(0, 512)?.is_ok());
    // Removed behind the daemon's back.
    kernel.ctl().remove_port(&scene.target.nqn()).unwrap();
    assert_eq!(refused(&scene, &admin)?, ConnectReject::SUBNQN);
    assert!(scene.target.stop().success(), "{}", scene.target.log());
    kernel.is_well();
    Ok(())
}
