//! Hosts come, do I/O, are refused and go; the numbers are theirs.

use std::sync::Arc;
use std::time::Duration;

use nvmf_kmod::Ctl;
use nvmf_kmod::fake::FakeKernel;
use nvmf_kmod::request::NewPort;
use nvmf_proto::host::Payload;
use nvmf_proto::opcode::admin;
use nvmf_proto::sqe::Sqe;
use nvmfd::worker::snapshot::Limits;
use nvmfd_tests::kernel::plane::EnginePlane;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Raw, discover};

use crate::scene::{KERNEL_NQN, NQN, ODD_NQN, Result, Scene};

const DISCOVERY: &str = "nqn.2014-08.org.nvmexpress.discovery";

fn of(family: &str, labels: &str) -> String {
    format!("nvmfd_{family}{{{labels}}}")
}

fn of_subsystem(family: &str, labels: &str) -> String {
    of(family, &format!("subsystem=\"{NQN}\"{labels}"))
}

#[test]
fn io_is_told_by_subsystem_and_stays_when_its_host_is_gone() -> Result {
    let scene = Scene::start();
    let mut host = scene.connect(NQN, &HostOptions::default())?;
    let mut other = scene.connect(ODD_NQN, &HostOptions::named(2))?;
    let queue = &mut host.io[0];
    for lba in [0, 8, 16] {
        assert!(queue.write(lba, vec![7; 4096])?.is_success());
    }
    assert!(queue.read(0, 8192)?.is_ok());
    assert!(queue.flush()?.is_success());
    assert!(queue.read(1 << 40, 512)?.is_err());
    assert!(other.io[0].write(0, vec![1; 512])?.is_success());
    let check = |scrape: &crate::scrape::Scrape| {
        for (sample, value) in [
            (of_subsystem("commands_total", ",operation=\"write\""), 3.0),
            (of_subsystem("commands_total", ",operation=\"read\""), 1.0),
            (of_subsystem("commands_total", ",operation=\"other\""), 1.0),
            (of_subsystem("io_bytes_total", ",direction=\"write\""), 12288.0),
            (of_subsystem("io_bytes_total", ",direction=\"read\""), 8192.0),
            (of_subsystem("command_errors_total", ""), 1.0),
            (of_subsystem("media_errors_total", ""), 0.0),
            (
                r#"nvmfd_io_bytes_total{subsystem="nqn.2014-08.org.example:\"odd\\one\"",direction="write"}"#.into(),
                512.0,
            ),
        ] {
            assert_eq!(scrape.value(&sample), value, "{sample}");
        }
    };
    let scrape = scene.scrape();
    check(&scrape);
    let associations = of(
        "associations",
        &format!("mode=\"user\",subsystem=\"{NQN}\""),
    );
    assert_eq!(scrape.value(&associations), 1.0);
    assert_eq!(scrape.value(&of_subsystem("io_queues", "")), 1.0);
    assert_eq!(scrape.value("nvmfd_connections"), 4.0);
    assert_eq!(scrape.value("nvmfd_connections_accepted_total"), 4.0);
    assert_eq!(scrape.value("nvmfd_negotiations_in_progress"), 0.0);
    for (limit, used) in [("connections", 4.0), ("controllers", 2.0), ("queues", 1.0)] {
        let labels = format!("limit=\"{limit}\"");
        assert_eq!(scrape.value(&of("limit_used", &labels)), used, "{limit}");
    }
    let served = of("negotiations_total", "outcome=\"served\"");
    assert_eq!(scrape.value(&served), 4.0);
    let timed = of("negotiation_duration_seconds_count", "outcome=\"served\"");
    assert_eq!(scrape.value(&timed), 4.0);
    drop((host, other));
    let scrape = scene.await_value("nvmfd_connections", 0.0);
    check(&scrape);
    assert_eq!(scrape.value(&associations), 0.0);
    assert_eq!(scrape.sum("nvmfd_disconnects_total"), 4.0);
    Ok(())
}

#[test]
fn each_negotiation_has_one_outcome_and_refusals_have_reasons() -> Result {
    let limits = Limits {
        negotiation_time: Duration::from_secs(2),
        negotiations: 3,
        negotiations_per_address: 3,
        ..Limits::default()
    };
    let scene = Scene::with(limits, None);
    let unknown = scene.connect("nqn.2014-08.org.example:unknown", &HostOptions::default());
    assert!(matches!(unknown, Err(PeerError::Refused(_))));
    // It has its place until it is gone.
    scene.await_value("nvmfd_negotiations_in_progress", 0.0);
    let mut garbage = Raw::connect(scene.io)?;
    garbage.send(&[0xff; 128])?;
    garbage.termination(0)?;
    drop(garbage);
    scene.await_value("nvmfd_negotiations_in_progress", 0.0);
    drop(Raw::connect(scene.io)?);
    let abandoned = of("negotiations_total", "outcome=\"abandoned\"");
    scene.await_value(&abandoned, 1.0);
    scene.await_value("nvmfd_negotiations_in_progress", 0.0);
    let silent = [(); 4].map(|()| Raw::connect(scene.io));
    let timed_out = of("negotiations_total", "outcome=\"timed_out\"");
    let scrape = scene.await_value(&timed_out, 3.0);
    for (sample, value) in [
        (of("negotiations_total", "outcome=\"evicted\""), 1.0),
        (of("negotiations_total", "outcome=\"refused\""), 2.0),
        (of("refusals_total", "reason=\"subnqn\""), 1.0),
        (of("refusals_total", "reason=\"protocol\""), 1.0),
        (of("refusals_total", "reason=\"evicted\""), 1.0),
        (of("refusals_total", "reason=\"timed_out\""), 3.0),
        (of("limit", "limit=\"negotiations\""), 3.0),
        (of("limit_met_total", "limit=\"negotiations\""), 0.0),
        (
            of("limit_met_total", "limit=\"negotiations-per-address\""),
            1.0,
        ),
        (of("log_lines_left_out_total", "kind=\"refused\""), 0.0),
    ] {
        assert_eq!(scrape.value(&sample), value, "{sample}");
    }
    let accepted = scrape.value("nvmfd_connections_accepted_total");
    assert_eq!(scrape.sum("nvmfd_negotiations_total"), accepted);
    assert_eq!(scrape.sum("nvmfd_refusals_total"), 6.0);
    drop(silent);
    Ok(())
}

#[test]
fn discovery_and_events_are_told() -> Result {
    let scene = Scene::start();
    let before = scene.scrape().value("nvmfd_discovery_log_reads_total");
    assert_eq!(before, 0.0);
    discover(scene.io, &HostOptions::default())?;
    assert!(scene.scrape().value("nvmfd_discovery_log_reads_total") >= 1.0);
    let mut host = scene.connect(NQN, &HostOptions::default())?;
    let request = Sqe::new(admin::ASYNC_EVENT_REQUEST, 0);
    let cid = host.admin.submit(request, Payload::None)?;
    host.admin.send_all()?;
    host.keep_alive()?;
    scene.add_namespace();
    assert!(host.admin.await_answer(cid)?.completion.status.is_success());
    let scrape = scene.scrape();
    let told = of("async_events_total", "event=\"namespaces\"");
    assert_eq!(scrape.value(&told), 1.0);
    assert_eq!(scrape.sum("nvmfd_async_events_total"), 1.0);
    let discoverer = Host::connect_admin(
        scene.io,
        &DISCOVERY.parse().expect("a name"),
        &HostOptions::default(),
    )?;
    let labels = format!("mode=\"discovery\",subsystem=\"{DISCOVERY}\"");
    let scrape = scene.scrape();
    assert_eq!(scrape.value(&of("associations", &labels)), 1.0);
    drop(discoverer);
    Ok(())
}

#[test]
fn hand_offs_are_told_and_how_long_they_took() -> Result {
    let ctl = Ctl::new(Arc::new(FakeKernel::new(Arc::new(EnginePlane::default()))));
    let scene = Scene::with(Limits::default(), Some(ctl.clone()));
    // The kernel has no port of that name yet.
    assert!(scene.connect(KERNEL_NQN, &HostOptions::default()).is_err());
    let port = NewPort {
        subnqn: KERNEL_NQN.parse().expect("a name"),
        portid: 1,
        max_io_qsize: 1024,
        ioccsz: 16448,
        nn: 1024,
        serial: "metrics".into(),
        options: Vec::new(),
    };
    let port = ctl.create_port(&port).expect("a port");
    ctl.enable_port(port).expect("a port");
    let host = scene.connect(KERNEL_NQN, &HostOptions::default())?;
    let handed_over = of("negotiations_total", "outcome=\"handed_over\"");
    let scrape = scene.await_value(&handed_over, 2.0);
    assert_eq!(scrape.value(&of("handoffs_total", "result=\"taken\"")), 2.0);
    assert_eq!(
        scrape.value(&of("handoffs_total", "result=\"no_subsystem\"")),
        1.0
    );
    assert_eq!(scrape.value("nvmfd_handoff_duration_seconds_count"), 3.0);
    assert_eq!(scrape.value("nvmfd_handoffs_waiting"), 0.0);
    assert_eq!(
        scrape.value(&of("refusals_total", "reason=\"subnqn\"")),
        1.0
    );
    drop(host);
    Ok(())
}
