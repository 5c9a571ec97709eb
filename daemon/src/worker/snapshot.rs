//! What is served: made once, then only read. A change of the configuration is another snapshot.
//!
//! Everything that judges or answers a peer works from one of these, so that no two parts of the
//! program can have a different idea of the configuration.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use nvmf_proto::connect::Limits as ConnectLimits;
use nvmf_proto::handshake::{DigestOffer, Offer};
use nvmf_proto::nqn::Nqn;
use serde::{Deserialize, Serialize};

use super::views::Views;
use crate::config::model::{self, Digest, Hosts, Referral, Show, SqFlowControl};
use crate::engine::namespace::{Namespace, Namespaces};

/// Entries of the largest admin queue, as FreeBSD's nvmfd has it.
pub const MAX_ADMIN_ENTRIES: u32 = 4096;
/// Entries of the largest I/O queue, as FreeBSD's nvmfd has it.
pub const MAX_IO_ENTRIES: u32 = 1024;
/// In-capsule data of I/O queues in bytes, as FreeBSD's nvmfd has it (IOCCSZ 16448).
pub const IO_IN_CAPSULE: u32 = 16 * 1024;
/// Bytes that one command may move (MDTS). Linux and FreeBSD hosts ask for no more.
pub const MAX_TRANSFER: u32 = 1 << 20;
/// I/O queues of one controller. Hosts ask for one a core.
pub const MAX_IO_QUEUES: u16 = 1024;
/// Connections from one address unless the operator says otherwise: a rack whose hosts share an IPv6
/// network has fewer, and a quarter of all CNTLIDs is left to others.
const PER_ADDRESS: usize = 49_152;

/// Everything that is served.
#[derive(Debug)]
pub struct Snapshot {
    /// Moves with each snapshot.
    pub generation: u64,
    /// Where hosts connect.
    pub portals: Vec<Arc<Portal>>,
    /// What they connect to.
    pub subsystems: Vec<Arc<Subsystem>>,
    /// How discovery is answered.
    pub discovery: Discovery,
    /// Other discovery services.
    pub referrals: Vec<Referral>,
    /// How much peers can hold.
    pub limits: Limits,
    /// Who sees the same of it. Made when it is served.
    pub views: Views,
}

/// How discovery is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The service's name where no portal has another for it.
    pub nqn: Nqn,
    /// Which portals hosts are told of.
    pub show: Show,
    /// What the service is called, for people.
    pub label: Option<String>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            nqn: Nqn::discovery(),
            show: Show::Reachable,
            label: None,
        }
    }
}

/// A place where hosts connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Port identifier in discovery entries (PORTID), and its name for life: no other portal is given
    /// it while this program runs.
    pub id: u16,
    /// What the operator calls it.
    pub name: String,
    /// Whether subsystems are served here; discovery is served everywhere.
    pub kind: PortalKind,
    /// Address and port as bound; the address may be a wildcard.
    pub address: SocketAddr,
    /// What is offered to every connection.
    pub offer: Offer,
    /// Name of the discovery subsystem here; the well-known one works as well.
    pub discovery_nqn: Nqn,
}

/// What a portal serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortalKind {
    /// Subsystems, and discovery.
    Io,
    /// Discovery alone.
    Discovery,
}

/// An NVM subsystem. A new one in every snapshot; what lasts is its [`Engine`].
#[derive(Debug)]
pub struct Subsystem {
    /// Its name.
    pub nqn: Nqn,
    /// Serial number, at most 20 characters of ASCII.
    pub serial: String,
    /// What it is called, for people.
    pub label: Option<String>,
    /// Where it is served: identifiers of I/O portals.
    pub portals: BTreeSet<u16>,
    /// Who may use it, and see it.
    pub hosts: Hosts,
    /// Who executes its hosts' commands.
    pub engine: Engine,
    /// Whether a host that may not use it any more loses what it has.
    pub terminate_on_revoke: bool,
}

/// Who executes commands.
#[derive(Debug)]
pub enum Engine {
    /// This program, on these namespaces: the same object for as long as the subsystem lives.
    Userspace(Arc<Namespaces>),
    /// FreeBSD's kernel: it is handed every queue, and knows the namespaces itself.
    Kernel,
}

/// How much of the daemon peers can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From accept to the end of negotiation.
    pub negotiation_time: Duration,
    /// Connections in negotiation, in all.
    pub negotiations: usize,
    /// Connections in negotiation from one IPv4 address or IPv6 /64.
    pub negotiations_per_address: usize,
    /// What may be open in all, connections and whatever else; nothing here keeps to it.
    pub descriptors: usize,
    /// Connections in all, in negotiation or served.
    pub connections: usize,
    /// Connections from one IPv4 address or IPv6 /64.
    pub connections_per_address: usize,
    /// Controllers, discovery's too.
    pub controllers: usize,
    /// Those of one host.
    pub controllers_per_host: usize,
    /// I/O queues that a controller may have; no more than [`MAX_IO_QUEUES`].
    pub queues: u16,
    /// Entries that such a queue may have; no more than [`MAX_IO_ENTRIES`].
    pub queue_entries: u32,
    /// Lines of each kind that peers can cause, in a second.
    pub log_rate: u32,
    /// Bytes that all hosts together can make us hold.
    pub memory: u64,
    /// Bytes that one connection can.
    pub memory_per_connection: u64,
    /// How long a host that owes us something may not move a byte.
    pub stall_time: Duration,
}

impl Limits {
    /// What the operator wants, where descriptors allow `room` connections.
    pub fn of(limits: &model::Limits, log: &model::Log, room: usize) -> Self {
        let connections = limits.connections.map_or(room, NonZeroUsize::get);
        let most = (connections - connections / 4).clamp(1, PER_ADDRESS);
        let per_address = limits.connections_per_address;
        Self {
            negotiation_time: limits.negotiation_time,
            negotiations: limits.negotiations.get(),
            negotiations_per_address: limits.negotiations_per_address.get(),
            descriptors: room,
            connections,
            connections_per_address: per_address.map_or(most, NonZeroUsize::get),
            controllers: limits.controllers.get(),
            controllers_per_host: limits.controllers_per_host.get(),
            queues: limits.queues,
            queue_entries: limits.queue_entries,
            log_rate: log.rate,
            memory: limits.memory,
            memory_per_connection: limits.memory_per_connection,
            stall_time: limits.stall_time,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(
            &model::Limits::default(),
            &model::Log::default(),
            PER_ADDRESS,
        )
    }
}

impl Subsystem {
    /// The namespaces that this program serves.
    pub fn namespaces(&self) -> Option<&Arc<Namespaces>> {
        match &self.engine {
            Engine::Userspace(namespaces) => Some(namespaces),
            Engine::Kernel => None,
        }
    }

    /// Whether both are one subsystem, of our engine, in two snapshots: not one that was removed and
    /// came again.
    pub fn is_still(&self, other: &Self) -> bool {
        match (&self.engine, &other.engine) {
            (Engine::Userspace(ours), Engine::Userspace(its)) => Arc::ptr_eq(ours, its),
            (Engine::Userspace(_) | Engine::Kernel, Engine::Userspace(_) | Engine::Kernel) => false,
        }
    }
}

impl Snapshot {
    /// The portal of this identifier.
    pub fn portal(&self, id: u16) -> Option<&Arc<Portal>> {
        self.portals.iter().find(|portal| portal.id == id)
    }

    /// The subsystem of this name.
    pub fn subsystem(&self, nqn: &Nqn) -> Option<&Arc<Subsystem>> {
        self.subsystems
            .iter()
            .find(|subsystem| subsystem.nqn == *nqn)
    }

    /// The namespaces that this program serves now, of all subsystems.
    pub fn namespaces(&self) -> Vec<Arc<Namespace>> {
        let subsystems = self.subsystems.iter();
        let ours = subsystems.filter_map(|subsystem| subsystem.namespaces());
        ours.flat_map(|namespaces| namespaces.load().iter().cloned().collect::<Vec<_>>())
            .collect()
    }
}

/// What a portal offers, from the few choices that an operator has.
pub fn offer(
    header_digest: Digest,
    data_digest: Digest,
    maxh2cdata: u32,
    sq_flow_control: SqFlowControl,
) -> Offer {
    Offer {
        header_digest: digest(header_digest),
        data_digest: digest(data_digest),
        maxh2cdata,
        limits: ConnectLimits {
            max_admin_entries: MAX_ADMIN_ENTRIES,
            max_io_entries: MAX_IO_ENTRIES,
            sq_flow_control_optional: match sq_flow_control {
                SqFlowControl::Required => false,
                SqFlowControl::Optional => true,
            },
        },
    }
}

fn digest(digest: Digest) -> DigestOffer {
    match digest {
        Digest::Off => DigestOffer::Off,
        Digest::Allow => DigestOffer::Allow,
        Digest::Require => DigestOffer::Require,
    }
}

#[cfg(test)]
pub(in crate::worker) mod tests {
    use super::*;

    /// A portal that allows everything.
    pub(in crate::worker) fn portal(id: u16, kind: PortalKind, address: &str) -> Portal {
        Portal {
            id,
            name: format!("portal {id}"),
            kind,
            address: address.parse().unwrap(),
            offer: offer(Digest::Allow, Digest::Allow, 4096, SqFlowControl::Optional),
            discovery_nqn: Nqn::discovery(),
        }
    }

    /// A subsystem of ours without namespaces, for any host.
    pub(in crate::worker) fn subsystem(
        nqn: &str,
        portals: impl IntoIterator<Item = u16>,
    ) -> Subsystem {
        Subsystem {
            nqn: nqn.parse().unwrap(),
            serial: "1".into(),
            label: None,
            portals: portals.into_iter().collect(),
            hosts: Hosts::Any,
            engine: Engine::Userspace(Arc::new(Namespaces::default())),
            terminate_on_revoke: false,
        }
    }

    /// A snapshot of these.
    pub(in crate::worker) fn snapshot(
        portals: impl IntoIterator<Item = Portal>,
        subsystems: impl IntoIterator<Item = Subsystem>,
    ) -> Snapshot {
        let mut snapshot = Snapshot {
            generation: 7,
            portals: portals.into_iter().map(Arc::new).collect(),
            subsystems: subsystems.into_iter().map(Arc::new).collect(),
            discovery: Discovery::default(),
            referrals: Vec::new(),
            limits: Limits::default(),
            views: Views::default(),
        };
        snapshot.views = Views::of(&snapshot);
        snapshot
    }

    #[test]
    fn what_is_offered_is_what_was_configured() {
        let offer = offer(Digest::Off, Digest::Require, 8192, SqFlowControl::Required);
        assert_eq!(offer.header_digest, DigestOffer::Off);
        assert_eq!(offer.data_digest, DigestOffer::Require);
        assert_eq!(offer.maxh2cdata, 8192);
        assert!(!offer.limits.sq_flow_control_optional);
    }
}
