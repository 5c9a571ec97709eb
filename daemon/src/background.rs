//! The way into the background: the terminal is left when the daemon serves, not before.
//!
//! The process that was started waits for its child to say that it serves, and ends with the child's
//! status if it does not. So a start that fails says why on the terminal, and scripts see it.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::process;

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

use crate::error::StartupError;
use crate::os;

/// A daemon that does not serve yet, and still has the terminal. Dropped, the start has failed.
#[derive(Debug)]
pub struct Starting {
    parent: File,
}

/// Goes on in a child of its own session. To be called before any thread is started, which would
/// not survive it.
///
/// # Errors
/// [`StartupError::System`] when the system cannot fork.
pub fn fork() -> Result<Starting, StartupError> {
    // Not the worker's: its parent would wait for it.
    let (from_child, to_parent) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
    match os::fork().map_err(failed)? {
        Some(child) => {
            drop(to_parent);
            wait_for(File::from(from_child), child)
        }
        None => {
            drop(from_child);
            setsid().map_err(|errno| failed(errno.into()))?;
            Ok(Starting {
                parent: to_parent.into(),
            })
        }
    }
}

impl Starting {
    /// Leaves the terminal for good: the start has succeeded. Standard error may stay, for a log.
    ///
    /// # Errors
    /// [`StartupError::System`] when even `/dev/null` cannot be had.
    pub fn leave_terminal(mut self, keep_stderr: bool) -> Result<(), StartupError> {
        let left = || -> io::Result<()> {
            let nowhere = OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/null")?;
            // What is served must not keep a file system from being unmounted.
            chdir("/")?;
            dup2_stdin(&nowhere)?;
            dup2_stdout(&nowhere)?;
            if !keep_stderr {
                dup2_stderr(&nowhere)?;
            }
            Ok(())
        };
        left().map_err(|source| StartupError::System {
            what: "leave the terminal",
            source,
        })?;
        // A parent that was killed does not wait.
        let _ = self.parent.write_all(&SERVES);
        Ok(())
    }
}

/// Ends as the child's start did.
fn wait_for(mut from_child: File, child: Pid) -> ! {
    let mut said = [0];
    if from_child.read_exact(&mut said).is_ok() {
        process::exit(0);
    }
    let status = loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => break status,
            Err(nix::errno::Errno::EINTR) => {}
            Ok(_) | Err(_) => break 1,
        }
    };
    process::exit(status)
}

fn failed(source: io::Error) -> StartupError {
    StartupError::System {
        what: "fork into the background",
        source,
    }
}

/// What the child says when it serves.
const SERVES: [u8; 1] = [1];
