//! What monitor and announcer say to each other, one enum each way.
//!
//! What is announced comes in pieces between [`ToAnnouncer::Begin`] and [`ToAnnouncer::Commit`], so
//! that no message grows with the configuration. The announcer answers nothing: it says how it fares
//! with each service and each Centralized Discovery Controller (CDC), when that changes.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::model::Destination;
use crate::confinement::{Confinement, Order};

/// What the monitor says.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToAnnouncer {
    /// First of all: what is to keep it in. Answered by [`FromAnnouncer::Confined`].
    Confine(Order),
    /// How to log.
    Log {
        /// The least severe lines.
        level: String,
        /// Where they go.
        destination: Destination,
    },
    /// What is announced begins to come in pieces.
    Begin(Entity),
    /// A place where discovery is to be found by multicast DNS.
    Service(Service),
    /// A CDC to register with.
    Cdc(SocketAddr),
    /// A place where subsystems are served.
    Portal(Portal),
    /// A subsystem.
    Subsystem(Subsystem),
    /// The pieces are complete: announce them from now on, and nothing else.
    Commit,
    /// Take everything back, and end.
    Stop,
}

/// Who announces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// The name of the host that connects to a CDC: the discovery subsystem's own, or the machine's.
    pub hostnqn: String,
    /// Its Host Identifier.
    pub hostid: [u8; 16],
    /// Whose the entries are: the machine's name, which is made of its UUID.
    pub eid: String,
}

/// A place where discovery is to be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// As bound: an address, or all of its family.
    pub address: SocketAddr,
    /// The name of the discovery subsystem there.
    pub nqn: String,
}

/// A place where subsystems are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portal {
    /// PORTID.
    pub id: u16,
    /// As bound.
    pub address: SocketAddr,
}

/// A subsystem, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subsystem {
    /// Its name.
    pub nqn: String,
    /// What it is called.
    pub label: Option<String>,
    /// The ids of its portals.
    pub portals: Vec<u16>,
}

/// What the announcer says.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromAnnouncer {
    /// It is there.
    Hello {
        /// Its release, which must be the monitor's.
        release: String,
    },
    /// What keeps it in from now on. It has met nobody yet.
    Confined(Confinement),
    /// How multicast DNS fares.
    Mdns {
        /// How many services are announced.
        announced: u32,
        /// What went wrong last, at most [`TEXT_MAX`] bytes.
        error: Option<String>,
    },
    /// How it fares with a CDC.
    Cdc {
        /// Which.
        address: SocketAddr,
        /// How many entries it has of us; none: we are not registered.
        entries: Option<u32>,
        /// What went wrong last, at most [`TEXT_MAX`] bytes.
        error: Option<String>,
    },
}

/// Bytes of a text for an operator.
pub const TEXT_MAX: usize = 512;

/// As much of a text as may be sent.
pub fn short(mut text: String) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
