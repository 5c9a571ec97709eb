//! How much memory a queue holds, and what it may begin with what it is allowed.
//!
//! Whoever owns the queue allows it so many bytes. Commands that move data wait until theirs fit;
//! capsules are not even read without room for one ([`Queue::has_room`]). So that no queue can come
//! to wait for itself, an R2T leaves room for everything that its host may send before the data.

use super::inflight::{COMMAND, PLACE};
use super::{Queue, SOLICIT_MAX};

/// Bytes that a capsule needs beside its data: its answer, an R2T, and the headers of its data.
const ANSWER: u64 = 1024;

/// Bytes that a queue of so many entries, with so many bytes in a capsule, has to be allowed to serve
/// small commands, one after the other, whatever else there is, and what its table keeps.
pub fn share(entries: u32, in_capsule: u32) -> u64 {
    // Two, because the halves of a fused pair wait for each other, and some for what small commands read.
    2 * (u64::from(in_capsule) + COMMAND + ANSWER) + SMALL + table(entries)
}

/// Bytes that small reads are answered from while there is no room for others.
const SMALL: u64 = 4096 + COMMAND;

fn table(entries: u32) -> u64 {
    2 * u64::from(entries) * PLACE
}

impl Queue {
    /// Bytes of memory that the queue holds, or has promised to.
    pub fn holds(&self) -> u64 {
        let commands = self.inflight.len() as u64 * COMMAND;
        let table = table(self.parameters.entries);
        self.begun + self.outbox.kept() as u64 + commands + table
    }

    /// The queue may hold so many bytes from now on: begins what has waited for them. Of what it holds
    /// already it gives up nothing.
    pub fn allow(&mut self, bytes: u64) {
        self.allowed = bytes;
        self.begin_reads();
        self.solicit();
    }

    /// Bytes that it holds, and those that are kept free for what its host may send before the data that
    /// it was asked for.
    pub fn keeps(&self) -> u64 {
        match self.solicited {
            0 => self.holds(),
            _ => self.holds() + self.reserve(),
        }
    }

    /// Whether there is room for whatever the next capsule may bring.
    pub fn has_room(&self) -> bool {
        self.holds() + self.capsule_needs() <= self.allowed
    }

    /// Whether commands wait for room.
    pub fn has_waiting(&self) -> bool {
        !self.unread.is_empty() || !self.unsolicited.is_empty()
    }

    /// Whether something waits for more than what is allowed.
    pub fn is_short(&self) -> bool {
        self.has_waiting() || !self.has_room()
    }

    /// Bytes that the queue has to be allowed to go on with everything that waits now, each by itself.
    pub fn needs(&self) -> u64 {
        let cost = |waiting: Option<_>| {
            let slot = waiting.and_then(|&tag| self.inflight.get(tag));
            slot.map_or(0, |slot| slot.moves())
        };
        let read = cost(self.unread.front());
        let write = match cost(self.unsolicited.front()) {
            bytes if bytes == 0 || !self.may_solicit(bytes) => 0,
            bytes => bytes + self.reserve(),
        };
        self.keeps()
            .max(self.holds() + self.capsule_needs().max(read).max(write))
    }

    /// Whether it holds memory until the host sends what it has begun.
    pub fn awaits_data(&self) -> bool {
        self.begun > self.executing
    }

    fn capsule_needs(&self) -> u64 {
        u64::from(self.parameters.in_capsule) + COMMAND + ANSWER
    }

    /// What an R2T leaves free: the host may send all commands that it has entries for, and a fused
    /// pair with data, before what it was asked for.
    fn reserve(&self) -> u64 {
        let entries = 2 * u64::from(self.parameters.entries);
        let more = entries.saturating_sub(self.inflight.len() as u64);
        more * (COMMAND + ANSWER_ALONE) + 2 * self.capsule_needs()
    }

    fn may_solicit(&self, bytes: u64) -> bool {
        self.solicited == 0 || self.solicited + bytes <= SOLICIT_MAX
    }

    /// Begins reads as far as there is room.
    pub(super) fn begin_reads(&mut self) {
        while let Some(&tag) = self.unread.front() {
            let room = self.allowed.saturating_sub(self.holds());
            let Some(slot) = self.inflight.get_mut(tag) else {
                self.unread.pop_front();
                continue;
            };
            if slot.moves() > room {
                return;
            }
            slot.begun = true;
            self.begun += slot.moves();
            self.unread.pop_front();
            self.data_complete(tag);
        }
    }

    /// Asks the host for data as far as there is room and the budget goes.
    pub(super) fn solicit(&mut self) {
        while let Some(&tag) = self.unsolicited.front() {
            let taken = self.holds().saturating_add(self.reserve());
            let room = self.allowed.saturating_sub(taken);
            let Some(slot) = self.inflight.get(tag) else {
                self.unsolicited.pop_front();
                continue;
            };
            let bytes = slot.moves();
            if bytes > room || !self.may_solicit(bytes) {
                return;
            }
            self.unsolicited.pop_front();
            self.begun += bytes;
            self.solicited += bytes;
            let Some(slot) = self.inflight.get_mut(tag) else {
                continue;
            };
            slot.begun = true;
            slot.solicited = true;
            let (cid, expected) = (slot.sqe.cid.get(), slot.expected);
            let framing = self.parameters.framing;
            self.outbox
                .headers(|out| framing.r2t(out, cid, tag.index(), 0, expected));
        }
    }
}

/// Bytes that an answer without data has, its digest included.
const ANSWER_ALONE: u64 = 28;
