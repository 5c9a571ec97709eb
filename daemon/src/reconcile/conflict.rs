//! What stands between what is wanted and what others have: conflicts, which stop a plan, and what it
//! only remarks.

#![forbid(unsafe_code)]

use std::fmt;

use nvmf_kmod::request::{LunId, PortId};
use nvmf_kmod::xml::Damaged;
use nvmf_proto::nqn::Nqn;

use super::marker::NamespaceKey;
use super::observe::Owner;
use super::step::lun_text;

/// Why what is wanted cannot be had beside what others have. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A subsystem has one port system-wide.
    #[error(
        "{nqn} is served already by port {port}, which {owner}; stop {} or choose another name",
        stop(owner)
    )]
    NameTaken {
        /// The subsystem's name.
        nqn: Nqn,
        /// Who has it.
        port: PortId,
        /// Who made that.
        owner: Owner,
    },
    /// A port that might have the name.
    #[error(
        "{nqn} is perhaps served already by a port that cannot be read ({damaged}); \
         see ctladm portlist -v, and remove it"
    )]
    Unreadable {
        /// The subsystem's name.
        nqn: Nqn,
        /// The first such port.
        damaged: Damaged,
    },
    /// A LUN that others were to make.
    #[error("{key} shall show LUN {lun}, which does not exist; see ctladm devlist")]
    NoSuchLun {
        /// Which namespace.
        key: NamespaceKey,
        /// What it shall show.
        lun: LunId,
    },
    /// A LUN that we made: its number is another after the next start.
    #[error(
        "{key} shall show LUN {lun}, which nvmfd itself has made{}; name what it is made of instead",
        of.as_ref().map(|of| format!(" for {of}")).unwrap_or_default()
    )]
    OurOwnLun {
        /// Which namespace.
        key: NamespaceKey,
        /// What it shall show.
        lun: LunId,
        /// What that was made for, if that can be told.
        of: Option<NamespaceKey>,
    },
}

fn stop(owner: &Owner) -> &'static str {
    match owner {
        Owner::Ctld(_) => "ctld",
        Owner::Unknown => "that",
    }
}

/// Something that is not as it should be and that a plan leaves alone. Worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A LUN of ours that others use.
    LunInUse {
        /// Which.
        id: LunId,
        /// What it was made for.
        key: Option<NamespaceKey>,
        /// Whose ports show it; none: one that cannot be read may.
        ports: Vec<(PortId, String)>,
    },
    /// Another's map has an entry for a LUN that does not exist. One that is made may get the number.
    Dangling {
        /// Whose map.
        port: PortId,
        /// Its front end.
        frontend: String,
        /// The number.
        lun: LunId,
    },
    /// A port that cannot be read.
    DamagedPort(Damaged),
    /// A LUN that cannot be read.
    DamagedLun(Damaged),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LunInUse { id, key, ports } => {
                let lun = lun_text(*id, key.as_ref());
                write!(f, "{lun} is not wanted any more and stays, because ")?;
                if ports.is_empty() {
                    return f.write_str("a port that cannot be read may use it");
                }
                let ports: Vec<_> = ports
                    .iter()
                    .map(|(id, frontend)| format!("{frontend} port {id}"))
                    .collect();
                write!(f, "others use it: {}", ports.join(", "))
            }
            Self::Dangling {
                port,
                frontend,
                lun,
            } => write!(
                f,
                "{frontend} port {port} maps LUN {lun}, which does not exist: a new LUN may get that \
                 number and be seen there"
            ),
            Self::DamagedPort(damaged) => {
                write!(f, "left alone: a port that cannot be read ({damaged})")
            }
            Self::DamagedLun(damaged) => {
                write!(f, "left alone: a LUN that cannot be read ({damaged})")
            }
        }
    }
}
