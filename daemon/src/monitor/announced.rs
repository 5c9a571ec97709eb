//! What there is to announce, by the configuration and what is bound for it.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use nvmf_proto::nqn::Nqn;

use super::resources::{Bound, Resources};
use super::supply::discovery_nqn;
use crate::config::Config;
use crate::config::model::Announce;
use crate::identity::HostIdentity;
use crate::ipc::ToAnnouncer;
use crate::ipc::announcement::{Entity, Portal, Service, Subsystem};

/// Everything that the announcer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    entity: Entity,
    /// Where discovery is to be found by multicast DNS.
    pub(super) services: Vec<Service>,
    /// The Centralized Discovery Controllers to register with.
    pub(super) cdcs: Vec<SocketAddr>,
    portals: Vec<Portal>,
    subsystems: Vec<Subsystem>,
}

impl Announced {
    /// What there is, if anything is asked for.
    pub(super) fn of(config: &Config, resources: &Resources, host: &HostIdentity) -> Option<Self> {
        if config.announce == Announce::default() {
            return None;
        }
        let mut announced = Self {
            entity: Entity {
                hostnqn: config
                    .discovery
                    .nqn
                    .as_ref()
                    .map_or_else(|| host.subsystem_nqn().to_string(), Nqn::to_string),
                hostid: host.uuid.into_bytes(),
                eid: host.subsystem_nqn().to_string(),
            },
            services: Vec::new(),
            cdcs: config.announce.register.clone(),
            portals: Vec::new(),
            subsystems: Vec::new(),
        };
        if config.announce.mdns {
            announced.services = services(config, resources);
        }
        if !config.announce.register.is_empty() {
            let io = resources.portals.iter().filter(|bound| bound.io);
            announced.portals = io.map(portal).collect();
            let subsystem = |it: &crate::config::model::Subsystem| Subsystem {
                nqn: it.nqn.to_string(),
                label: it.label.clone(),
                portals: resources.portals_of(config, it),
            };
            announced.subsystems = config.subsystems.iter().map(subsystem).collect();
        }
        Some(announced)
    }

    /// This, and nothing else.
    #[cfg(test)]
    pub(super) fn for_tests(entity: Entity, services: Vec<Service>, cdcs: Vec<SocketAddr>) -> Self {
        Self {
            entity,
            services,
            cdcs,
            portals: Vec::new(),
            subsystems: Vec::new(),
        }
    }

    /// How many things there are of which it tells how they fare.
    pub(super) fn talkative(&self) -> u32 {
        u32::try_from(self.services.len() + self.cdcs.len()).unwrap_or(u32::MAX)
    }

    /// All of it, piece by piece.
    pub(super) fn messages(&self) -> impl Iterator<Item = ToAnnouncer> {
        let services = self.services.iter().cloned().map(ToAnnouncer::Service);
        let cdcs = self.cdcs.iter().copied().map(ToAnnouncer::Cdc);
        let portals = self.portals.iter().cloned().map(ToAnnouncer::Portal);
        let subsystems = self.subsystems.iter().cloned();
        std::iter::once(ToAnnouncer::Begin(self.entity.clone()))
            .chain(services)
            .chain(cdcs)
            .chain(portals)
            .chain(subsystems.map(ToAnnouncer::Subsystem))
            .chain(std::iter::once(ToAnnouncer::Commit))
    }
}

/// Discovery's own listeners; where it has none, those of the portals, which answer it too.
fn services(config: &Config, resources: &Resources) -> Vec<Service> {
    let alone = resources.portals.iter().any(|bound| !bound.io);
    let bound = resources.portals.iter().filter(|bound| bound.io != alone);
    let service = |bound: &Bound| Service {
        address: bound.address,
        nqn: discovery_nqn(config, Some(&bound.portal)).to_string(),
    };
    bound.map(service).collect()
}

fn portal(bound: &Bound) -> Portal {
    Portal {
        id: bound.id,
        address: bound.address,
    }
}
