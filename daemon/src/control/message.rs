//! What is said on the control socket: one JSON object a line, a request from the client, then its
//! answer.
//!
//! The worker tells the monitor of its sessions and refusals in the same types. Each is data and
//! text for people or scripts, in the units that its name says; nothing here is trusted: who
//! receives one judges it.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::model::Show;
use crate::confinement::Confinement;
use crate::engine::fault::Operation;
use crate::worker::limits::Limit;
use crate::worker::memory::Level;

/// The version of this protocol, which both sides name. It moves when a script that reads `--json`
/// would have to.
pub const VERSION: u32 = 1;

/// Where the socket is.
pub const PATH: &str = "/var/run/nvmfd.sock";

/// A client's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// [`VERSION`] of the client.
    pub version: u32,
    /// What it wants.
    #[serde(flatten)]
    pub request: Request,
}

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// What is served, and how the daemon is.
    Status,
    /// Who is connected.
    Sessions,
    /// The connections that were refused last, oldest first.
    Refusals,
    /// What a reload of this text would do. The client reads the file, with its own permissions.
    Plan {
        /// What the text's problems call it.
        name: String,
        /// A configuration file's text.
        text: String,
    },
    /// Read the configuration file again and serve what it says.
    Reload,
    /// End sessions.
    Terminate {
        /// Which.
        whose: Whose,
    },
    /// Accept no new controllers while it lasts; those that are there go on.
    Drain {
        /// Begin, or end.
        on: bool,
    },
    /// Log lines that are at least this severe, until the next reload or start.
    Log {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: String,
    },
    /// End, and leave what the kernel serves to the next daemon.
    Leave,
}

/// Sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// Those of this host, in every subsystem.
    Host(String),
    /// Those with this controller identifier: one for each subsystem in the kernel that has given
    /// it, and one of ours.
    Cntlid(u16),
}

/// The daemon's line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// [`VERSION`] of the daemon.
    pub version: u32,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Sessions`].
    Sessions(Sessions),
    /// To [`Request::Refusals`].
    Refusals(Refusals),
    /// To [`Request::Plan`], and to [`Request::Reload`], which has done it.
    Plan(Plan),
    /// To [`Request::Terminate`]: how many sessions were told to end.
    Terminated(u64),
    /// It is done.
    Done,
    /// It is not.
    Failed(Failure),
}

/// Why a request was not granted. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure, for scripts.
    pub kind: FailureKind,
    /// What went wrong and what to do, for people: one line, or several where a file has problems.
    pub text: String,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The request makes no sense to this daemon.
    Request,
    /// The configuration file has errors.
    Config,
    /// The daemon has no configuration file: it was started from its command line.
    NoConfig,
    /// The file is good, and the system or the kernel did not give what it asks for.
    System,
    /// Nobody has that name or number.
    NotFound,
    /// The daemon is busy with a start, a reload or its end.
    Busy,
}

/// The daemon as a whole. Times are seconds since 1970 (UTC).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's release.
    pub release: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: u64,
    /// Its configuration file; none if it was started from its command line.
    pub config: Option<PathBuf>,
    /// When what is served was read.
    pub loaded: u64,
    /// Why the last reload failed, if it did.
    pub reload_failed: Option<String>,
    /// The process that serves.
    pub worker: Worker,
    /// The process that announces, where something is to be announced.
    pub announcer: Option<Announcer>,
    /// Whether new controllers are refused.
    pub draining: bool,
    /// The least severe lines that are logged.
    pub log: String,
    /// Connections that were refused since the worker started.
    pub refused: u64,
    /// Connections in negotiation.
    pub negotiating: u64,
    /// How much of what is limited is used.
    pub limits: Vec<LimitUse>,
    /// Queues that ended because their hosts did not move.
    pub stalled: u64,
    /// Memory that hosts make the worker hold, and may.
    pub memory: Level,
    /// Where it listens.
    pub portals: Vec<Portal>,
    /// How it answers discovery.
    pub discovery: Discovery,
    /// What it serves.
    pub subsystems: Vec<Subsystem>,
}

/// How much of something limited is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// The limit: a key of the configuration, or `descriptors`.
    pub limit: Limit,
    /// How much is used; of what one address, host or controller can have, the most that any has. None:
    /// it is not known.
    pub used: Option<u64>,
    /// How much there may be.
    pub most: u64,
    /// How often that was met since the worker started.
    pub met: u64,
}

/// The process that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its number; none while it is being started again.
    pub pid: Option<u32>,
    /// When it started.
    pub started: u64,
    /// How often it had to be started again.
    pub restarts: u64,
    /// What keeps it in.
    pub confinement: Confinement,
}

/// The process that announces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcer {
    /// Its number; none while it is being started again.
    pub pid: Option<u32>,
    /// When it started.
    pub started: u64,
    /// How often it had to be started again.
    pub restarts: u64,
    /// What keeps it in.
    pub confinement: Confinement,
    /// Multicast DNS, where that is asked for.
    pub mdns: Option<Mdns>,
    /// The Centralized Discovery Controllers to register with.
    pub registrations: Vec<Registration>,
}

/// How multicast DNS fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mdns {
    /// How many services are announced: each a port with its discovery subsystem's name.
    pub announced: u32,
    /// What went wrong last, if anything did since.
    pub error: Option<String>,
}

/// How registration with a Centralized Discovery Controller fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its address.
    pub cdc: SocketAddr,
    /// How many entries it has of us; none: we are not registered.
    pub entries: Option<u32>,
    /// Since when we are registered, likewise.
    pub since: Option<u64>,
    /// Why we are not, if we have tried.
    pub error: Option<String>,
}

/// A place where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// What the configuration calls it: `discovery` for those that serve discovery alone.
    pub name: String,
    /// Whether subsystems are served here, or discovery alone.
    pub io: bool,
    /// Address and port, as bound.
    pub address: SocketAddr,
    /// PORTID in discovery entries.
    pub portid: u16,
    /// Whether header digests are `off`, `allow` or `require`.
    pub header_digest: String,
    /// The same for data digests.
    pub data_digest: String,
    /// Name of the discovery subsystem here; the well-known one works as well.
    pub discovery_nqn: String,
}

/// How discovery is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// Name of the discovery subsystem where no portal has another for it.
    pub nqn: String,
    /// Which portals hosts are told of.
    pub show: Show,
    /// What the service is called, for people.
    pub label: Option<String>,
    /// Other discovery services that hosts are told of.
    pub referrals: Vec<Referral>,
}

/// Another discovery service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Where it is.
    pub address: SocketAddr,
    /// Its name.
    pub nqn: String,
    /// The hosts that are told of it; none: all are.
    pub hosts: Option<Vec<String>>,
    /// What it is called, for people.
    pub label: Option<String>,
}

/// A subsystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subsystem {
    /// Its name.
    pub nqn: String,
    /// Who executes its hosts' commands.
    pub mode: Mode,
    /// Its serial number.
    pub serial: String,
    /// What it is called, for people.
    pub label: Option<String>,
    /// The names of its portals.
    pub portals: Vec<String>,
    /// The hosts that may use it; none: any may.
    pub hosts: Option<Vec<String>>,
    /// What its hosts see.
    pub namespaces: Vec<Namespace>,
    /// How many sessions it has.
    pub sessions: u64,
    /// In kernel mode, what hosts have read and written since the kernel's port was made.
    pub traffic: Option<Traffic>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its number.
    pub nsid: u32,
    /// What it is made of, as the configuration names it.
    pub device: String,
    /// Its size, where that is known.
    pub bytes: Option<u64>,
    /// Bytes of a block, where that is known.
    pub block_size: Option<u32>,
    /// By what hosts know it, where that is known.
    pub uuid: Option<String>,
    /// Whether hosts can only read it.
    pub read_only: bool,
    /// What fails of its storage now.
    #[serde(default)]
    pub failing: Vec<Failing>,
}

/// Something that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// What storage is asked for.
    pub operation: Operation,
    /// Commands that failed.
    pub commands: u64,
    /// How long ago the first of them did, in seconds.
    pub age: u64,
    /// The last error.
    pub error: String,
}

/// Who executes a host's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// FreeBSD's kernel.
    Kernel,
    /// The daemon.
    User,
    /// The daemon, and the only commands are those of discovery.
    Discovery,
}

/// Who is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sessions {
    /// Each of them.
    pub sessions: Vec<Session>,
    /// Why some are not told, if so: the kernel or the worker did not answer.
    pub missing: Option<String>,
}

/// A controller and its host. What only one of the modes knows is absent in the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who executes its commands.
    pub mode: Mode,
    /// The subsystem; for discovery the name by which the host connected.
    pub subsystem: String,
    /// Controller identifier, unique among ours, and within its subsystem in the kernel.
    pub cntlid: u16,
    /// The host's name.
    pub hostnqn: String,
    /// The host's identifier: 32 hexadecimal digits.
    pub hostid: Option<String>,
    /// The host's address and port on the admin queue.
    pub peer: Option<SocketAddr>,
    /// Our address on the admin queue.
    pub local: Option<SocketAddr>,
    /// I/O queues that are connected now.
    pub io_queues: Option<u32>,
    /// Whether headers have digests.
    pub header_digest: Option<bool>,
    /// Whether data has.
    pub data_digest: Option<bool>,
    /// Keep Alive Timeout in milliseconds; 0 for none.
    pub kato: Option<u32>,
    /// Seconds since the Connect.
    pub age: Option<u64>,
    /// Seconds since a command came.
    pub idle: Option<u64>,
    /// What it has read and written. In kernel mode, where the kernel counts for all hosts of a subsystem
    /// together, only the session of a host that is alone has it, those before it included.
    pub traffic: Option<Traffic>,
}

impl Session {
    /// A session of which nothing more is known.
    pub fn named(mode: Mode, subsystem: &str, cntlid: u16, hostnqn: &str) -> Self {
        Self {
            mode,
            subsystem: subsystem.into(),
            cntlid,
            hostnqn: hostnqn.into(),
            hostid: None,
            peer: None,
            local: None,
            io_queues: None,
            header_digest: None,
            data_digest: None,
            kato: None,
            age: None,
            idle: None,
            traffic: None,
        }
    }
}

/// Commands that have been executed, and the bytes that they moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Read commands.
    pub reads: u64,
    /// Write commands.
    pub writes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// The connections that were refused last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusals {
    /// How many there were since the worker started.
    pub total: u64,
    /// The last of them, oldest first.
    pub last: Vec<Refusal>,
}

/// A connection that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When: seconds since 1970 (UTC).
    pub time: u64,
    /// From where it came.
    pub peer: SocketAddr,
    /// The host's name, if it came that far.
    pub hostnqn: Option<String>,
    /// The subsystem that it asked for, likewise.
    pub subsystem: Option<String>,
    /// The queue, likewise.
    pub qid: Option<u16>,
    /// Why, in words.
    pub reason: String,
}

/// What a reload does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The steps, in order. None: nothing changes.
    pub steps: Vec<Step>,
    /// What is hardly meant in the file, and what a reload cannot change: each one text, of one
    /// line or several.
    pub warnings: Vec<String>,
}

/// A step, and what hosts notice of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done, in words.
    pub what: String,
    /// What it does to hosts.
    pub effect: Effect,
}

/// What hosts notice of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// New connections are judged by it; those that are there go on.
    NewConnections,
    /// Connected hosts are told, and see it.
    Notice,
    /// Connected hosts lose their connections, and most can come back.
    Disconnects,
    /// It takes effect at the next start.
    NextStart,
}
