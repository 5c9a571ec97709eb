//! Whether a host does its part: reads what it asked for, sends what it announced.
//!
//! Only a host that owes us something can be late. While a disk is slow, or others have the memory that
//! a command waits for, the host waits for us.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::worker::close::CloseReason;
use crate::worker::memory::Memory;

/// How often a host that owes us something is looked at.
const CHECK: Duration = Duration::from_secs(1);

/// Bytes by which a host has to move, in the time that it is given, to be no obstacle to others.
const STRIDE: usize = 64 << 10;

/// How a connection's bytes move.
#[derive(Debug)]
pub(super) struct Pace {
    owed: bool,
    /// When the last byte moved, or when the host came to owe.
    moved: Instant,
    /// When the last stride was complete, and what has moved since.
    stride: Instant,
    part: usize,
    checked: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            owed: false,
            moved: now,
            stride: now,
            part: 0,
            checked: now,
        }
    }

    /// So many bytes have moved, either way.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        if bytes == 0 {
            return;
        }
        self.moved = now;
        self.part = self.part.saturating_add(bytes);
        if self.part >= STRIDE {
            self.stride = now;
            self.part = 0;
        }
    }

    /// Whether it is the host's turn.
    pub(super) fn owes(&mut self, owed: bool, now: Instant) {
        if !owed || !self.owed {
            *self = Self {
                owed,
                ..Self::new(now)
            };
        }
    }

    /// When to look at it.
    pub(super) fn deadline(&self, memory: &Memory) -> Option<Instant> {
        let every = CHECK.min(memory.stall_time());
        self.owed.then(|| self.checked + every)
    }

    /// Looks at the clock, and whether others wait for what this connection has drawn.
    pub(super) fn tick(
        &mut self,
        memory: &Memory,
        has_drawn: bool,
        now: Instant,
    ) -> Result<(), CloseReason> {
        self.checked = now;
        if !self.owed {
            return Ok(());
        }
        if now.saturating_duration_since(self.moved) >= memory.stall_time() {
            return Err(CloseReason::Stalled);
        }
        let patience = memory.patience(now).filter(|_| has_drawn);
        let stood = now.saturating_duration_since(self.stride);
        match patience {
            Some(patience) if stood >= patience => Err(CloseReason::MadeRoom),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::snapshot::Limits;

    fn memory() -> Memory {
        let limits = Limits {
            stall_time: Duration::from_secs(10),
            ..Limits::default()
        };
        Memory::new(&limits, Vec::new().into())
    }

    #[test]
    fn who_owes_has_its_time_and_each_byte_renews_it() {
        let (memory, start) = (memory(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        pace.owes(true, start);
        assert_eq!(pace.deadline(&memory), Some(after(1)));
        assert!(pace.tick(&memory, true, after(9)).is_ok());
        pace.moved(1, after(9));
        pace.owes(true, after(9));
        assert!(pace.tick(&memory, true, after(18)).is_ok());
        let late = pace.tick(&memory, true, after(19));
        assert!(matches!(late, Err(CloseReason::Stalled)));
    }

    #[test]
    fn who_waits_for_us_has_all_the_time_there_is() {
        let (memory, start) = (memory(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        pace.owes(true, start);
        pace.owes(false, after(9));
        assert_eq!(pace.deadline(&memory), None);
        assert!(pace.tick(&memory, true, after(1000)).is_ok());
        // It owes again, from now on.
        pace.owes(true, after(1000));
        assert!(pace.tick(&memory, true, after(1009)).is_ok());
        assert!(pace.tick(&memory, true, after(1010)).is_err());
    }
}
