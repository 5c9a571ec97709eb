//! The messages, one enum each way.
//!
//! The monitor asks, the worker answers: each question has one kind of answer, in order, and the
//! worker says nothing by itself but that it is there. What is served comes in pieces between
//! [`ToWorker::Begin`] and [`ToWorker::Commit`], so that no message grows with the configuration.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::model::{Destination, Digest, Show, SqFlowControl};
use crate::confinement::{Confinement, Order};
use crate::control::message::{Failing, LimitUse, Refusal, Session, Whose};
use crate::engine::backend::Facts;
use crate::worker::memory::Level;
use crate::worker::snapshot::Limits;

/// What the monitor says.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// First of all: be confined, and say how. Answered by [`ToMonitor::Confined`].
    Confine(Order),
    /// Then: how to log.
    Log {
        /// The least severe lines.
        level: String,
        /// Where they go. Those for syslog go to standard error: the monitor passes them on.
        destination: Destination,
    },
    /// CTL's device, to hand queues to. Its descriptor comes with it, but for a fake.
    Kernel,
    /// What is served begins to come in pieces.
    Begin(Begin),
    /// A place where hosts connect. The listener comes with it, unless the worker has it already.
    Portal(Portal),
    /// A subsystem; its hosts and namespaces follow.
    Subsystem(Subsystem),
    /// Hosts that may use the last subsystem.
    Hosts(Vec<String>),
    /// Another discovery service; its hosts follow.
    Referral(Referral),
    /// Hosts that are told of the last one.
    ReferralHosts(Vec<String>),
    /// A namespace of the last subsystem. Its descriptor comes with it, unless the worker has it
    /// already or there is none.
    Namespace(Namespace),
    /// A socket where counters are read. Its listener comes with it, unless the worker has it already.
    Metrics(SocketAddr),
    /// The pieces are complete: serve them from now on. Answered by [`ToMonitor::Committed`].
    Commit,
    /// Hand nothing over to the kernel. Answered by [`ToMonitor::Held`].
    HoldHandoffs,
    /// Hand over again, what has waited first.
    ResumeHandoffs,
    /// Refuse new controllers, or accept them again.
    Drain(bool),
    /// Answered by [`ToMonitor::Counts`].
    Count,
    /// Answered by [`ToMonitor::Limits`].
    Limits,
    /// Answered by [`ToMonitor::Sessions`].
    Sessions,
    /// Answered by [`ToMonitor::Refusals`].
    Refusals,
    /// Answered by [`ToMonitor::Failing`].
    Failing,
    /// Answered by [`ToMonitor::Terminated`].
    Terminate(Whose),
    /// End in order. Answered by [`ToMonitor::Stopped`], when it is done.
    Stop,
}

/// What concerns everything that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Moves each time.
    pub generation: u64,
    /// Name of the discovery subsystem where no portal has another for it.
    pub discovery_nqn: String,
    /// Which portals hosts are told of.
    pub show: Show,
    /// What the discovery service is called, for people.
    pub label: Option<String>,
    /// Threads that serve connections. Only the first one counts.
    pub threads: usize,
    /// How much peers can hold.
    pub limits: Limits,
}

/// A place where hosts connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// PORTID, which is never another portal's while the monitor runs.
    pub id: u16,
    /// What the configuration calls it.
    pub name: String,
    /// Whether subsystems are served here, or discovery alone.
    pub io: bool,
    /// As bound.
    pub address: SocketAddr,
    /// Header digests.
    pub header_digest: Digest,
    /// Data digests.
    pub data_digest: Digest,
    /// SQ flow control.
    pub sq_flow_control: SqFlowControl,
    /// MAXH2CDATA in bytes.
    pub maxh2cdata: u32,
    /// Name of the discovery subsystem here.
    pub discovery_nqn: String,
}

/// A subsystem, but for its hosts and namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subsystem {
    /// Its name.
    pub nqn: String,
    /// Its serial number.
    pub serial: String,
    /// What it is called, for people.
    pub label: Option<String>,
    /// The ids of its portals.
    pub portals: Vec<u16>,
    /// Whether FreeBSD's kernel serves it.
    pub kernel: bool,
    /// Whether every host may use it.
    pub any_host: bool,
    /// Whether hosts that may not any more are sent away.
    pub terminate_on_revoke: bool,
}

/// Another discovery service, but for its hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Where it is.
    pub address: SocketAddr,
    /// Its name.
    pub nqn: String,
    /// Whether every host is told of it.
    pub any_host: bool,
    /// What it is called, for people.
    pub label: Option<String>,
}

/// A namespace that the worker serves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its number.
    pub nsid: u32,
    /// The monitor's name for the storage; the same name is the same storage, bytes and all.
    pub storage: u64,
    /// What the operator named, for the log.
    pub device: String,
    /// What is known of the storage.
    pub facts: Facts,
    /// UUID, in the order of its text.
    pub uuid: [u8; 16],
    /// NGUID.
    pub nguid: [u8; 16],
    /// EUI64.
    pub eui64: [u8; 8],
}

/// What the worker says.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToMonitor {
    /// It is there.
    Hello {
        /// Its release, which must be the monitor's: the program may have been replaced meanwhile.
        release: String,
    },
    /// What it is confined by; or why it is not and does not serve.
    Confined(Result<Confinement, String>),
    /// What was committed is served; or why not, and what was before goes on.
    Committed(Result<(), String>),
    /// Nothing is being handed over.
    Held,
    /// How many there are.
    Counts {
        /// Connections in negotiation.
        negotiating: u64,
        /// Connections that were refused.
        refused: u64,
        /// Queues that ended because their hosts did not move.
        stalled: u64,
        /// Memory that hosts make the worker hold.
        memory: Level,
    },
    /// How much of what is limited is used: each limit once.
    Limits(Vec<LimitUse>),
    /// Some of the sessions.
    Sessions {
        /// At most [`PART_MAX`].
        part: Vec<Session>,
        /// Whether more follow.
        more: bool,
    },
    /// Some of the refusals.
    Refusals {
        /// How many there were in all.
        total: u64,
        /// At most [`PART_MAX`].
        part: Vec<Refusal>,
        /// Whether more follow.
        more: bool,
    },
    /// Some of what fails of storage.
    Failing {
        /// At most [`PART_MAX`].
        part: Vec<FailingStorage>,
        /// Whether more follow.
        more: bool,
    },
    /// So many sessions were told to end.
    Terminated(u64),
    /// Everything has ended; so does the worker.
    Stopped,
}

/// Something that fails, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingStorage {
    /// The subsystem.
    pub nqn: String,
    /// The namespace.
    pub nsid: u32,
    /// What fails.
    pub failing: Failing,
}

/// Sessions and refusals in one message: each takes some 2 KiB at the most, with two names of 223
/// bytes, all of them escaped.
pub const PART_MAX: usize = 8;

/// Hosts in one message, likewise.
pub const HOSTS_MAX: usize = 16;

/// Characters of an error that operators are told.
pub const ERROR_MAX: usize = 128;
