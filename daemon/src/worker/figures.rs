//! How the worker is at one moment, in numbers.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use super::memory::Level;
use crate::engine::ledger::Totals;

/// What goes up and down, and what subsystems have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Connections that reactors have, in negotiation or served.
    pub connections: usize,
    /// Connections that have a place among those in negotiation.
    pub negotiating: usize,
    /// Queues that wait for the kernel to take them.
    pub handoffs_waiting: usize,
    /// Memory that all hosts together make us hold.
    pub memory: Level,
    /// Jobs that wait for a thread of the pool.
    pub jobs_waiting: usize,
    /// Discovery controllers.
    pub discoverers: usize,
    /// The subsystems whose commands we execute.
    pub subsystems: Vec<SubsystemFigures>,
}

/// The same of a subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubsystemFigures {
    /// Its name, as it is configured.
    pub nqn: String,
    /// Its controllers.
    pub associations: usize,
    /// I/O queues that they have.
    pub io_queues: usize,
    /// What its hosts have done.
    pub totals: Totals,
    /// Namespaces of which reads, writes or flushes fail.
    pub failing: usize,
}

impl Shared {
    /// The figures of this moment; each by itself, for nothing stands still meanwhile.
    pub fn figures(&self) -> Figures {
        let mut discoverers = 0;
        // By the engine, which a subsystem keeps when it is configured anew.
        let mut live: HashMap<usize, (usize, usize)> = HashMap::new();
        for association in self.registry.associations() {
            match association.engine() {
                None => discoverers += 1,
                Some(engine) => {
                    let (associations, queues) =
                        live.entry(Arc::as_ptr(engine).addr()).or_default();
                    *associations += 1;
                    *queues += association.io_queues();
                }
            }
        }
        let snapshot = self.served.load();
        let subsystems = snapshot.subsystems.iter().filter_map(|subsystem| {
            let engine = subsystem.namespaces()?;
            let (associations, io_queues) = live
                .get(&Arc::as_ptr(engine).addr())
                .copied()
                .unwrap_or_default();
            let namespaces = engine.load();
            let failing = namespaces.iter();
            let failing = failing.filter(|it| !it.health.failing().is_empty());
            Some(SubsystemFigures {
                nqn: subsystem.nqn.to_string(),
                associations,
                io_queues,
                totals: engine.ledger.totals(),
                failing: failing.count(),
            })
        });
        Figures {
            connections: self.reactors.iter().map(|it| it.load()).sum(),
            negotiating: self.admission.pending(),
            handoffs_waiting: self.handoffs.get().map_or(0, |it| it.waiting()),
            memory: self.memory.level(),
            jobs_waiting: self.pool.waiting(),
            discoverers,
            subsystems: subsystems.collect(),
        }
    }
}
