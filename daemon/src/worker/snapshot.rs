//! What is served: made once, then only read.
//!
//! Everything that judges or answers a peer works from one of these, so that no two parts of the
//! program can have a different idea of the configuration.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use nvmf_proto::connect::Limits;
use nvmf_proto::handshake::Offer;
use nvmf_proto::nqn::Nqn;

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

/// Everything that is served.
#[derive(Debug)]
pub struct Snapshot {
    /// Moves whenever what discovery shows does (GENCTR).
    pub generation: u64,
    /// Where hosts connect.
    pub portals: Vec<Portal>,
    /// What they connect to.
    pub subsystems: Vec<Arc<Subsystem>>,
    /// What is offered to every connection.
    pub offer: Offer,
}

/// A place where hosts connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    /// Port identifier in discovery entries (PORTID).
    pub id: u16,
    /// Whether subsystems are served here; discovery is served everywhere.
    pub kind: PortalKind,
    /// Address and port as bound; the address may be a wildcard.
    pub address: SocketAddr,
}

/// What a portal serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortalKind {
    /// Subsystems, and discovery.
    Io,
    /// Discovery alone.
    Discovery,
}

/// An NVM subsystem.
#[derive(Debug)]
pub struct Subsystem {
    /// Its name.
    pub nqn: Nqn,
    /// Serial number, at most 20 characters of ASCII.
    pub serial: String,
    /// Who executes its hosts' commands.
    pub engine: Engine,
}

/// Who executes commands.
#[derive(Debug)]
pub enum Engine {
    /// This program, on these namespaces.
    Userspace(Arc<Namespaces>),
    /// FreeBSD's kernel: it is handed every queue, and knows the namespaces itself.
    Kernel,
}

impl Subsystem {
    /// The namespaces that this program serves.
    pub fn namespaces(&self) -> Option<&Arc<Namespaces>> {
        match &self.engine {
            Engine::Userspace(namespaces) => Some(namespaces),
            Engine::Kernel => None,
        }
    }
}

impl Snapshot {
    /// The namespaces that this program serves, of all subsystems.
    pub fn namespaces(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.subsystems
            .iter()
            .filter_map(|subsystem| subsystem.namespaces())
            .flat_map(|namespaces| namespaces.iter())
    }

    /// The subsystem of this name.
    pub fn subsystem(&self, nqn: &Nqn) -> Option<&Arc<Subsystem>> {
        self.subsystems
            .iter()
            .find(|subsystem| subsystem.nqn == *nqn)
    }
}

/// What is offered, from the few choices that an operator has.
pub fn offer(
    header_digest: bool,
    data_digest: bool,
    maxh2cdata: u32,
    no_flow_control: bool,
) -> Offer {
    Offer {
        header_digest,
        data_digest,
        maxh2cdata,
        limits: Limits {
            max_admin_entries: MAX_ADMIN_ENTRIES,
            max_io_entries: MAX_IO_ENTRIES,
            sq_flow_control_optional: no_flow_control,
        },
    }
}
