//! Signals, as events of a channel like everything else that the monitor waits for.

#![forbid(unsafe_code)]

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use nix::sys::signal::{SigSet, Signal};

use crate::error::StartupError;

/// Keeps the signals that concern a daemon for whoever receives from this: before anybody can know
/// that there is somebody to signal, and before any other thread starts, which inherits that.
///
/// # Errors
/// [`StartupError::System`].
pub(super) fn receive() -> Result<Receiver<Signal>, StartupError> {
    let failed = |source: io::Error| StartupError::System {
        what: "block signals",
        source,
    };
    let signals: SigSet = OURS.into_iter().collect();
    signals
        .thread_block()
        .map_err(|errno| failed(errno.into()))?;
    let (sender, receiver) = unbounded();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            while let Ok(signal) = signals.wait() {
                if sender.send(signal).is_err() {
                    return;
                }
            }
        })
        .map_err(failed)?;
    Ok(receiver)
}

/// Ends the process at the next signal, without waiting for anything. The same one sent to a process
/// and to its group, as timeout(1) does, is not a second one.
pub(super) fn end_at_the_next(signals: &Receiver<Signal>) {
    let first = Instant::now();
    for _ in signals {
        if first.elapsed() > ECHO {
            std::process::exit(1);
        }
    }
}

/// What is meant for a daemon. The worker leaves all of it to the monitor.
pub const OURS: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Signals so close to the first are its echo.
const ECHO: Duration = Duration::from_millis(500);
