//! The fake kernel's queues, served by nvmfd's own userspace engine.
//!
//! What nvmft does differently from that engine is not played: CNTLIDs begin at 1 and are not reused
//! at once, permanent refusals have Do Not Retry set, and a LUN that is mapped or unmapped while its
//! port is online shows when the port is enabled the next time. Commands are counted when they begin,
//! Compare reads, and what is asked about a namespace or has a list of ranges is not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{LunView, Plane, PortView, Session, StorageView, TakenQueue, Traffic};
use nvmf_proto::connect::ConnectReject;
use nvmfd::config::model::{Access, Digest, Hosts, SqFlowControl};
use nvmfd::control::message::Whose;
use nvmfd::engine::backend::ram::{Ram, RamSize};
use nvmfd::engine::backend::{self, Backend, DeviceSpec};
use nvmfd::engine::namespace::{Namespace, Namespaces};
use nvmfd::engine::record::Record;
use nvmfd::identity::NamespaceIds;
use nvmfd::worker::Worker;
use nvmfd::worker::snapshot::{Engine, Limits, Portal, PortalKind, Snapshot, Subsystem, offer};
use uuid::Uuid;

/// One worker for each port that is online.
#[derive(Debug, Default)]
pub struct EnginePlane {
    ports: RwLock<HashMap<u32, Worker>>,
    /// RAM disks by the instance of their LUN: they outlive the port that shows them.
    ram: Mutex<HashMap<u64, Arc<Ram>>>,
    counters: Mutex<HashMap<u32, Counters>>,
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

    fn backend(&self, lun: &LunView) -> Option<(DeviceSpec, Arc<dyn Backend>)> {
        let opened = match &lun.storage {
            StorageView::Ramdisk { .. } => {
                let size = RamSize::from_bytes(lun.size)?;
                let mut disks = self.ram.lock().unwrap_or_else(PoisonError::into_inner);
                let disk = disks
                    .entry(lun.instance)
                    .or_insert_with(|| Arc::new(Ram::new(size)));
                let disk: Arc<dyn Backend> = Arc::<Ram>::clone(disk);
                return Some((DeviceSpec::Ram(size), disk));
            }
            StorageView::Block(None) => return None,
            StorageView::Block(Some(path)) => {
                let device = DeviceSpec::Path(path.clone());
                let opened = backend::open(&device, Access::ReadWrite);
                opened.map(|opened| (device, opened.backend()))
            }
        };
        match opened {
            Ok(opened) => Some(opened),
            Err(error) => {
                eprintln!("fake kernel: LUN {}: {}", lun.id, error.report());
                None
            }
        }
    }

    fn snapshot(&self, port: &PortView) -> Snapshot {
        let namespaces = port.namespaces.iter().filter_map(|(&nsid, lun)| {
            let (device, backend) = self.backend(lun)?;
            let namespace = Namespace::new(nsid, device, backend, identifiers(lun));
            Some(Arc::new(namespace))
        });
        let subsystem = Subsystem {
            nqn: port.subnqn.parse().expect("the kernel has judged it"),
            serial: port.serial.clone(),
            portals: [port.portid].into(),
            hosts: Hosts::Any,
            engine: Engine::Userspace(Arc::new(Namespaces::new(namespaces))),
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
            })],
            subsystems: vec![Arc::new(subsystem)],
            limits: Limits::default(),
        }
    }
}

impl Plane for EnginePlane {
    fn online(&self, port: PortView) {
        let worker = Worker::start(self.snapshot(&port), Vec::new(), 1, None);
        match worker {
            Ok(worker) => drop(
                self.ports
                    .write()
                    .expect("no panic")
                    .insert(port.id, worker),
            ),
            Err(error) => eprintln!("fake kernel: port {}: {error}", port.id),
        }
    }

    fn offline(&self, port: u32) {
        let worker = self.ports.write().expect("no panic").remove(&port);
        if let Some(worker) = worker {
            worker.stop();
        }
    }

    fn mapped(&self, port: u32, nsid: u32, _: Option<LunView>) {
        eprintln!("fake kernel: port {port}: namespace {nsid} changes at the next enable");
    }

    fn hand_off(&self, port: u32, queue: TakenQueue) -> Result<(), Errno> {
        let ports = self.ports.read().expect("no panic");
        let worker = ports.get(&port).ok_or(Errno::ENXIO)?;
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
            .flat_map(|(&port, worker)| {
                let sessions = worker.sessions().into_iter();
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
        if let Some(worker) = self.ports.read().expect("no panic").get(&port) {
            worker.terminate(&Whose::Cntlid(cntlid));
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
