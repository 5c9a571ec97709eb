//! A worker that serves one subsystem with the given namespaces, and hosts of it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::nvm;
use nvmfd::config::model::{Digest, Hosts, SqFlowControl};
use nvmfd::engine::backend::{Backend, DeviceSpec};
use nvmfd::engine::namespace::{Namespace, Namespaces};
use nvmfd::identity::NamespaceIds;
use nvmfd::worker::Worker;
use nvmfd::worker::change::Change;
use nvmfd::worker::snapshot::{
    Discovery, Engine, Limits, Portal, PortalKind, Snapshot, Subsystem, offer,
};
use nvmfd::worker::views::Views;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Qpair, nvm_sqe};
use uuid::Uuid;

use crate::injected::Injected;

pub(crate) type Result<T = ()> = std::result::Result<T, PeerError>;

/// The subsystem.
const NQN: &str = "nqn.2014-08.org.example:storage";

/// What a test may wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of a piece of data: whole blocks.
pub(crate) const PIECE: usize = 4096;

/// A worker.
pub(crate) struct Scene {
    worker: Option<Worker>,
    address: SocketAddr,
    namespaces: Arc<Namespaces>,
    /// What must not hang when the worker stops.
    injected: Option<Arc<Injected>>,
}

impl Scene {
    /// One with storage that does as it is told, as namespace 1.
    pub(crate) fn injected() -> (Self, Arc<Injected>) {
        let disk = Arc::new(Injected::new());
        let mut scene = Self::with(vec![namespace(1, disk.clone())]);
        scene.injected = Some(Arc::clone(&disk));
        (scene, disk)
    }

    pub(crate) fn with(namespaces: Vec<Arc<Namespace>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let namespaces = Arc::new(Namespaces::new(namespaces));
        let snapshot = snapshot(1, address, &namespaces);
        let worker = Worker::start(snapshot, vec![(1, listener)], 2, None).expect("threads");
        Self {
            worker: Some(worker),
            address,
            namespaces,
            injected: None,
        }
    }

    /// Has these namespaces from now on.
    pub(crate) fn serve(&self, namespaces: Vec<Arc<Namespace>>) {
        let change = Change {
            snapshot: snapshot(2, self.address, &self.namespaces),
            listeners: Vec::new(),
            namespaces: vec![(Arc::clone(&self.namespaces), namespaces)],
        };
        self.worker().apply(change).expect("threads");
    }

    pub(crate) fn connect(&self, options: &HostOptions) -> Result<Host> {
        Host::connect(self.address, &NQN.parse().expect("a name"), options)
    }

    pub(crate) fn worker(&self) -> &Worker {
        self.worker.as_ref().expect("until the end")
    }

    /// Waits until the worker has noticed that nobody is connected.
    pub(crate) fn await_nobody(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.worker().sessions().is_empty() {
            assert!(Instant::now() < deadline, "a session stays");
            std::thread::yield_now();
        }
    }

    /// Waits until so many commands wait for a thread.
    pub(crate) fn await_waiting(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.worker().shared().figures().jobs_waiting != count {
            assert!(Instant::now() < deadline, "not {count} commands wait");
            std::thread::yield_now();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(injected) = &self.injected {
            injected.release();
        }
        if let Some(worker) = self.worker.take() {
            worker.stop();
        }
    }
}

/// A namespace on a backend.
pub(crate) fn namespace(nsid: u32, backend: Arc<dyn Backend>) -> Arc<Namespace> {
    let ids = NamespaceIds {
        uuid: Uuid::from_u128(nsid.into()),
        nguid: [0; 16],
        eui64: [0; 8],
    };
    let device = DeviceSpec::Path("injected".into());
    Arc::new(Namespace::new(nsid, device, backend, ids))
}

fn snapshot(generation: u64, address: SocketAddr, namespaces: &Arc<Namespaces>) -> Snapshot {
    let portal = Portal {
        id: 1,
        name: "portal".into(),
        kind: PortalKind::Io,
        address,
        offer: offer(
            Digest::Allow,
            Digest::Allow,
            256 << 10,
            SqFlowControl::Optional,
        ),
        discovery_nqn: Nqn::discovery(),
    };
    let subsystem = Subsystem {
        nqn: NQN.parse().expect("a name"),
        serial: "storage".into(),
        label: None,
        portals: [1].into(),
        hosts: Hosts::Any,
        engine: Engine::Userspace(Arc::clone(namespaces)),
        terminate_on_revoke: false,
    };
    Snapshot {
        generation,
        portals: vec![Arc::new(portal)],
        subsystems: vec![Arc::new(subsystem)],
        discovery: Discovery::default(),
        referrals: Vec::new(),
        limits: Limits::default(),
        views: Views::default(),
    }
}

/// Sends a write of one piece to block `lba`, and waits for nothing.
pub(crate) fn submit_write(queue: &mut Qpair, lba: u64, fill: u8) -> Result<u16> {
    let payload = Payload::FromHost(Arc::new(vec![fill; PIECE]));
    let cid = queue.submit(nvm_sqe(nvm::WRITE, lba, PIECE), payload)?;
    queue.send_all()?;
    Ok(cid)
}
