//! How much memory all hosts together make us hold, and how much they may: a ceiling.
//!
//! Nothing is allocated for a host before it is counted here. Each connection has a share, enough for
//! small commands one after the other, as long as it lives; for more it draws on what all share, and
//! whoever finds too little left waits in line. What is given back goes to the first in line and wakes
//! nobody else. A connection that waits holds nothing that it does not use, so none waits for another
//! that waits. In the ordinary case this is an atomic number; the line's lock is for who waits.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::message::{ConnectionId, Message, ReactorHandle};
use super::snapshot::Limits;

/// What a connection has drawn is moved in multiples of this, so that it rarely has to.
const QUANTUM: u64 = 128 << 10;

/// The least that is read at a time, and that every connection has room for.
pub const SMALL_READ: usize = 4096;

/// Eighths of all memory: what is kept for the shares of connections, what they can have at most, and
/// what is kept for bytes that were read and cannot be served yet. One is left for data whatever comes.
const KEPT_FOR_SHARES: u64 = 1;
const MOST_FOR_SHARES: u64 = 6;
const KEPT_FOR_READING: u64 = 1;

/// How long somebody has waited before others, who do not move, make room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who has moved within this time makes room for nobody.
const MOVING: Duration = Duration::from_secs(2);

/// The memory that hosts can make us hold.
#[derive(Debug)]
pub struct Memory {
    /// What can be drawn. Below zero while more is held than may be, after the limit was lowered.
    free: AtomicI64,
    /// Bytes that are held: shares, and what was drawn.
    held: AtomicU64,
    most: AtomicU64,
    per_connection: AtomicU64,
    /// In milliseconds.
    stall_time: AtomicU64,
    /// Bytes read at a time while there is plenty.
    read: AtomicUsize,
    /// How often somebody found too little left.
    met: AtomicU64,
    waiting: AtomicUsize,
    /// Since when the first in line waits, in milliseconds from `epoch`, or [`NOBODY`].
    first: AtomicU64,
    epoch: Instant,
    line: Mutex<Line>,
    reactors: Arc<[ReactorHandle]>,
}

const NOBODY: u64 = u64::MAX;

/// Who waits, the first come first.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
    /// Bytes that connections have as their shares.
    shares: u64,
}

#[derive(Debug)]
struct Waiting {
    id: ConnectionId,
    bytes: u64,
    since: u64,
}

/// How much is held of how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Bytes that are held.
    pub held: u64,
    /// Bytes that may be.
    pub most: u64,
    /// How often somebody found too little left.
    pub met: u64,
    /// Connections that wait for room.
    pub waiting: u64,
}

impl Memory {
    /// All of it, for connections of these reactors.
    pub(super) fn new(limits: &Limits, reactors: Arc<[ReactorHandle]>) -> Self {
        let memory = Self {
            free: AtomicI64::new(0),
            held: AtomicU64::new(0),
            most: AtomicU64::new(0),
            per_connection: AtomicU64::new(0),
            stall_time: AtomicU64::new(0),
            read: AtomicUsize::new(SMALL_READ),
            met: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            first: AtomicU64::new(NOBODY),
            epoch: Instant::now(),
            line: Mutex::default(),
            reactors,
        };
        memory.limit(limits);
        memory
    }

    /// These limits count from now on. What is held beyond is not taken away.
    pub(super) fn limit(&self, limits: &Limits) {
        let mut line = self.lock();
        let reactors = self.reactors.len().max(1) as u64;
        let before = self.for_data(line.shares);
        let reading = limits.memory / 8 * KEPT_FOR_READING / reactors;
        let reading = usize::try_from(reading).unwrap_or(usize::MAX);
        self.read
            .store(reading.clamp(SMALL_READ, super::reactor::SCRATCH), Relaxed);
        self.most.store(limits.memory, Relaxed);
        self.per_connection
            .store(limits.memory_per_connection, Relaxed);
        let stall = u64::try_from(limits.stall_time.as_millis()).unwrap_or(u64::MAX);
        self.stall_time.store(stall, Relaxed);
        let now = self.for_data(line.shares);
        self.free.fetch_add(signed(now) - signed(before), SeqCst);
        self.serve(&mut line);
    }

    /// What is left for data beside shares of so many bytes, and beside what is read at a time.
    fn for_data(&self, shares: u64) -> u64 {
        let most = self.most.load(Relaxed);
        let reading = (self.read.load(Relaxed) * self.reactors.len()) as u64;
        // Beyond the ceiling by that, if it was lowered while connections have more: else no data moved.
        most.saturating_sub(reading)
            .saturating_sub(shares.max(most / 8 * KEPT_FOR_SHARES))
            .max(most / 8)
    }

    /// How it is now.
    pub fn level(&self) -> Level {
        Level {
            held: self.held.load(Relaxed),
            most: self.most.load(Relaxed),
            met: self.met.load(Relaxed),
            waiting: self.waiting.load(Relaxed) as u64,
        }
    }

    /// Bytes to read from a connection at a time: few while somebody waits for room, because what is
    /// read and cannot be served would be taken from what those wait for. Each has room for few.
    pub(super) fn read(&self) -> usize {
        let most = self.read.load(Relaxed);
        // Each reactor finds at most one such read too much, and for those room is kept.
        if self.free.load(Relaxed) > 0 && self.waiting.load(Relaxed) == 0 {
            most
        } else {
            SMALL_READ
        }
    }

    /// Bytes that one connection may hold.
    fn per_connection(&self) -> u64 {
        self.per_connection.load(Relaxed)
    }

    /// How long a host that owes us something may not move a byte.
    pub fn stall_time(&self) -> Duration {
        Duration::from_millis(self.stall_time.load(Relaxed))
    }

    /// How long a connection may have stood still that holds what others wait for: the less, the longer
    /// they have waited. So the oldest makes room first, and whoever moves is left alone. `None` while
    /// nobody waits for long.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let first = self.first.load(Relaxed);
        if first == NOBODY {
            return None;
        }
        let waited = Duration::from_millis(self.millis(now).saturating_sub(first));
        if waited < PATIENCE {
            return None;
        }
        let halvings = u32::try_from(waited.as_secs()).unwrap_or(u32::MAX);
        let stall_time = self.stall_time();
        let shortened = stall_time / 1_u32.checked_shl(halvings).unwrap_or(u32::MAX);
        Some(shortened.max(MOVING).min(stall_time))
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(NOBODY - 1)
    }

    /// Takes from what is free, if there is so much and nobody is in line.
    fn draw(&self, bytes: u64) -> bool {
        self.waiting.load(SeqCst) == 0 && self.take(bytes)
    }

    fn take(&self, bytes: u64) -> bool {
        let wanted = signed(bytes);
        let taken = self.free.fetch_update(SeqCst, SeqCst, |free| {
            (free >= wanted).then(|| free - wanted)
        });
        if taken.is_ok() {
            self.held.fetch_add(bytes, Relaxed);
        }
        taken.is_ok()
    }

    /// What was drawn is free again, for those in line first.
    pub fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.held.fetch_sub(bytes, Relaxed);
        self.free.fetch_add(signed(bytes), SeqCst);
        // Whoever joined the line before it saw this is seen here, and whoever joins later sees it.
        if self.waiting.load(SeqCst) > 0 {
            self.serve(&mut self.lock());
        }
    }

    /// Gives those in line what they wait for, as far as it goes.
    fn serve(&self, line: &mut Line) {
        while let Some(first) = line.waiting.first_entry() {
            if !self.take(first.get().bytes) {
                break;
            }
            let Waiting { id, bytes, .. } = first.remove();
            self.waiting.fetch_sub(1, SeqCst);
            if let Some(reactor) = self.reactors.get(id.reactor) {
                reactor.send(Message::Granted(id, bytes));
            }
        }
        let since = line.waiting.first_key_value().map(|(_, it)| it.since);
        self.first.store(since.unwrap_or(NOBODY), Relaxed);
    }

    fn join(&self, id: ConnectionId, bytes: u64, now: Instant) -> u64 {
        self.met.fetch_add(1, Relaxed);
        let mut line = self.lock();
        line.last += 1;
        let (ticket, since) = (line.last, self.millis(now));
        line.waiting.insert(ticket, Waiting { id, bytes, since });
        self.waiting.fetch_add(1, SeqCst);
        self.serve(&mut line);
        ticket
    }

    fn leave(&self, ticket: u64) {
        let mut line = self.lock();
        if line.waiting.remove(&ticket).is_some() {
            self.waiting.fetch_sub(1, SeqCst);
            self.serve(&mut line);
        }
    }

    /// Has `change` happen to the sum of shares, if that leaves what was drawn where it is.
    fn share(&self, change: impl FnOnce(u64) -> u64) -> bool {
        let mut line = self.lock();
        let (before, after) = (line.shares, change(line.shares));
        if after > before && after > self.most.load(Relaxed) / 8 * MOST_FOR_SHARES {
            return false;
        }
        let (had, has) = (self.for_data(before), self.for_data(after));
        let fits = self.free.fetch_update(SeqCst, SeqCst, |free| {
            (has >= had || free >= signed(had - has)).then(|| free - signed(had) + signed(has))
        });
        if fits.is_err() {
            return false;
        }
        line.shares = after;
        self.held.fetch_add(after.wrapping_sub(before), Relaxed);
        self.serve(&mut line);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection has of it; given back when it goes.
#[derive(Debug)]
pub struct Funds {
    memory: Arc<Memory>,
    id: ConnectionId,
    share: u64,
    drawn: u64,
    /// Its place in line.
    ticket: Option<u64>,
}

impl Funds {
    /// A share of so many bytes for a new connection; none when connections have all that they may.
    pub fn new(memory: &Arc<Memory>, id: ConnectionId, share: u64) -> Option<Self> {
        memory.share(|shares| shares + share).then(|| Self {
            memory: Arc::clone(memory),
            id,
            share,
            drawn: 0,
            ticket: None,
        })
    }

    /// Whose they are.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Bytes that the connection may hold.
    pub fn allowed(&self) -> u64 {
        self.share + self.drawn
    }

    /// Whether it holds what others could have.
    pub fn has_drawn(&self) -> bool {
        self.drawn != 0
    }

    /// The connection keeps so many bytes and needs so many to go on: draws what is missing or joins
    /// the line for it, and gives back what is not needed.
    pub fn settle(&mut self, keeps: u64, needs: u64, now: Instant) {
        if keeps > self.allowed() {
            // What was read already, for which room is kept.
            self.force(keeps - self.allowed());
        }
        let keeps = keeps.saturating_sub(self.share);
        let mut wanted = needs.saturating_sub(self.share);
        let most = self.memory.per_connection().saturating_sub(self.share);
        if wanted > most {
            // It has to wait for itself.
            wanted = keeps;
        }
        if wanted <= self.drawn {
            self.leave_line();
            let enough = match wanted.max(keeps) {
                0 => 0,
                bytes => bytes.next_multiple_of(QUANTUM),
            };
            if self.drawn > enough + QUANTUM || enough == 0 {
                self.give_back(self.drawn.saturating_sub(enough));
            }
            return;
        }
        if self.ticket.is_some() {
            return self.give_back(self.drawn.saturating_sub(keeps));
        }
        let lack = wanted - self.drawn;
        let plenty = wanted.next_multiple_of(QUANTUM).min(most) - self.drawn;
        for bytes in [plenty, lack] {
            if self.memory.draw(bytes) {
                self.drawn += bytes;
                return;
            }
        }
        self.give_back(self.drawn.saturating_sub(keeps));
        let lack = wanted.saturating_sub(self.drawn);
        self.ticket = Some(self.memory.join(self.id, lack, now));
    }

    /// It was its turn in line.
    pub fn granted(&mut self, bytes: u64) {
        self.ticket = None;
        self.drawn += bytes;
    }

    /// Counts what is held whether or not it may be.
    fn force(&mut self, bytes: u64) {
        self.memory.free.fetch_sub(signed(bytes), SeqCst);
        self.memory.held.fetch_add(bytes, Relaxed);
        self.drawn += bytes;
    }

    fn give_back(&mut self, bytes: u64) {
        self.drawn -= bytes;
        self.memory.give_back(bytes);
    }

    fn leave_line(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.memory.leave(ticket);
        }
    }
}

impl Drop for Funds {
    fn drop(&mut self) {
        self.leave_line();
        self.give_back(self.drawn);
        let share = self.share;
        self.memory.share(|shares| shares - share);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
