//! A machine with the fake kernel: what others do there, what daemons before us left, and pictures of
//! all of it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nvmf_kmod::fake::faults::{Fault, FaultKind, Faults, Faulty};
use nvmf_kmod::fake::{Bookkeeper, FakeKernel, ForeignLun, ForeignPort, Region, Request};
use nvmf_kmod::kernel::Call;
use nvmf_kmod::request::{LunId, PortId};
use nvmf_kmod::xml::{ListedLun, ListedPort};
use nvmf_kmod::{Ctl, Errno, Kernel};
use tempfile::TempDir;

use super::wish::{PortWish, Storages};
use crate::reconcile::marker;

/// A machine, and two ways to its kernel: the daemon's, which can be made to fail, and everybody else's.
pub(super) struct Machine {
    pub(super) kernel: FakeKernel,
    pub(super) books: Bookkeeper,
    pub(super) faults: Faults,
    /// What the daemon asked for, but lists.
    pub(super) changes: Arc<Mutex<Vec<u32>>>,
    pub(super) storages: Storages,
    /// How many misuses are told already, or were not ours.
    told: Cell<usize>,
    _directory: TempDir,
}

/// What others do, and what daemons leave that end at the wrong moment.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Somebody makes a LUN.
    ForeignLun { ramdisk: bool, id: Option<u32> },
    /// Somebody makes a port of another front end; LUNs need not exist.
    ForeignPort { map: Vec<(u32, u32)> },
    /// The other machine of a pair shows its port, of any name.
    PeerPort { name: usize, map: Vec<(u32, u32)> },
    /// ctld, or somebody who leaves no trace, makes a port of ours or another name.
    NvmfPort {
        name: usize,
        ctld: bool,
        map: Vec<(u32, u32)>,
        online: bool,
    },
    /// Somebody makes something that the lists cannot show.
    Damage {
        port: bool,
        value: usize,
        map: Vec<(u32, u32)>,
    },
    /// A daemon made a LUN, perhaps a second time.
    OurLun {
        name: usize,
        nsid: u32,
        storage: usize,
    },
    /// A daemon made a LUN of a file that was not there then, and died.
    Hollow { name: usize, nsid: u32, file: usize },
    /// A daemon made a port, and got so far.
    OurPort {
        wish: PortWish,
        map: Option<Vec<(u32, u32)>>,
        online: bool,
    },
    /// Somebody removes a LUN by hand; maps keep its number.
    RemoveLun(usize),
    /// Somebody removes a port of ours by hand.
    RemovePort(usize),
    /// Somebody switches a port of ours.
    Switch(usize, bool),
    /// Somebody shows another LUN on a port of ours.
    Map(usize, u32, usize),
    /// Somebody hides a namespace of a port of ours.
    Unmap(usize, u32),
    /// Somebody drops or empties the map of a port of ours, if it is offline.
    Remap { port: usize, drop: bool },
    /// A file gets another size.
    Resize { file: usize, bytes: u64 },
}

/// The names of our ports, and one that is not.
pub(super) const NAMES: [&str; 4] = [
    "nqn.2014-08.org.example:a",
    "nqn.2014-08.org.example:b",
    "nqn.2014-08.org.example:c",
    "nqn.2014-08.org.example:others",
];

impl Machine {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let files = ["one", "two", "three"].map(path);
        for (size, file) in (1..).zip(&files) {
            File::create(file).unwrap().set_len(size << 20).unwrap();
        }
        File::create(path("tiny")).unwrap().set_len(100).unwrap();
        let books = Bookkeeper::new();
        Self {
            kernel: FakeKernel::new(Arc::new(books.clone())),
            books,
            faults: Faults::new(),
            changes: Arc::default(),
            storages: Storages {
                files,
                missing: path("missing"),
                tiny: path("tiny"),
            },
            told: Cell::new(0),
            _directory: directory,
        }
    }

    /// The kernel as the daemon finds it, failures included.
    pub(super) fn daemon(&self) -> Ctl {
        let faulty = Faulty::new(self.kernel.clone(), self.faults.clone());
        Ctl::new(Arc::new(Recorder {
            kernel: faulty,
            changes: Arc::clone(&self.changes),
        }))
    }

    /// The kernel as everybody else finds it.
    pub(super) fn by_hand(&self) -> Ctl {
        Ctl::new(Arc::new(self.kernel.clone()))
    }

    /// Does it; what the fake thinks of it does not count.
    pub(super) fn perform(&self, deed: &Deed) {
        self.attempt(deed);
        let _ = self.misuses();
    }

    fn attempt(&self, deed: &Deed) -> Option<()> {
        let ctl = self.by_hand();
        match deed {
            Deed::ForeignLun { ramdisk, id } => {
                let file = self.storages.files[0].clone();
                let lun = ForeignLun {
                    backend: if *ramdisk { "ramdisk" } else { "block" }.into(),
                    size: if *ramdisk { 1 << 20 } else { 0 },
                    id: *id,
                    options: vec![("file".into(), file), ("ctld_name".into(), "x".into())],
                    ..ForeignLun::default()
                };
                self.kernel.add_lun(lun).ok()?;
            }
            Deed::ForeignPort { map } => {
                let port = ForeignPort::iscsi("iqn.2012-06.org.example:t", map.iter().copied());
                self.kernel.add_port(port).ok()?;
            }
            Deed::PeerPort { name, map } => {
                let port = ForeignPort {
                    frontend: "ha".into(),
                    port_type: 0x100,
                    name: "1:nvmf".into(),
                    online: true,
                    options: vec![
                        ("subnqn".into(), NAMES[*name].into()),
                        (marker::PORT.into(), NAMES[*name].into()),
                    ],
                    map: Some(map.iter().copied().collect()),
                    ..ForeignPort::default()
                };
                self.kernel.add_port(port).ok()?;
            }
            Deed::NvmfPort {
                name,
                ctld,
                map,
                online,
            } => {
                let mut options = vec![("subnqn", NAMES[*name]), ("portid", "7")];
                options.extend(ctld.then_some(("ctld_transport_group_name", "tg0")));
                let id = self.kernel.add_nvmf_port(&options, *online).ok()?;
                for (plun, lun) in map {
                    ctl.map(PortId(id), plun + 1, LunId(*lun)).ok()?;
                }
            }
            Deed::Damage { port, value, map } => {
                let values = [
                    "a<b",
                    "</x><nvmfd>",
                    "a<",
                    "\n</targ_port>\n</lun>\n",
                    "\n</lun>\n<lun id=\"2\">\n",
                    "\n</targ_port>\n<targ_port id=\"4\">\n",
                ];
                let options = vec![("note".into(), values[value % values.len()].into())];
                // With a line of its own in it, nobody can tell whose the map behind it is.
                let whole = value % values.len() < 3;
                let map = map.iter().copied().filter(|_| whole);
                if *port {
                    let port = ForeignPort {
                        options,
                        ..ForeignPort::iscsi("iqn.2012-06.org.example:d", map)
                    };
                    self.kernel.add_port(port).ok()?;
                } else {
                    let lun = ForeignLun {
                        backend: "ramdisk".into(),
                        size: 1 << 20,
                        options,
                        ..ForeignLun::default()
                    };
                    self.kernel.add_lun(lun).ok()?;
                }
            }
            Deed::OurLun {
                name,
                nsid,
                storage,
            } => {
                let key = marker::NamespaceKey {
                    nqn: NAMES[*name].parse().unwrap(),
                    nsid: *nsid,
                };
                let lun = self.storages.lun(*storage, 0);
                ctl.create_lun(&lun.new_lun(&key)).ok()?;
            }
            Deed::Hollow { name, nsid, file } => {
                let key = marker::NamespaceKey {
                    nqn: NAMES[*name].parse().unwrap(),
                    nsid: *nsid,
                };
                let lun = self.storages.lun(*file, 0).new_lun(&key);
                // It dies between the kernel's warning and the removal.
                let faults = Faults::new();
                faults.order_at(1, FaultKind::Crash);
                let dying = Ctl::new(Arc::new(Faulty::new(self.kernel.clone(), faults)));
                let (file, aside) = (&self.storages.files[*file], &self.storages.missing);
                std::fs::rename(file, aside).unwrap();
                let made = dying.create_lun(&lun);
                std::fs::rename(aside, file).unwrap();
                made.unwrap_err();
            }
            Deed::OurPort { wish, map, online } => {
                let port = wish.port(self);
                let id = ctl.create_port(&port.new_port()).ok()?;
                if let Some(map) = map {
                    ctl.empty_map(id).ok()?;
                    for (plun, lun) in map {
                        // LUNs that do not exist cannot be mapped; the others are.
                        let _ = ctl.map(id, plun + 1, LunId(*lun));
                    }
                }
                if *online {
                    ctl.enable_port(id).ok()?;
                }
            }
            Deed::RemoveLun(nth) => {
                let luns = ctl.luns().ok()?.luns;
                let lun = luns.get(nth % luns.len().max(1))?;
                ctl.remove_lun(&lun.backend, LunId(lun.id)).ok()?;
            }
            Deed::RemovePort(nth) => {
                let (port, _) = self.our_port(*nth)?;
                let nqn = port.option("subnqn")?.parse().ok()?;
                ctl.remove_port(&nqn).ok()?;
            }
            Deed::Switch(nth, on) => {
                let (_, id) = self.our_port(*nth)?;
                if *on {
                    ctl.enable_port(id).ok()?;
                } else {
                    ctl.disable_port(id).ok()?;
                }
            }
            Deed::Map(nth, plun, lun) => {
                let (port, id) = self.our_port(*nth)?;
                let luns = ctl.luns().ok()?.luns;
                let lun = luns.get(lun % luns.len().max(1))?.id;
                // A port's first map hides everything, which is no good while it is online.
                if port.lun_map.is_some() || !port.online {
                    ctl.unmap(id, plun + 1).ok()?;
                    ctl.map(id, plun + 1, LunId(lun)).ok()?;
                }
            }
            Deed::Unmap(nth, plun) => {
                let (_, id) = self.our_port(*nth)?;
                ctl.unmap(id, plun + 1).ok()?;
            }
            Deed::Remap { port, drop } => {
                let (port, id) = self.our_port(*port)?;
                if !port.online {
                    if *drop {
                        ctl.drop_map(id).ok()?;
                    } else {
                        ctl.empty_map(id).ok()?;
                    }
                }
            }
            Deed::Resize { file, bytes } => {
                let file = PathBuf::from(&self.storages.files[file % 3]);
                File::options()
                    .write(true)
                    .open(file)
                    .unwrap()
                    .set_len(*bytes)
                    .unwrap();
            }
        }
        Some(())
    }

    /// The `nth` port of ours, round and round.
    fn our_port(&self, nth: usize) -> Option<(ListedPort, PortId)> {
        let ours = self.our_ports();
        let port = ours.get(nth % ours.len().max(1))?;
        Some((port.clone(), PortId(port.id)))
    }

    pub(super) fn our_ports(&self) -> Vec<ListedPort> {
        let mut ports = self.by_hand().ports().unwrap().ports;
        ports.retain(|port| port.frontend == "nvmf" && port.option(marker::PORT).is_some());
        ports
    }

    pub(super) fn our_luns(&self) -> Vec<ListedLun> {
        let mut luns = self.by_hand().luns().unwrap().luns;
        luns.retain(|lun| lun.option(marker::LUN).is_some());
        luns
    }

    /// The numbers of LUNs that are not ours.
    pub(super) fn foreign_luns(&self) -> Vec<u32> {
        let luns = self.by_hand().luns().unwrap().luns;
        let foreign = luns.iter().filter(|lun| lun.option(marker::LUN).is_none());
        foreign.map(|lun| lun.id).collect()
    }

    /// Orders failures for what the daemon asks from now on.
    pub(super) fn order(&self, faults: &[(u32, FaultKind)]) {
        self.faults.clear();
        for (skip, kind) in faults {
            self.faults.order(Fault {
                code: None,
                skip: *skip,
                kind: kind.clone(),
            });
        }
    }

    /// Misuses since the last call, and since the last deed of others.
    pub(super) fn misuses(&self) -> Vec<String> {
        let mut misuses = self.kernel.misuses();
        let told = self.told.replace(misuses.len());
        misuses.split_off(told)
    }

    /// Everything that is not ours, as the kernel prints it.
    pub(super) fn others(&self) -> Vec<String> {
        let mut objects = objects(&self.list(nvmf_sys::CTL_PORT_LIST), "targ_port");
        objects.extend(self::objects(&self.list(nvmf_sys::CTL_LUN_LIST), "lun"));
        let marks = [marker::PORT, marker::LUN].map(|mark| format!("\n\t<{mark}>"));
        let is_ours = |object: &String| {
            let peer = object.contains("\n\t<frontend_type>ha</");
            !peer && marks.iter().any(|mark| object.contains(mark))
        };
        objects.retain(|object| !is_ours(object));
        objects
    }

    /// Everything, as the kernel prints it.
    pub(super) fn all(&self) -> (String, String) {
        (
            self.list(nvmf_sys::CTL_PORT_LIST),
            self.list(nvmf_sys::CTL_LUN_LIST),
        )
    }

    /// A list's text: `ctl_lun_list` by hand.
    fn list(&self, code: u32) -> String {
        const SPACE: u32 = 1 << 16;
        const ADDRESS: u64 = 0x1000;
        let mut argument = vec![0; 216];
        argument[32..36].copy_from_slice(&SPACE.to_ne_bytes());
        argument[40..48].copy_from_slice(&ADDRESS.to_ne_bytes());
        let mut request = Request {
            code,
            argument,
            memory: vec![Region::output(ADDRESS, SPACE as usize)],
            descriptor: None,
        };
        self.kernel.request(&mut request).unwrap();
        let text = &request.memory[0].bytes;
        let end = text.iter().position(|&byte| byte == 0).unwrap();
        String::from_utf8(text[..end].to_vec()).unwrap()
    }

    /// LUNs in maps of others, by port; of ports that cannot be read as well. Of the peer's or of all
    /// but those.
    pub(super) fn foreign_maps(&self, peers: bool) -> BTreeSet<(u32, u32)> {
        let between = |line: &str, from: &str, to: &str| -> Option<u32> {
            line.strip_prefix(from)?.split(to).next()?.parse().ok()
        };
        let mut maps = BTreeSet::new();
        for object in self.others() {
            if object.contains("\n\t<frontend_type>ha</") != peers {
                continue;
            }
            let Some(port) = between(&object, "<targ_port id=\"", "\"") else {
                continue;
            };
            for line in object.lines() {
                let entry = line
                    .strip_prefix("\t<lun id=\"")
                    .and_then(|line| line.split_once("\">"));
                let lun = entry.and_then(|(_, lun)| between(lun, "", "<"));
                maps.extend(lun.map(|lun| (port, lun)));
            }
        }
        maps
    }
}

/// A list's objects, each with its lines.
fn objects(list: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag} id=\""), format!("</{tag}>\n"));
    let mut objects = vec![String::new()];
    let is_root = |line: &str| line.starts_with("<ctl") || line.starts_with("</ctl");
    for line in list.split_inclusive('\n').filter(|line| !is_root(line)) {
        if line.starts_with(&open) {
            objects.push(String::new());
        }
        objects.last_mut().unwrap().push_str(line);
        if line == close {
            objects.push(String::new());
        }
    }
    objects.retain(|object| !object.is_empty());
    objects
}

/// Remembers what was asked for, but lists.
struct Recorder<K> {
    kernel: K,
    changes: Arc<Mutex<Vec<u32>>>,
}

impl<K: Kernel> Kernel for Recorder<K> {
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno> {
        let code = call.code();
        if ![nvmf_sys::CTL_PORT_LIST, nvmf_sys::CTL_LUN_LIST].contains(&code) {
            self.changes.lock().unwrap().push(code);
        }
        self.kernel.ioctl(call)
    }
}
