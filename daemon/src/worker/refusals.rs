//! The connections that were refused last, for the operator to look at.
//!
//! The log tells of refusals too, but not of all: peers cause them at will. Here the last ones are
//! kept, and all are counted. Names are kept as peers gave them; whoever shows them escapes them.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nvmf_proto::connect::Connect;

use super::close::CloseReason;
use crate::control::message::{Refusal, Refusals as Told};

/// Refusals that are kept.
const KEPT: usize = 256;

/// Refusals, counted.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    total: u64,
    last: VecDeque<Refusal>,
}

impl Refusals {
    /// Takes note of one.
    pub(super) fn note(&self, peer: SocketAddr, reason: CloseReason, connect: Option<&Connect>) {
        let refusal = Refusal {
            time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            peer,
            hostnqn: connect.map(|it| it.hostnqn.to_string()),
            subsystem: connect.map(|it| it.subnqn.to_string()),
            qid: connect.map(|it| it.qid),
            reason: reason.to_string(),
        };
        let mut ring = self.lock();
        ring.total += 1;
        if ring.last.len() == KEPT {
            ring.last.pop_front();
        }
        ring.last.push_back(refusal);
    }

    /// What is known of them.
    pub(super) fn told(&self) -> Told {
        let ring = self.lock();
        Told {
            total: ring.total,
            last: ring.last.iter().cloned().collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_oldest_first_and_all_are_counted() {
        let refusals = Refusals::default();
        for port in 1..=300 {
            let peer = SocketAddr::from(([192, 0, 2, 1], port));
            refusals.note(peer, CloseReason::NegotiationTimeout, None);
        }
        let told = refusals.told();
        assert_eq!((told.total, told.last.len()), (300, 256));
        let ports: Vec<_> = told.last.iter().map(|it| it.peer.port()).collect();
        assert_eq!(ports, (45..=300).collect::<Vec<_>>());
        assert_eq!(
            told.last[0].reason,
            "the host did not finish negotiation in time"
        );
    }
}
