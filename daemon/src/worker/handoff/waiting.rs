//! The connections that wait for the kernel, in their order, and no longer than they may: a kernel that
//! sleeps over one keeps the others waiting, but not beyond their deadlines.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Departure;
use crate::worker::admission::Source;

/// Connections that wait. A host is told to come back rather than made to wait longer.
const WAITING_MAX: usize = 1024;

/// Connections from one address (one IPv6 /64) that wait: others' wait no longer for it.
const WAITING_PER_SOURCE_MAX: usize = 128;

/// Who waits. One thread takes from the front, another one those that are late.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    departures: VecDeque<Departure>,
    by_source: HashMap<Source, usize>,
    closed: bool,
}

impl Waiting {
    /// Has a connection wait. It comes back if nobody would take it.
    pub(super) fn push(&self, departure: Departure) -> Option<Departure> {
        let mut queue = self.lock();
        if queue.closed || queue.departures.len() >= WAITING_MAX {
            return Some(departure);
        }
        let here = queue.by_source.entry(source(&departure)).or_default();
        *here += 1;
        queue.departures.push_back(departure);
        self.changed.notify_all();
        None
    }

    /// The next one, as soon as there is one; none when the last is gone and no more come.
    pub(super) fn next(&self) -> Option<Departure> {
        let mut queue = self.lock();
        loop {
            if let Some(departure) = queue.departures.pop_front() {
                queue.left(&departure);
                return Some(departure);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Those whose deadline has passed, as soon as there are some; none when no more come.
    pub(super) fn late(&self) -> Option<VecDeque<Departure>> {
        let mut queue = self.lock();
        while !queue.closed {
            let now = Instant::now();
            let late = queue.take_late(now);
            if !late.is_empty() {
                return Some(late);
            }
            let next = queue.departures.iter().map(|it| it.deadline).min();
            queue = match next {
                None => self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let left = next.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        None
    }

    /// No more come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.lock().departures.len()
    }

    /// Whether another connection from `peer` would have to wait too long, or make others wait.
    pub(super) fn is_full_for(&self, peer: SocketAddr) -> bool {
        let queue = self.lock();
        let here = queue.by_source.get(&Source::from(peer.ip()));
        here.is_some_and(|&count| count >= WAITING_PER_SOURCE_MAX)
            || queue.closed
            || queue.departures.len() >= WAITING_MAX
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn take_late(&mut self, now: Instant) -> VecDeque<Departure> {
        if self.departures.iter().all(|it| it.deadline > now) {
            return VecDeque::new();
        }
        let (late, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.departures)
            .into_iter()
            .partition(|it| it.deadline <= now);
        self.departures = rest;
        for departure in &late {
            self.left(departure);
        }
        late
    }

    fn left(&mut self, departure: &Departure) {
        let source = source(departure);
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

fn source(departure: &Departure) -> Source {
    let address: IpAddr = departure.peer.ip();
    Source::from(address)
}
