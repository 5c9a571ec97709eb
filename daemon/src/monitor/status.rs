//! What is served and how the daemon is, for operators.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Monitor;
use super::child::Child;
use super::kernel::{self, serial};
use super::resources::{Bound, Resources};
use super::supply::discovery_nqn;
use crate::banner::{Banner, Banners, Served, own_addresses};
use crate::config::Config;
use crate::config::model::{
    Access, Digest, Disk, Hosts, KernelLun, Medium, Namespaces, SqFlowControl, Subsystem,
};
use crate::confinement::Confinement;
use crate::control::message::{self, Mode, Status, Worker};
use crate::engine::backend::{DeviceSpec, Geometry};
use crate::error::StartupError;

impl Monitor<'_> {
    /// All of it.
    pub(super) fn status(&mut self) -> Status {
        let sessions = self.sessions().sessions;
        let kernel = self.kernel.as_ref();
        let traffic = kernel.and_then(|kernel| kernel.traffic().ok());
        let traffic = traffic.unwrap_or_default();
        let counts = self.ask(Child::counts).unwrap_or_default();
        let limits = self.ask(Child::limits).unwrap_or_default();
        let failing = self.ask(Child::failing).unwrap_or_default();
        let count = |nqn: &str| {
            let of_it = sessions.iter().filter(|it| it.subsystem == nqn);
            u64::try_from(of_it.count()).unwrap_or(u64::MAX)
        };
        let worker = self.worker.as_ref();
        let bound = self.resources.portals.iter();
        Status {
            release: crate::RELEASE.into(),
            pid: std::process::id(),
            started: seconds(self.started),
            config: self.options.config.clone(),
            loaded: seconds(self.loaded),
            reload_failed: self.reload_failed.clone(),
            worker: Worker {
                pid: worker.map(Child::process),
                started: worker.map_or(0, |worker| seconds(worker.started())),
                restarts: self.restarts.count,
                confinement: worker
                    .map_or_else(Confinement::default, |worker| worker.confinement.clone()),
            },
            announcer: self.announcing.status(),
            draining: self.draining,
            log: self.verbosity.get().to_string(),
            refused: counts.refused,
            negotiating: counts.negotiating,
            limits,
            stalled: counts.stalled,
            memory: counts.memory,
            portals: bound.map(|it| portal(&self.config, it)).collect(),
            discovery: discovery(&self.config),
            subsystems: self
                .config
                .subsystems
                .iter()
                .map(|it| {
                    let mut subsystem = message::Subsystem {
                        sessions: count(it.nqn.as_str()),
                        traffic: traffic.get(it.nqn.as_str()).copied(),
                        ..self.subsystem(it)
                    };
                    for namespace in &mut subsystem.namespaces {
                        let place = (subsystem.nqn.as_str(), namespace.nsid);
                        let its = failing
                            .iter()
                            .filter(|it| (it.nqn.as_str(), it.nsid) == place);
                        namespace.failing = its.map(|it| it.failing.clone()).collect();
                    }
                    subsystem
                })
                .collect(),
        }
    }

    fn subsystem(&self, subsystem: &Subsystem) -> message::Subsystem {
        let named = subsystem.portals.iter();
        let portals = named.filter_map(|&index| Some(self.config.portals.get(index)?.name.clone()));
        message::Subsystem {
            nqn: subsystem.nqn.to_string(),
            mode: match kernel::is_kernel(subsystem) {
                true => Mode::Kernel,
                false => Mode::User,
            },
            serial: serial(subsystem, self.host),
            label: subsystem.label.clone(),
            portals: portals.collect(),
            hosts: listed(&subsystem.hosts),
            namespaces: self.namespaces(subsystem),
            sessions: 0,
            traffic: None,
        }
    }

    fn namespaces(&self, subsystem: &Subsystem) -> Vec<message::Namespace> {
        let disk = |nsid: u32, disk: &Disk| {
            let held = self.resources.storage.get(&subsystem.nqn, nsid);
            let ram = match &disk.medium {
                Medium::Ram(size) => Some(size.bytes()),
                Medium::Path(_) => None,
            };
            message::Namespace {
                nsid,
                device: disk.medium.device().to_string(),
                bytes: held.map(|held| held.facts.bytes).or(ram),
                block_size: held.map(|held| held.facts.block_size),
                uuid: Some(kernel::ids(&subsystem.nqn, nsid, disk).uuid.to_string()),
                read_only: disk.access == Access::ReadOnly,
                failing: Vec::new(),
            }
        };
        match &subsystem.namespaces {
            Namespaces::User(disks) => disks.iter().map(|(&nsid, it)| disk(nsid, it)).collect(),
            Namespaces::Kernel(luns) => {
                let lun = |(&nsid, lun): (&u32, &KernelLun)| match lun {
                    KernelLun::Ours {
                        disk: it,
                        block_size,
                    } => message::Namespace {
                        block_size: *block_size,
                        ..disk(nsid, it)
                    },
                    KernelLun::Existing(id) => message::Namespace {
                        nsid,
                        device: DeviceSpec::Lun(id.0).to_string(),
                        bytes: None,
                        block_size: None,
                        uuid: None,
                        read_only: false,
                        failing: Vec::new(),
                    },
                };
                luns.iter().map(lun).collect()
            }
            Namespaces::EveryLun => Vec::new(),
        }
    }

    /// What the banner says of each subsystem.
    ///
    /// # Errors
    /// The kernel's, which knows what is behind its namespaces.
    pub(super) fn banners(&self) -> Result<Banners, StartupError> {
        let (discovery_listen, own_addresses) =
            (self.resources.discovery_addresses(), own_addresses());
        let served = |subsystem: &Subsystem| {
            let kernel = kernel::is_kernel(subsystem);
            let namespaces = match (&self.kernel, kernel) {
                (Some(open), true) => open.served(&subsystem.nqn)?,
                _ => self.served_by_us(subsystem),
            };
            let portals = self.resources.portals_of(&self.config, subsystem);
            let bound = self.resources.portals.iter();
            let bound: Vec<_> = bound.filter(|it| portals.contains(&it.id)).collect();
            let offers = |offered: fn(&Bound) -> bool| bound.iter().any(|it| offered(it));
            Ok(Banner {
                nqn: subsystem.nqn.clone(),
                kernel,
                namespaces,
                listen: bound.iter().map(|it| it.address).collect(),
                discovery_listen: discovery_listen.clone(),
                own_addresses: own_addresses.clone(),
                header_digest: offers(|it| it.portal.header_digest != Digest::Off),
                data_digest: offers(|it| it.portal.data_digest != Digest::Off),
                optional_flow_control: offers(|it| {
                    it.portal.sq_flow_control == SqFlowControl::Optional
                }),
            })
        };
        let banners: Result<_, StartupError> = self.config.subsystems.iter().map(served).collect();
        banners.map(Banners)
    }

    fn served_by_us(&self, subsystem: &Subsystem) -> Vec<Served> {
        let Namespaces::User(disks) = &subsystem.namespaces else {
            return Vec::new();
        };
        let served = |(&nsid, disk): (&u32, &Disk)| {
            let held = self.resources.storage.get(&subsystem.nqn, nsid)?;
            Some(Served {
                nsid,
                device: match &disk.medium {
                    Medium::Ram(_) => "RAM disk".into(),
                    Medium::Path(_) => disk.medium.device().to_string(),
                },
                geometry: Geometry {
                    blocks: held.facts.bytes / u64::from(held.facts.block_size),
                    block_size: held.facts.block_size,
                },
                uuid: Some(kernel::ids(&subsystem.nqn, nsid, disk).uuid),
            })
        };
        disks.iter().filter_map(served).collect()
    }
}

impl Resources {
    /// Where discovery alone is answered, as bound.
    pub(super) fn discovery_addresses(&self) -> Vec<SocketAddr> {
        let discovery = self.portals.iter().filter(|bound| !bound.io);
        discovery.map(|bound| bound.address).collect()
    }
}

fn discovery(config: &Config) -> message::Discovery {
    let referrals = config.referrals.iter().map(|it| message::Referral {
        address: it.address,
        nqn: it.nqn.to_string(),
        hosts: listed(&it.hosts),
        label: it.label.clone(),
    });
    message::Discovery {
        nqn: discovery_nqn(config, None).to_string(),
        show: config.discovery.show,
        label: config.discovery.label.clone(),
        referrals: referrals.collect(),
    }
}

fn listed(hosts: &Hosts) -> Option<Vec<String>> {
    match hosts {
        Hosts::Any => None,
        Hosts::Listed(hosts) => Some(hosts.iter().map(ToString::to_string).collect()),
    }
}

fn portal(config: &Config, bound: &Bound) -> message::Portal {
    let digest = |digest: Digest| match digest {
        Digest::Off => "off",
        Digest::Allow => "allow",
        Digest::Require => "require",
    };
    message::Portal {
        name: bound.portal.name.clone(),
        io: bound.io,
        address: bound.address,
        portid: bound.id,
        header_digest: digest(bound.portal.header_digest).into(),
        data_digest: digest(bound.portal.data_digest).into(),
        discovery_nqn: discovery_nqn(config, Some(&bound.portal)).to_string(),
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
