//! What is served changes, and hosts go on.
//!
//! A change has one order: whatever can fail first (threads, listeners), then the new snapshot and the
//! new namespaces, then those are sent away who may not stay, then the others are told. Whoever judged
//! a Connect by the old snapshot looks again once its controller is in the registry, so nobody slips
//! through between.

#![forbid(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, PoisonError};

use nvmf_kmod::Ctl;
use tracing::info;

use super::message::Message;
use super::registry::Association;
use super::snapshot::Snapshot;
use super::views::{Moves, View, Views};
use super::{Shared, Worker, route};
use crate::engine::namespace::{Namespace, Namespaces};

/// Another thing to serve.
#[derive(Debug)]
pub struct Change {
    /// What is served from now on. A subsystem that goes on has the same [`Namespaces`] as before.
    pub snapshot: Snapshot,
    /// The listeners of portals that are new. Those of portals that are gone are closed.
    pub listeners: Vec<(u16, TcpListener)>,
    /// What is in these from now on: a namespace that stays as it was is the same object. Those that
    /// are not here keep what they have.
    pub namespaces: Vec<(Arc<Namespaces>, Vec<Arc<Namespace>>)>,
}

impl Worker {
    /// Serves something else from now on. What goes on does so without its hosts' notice; what came,
    /// went or changed they are told. When it returns, nothing new is judged by what was, and no
    /// listener of a portal that is gone is open here.
    ///
    /// # Errors
    /// The system's, when it has no descriptors or threads left. Nothing has changed then.
    pub fn apply(&self, change: Change) -> io::Result<()> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Change {
            snapshot,
            listeners,
            namespaces,
        } = change;
        let shared = &*self.shared;
        let untouched =
            |it: &&Arc<Namespaces>| namespaces.iter().all(|(new, _)| !Arc::ptr_eq(new, it));
        let mut served: Vec<_> = namespaces.iter().flat_map(|(_, new)| new.clone()).collect();
        for kept in snapshot
            .subsystems
            .iter()
            .filter_map(|it| it.namespaces())
            .filter(untouched)
        {
            served.extend(kept.load().iter().cloned());
        }
        shared.pool.add(&served)?;
        let listeners = self.accepting.prepare(listeners).inspect_err(|_| {
            let before = shared.served.load().namespaces();
            shared.pool.keep(&before);
        })?;

        let mut snapshot = snapshot;
        snapshot.views = Views::of(&snapshot);
        let (old, new) = (shared.served.load_full(), Arc::new(snapshot));
        let mut moves = Moves::between(&old, &new);
        let looking = shared.registry.associations();
        let looking = looking.iter().filter(|it| it.subsystem.is_none());
        let connected: Vec<View> = looking
            .map(|it| moves.view(it.place(), &it.hostnqn))
            .collect();
        shared.memory.limit(&new.limits);
        shared.served.replace(&mut moves, &new, &connected);
        let changed: Vec<(Arc<Namespaces>, Arc<[u32]>)> = namespaces
            .into_iter()
            .map(|(namespaces, new)| {
                let nsids = namespaces.replace(new);
                (namespaces, nsids.into())
            })
            .collect();
        shared.lines.set_rate(new.limits.log_rate);
        self.accepting.replace(listeners);
        for association in shared.registry.associations() {
            if !shared.end_if_revoked(&association, &new) {
                shared.tell(&association, &mut moves, &changed);
            }
        }
        shared.pool.keep(&served);
        info!(
            generation = new.generation,
            portals = new.portals.len(),
            subsystems = new.subsystems.len(),
            namespaces = served.len(),
            "serving what was changed"
        );
        Ok(())
    }

    /// Hands whatever the kernel serves over to `ctl`, where nothing was until now.
    ///
    /// # Errors
    /// The system's, when it has no threads left.
    pub fn set_kernel(&self, ctl: Ctl) -> io::Result<()> {
        self.shared.hand_over_to(ctl)
    }

    /// Nothing is handed over to the kernel until [`Self::resume_handoffs`]. Returns when the hand-off
    /// under way has ended. Connects wait meanwhile, as long as their negotiation may take.
    pub fn hold_handoffs(&self) {
        if let Some(handoffs) = self.shared.handoffs.get() {
            handoffs.hold();
        }
    }

    /// Hands over again.
    pub fn resume_handoffs(&self) {
        if let Some(handoffs) = self.shared.handoffs.get() {
            handoffs.resume();
        }
    }
}

impl Shared {
    /// Ends an association that was judged by a snapshot which is not the latest any more, if that
    /// judges otherwise: a change may have come before the association was where a change looks.
    pub(super) fn look_again(&self, association: &Association, judged_by: &Arc<Snapshot>) {
        let now = self.served.load();
        if !Arc::ptr_eq(&now, judged_by) {
            self.end_if_revoked(association, &now);
        }
    }

    /// Ends an association that may not go on. Whether it may not.
    fn end_if_revoked(&self, association: &Association, snapshot: &Snapshot) -> bool {
        let (portal, subnqn) = (association.origin.portal, &association.subnqn);
        let reason = match &association.subsystem {
            Some(subsystem) => route::revoked(snapshot, subsystem, &association.hostnqn),
            None => route::renamed(snapshot, portal, subnqn),
        };
        if let Some(reason) = reason {
            let admin = association.admin;
            self.send(admin, Message::Close(admin, reason));
        }
        reason.is_some()
    }

    /// Tells a host what has changed of what it sees; nothing if nothing has.
    fn tell(
        &self,
        association: &Association,
        moves: &mut Moves<'_>,
        changed: &[(Arc<Namespaces>, Arc<[u32]>)],
    ) {
        let admin = association.admin;
        let Some(engine) = association.engine() else {
            let view = moves.view(association.place(), &association.hostnqn);
            if moves.moved(&view) {
                self.send(admin, Message::DiscoveryChanged(admin));
            }
            return;
        };
        let its = changed.iter().find(|(it, _)| Arc::ptr_eq(it, engine));
        if let Some((_, nsids)) = its
            && !nsids.is_empty()
        {
            let nsids = Arc::clone(nsids);
            self.send(admin, Message::NamespacesChanged(admin, nsids));
        }
    }
}
