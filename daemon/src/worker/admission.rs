//! How much of the daemon a peer can hold before it has said who it is.
//!
//! Connections in negotiation are bounded in all and per source. At a bound the one that negotiates
//! longest makes room: a host that means it is done within milliseconds and never the oldest, so
//! silent peers push out each other, even from behind the same address.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::snapshot::Limits;

/// From accept to the end of negotiation, however slowly the bytes come, unless the operator says
/// otherwise.
pub const NEGOTIATION_TIME: Duration = Duration::from_secs(10);

/// What a peer that was refused or terminated has to read the reason and close.
pub const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Counts connections whose negotiation has not succeeded.
#[derive(Clone, Debug, Default)]
pub struct Admission(Arc<Mutex<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    /// Those in negotiation, oldest first, with their source and the reactor that has them.
    all: BTreeMap<PlaceId, (Source, usize)>,
    by_source: HashMap<Source, BTreeSet<PlaceId>>,
    last: u64,
}

/// Names one connection in negotiation; later ones compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(u64);

/// Whom a connection is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

/// A connection's place among those in negotiation; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    admission: Admission,
    id: PlaceId,
    since: Instant,
}

/// The connection that has to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Which one.
    pub id: PlaceId,
    /// The reactor that has it.
    pub reactor: usize,
}

impl Admission {
    /// Takes a place for a connection from `address` that `reactor` will have. At a limit somebody
    /// else loses theirs; several do after the limit was lowered.
    pub fn enter(&self, address: IpAddr, reactor: usize, limits: &Limits) -> (Place, Vec<Evicted>) {
        let source = Source::from(address);
        let mut pending = self.lock();
        let mut evicted = Vec::new();
        while let Some(oldest) = pending.in_the_way(source, limits) {
            evicted.extend(pending.remove(oldest));
        }
        pending.last += 1;
        let id = PlaceId(pending.last);
        pending.all.insert(id, (source, reactor));
        pending.by_source.entry(source).or_default().insert(id);
        (
            Place {
                admission: self.clone(),
                id,
                since: Instant::now(),
            },
            evicted,
        )
    }

    /// Connections in negotiation now.
    pub fn pending(&self) -> usize {
        self.lock().all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Who must make room for one more from `source`.
    fn in_the_way(&self, source: Source, limits: &Limits) -> Option<PlaceId> {
        match self.by_source.get(&source) {
            Some(here) if here.len() >= limits.negotiations_per_address => here.first().copied(),
            _ if self.all.len() >= limits.negotiations => self.all.keys().next().copied(),
            _ => None,
        }
    }

    fn remove(&mut self, id: PlaceId) -> Option<Evicted> {
        let (source, reactor) = self.all.remove(&id)?;
        if let Some(here) = self.by_source.get_mut(&source) {
            here.remove(&id);
            if here.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(Evicted { id, reactor })
    }
}

impl Place {
    /// Its name.
    pub fn id(&self) -> PlaceId {
        self.id
    }

    /// When it was taken.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether nobody else was given it meanwhile.
    pub fn is_held(&self) -> bool {
        self.admission.lock().all.contains_key(&self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.lock().remove(self.id);
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            negotiations: 200,
            negotiations_per_address: 50,
            ..Limits::default()
        }
    }

    #[test]
    fn at_a_limit_the_oldest_of_the_same_source_makes_room() {
        let admission = Admission::default();
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let (other, _) = admission.enter("192.0.2.2".parse().unwrap(), 0, &limits());
        let places: Vec<_> = (0..limits().negotiations_per_address)
            .map(|_| admission.enter(v4, 7, &limits()))
            .collect();
        assert!(places.iter().all(|(_, evicted)| evicted.is_empty()));
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let (_new, evicted) = admission.enter(mapped, 1, &limits());
        assert_eq!(
            evicted,
            [Evicted {
                id: places[0].0.id(),
                reactor: 7
            }]
        );
        assert_eq!(admission.pending(), limits().negotiations_per_address + 1);
        drop((places, other));
        assert_eq!(
            admission.pending(),
            1,
            "an evicted place is not given back twice"
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let admission = Admission::default();
        let address = |n: usize| format!("2001:db8::{n:x}").parse().unwrap();
        let _places: Vec<_> = (0..limits().negotiations_per_address)
            .map(|n| admission.enter(address(n), 0, &limits()))
            .collect();
        assert_eq!(admission.enter(address(9999), 0, &limits()).1.len(), 1);
        assert!(
            admission
                .enter("2001:db8:0:1::1".parse().unwrap(), 0, &limits())
                .1
                .is_empty()
        );
    }

    #[test]
    fn the_total_is_bounded_whatever_the_addresses() {
        let admission = Admission::default();
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let places: Vec<_> = (0..)
            .take(limits().negotiations)
            .map(|n| admission.enter(address(n), 0, &limits()))
            .collect();
        let (_, evicted) = admission.enter(address(0xffff), 0, &limits());
        assert_eq!(evicted.len(), 1);
        assert_eq!(evicted[0].id, places[0].0.id());
    }

    #[test]
    fn a_lowered_limit_holds_from_the_next_connection_on() {
        let admission = Admission::default();
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let places: Vec<_> = (0..100)
            .map(|n| admission.enter(address(n), 0, &limits()))
            .collect();
        let lower = Limits {
            negotiations: 10,
            ..limits()
        };
        let (new, evicted) = admission.enter(address(200), 0, &lower);
        assert_eq!((evicted.len(), admission.pending()), (91, 10));
        assert!(new.is_held() && !places[90].0.is_held() && places[91].0.is_held());
    }
}
