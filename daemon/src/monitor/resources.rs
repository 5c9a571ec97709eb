//! What a configuration needs of the system: listeners and open storage.
//!
//! A reload takes over what the one before has, so that no listener closes and no disk is opened
//! twice; what it does not need any more goes when the last who holds it does. Acquiring changes
//! nothing that is served: one that fails leaves no trace.

#![forbid(unsafe_code)]

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::storage::Storage;
use crate::cli::Listen;
use crate::config::Config;
use crate::config::model::{Access, Digest, MAXH2CDATA, Namespaces, Portal, SqFlowControl};
use crate::error::{Service, StartupError};
use crate::listen;

/// Everything that a configuration needs.
#[derive(Debug, Default)]
pub(super) struct Resources {
    /// Those of portals first, then those of discovery.
    pub(super) portals: Vec<Bound>,
    /// What user mode serves.
    pub(super) storage: Storage,
    /// Where counters are read.
    pub(super) metrics: Vec<(SocketAddr, Arc<TcpListener>)>,
}

/// A portal on one of its addresses.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// PORTID.
    pub(super) id: u16,
    /// Its settings.
    pub(super) portal: Arc<Portal>,
    /// Whether subsystems are served here.
    pub(super) io: bool,
    /// As bound: with the port that the system chose.
    pub(super) address: SocketAddr,
    /// As asked for.
    wanted: SocketAddr,
    listener: Arc<TcpListener>,
}

/// The last numbers that were given.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Numbers {
    portal: u16,
    storage: u64,
}

impl Bound {
    /// Its listener's descriptor.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Resources {
    /// Binds and opens what `config` needs, or takes it over from `before`.
    ///
    /// # Errors
    /// The first address or device that is not to be had.
    pub(super) fn acquire(
        config: &Config,
        before: &Self,
        numbers: &mut Numbers,
    ) -> Result<Self, StartupError> {
        let mut resources = Self::default();
        for portal in &config.portals {
            let portal = Arc::new(portal.clone());
            resources.listen(&portal, Service::Io, before, numbers)?;
        }
        let discovery = Arc::new(discovery(&config.discovery.listen));
        resources.listen(&discovery, Service::Discovery, before, numbers)?;
        for &address in &config.metrics {
            let mut kept = before.metrics.iter();
            let listener = match kept.find(|(wanted, _)| *wanted == address) {
                Some((_, listener)) => Arc::clone(listener),
                None => {
                    let bound = listen::bind(&Listen::At(vec![address]), Service::Metrics)?;
                    let listener = bound.into_iter().next().map(|(_, listener)| listener);
                    Arc::new(listener.expect("one address, one listener"))
                }
            };
            resources.metrics.push((address, listener));
        }
        // Who writes comes first: who only reads the same storage is under its lock.
        for access in [Access::ReadWrite, Access::ReadOnly] {
            resources.open(config, access, before, numbers)?;
        }
        Ok(resources)
    }

    fn open(
        &mut self,
        config: &Config,
        access: Access,
        before: &Self,
        numbers: &mut Numbers,
    ) -> Result<(), StartupError> {
        for subsystem in &config.subsystems {
            let Namespaces::User(disks) = &subsystem.namespaces else {
                continue;
            };
            for (&nsid, disk) in disks.iter().filter(|(_, disk)| disk.access == access) {
                let place = (subsystem.nqn.clone(), nsid);
                let last = &mut numbers.storage;
                self.storage.hold(place, disk, &before.storage, last)?;
            }
        }
        Ok(())
    }

    /// Lets hosts connect to everything that is bound.
    ///
    /// # Errors
    /// An address that another program has taken at this moment.
    pub(super) fn listen_all(&self) -> Result<(), StartupError> {
        for bound in &self.portals {
            let service = match bound.io {
                true => Service::Io,
                false => Service::Discovery,
            };
            listen::open(&bound.listener)
                .map_err(|error| StartupError::listening(bound.address, service, error))?;
        }
        for (address, listener) in &self.metrics {
            listen::open(listener)
                .map_err(|error| StartupError::listening(*address, Service::Metrics, error))?;
        }
        Ok(())
    }

    fn listen(
        &mut self,
        portal: &Arc<Portal>,
        service: Service,
        before: &Self,
        numbers: &mut Numbers,
    ) -> Result<(), StartupError> {
        let io = service == Service::Io;
        let kept: Vec<&Bound> = portal
            .listen
            .addresses()
            .iter()
            .filter_map(|&address| before.bound(address, &portal.name))
            .collect();
        let missing: Vec<SocketAddr> = portal
            .listen
            .addresses()
            .into_iter()
            .filter(|address| !kept.iter().any(|bound| bound.wanted == *address))
            .collect();
        for bound in &kept {
            self.portals.push(Bound {
                portal: Arc::clone(portal),
                io,
                ..Bound::clone(bound)
            });
        }
        for &address in &missing {
            if let Some(taken) = before.in_the_way(address) {
                return Err(StartupError::AddressOurs { address, taken });
            }
        }
        let listeners = match (&portal.listen, &kept[..]) {
            (everywhere @ Listen::Everywhere { .. }, []) => listen::bind(everywhere, service)?,
            (Listen::Everywhere { .. }, [other, ..]) => {
                listen::bind_beside(other.address, &missing, service)?
            }
            (Listen::At(_), _) => listen::bind(&Listen::At(missing), service)?,
        };
        for (wanted, listener) in listeners {
            let address = listener
                .local_addr()
                .map_err(|source| StartupError::System {
                    what: "name a listener",
                    source,
                })?;
            self.portals.push(Bound {
                id: self.next_portal(before, numbers),
                portal: Arc::clone(portal),
                io,
                address,
                wanted,
                listener: Arc::new(listener),
            });
        }
        Ok(())
    }

    /// A number that neither has: hosts and connections know portals by it.
    fn next_portal(&self, before: &Self, numbers: &mut Numbers) -> u16 {
        let used = |id| {
            let mut all = self.portals.iter().chain(&before.portals);
            all.any(|bound| bound.id == id)
        };
        loop {
            numbers.portal = numbers.portal.checked_add(1).unwrap_or(1);
            if !used(numbers.portal) {
                return numbers.portal;
            }
        }
    }

    /// The listener that was bound to this address. One whose port the system chose is its portal's.
    fn bound(&self, wanted: SocketAddr, name: &str) -> Option<&Bound> {
        self.portals.iter().find(|bound| {
            bound.wanted == wanted && (wanted.port() != 0 || bound.portal.name == name)
        })
    }

    /// A listener of ours that has an address which overlaps, and so keeps it from being bound.
    fn in_the_way(&self, address: SocketAddr) -> Option<SocketAddr> {
        let overlaps = |bound: &&Bound| {
            let theirs = bound.address;
            address.port() != 0
                && theirs.port() == address.port()
                && theirs.is_ipv4() == address.is_ipv4()
                && (theirs.ip().is_unspecified() || address.ip().is_unspecified())
        };
        let bound = self.portals.iter().find(overlaps)?;
        Some(bound.address)
    }
}

/// What discovery's own listeners are like.
fn discovery(listen: &Listen) -> Portal {
    Portal {
        name: DISCOVERY.into(),
        listen: listen.clone(),
        header_digest: Digest::Allow,
        data_digest: Digest::Allow,
        sq_flow_control: SqFlowControl::Optional,
        maxh2cdata: MAXH2CDATA,
        discovery_nqn: None,
    }
}

/// What the listeners of discovery alone are called.
const DISCOVERY: &str = "discovery";
