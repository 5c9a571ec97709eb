//! One request to CTL each, of those that a plan consists of, and what they are about.
//!
//! A step names what an earlier step of its plan makes by name or mark, because numbers are the
//! kernel's to give. Its text is what the log says before it is taken.

#![forbid(unsafe_code)]

use std::fmt;

use nvmf_kmod::request::{LunId, NewLun, NewPort, PortId, Storage};
use nvmf_proto::nqn::Nqn;

use super::marker::NamespaceKey;
use super::observe::Stale;

/// A change of what CTL holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Removes a port of ours. If it is online, this waits until its hosts are gone.
    RemovePort {
        /// Which.
        port: PortRef,
        /// Whether hosts may be there.
        online: bool,
        /// Why.
        why: PortFault,
    },
    /// Sends all hosts of a port away, and waits until they are gone.
    Disable(PortRef),
    /// Gives an offline port a map that shows nothing.
    EmptyMap(PortRef),
    /// Takes an offline port's map away: it then shows every LUN.
    DropMap(PortRef),
    /// Hides a namespace.
    Unmap {
        /// Of which port.
        port: PortRef,
        /// Which.
        nsid: u32,
        /// What it shows until now.
        lun: LunId,
    },
    /// Removes a LUN of ours, and waits until nothing uses it.
    RemoveLun {
        /// Which.
        id: LunId,
        /// What it was made for, if that can be told.
        key: Option<NamespaceKey>,
        /// CTL's name for what serves it.
        backend: String,
        /// Why.
        why: LunFault,
    },
    /// Makes a LUN.
    CreateLun {
        /// For this namespace.
        key: NamespaceKey,
        /// The request.
        lun: NewLun,
    },
    /// Changes a LUN under its hosts.
    ModifyLun {
        /// Which.
        id: LunId,
        /// Its namespace.
        key: NamespaceKey,
        /// All of what it shall be: options that are not repeated are gone.
        lun: NewLun,
        /// Why.
        why: Stale,
    },
    /// Makes a port: offline, without a map.
    CreatePort(NewPort),
    /// Shows a LUN as a namespace that shows nothing until now.
    Map {
        /// On which port.
        port: PortRef,
        /// As which.
        nsid: u32,
        /// What.
        lun: LunRef,
    },
    /// Lets hosts in.
    Enable(PortRef),
}

/// A port of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRef {
    /// The subsystem's name.
    pub nqn: Nqn,
    /// Its number; none until an earlier step has made it.
    pub id: Option<PortId>,
}

/// A LUN to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LunRef {
    /// One that is there.
    There(LunId),
    /// One that an earlier step makes.
    Made(NamespaceKey),
}

/// What is wrong with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortFault {
    /// Nobody wants it any more.
    Unwanted,
    /// It has to be made anew, because of these options.
    Differs(Vec<&'static str>),
}

/// What is wrong with a LUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LunFault {
    /// Nobody wants it any more.
    Unwanted,
    /// Another serves its namespace already.
    Surplus,
    /// It has to be made anew, because of these.
    Differs(Vec<&'static str>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemovePort { port, online, why } => {
                let wait = if *online {
                    "; waiting until its hosts are gone"
                } else {
                    ""
                };
                write!(f, "remove {port}: {why}{wait}")
            }
            Self::Disable(port) => {
                write!(
                    f,
                    "disable {port}: its map can change only while it is offline; "
                )?;
                f.write_str("waiting until its hosts are gone")
            }
            Self::EmptyMap(port) => write!(f, "hide every LUN from {port}"),
            Self::DropMap(port) => write!(f, "show every LUN to {port}"),
            Self::Unmap { port, nsid, lun } => {
                write!(f, "unmap namespace {nsid} of {port} from LUN {lun}")
            }
            Self::RemoveLun { id, key, why, .. } => {
                write!(f, "remove {}: {why}; ", lun_text(*id, key.as_ref()))?;
                f.write_str("waiting until nothing uses it")
            }
            Self::CreateLun { key, lun } => match &lun.storage {
                Storage::Block { path } => write!(f, "make a LUN of {path} for {key}"),
                Storage::Ramdisk { size } => {
                    write!(f, "make a LUN of {size} bytes of memory for {key}")
                }
            },
            Self::ModifyLun { id, key, why, .. } => {
                let why = match why {
                    Stale::Size => "its size has changed",
                    Stale::Options => "its options have changed",
                };
                write!(f, "modify {}: {why}", lun_text(*id, Some(key)))
            }
            Self::CreatePort(port) => write!(f, "make a port for {}", port.subnqn),
            Self::Map { port, nsid, lun } => write!(f, "map namespace {nsid} of {port} to {lun}"),
            Self::Enable(port) => write!(f, "enable {port}"),
        }
    }
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "port {id} ({})", self.nqn),
            None => write!(f, "the port of {}", self.nqn),
        }
    }
}

impl fmt::Display for LunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There(id) => write!(f, "LUN {id}"),
            Self::Made(_) => f.write_str("its LUN"),
        }
    }
}

impl fmt::Display for PortFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwanted => f.write_str("not wanted any more"),
            Self::Differs(what) => write!(f, "made anew with other {}", what.join(", ")),
        }
    }
}

impl fmt::Display for LunFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwanted => f.write_str("not wanted any more"),
            Self::Surplus => f.write_str("another has its place"),
            Self::Differs(what) => write!(f, "made anew with other {}", what.join(", ")),
        }
    }
}

/// A LUN of ours in a log line.
pub(super) fn lun_text(id: LunId, key: Option<&NamespaceKey>) -> String {
    match key {
        Some(key) => format!("LUN {id} ({key})"),
        None => format!("LUN {id} (an unreadable mark of ours)"),
    }
}
