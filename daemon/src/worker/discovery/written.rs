//! Logs that were written out last, for those who read on in them and for the other hosts of their view.
//!
//! Hosts read a log in pieces of 4 KiB, and after a change all that were told read it.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nvmf_proto::controller::discovery::{DiscoveryLog, DiscoveryScope};

use crate::worker::views::View;

/// Logs of one snapshot.
#[derive(Debug, Default)]
pub(in crate::worker) struct Written(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    view: View,
    /// As it was asked for.
    scope: DiscoveryScope,
    log: Arc<DiscoveryLog>,
}

impl Written {
    /// The log of a view, if it is here with this number.
    pub(super) fn find(
        &self,
        view: &View,
        scope: DiscoveryScope,
        generation: u64,
    ) -> Option<Arc<DiscoveryLog>> {
        let kept = self.lock();
        let mut same = kept
            .iter()
            .filter(|it| it.scope == scope && it.view == *view);
        let log = same.next().map(|it| &it.log);
        log.filter(|log| log.generation == generation).cloned()
    }

    /// Takes one in, and lets older ones go.
    pub(super) fn keep(&self, view: View, scope: DiscoveryScope, log: &Arc<DiscoveryLog>) {
        let mut kept = self.lock();
        kept.retain(|it| it.scope != scope || it.view != view);
        kept.push_back(Kept {
            view,
            scope,
            log: Arc::clone(log),
        });
        let count =
            |kept: &VecDeque<Kept>| kept.iter().map(|it| it.log.entries.len()).sum::<usize>();
        while kept.len() > LOGS_MAX || count(&kept) > ENTRIES_MAX {
            kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs that are kept: one must be quicker found than made.
const LOGS_MAX: usize = 16;

/// Entries of all of them together, some 8 MiB.
const ENTRIES_MAX: usize = 16_384;
