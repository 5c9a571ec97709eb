//! What is served at this moment, and what a Connect leads to by it.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use nvmf_proto::connect::{Connect, ConnectReject};

use super::route::{Route, route};
use super::snapshot::Snapshot;
use super::views::{Moves, View, Views};

/// The snapshot that counts, shared by whoever judges or answers from it.
#[derive(Debug)]
pub struct Served {
    snapshot: ArcSwap<Snapshot>,
    /// No new controllers are made.
    draining: AtomicBool,
}

impl Served {
    /// This is served.
    pub(super) fn new(mut snapshot: Snapshot) -> Self {
        snapshot.views = Views::of(&snapshot);
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            draining: AtomicBool::new(false),
        }
    }

    /// What is served now. Who needs it more than once keeps what it got.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The same, to be kept for long.
    pub(super) fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What the next snapshot changes is known; it is served from now on. `connected` are the views of
    /// hosts that may have read the one before.
    pub(super) fn replace(&self, moves: &mut Moves<'_>, next: &Arc<Snapshot>, connected: &[View]) {
        moves.hand_over(connected, || self.snapshot.store(Arc::clone(next)));
    }

    /// Begins or ends to refuse new controllers.
    pub(super) fn drain(&self, on: bool) {
        self.draining.store(on, Ordering::Relaxed);
    }

    /// Where a Connect leads that came in at this portal, and by what snapshot.
    pub(super) fn judge(&self, portal: u16, connect: &Connect) -> (Route, Arc<Snapshot>) {
        let snapshot = self.snapshot.load_full();
        let draining = self.draining.load(Ordering::Relaxed);
        let judged = match snapshot.portal(portal) {
            Some(portal) => route(&snapshot, portal, connect, draining),
            // That it went meanwhile is no judgement on the host, and what it asks for may be served
            // elsewhere: without Do Not Retry it tries again, finds nobody, and discovers.
            None => Route::Reject(ConnectReject::BUSY),
        };
        (judged, snapshot)
    }
}
