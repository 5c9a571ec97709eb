//! Where log lines go, and how lines that a peer can cause are kept short, few and harmless.
//!
//! In the foreground lines go to standard error with time and level; a daemon's go to syslog,
//! which adds its own. Text from a peer is printed only after it was parsed into a type that is
//! printable by nature (an NQN, a number), and a line that a peer can cause at will stands behind
//! a [`Quota`].

#![forbid(unsafe_code)]

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;

use crate::error::StartupError;

/// Sends lines to standard error.
///
/// # Errors
/// [`StartupError::System`] if lines go somewhere already.
pub fn to_stderr(level: LevelFilter) -> Result<(), StartupError> {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false);
    subscriber
        .try_init()
        .map_err(|error| failed(io::Error::other(error.to_string())))
}

/// Sends lines to syslog, as the facility `daemon`.
///
/// # Errors
/// [`StartupError::System`] if lines go somewhere already.
pub fn to_syslog(level: LevelFilter) -> Result<(), StartupError> {
    use syslog_tracing::{Facility, Options, Syslog};
    let syslog = Syslog::new(c"nvmfd", Options::LOG_PID, Facility::Daemon)
        .ok_or_else(|| failed(io::ErrorKind::AlreadyExists.into()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(syslog)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false);
    subscriber
        .try_init()
        .map_err(|error| failed(io::Error::other(error.to_string())))
}

/// So many lines in so much time, for one place that logs. The rest is counted.
#[derive(Debug)]
pub struct Quota {
    lines: u32,
    period: Duration,
    state: Mutex<QuotaState>,
}

impl Quota {
    /// A quota of `lines` in each `period`; fit for a `static` beside the line.
    pub const fn new(lines: u32, period: Duration) -> Self {
        let state = QuotaState {
            since: None,
            admitted: 0,
            suppressed: 0,
        };
        Self {
            lines,
            period,
            state: Mutex::new(state),
        }
    }

    /// Whether the line may be logged; then, how many before it were not and should be told of.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |since| now.saturating_duration_since(since) >= self.period;
        if state.since.is_none_or(fresh) {
            state.since = Some(now);
            state.admitted = 0;
        }
        if state.admitted < self.lines {
            state.admitted += 1;
            Some(std::mem::take(&mut state.suppressed))
        } else {
            state.suppressed += 1;
            None
        }
    }
}

/// How many lines were left out before one that is logged, where any were: a field for it.
pub fn told(suppressed: u64) -> Option<u64> {
    (suppressed != 0).then_some(suppressed)
}

#[derive(Debug)]
struct QuotaState {
    since: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

fn failed(source: io::Error) -> StartupError {
    StartupError::System {
        what: "set up the log",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_of_once() {
        let quota = Quota::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(quota.admit(at(0)), Some(0));
        assert_eq!(quota.admit(at(1)), Some(0));
        for second in 2..10 {
            assert_eq!(quota.admit(at(second)), None);
        }
        assert_eq!(quota.admit(at(10)), Some(8));
        assert_eq!(quota.admit(at(11)), Some(0));
        assert_eq!(quota.admit(at(11)), None);
        assert_eq!(quota.admit(at(100)), Some(1));
    }

    #[test]
    fn a_quota_of_none_admits_nothing() {
        let quota = Quota::new(0, Duration::ZERO);
        assert_eq!(quota.admit(Instant::now()), None);
    }
}
