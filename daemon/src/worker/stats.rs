//! What the worker counts, for whoever watches it.
//!
//! Nothing here is touched for an I/O command: those are counted by controller
//! ([`crate::engine::record`]) and added up when somebody asks ([`crate::engine::ledger`]). What is
//! counted by label has the labels of [`reason`]; nothing that a peer says becomes one.

#![forbid(unsafe_code)]

pub mod reason;
pub mod tally;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::histogram::Histogram;
use reason::{Asked, Ending, Event, Outcome, Refusal};
use tally::{Label, Tally};

use super::admission::Place;
use super::limits::Limit;

/// Counters of one worker, from its start.
#[derive(Debug)]
pub struct Stats {
    /// When it started: seconds since 1970 (UTC).
    pub started: f64,
    /// Connections that were accepted.
    accepted: AtomicU64,
    /// Negotiations that ended.
    pub outcomes: Tally<Outcome>,
    /// How long those took that were answered.
    durations: [(Outcome, Histogram); 3],
    /// Hosts that were refused.
    pub refusals: Tally<Refusal>,
    /// Limits that were met.
    pub limits: Tally<Limit>,
    /// Queues of ours that ended.
    pub endings: Tally<Ending>,
    /// Queues that the kernel was asked to take.
    pub handoffs: Tally<Asked>,
    /// How long it took to answer.
    pub handoff_duration: Histogram,
    /// Discovery logs that were read, or parts of them.
    discovery_reads: AtomicU64,
    /// Asynchronous events that hosts were told.
    pub events: Tally<Event>,
}

impl Stats {
    /// A connection was accepted.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// The negotiation of a connection ended that has this place. Those without one were accepted
    /// by somebody else.
    pub fn negotiated(&self, outcome: Outcome, place: Option<&Place>) {
        let Some(place) = place else { return };
        self.outcomes.count(outcome);
        let answered = self.durations.iter().find(|(it, _)| *it == outcome);
        if let Some((_, duration)) = answered {
            duration.observe(place.since().elapsed().as_secs_f64());
        }
    }

    /// The kernel was asked to take a queue.
    pub fn handed(&self, asked: Asked, took: Duration) {
        self.handoffs.count(asked);
        self.handoff_duration.observe(took.as_secs_f64());
    }

    /// A discovery log was read, or a part of it.
    pub fn discovery_read(&self) {
        self.discovery_reads.fetch_add(1, Relaxed);
    }

    /// A host was told an event with this dword 0.
    pub fn told(&self, result: u64) {
        self.events.count(Event::of(result));
    }

    /// Connections that were accepted so far.
    pub fn connections(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Reads of discovery logs so far.
    pub fn discovery_reads(&self) -> u64 {
        self.discovery_reads.load(Relaxed)
    }

    /// How long negotiations took that were answered, by outcome.
    pub fn durations(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        self.durations.iter().map(|(it, took)| (it.name(), took))
    }
}

impl Default for Stats {
    fn default() -> Self {
        let answered = [Outcome::Served, Outcome::HandedOver, Outcome::Refused];
        Self {
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            accepted: AtomicU64::new(0),
            outcomes: Tally::default(),
            durations: answered.map(|outcome| (outcome, Histogram::new(BOUNDS))),
            refusals: Tally::default(),
            limits: Tally::default(),
            endings: Tally::default(),
            handoffs: Tally::default(),
            handoff_duration: Histogram::new(BOUNDS),
            discovery_reads: AtomicU64::new(0),
            events: Tally::default(),
        }
    }
}

/// Upper bounds of what is told apart, in seconds: from a host nearby to the end of patience.
const BOUNDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
