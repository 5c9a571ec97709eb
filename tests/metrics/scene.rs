//! A worker, its metrics, and clients that read them well or badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvmf_kmod::Ctl;
use nvmf_proto::nqn::Nqn;
use nvmfd::config::model::{Digest, Hosts, SqFlowControl};
use nvmfd::engine::backend::DeviceSpec;
use nvmfd::engine::backend::ram::{Ram, RamSize};
use nvmfd::engine::namespace::{Namespace, Namespaces};
use nvmfd::identity::NamespaceIds;
use nvmfd::metrics::Metrics;
use nvmfd::worker::Worker;
use nvmfd::worker::change::Change;
use nvmfd::worker::snapshot::{
    Discovery, Engine, Limits, Portal, PortalKind, Snapshot, Subsystem, offer,
};
use nvmfd::worker::views::Views;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError};
use uuid::Uuid;

use crate::scrape::Scrape;

pub(crate) type Result<T = ()> = std::result::Result<T, PeerError>;

/// Subsystems of ours: one has a name that metrics must escape.
pub(crate) const NQN: &str = "nqn.2014-08.org.example:metrics";
pub(crate) const ODD_NQN: &str = "nqn.2014-08.org.example:\"odd\\one\"";

/// The kernel's.
pub(crate) const KERNEL_NQN: &str = "nqn.2014-08.org.example:kernel";

/// A worker with metrics.
pub(crate) struct Scene {
    worker: Option<Worker>,
    pub(crate) metrics: Option<Metrics>,
    /// Where hosts connect.
    pub(crate) io: SocketAddr,
    /// Where metrics are.
    pub(crate) http: SocketAddr,
    pub(crate) limits: Limits,
    namespaces: [Arc<Namespaces>; 2],
}

impl Scene {
    pub(crate) fn start() -> Self {
        Self::with(Limits::default(), None)
    }

    pub(crate) fn with(limits: Limits, ctl: Option<Ctl>) -> Self {
        let (io, http) = (listener(), listener());
        let mut scene = Self {
            worker: None,
            metrics: None,
            io: io.local_addr().expect("bound"),
            http: http.local_addr().expect("bound"),
            limits,
            namespaces: [(); 2].map(|()| Arc::new(Namespaces::new([ram(1)]))),
        };
        let worker = Worker::start(scene.snapshot(1), vec![(1, io)], 2, ctl).expect("threads");
        scene.metrics = Some(Metrics::start(vec![new(http)], worker.shared()).expect("a thread"));
        scene.worker = Some(worker);
        scene
    }

    fn snapshot(&self, generation: u64) -> Snapshot {
        let portal = Portal {
            id: 1,
            name: "a".into(),
            kind: PortalKind::Io,
            address: self.io,
            offer: offer(Digest::Allow, Digest::Allow, 4096, SqFlowControl::Optional),
            discovery_nqn: Nqn::discovery(),
        };
        let [ours, odd] = &self.namespaces;
        let engines = [
            (NQN, Engine::Userspace(Arc::clone(ours))),
            (ODD_NQN, Engine::Userspace(Arc::clone(odd))),
            (KERNEL_NQN, Engine::Kernel),
        ];
        let subsystem = |(nqn, engine): (&str, Engine)| {
            Arc::new(Subsystem {
                nqn: nqn.parse().expect("a name"),
                serial: "metrics".into(),
                label: None,
                portals: [1].into(),
                hosts: Hosts::Any,
                engine,
                terminate_on_revoke: false,
            })
        };
        Snapshot {
            generation,
            portals: vec![Arc::new(portal)],
            subsystems: engines.into_iter().map(subsystem).collect(),
            discovery: Discovery::default(),
            referrals: Vec::new(),
            limits: self.limits,
            views: Views::default(),
        }
    }

    /// The first subsystem has another namespace from now on.
    pub(crate) fn add_namespace(&self) {
        let [ours, _] = &self.namespaces;
        let worker = self.worker.as_ref().expect("until the end");
        let change = Change {
            snapshot: self.snapshot(2),
            listeners: Vec::new(),
            namespaces: vec![(Arc::clone(ours), vec![ram(1), ram(2)])],
        };
        worker.apply(change).expect("threads");
    }

    /// A host of a subsystem.
    pub(crate) fn connect(&self, nqn: &str, options: &HostOptions) -> Result<Host> {
        Host::connect(self.io, &nqn.parse().expect("a name"), options)
    }

    /// The metrics as they are now.
    pub(crate) fn scrape(&self) -> Scrape {
        Scrape::read(&self.text())
    }

    pub(crate) fn text(&self) -> String {
        let answer = get(self.http, "/metrics");
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        answer.body
    }

    /// Waits for a sample to have a value: what a connection's end brings comes a moment after it.
    pub(crate) fn await_value(&self, sample: &str, value: f64) -> Scrape {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let scrape = self.scrape();
            let now = scrape.value(sample);
            if now == value {
                return scrape;
            }
            assert!(Instant::now() < deadline, "{sample} is {now}, not {value}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(metrics) = self.metrics.take() {
            metrics.stop();
        }
        if let Some(worker) = self.worker.take() {
            worker.stop();
        }
    }
}

/// An answer to an HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks for a path, as any client would.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    )
}

/// Sends a request and reads the answer until the server closes.
pub(crate) fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = client(address);
    stream.write_all(request.as_bytes()).expect("it listens");
    read(stream)
}

/// A client that has not said anything.
pub(crate) fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    let time = Some(Duration::from_secs(20));
    stream.set_read_timeout(time).expect("a time-out");
    stream
}

/// Reads an answer and judges its length.
pub(crate) fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let length = head
        .lines()
        .find_map(|it| it.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|it| it.parse().ok()).expect("a length");
    assert!(body.is_empty() || body.len() == length, "{head}");
    Answer {
        head: head.into(),
        body: body.into(),
    }
}

/// A listener as the metrics are given it.
pub(crate) fn new(listener: TcpListener) -> (SocketAddr, Option<TcpListener>) {
    (listener.local_addr().expect("bound"), Some(listener))
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

fn ram(nsid: u32) -> Arc<Namespace> {
    let size = RamSize::from_bytes(1 << 20).expect("whole blocks");
    let ids = NamespaceIds {
        uuid: Uuid::from_u128(nsid.into()),
        nguid: [0; 16],
        eui64: [0; 8],
    };
    let disk = Arc::new(Ram::new(size));
    Arc::new(Namespace::new(nsid, DeviceSpec::Ram(size), disk, ids))
}
