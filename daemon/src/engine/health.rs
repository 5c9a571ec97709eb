//! How a namespace's storage fares: what fails, since when, and which of it is worth a line.
//!
//! A disk that fails does so under load, thousands of times a second, and some fail only where they are
//! damaged, between reads that work. So there are *episodes*, one for reads, writes and flushes each:
//! the first failure is told, then every minute how it goes on, then that it works again. Knows no clock
//! and logs nothing: [`Health::failed`] and [`Health::worked`] say what there is to tell.

#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fault::Operation;

/// The health of one namespace.
#[derive(Debug, Default)]
pub struct Health {
    kinds: [Kind; Operation::ALL.len()],
}

#[derive(Debug, Default)]
struct Kind {
    /// Whether there is an episode that has not ended: asked after every command.
    failing: AtomicBool,
    episode: Mutex<Option<Episode>>,
}

#[derive(Debug)]
struct Episode {
    since: Instant,
    last: Instant,
    /// Commands that failed.
    commands: u64,
    error: String,
    /// When it is told next that it goes on.
    next: Instant,
    /// When it ended, if it has.
    ended: Option<Instant>,
    /// Whether it began again soon after its end, of which no more is told.
    again: bool,
}

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It fails, for the first time.
    Fails,
    /// It still does.
    StillFails(Extent),
    /// It works again.
    Works(Extent),
}

/// How much has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Commands that failed.
    pub commands: u64,
    /// Since the first one.
    pub lasted: Duration,
}

/// An operation that fails, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// What fails.
    pub operation: Operation,
    /// Since when.
    pub since: Instant,
    /// Commands that failed.
    pub commands: u64,
    /// The last error.
    pub error: String,
}

impl Health {
    /// An operation has failed.
    pub fn failed(&self, operation: Operation, error: &io::Error, now: Instant) -> Option<News> {
        let kind = self.kind(operation);
        let mut episode = kind.lock();
        kind.failing.store(true, Ordering::Relaxed);
        let over = |ended: Instant| now.saturating_duration_since(ended) >= EVERY;
        if let Some(episode) = episode.as_mut().filter(|it| !it.ended.is_some_and(over)) {
            episode.commands += 1;
            episode.last = now;
            episode.again |= episode.ended.take().is_some();
            episode.error = error.to_string();
            if now < episode.next {
                return None;
            }
            episode.next = now + EVERY;
            return Some(News::StillFails(episode.extent(now)));
        }
        *episode = Some(Episode {
            since: now,
            last: now,
            commands: 1,
            error: error.to_string(),
            next: now + EVERY,
            ended: None,
            again: false,
        });
        Some(News::Fails)
    }

    /// Whether an operation failed not long ago. Then those that work count, too.
    pub fn is_failing(&self, operation: Operation) -> bool {
        self.kind(operation).failing.load(Ordering::Relaxed)
    }

    /// An operation has worked.
    pub fn worked(&self, operation: Operation, now: Instant) -> Option<News> {
        let kind = self.kind(operation);
        let mut episode = kind.lock();
        let episode = episode.as_mut().filter(|it| it.ended.is_none())?;
        // Not yet, while others of its kind fail.
        if now.saturating_duration_since(episode.last) < QUIET {
            return None;
        }
        episode.ended = Some(now);
        kind.failing.store(false, Ordering::Relaxed);
        let again = std::mem::replace(&mut episode.again, false);
        (!again).then(|| News::Works(episode.extent(now)))
    }

    /// What fails now.
    pub fn failing(&self) -> Vec<Failing> {
        let failing = Operation::ALL.into_iter().filter_map(|operation| {
            let kind = self.kind(operation).lock();
            let episode = kind.as_ref().filter(|it| it.ended.is_none())?;
            Some(Failing {
                operation,
                since: episode.since,
                commands: episode.commands,
                error: episode.error.clone(),
            })
        });
        failing.collect()
    }

    fn kind(&self, operation: Operation) -> &Kind {
        let [reads, writes, flushes] = &self.kinds;
        match operation {
            Operation::Read => reads,
            Operation::Write => writes,
            Operation::Flush => flushes,
        }
    }
}

impl Kind {
    fn lock(&self) -> MutexGuard<'_, Option<Episode>> {
        self.episode.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Episode {
    fn extent(&self, now: Instant) -> Extent {
        Extent {
            commands: self.commands,
            lasted: now.saturating_duration_since(self.since),
        }
    }
}

/// How often it is told that something still fails; and what fails again so soon is the same episode.
const EVERY: Duration = Duration::from_secs(60);

/// How long nothing must have failed for it to work again.
const QUIET: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    /// A health, and a clock in milliseconds.
    struct Bench(Health, Instant);

    impl Bench {
        fn new() -> Self {
            Self(Health::default(), Instant::now())
        }

        fn fails(&self, at: u64) -> Option<News> {
            let now = self.1 + Duration::from_millis(at);
            self.0.failed(Operation::Read, &Errno::EIO.into(), now)
        }

        fn works(&self, at: u64) -> Option<News> {
            let now = self.1 + Duration::from_millis(at);
            self.0.worked(Operation::Read, now)
        }
    }

    fn extent(commands: u64, milliseconds: u64) -> Extent {
        let lasted = Duration::from_millis(milliseconds);
        Extent { commands, lasted }
    }

    #[test]
    fn an_episode_has_a_beginning_a_line_a_minute_and_an_end() {
        let it = Bench::new();
        assert!(!it.0.is_failing(Operation::Read));
        assert_eq!(it.fails(0), Some(News::Fails));
        for at in 1..1000 {
            assert_eq!(it.fails(at * 60), None);
        }
        assert_eq!(
            it.fails(60_000),
            Some(News::StillFails(extent(1001, 60_000)))
        );
        assert_eq!(it.fails(61_000), None);
        assert!(it.0.is_failing(Operation::Read));
        assert_eq!(it.works(61_999), None);
        assert_eq!(it.works(62_000), Some(News::Works(extent(1002, 62_000))));
        assert!(!it.0.is_failing(Operation::Read));
        assert_eq!(it.works(62_001), None);
        assert_eq!(it.fails(200_000), Some(News::Fails));
    }

    #[test]
    fn a_damaged_block_among_good_ones_does_not_flood_the_log() {
        let it = Bench::new();
        let mut lines = 0;
        // For ten minutes it is read every two seconds, and good ones in between.
        for turn in 0..300 {
            lines += it.fails(turn * 2000).iter().count();
            lines += it.works(turn * 2000 + 500).iter().count();
            lines += it.works(turn * 2000 + 1500).iter().count();
        }
        assert!((3..=12).contains(&lines), "{lines} lines");
    }

    #[test]
    fn reads_writes_and_flushes_fail_by_themselves() {
        let health = Health::default();
        let now = Instant::now();
        health.failed(Operation::Read, &Errno::EIO.into(), now);
        health.failed(Operation::Flush, &Errno::ENOSPC.into(), now);
        let failing = health.failing();
        let what: Vec<_> = failing.iter().map(|it| it.operation).collect();
        assert_eq!(what, [Operation::Read, Operation::Flush]);
        assert!(failing[1].error.contains("No space left"), "{failing:?}");
        assert_eq!(health.worked(Operation::Write, now + EVERY), None);
        assert!(health.worked(Operation::Read, now + EVERY).is_some());
        assert_eq!(health.failing().len(), 1);
    }
}
