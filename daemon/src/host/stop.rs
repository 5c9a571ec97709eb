//! The wish to end, as SIGINT and its like express it: the first ends what is under way in order,
//! the second at once.
//!
//! Waiting for a target and waiting for the wish are one poll, so that no wait outlasts it.

#![forbid(unsafe_code)]

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

/// Whether to end, for all threads alike.
#[derive(Debug, Clone, Default)]
pub struct Stop(Option<Arc<Wish>>);

#[derive(Debug)]
struct Wish {
    expressed: AtomicBool,
    /// Readable once it is.
    readable: UnixStream,
    other: UnixStream,
}

impl Wish {
    fn express(&self) {
        self.expressed.store(true, Ordering::Release);
        // The end of a stream is readable. It cannot fail: both ends are ours and open.
        let _ = self.other.shutdown(Shutdown::Both);
    }
}

impl Stop {
    /// Nobody will wish it: for those who bound their waits, and for the work of ending itself.
    pub fn never() -> Self {
        Self(None)
    }

    /// Wished for by SIGHUP, SIGINT or SIGTERM. To be called before the first thread starts, which
    /// must not take the signals either.
    ///
    /// # Errors
    /// The system's.
    pub fn on_signals() -> io::Result<Self> {
        let signals: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]
            .into_iter()
            .collect();
        signals.thread_block()?;
        let stop = Self::by_hand()?;
        let expressed = stop.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || watch(&signals, &expressed))?;
        Ok(stop)
    }

    /// Wished for by [`Self::express`], of this or of any clone.
    ///
    /// # Errors
    /// The system's.
    pub fn by_hand() -> io::Result<Self> {
        let (readable, other) = UnixStream::pair()?;
        Ok(Self(Some(Arc::new(Wish {
            expressed: AtomicBool::new(false),
            readable,
            other,
        }))))
    }

    /// Wishes it, for good.
    pub fn express(&self) {
        if let Some(wish) = &self.0 {
            wish.express();
        }
    }

    /// Whether to end.
    pub fn is_wished(&self) -> bool {
        let wish = self.0.as_ref();
        wish.is_some_and(|wish| wish.expressed.load(Ordering::Acquire))
    }

    /// What becomes readable, for good, when the wish is expressed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|wish| wish.readable.as_fd())
    }
}

fn watch(signals: &SigSet, stop: &Stop) {
    let Ok(_) = signals.wait() else { return };
    stop.express();
    let first = Instant::now();
    while signals.wait().is_ok() {
        if first.elapsed() > ECHO {
            std::process::exit(INTERRUPTED.into());
        }
    }
}

/// Exit status of a program that a signal ended, as shells count SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Signals so close to the first are its echo, sent to a process and its group.
const ECHO: Duration = Duration::from_millis(300);
