//! What was done and what was wrong, told by all threads and read by one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::oracle::Resolved;

/// Names a counter by what it counts.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $words:literal,)*) => {
        /// What is counted.
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $($(#[$doc])* pub(crate) $name: Count,)*
        }

        impl Counts {
            /// Each, in words.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$(($words, self.$name.now()),)*]
            }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    commands: "commands answered",
    read: "bytes read and judged",
    written: "bytes written and acknowledged",
    flushes: "flushes",
    lives: "controllers",
    orderly: "ended in order",
    left: "ended by closing under commands",
    reset: "ended by RST",
    cut: "ended in the midst of a PDU",
    lost_a_queue: "ended by the loss of a queue",
    lost: "writes lost",
    old: "blocks of lost writes that are old",
    new: "blocks of lost writes that are new",
    reloads: "reloads",
    refused_reloads: "reloads refused as they must be",
    events: "events of changed namespaces",
    logs: "discovery logs read",
    changes: "events of a changed discovery log",
    strangers: "strangers",
}

/// The common memory of all threads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    faults: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl Tally {
    /// Something is wrong: everybody ends, so that what is there can be looked at.
    pub(crate) fn fault(&self, what: String) {
        eprintln!("\nFAULT: {what}");
        self.faults.lock().expect("the faults").push(what);
        self.end();
    }

    /// Time is up.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What was wrong.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().expect("the faults").clone()
    }

    pub(crate) fn resolved(&self, resolved: Resolved) {
        self.counts.old.add(resolved.old);
        self.counts.new.add(resolved.new);
    }
}
