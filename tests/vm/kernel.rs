//! The fake of FreeBSD's kernel as a process: it outlives daemons, and tells what it holds.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nvmf_kmod::fake::remote::RemoteKernel;
use tempfile::TempDir;

use crate::child;
use crate::target::tail;

/// The variable that says where the program is.
pub(crate) const FAKE_KERNEL: &str = "FAKE_KERNEL";

const LOG: &str = "fake-kernel.log";
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Kernel {
    process: Child,
    log: PathBuf,
    /// Holds the socket: paths of sockets must be short.
    directory: TempDir,
}

impl Kernel {
    /// Starts a kernel that has nothing of ours, with a fresh log in `run`.
    pub(crate) fn start(run: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("fake-kernel: {error}");
        let directory = tempfile::tempdir().map_err(failed)?;
        let log = run.join(LOG);
        let output = File::create(&log).map_err(failed)?;
        let program = env::var_os(FAKE_KERNEL).expect("the part outside the namespaces sets it");
        let process = child(program)
            .arg(socket(&directory))
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .spawn()
            .map_err(failed)?;
        let mut kernel = Self {
            process,
            log,
            directory,
        };
        kernel.wait_until_ready()?;
        Ok(kernel)
    }

    /// Where daemons reach it.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// No port, LUN or association of a daemon's is left.
    pub(crate) fn holds_nothing(&self) -> Result<(), String> {
        let dump = self.ask(RemoteKernel::dump)?;
        let left = [
            (&dump.ports, "<frontend_type>nvmf</"),
            (&dump.luns, "<lun "),
            (&dump.sessions, "<connection "),
        ];
        match left.iter().find(|(list, sign)| list.contains(sign)) {
            None => Ok(()),
            Some((list, _)) => Err(format!("the kernel still has: {list}")),
        }
    }

    /// Nothing was done to it that a real one panics at, or that no good daemon does.
    pub(crate) fn is_well(&mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.process.try_wait() {
            return Err(format!("the fake kernel has ended with {status}"));
        }
        if let Some(why) = self.ask(RemoteKernel::panicked)? {
            return Err(format!("panic: {why}"));
        }
        match self.ask(RemoteKernel::misuses)?.as_slice() {
            [] => Ok(()),
            misuses => Err(misuses.join("; ")),
        }
    }

    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log, 30)
    }

    fn ask<T>(&self, question: fn(&RemoteKernel) -> io::Result<T>) -> Result<T, String> {
        RemoteKernel::connect(self.socket())
            .and_then(|kernel| question(&kernel))
            .map_err(|error| format!("fake-kernel: {error}"))
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&self.log).is_ok_and(|log| log.contains("ready\n")) {
            let ended = matches!(self.process.try_wait(), Ok(Some(_)));
            if ended || Instant::now() > deadline {
                return Err(format!("fake-kernel is not ready\n{}", self.log_tail()));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("ctl")
}
