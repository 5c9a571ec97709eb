//! Where log lines go, and how lines that a peer can cause are kept short, few and harmless.
//!
//! Lines go to standard error with time and level, or to syslog, which adds its own. Where standard
//! error is systemd's journal, which adds a time too, a line begins with its priority instead
//! (sd-daemon(3)). The worker, which has no way to syslog, writes such lines to the monitor, which logs
//! them for it. Text from a peer is printed only after it was parsed into a type that is
//! printable by nature (an NQN, a number), and a line that a peer can cause at will stands behind
//! a [`Quota`], or is one of the worker's [`crate::worker::lines`].

#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::model::Destination;
use crate::error::StartupError;

/// Changes how much is logged while it is logged.
#[derive(Debug, Clone)]
pub struct Verbosity(reload::Handle<LevelFilter, Registry>);

impl Verbosity {
    /// Logs what is at least as severe as `level` from now on.
    pub fn set(&self, level: LevelFilter) {
        // Fails only when nothing is logged any more.
        let _ = self.0.reload(level);
    }

    /// The least severe lines that are logged now.
    pub fn get(&self) -> LevelFilter {
        self.0.clone_current().unwrap_or(LevelFilter::OFF)
    }
}

/// Sends lines to `destination`, as the facility `daemon` where that is syslog.
///
/// # Errors
/// [`StartupError::System`] if lines go somewhere already.
pub fn start(destination: Destination, level: LevelFilter) -> Result<Verbosity, StartupError> {
    match destination {
        Destination::Syslog => {
            use syslog_tracing::{Facility, Options, Syslog};
            let syslog = Syslog::new(c"nvmfd", Options::LOG_PID, Facility::Daemon)
                .ok_or_else(|| failed(io::ErrorKind::AlreadyExists.into()))?;
            init(bare(fmt::layer()).with_writer(syslog), level)
        }
        Destination::Stderr if stderr_is_journal() => {
            init(bare(fmt::layer()).with_writer(Journal), level)
        }
        Destination::Stderr => {
            let layer = fmt::layer().with_target(false).with_ansi(false);
            init(layer.with_writer(io::stderr), level)
        }
    }
}

/// The same in a process that is confined: what is for syslog goes to standard error. The monitor reads it,
/// and logs it.
///
/// # Errors
/// As [`start`].
pub fn start_confined(
    destination: Destination,
    level: LevelFilter,
) -> Result<Verbosity, StartupError> {
    match destination {
        Destination::Syslog => init(bare(fmt::layer()).with_writer(Journal), level),
        Destination::Stderr => start(destination, level),
    }
}

/// Without what the log itself adds.
fn bare(
    layer: fmt::Layer<Filtered>,
) -> fmt::Layer<Filtered, fmt::format::DefaultFields, fmt::format::Format<fmt::format::Full, ()>> {
    let layer = layer.with_target(false).with_ansi(false);
    layer.with_level(false).without_time()
}

/// What a layer is put on.
type Filtered = tracing_subscriber::layer::Layered<reload::Layer<LevelFilter, Registry>, Registry>;

fn init(
    layer: impl Layer<Filtered> + Send + Sync,
    level: LevelFilter,
) -> Result<Verbosity, StartupError> {
    let (filter, handle) = reload::Layer::new(level);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    subscriber
        .try_init()
        .map_err(|error| failed(io::Error::other(error.to_string())))?;
    Ok(Verbosity(handle))
}

/// Whether standard error leads to systemd's journal, which says so by device and inode.
fn stderr_is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    // By its own system call, which the worker has.
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Standard error, with a priority before each line.
#[derive(Debug, Clone, Copy)]
struct Journal;

/// One line on its way.
#[derive(Debug)]
struct JournalLine {
    priority: u8,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Journal {
    type Writer = JournalLine;

    fn make_writer(&'a self) -> Self::Writer {
        JournalLine {
            priority: b'6',
            text: Vec::new(),
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        let priority = match *meta.level() {
            Level::ERROR => b'3',
            Level::WARN => b'4',
            Level::INFO => b'6',
            Level::DEBUG | Level::TRACE => b'7',
        };
        let text = Vec::new();
        JournalLine { priority, text }
    }
}

impl Write for JournalLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for JournalLine {
    fn drop(&mut self) {
        let mut line = vec![b'<', self.priority, b'>'];
        line.append(&mut self.text);
        // A log that cannot be written has nowhere to say so.
        let _ = io::stderr().write_all(&line);
    }
}

/// Lines of each kind that peers can cause in a second, unless the operator says otherwise.
pub const LOG_RATE: u32 = 5;

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
    fn the_journal_is_told_how_severe_a_line_is() {
        let mut line = Journal.make_writer();
        line.write_all(b"serving\n").unwrap();
        assert_eq!((line.priority, &line.text[..]), (b'6', &b"serving\n"[..]));
    }

    #[test]
    fn a_quota_of_none_admits_nothing() {
        let quota = Quota::new(0, Duration::ZERO);
        assert_eq!(quota.admit(Instant::now()), None);
    }
}
