//! From one configuration to another, in words: what a reload does, and what hosts notice of it.
//!
//! Pure, and in the file's terms. What has to be asked of the kernel for it is
//! [`crate::reconcile::plan()`]'s to say.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use nvmf_proto::nqn::Nqn;

use crate::cli::Listen;
use crate::config::Config;
use crate::config::model::{
    Access, Announce, Discovery, Disk, Hosts, KernelLun, Medium, Mode, Namespaces, Portal,
    Referral, Show, Subsystem,
};
use crate::control::message::{Effect, Step};

/// Everything that changes, what goes first.
pub(super) fn changes(before: &Config, after: &Config) -> Vec<Step> {
    let mut steps = Steps::default();
    steps.subsystems(before, after);
    steps.portals(before, after);
    steps.listeners(
        "answer discovery on",
        &addresses(&before.discovery.listen),
        &addresses(&after.discovery.listen),
    );
    steps.discovery(&before.discovery, &after.discovery);
    steps.referrals(before, after);
    steps.announce(&before.announce, &after.announce);
    steps.listeners(
        "show counters on",
        &before.metrics.iter().copied().collect(),
        &after.metrics.iter().copied().collect(),
    );
    steps.process(before, after);
    steps.0
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn add(&mut self, effect: Effect, what: impl Into<String>) {
        self.0.push(Step {
            what: what.into(),
            effect,
        });
    }

    fn subsystems(&mut self, before: &Config, after: &Config) {
        let (old, new) = (by_name(before), by_name(after));
        for nqn in old.keys().filter(|nqn| !new.contains_key(*nqn)) {
            self.add(Effect::Disconnects, format!("remove subsystem {nqn}"));
        }
        for (nqn, subsystem) in &new {
            match old.get(nqn) {
                None => self.added(after, subsystem),
                Some(old) => self.changed(nqn, (before, old), (after, subsystem)),
            }
        }
    }

    fn added(&mut self, config: &Config, subsystem: &Subsystem) {
        let mode = match subsystem.namespaces.mode() {
            Mode::Kernel => "kernel",
            Mode::User => "user",
        };
        let portals: Vec<_> = portal_names(config, subsystem).into_iter().collect();
        let what = format!(
            "add subsystem {} in {mode} mode on {}",
            subsystem.nqn,
            portals.join(", ")
        );
        self.add(Effect::Notice, what);
    }

    fn changed(&mut self, nqn: &Nqn, before: (&Config, &Subsystem), after: (&Config, &Subsystem)) {
        let ((old_config, old), (new_config, new)) = (before, after);
        let (old_mode, new_mode) = (old.namespaces.mode(), new.namespaces.mode());
        if old_mode != new_mode {
            let to = match new_mode {
                Mode::Kernel => "kernel",
                Mode::User => "user",
            };
            let what = format!("serve {nqn} in {to} mode");
            self.add(Effect::Disconnects, what);
        } else {
            self.namespaces(nqn, &old.namespaces, &new.namespaces);
        }
        if old.serial != new.serial {
            let effect = match new_mode {
                // The kernel's port is made anew.
                Mode::Kernel => Effect::Disconnects,
                Mode::User => Effect::NewConnections,
            };
            let what = match &new.serial {
                Some(serial) => format!("give {nqn} the serial number {serial}"),
                None => format!("give {nqn} the machine's serial number"),
            };
            self.add(effect, what);
        }
        self.label(&nqn.to_string(), &old.label, &new.label);
        let (old_portals, new_portals) =
            (portal_names(old_config, old), portal_names(new_config, new));
        for name in old_portals.difference(&new_portals) {
            let what = format!("take {nqn} off portal {name}");
            self.add(Effect::NewConnections, what);
        }
        for name in new_portals.difference(&old_portals) {
            self.add(Effect::Notice, format!("serve {nqn} on portal {name}"));
        }
        self.hosts(nqn, old, new);
    }

    fn hosts(&mut self, nqn: &Nqn, old: &Subsystem, new: &Subsystem) {
        let revoked = match new.terminate_on_revoke {
            true => Effect::Disconnects,
            false => Effect::NewConnections,
        };
        match (&old.hosts, &new.hosts) {
            (Hosts::Any, Hosts::Any) => {}
            (Hosts::Any, Hosts::Listed(hosts)) => {
                let what = format!("allow {nqn} to {} hosts only", hosts.len());
                self.add(revoked, what);
            }
            (Hosts::Listed(_), Hosts::Any) => {
                let what = format!("allow {nqn} to any host");
                self.add(Effect::NewConnections, what);
            }
            (Hosts::Listed(old), Hosts::Listed(new)) => {
                for host in old.difference(new) {
                    self.add(revoked, format!("refuse {nqn} to {host}"));
                }
                for host in new.difference(old) {
                    let what = format!("allow {nqn} to {host}");
                    self.add(Effect::NewConnections, what);
                }
            }
        }
        if old.terminate_on_revoke != new.terminate_on_revoke {
            let what = match new.terminate_on_revoke {
                true => format!("from now on, disconnect hosts that {nqn} is refused to"),
                false => format!("from now on, let hosts stay that {nqn} is refused to"),
            };
            self.add(Effect::Nothing, what);
        }
    }

    fn namespaces(&mut self, nqn: &Nqn, old: &Namespaces, new: &Namespaces) {
        let (old, new) = (described(old), described(new));
        for nsid in old.keys().filter(|nsid| !new.contains_key(nsid)) {
            self.add(
                Effect::Notice,
                format!("remove namespace {nsid} of {nqn} ({})", old[nsid].0),
            );
        }
        for (nsid, (device, all)) in &new {
            match old.get(nsid) {
                None => self.add(
                    Effect::Notice,
                    format!("add namespace {nsid} of {nqn} ({device})"),
                ),
                Some((_, was)) if was == all => {}
                Some((was, _)) if was == device => self.add(
                    Effect::Notice,
                    format!("change namespace {nsid} of {nqn} ({device})"),
                ),
                Some((was, _)) => self.add(
                    Effect::Notice,
                    format!("change namespace {nsid} of {nqn} from {was} to {device}"),
                ),
            }
        }
    }

    fn portals(&mut self, before: &Config, after: &Config) {
        let find = |config: &Config, name: &str| -> Option<Portal> {
            config.portals.iter().find(|it| it.name == name).cloned()
        };
        for old in &before.portals {
            if find(after, &old.name).is_none() {
                self.listeners(
                    &format!("listen for portal {} on", old.name),
                    &addresses(&old.listen),
                    &BTreeSet::new(),
                );
            }
        }
        for new in &after.portals {
            let old = find(before, &new.name);
            let was = old.as_ref().map(|old| addresses(&old.listen));
            self.listeners(
                &format!("listen for portal {} on", new.name),
                &was.unwrap_or_default(),
                &addresses(&new.listen),
            );
            if let Some(old) = &old {
                let place = format!(" on portal {}", new.name);
                self.discovery_name(&place, &old.discovery_nqn, &new.discovery_nqn);
            }
            let settings = |portal: &Portal| Portal {
                listen: Listen::At(Vec::new()),
                discovery_nqn: None,
                ..portal.clone()
            };
            if old.is_some_and(|old| settings(&old) != settings(new)) {
                let what = format!("change what portal {} offers", new.name);
                self.add(Effect::NewConnections, what);
            }
        }
    }

    fn discovery(&mut self, old: &Discovery, new: &Discovery) {
        self.discovery_name("", &old.nqn, &new.nqn);
        self.label("discovery", &old.label, &new.label);
        if old.show != new.show {
            let what = match new.show {
                Show::Reachable => "show hosts the portals at the address where they ask",
                Show::All => "show hosts all portals",
            };
            self.add(Effect::Notice, what);
        }
    }

    /// Whoever came by the old name comes back by another; the others see the new one.
    fn discovery_name(&mut self, place: &str, old: &Option<Nqn>, new: &Option<Nqn>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            let what = format!("no longer answer discovery by the name {old}{place}");
            self.add(Effect::Disconnects, what);
        }
        if let Some(new) = new {
            let what = format!("answer discovery by the name {new}{place}");
            self.add(Effect::Notice, what);
        }
    }

    fn label(&mut self, whose: &str, old: &Option<String>, new: &Option<String>) {
        match new {
            _ if old == new => {}
            Some(label) => self.add(Effect::Notice, format!("label {whose} {label:?}")),
            None => self.add(Effect::Notice, format!("take the label off {whose}")),
        }
    }

    fn referrals(&mut self, before: &Config, after: &Config) {
        let (old, new) = (referrals(before), referrals(after));
        for (address, nqn) in old.keys().filter(|it| !new.contains_key(*it)) {
            let what = format!("no longer refer hosts to {nqn} at {address}");
            self.add(Effect::Notice, what);
        }
        for (place, referral) in &new {
            let (address, nqn) = place;
            match old.get(place) {
                None => {
                    let what = format!("refer hosts to {nqn} at {address}");
                    self.add(Effect::Notice, what);
                }
                Some(old) => {
                    if old.hosts != referral.hosts {
                        let what = match &referral.hosts {
                            Hosts::Any => format!("refer any host to {nqn} at {address}"),
                            Hosts::Listed(hosts) => {
                                let count = hosts.len();
                                format!("refer {count} hosts only to {nqn} at {address}")
                            }
                        };
                        self.add(Effect::Notice, what);
                    }
                    let whose = format!("the referral to {nqn} at {address}");
                    self.label(&whose, &old.label, &referral.label);
                }
            }
        }
    }

    fn listeners(&mut self, verb: &str, old: &BTreeSet<SocketAddr>, new: &BTreeSet<SocketAddr>) {
        for address in old.difference(new) {
            self.add(
                Effect::NewConnections,
                format!("no longer {verb} {address}"),
            );
        }
        for address in new.difference(old) {
            self.add(Effect::NewConnections, format!("{verb} {address}"));
        }
    }

    fn announce(&mut self, old: &Announce, new: &Announce) {
        match (old.mdns, new.mdns) {
            (false, true) => self.add(Effect::Nothing, "announce discovery by multicast DNS"),
            (true, false) => {
                let what = "no longer announce discovery by multicast DNS";
                self.add(Effect::Nothing, what);
            }
            (false, false) | (true, true) => {}
        }
        for cdc in old.register.iter().filter(|it| !new.register.contains(it)) {
            self.add(Effect::Nothing, format!("deregister from {cdc}"));
        }
        for cdc in new.register.iter().filter(|it| !old.register.contains(it)) {
            self.add(Effect::Nothing, format!("register with {cdc}"));
        }
    }

    fn process(&mut self, before: &Config, after: &Config) {
        let (old, new) = (&before.limits, &after.limits);
        if (
            old.negotiation_time,
            old.negotiations,
            old.negotiations_per_address,
        ) != (
            new.negotiation_time,
            new.negotiations,
            new.negotiations_per_address,
        ) {
            self.add(Effect::NewConnections, "change the limits of negotiations");
        }
        if (old.connections, old.connections_per_address)
            != (new.connections, new.connections_per_address)
        {
            self.add(Effect::NewConnections, "change the limits of connections");
        }
        if (old.controllers, old.controllers_per_host)
            != (new.controllers, new.controllers_per_host)
        {
            self.add(Effect::NewConnections, "change the limits of controllers");
        }
        if (old.queues, old.queue_entries) != (new.queues, new.queue_entries) {
            self.add(Effect::NewConnections, "change the limits of queues");
        }
        if (old.memory, old.memory_per_connection) != (new.memory, new.memory_per_connection) {
            let what = "change how much memory hosts can make us hold";
            self.add(Effect::Nothing, what);
        }
        if old.stall_time != new.stall_time {
            let what = "change how long hosts may stand still";
            self.add(Effect::Nothing, what);
        }
        if old.threads != new.threads {
            self.add(Effect::NextStart, "change the number of threads");
        }
        if before.sandbox != after.sandbox {
            self.add(Effect::NextStart, "confine the worker otherwise");
        }
        if before.log.level != after.log.level {
            let level = after.log.level;
            self.add(Effect::Nothing, format!("log at level {level}"));
        }
        if before.log.rate != after.log.rate {
            let rate = after.log.rate;
            let what = format!("log {rate} lines of hosts a second, of each kind");
            self.add(Effect::Nothing, what);
        }
        if before.log.destination != after.log.destination {
            self.add(Effect::NextStart, "log elsewhere");
        }
    }
}

fn referrals(config: &Config) -> BTreeMap<(SocketAddr, &Nqn), &Referral> {
    let referrals = config.referrals.iter();
    referrals.map(|it| ((it.address, &it.nqn), it)).collect()
}

fn by_name(config: &Config) -> BTreeMap<&Nqn, &Subsystem> {
    config.subsystems.iter().map(|it| (&it.nqn, it)).collect()
}

fn portal_names(config: &Config, subsystem: &Subsystem) -> BTreeSet<String> {
    let named = subsystem.portals.iter();
    named
        .filter_map(|&index| Some(config.portals.get(index)?.name.clone()))
        .collect()
}

fn addresses(listen: &Listen) -> BTreeSet<SocketAddr> {
    listen.addresses().into_iter().collect()
}

/// Each namespace: what it is made of, and all that hosts can see of it.
fn described(namespaces: &Namespaces) -> BTreeMap<u32, (String, String)> {
    let disk = |disk: &Disk| {
        let access = match disk.access {
            Access::ReadWrite => "",
            Access::ReadOnly => ", read-only",
        };
        (medium(&disk.medium), format!("{disk:?}{access}"))
    };
    match namespaces {
        Namespaces::User(disks) => disks.iter().map(|(&nsid, it)| (nsid, disk(it))).collect(),
        Namespaces::Kernel(luns) => {
            let lun = |lun: &KernelLun| match lun {
                KernelLun::Existing(id) => (format!("LUN {id}"), String::new()),
                KernelLun::Ours { disk: it, .. } => (disk(it).0, format!("{lun:?}")),
            };
            luns.iter().map(|(&nsid, it)| (nsid, lun(it))).collect()
        }
        Namespaces::EveryLun => BTreeMap::new(),
    }
}

fn medium(medium: &Medium) -> String {
    medium.device().to_string()
}

#[cfg(test)]
mod tests;
