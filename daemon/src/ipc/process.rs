//! What every process that the monitor starts does around its work.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use tracing::error;
use tracing::level_filters::LevelFilter;

use super::channel::nonsense;
use crate::config::model::Destination;
use crate::log::{self, Verbosity};
use crate::monitor::SIGNALS;
use crate::os;

/// Runs such a process: what ps(1) calls it, and its work, of which it is told why it fails.
pub fn main(title: &CStr, work: impl FnOnce() -> io::Result<()>) -> ExitCode {
    os::set_title(title);
    // They are the monitor's, which decides what they mean.
    let mut signals: SigSet = SIGNALS.into_iter().collect();
    // A terminal may stop who writes to it from another process group than the one before it.
    signals.add(Signal::SIGTTOU);
    // Only a set that is none is refused.
    let _ = signals.thread_block();
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "{} ends", title.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

/// Logs as the monitor says, from the first time on; later only the level changes.
///
/// # Errors
/// A level that is none, or a log that cannot be had.
pub fn log(
    verbosity: &mut Option<Verbosity>,
    level: &str,
    destination: Destination,
) -> io::Result<()> {
    let level: LevelFilter = level.parse().map_err(nonsense)?;
    match verbosity {
        Some(verbosity) => verbosity.set(level),
        None => {
            let started = log::start_confined(destination, level);
            *verbosity = Some(started.map_err(io::Error::other)?);
        }
    }
    Ok(())
}
