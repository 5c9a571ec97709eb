//! What is limited, and how much of it is used.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::Shared;
use super::stats::tally::{Label, label};
use crate::control::message::LimitUse;

label! {
    /// Something that there is only so much of. The names are the configuration's keys.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub Limit {
        /// Connections in negotiation.
        Negotiations = "negotiations",
        /// The same from one address.
        NegotiationsPerAddress = "negotiations-per-address",
        /// Connections.
        Connections = "connections",
        /// The same from one address.
        ConnectionsPerAddress = "connections-per-address",
        /// What the process may have open: no key, but the system's.
        Descriptors = "descriptors",
        /// Controllers of ours.
        Controllers = "controllers",
        /// The same of one host.
        ControllersPerHost = "controllers-per-host",
        /// I/O queues of a controller.
        Queues = "queues",
        /// Entries of an I/O queue.
        QueueEntries = "queue-entries",
    }
}

impl Shared {
    /// How much is used of what there may be; each by itself, for nothing stands still meanwhile.
    pub fn limits(&self) -> Vec<LimitUse> {
        let limits = self.served.load().limits;
        let crowd = self.admission.crowd();
        let held = self.registry.held();
        let used = |limit| match limit {
            Limit::Negotiations => (Some(crowd.negotiations), limits.negotiations),
            Limit::NegotiationsPerAddress => (
                Some(crowd.negotiations_per_address),
                limits.negotiations_per_address,
            ),
            Limit::Connections => (Some(crowd.connections), limits.connections),
            Limit::ConnectionsPerAddress => (
                Some(crowd.connections_per_address),
                limits.connections_per_address,
            ),
            // To count them takes paths.
            Limit::Descriptors => (None, limits.descriptors),
            Limit::Controllers => (Some(held.controllers), limits.controllers),
            Limit::ControllersPerHost => {
                (Some(held.controllers_per_host), limits.controllers_per_host)
            }
            Limit::Queues => (Some(held.queues), limits.queues.into()),
            Limit::QueueEntries => (Some(entries(held.entries)), entries(limits.queue_entries)),
        };
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let all = Limit::ALL.iter().map(|&limit| {
            let (used, most) = used(limit);
            LimitUse {
                limit,
                used: used.map(count),
                most: count(most),
                met: self.stats.limits.of(limit),
            }
        });
        all.collect()
    }
}

fn entries(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_metrics_call_a_limit_by_the_same_name() {
        for &limit in Limit::ALL {
            let text = serde_json::to_string(&limit).unwrap();
            assert_eq!(text, format!("{:?}", limit.name()));
        }
    }
}
