//! When a process that has ended is started again: at once, then after growing pauses.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// When a process is started again.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// How often it was.
    pub(super) count: u64,
    /// How often in a row it was in vain.
    failures: u32,
    /// When the next one is due.
    pub(super) due: Option<Instant>,
}

impl Restarts {
    /// The process has ended, after it `lived` so long, or could not be started.
    pub(super) fn schedule(&mut self, lived: Option<Duration>) {
        if lived.is_some_and(|lived| lived >= GOOD_WHILE) {
            self.failures = 0;
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => (FIRST_PAUSE * 2_u32.saturating_pow(failures - 1)).min(LONGEST_PAUSE),
        };
        self.failures = self.failures.saturating_add(1);
        self.due = Some(Instant::now() + pause);
    }

    /// It is started again now.
    pub(super) fn begin(&mut self) {
        self.due = None;
        self.count += 1;
    }
}

/// A process that has lived so long was a good one.
const GOOD_WHILE: Duration = Duration::from_secs(60);

/// What is waited before a process that ended soon is started again, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
