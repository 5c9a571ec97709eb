//! What is served, as a test wants it, and hosts that listen for changes.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use nvmf_kmod::Ctl;
use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::admin;
use nvmf_proto::sqe::Sqe;
use nvmfd::config::model::{Digest, Hosts, Referral, SqFlowControl};
use nvmfd::engine::backend::ram::{Ram, RamSize};
use nvmfd::engine::backend::{Backend, DeviceSpec};
use nvmfd::engine::namespace::{Namespace, Namespaces};
use nvmfd::identity::NamespaceIds;
use nvmfd::worker::Worker;
use nvmfd::worker::change::Change;
use nvmfd::worker::snapshot::{
    Discovery, Engine, Limits, Portal, PortalKind, Snapshot, Subsystem, offer,
};
use nvmfd::worker::views::Views;
use nvmfd_tests::peer::{Host, HostOptions, PeerError};
use uuid::Uuid;

pub(crate) type Result<T = ()> = std::result::Result<T, PeerError>;

/// The subsystem that every stage begins with.
pub(crate) const NQN: &str = "nqn.2014-08.org.example:live";

/// Dword 0 of events: namespaces have changed, and the discovery log has.
pub(crate) const NAMESPACES_CHANGED: u64 = 0x0004_0002;
pub(crate) const DISCOVERY_CHANGED: u64 = 0x0070_f002;

/// A worker and what it is to serve; [`Stage::apply`] makes it so.
pub(crate) struct Stage {
    worker: Option<Worker>,
    pub(crate) portals: Vec<Portal>,
    pub(crate) subsystems: Vec<Wanted>,
    pub(crate) discovery: Discovery,
    pub(crate) referrals: Vec<Referral>,
    pub(crate) limits: Limits,
    generation: u64,
    last_portal: u16,
    listeners: Vec<(u16, TcpListener)>,
}

/// A subsystem as it is to be.
pub(crate) struct Wanted {
    pub(crate) nqn: String,
    pub(crate) portals: BTreeSet<u16>,
    pub(crate) hosts: Hosts,
    pub(crate) label: Option<String>,
    pub(crate) terminate_on_revoke: bool,
    pub(crate) engine: Wish,
}

/// Who executes, and on what.
pub(crate) enum Wish {
    User(Arc<Namespaces>, Vec<Arc<Namespace>>),
    Kernel,
}

impl Wanted {
    pub(crate) fn new(nqn: &str, portals: impl IntoIterator<Item = u16>, engine: Wish) -> Self {
        Self {
            nqn: nqn.into(),
            portals: portals.into_iter().collect(),
            hosts: Hosts::Any,
            label: None,
            terminate_on_revoke: false,
            engine,
        }
    }

    pub(crate) fn namespaces(&mut self) -> &mut Vec<Arc<Namespace>> {
        match &mut self.engine {
            Wish::User(_, namespaces) => namespaces,
            Wish::Kernel => panic!("the kernel has them"),
        }
    }

    fn subsystem(&self) -> Subsystem {
        Subsystem {
            nqn: self.nqn.parse().expect("a name"),
            serial: "live".into(),
            label: self.label.clone(),
            portals: self.portals.clone(),
            hosts: self.hosts.clone(),
            engine: match &self.engine {
                Wish::User(namespaces, _) => Engine::Userspace(Arc::clone(namespaces)),
                Wish::Kernel => Engine::Kernel,
            },
            terminate_on_revoke: self.terminate_on_revoke,
        }
    }
}

impl Wish {
    pub(crate) fn user(namespaces: impl IntoIterator<Item = Arc<Namespace>>) -> Self {
        Self::User(Arc::default(), namespaces.into_iter().collect())
    }
}

impl Stage {
    /// An I/O portal (1), one of discovery (2), and a subsystem with one RAM disk.
    pub(crate) fn start() -> Self {
        let subsystem = Wanted::new(NQN, [1], Wish::user([ram(1, 1 << 20)]));
        Self::with(subsystem, None)
    }

    /// The same with this subsystem.
    pub(crate) fn with(subsystem: Wanted, ctl: Option<Ctl>) -> Self {
        let mut stage = Self {
            worker: None,
            portals: Vec::new(),
            subsystems: vec![subsystem],
            discovery: Discovery::default(),
            referrals: Vec::new(),
            limits: Limits::default(),
            generation: 0,
            last_portal: 0,
            listeners: Vec::new(),
        };
        stage.open(PortalKind::Io);
        stage.open(PortalKind::Discovery);
        let change = stage.change();
        for (namespaces, new) in change.namespaces {
            namespaces.replace(new);
        }
        let worker = Worker::start(change.snapshot, change.listeners, 2, ctl);
        stage.worker = Some(worker.expect("threads"));
        stage
    }

    pub(crate) fn worker(&self) -> &Worker {
        self.worker.as_ref().expect("until the end")
    }

    /// Another portal, served from the next change on.
    pub(crate) fn open(&mut self, kind: PortalKind) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        self.last_portal += 1;
        let id = self.last_portal;
        self.portals.push(Portal {
            id,
            name: format!("portal {id}"),
            kind,
            address: listener.local_addr().expect("bound"),
            offer: offer(
                Digest::Allow,
                Digest::Allow,
                256 << 10,
                SqFlowControl::Optional,
            ),
            discovery_nqn: self.discovery.nqn.clone(),
        });
        self.listeners.push((id, listener));
        id
    }

    pub(crate) fn address(&self, portal: u16) -> SocketAddr {
        let portal = self.portals.iter().find(|it| it.id == portal);
        portal.expect("it is there").address
    }

    pub(crate) fn subsystem(&mut self) -> &mut Wanted {
        &mut self.subsystems[0]
    }

    /// What is wanted is served from now on.
    pub(crate) fn apply(&mut self) {
        let change = self.change();
        self.worker().apply(change).expect("threads and listeners");
    }

    fn change(&mut self) -> Change {
        self.generation += 1;
        let namespaces = self.subsystems.iter().filter_map(|it| match &it.engine {
            Wish::User(kept_in, namespaces) => Some((Arc::clone(kept_in), namespaces.clone())),
            Wish::Kernel => None,
        });
        Change {
            snapshot: Snapshot {
                generation: self.generation,
                portals: self.portals.iter().cloned().map(Arc::new).collect(),
                subsystems: self
                    .subsystems
                    .iter()
                    .map(|it| Arc::new(it.subsystem()))
                    .collect(),
                discovery: self.discovery.clone(),
                referrals: self.referrals.clone(),
                limits: self.limits,
                views: Views::default(),
            },
            listeners: std::mem::take(&mut self.listeners),
            namespaces: namespaces.collect(),
        }
    }

    /// A host of the subsystem, through portal 1.
    pub(crate) fn connect(&self, options: &HostOptions) -> Result<Host> {
        Host::connect(self.address(1), &NQN.parse().expect("a name"), options)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.stop();
        }
    }
}

/// A namespace on a backend.
pub(crate) fn namespace(nsid: u32, device: DeviceSpec, backend: Arc<dyn Backend>) -> Namespace {
    let ids = NamespaceIds {
        uuid: Uuid::from_u128(nsid.into()),
        nguid: [0; 16],
        eui64: [0; 8],
    };
    Namespace::new(nsid, device, backend, ids)
}

/// A RAM disk.
pub(crate) fn ram(nsid: u32, bytes: u64) -> Arc<Namespace> {
    let size = RamSize::from_bytes(bytes).expect("whole blocks");
    let disk = Arc::new(Ram::new(size));
    Arc::new(namespace(nsid, DeviceSpec::Ram(size), disk))
}

/// Nobody but this host.
pub(crate) fn only(options: &HostOptions) -> Hosts {
    Hosts::Listed([options.hostnqn.clone()].into())
}

/// A host that stays connected to the discovery controller: without KATO it would be told nothing.
pub(crate) fn discovery(stage: &Stage, options: &HostOptions) -> Result<Host> {
    let options = HostOptions {
        kato: Duration::from_secs(120),
        ..options.clone()
    };
    let mut host = Host::connect_admin(stage.address(2), &Nqn::discovery(), &options)?;
    host.enable()?;
    Ok(host)
}

/// Asks for an event; [`event`] waits for it.
pub(crate) fn listen(host: &mut Host) -> Result<u16> {
    let request = Sqe::new(admin::ASYNC_EVENT_REQUEST, 0);
    let cid = host.admin.submit(request, Payload::None)?;
    host.admin.send_all()?;
    Ok(cid)
}

/// The event that was asked for.
pub(crate) fn event(host: &mut Host, cid: u16) -> Result<u64> {
    let completion = host.admin.await_answer(cid)?.completion;
    assert!(completion.status.is_success(), "{}", completion.status);
    Ok(completion.result)
}

/// The host has not been told of anything that was done before: the worker's messages come before
/// the answer to a command that is sent after them.
pub(crate) fn was_told_nothing(host: &mut Host) -> Result {
    host.keep_alive()?;
    let early = host.admin.ready_answer()?;
    assert!(early.is_none(), "{early:?}");
    Ok(())
}

/// The first entries of a list of NSIDs, as far as it goes.
pub(crate) fn nsids(list: &[u8]) -> Vec<u32> {
    let (entries, _) = list.as_chunks();
    let all = entries.iter().map(|it| u32::from_le_bytes(*it));
    all.take_while(|&nsid| nsid != 0).collect()
}

/// Active namespaces.
pub(crate) fn active(host: &mut Host) -> Result<Vec<u32>> {
    Ok(nsids(&host.identify(0x02, 0)?))
}

/// The Changed Namespace List, which is read to be cleared.
pub(crate) fn changed(host: &mut Host) -> Result<Vec<u32>> {
    let list = host.log_page(0x04, 0, 4096)?;
    Ok(nsids(&list.expect("the list can be read")))
}

/// Blocks of a namespace.
pub(crate) fn blocks(host: &mut Host, nsid: u32) -> Result<u64> {
    let identified = host.identify(0x00, nsid)?;
    Ok(u64::from_le_bytes(
        *identified.first_chunk().expect("4096 bytes"),
    ))
}
