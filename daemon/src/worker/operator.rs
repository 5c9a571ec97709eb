//! What an operator asks of the worker: who is connected, who was refused and what fails, to end sessions,
//! to begin none.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Worker;
use super::close::CloseReason;
use super::memory::Level;
use super::message::Message;
use super::registry::Association;
use super::stats::reason::Ending;
use crate::control::message::{Failing, LimitUse, Mode, Refusals, Session, Traffic, Whose};
use crate::engine::health;
use crate::ipc::message::{ERROR_MAX, FailingStorage};

impl Worker {
    /// The controllers that live, discovery's too, in the order of their identifiers.
    pub fn sessions(&self) -> Vec<Session> {
        let now = Instant::now();
        let associations = self.shared.registry.associations();
        associations.iter().map(|it| session(it, now)).collect()
    }

    /// The connections that were refused last, and how many were in all.
    pub fn refusals(&self) -> Refusals {
        self.shared.refusals.told()
    }

    /// What fails of the storage that is served.
    pub fn failing(&self) -> Vec<FailingStorage> {
        let snapshot = self.shared.served.load();
        let (mut all, now) = (Vec::new(), Instant::now());
        for subsystem in &snapshot.subsystems {
            let Some(namespaces) = subsystem.namespaces() else {
                continue;
            };
            for namespace in namespaces.load().iter() {
                let failing = namespace.health.failing().into_iter();
                all.extend(failing.map(|it| FailingStorage {
                    nqn: subsystem.nqn.to_string(),
                    nsid: namespace.nsid,
                    failing: told(&it, now),
                }));
            }
        }
        all
    }

    /// Connections in negotiation now.
    pub fn negotiating(&self) -> u64 {
        self.shared.admission.pending() as u64
    }

    /// How much is used of what is limited.
    pub fn limits(&self) -> Vec<LimitUse> {
        self.shared.limits()
    }

    /// Queues that ended because their hosts did not move.
    pub fn stalled(&self) -> u64 {
        let endings = &self.shared.stats.endings;
        let stalled = [Ending::Stalled, Ending::MadeRoom];
        stalled.map(|ending| endings.of(ending)).iter().sum()
    }

    /// Memory that hosts make us hold now.
    pub fn memory(&self) -> Level {
        self.shared.memory.level()
    }

    /// Ends sessions. How many were told to end; their connections are closed soon after.
    pub fn terminate(&self, whose: &Whose) -> u64 {
        let meant = |it: &Association| match whose {
            Whose::Host(host) => it.hostnqn.as_str() == host,
            Whose::Cntlid(cntlid) => it.cntlid == *cntlid,
        };
        let mut told = 0;
        for association in self.shared.registry.associations() {
            if meant(&association) {
                let admin = association.admin;
                let reason = CloseReason::Dismissed;
                self.shared.send(admin, Message::Close(admin, reason));
                told += 1;
            }
        }
        told
    }

    /// Begins or ends to refuse new controllers of subsystems. Those that are there go on, and hosts
    /// that are refused try again.
    pub fn drain(&self, on: bool) {
        self.shared.served.drain(on);
    }
}

fn told(failing: &health::Failing, now: Instant) -> Failing {
    Failing {
        operation: failing.operation,
        commands: failing.commands,
        age: now.saturating_duration_since(failing.since).as_secs(),
        error: failing.error.chars().take(ERROR_MAX).collect(),
    }
}

fn session(association: &Association, now: Instant) -> Session {
    let origin = &association.origin;
    let subsystem = association.subsystem.as_ref();
    let io = association.record.statistics();
    Session {
        mode: match subsystem {
            Some(_) => Mode::User,
            None => Mode::Discovery,
        },
        subsystem: association.subnqn.to_string(),
        cntlid: association.cntlid,
        hostnqn: association.hostnqn.to_string(),
        hostid: Some(
            association
                .hostid
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        ),
        peer: Some(origin.peer),
        local: Some(origin.local),
        io_queues: u32::try_from(association.io_queues()).ok(),
        header_digest: Some(origin.header_digest),
        data_digest: Some(origin.data_digest),
        kato: Some(association.kato.load(Ordering::Relaxed)),
        age: Some(now.saturating_duration_since(origin.since).as_secs()),
        idle: Some(association.idle(now).as_secs()),
        traffic: Some(Traffic {
            reads: io.reads,
            writes: io.writes,
            bytes_read: io.bytes_read,
            bytes_written: io.bytes_written,
        }),
    }
}
