//! How much of the daemon a peer can hold: connections, and places among those in negotiation.
//!
//! Both are bounded in all and per source. Where places are short the connection that negotiates
//! longest makes room: a host that means it is done within milliseconds and never the oldest, so
//! silent peers push out each other, even from behind the same address. Where connections are short
//! one in negotiation makes room too, for what is served stays. Only where none is the newest is
//! refused: at once, so that its host can try another path, and not left in the listener's queue,
//! where it would wait behind a flood.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits::Limit;
use super::snapshot::Limits;

/// From accept to the end of negotiation, however slowly the bytes come, unless the operator says
/// otherwise.
pub const NEGOTIATION_TIME: Duration = Duration::from_secs(10);

/// What a peer that was refused or terminated has to read the reason and close.
pub const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Connections that had to make room, and are closed soon, beyond as many as there may be. Their
/// descriptors are among those that the monitor keeps back.
const LEAVING_MAX: usize = 64;

/// Counts connections, and those whose negotiation has not succeeded.
#[derive(Clone, Debug, Default)]
pub struct Admission(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Those in negotiation, oldest first, with their source and the reactor that has them.
    pending: BTreeMap<PlaceId, (Source, usize)>,
    pending_by_source: HashMap<Source, BTreeSet<PlaceId>>,
    /// All connections.
    seats: usize,
    seats_by_source: HashMap<Source, Seats>,
    /// Those that had to make room and are not closed yet.
    leaving: HashMap<PlaceId, Source>,
    last: u64,
}

/// The connections of one source.
#[derive(Debug, Default)]
struct Seats {
    all: usize,
    /// Those of them that had to make room and are not closed yet.
    leaving: usize,
}

/// Names one connection; later ones compare greater.
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

/// A connection's seat among all of them; given back when it is dropped, with the connection.
#[derive(Debug)]
pub struct Seat {
    admission: Admission,
    id: PlaceId,
    source: Source,
}

/// The connection that has to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Which one.
    pub id: PlaceId,
    /// The reactor that has it.
    pub reactor: usize,
    /// For what limit's sake.
    pub limit: Limit,
}

/// A connection that may come in.
#[derive(Debug)]
pub struct Admitted {
    /// Its place.
    pub place: Place,
    /// Its seat.
    pub seat: Seat,
    /// Those that make room for it: several do after a limit was lowered.
    pub evicted: Vec<Evicted>,
}

/// How much there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// Connections.
    pub connections: usize,
    /// From the source that has most.
    pub connections_per_address: usize,
    /// In negotiation.
    pub negotiations: usize,
    /// From the source that has most.
    pub negotiations_per_address: usize,
}

impl Admission {
    /// Takes a connection in from `address` that `reactor` will have. At a limit somebody else loses
    /// their place.
    ///
    /// # Errors
    /// The limit for whose sake it is refused.
    pub fn enter(
        &self,
        address: IpAddr,
        reactor: usize,
        limits: &Limits,
    ) -> Result<Admitted, Limit> {
        let source = Source::from(address);
        let mut state = self.lock();
        let mut evicted = Vec::new();
        // Whether it may come in is decided before anybody loses anything.
        let many_here = state.staying_from(source) >= limits.connections_per_address;
        let oldest_here = state.oldest_from(source);
        if many_here && oldest_here.is_none() {
            return Err(Limit::ConnectionsPerAddress);
        }
        let room = limits.connections.saturating_add(LEAVING_MAX);
        let nobody = state.pending.is_empty();
        if state.seats >= room || nobody && state.staying() >= limits.connections {
            return Err(Limit::Connections);
        }
        if let Some(oldest) = oldest_here.filter(|_| many_here) {
            evicted.extend(state.evict(oldest, Limit::ConnectionsPerAddress));
        }
        if state.staying() >= limits.connections
            && let Some(oldest) = state.oldest_for(source)
        {
            evicted.extend(state.evict(oldest, Limit::Connections));
        }
        while let Some((oldest, limit)) = state.in_the_way(source, limits) {
            evicted.extend(state.evict(oldest, limit));
        }
        state.last += 1;
        let id = PlaceId(state.last);
        state.pending.insert(id, (source, reactor));
        let here = state.pending_by_source.entry(source).or_default();
        here.insert(id);
        state.seats += 1;
        state.seats_by_source.entry(source).or_default().all += 1;
        drop(state);
        let place = Place {
            admission: self.clone(),
            id,
            since: Instant::now(),
        };
        let seat = Seat {
            admission: self.clone(),
            id,
            source,
        };
        Ok(Admitted {
            place,
            seat,
            evicted,
        })
    }

    /// Connections in negotiation now.
    pub fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    /// How much there is now.
    pub fn crowd(&self) -> Crowd {
        let state = self.lock();
        let seats = state.seats_by_source.values().map(|it| it.all);
        let pending = state.pending_by_source.values().map(BTreeSet::len);
        Crowd {
            connections: state.seats,
            connections_per_address: seats.max().unwrap_or(0),
            negotiations: state.pending.len(),
            negotiations_per_address: pending.max().unwrap_or(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who must leave its place to one more from `source`.
    fn in_the_way(&self, source: Source, limits: &Limits) -> Option<(PlaceId, Limit)> {
        let (oldest, limit) = match self.pending_by_source.get(&source) {
            Some(here) if here.len() >= limits.negotiations_per_address => {
                (here.first(), Limit::NegotiationsPerAddress)
            }
            _ if self.pending.len() >= limits.negotiations => {
                (self.pending.keys().next(), Limit::Negotiations)
            }
            _ => return None,
        };
        oldest.map(|&oldest| (oldest, limit))
    }

    /// Connections that need not make room.
    fn staying(&self) -> usize {
        self.seats.saturating_sub(self.leaving.len())
    }

    /// The same from one source.
    fn staying_from(&self, source: Source) -> usize {
        let here = self.seats_by_source.get(&source);
        here.map_or(0, |here| here.all.saturating_sub(here.leaving))
    }

    fn oldest_from(&self, source: Source) -> Option<PlaceId> {
        self.pending_by_source.get(&source)?.first().copied()
    }

    /// Who makes room where connections are short: best one of the same source.
    fn oldest_for(&self, source: Source) -> Option<PlaceId> {
        let oldest = || self.pending.keys().next().copied();
        self.oldest_from(source).or_else(oldest)
    }

    fn evict(&mut self, id: PlaceId, limit: Limit) -> Option<Evicted> {
        let (source, reactor) = self.remove(id)?;
        self.leaving.insert(id, source);
        if let Some(seats) = self.seats_by_source.get_mut(&source) {
            seats.leaving += 1;
        }
        Some(Evicted { id, reactor, limit })
    }

    /// It is served: nobody's place any more, and nobody who has to make room, even if it was told to.
    fn stays(&mut self, id: PlaceId) {
        self.remove(id);
        if let Some(source) = self.leaving.remove(&id)
            && let Some(seats) = self.seats_by_source.get_mut(&source)
        {
            seats.leaving -= 1;
        }
    }

    /// Takes a place back. Whose it was, and the reactor that has it, if it was not taken before.
    fn remove(&mut self, id: PlaceId) -> Option<(Source, usize)> {
        let (source, reactor) = self.pending.remove(&id)?;
        if let Some(here) = self.pending_by_source.get_mut(&source) {
            here.remove(&id);
            if here.is_empty() {
                self.pending_by_source.remove(&source);
            }
        }
        Some((source, reactor))
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

    /// Its connection is served. One that lost its place in the same moment stays all the same, for it
    /// is not in negotiation any more when it hears of that.
    pub fn served(self) {
        self.admission.lock().stays(self.id);
    }

    /// Whether nobody else was given it meanwhile.
    pub fn is_held(&self) -> bool {
        self.admission.lock().pending.contains_key(&self.id)
    }
}

impl Seat {
    /// The name of the connection's place.
    pub fn id(&self) -> PlaceId {
        self.id
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.lock().remove(self.id);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.seats -= 1;
        let left = state.leaving.remove(&self.id).is_some();
        if let Some(here) = state.seats_by_source.get_mut(&self.source) {
            here.all -= 1;
            here.leaving -= usize::from(left);
            if here.all == 0 {
                state.seats_by_source.remove(&self.source);
            }
        }
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
mod tests;
