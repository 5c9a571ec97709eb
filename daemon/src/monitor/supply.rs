//! What is served, told to a worker piece by piece, with the descriptors that it lacks.

#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nvmf_proto::nqn::Nqn;

use super::child::{Child, Lost};
use super::resources::{Bound, Resources};
use super::{descriptors, kernel};
use crate::config::Config;
use crate::config::model::{self, Hosts, Namespaces, Subsystem};
use crate::engine::backend::{Facts, Kind};
use crate::identity::HostIdentity;
use crate::ipc::message::{Begin, HOSTS_MAX, Namespace, Portal, Referral, ToWorker};
use crate::os::Purpose;

/// A configuration and what it needs.
pub(super) struct Supply<'a> {
    pub(super) config: &'a Config,
    pub(super) resources: &'a Resources,
    /// GENCTR.
    pub(super) generation: u64,
    pub(super) host: &'a HostIdentity,
    /// What the worker has already; nothing, if it is new.
    pub(super) has: &'a Resources,
}

/// A worker that takes the pieces, but not at its leisure.
struct Delivery<'a> {
    child: &'a Child,
    until: Instant,
}

impl Delivery<'_> {
    fn tell(
        &self,
        message: &ToWorker,
        descriptor: Option<(BorrowedFd<'_>, Purpose)>,
    ) -> Result<(), Lost> {
        match Instant::now() < self.until {
            true => self.child.tell(message, descriptor),
            false => Err(Lost::Silent),
        }
    }
}

impl Supply<'_> {
    /// Has the worker serve it from now on.
    pub(super) fn give(&self, child: &Child) -> Result<(), Lost> {
        let delivery = Delivery {
            child,
            until: Instant::now() + DELIVERY_TIME,
        };
        self.deliver(&delivery)?;
        child.commit()
    }

    fn deliver(&self, to: &Delivery<'_>) -> Result<(), Lost> {
        let begin = Begin {
            generation: self.generation,
            discovery_nqn: discovery_nqn(self.config, None).to_string(),
            show: self.config.discovery.show,
            label: self.config.discovery.label.clone(),
            threads: threads(self.config),
            limits: descriptors::limits(self.config, self.resources),
        };
        to.tell(&ToWorker::Begin(begin), None)?;
        for bound in &self.resources.portals {
            self.portal(to, bound)?;
        }
        for subsystem in &self.config.subsystems {
            self.subsystem(to, subsystem)?;
        }
        for referral in &self.config.referrals {
            self.referral(to, referral)?;
        }
        for (address, listener) in &self.resources.metrics {
            use std::os::fd::AsFd;

            let known = self.has.metrics.iter().any(|(had, _)| had == address);
            let descriptor = (!known).then(|| (listener.as_fd(), Purpose::Listener));
            to.tell(&ToWorker::Metrics(*address), descriptor)?;
        }
        Ok(())
    }

    fn portal(&self, to: &Delivery<'_>, bound: &Bound) -> Result<(), Lost> {
        let known = self.has.portals.iter().any(|had| had.id == bound.id);
        let portal = Portal {
            id: bound.id,
            name: bound.portal.name.clone(),
            io: bound.io,
            address: bound.address,
            header_digest: bound.portal.header_digest,
            data_digest: bound.portal.data_digest,
            sq_flow_control: bound.portal.sq_flow_control,
            maxh2cdata: bound.portal.maxh2cdata,
            discovery_nqn: discovery_nqn(self.config, Some(&bound.portal)).to_string(),
        };
        let descriptor = (!known).then(|| (bound.descriptor(), Purpose::Listener));
        to.tell(&ToWorker::Portal(portal), descriptor)
    }

    fn referral(&self, to: &Delivery<'_>, referral: &model::Referral) -> Result<(), Lost> {
        let message = Referral {
            address: referral.address,
            nqn: referral.nqn.to_string(),
            any_host: referral.hosts == Hosts::Any,
            label: referral.label.clone(),
        };
        to.tell(&ToWorker::Referral(message), None)?;
        hosts(to, &referral.hosts, ToWorker::ReferralHosts)
    }

    fn subsystem(&self, to: &Delivery<'_>, subsystem: &Subsystem) -> Result<(), Lost> {
        let message = crate::ipc::message::Subsystem {
            nqn: subsystem.nqn.to_string(),
            serial: kernel::serial(subsystem, self.host),
            label: subsystem.label.clone(),
            portals: self.resources.portals_of(self.config, subsystem),
            kernel: kernel::is_kernel(subsystem),
            any_host: subsystem.hosts == Hosts::Any,
            terminate_on_revoke: subsystem.terminate_on_revoke,
        };
        to.tell(&ToWorker::Subsystem(message), None)?;
        hosts(to, &subsystem.hosts, ToWorker::Hosts)?;
        let Namespaces::User(disks) = &subsystem.namespaces else {
            return Ok(());
        };
        for (&nsid, disk) in disks {
            let Some(held) = self.resources.storage.get(&subsystem.nqn, nsid) else {
                continue;
            };
            let ids = kernel::ids(&subsystem.nqn, nsid, disk);
            let namespace = Namespace {
                nsid,
                storage: held.id,
                device: disk.medium.device().to_string(),
                facts: held.facts,
                uuid: ids.uuid.into_bytes(),
                nguid: ids.nguid,
                eui64: ids.eui64,
            };
            let mut has = self.has.storage.iter();
            let known = has.any(|had| had.id == held.id && had.facts == held.facts);
            let descriptor = held.descriptor().filter(|_| !known);
            let descriptor = descriptor.map(|it| (it, purpose(held.facts)));
            to.tell(&ToWorker::Namespace(namespace), descriptor)?;
        }
        Ok(())
    }
}

/// Tells who is on a list, in parts.
fn hosts(
    to: &Delivery<'_>,
    hosts: &Hosts,
    message: impl Fn(Vec<String>) -> ToWorker,
) -> Result<(), Lost> {
    let Hosts::Listed(hosts) = hosts else {
        return Ok(());
    };
    let hosts: Vec<String> = hosts.iter().map(Nqn::to_string).collect();
    for part in hosts.chunks(HOSTS_MAX) {
        to.tell(&message(part.to_vec()), None)?;
    }
    Ok(())
}

/// The name of the discovery subsystem at a portal, or where no portal has another.
pub(super) fn discovery_nqn(config: &Config, portal: Option<&model::Portal>) -> Nqn {
    let own = portal.and_then(|portal| portal.discovery_nqn.as_ref());
    let name = own.or(config.discovery.nqn.as_ref());
    name.cloned().unwrap_or_else(Nqn::discovery)
}

impl Resources {
    /// The ids of a subsystem's portals.
    pub(super) fn portals_of(&self, config: &Config, subsystem: &Subsystem) -> Vec<u16> {
        let named = |bound: &&Bound| {
            let mut portals = subsystem.portals.iter();
            bound.io
                && portals.any(|&index| {
                    let portal = config.portals.get(index);
                    portal.is_some_and(|portal| portal.name == bound.portal.name)
                })
        };
        let bound = self.portals.iter().filter(named);
        bound.map(|bound| bound.id).collect()
    }
}

/// What a worker does with the descriptor of storage.
fn purpose(facts: Facts) -> Purpose {
    let read_only = facts.read_only;
    match facts.kind {
        Kind::File => Purpose::File { read_only },
        // Memory has no descriptor.
        Kind::Disk | Kind::Ram => Purpose::Disk { read_only },
    }
}

/// Threads that serve connections.
pub(super) fn threads(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    config.limits.threads.unwrap_or_else(cores).get()
}

/// What all pieces together may take to be taken.
const DELIVERY_TIME: Duration = Duration::from_secs(20);
