//! Whether CTL holds what is desired, judged by its lists and by what hosts see; and whether it can.
//! Written without a look at the plan.

use std::collections::{BTreeMap, BTreeSet};

use nvmf_kmod::request::Storage;
use nvmf_kmod::xml::ListedLun;

use super::machine::Machine;
use crate::reconcile::{Desired, DesiredLun, DesiredPort, Exports, OurLun, marker};

/// Whether others stand in the way of it.
pub(super) fn conflicts(machine: &Machine, desired: &Desired) -> bool {
    let ctl = machine.by_hand();
    let (ports, luns) = (ctl.ports().unwrap(), ctl.luns().unwrap());
    let ours: BTreeSet<u32> = machine.our_luns().iter().map(|lun| lun.id).collect();
    let mut there: BTreeSet<u32> = luns.luns.iter().map(|lun| lun.id).collect();
    there.extend(luns.damaged.iter().filter_map(|lun| lun.id));
    desired.ports().iter().any(|wanted| {
        let named = |port: &&nvmf_kmod::xml::ListedPort| {
            port.frontend == "nvmf" && port.option("subnqn") == Some(wanted.nqn.as_str())
        };
        let by_name = ports.ports.iter().find(named);
        let taken = match by_name {
            Some(port) => port.option(marker::PORT).is_none(),
            None => !ports.damaged.is_empty(),
        };
        let existing = |lun: &DesiredLun| match lun {
            DesiredLun::Existing(id) => Some(id.0),
            DesiredLun::Ours(_) => None,
        };
        let namespaces = match &wanted.exports {
            Exports::Everything => &BTreeMap::new(),
            Exports::Namespaces(namespaces) => namespaces,
        };
        let mut existing = namespaces.values().filter_map(existing);
        taken || existing.any(|id| ours.contains(&id) || !there.contains(&id))
    })
}

/// Whether it holds all that is desired and nothing else of ours.
pub(super) fn holds(machine: &Machine, desired: &Desired) -> Result<(), String> {
    let ports = machine.our_ports();
    let luns = machine.our_luns();
    let mut used = BTreeSet::new();
    for wanted in desired.ports() {
        let name = wanted.nqn.as_str();
        let mut found = ports
            .iter()
            .filter(|port| port.option("subnqn") == Some(name));
        let (Some(port), None) = (found.next(), found.next()) else {
            return Err(format!("{name} has not one port"));
        };
        if !port.online {
            return Err(format!("{name} is offline"));
        }
        options(wanted, |key| port.option(key).map(Into::into))?;
        let shown = machine
            .books
            .port(port.id)
            .ok_or_else(|| format!("hosts do not see {name}"))?
            .namespaces;
        let shown: BTreeMap<u32, u32> = shown.iter().map(|(nsid, lun)| (*nsid, lun.id)).collect();
        let Exports::Namespaces(namespaces) = &wanted.exports else {
            let all = machine.by_hand().luns().unwrap();
            let all = all.luns.iter().map(|lun| (lun.id + 1, lun.id));
            let all: BTreeMap<u32, u32> = all.filter(|(nsid, _)| *nsid <= wanted.nn).collect();
            if port.lun_map.is_some() {
                return Err(format!("{name} has a map"));
            }
            // What cannot be read is shown as well.
            if !all.iter().all(|(nsid, lun)| shown.get(nsid) == Some(lun)) {
                return Err(format!("{name} shows {shown:?} and not {all:?}"));
            }
            continue;
        };
        let map = port.lun_map.as_ref().ok_or(format!("{name} has no map"))?;
        if map.len() != namespaces.len() {
            return Err(format!("{name} maps {map:?}"));
        }
        for (nsid, lun) in namespaces {
            let id = *map
                .get(&(nsid - 1))
                .ok_or_else(|| format!("{name} has no namespace {nsid}"))?;
            if shown.get(nsid) != Some(&id) {
                return Err(format!("hosts of {name} see {shown:?} and not {map:?}"));
            }
            match lun {
                DesiredLun::Existing(lun) if lun.0 == id => {}
                DesiredLun::Existing(lun) => {
                    return Err(format!("namespace {nsid} of {name} is LUN {id}, not {lun}"));
                }
                DesiredLun::Ours(lun) => {
                    let mut ours = luns.iter();
                    let listed = ours
                        .find(|listed| listed.id == id)
                        .ok_or_else(|| format!("namespace {nsid} of {name} is not of ours"))?;
                    let mark = format!("{nsid} {name}");
                    if listed.option("nvmfd_namespace") != Some(&mark) {
                        return Err(format!("namespace {nsid} of {name} has another's mark"));
                    }
                    is_it(listed, lun)?;
                    used.insert(id);
                }
            }
        }
        if shown.len() != namespaces.len() {
            return Err(format!("hosts of {name} see {shown:?}"));
        }
    }
    if ports.len() != desired.ports().len() {
        return Err(format!("there are {} ports of ours", ports.len()));
    }
    let foreign: BTreeSet<u32> = machine
        .foreign_maps(false)
        .iter()
        .map(|(_, lun)| *lun)
        .collect();
    let damaged = !machine.by_hand().ports().unwrap().damaged.is_empty();
    for lun in &luns {
        if !used.contains(&lun.id) && !foreign.contains(&lun.id) && !damaged {
            return Err(format!("LUN {} is left over", lun.id));
        }
    }
    Ok(())
}

/// The LUNs that hosts use and that are right, by name and NSID: nothing may happen to them.
pub(super) fn in_use(machine: &Machine, desired: &Desired) -> BTreeMap<(String, u32), u64> {
    let (ports, luns) = (machine.our_ports(), machine.our_luns());
    let mut in_use = BTreeMap::new();
    for wanted in desired.ports() {
        let name = wanted.nqn.as_str();
        let port = ports
            .iter()
            .find(|port| port.option("subnqn") == Some(name));
        let Some(port) = port.filter(|port| port.online && port.lun_map.is_some()) else {
            continue;
        };
        let Exports::Namespaces(namespaces) = &wanted.exports else {
            continue;
        };
        let right = options(wanted, |key| port.option(key).map(Into::into)).is_ok();
        let Some(shown) = machine.books.port(port.id).filter(|_| right) else {
            continue;
        };
        for (nsid, lun) in namespaces {
            let Some(view) = shown.namespaces.get(nsid) else {
                continue;
            };
            let mark = format!("{nsid} {name}");
            let listed = luns.iter().find(|lun| lun.id == view.id);
            let right = match lun {
                DesiredLun::Existing(id) => id.0 == view.id,
                DesiredLun::Ours(lun) => listed.is_some_and(|listed| {
                    listed.option("nvmfd_namespace") == Some(&mark) && is_it(listed, lun).is_ok()
                }),
            };
            if right {
                in_use.insert((name.to_owned(), *nsid), view.instance);
            }
        }
    }
    in_use
}

fn options(wanted: &DesiredPort, option: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    for (key, value) in [
        ("portid", wanted.portid.to_string()),
        ("max_io_qsize", wanted.max_io_qsize.to_string()),
        ("ioccsz", wanted.ioccsz.to_string()),
        ("nn", wanted.nn.to_string()),
        ("serial", wanted.serial.clone()),
    ] {
        let is = option(key);
        if is.as_ref() != Some(&value) {
            return Err(format!("{key} of {} is {is:?}", wanted.nqn));
        }
    }
    Ok(())
}

fn is_it(listed: &ListedLun, wanted: &OurLun) -> Result<(), String> {
    let bytes = listed.size_blocks * u64::from(listed.blocksize);
    let (backend, option, value, size) = match &wanted.storage {
        Storage::Block { path } => {
            let size = std::fs::metadata(path).map_or(0, |file| file.len());
            let whole = size - size % u64::from(listed.blocksize);
            ("block", "file", path.clone(), whole)
        }
        Storage::Ramdisk { size } => ("ramdisk", "capacity", size.to_string(), *size),
    };
    let uuid = wanted.uuid.map(|uuid| uuid.to_string());
    let right = listed.backend == backend
        && listed.option(option) == Some(&value)
        && bytes == size
        && listed.serial_number == wanted.serial
        && listed.device_id == wanted.device_id
        && listed.option("eui") == wanted.eui.as_deref()
        && listed.option("uuid") == uuid.as_deref()
        && (wanted.blocksize == 0 || wanted.blocksize == listed.blocksize);
    if right {
        Ok(())
    } else {
        Err(format!("{listed:?} is not {wanted:?}"))
    }
}
