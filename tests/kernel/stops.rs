//! A kernel that takes its time, hosts that use that, and the daemon's orderly end.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use nvmf_kmod::Errno;
use nvmf_kmod::fake::faults::{Fault, FaultKind};
use nvmf_kmod::fake::{FakeKernel, LunView, Plane, PortView, Session, TakenQueue};
use nvmf_proto::connect::{Connect, ConnectReject};
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::kernel::plane::EnginePlane;
use nvmfd_tests::peer::{Host, HostOptions, Raw};
use nvmfd_tests::target::{Setup, Target};
use zerocopy::IntoBytes;

use crate::scene::{Result, Scene};

/// `CTL_PORT_REQ` and `CTL_LUN_REQ`, as the kernel numbers them on machines of 64 bits.
const CTL_PORT_REQ: u32 = 0xc100_e126;
const CTL_LUN_REQ: u32 = 0xc168_e121;

/// An engine that answers each call after so many milliseconds.
#[derive(Debug, Default)]
struct Slow {
    engine: EnginePlane,
    pause: Arc<AtomicU64>,
}

impl Slow {
    fn pause(&self) {
        sleep(Duration::from_millis(self.pause.load(Ordering::Relaxed)));
    }
}

impl Plane for Slow {
    fn online(&self, port: PortView) {
        self.engine.online(port);
    }

    fn offline(&self, port: u32) {
        self.engine.offline(port);
    }

    fn mapped(&self, port: u32, nsid: u32, lun: Option<LunView>) {
        self.engine.mapped(port, nsid, lun);
    }

    fn hand_off(&self, port: u32, queue: TakenQueue) -> std::result::Result<(), Errno> {
        self.pause();
        self.engine.hand_off(port, queue)
    }

    fn sessions(&self) -> Vec<Session> {
        self.pause();
        self.engine.sessions()
    }

    fn terminate(&self, port: u32, cntlid: u16) {
        self.engine.terminate(port, cntlid);
    }
}

/// A kernel without the remedy for CVE-2026-4652, and what it takes its time by.
fn slow_kernel() -> (Kernel, Arc<AtomicU64>) {
    let plane = Slow::default();
    let pause = Arc::clone(&plane.pause);
    let kernel = Kernel::of(FakeKernel::new(Arc::new(plane)).unpatched());
    (kernel, pause)
}

fn setup(kernel: &Kernel) -> Setup {
    Setup {
        kernel: Some(kernel.socket().to_owned()),
        ..Setup::default()
    }
}

fn ours(kernel: &Kernel) -> (usize, usize) {
    let ports = kernel.ctl().ports().unwrap().ports;
    let ports = ports.iter().filter(|port| port.frontend == "nvmf").count();
    (ports, kernel.ctl().luns().unwrap().luns.len())
}

/// Sends a Connect and waits for nothing.
fn ask(target: &Target, connect: &Connect) -> Result<Raw> {
    let mut raw = Raw::negotiate(target.io(), false, false)?;
    let (sqe, data) = connect.to_wire(1);
    raw.send(&raw.capsule(sqe, data.as_bytes()))?;
    Ok(raw)
}

#[test]
fn cve_2026_4652_a_stop_does_not_end_a_controller_between_gate_and_handoff() -> Result {
    let (kernel, pause) = slow_kernel();
    let mut target = Target::with(&setup(&kernel));
    let options = HostOptions {
        io_queues: 0,
        ..HostOptions::named(5)
    };
    let mut host = Host::connect(target.io(), &target.nqn(), &options)?;
    host.set_queues(4)?;
    let wishes = options.io(&target.nqn(), host.admin.cntlid(), 1, 16_384);
    pause.store(800, Ordering::Relaxed);
    let mut asked = Vec::new();
    for qid in 1..=4 {
        let connect = Connect {
            qid,
            ..wishes.connect.clone()
        };
        asked.push(ask(&target, &connect)?);
    }
    // The first is at its gate, the others wait.
    sleep(Duration::from_millis(200));
    assert!(target.stop().success(), "{}", target.log());
    assert_eq!(ours(&kernel), (0, 0));
    kernel.is_well();
    Ok(())
}

#[test]
fn a_failure_at_the_end_is_tried_again_and_what_stays_is_told() {
    let kernel = Kernel::start();
    let devices = Setup {
        devices: vec!["ramdisk:1m".into(), "ramdisk:2m".into()],
        ..setup(&kernel)
    };
    for (code, errno) in [
        (CTL_PORT_REQ, Errno::EINTR),
        (CTL_LUN_REQ, Errno::ENOMEM),
        (CTL_LUN_REQ, Errno::EINTR),
    ] {
        let mut target = Target::with(&devices);
        let kind = FaultKind::Fail(errno);
        let code = Some(code);
        kernel.order(&Fault {
            code,
            skip: 0,
            kind,
        });
        assert!(target.stop().success(), "{}", target.log());
        assert_eq!(ours(&kernel), (0, 0), "{errno}");
    }
    // LUNs that never go: the port goes all the same, and what is left is told.
    let mut target = Target::with(&devices);
    for _ in 0..100 {
        let kind = FaultKind::Fail(Errno::ENOMEM);
        let code = Some(CTL_LUN_REQ);
        kernel.order(&Fault {
            code,
            skip: 0,
            kind,
        });
    }
    assert_eq!(target.stop().code(), Some(71), "{}", target.log());
    assert_eq!(ours(&kernel), (0, 2), "{}", target.log());
    target.says("not everything that was exported could be removed");
    target.says("cannot allocate memory");
    kernel.is_well();
}

#[test]
fn one_address_that_floods_a_slow_kernel_does_not_keep_the_others_out() -> Result {
    let (kernel, pause) = slow_kernel();
    let scene = Scene::with(&setup(&kernel))?;
    let (host, wishes) = scene.without_queue(5)?;
    let bogus = Connect {
        cntlid: 0x1234,
        ..wishes.connect.clone()
    };
    pause.store(5, Ordering::Relaxed);
    let before = scene.target.usage();
    let mut held = Vec::new();
    for _ in 0..700 {
        let mut raw = Raw::negotiate(scene.io(), false, false)?;
        let (sqe, data) = bogus.to_wire(1);
        // It may have made room for the next already.
        let _ = raw.send(&raw.capsule(sqe, data.as_bytes()));
        held.push(raw);
    }
    // Those that are told why hold their places until they are gone: 512 for one address.
    if let (Some(before), Some(now)) = (before, scene.target.usage()) {
        let more = now.descriptors - before.descriptors;
        assert!(more <= 530, "{more} descriptors more");
    }
    let elsewhere = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
    for _ in 0..5 {
        let mut other = Raw::negotiate_from(elsewhere, scene.io())?;
        let answer = other.fabric_connect(&scene.admin().connect)?;
        let reject = ConnectReject::from_completion(answer);
        assert!(answer.status.is_success(), "{reject}");
    }
    pause.store(0, Ordering::Relaxed);
    drop((held, host));
    kernel.is_well();
    Ok(())
}
