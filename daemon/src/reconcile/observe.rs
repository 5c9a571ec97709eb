//! What CTL holds: ours in full, of everybody else's what a plan must know to keep clear of it.
//!
//! Nothing here changes anything. What cannot be read counts as somebody else's, of which anything may
//! be true: that it has a name that we want, that it shows a LUN of ours.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nvmf_kmod::request::{LunId, NewLun, NewPort, PortId, Storage};
use nvmf_kmod::xml::{Damaged, ListedLun, ListedPort, Luns, Ports};
use nvmf_kmod::{Ctl, KernelError};
use nvmf_proto::nqn::Nqn;

use super::marker::{self, NamespaceKey};

/// What CTL held when it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Our ports. No two have the same name, which the kernel sees to.
    pub ports: Vec<SeenPort>,
    /// Our LUNs. After crashes several may have the same mark.
    pub luns: Vec<SeenLun>,
    /// Everybody else's ports, but the other machine's of a pair (`ha`).
    pub foreign_ports: Vec<ForeignPort>,
    /// Everybody else's LUNs, those that cannot be read included.
    pub foreign_luns: BTreeSet<LunId>,
    /// Ports that cannot be read.
    pub damaged_ports: Vec<Damaged>,
    /// LUNs that cannot be read.
    pub damaged_luns: Vec<Damaged>,
}

/// A port of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPort {
    /// CTL's number of it.
    pub id: PortId,
    /// The subsystem's name.
    pub nqn: Nqn,
    /// Whether hosts are served.
    pub online: bool,
    /// The options that mean something to the kernel, as they were given.
    pub kernel_options: BTreeMap<String, String>,
    /// LUNs by NSID. None: every LUN that there is.
    pub map: Option<BTreeMap<u32, LunId>>,
}

/// A LUN of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLun {
    /// CTL's number of it.
    pub id: LunId,
    /// What it was made for. None: our mark, with a value that makes no sense.
    pub key: Option<NamespaceKey>,
    /// All of it.
    pub listed: ListedLun,
}

/// A port of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignPort {
    /// CTL's number of it.
    pub id: PortId,
    /// Its front end: `iscsi`, `nvmf`…
    pub frontend: String,
    /// The subsystem's name, if it has one.
    pub subnqn: Option<String>,
    /// Who made it.
    pub owner: Owner,
    /// The LUNs in its map; nothing if it has no map.
    pub maps: BTreeSet<LunId>,
}

/// Who made a port, as far as that can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// ctld(8), for this transport group.
    Ctld(String),
    /// Anybody: FreeBSD's own nvmfd leaves no trace.
    Unknown,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ctld(group) => write!(f, "ctld made (transport group {group:?})"),
            Self::Unknown => f.write_str("another program made"),
        }
    }
}

/// How well a LUN of ours serves as what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitness {
    /// As it is.
    Right,
    /// Once it was modified, for this reason; hosts keep it meanwhile.
    AfterModify(Stale),
    /// Not at all: it must be made anew. What is wrong with it.
    Wrong(Vec<&'static str>),
}

/// What of a LUN can be changed under its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Its file or disk has another size than the kernel knows.
    Size,
    /// Its options.
    Options,
}

/// Asks CTL.
///
/// # Errors
/// The kernel's.
pub fn observe(ctl: &Ctl) -> Result<Observed, KernelError> {
    // LUNs first: a port that is listed maps LUNs that were there, or were made since.
    let luns = ctl.luns()?;
    Ok(Observed::new(ctl.ports()?, luns))
}

impl Observed {
    /// Sorts the kernel's lists by owner.
    pub fn new(ports: Ports, luns: Luns) -> Self {
        let mut seen = Self {
            foreign_luns: luns
                .damaged
                .iter()
                .filter_map(|lun| lun.id.map(LunId))
                .collect(),
            damaged_ports: ports.damaged,
            damaged_luns: luns.damaged,
            ..Self::default()
        };
        for lun in luns.luns {
            match SeenLun::of(lun) {
                Ok(ours) => seen.luns.push(ours),
                Err(id) => {
                    seen.foreign_luns.insert(id);
                }
            }
        }
        for port in ports.ports {
            match SeenPort::of(&port) {
                Some(ours) => seen.ports.push(ours),
                None if port.frontend == PEER => {}
                None => seen.foreign_ports.push(ForeignPort::of(&port)),
            }
        }
        seen
    }

    /// Whether there is a LUN of this number, whoever's.
    pub fn has_lun(&self, id: LunId) -> bool {
        self.foreign_luns.contains(&id) || self.luns.iter().any(|lun| lun.id == id)
    }
}

impl SeenPort {
    /// This port, if it is ours.
    pub fn of(port: &ListedPort) -> Option<Self> {
        port.option(marker::PORT)?;
        if port.frontend != FRONTEND {
            return None;
        }
        let kernel_options = KERNEL_OPTIONS
            .iter()
            .filter_map(|&key| Some((key.to_owned(), port.option(key)?.to_owned())));
        let nsid = |plun: u32| plun.checked_add(1).filter(|&nsid| nsid < u32::MAX);
        let by_nsid = |map: &BTreeMap<u32, u32>| {
            map.iter()
                .filter_map(|(&plun, &lun)| Some((nsid(plun)?, LunId(lun))))
                .collect()
        };
        Some(Self {
            id: PortId(port.id),
            nqn: port.option("subnqn")?.parse().ok()?,
            online: port.online,
            kernel_options: kernel_options.collect(),
            map: port.lun_map.as_ref().map(by_nsid),
        })
    }

    /// The kernel's options that are not as wanted. They cannot be changed but by making it anew.
    pub fn differences(&self, wanted: &NewPort) -> Vec<&'static str> {
        let arguments = wanted.arguments();
        KERNEL_OPTIONS
            .iter()
            .copied()
            .filter(|key| {
                self.kernel_options.get(*key).map(String::as_str) != arguments.get_string(key)
            })
            .collect()
    }
}

impl SeenLun {
    /// This LUN, if it is ours; or else its number.
    pub fn of(listed: ListedLun) -> Result<Self, LunId> {
        let id = LunId(listed.id);
        let Some(mark) = listed.option(marker::LUN) else {
            return Err(id);
        };
        Ok(Self {
            id,
            key: NamespaceKey::read(mark),
            listed,
        })
    }

    /// How well it serves as `wanted`, whose file or disk has this many bytes, if that is known.
    pub fn fitness(&self, wanted: &NewLun, bytes: Option<u64>) -> Fitness {
        let wrong = self.differences(wanted);
        if !wrong.is_empty() {
            return Fitness::Wrong(wrong);
        }
        let arguments = wanted.arguments();
        let kept = |key: &str| self.listed.option(key) == arguments.get_string(key);
        if !CHANGEABLE_OPTIONS.into_iter().all(kept) {
            return Fitness::AfterModify(Stale::Options);
        }
        let whole_blocks = |bytes: u64| bytes - bytes % u64::from(self.listed.blocksize.max(1));
        match (&wanted.storage, bytes) {
            (Storage::Block { .. }, Some(bytes)) if whole_blocks(bytes) != self.bytes() => {
                Fitness::AfterModify(Stale::Size)
            }
            _ => Fitness::Right,
        }
    }

    /// What is not as wanted and cannot be changed but by making it anew.
    fn differences(&self, wanted: &NewLun) -> Vec<&'static str> {
        let listed = &self.listed;
        let option = |key: &str, value: Option<&str>| listed.option(key) == value;
        let (storage, same_storage) = match &wanted.storage {
            Storage::Block { path } => ("file", option("file", Some(path))),
            Storage::Ramdisk { size } => (
                "size",
                self.bytes() == *size && option("capacity", Some(&size.to_string())),
            ),
        };
        let mut marks = wanted.options.iter();
        let holds = [
            ("backend", listed.backend == wanted.storage.backend()),
            // Made from a file that could not be opened, and not removed any more.
            ("medium", listed.size_blocks != 0),
            (storage, same_storage),
            (
                "block size",
                wanted.blocksize == 0 || listed.blocksize == wanted.blocksize,
            ),
            (
                "access",
                (listed.option("readonly") == Some("on")) == wanted.read_only,
            ),
            ("serial number", listed.serial_number == wanted.serial),
            ("device identifier", listed.device_id == wanted.device_id),
            ("EUI64 or NGUID", option("eui", wanted.eui.as_deref())),
            ("UUID", option("uuid", wanted.uuid.as_deref())),
            ("mark", marks.all(|(key, value)| option(key, Some(value)))),
        ];
        let wrong = holds.into_iter().filter(|(_, holds)| !holds);
        wrong.map(|(what, _)| what).collect()
    }

    /// Its size in bytes.
    fn bytes(&self) -> u64 {
        let block = u64::from(self.listed.blocksize);
        self.listed.size_blocks.saturating_mul(block)
    }
}

impl ForeignPort {
    fn of(port: &ListedPort) -> Self {
        let group = port.option("ctld_transport_group_name");
        Self {
            id: PortId(port.id),
            frontend: port.frontend.clone(),
            subnqn: port.option("subnqn").map(Into::into),
            owner: group.map_or(Owner::Unknown, |group| Owner::Ctld(group.into())),
            maps: port
                .lun_map
                .iter()
                .flat_map(BTreeMap::values)
                .map(|&lun| LunId(lun))
                .collect(),
        }
    }
}

/// The front end of our ports.
pub(super) const FRONTEND: &str = "nvmf";

/// The front end of ports that are the other machine's, of a pair.
const PEER: &str = "ha";

/// The options of a port that the kernel reads, set by us or not.
const KERNEL_OPTIONS: [&str; 7] = [
    "portid",
    "max_io_qsize",
    "enable_timeout",
    "ioccsz",
    "iorcsz",
    "nn",
    "serial",
];

/// The options of a LUN that can change under its hosts.
const CHANGEABLE_OPTIONS: [&str; 1] = ["unmap"];
