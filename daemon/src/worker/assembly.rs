//! A snapshot in the making, from the pieces that the monitor sends.
//!
//! What is there already is used again: the same storage is the same backend, and a namespace of which
//! nothing has changed is the same object, so that its hosts are not told of it.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nvmf_proto::nqn::Nqn;
use uuid::Uuid;

use super::change::Change;
use super::snapshot::{Discovery, Engine, Portal, PortalKind, Snapshot, Subsystem, offer};
use super::views::Views;
use crate::config::model::{Hosts, Referral};
use crate::engine::backend::ram::{Ram, RamSize};
use crate::engine::backend::{Backend, DeviceSpec, Facts, Kind, from_parts};
use crate::engine::namespace::{Namespace, Namespaces};
use crate::identity::NamespaceIds;
use crate::ipc::channel::nonsense;
use crate::ipc::message;

/// The pieces so far.
#[derive(Debug)]
pub(super) struct Assembly {
    begin: message::Begin,
    portals: Vec<Arc<Portal>>,
    listeners: Vec<(u16, TcpListener)>,
    subsystems: Vec<Draft>,
    referrals: Vec<Referral>,
    metrics: Vec<(SocketAddr, Option<TcpListener>)>,
}

/// A subsystem in the making.
#[derive(Debug)]
struct Draft {
    subsystem: message::Subsystem,
    nqn: Nqn,
    hosts: BTreeSet<Nqn>,
    namespaces: Vec<Placed>,
}

/// A namespace, and the message that it was made of.
#[derive(Debug, Clone)]
struct Placed {
    message: message::Namespace,
    namespace: Arc<Namespace>,
}

/// What goes on from one snapshot to the next.
#[derive(Debug, Default)]
pub(super) struct Stock {
    storage: BTreeMap<u64, Kept>,
    subsystems: BTreeMap<Nqn, (Arc<Namespaces>, Vec<Placed>)>,
}

/// Storage that is in use.
#[derive(Clone)]
struct Kept {
    facts: Facts,
    backend: Arc<dyn Backend>,
    /// The same, if it is memory: it can change its size.
    memory: Option<Arc<Ram>>,
}

/// Everything that was sent.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) threads: usize,
    pub(super) change: Change,
    /// All sockets of counters; those that are new have a listener.
    pub(super) metrics: Vec<(SocketAddr, Option<TcpListener>)>,
    /// What is in stock once this is served.
    pub(super) stock: Stock,
}

impl Assembly {
    pub(super) fn new(begin: message::Begin) -> Self {
        Self {
            begin,
            portals: Vec::new(),
            listeners: Vec::new(),
            subsystems: Vec::new(),
            referrals: Vec::new(),
            metrics: Vec::new(),
        }
    }

    pub(super) fn portal(
        &mut self,
        portal: message::Portal,
        listener: Option<OwnedFd>,
    ) -> io::Result<()> {
        let discovery_nqn = portal.discovery_nqn.parse().map_err(nonsense)?;
        if let Some(listener) = listener {
            self.listeners.push((portal.id, listener.into()));
        }
        self.portals.push(Arc::new(Portal {
            id: portal.id,
            name: portal.name,
            kind: match portal.io {
                true => PortalKind::Io,
                false => PortalKind::Discovery,
            },
            address: portal.address,
            offer: offer(
                portal.header_digest,
                portal.data_digest,
                portal.maxh2cdata,
                portal.sq_flow_control,
            ),
            discovery_nqn,
        }));
        Ok(())
    }

    pub(super) fn subsystem(&mut self, subsystem: message::Subsystem) -> io::Result<()> {
        let nqn = subsystem.nqn.parse().map_err(nonsense)?;
        self.subsystems.push(Draft {
            subsystem,
            nqn,
            hosts: BTreeSet::new(),
            namespaces: Vec::new(),
        });
        Ok(())
    }

    pub(super) fn hosts(&mut self, hosts: Vec<String>) -> io::Result<()> {
        let draft = self.last()?;
        for host in hosts {
            draft.hosts.insert(host.parse().map_err(nonsense)?);
        }
        Ok(())
    }

    pub(super) fn referral(&mut self, referral: message::Referral) -> io::Result<()> {
        self.referrals.push(Referral {
            address: referral.address,
            nqn: referral.nqn.parse().map_err(nonsense)?,
            hosts: match referral.any_host {
                true => Hosts::Any,
                false => Hosts::Listed(BTreeSet::new()),
            },
            label: referral.label,
        });
        Ok(())
    }

    pub(super) fn referral_hosts(&mut self, names: Vec<String>) -> io::Result<()> {
        let last = self.referrals.last_mut();
        let Some(Hosts::Listed(hosts)) = last.map(|last| &mut last.hosts) else {
            return Err(nonsense("hosts of no referral"));
        };
        for name in names {
            hosts.insert(name.parse().map_err(nonsense)?);
        }
        Ok(())
    }

    pub(super) fn namespace(
        &mut self,
        message: message::Namespace,
        descriptor: Option<OwnedFd>,
        stock: &mut Stock,
    ) -> io::Result<()> {
        let draft = self.last()?;
        let before = stock.subsystems.get(&draft.nqn);
        let before =
            before.and_then(|(_, placed)| placed.iter().find(|it| it.message.nsid == message.nsid));
        let placed = match before {
            Some(same) if same.message == message => same.clone(),
            other => {
                let is_it = |it: &&Placed| it.message.storage == message.storage;
                let succeeds = other.filter(is_it).map(|it| Arc::clone(&it.namespace));
                let backend = stock.backend(message.storage, message.facts, descriptor)?;
                let ids = NamespaceIds {
                    uuid: Uuid::from_bytes(message.uuid),
                    nguid: message.nguid,
                    eui64: message.eui64,
                };
                let device = DeviceSpec::Path(message.device.clone().into());
                let mut namespace = Namespace::new(message.nsid, device, backend, ids);
                if let Some(before) = succeeds {
                    namespace = namespace.succeeding(&before);
                }
                let namespace = Arc::new(namespace);
                Placed { message, namespace }
            }
        };
        draft.namespaces.push(placed);
        Ok(())
    }

    pub(super) fn metrics(&mut self, address: SocketAddr, listener: Option<OwnedFd>) {
        self.metrics.push((address, listener.map(Into::into)));
    }

    fn last(&mut self) -> io::Result<&mut Draft> {
        let last = self.subsystems.last_mut();
        last.ok_or_else(|| nonsense("a piece of no subsystem"))
    }

    /// All of it, as it can be served.
    pub(super) fn assemble(self, mut stock: Stock) -> io::Result<Assembled> {
        let discovery = Discovery {
            nqn: self.begin.discovery_nqn.parse().map_err(nonsense)?,
            show: self.begin.show,
            label: self.begin.label,
        };
        let mut next = Stock::default();
        let mut subsystems = Vec::new();
        let mut replaced = Vec::new();
        for draft in self.subsystems {
            let Draft {
                subsystem,
                nqn,
                hosts,
                namespaces: placed,
            } = draft;
            let engine = match subsystem.kernel {
                true => Engine::Kernel,
                false => {
                    let list: Vec<_> = placed.iter().map(|it| Arc::clone(&it.namespace)).collect();
                    let namespaces = match stock.subsystems.remove(&nqn) {
                        Some((namespaces, _)) => {
                            replaced.push((Arc::clone(&namespaces), list));
                            namespaces
                        }
                        None => Arc::new(Namespaces::new(list)),
                    };
                    for it in &placed {
                        let id = it.message.storage;
                        if let Some(kept) = stock.storage.get(&id) {
                            next.storage.insert(id, kept.clone());
                        }
                    }
                    next.subsystems
                        .insert(nqn.clone(), (Arc::clone(&namespaces), placed));
                    Engine::Userspace(namespaces)
                }
            };
            subsystems.push(Arc::new(Subsystem {
                nqn,
                serial: subsystem.serial,
                label: subsystem.label,
                portals: subsystem.portals.into_iter().collect(),
                hosts: match subsystem.any_host {
                    true => Hosts::Any,
                    false => Hosts::Listed(hosts),
                },
                engine,
                terminate_on_revoke: subsystem.terminate_on_revoke,
            }));
        }
        let snapshot = Snapshot {
            generation: self.begin.generation,
            portals: self.portals,
            subsystems,
            discovery,
            referrals: self.referrals,
            limits: self.begin.limits,
            views: Views::default(),
        };
        Ok(Assembled {
            threads: self.begin.threads,
            change: Change {
                snapshot,
                listeners: self.listeners,
                namespaces: replaced,
            },
            metrics: self.metrics,
            stock: next,
        })
    }
}

impl Stock {
    /// The backend of this storage: the one there is, in the size that it has now, or a new one.
    fn backend(
        &mut self,
        id: u64,
        facts: Facts,
        descriptor: Option<OwnedFd>,
    ) -> io::Result<Arc<dyn Backend>> {
        let kept = match (self.storage.get(&id), facts.kind) {
            (Some(kept), _) if kept.facts == facts => return Ok(Arc::clone(&kept.backend)),
            (before, Kind::Ram) => {
                let size = RamSize::from_bytes(facts.bytes);
                let size = size.ok_or_else(|| nonsense("a RAM disk of no size"))?;
                let memory = match before.and_then(|kept| kept.memory.as_ref()) {
                    Some(ram) => ram.resized(size),
                    None => Ram::new(size),
                };
                let memory = Arc::new(memory.read_only(facts.read_only));
                Kept {
                    facts,
                    backend: memory.clone(),
                    memory: Some(memory),
                }
            }
            (_, Kind::File | Kind::Disk) => Kept {
                facts,
                backend: from_parts(facts, descriptor).map_err(io::Error::other)?,
                memory: None,
            },
        };
        let backend = Arc::clone(&kept.backend);
        self.storage.insert(id, kept);
        Ok(backend)
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts.fmt(f)
    }
}
