//! From what is there to what is wanted: the steps, in order. Pure.
//!
//! First goes what nobody wants, ports before LUNs; then LUNs are made, then ports, each created,
//! given an empty map, filled, and only then enabled. What is right already gets no step, so that its
//! hosts notice nothing.
//!
//! The kernel's rules that decide the order: a map is emptied or dropped on an offline port only; a
//! namespace that is shown is unmapped before it shows another LUN, or hosts are not told; a LUN is
//! unmapped before it is removed, because the kernel keeps the entry and the next LUN of that number
//! would show through it.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use nvmf_kmod::request::{LunId, PortId};
use nvmf_proto::nqn::Nqn;

use super::conflict::{Conflict, Note};
use super::desired::{Desired, DesiredLun, DesiredPort, Exports, OurLun};
use super::marker::NamespaceKey;
use super::observe::{FRONTEND, Fitness, ForeignPort, Observed, SeenLun, SeenPort, Stale};
use super::step::{LunFault, LunRef, PortFault, PortRef, Step};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In this order. None: all is as it shall be.
    pub steps: Vec<Step>,
    /// Ports that are there already and stay.
    pub adopted_ports: Vec<Nqn>,
    /// Namespaces whose LUNs are there already and stay.
    pub adopted_luns: Vec<NamespaceKey>,
    /// What an operator should know.
    pub notes: Vec<Note>,
}

/// Plans the way from `observed` to `desired`.
///
/// # Errors
/// [`Conflict`] if there is none that leaves others alone.
pub fn plan(observed: &Observed, desired: &Desired) -> Result<Plan, Conflict> {
    for port in desired.ports() {
        check(observed, port)?;
    }
    let mut draft = Draft::new(observed);
    draft.luns(desired);
    draft.ports(desired);
    Ok(draft.finish())
}

fn check(observed: &Observed, wanted: &DesiredPort) -> Result<(), Conflict> {
    let nqn = &wanted.nqn;
    let taken = |port: &&ForeignPort| {
        port.frontend == FRONTEND && port.subnqn.as_deref() == Some(nqn.as_str())
    };
    if let Some(port) = observed.foreign_ports.iter().find(taken) {
        return Err(Conflict::NameTaken {
            nqn: nqn.clone(),
            port: port.id,
            owner: port.owner.clone(),
        });
    }
    let adopted = observed.ports.iter().any(|port| port.nqn == *nqn);
    if let (false, Some(damaged)) = (adopted, observed.damaged_ports.first()) {
        return Err(Conflict::Unreadable {
            nqn: nqn.clone(),
            damaged: damaged.clone(),
        });
    }
    let Exports::Namespaces(namespaces) = &wanted.exports else {
        return Ok(());
    };
    for (&nsid, lun) in namespaces {
        let DesiredLun::Existing(lun) = *lun else {
            continue;
        };
        let key = wanted.key(nsid);
        if let Some(ours) = observed.luns.iter().find(|ours| ours.id == lun) {
            let of = ours.key.clone();
            return Err(Conflict::OurOwnLun { key, lun, of });
        }
        if !observed.has_lun(lun) {
            return Err(Conflict::NoSuchLun { key, lun });
        }
    }
    Ok(())
}

/// A plan in the making, its steps by the order that they will have.
struct Draft<'a> {
    observed: &'a Observed,
    /// What becomes of each namespace of ours.
    targets: BTreeMap<NamespaceKey, LunRef>,
    remove_ports: Vec<Step>,
    detach: Vec<Step>,
    remove_luns: Vec<Step>,
    luns: Vec<Step>,
    ports: Vec<Step>,
    plan: Plan,
}

impl<'a> Draft<'a> {
    fn new(observed: &'a Observed) -> Self {
        let damaged_ports = observed.damaged_ports.iter().cloned();
        let damaged_luns = observed.damaged_luns.iter().cloned();
        Self {
            observed,
            targets: BTreeMap::new(),
            remove_ports: Vec::new(),
            detach: Vec::new(),
            remove_luns: Vec::new(),
            luns: Vec::new(),
            ports: Vec::new(),
            plan: Plan {
                notes: damaged_ports
                    .map(Note::DamagedPort)
                    .chain(damaged_luns.map(Note::DamagedLun))
                    .collect(),
                ..Plan::default()
            },
        }
    }

    fn finish(self) -> Plan {
        let steps = [
            self.remove_ports,
            self.detach,
            self.remove_luns,
            self.luns,
            self.ports,
        ];
        Plan {
            steps: steps.into_iter().flatten().collect(),
            ..self.plan
        }
    }

    /// Finds a LUN for each namespace of ours, and an end for each that is left over.
    fn luns(&mut self, desired: &Desired) {
        let mut wanted: BTreeMap<NamespaceKey, &OurLun> = BTreeMap::new();
        for port in desired.ports() {
            let Exports::Namespaces(namespaces) = &port.exports else {
                continue;
            };
            for (&nsid, lun) in namespaces {
                if let DesiredLun::Ours(lun) = lun {
                    wanted.insert(port.key(nsid), lun);
                }
            }
        }
        let mut kept = BTreeSet::new();
        for (key, lun) in &wanted {
            let (target, step) = match self.best(key, lun) {
                Some((best, stale)) => {
                    kept.insert(best.id);
                    self.plan.adopted_luns.push(key.clone());
                    let modify = |why| Step::ModifyLun {
                        id: best.id,
                        key: key.clone(),
                        lun: lun.new_lun(key),
                        why,
                    };
                    (LunRef::There(best.id), stale.map(modify))
                }
                None => {
                    let create = Step::CreateLun {
                        key: key.clone(),
                        lun: lun.new_lun(key),
                    };
                    (LunRef::Made(key.clone()), Some(create))
                }
            };
            self.targets.insert(key.clone(), target);
            self.luns.extend(step);
        }
        for seen in &self.observed.luns {
            if !kept.contains(&seen.id) {
                self.drop_lun(seen, &wanted);
            }
        }
        self.note_dangling();
    }

    /// The LUN that serves a namespace with the least change, and what is stale about it: one that its
    /// hosts use before one that others use before one that nobody does.
    fn best(&self, key: &NamespaceKey, wanted: &OurLun) -> Option<(&'a SeenLun, Option<Stale>)> {
        let observed = self.observed;
        let port = observed.ports.iter().find(|port| port.nqn == key.nqn);
        let shown = port.and_then(|port| port.map.as_ref()?.get(&key.nsid).copied());
        let new = wanted.new_lun(key);
        let fit = observed
            .luns
            .iter()
            .filter_map(|lun| match lun.fitness(&new, wanted.bytes) {
                Fitness::Right => Some((lun, None)),
                Fitness::AfterModify(stale) => Some((lun, Some(stale))),
                Fitness::Wrong(_) => None,
            });
        fit.min_by_key(|(lun, stale)| {
            let unused = self.users(lun.id).is_empty();
            (shown != Some(lun.id), unused, stale.is_some(), lun.id)
        })
    }

    /// Everybody else's ports that show a LUN.
    fn users(&self, lun: LunId) -> Vec<(PortId, String)> {
        let ports = self.observed.foreign_ports.iter();
        ports
            .filter(|port| port.maps.contains(&lun))
            .map(|port| (port.id, port.frontend.clone()))
            .collect()
    }

    fn drop_lun(&mut self, seen: &SeenLun, wanted: &BTreeMap<NamespaceKey, &OurLun>) {
        let ports = self.users(seen.id);
        if !ports.is_empty() || !self.observed.damaged_ports.is_empty() {
            self.plan.notes.push(Note::LunInUse {
                id: seen.id,
                key: seen.key.clone(),
                ports,
            });
            return;
        }
        let wish = seen
            .key
            .as_ref()
            .and_then(|key| Some((key, *wanted.get(key)?)));
        let why = match wish.map(|(key, lun)| seen.fitness(&lun.new_lun(key), lun.bytes)) {
            None => LunFault::Unwanted,
            Some(Fitness::Wrong(what)) if self.is_made(seen.key.as_ref()) => {
                LunFault::Differs(what)
            }
            Some(Fitness::Wrong(_) | Fitness::Right | Fitness::AfterModify(_)) => LunFault::Surplus,
        };
        self.remove_luns.push(Step::RemoveLun {
            id: seen.id,
            key: seen.key.clone(),
            backend: seen.listed.backend.clone(),
            why,
        });
    }

    /// Whether this plan makes the LUN of a namespace.
    fn is_made(&self, key: Option<&NamespaceKey>) -> bool {
        let target = key.and_then(|key| self.targets.get(key));
        matches!(target, Some(LunRef::Made(_)))
    }

    fn note_dangling(&mut self) {
        if !self
            .luns
            .iter()
            .any(|step| matches!(step, Step::CreateLun { .. }))
        {
            return;
        }
        for port in &self.observed.foreign_ports {
            for &lun in port.maps.iter().filter(|&&lun| !self.observed.has_lun(lun)) {
                self.plan.notes.push(Note::Dangling {
                    port: port.id,
                    frontend: port.frontend.clone(),
                    lun,
                });
            }
        }
    }

    fn ports(&mut self, desired: &Desired) {
        for seen in &self.observed.ports {
            let wanted = desired.ports().iter().find(|port| port.nqn == seen.nqn);
            let why = match wanted.map(|wanted| seen.differences(&wanted.new_port())) {
                Some(differences) if differences.is_empty() => continue,
                Some(differences) => PortFault::Differs(differences),
                None => PortFault::Unwanted,
            };
            self.remove_ports.push(Step::RemovePort {
                port: seen.reference(),
                online: seen.online,
                why,
            });
        }
        for wanted in desired.ports() {
            let mut seen = self.observed.ports.iter();
            let adopted = seen.find(|seen| {
                seen.nqn == wanted.nqn && seen.differences(&wanted.new_port()).is_empty()
            });
            match adopted {
                Some(seen) => self.adopt(seen, wanted),
                None => self.create(wanted),
            }
        }
    }

    /// What a port shall show, by NSID. None: everything.
    fn shows(&self, wanted: &DesiredPort) -> Option<BTreeMap<u32, LunRef>> {
        let Exports::Namespaces(namespaces) = &wanted.exports else {
            return None;
        };
        let target = |(&nsid, lun): (&u32, &DesiredLun)| match lun {
            DesiredLun::Existing(id) => (nsid, LunRef::There(*id)),
            DesiredLun::Ours(_) => (nsid, self.targets[&wanted.key(nsid)].clone()),
        };
        Some(namespaces.iter().map(target).collect())
    }

    fn create(&mut self, wanted: &DesiredPort) {
        let port = PortRef {
            nqn: wanted.nqn.clone(),
            id: None,
        };
        self.ports.push(Step::CreatePort(wanted.new_port()));
        if let Some(shows) = self.shows(wanted) {
            self.ports.push(Step::EmptyMap(port.clone()));
            self.map(&port, shows);
        }
        self.ports.push(Step::Enable(port));
    }

    fn adopt(&mut self, seen: &SeenPort, wanted: &DesiredPort) {
        let port = seen.reference();
        self.plan.adopted_ports.push(seen.nqn.clone());
        let mut online = seen.online;
        let mut disable = |detach: &mut Vec<Step>| {
            if std::mem::take(&mut online) {
                detach.push(Step::Disable(port.clone()));
            }
        };
        match (self.shows(wanted), &seen.map) {
            (None, None) => {}
            (None, Some(_)) => {
                disable(&mut self.detach);
                self.detach.push(Step::DropMap(port.clone()));
            }
            // Made and not finished; or it showed everything, which it must not do for a moment more.
            (Some(shows), None) => {
                disable(&mut self.detach);
                self.detach.push(Step::EmptyMap(port.clone()));
                self.map(&port, shows);
            }
            (Some(mut shows), Some(map)) => {
                for (&nsid, &lun) in map {
                    if shows.get(&nsid) == Some(&LunRef::There(lun)) {
                        shows.remove(&nsid);
                    } else {
                        let port = port.clone();
                        self.detach.push(Step::Unmap { port, nsid, lun });
                    }
                }
                self.map(&port, shows);
            }
        }
        if !online {
            self.ports.push(Step::Enable(port));
        }
    }

    fn map(&mut self, port: &PortRef, shows: BTreeMap<u32, LunRef>) {
        self.ports
            .extend(shows.into_iter().map(|(nsid, lun)| Step::Map {
                port: port.clone(),
                nsid,
                lun,
            }));
    }
}

impl SeenPort {
    fn reference(&self) -> PortRef {
        PortRef {
            nqn: self.nqn.clone(),
            id: Some(self.id),
        }
    }
}

#[cfg(test)]
mod tests;
