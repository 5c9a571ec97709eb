//! A reactor's own sleep: it was not run for a while, and what hosts said meanwhile lies unread.
//!
//! A machine is suspended or has too much to do, a process is stopped. Then every deadline has passed
//! that would have been met, and a reactor that reads its own sockets first is not enough: what keeps a
//! controller alive may be unread in another one's. So nobody is judged for a moment after such a sleep.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// What a turn may be late by without a sleep.
const LATE: Duration = Duration::from_millis(50);

/// What all reactors together take, after a sleep, to read what was said during it.
const GRACE: Duration = Duration::from_secs(1);

/// Graces in a row after which deadlines are judged all the same: where turns are always late, nobody
/// may stay for ever.
const GRACES: u32 = 8;

/// When the reactor slept, and until when nobody is judged for it.
#[derive(Debug)]
pub(super) struct Sleep {
    /// When the last turn began.
    turn: Instant,
    grace: Option<Instant>,
    /// How many there were in a row.
    graces: u32,
}

impl Sleep {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            turn: now,
            grace: None,
            graces: 0,
        }
    }

    /// A turn begins, which was to begin `timeout` after the last one at the latest; none: at no time.
    pub(super) fn turn(&mut self, now: Instant, timeout: Option<Duration>) {
        let since = now.saturating_duration_since(self.turn);
        self.turn = now;
        let overslept = timeout.is_some_and(|timeout| since > timeout + LATE);
        if overslept && self.graces < GRACES {
            self.grace = Some(now + GRACE);
            self.graces += 1;
        }
    }

    /// Before when no deadline is to be judged.
    pub(super) fn grace(&self) -> Option<Instant> {
        self.grace
    }

    /// Whether deadlines may be judged, which they are then.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        if self.grace.is_some_and(|end| now < end) {
            return false;
        }
        (self.grace, self.graces) = (None, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(300);

    #[test]
    fn nobody_is_judged_for_a_moment_after_a_sleep() {
        let start = Instant::now();
        let mut sleep = Sleep::new(start);
        sleep.turn(start + PAUSE, Some(PAUSE));
        assert!(sleep.is_over(start + PAUSE), "it was in time");
        let woken = start + 20 * PAUSE;
        sleep.turn(woken, Some(PAUSE));
        assert!(!sleep.is_over(woken));
        assert_eq!(sleep.grace(), Some(woken + GRACE));
        sleep.turn(woken + GRACE, Some(GRACE));
        assert!(sleep.is_over(woken + GRACE));
        assert_eq!(sleep.grace(), None);
    }

    #[test]
    fn one_sleep_after_the_other_is_forgiven_too() {
        let start = Instant::now();
        let mut sleep = Sleep::new(start);
        sleep.turn(start + GRACE, Some(Duration::ZERO));
        let again = start + 10 * GRACE;
        sleep.turn(again, Some(GRACE));
        assert!(!sleep.is_over(again), "the first grace is long over");
    }

    #[test]
    fn who_waits_for_nothing_cannot_oversleep() {
        let start = Instant::now();
        let mut sleep = Sleep::new(start);
        let late = start + Duration::from_secs(3600);
        sleep.turn(late, None);
        assert!(sleep.is_over(late));
    }

    #[test]
    fn a_reactor_that_is_always_late_judges_now_and_then() {
        let mut now = Instant::now();
        let mut sleep = Sleep::new(now);
        let judged = (0..=GRACES).filter(|_| {
            now += 2 * LATE;
            sleep.turn(now, Some(Duration::ZERO));
            let at = sleep.grace().unwrap_or(now);
            sleep.is_over(at.min(now))
        });
        assert_eq!(judged.count(), 0);
        now += GRACE;
        sleep.turn(now, Some(Duration::ZERO));
        assert!(sleep.is_over(now));
    }
}
