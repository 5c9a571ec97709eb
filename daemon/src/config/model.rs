//! What a file asks for, in the types of the rest of the program: nothing here needs to be parsed,
//! looked up or checked again.
//!
//! Portals and subsystems stand in the file's order. What the file leaves out has its default here,
//! except where the default is the machine's or the command line's affair: that is `None`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use nvmf_kmod::request::LunId;
use nvmf_proto::connect::CNTLID_MAX;
use nvmf_proto::nqn::Nqn;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

use crate::cli::Listen;
pub use crate::confinement::Confine;
use crate::engine::backend::DeviceSpec;
use crate::engine::backend::ram::RamSize;
use crate::identity::NamespaceIds;
use crate::log::LOG_RATE;
use crate::worker::admission::NEGOTIATION_TIME;
use crate::worker::snapshot::{MAX_IO_ENTRIES, MAX_IO_QUEUES};

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How hosts learn what there is.
    pub discovery: Discovery,
    /// Where hosts connect; each has a name of its own.
    pub portals: Vec<Portal>,
    /// What they connect to; each has a name of its own.
    pub subsystems: Vec<Subsystem>,
    /// Other discovery services that hosts are told of.
    pub referrals: Vec<Referral>,
    /// How discovery is made known.
    pub announce: Announce,
    /// How much of the daemon peers can hold.
    pub limits: Limits,
    /// What keeps the process in that meets peers.
    pub sandbox: Sandbox,
    /// What is logged, and where.
    pub log: Log,
    /// Where counters are read; nowhere, mostly.
    pub metrics: Vec<SocketAddr>,
}

/// How hosts learn what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Where they ask, besides every portal.
    pub listen: Listen,
    /// The service's own name, which is not the well-known one; that works as well.
    pub nqn: Option<Nqn>,
    /// Which portals they are told of.
    pub show: Show,
    /// What the service is called, for people: at most [`LABEL_MAX_BYTES`](nvmf_proto::controller::discovery::LABEL_MAX_BYTES) bytes, and no
    /// control character.
    pub label: Option<String>,
}

impl Discovery {
    /// Asked there, with nothing that needs to be said.
    pub fn at(listen: Listen) -> Self {
        Self {
            listen,
            nqn: None,
            show: Show::Reachable,
            label: None,
        }
    }
}

/// Which portals a host is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// Those at the address where it asks; all, where there are none.
    Reachable,
    /// All.
    All,
}

/// Another discovery service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// Where it is: neither a wildcard nor one of ours.
    pub address: SocketAddr,
    /// Its name, the well-known one or its own.
    pub nqn: Nqn,
    /// Who is told of it.
    pub hosts: Hosts,
    /// What it is called, as [`Discovery::label`].
    pub label: Option<String>,
}

/// How discovery is made known to those who do not ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announce {
    /// By multicast DNS.
    pub mdns: bool,
    /// To these Centralized Discovery Controllers, by registration: none twice, and none of ours.
    pub register: Vec<SocketAddr>,
}

/// A place where hosts connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    /// What the file calls it.
    pub name: String,
    /// At least one address, and none that another listener has.
    pub listen: Listen,
    /// Header digests.
    pub header_digest: Digest,
    /// Data digests.
    pub data_digest: Digest,
    /// SQ flow control.
    pub sq_flow_control: SqFlowControl,
    /// MAXH2CDATA: bytes of data that one H2CData PDU may carry.
    pub maxh2cdata: u32,
    /// What discovery is called here, instead of [`Discovery::nqn`].
    pub discovery_nqn: Option<Nqn>,
}

/// Whether connections have digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digest {
    /// They have none.
    Off,
    /// Those have them whose host asks.
    Allow,
    /// All have them; a host that does not ask is refused.
    Require,
}

/// Whether hosts wait for the submission queue's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SqFlowControl {
    /// They must.
    Required,
    /// They may choose not to.
    Optional,
}

/// An NVM subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsystem {
    /// Its name.
    pub nqn: Nqn,
    /// Where it is served: at least one, as indices of [`Config::portals`].
    pub portals: BTreeSet<usize>,
    /// Who may use it, and see it.
    pub hosts: Hosts,
    /// End the associations of a host that a reload takes off the list.
    pub terminate_on_revoke: bool,
    /// Serial number, 1 to 20 characters of printable ASCII; else the machine's.
    pub serial: Option<String>,
    /// What it is called, as [`Discovery::label`].
    pub label: Option<String>,
    /// What hosts see in it, by NSID, and who serves that.
    pub namespaces: Namespaces,
}

/// Who may use a subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Whoever finds it.
    Any,
    /// These; there is at least one.
    Listed(BTreeSet<Nqn>),
}

impl Hosts {
    /// Whether this host may use it.
    pub fn allow(&self, host: &Nqn) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(hosts) => hosts.contains(host),
        }
    }
}

/// Who executes the hosts' commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// FreeBSD's kernel.
    Kernel,
    /// This program.
    User,
}

/// A subsystem's namespaces, by NSID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// FreeBSD's kernel serves them. All their names are such that its lists can hold them.
    Kernel(BTreeMap<u32, KernelLun>),
    /// This program serves them.
    User(BTreeMap<u32, Disk>),
    /// Every LUN that the kernel has, whoever made it and whenever: what FreeBSD's `nvmfd -K` does,
    /// and no file can ask for.
    EveryLun,
}

impl Namespaces {
    /// Who executes the hosts' commands.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Kernel(_) | Self::EveryLun => Mode::Kernel,
            Self::User(_) => Mode::User,
        }
    }
}

/// What is behind a namespace in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelLun {
    /// A LUN that somebody else made and keeps.
    Existing(LunId),
    /// A LUN that we make.
    Ours {
        /// Of this; it has at most one of NGUID and EUI64.
        disk: Disk,
        /// Bytes of a block, a power of two from 512; else 512, or the disk's own.
        block_size: Option<u32>,
    },
}

/// Storage, as hosts see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where the bytes are.
    pub medium: Medium,
    /// What hosts may do with them.
    pub access: Access,
    /// By what hosts know it.
    pub ids: Ids,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// In a file or disk, by its absolute path.
    Path(PathBuf),
    /// In memory.
    Ram(RamSize),
}

impl Medium {
    /// It, as the command line would name it.
    pub fn device(&self) -> DeviceSpec {
        match self {
            Self::Path(path) => DeviceSpec::Path(path.clone()),
            Self::Ram(size) => DeviceSpec::Ram(*size),
        }
    }
}

/// What hosts may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read.
    ReadOnly,
}

/// The identifiers that the file gives a namespace; the others are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids {
    /// UUID, not nil.
    pub uuid: Option<Uuid>,
    /// NGUID, not all zeroes.
    pub nguid: Option<[u8; 16]>,
    /// EUI64, not all zeroes.
    pub eui64: Option<[u8; 8]>,
}

impl Ids {
    /// These, and the derived ones where the file gives none.
    pub fn or(&self, derived: NamespaceIds) -> NamespaceIds {
        NamespaceIds {
            uuid: self.uuid.unwrap_or(derived.uuid),
            nguid: self.nguid.unwrap_or(derived.nguid),
            eui64: self.eui64.unwrap_or(derived.eui64),
        }
    }
}

/// How much of the daemon peers can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Threads that serve connections; else one per core.
    pub threads: Option<NonZeroUsize>,
    /// From accept to the end of negotiation.
    pub negotiation_time: Duration,
    /// Connections in negotiation, in all.
    pub negotiations: NonZeroUsize,
    /// Connections in negotiation from one IPv4 address or IPv6 /64; no more than in all.
    pub negotiations_per_address: NonZeroUsize,
    /// Connections in all, in negotiation or served; else as many as there are descriptors for.
    pub connections: Option<NonZeroUsize>,
    /// Connections from one IPv4 address or IPv6 /64, no more than in all; else most of them.
    pub connections_per_address: Option<NonZeroUsize>,
    /// Controllers of ours, discovery's too.
    pub controllers: NonZeroUsize,
    /// Those of one host; no more than in all.
    pub controllers_per_host: NonZeroUsize,
    /// I/O queues that a controller of ours may have.
    pub queues: u16,
    /// Entries that such a queue may have.
    pub queue_entries: u32,
    /// Bytes that all hosts together can make the worker hold.
    pub memory: u64,
    /// Bytes that one connection can; no more than an eighth of all.
    pub memory_per_connection: u64,
    /// How long a host that owes us something may not move a byte.
    pub stall_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads: None,
            negotiation_time: NEGOTIATION_TIME,
            negotiations: NEGOTIATIONS,
            negotiations_per_address: NEGOTIATIONS_PER_ADDRESS,
            connections: None,
            connections_per_address: None,
            controllers: CONTROLLERS,
            controllers_per_host: CONTROLLERS_PER_HOST,
            queues: MAX_IO_QUEUES,
            queue_entries: MAX_IO_ENTRIES,
            memory: MEMORY,
            memory_per_connection: MEMORY_PER_CONNECTION,
            stall_time: STALL_TIME,
        }
    }
}

/// What keeps the process in that meets peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Whether it is confined.
    pub confine: Confine,
    /// The name of who it is to be; else nobody.
    pub user: Option<String>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            confine: Confine::Required,
            user: None,
        }
    }
}

/// What is logged, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The least severe lines.
    pub level: LevelFilter,
    /// Where to; else to standard error in the foreground, and to syslog in the background.
    pub destination: Option<Destination>,
    /// Lines of each kind that peers can cause, in a second.
    pub rate: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            destination: None,
            rate: LOG_RATE,
        }
    }
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// The system's log.
    Syslog,
    /// Standard error.
    Stderr,
}

/// Port of discovery, as registered for it.
pub const DISCOVERY_PORT: u16 = 8009;

/// Port of I/O, as registered for NVMe/TCP.
pub const IO_PORT: u16 = 4420;

/// MAXH2CDATA unless the file says otherwise, as FreeBSD's nvmfd has it.
pub const MAXH2CDATA: u32 = 256 << 10;

/// Highest NSID, as FreeBSD's kernel has it by default. The same for both modes, so that a subsystem
/// can move from one to the other.
pub const HIGHEST_NSID: u32 = nvmf_sys::NVMF_NN;

/// As many as there are identifiers.
const CONTROLLERS: NonZeroUsize = NonZeroUsize::new(CNTLID_MAX as usize).unwrap();
/// More than a host with many paths to many subsystems has.
const CONTROLLERS_PER_HOST: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// What the largest command needs on the largest queue, and what leaves room for eight of those.
pub const LEAST_MEMORY_PER_CONNECTION: u64 = 2 << 20;
/// The least that all connections can have.
pub const LEAST_MEMORY: u64 = 8 * LEAST_MEMORY_PER_CONNECTION;

const MEMORY: u64 = 1 << 30;
const MEMORY_PER_CONNECTION: u64 = 4 << 20;
const STALL_TIME: Duration = Duration::from_secs(60);
const NEGOTIATIONS: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
const NEGOTIATIONS_PER_ADDRESS: NonZeroUsize = NonZeroUsize::new(512).unwrap();
