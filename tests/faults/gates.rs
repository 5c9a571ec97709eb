//! Kernel mode between the gate and the hand-off: whoever waits there is gone when its turn comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{FakeKernel, LunView, Plane, PortView, Session, TakenQueue};
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::kernel::plane::EnginePlane;
use nvmfd_tests::peer::PATIENCE;

use crate::chance::{Chance, number};
use crate::openings::{ENDINGS, Opening, end};
use crate::scene::{Result, Scene};

/// An engine that stops the one who asks for its list, while it is told to.
#[derive(Debug)]
struct Hesitant {
    engine: EnginePlane,
    hesitates: Arc<AtomicBool>,
    at_the_gate: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Plane for Hesitant {
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
        self.engine.hand_off(port, queue)
    }

    fn sessions(&self) -> Vec<Session> {
        let listed = self.engine.sessions();
        if self.hesitates.swap(false, Ordering::SeqCst) {
            self.at_the_gate.send(()).expect("the story goes on");
            let go_on = self.go_on.lock().expect("no panic");
            go_on.recv_timeout(PATIENCE).expect("the story goes on");
        }
        listed
    }

    fn terminate(&self, port: u32, cntlid: u16) {
        self.engine.terminate(port, cntlid);
    }
}

#[test]
fn an_io_queue_that_goes_between_gate_and_hand_off_is_nobodys() -> Result {
    let (at_the_gate, at_it) = sync_channel(1);
    let (go_on, going) = sync_channel(1);
    let hesitates = Arc::<AtomicBool>::default();
    let kernel = Kernel::of(
        FakeKernel::new(Arc::new(Hesitant {
            engine: EnginePlane::default(),
            hesitates: Arc::clone(&hesitates),
            at_the_gate,
            go_on: Mutex::new(going),
        }))
        .unpatched(),
    );
    let mut scene = Scene::on(kernel)?;
    // A controller that ends here is a gap that only the kernel can close: each lasts until the next round,
    // whose queues come after its own.
    let mut last = None;
    for round in 0..number(20, 500) {
        let ending = ENDINGS[round % ENDINGS.len()];
        let (host, wishes) = scene.without_queue(1)?;
        let io = Opening::new(&wishes);
        hesitates.store(true, Ordering::SeqCst);
        let raw = io.sent(scene.io(), io.len())?;
        at_it.recv_timeout(PATIENCE)?;
        // The kernel's list is read, and nothing is handed over yet.
        drop(end(raw, ending)?);
        go_on.send(())?;
        last.replace(host);
    }
    scene.goes_on()?;
    drop(last);
    scene.ends_well()
}

#[test]
fn three_hundred_that_wait_for_the_kernel_and_go_are_nobodys() -> Result {
    let (at_the_gate, at_it) = sync_channel(1);
    let (go_on, going) = sync_channel(1);
    let hesitates = Arc::<AtomicBool>::default();
    let plane = Hesitant {
        engine: EnginePlane::default(),
        hesitates: Arc::clone(&hesitates),
        at_the_gate,
        go_on: Mutex::new(going),
    };
    let mut scene = Scene::on(Kernel::of(FakeKernel::new(Arc::new(plane)).unpatched()))?;
    let mut chance = Chance::new();
    let (host, wishes) = scene.without_queue(1)?;
    let io = Opening::new(&wishes);
    hesitates.store(true, Ordering::SeqCst);
    let first = io.sent(scene.io(), io.len())?;
    at_it.recv_timeout(PATIENCE)?;
    let mut crowd = vec![first];
    for number in 0..300 {
        let admin = Opening::new(&scene.admin(1000 + number));
        let opening = chance.one_of(&[&admin, &io]);
        crowd.push(opening.sent(scene.io(), opening.len())?);
    }
    for raw in crowd {
        drop(end(raw, chance.one_of(&ENDINGS))?);
    }
    go_on.send(())?;
    scene.goes_on()?;
    drop(host);
    scene.ends_well()
}
