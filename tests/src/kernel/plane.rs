//! The fake kernel's queues, served by nvmfd's own userspace engine.
//!
//! What nvmft does differently from that engine is not played: CNTLIDs begin at 1 and are not reused
//! at once, and permanent refusals have Do Not Retry set. Commands are counted when they begin,
//! Compare reads, and what is asked about a namespace or has a list of ranges is not counted. What is
//! mapped or unmapped while its port is online is told to hosts, and a new size is not, as in FreeBSD.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{LunView, Plane, PortView, Session, StorageView, TakenQueue, Traffic};
use nvmf_proto::connect::ConnectReject;
use nvmf_proto::nqn::Nqn;
use nvmfd::config::model::{Access, Digest, Hosts, SqFlowControl};
use nvmfd::control::message::Whose;
use nvmfd::engine::backend::ram::{Ram, RamSize};
use nvmfd::engine::backend::{self, Backend, DeviceSpec, Opened, from_parts};
use nvmfd::engine::namespace::{Namespace, Namespaces};
use nvmfd::engine::record::Record;
use nvmfd::identity::NamespaceIds;
use nvmfd::worker::Worker;
use nvmfd::worker::change::Change;
use nvmfd::worker::snapshot::{
    Discovery, Engine, Limits, Portal, PortalKind, Snapshot, Subsystem, offer,
};
use nvmfd::worker::views::Views;
use uuid::Uuid;

/// One worker for each port that is online.
#[derive(Debug, Default)]
pub struct EnginePlane {
    ports: RwLock<HashMap<u32, Online>>,
    /// RAM disks by the instance of their LUN: they outlive the port that shows them.
    ram: Mutex<HashMap<u64, Arc<Ram>>>,
    counters: Mutex<HashMap<u32, Counters>>,
}

/// A port that hosts use.
#[derive(Debug)]
struct Online {
    worker: Worker,
    port: PortView,
    /// What hosts see, by NSID; the worker has it as `namespaces`.
    shown: BTreeMap<u32, Shown>,
    namespaces: Arc<Namespaces>,
}

/// A LUN that is a namespace.
#[derive(Debug)]
struct Shown {
    instance: u64,
    /// Its file or disk, with the lock.
    opened: Option<Opened>,
    namespace: Arc<Namespace>,
}

/// What the controllers of one port have counted. It outlives them.
#[derive(Debug, Default)]
struct Counters {
    /// Those of controllers that are gone.
    gone: Traffic,
    records: Vec<Arc<Record>>,
}

impl Counters {
    fn traffic(&self) -> Traffic {
        let mut sum = self.gone;
        for record in &self.records {
            sum += traffic(record);
        }
        sum
    }

    /// Adds a controller, and adds up those that nobody but us counts on.
    fn add(&mut self, record: Arc<Record>) {
        let gone = |record: &mut Arc<Record>| Arc::strong_count(record) == 1;
        for record in self.records.extract_if(.., gone) {
            self.gone += traffic(&record);
        }
        self.records.push(record);
    }
}

fn traffic(record: &Record) -> Traffic {
    let counted = record.statistics();
    Traffic {
        reads: counted.reads,
        writes: counted.writes,
        bytes_read: counted.bytes_read,
        bytes_written: counted.bytes_written,
    }
}

impl EnginePlane {
    fn counters(&self) -> MutexGuard<'_, HashMap<u32, Counters>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A LUN as namespace `nsid`, which was `before`: one that was modified keeps its storage.
    fn show(&self, nsid: u32, lun: &LunView, before: Option<Shown>) -> Option<Shown> {
        let before = before.filter(|it| it.instance == lun.instance);
        let ids = identifiers(lun);
        if let StorageView::Ramdisk { .. } = &lun.storage {
            let size = RamSize::from_bytes(lun.size)?;
            let backend: Arc<dyn Backend> = self.memory(lun.instance, size);
            let namespace = Namespace::new(nsid, DeviceSpec::Ram(size), backend, ids);
            return Some(Shown::new(lun, None, namespace, before.as_ref()));
        }
        let StorageView::Block(Some(path)) = &lun.storage else {
            return None;
        };
        let device = DeviceSpec::Path(path.clone());
        let (opened, before) = match before {
            Some(mut before) => (before.opened.take(), Some(before)),
            None => (None, None),
        };
        let opened = match opened.map_or_else(|| backend::open(&device, Access::ReadWrite), Ok) {
            Ok(opened) => opened,
            Err(error) => {
                eprintln!("fake kernel: LUN {}: {}", lun.id, error.report());
                return None;
            }
        };
        match serve(&opened) {
            Ok(backend) => {
                let namespace = Namespace::new(nsid, device, backend, ids);
                Some(Shown::new(lun, Some(opened), namespace, before.as_ref()))
            }
            Err(error) => {
                eprintln!("fake kernel: LUN {}: {error}", lun.id);
                None
            }
        }
    }

    /// The RAM disk of a LUN, which has this size now.
    fn memory(&self, instance: u64, size: RamSize) -> Arc<Ram> {
        let mut disks = self.ram.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = disks.entry(instance);
        let disk = disk.or_insert_with(|| Arc::new(Ram::new(size)));
        let now = disk.geometry();
        if now.blocks * u64::from(now.block_size) != size.bytes() {
            *disk = Arc::new(disk.resized(size));
        }
        Arc::clone(disk)
    }
}

/// A backend on what is open, as large as it is now.
fn serve(opened: &Opened) -> io::Result<Arc<dyn Backend>> {
    let descriptor = opened.descriptor().map(|it| it.try_clone_to_owned());
    from_parts(opened.look_again()?, descriptor.transpose()?).map_err(io::Error::other)
}

impl Shown {
    fn new(
        lun: &LunView,
        opened: Option<Opened>,
        namespace: Namespace,
        before: Option<&Self>,
    ) -> Self {
        let namespace = match before {
            Some(before) => namespace.succeeding(&before.namespace),
            None => namespace,
        };
        Self {
            instance: lun.instance,
            opened,
            namespace: Arc::new(namespace),
        }
    }
}

impl Online {
    fn start(port: PortView, shown: BTreeMap<u32, Shown>) -> io::Result<Self> {
        let all = shown.values().map(|it| Arc::clone(&it.namespace));
        let namespaces = Arc::new(Namespaces::new(all));
        let worker = Worker::start(snapshot(&port, &namespaces), Vec::new(), 1, None)?;
        Ok(Self {
            worker,
            port,
            shown,
            namespaces,
        })
    }

    fn all(&self) -> Vec<Arc<Namespace>> {
        let shown = self.shown.values();
        shown.map(|it| Arc::clone(&it.namespace)).collect()
    }

    /// Has hosts see what is shown, and tells them what is another namespace.
    fn update(&self) -> io::Result<()> {
        self.worker.apply(Change {
            snapshot: snapshot(&self.port, &self.namespaces),
            listeners: Vec::new(),
            namespaces: vec![(Arc::clone(&self.namespaces), self.all())],
        })
    }
}

fn snapshot(port: &PortView, namespaces: &Arc<Namespaces>) -> Snapshot {
    let subsystem = Subsystem {
        nqn: port.subnqn.parse().expect("the kernel has judged it"),
        serial: port.serial.clone(),
        label: None,
        portals: [port.portid].into(),
        hosts: Hosts::Any,
        engine: Engine::Userspace(Arc::clone(namespaces)),
        terminate_on_revoke: false,
    };
    Snapshot {
        generation: 1,
        portals: vec![Arc::new(Portal {
            id: port.portid,
            name: port.id.to_string(),
            kind: PortalKind::Io,
            address: ([0, 0, 0, 0], 0).into(),
            offer: offer(
                Digest::Allow,
                Digest::Allow,
                256 << 10,
                SqFlowControl::Optional,
            ),
            discovery_nqn: Nqn::discovery(),
        })],
        subsystems: vec![Arc::new(subsystem)],
        discovery: Discovery::default(),
        referrals: Vec::new(),
        limits: Limits::default(),
        views: Views::default(),
    }
}

impl Plane for EnginePlane {
    fn online(&self, port: PortView) {
        let id = port.id;
        let luns = port.namespaces.iter();
        let shown = luns.filter_map(|(&nsid, lun)| Some((nsid, self.show(nsid, lun, None)?)));
        let shown = shown.collect();
        match Online::start(port, shown) {
            Ok(online) => drop(self.ports.write().expect("no panic").insert(id, online)),
            Err(error) => eprintln!("fake kernel: port {id}: {error}"),
        }
    }

    fn offline(&self, port: u32) {
        let online = self.ports.write().expect("no panic").remove(&port);
        if let Some(online) = online {
            online.worker.stop();
        }
    }

    fn mapped(&self, port: u32, nsid: u32, lun: Option<LunView>) {
        let mut ports = self.ports.write().expect("no panic");
        let Some(online) = ports.get_mut(&port) else {
            return;
        };
        let before = online.shown.remove(&nsid);
        let instance = lun.as_ref().map(|lun| lun.instance);
        let is_same = before.is_some() && before.as_ref().map(|it| it.instance) == instance;
        let shown = lun.and_then(|lun| self.show(nsid, &lun, before));
        online.shown.extend(shown.map(|shown| (nsid, shown)));
        if is_same {
            // FreeBSD BUG: ctl_lun_capacity_changed() has a unit attention for SCSI's hosts, and nvmft
            // does not hear of it. What is the same already is not told.
            online.namespaces.replace(online.all());
        }
        if let Err(error) = online.update() {
            eprintln!("fake kernel: port {port}: namespace {nsid}: {error}");
        }
    }

    fn hand_off(&self, port: u32, queue: TakenQueue) -> Result<(), Errno> {
        let ports = self.ports.read().expect("no panic");
        let worker = &ports.get(&port).ok_or(Errno::ENXIO)?.worker;
        let is_admin = queue.qid() == 0;
        let admitted = queue
            .handoff()
            .and_then(|handoff| worker.adopt(queue.socket, handoff));
        match admitted {
            Ok(cntlid) => {
                if is_admin && let Some(record) = worker.record_of(cntlid) {
                    self.counters().entry(port).or_default().add(record);
                }
                Ok(())
            }
            Err(ConnectReject::BUSY) => Err(Errno::ENOMEM),
            Err(ConnectReject::CNTLID) => Err(Errno::ENOENT),
            Err(_) => Err(Errno::EINVAL),
        }
    }

    fn sessions(&self) -> Vec<Session> {
        let ports = self.ports.read().expect("no panic");
        let mut sessions: Vec<_> = ports
            .iter()
            .flat_map(|(&port, online)| {
                let sessions = online.worker.sessions().into_iter();
                sessions.map(move |session| Session {
                    port,
                    cntlid: session.cntlid,
                    hostnqn: session.hostnqn,
                })
            })
            .collect();
        sessions.sort_by_key(|session| (session.port, session.cntlid));
        sessions
    }

    fn traffic(&self, port: u32) -> Traffic {
        let counters = self.counters();
        counters
            .get(&port)
            .map_or_else(Traffic::default, Counters::traffic)
    }

    fn terminate(&self, port: u32, cntlid: u16) {
        if let Some(online) = self.ports.read().expect("no panic").get(&port) {
            online.worker.terminate(&Whose::Cntlid(cntlid));
        }
    }
}

/// What the LUN is known by, as nvmft takes it from the LUN's options.
fn identifiers(lun: &LunView) -> NamespaceIds {
    let eui = lun.eui.as_deref().unwrap_or_default();
    let eui = u128::from_str_radix(eui, 16).unwrap_or_default();
    let uuid = lun.uuid.as_deref().and_then(|uuid| uuid.parse().ok());
    NamespaceIds {
        uuid: uuid.unwrap_or(Uuid::nil()),
        nguid: eui.to_be_bytes(),
        eui64: [0; 8],
    }
}
