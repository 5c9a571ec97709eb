//! What there is in the fake kernel: ports, LUNs, maps, and which namespaces come of them.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::plane::{LunView, Plane, PortView, StorageView, Traffic};
use crate::nv::{Nvlist, Value};

/// All of it. Ports stand in the order of their numbers, as CTL sorts them.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ports: BTreeMap<u32, Port>,
    /// nvmft's own list of its ports, in the order in which they came. A port leaves it before its
    /// controllers are gone.
    pub(super) nvmf_ports: Vec<u32>,
    /// Ports that are being removed.
    pub(super) removals: u32,
    /// In the order in which they came.
    pub(super) luns: Vec<Lun>,
    pub(super) instances: u64,
    pub(super) misuses: Vec<String>,
    pub(super) panicked: Option<String>,
}

/// A port of any front end.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) frontend: String,
    pub(super) port_type: u32,
    pub(super) name: String,
    pub(super) physical: u32,
    pub(super) virtual_port: u32,
    /// Names of the target and of the port, where the front end has such.
    pub(super) target: Option<String>,
    pub(super) port: Option<String>,
    pub(super) online: bool,
    pub(super) options: Nvlist,
    /// CTL's LUNs by the port's own numbers; without a map both are the same.
    pub(super) map: Option<BTreeMap<u32, u32>>,
    /// Whether a test put it there for somebody else.
    pub(super) foreign: bool,
    /// What the plane had counted under this number before there was this port.
    pub(super) traffic_before: Traffic,
    pub(super) nvmf: Option<Nvmf>,
}

/// What nvmft adds to a port.
#[derive(Debug)]
pub(super) struct Nvmf {
    pub(super) subnqn: Vec<u8>,
    /// Whether hosts are let in. CTL's idea of it ([`Port::online`]) lags behind while it goes offline.
    pub(super) online: bool,
    pub(super) portid: u16,
    pub(super) max_io_qsize: u32,
    pub(super) enable_timeout: u8,
    pub(super) ioccsz: u32,
    pub(super) iorcsz: u32,
    pub(super) nn: u32,
    pub(super) serial: Vec<u8>,
    /// The NSIDs that hosts are told of, whether or not there is a LUN behind them.
    pub(super) active: BTreeSet<u32>,
    /// What the plane knows.
    pub(super) shown: BTreeMap<u32, LunView>,
}

/// What serves a LUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Block,
    Ramdisk,
}

/// A LUN.
#[derive(Debug)]
pub(super) struct Lun {
    pub(super) id: u32,
    pub(super) instance: u64,
    pub(super) backend: Backend,
    pub(super) lun_type: u8,
    /// Bytes and bytes of a block as they were asked for; 0: as the storage has them.
    pub(super) asked_size: u64,
    pub(super) asked_blocksize: u32,
    pub(super) size: u64,
    pub(super) blocksize: u32,
    pub(super) serial: Vec<u8>,
    pub(super) device_id: Vec<u8>,
    pub(super) threads: i32,
    pub(super) options: Nvlist,
    /// The file or disk that is open.
    pub(super) open: Option<PathBuf>,
    pub(super) readonly: bool,
    pub(super) capacity: u64,
    /// Whether a test put it there for somebody else.
    pub(super) foreign: bool,
}

impl State {
    /// Something that the kernel takes and that a good daemon never does.
    pub(super) fn misuse(&mut self, what: impl Into<String>) {
        // A daemon that goes wrong in a loop shall not fill the memory as well.
        if self.misuses.len() < 1000 {
            self.misuses.push(what.into());
        }
    }

    pub(super) fn lun(&self, id: u32) -> Option<&Lun> {
        self.luns.iter().find(|lun| lun.id == id)
    }

    pub(super) fn lun_mut(&mut self, id: u32) -> Option<&mut Lun> {
        self.luns.iter_mut().find(|lun| lun.id == id)
    }

    /// The port of a subsystem that nvmft finds, with its number.
    pub(super) fn subsystem(&self, subnqn: &[u8]) -> Option<u32> {
        let has_name = |id: &&u32| {
            let port = self.ports.get(id);
            port.and_then(|port| port.nvmf.as_ref())
                .is_some_and(|nvmf| nvmf.subnqn == subnqn)
        };
        self.nvmf_ports.iter().find(has_name).copied()
    }

    /// nvmft's `lun_enable`: hosts are told of a namespace.
    pub(super) fn enable_lun(&mut self, port: u32, plun: u32) {
        if let Some(nvmf) = self.nvmf_mut(port)
            && plun < nvmf.nn
        {
            nvmf.active.insert(plun + 1);
        }
    }

    /// nvmft's `lun_disable`.
    pub(super) fn disable_lun(&mut self, port: u32, plun: u32) {
        if let Some(nvmf) = self.nvmf_mut(port)
            && plun < nvmf.nn
        {
            nvmf.active.remove(&(plun + 1));
        }
    }

    pub(super) fn nvmf_mut(&mut self, port: u32) -> Option<&mut Nvmf> {
        self.ports.get_mut(&port)?.nvmf.as_mut()
    }

    /// The port's own numbers of all LUNs that it has: of a port without a map, of all there are.
    pub(super) fn pluns(&self, port: u32) -> Vec<u32> {
        match self.ports.get(&port).and_then(|port| port.map.as_ref()) {
            Some(map) => map.keys().copied().collect(),
            None => self.luns.iter().map(|lun| lun.id).collect(),
        }
    }

    /// What hosts of an NVMe port can reach, by NSID.
    pub(super) fn namespaces(&self, port: u32) -> BTreeMap<u32, LunView> {
        let Some(port) = self.ports.get(&port) else {
            return BTreeMap::new();
        };
        let active = port.nvmf.iter().flat_map(|nvmf| &nvmf.active);
        let behind = |&nsid: &u32| {
            let plun = nsid - 1;
            let id = match &port.map {
                Some(map) => *map.get(&plun)?,
                None => plun,
            };
            Some((nsid, self.lun(id)?.view()))
        };
        active.filter_map(behind).collect()
    }

    /// Tells the plane what has changed for the hosts of ports that are online.
    pub(super) fn settle(&mut self, plane: &dyn Plane) {
        for id in self.nvmf_ports.clone() {
            let now = self.namespaces(id);
            let Some(nvmf) = self.nvmf_mut(id).filter(|nvmf| nvmf.online) else {
                continue;
            };
            let before = std::mem::replace(&mut nvmf.shown, now.clone());
            for &nsid in before.keys().filter(|&nsid| !now.contains_key(nsid)) {
                plane.mapped(id, nsid, None);
            }
            for (nsid, lun) in now {
                if before.get(&nsid) != Some(&lun) {
                    plane.mapped(id, nsid, Some(lun));
                }
            }
        }
    }

    /// A port as its plane sees it, if it is nvmft's.
    pub(super) fn view(&self, id: u32) -> Option<PortView> {
        let nvmf = self.ports.get(&id)?.nvmf.as_ref()?;
        let serial = &nvmf.serial[..nvmf.serial.len().min(20)];
        Some(PortView {
            id,
            subnqn: text(&nvmf.subnqn),
            portid: nvmf.portid,
            max_io_qsize: nvmf.max_io_qsize,
            enable_timeout: nvmf.enable_timeout,
            ioccsz: nvmf.ioccsz,
            iorcsz: nvmf.iorcsz,
            nn: nvmf.nn,
            serial: text(serial),
            namespaces: self.namespaces(id),
        })
    }
}

impl Backend {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Ramdisk => "ramdisk",
        }
    }
}

impl Lun {
    /// The value of an option that is a string.
    pub(super) fn option(&self, name: &str) -> Option<&[u8]> {
        self.options.get_bytes(name)
    }

    /// Blocks as the list of LUNs shows them.
    pub(super) fn listed_blocks(&self) -> u64 {
        match self.size / u64::from(self.blocksize.max(1)) {
            // FreeBSD BUG: the largest LBA is 0 both of no block and of one.
            0 | 1 => 0,
            blocks => blocks,
        }
    }

    pub(super) fn view(&self) -> LunView {
        let option = |name| self.option(name).map(text);
        LunView {
            id: self.id,
            instance: self.instance,
            storage: match self.backend {
                Backend::Block => StorageView::Block(self.open.clone()),
                Backend::Ramdisk => StorageView::Ramdisk {
                    capacity: self.capacity,
                },
            },
            size: self.size,
            blocksize: self.blocksize,
            readonly: self.readonly,
            serial: text(&self.serial),
            device_id: text(&self.device_id),
            eui: option("eui"),
            naa: option("naa"),
            uuid: option("uuid"),
        }
    }
}

/// Text for people, of bytes that may be none.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Looks through options that are to be kept for what a good daemon never stores: names and values that
/// break the lists, which print them as they are, and values that the kernel passes over.
pub(super) fn unlistable(options: &Nvlist) -> Vec<String> {
    let breaks = |bytes: &[u8]| {
        bytes
            .iter()
            .any(|byte| matches!(byte, b'<' | b'>' | b'&') || byte.is_ascii_control())
    };
    let wrong = |(name, value): (&str, &Value)| match value {
        _ if breaks(name.as_bytes()) => Some(format!("option name {name:?} breaks the lists")),
        Value::String(value) if breaks(value) => {
            Some(format!("value of option {name:?} breaks the lists"))
        }
        Value::String(_) => None,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Nvlist(_)
        | Value::Binary(_)
        | Value::BoolArray(_)
        | Value::NumberArray(_)
        | Value::StringArray(_)
        | Value::NvlistArray(_) => Some(format!("option {name:?} is no string")),
    };
    options.iter().filter_map(wrong).collect()
}
