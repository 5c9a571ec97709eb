//! Who sees the same in discovery, and how often that has changed (GENCTR).
//!
//! A *view* is what hosts share that came by one address of ours to one portal, and of which no list of
//! the configuration names any; a host that some list names has views of its own. So there are as many
//! views as an operator has made, whatever names peers invent. A view's number moves by one with each
//! change of what is seen in it, and with nothing else.
//!
//! One that is seen for the first time begins at its snapshot's own generation, which moves with each
//! snapshot. No number of a view is therefore beyond that of its snapshot, and one that begins anew,
//! after it was forgotten, never meets a number that it had with other content.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nvmf_proto::nqn::Nqn;

use super::discovery;
use super::snapshot::Snapshot;
use crate::config::model::Hosts;

/// What decides what a host sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View {
    /// Our address, as hosts reached it. Its scope is ours alone and kept where it tells addresses
    /// apart.
    pub local: SocketAddr,
    /// The portal's identifier. The portal may be gone.
    pub portal: u16,
    /// The host, if a list names it.
    pub host: Option<Nqn>,
}

impl View {
    fn new(local: SocketAddr, portal: u16, host: Option<Nqn>) -> Self {
        let local = match (local.ip().to_canonical(), local) {
            (IpAddr::V6(ip), SocketAddr::V6(full)) if ip.is_unicast_link_local() => {
                SocketAddrV6::new(ip, full.port(), 0, full.scope_id()).into()
            }
            (ip, _) => SocketAddr::new(ip, local.port()),
        };
        Self {
            local,
            portal,
            host,
        }
    }

    /// Whether its hosts may use what these may.
    pub fn is_allowed(&self, hosts: &Hosts) -> bool {
        match &self.host {
            Some(host) => hosts.allow(host),
            None => *hosts == Hosts::Any,
        }
    }
}

/// The views of one snapshot: what each is shown of its subsystems, and the numbers.
#[derive(Debug, Default)]
pub struct Views {
    /// Subsystems for every host, by their places.
    open: Vec<usize>,
    /// The others, by the hosts that some list names.
    listed: HashMap<Nqn, Vec<usize>>,
    table: Mutex<Table>,
    /// Logs that were written out of it.
    pub(super) written: discovery::Written,
}

#[derive(Debug, Default)]
struct Table {
    generations: HashMap<View, u64>,
    /// Hosts that have views of their own although no list names them any more: numbers that they
    /// were told mean something else to others.
    apart: HashSet<Nqn>,
    /// Another snapshot is served, and has taken the numbers over.
    superseded: bool,
}

impl Views {
    /// Those of a snapshot of which nothing has been read.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut views = Self::default();
        for (place, subsystem) in snapshot.subsystems.iter().enumerate() {
            match &subsystem.hosts {
                Hosts::Any => views.open.push(place),
                Hosts::Listed(hosts) => {
                    for host in hosts {
                        views.listed.entry(host.clone()).or_default().push(place);
                    }
                }
            }
        }
        for referral in &snapshot.referrals {
            if let Hosts::Listed(hosts) = &referral.hosts {
                for host in hosts {
                    views.listed.entry(host.clone()).or_default();
                }
            }
        }
        views
    }

    /// The places of the subsystems that the hosts of a view may use, ascending.
    pub(super) fn subsystems(&self, view: &View) -> Vec<usize> {
        let own = view.host.as_ref().and_then(|host| self.listed.get(host));
        let mut places = self.open.clone();
        places.extend(own.into_iter().flatten());
        places.sort_unstable();
        places
    }

    /// The view of a host, and its number; `None` if another snapshot is served by now, which is to be
    /// asked instead. `first` is the snapshot's own generation.
    pub(super) fn look(
        &self,
        (local, portal): (SocketAddr, u16),
        host: &Nqn,
        first: u64,
    ) -> Option<(View, u64)> {
        let mut table = self.lock();
        if table.superseded {
            return None;
        }
        let apart = self.listed.contains_key(host) || table.apart.contains(host);
        let view = View::new(local, portal, apart.then(|| host.clone()));
        if table.generations.len() >= VIEWS_MAX && !table.generations.contains_key(&view) {
            table.forget();
        }
        let generation = *table.generations.entry(view.clone()).or_insert(first);
        Some((view, generation))
    }

    /// Whether a host has views of its own.
    fn names(&self, host: &Nqn) -> bool {
        self.listed.contains_key(host) || self.lock().apart.contains(host)
    }

    fn known(&self) -> Vec<View> {
        self.lock().generations.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Begins anew.
    fn forget(&mut self) {
        let views = self.generations.drain();
        self.apart.extend(views.filter_map(|(view, _)| view.host));
    }
}

/// Which views are another in one snapshot than in the one before: each is compared once.
#[derive(Debug)]
pub(super) struct Moves<'a> {
    old: &'a Snapshot,
    new: &'a Snapshot,
    known: HashMap<View, bool>,
}

impl<'a> Moves<'a> {
    /// Nothing is compared yet but what has been read already.
    pub(super) fn between(old: &'a Snapshot, new: &'a Snapshot) -> Self {
        let mut moves = Self {
            old,
            new,
            known: HashMap::new(),
        };
        for view in old.views.known() {
            moves.moved(&view);
        }
        moves
    }

    /// The view of a host, for as long as these two snapshots count.
    pub(super) fn view(&self, (local, portal): (SocketAddr, u16), host: &Nqn) -> View {
        let apart = self.old.views.names(host) || self.new.views.names(host);
        View::new(local, portal, apart.then(|| host.clone()))
    }

    /// Whether its hosts see something else now, in whatever form they ask for it.
    pub(super) fn moved(&mut self, view: &View) -> bool {
        if let Some(&moved) = self.known.get(view) {
            return moved;
        }
        let moved = discovery::differs(self.old, self.new, view);
        self.known.insert(view.clone(), moved);
        moved
    }

    /// Gives the new snapshot the numbers, and has `serve` put it in the old one's place before
    /// anybody can ask that again. `connected` are the views of hosts that may know a number.
    pub(super) fn hand_over(&mut self, connected: &[View], serve: impl FnOnce()) {
        // What can be compared before anybody has to wait is.
        for view in connected {
            self.moved(view);
        }
        let (old, new) = (self.old, self.new);
        let mut before = old.views.lock();
        let mut after = new.views.lock();
        for (view, &generation) in &before.generations {
            let moved = self.moved(view);
            after
                .generations
                .insert(view.clone(), generation + u64::from(moved));
        }
        // A host that a list names from now on goes on from the number that it shared.
        for view in connected {
            let shared = View {
                host: None,
                ..view.clone()
            };
            let is_known = after.generations.contains_key(view);
            if let (false, Some(&generation)) = (is_known, before.generations.get(&shared))
                && after.generations.len() < VIEWS_MAX
            {
                let moved = self.moved(view);
                let generation = generation + u64::from(moved);
                after.generations.insert(view.clone(), generation);
            }
        }
        let own = before.generations.keys().filter_map(|it| it.host.clone());
        after.apart = before.apart.iter().cloned().chain(own).collect();
        before.superseded = true;
        serve();
    }
}

/// Views whose numbers are kept; beyond, all begin anew. It takes that many addresses, portals and
/// listed hosts, and costs some 20 MiB.
const VIEWS_MAX: usize = 65_536;

#[cfg(test)]
mod tests;
