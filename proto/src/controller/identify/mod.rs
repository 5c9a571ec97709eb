//! Identify (Base 2.0 §5.17): what the controller says of itself and of its namespaces. Every
//! answer is one page of 4096 bytes. Only what works is advertised.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

use super::namespace::active;
use super::{Controller, Environment, Kind, NamespaceInfo, Namespaces};
use crate::sqe::Sqe;
use crate::status::Status;

pub use controller::{IdentifyController, NvmController};
pub use namespace::{IdentifyNamespace, IndependentNamespace};

mod controller;
mod namespace;
#[cfg(test)]
mod tests;

/// What is to be identified (CNS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identify {
    /// 00h: a namespace, as the NVM command set sees it.
    Namespace {
        /// Which.
        nsid: u32,
    },
    /// 01h: the controller.
    Controller,
    /// 02h, 07h: active NSIDs.
    ActiveNamespaces {
        /// Only NSIDs above this one.
        after: u32,
    },
    /// 03h: the identifiers of a namespace.
    Descriptors {
        /// Which.
        nsid: u32,
    },
    /// 05h: what the NVM command set adds to 00h.
    NvmNamespace {
        /// Which.
        nsid: u32,
    },
    /// 06h: limits of the NVM command set.
    NvmController,
    /// 08h: a namespace, as every command set sees it.
    IndependentNamespace {
        /// Which.
        nsid: u32,
    },
    /// 1Ch: combinations of I/O command sets.
    CommandSets {
        /// Controller; FFFFh for this one.
        cntid: u16,
    },
}

impl Identify {
    /// Bytes of every answer.
    pub const SIZE: u32 = 4096;

    /// Reads an Identify entry.
    ///
    /// # Errors
    /// Invalid Field for a CNS that is not offered or another command set than NVM.
    pub fn parse(sqe: &Sqe, kind: Kind) -> Result<Self, Status> {
        let [cns, _, cntid @ ..] = sqe.cdw10.get().to_le_bytes();
        let [.., csi] = sqe.cdw11.get().to_le_bytes();
        let nsid = sqe.nsid.get();
        match (cns, kind, csi) {
            (0x01, _, _) => Ok(Self::Controller),
            (0x00, Kind::Io, _) => Ok(Self::Namespace { nsid }),
            (0x02, Kind::Io, _) | (0x07, Kind::Io, CSI_NVM) => {
                Ok(Self::ActiveNamespaces { after: nsid })
            }
            (0x03, Kind::Io, _) => Ok(Self::Descriptors { nsid }),
            (0x05, Kind::Io, CSI_NVM) => Ok(Self::NvmNamespace { nsid }),
            (0x06, Kind::Io, CSI_NVM) => Ok(Self::NvmController),
            (0x08, Kind::Io, _) => Ok(Self::IndependentNamespace { nsid }),
            (0x1c, Kind::Io, _) => Ok(Self::CommandSets {
                cntid: u16::from_le_bytes(cntid),
            }),
            _ => Err(Status::INVALID_FIELD.dnr()),
        }
    }
}

impl Controller {
    /// Executes Identify: one page.
    pub(super) fn identify(
        &self,
        what: &Identify,
        env: &Environment<'_>,
    ) -> Result<Vec<u8>, Status> {
        let namespaces = env.namespaces;
        match *what {
            Identify::Controller => Ok(page(&self.controller_data(env))),
            Identify::Namespace { nsid } => Ok(
                info(namespaces, nsid)?.map_or_else(empty, |i| page(&IdentifyNamespace::of(&i)))
            ),
            Identify::IndependentNamespace { nsid } => {
                Ok(info(namespaces, nsid)?
                    .map_or_else(empty, |i| page(&IndependentNamespace::of(&i))))
            }
            // No protection information: every field is zero.
            Identify::NvmNamespace { nsid } => info(namespaces, nsid).map(|_| empty()),
            Identify::NvmController => Ok(page(&NvmController::of(&self.config))),
            Identify::ActiveNamespaces { after } => active_list(namespaces, after),
            Identify::Descriptors { nsid } => Ok(descriptors(&namespaces.find(nsid)?)),
            Identify::CommandSets { cntid } => {
                if ![THIS_CONTROLLER, self.config.cntlid].contains(&cntid) {
                    return Err(Status::INVALID_FIELD.dnr());
                }
                let nvm_alone: U64 = 1.into();
                Ok(padded(nvm_alone.as_bytes().to_vec()))
            }
        }
    }
}

/// `text` as a fixed field, cut or padded. Characters that are not printable ASCII become `?`.
pub(crate) fn field<const N: usize>(text: &str, padding: u8) -> [u8; N] {
    let mut field = [padding; N];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = if matches!(from, b' '..=b'~') {
            from
        } else {
            b'?'
        };
    }
    field
}

/// An active namespace, or `None` for one that could be active and is not: hosts read zeroes then.
fn info(namespaces: &dyn Namespaces, nsid: u32) -> Result<Option<NamespaceInfo>, Status> {
    match namespaces.find(nsid) {
        Ok(info) => Ok(Some(info)),
        Err(_) if (1..=namespaces.highest()).contains(&nsid) => Ok(None),
        Err(status) => Err(status),
    }
}

/// Up to 1024 active NSIDs above `after`.
fn active_list(namespaces: &dyn Namespaces, after: u32) -> Result<Vec<u8>, Status> {
    if after >= 0xffff_fffe {
        return Err(Status::INVALID_NAMESPACE.dnr());
    }
    let nsids = active(namespaces, after).take(NSIDS_PER_PAGE);
    Ok(padded(nsids.flat_map(u32::to_le_bytes).collect()))
}

/// Namespace Identification Descriptors (Base 2.0 §5.17.2.3). The command set's one is required by
/// hosts that enable with CC.CSS 110b, Linux among them.
fn descriptors(info: &NamespaceInfo) -> Vec<u8> {
    let identifiers: [(u8, &[u8]); 4] = [
        (1, &info.eui64),
        (2, &info.nguid),
        (3, &info.uuid),
        (4, &[CSI_NVM]),
    ];
    let mut list = Vec::new();
    for (nidt, nid) in identifiers {
        let absent = nidt != 4 && nid.iter().all(|&byte| byte == 0);
        if !absent {
            let nidl = u8::try_from(nid.len()).unwrap_or_default();
            list.extend([nidt, nidl, 0, 0]);
            list.extend(nid);
        }
    }
    padded(list)
}

fn page<T: IntoBytes + Immutable>(data: &T) -> Vec<u8> {
    padded(data.as_bytes().to_vec())
}

fn empty() -> Vec<u8> {
    padded(Vec::new())
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(Identify::SIZE as usize, 0);
    bytes
}

/// Command set identifier of NVM.
const CSI_NVM: u8 = 0;

/// CNTID that means the controller that is asked.
const THIS_CONTROLLER: u16 = 0xffff;

const NSIDS_PER_PAGE: usize = Identify::SIZE as usize / size_of::<U32>();
