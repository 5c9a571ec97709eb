//! Log lines that peers can cause: so many of each kind in a second, and the rest counted.
//!
//! Peers connect and are refused as often as they please, and a log is on a disk. A kind may have a
//! while's lines at once, so that a rack that comes back together is told whole. Whoever has a line
//! asks first ([`Lines::admit`]); the acceptor says from time to time how many were left out
//! (`Lines::tell`). Faults of our own do not ask.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mio::Waker;
use tracing::level_filters::LevelFilter;
use tracing::{Level, warn};

use super::stats::tally::{Label, Tally, label};
use crate::log::LOG_RATE;

/// A kind may have the lines of so much time at once.
const BURST: Duration = Duration::from_secs(40);

/// How long lines are left out before that is said.
const TELL_AFTER: Duration = Duration::from_secs(5);

label! {
    /// Kinds of lines, none of which can crowd out another.
    pub Kind {
        /// Hosts that come and go.
        Served = "served",
        /// Hosts that are refused.
        Refused = "refused",
        /// Connections that made room for others.
        Evicted = "evicted",
        /// Queues that the kernel has taken.
        HandedOver = "handed_over",
        /// Queues that the kernel does not take.
        NotTaken = "not_taken",
        /// Connections that ended before they were anybody's.
        Closed = "closed",
    }
}

impl Kind {
    fn level(self) -> Level {
        match self {
            Self::Refused | Self::Evicted | Self::NotTaken => Level::WARN,
            Self::Served | Self::HandedOver => Level::INFO,
            Self::Closed => Level::DEBUG,
        }
    }
}

/// What is logged of peers, and what is not.
#[derive(Debug)]
pub struct Lines {
    /// Lines of a kind in a second.
    rate: AtomicU32,
    buckets: Box<[Mutex<Bucket>]>,
    /// Lines that were left out.
    pub left_out: Tally<Kind>,
    /// Wakes who tells.
    teller: OnceLock<Arc<Waker>>,
}

/// One kind's lines.
#[derive(Debug, Default)]
struct Bucket {
    /// Until when the lines so far would take, one after the other.
    until: Option<Instant>,
    /// How many were left out, and since when, that was not said yet.
    untold: Option<(u64, Instant)>,
}

impl Lines {
    /// From now on so many of a kind in a second.
    pub fn set_rate(&self, rate: u32) {
        self.rate.store(rate, Relaxed);
    }

    /// Whether a line may be logged. One that nobody would read is not counted.
    pub fn admit(&self, kind: Kind, now: Instant) -> bool {
        LevelFilter::current() >= kind.level() && self.take(kind, now)
    }

    fn take(&self, kind: Kind, now: Instant) -> bool {
        let Some(mut bucket) = self.bucket(kind) else {
            return false;
        };
        let each = Duration::from_secs(1) / self.rate.load(Relaxed).max(1);
        let until = bucket.until.unwrap_or(now).max(now);
        if until.saturating_duration_since(now) < BURST {
            bucket.until = Some(until + each);
            return true;
        }
        let (count, since) = bucket.untold.unwrap_or((0, now));
        bucket.untold = Some((count + 1, since));
        drop(bucket);
        self.left_out.count(kind);
        if count == 0
            && let Some(teller) = self.teller.get()
        {
            // One that cannot be woken has ended.
            let _ = teller.wake();
        }
        false
    }

    /// This is woken when there is something to tell.
    pub(super) fn wake(&self, teller: Arc<Waker>) {
        // There is one acceptor.
        let _ = self.teller.set(teller);
    }

    /// Says how many lines were left out, where it is time to. When it is the next time.
    pub(super) fn tell(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for &kind in Kind::ALL {
            match self.untold(kind, now) {
                Ok(None) => {}
                Ok(Some(count)) => {
                    warn!(
                        kind = kind.name(),
                        "{count} more lines of hosts were left out"
                    );
                }
                Err(due) => next = Some(next.map_or(due, |next| next.min(due))),
            }
        }
        next
    }

    /// What is to be told now; or when it is.
    fn untold(&self, kind: Kind, now: Instant) -> Result<Option<u64>, Instant> {
        let Some(mut bucket) = self.bucket(kind) else {
            return Ok(None);
        };
        match bucket.untold {
            Some((_, since)) if now < since + TELL_AFTER => Err(since + TELL_AFTER),
            _ => Ok(bucket.untold.take().map(|(count, _)| count)),
        }
    }

    fn bucket(&self, kind: Kind) -> Option<MutexGuard<'_, Bucket>> {
        let bucket = self.buckets.get(kind.index())?;
        Some(bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            rate: AtomicU32::new(LOG_RATE),
            buckets: Kind::ALL.iter().map(|_| Mutex::default()).collect(),
            left_out: Tally::default(),
            teller: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines at ten a second.
    fn lines() -> Lines {
        let lines = Lines::default();
        lines.set_rate(10);
        lines
    }

    #[test]
    fn a_flood_has_a_whiles_lines_at_once_and_then_so_many_a_second() {
        let (lines, start) = (lines(), Instant::now());
        let admitted = |seconds| {
            let now = start + Duration::from_secs(seconds);
            (0..5000).filter(|_| lines.take(Kind::Refused, now)).count()
        };
        assert_eq!([0, 1, 3, 3600].map(admitted), [400, 10, 20, 400]);
        assert_eq!(lines.left_out.of(Kind::Refused), 4 * 5000 - 830);
        assert!(lines.take(Kind::Served, start), "another kind has its own");
        assert_eq!(lines.left_out.of(Kind::Served), 0);
    }

    #[test]
    fn what_was_left_out_is_told_once() {
        let (lines, start) = (lines(), Instant::now());
        for _ in 0..500 {
            lines.take(Kind::Served, start);
        }
        let due = start + TELL_AFTER;
        assert_eq!(lines.untold(Kind::Served, start), Err(due));
        assert_eq!(lines.tell(start), Some(due));
        assert_eq!(lines.untold(Kind::Served, due), Ok(Some(100)));
        assert_eq!(lines.untold(Kind::Served, due), Ok(None));
        assert_eq!(lines.tell(due), None);
    }

    #[test]
    fn lines_that_nobody_reads_are_not_left_out() {
        // Unit tests do not log.
        let (lines, now) = (lines(), Instant::now());
        for _ in 0..500 {
            assert!(!lines.admit(Kind::Closed, now));
        }
        assert_eq!(lines.left_out.of(Kind::Closed), 0);
    }
}
