//! What could be desired, as recipes: what they come to depends on the machine.

use std::collections::BTreeMap;

use nvmf_kmod::request::{LunId, Storage};

use super::machine::{Machine, NAMES};
use crate::reconcile::{Desired, DesiredLun, DesiredPort, Exports, Limits, OurLun};

/// Ports, of different names.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish(pub(super) Vec<PortWish>);

#[derive(Debug, Clone)]
pub(super) struct PortWish {
    /// Which of [`NAMES`].
    pub(super) name: usize,
    /// Which kernel options; 0 to 5, each of which differs from the others.
    pub(super) options: usize,
    /// Namespaces; none: everything.
    pub(super) namespaces: Option<BTreeMap<u32, LunWish>>,
}

#[derive(Debug, Clone)]
pub(super) enum LunWish {
    /// The nth LUN that is not ours, round and round; the last number is of none, the one before of one
    /// of ours.
    Existing(usize),
    /// Which storage, which identity.
    Ours(usize, usize),
}

/// What LUNs can be made of.
pub(super) struct Storages {
    pub(super) files: [String; 3],
    pub(super) missing: String,
    pub(super) tiny: String,
}

/// So many numbers there are for LUNs of others.
pub(super) const EXISTING: usize = 24;

/// Storages from here on are of no use.
pub(super) const BAD: usize = 5;

impl Storages {
    /// 0 to 2 are files, 3 and 4 memory, [`BAD`] a missing file, then one of less than a block.
    pub(super) fn lun(&self, storage: usize, identity: usize) -> OurLun {
        let block = |path: &String| Storage::Block { path: path.clone() };
        let (storage, bytes) = match storage {
            0..=2 => {
                let file = &self.files[storage];
                // The first never changes, and is not measured.
                let size = (storage > 0).then(|| std::fs::metadata(file).unwrap().len());
                (block(file), size)
            }
            3 => (Storage::Ramdisk { size: 1 << 20 }, None),
            4 => (Storage::Ramdisk { size: 2 << 20 }, None),
            BAD => (block(&self.missing), None),
            _ => (block(&self.tiny), None),
        };
        let ids = ["0123456789abcdef", "fedcba9876543210"];
        OurLun {
            storage,
            bytes,
            blocksize: [0, 4096, 0, 0, 512][identity],
            read_only: false,
            serial: ["S1", "S1", "S2", "S1", "S1"][identity].into(),
            device_id: ["D1", "D1", "D1", "D2", "D1"][identity].into(),
            eui: Some(ids[usize::from(identity == 3)].into()),
            uuid: (identity == 4).then(|| uuid::Uuid::from_u128(7)),
        }
    }
}

impl PortWish {
    pub(super) fn port(&self, machine: &Machine) -> DesiredPort {
        let nth = |n| if self.options == n { 1 } else { 0 };
        let foreign = machine.foreign_luns();
        let lun = |wish: &LunWish| match *wish {
            LunWish::Existing(nth) => {
                let found = match EXISTING - nth {
                    1 => None,
                    2 => machine.our_luns().first().map(|lun| lun.id),
                    _ => foreign.get(nth % foreign.len().max(1)).copied(),
                };
                DesiredLun::Existing(LunId(found.unwrap_or(900)))
            }
            LunWish::Ours(storage, identity) => {
                DesiredLun::Ours(machine.storages.lun(storage, identity))
            }
        };
        DesiredPort {
            nqn: NAMES[self.name].parse().unwrap(),
            portid: [1, 2][nth(1)],
            serial: ["SERIAL", "OTHER"][nth(2)].into(),
            max_io_qsize: [1024, 128][nth(3)],
            ioccsz: [16448, 8256][nth(4)],
            nn: [1024, 16][nth(5)],
            exports: match &self.namespaces {
                None => Exports::Everything,
                Some(namespaces) => {
                    let luns = namespaces.iter().map(|(nsid, wish)| (*nsid, lun(wish)));
                    Exports::Namespaces(luns.collect())
                }
            },
        }
    }
}

impl Wish {
    pub(super) fn desired(&self, machine: &Machine) -> Desired {
        let ports = self.0.iter().map(|port| port.port(machine)).collect();
        Desired::new(ports, Limits::default()).unwrap()
    }

    /// The same without storage that is of no use.
    pub(super) fn sober(mut self) -> Self {
        for lun in self.0.iter_mut().flat_map(|port| &mut port.namespaces) {
            for wish in lun.values_mut() {
                if let LunWish::Ours(storage, _) = wish {
                    *storage %= BAD;
                }
            }
        }
        self
    }
}
