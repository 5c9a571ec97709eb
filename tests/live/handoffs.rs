//! Hand-offs that wait while what the kernel exports is changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nvmf_kmod::fake::{FakeKernel, LunView, Plane, PortView, Session, TakenQueue};
use nvmf_kmod::request::NewPort;
use nvmf_kmod::{Ctl, Errno};
use nvmf_proto::connect::ConnectReject;
use nvmfd_tests::kernel::plane::EnginePlane;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError};

use crate::stage::{NQN, Result, Stage, Wanted, Wish, only};

/// Queues of a kernel that waits at each hand-off until it is told to go on.
struct Hesitant {
    engine: EnginePlane,
    /// Says that it is at a hand-off.
    at_it: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
    handed_over: Arc<AtomicUsize>,
}

impl Plane for Hesitant {
    fn hand_off(&self, port: u32, queue: TakenQueue) -> std::result::Result<(), Errno> {
        // A test that has seen enough listens no more.
        let _ = self.at_it.send(());
        let _ = self.go_on.lock().expect("no panic").recv();
        let done = self.engine.hand_off(port, queue);
        self.handed_over.fetch_add(1, Ordering::SeqCst);
        done
    }

    fn online(&self, port: PortView) {
        self.engine.online(port);
    }

    fn offline(&self, port: u32) {
        self.engine.offline(port);
    }

    fn mapped(&self, port: u32, nsid: u32, lun: Option<LunView>) {
        self.engine.mapped(port, nsid, lun);
    }

    fn sessions(&self) -> Vec<Session> {
        self.engine.sessions()
    }

    fn terminate(&self, port: u32, cntlid: u16) {
        self.engine.terminate(port, cntlid);
    }
}

struct Scene {
    stage: Stage,
    at_it: Receiver<()>,
    go_on: SyncSender<()>,
    handed_over: Arc<AtomicUsize>,
}

impl Scene {
    fn new() -> Self {
        let (at_it, here) = sync_channel(64);
        let (go_on, going) = sync_channel(64);
        let handed_over = Arc::<AtomicUsize>::default();
        let plane = Hesitant {
            engine: EnginePlane::default(),
            at_it,
            go_on: Mutex::new(going),
            handed_over: Arc::clone(&handed_over),
        };
        let ctl = Ctl::new(Arc::new(FakeKernel::new(Arc::new(plane))));
        let port = NewPort {
            subnqn: NQN.parse().expect("a name"),
            portid: 1,
            max_io_qsize: 1024,
            ioccsz: 16448,
            nn: 1024,
            serial: "live".into(),
            options: Vec::new(),
        };
        let port = ctl.create_port(&port).expect("a port");
        ctl.enable_port(port).expect("a port");
        Self {
            stage: Stage::with(Wanted::new(NQN, [1], Wish::Kernel), Some(ctl)),
            at_it: here,
            go_on,
            handed_over,
        }
    }

    /// The kernel is asked for nothing, though hosts have had the time to come.
    fn is_left_alone(&self) {
        let early = self.at_it.recv_timeout(Duration::from_millis(300));
        assert!(early.is_err(), "the kernel is asked");
    }

    /// A host that connects meanwhile.
    fn admin(&self) -> thread::JoinHandle<Result<Host>> {
        let address = self.stage.address(1);
        let nqn = NQN.parse().expect("a name");
        thread::spawn(move || Host::connect_admin(address, &nqn, &HostOptions::default()))
    }
}

#[test]
fn whoever_holds_waits_for_the_hand_off_that_is_under_way() {
    let scene = Scene::new();
    let host = scene.admin();
    scene.at_it.recv_timeout(PATIENCE).expect("a hand-off");
    let (begun, begins) = sync_channel(1);
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            begun.send(()).expect("somebody waits");
            scene.stage.worker().hold_handoffs();
            scene.handed_over.load(Ordering::SeqCst)
        });
        begins.recv_timeout(PATIENCE).expect("it begins");
        scene.go_on.send(()).expect("the kernel listens");
        assert_eq!(held.join().expect("no panic"), 1);
    });
    assert!(host.join().expect("no panic").is_ok());
}

#[test]
fn what_comes_while_hand_offs_are_held_waits_and_is_not_refused() {
    let scene = Scene::new();
    let worker = scene.stage.worker();
    worker.hold_handoffs();
    let hosts = [(); 3].map(|()| scene.admin());
    scene.is_left_alone();
    worker.resume_handoffs();
    for host in hosts {
        scene.at_it.recv_timeout(PATIENCE).expect("a hand-off");
        scene.go_on.send(()).expect("the kernel listens");
        drop(host);
    }
    // The first two are done with when the third is begun.
    assert!(scene.handed_over.load(Ordering::SeqCst) >= 2);
}

#[test]
fn who_waits_for_too_long_is_told_to_come_back_and_a_stop_waits_for_nobody() {
    let mut scene = Scene::new();
    scene.stage.limits.negotiation_time = Duration::from_millis(300);
    scene.stage.apply();
    scene.stage.worker().hold_handoffs();
    for _ in 0..2 {
        match scene.admin().join().expect("no panic") {
            Err(PeerError::Refused(reject)) => assert_eq!(reject, ConnectReject::BUSY),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was handed over"),
        }
    }
    assert_eq!(scene.stage.worker().refusals().total, 2);
    scene.stage.limits.negotiation_time = Duration::from_secs(3600);
    scene.stage.apply();
    let host = scene.admin();
    drop(scene);
    assert!(host.join().expect("no panic").is_err());
}

#[test]
fn a_kernel_that_sleeps_over_one_hand_off_keeps_no_other_beyond_its_deadline() {
    let mut scene = Scene::new();
    let first = scene.admin();
    scene.at_it.recv_timeout(PATIENCE).expect("a hand-off");
    scene.stage.limits.negotiation_time = Duration::from_millis(300);
    scene.stage.apply();
    // The kernel goes on only when these have been answered.
    for host in [(); 3].map(|()| scene.admin()) {
        match host.join().expect("no panic") {
            Err(PeerError::Refused(reject)) => assert_eq!(reject, ConnectReject::BUSY),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was handed over"),
        }
    }
    scene.go_on.send(()).expect("the kernel listens");
    assert!(first.join().expect("no panic").is_ok());
}

#[test]
fn what_waits_is_judged_by_what_is_served_when_its_turn_comes() {
    let mut scene = Scene::new();
    scene.stage.worker().hold_handoffs();
    let host = scene.admin();
    scene.is_left_alone();
    scene.stage.subsystem().hosts = only(&HostOptions::named(9));
    scene.stage.apply();
    scene.stage.worker().resume_handoffs();
    match host.join().expect("no panic") {
        Err(PeerError::Refused(reject)) => assert_eq!(reject, ConnectReject::HOST),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was handed over"),
    }
    assert_eq!(scene.handed_over.load(Ordering::SeqCst), 0);
}
