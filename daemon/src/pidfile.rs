//! The pid file, FreeBSD's way: whoever holds its lock runs, and its text says who that is.
//!
//! A second daemon is told the first one's process id. The file is removed as a
//! step of shutting down; one that a killed daemon left behind is taken over, because its lock went with its holder.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::StartupError;

/// Where the daemon's pid file lies.
pub const PATH: &str = "/var/run/nvmfd.pid";

/// A locked pid file. Dropped, it lets the lock go but leaves the file.
#[derive(Debug)]
pub struct PidFile {
    file: Flock<File>,
    path: PathBuf,
}

impl PidFile {
    /// Opens or creates the file and locks it.
    ///
    /// # Errors
    /// [`StartupError::AlreadyRunning`] when another daemon has the lock.
    pub fn open(path: &Path) -> Result<Self, StartupError> {
        loop {
            let failed = |source| StartupError::PidFile {
                path: path.into(),
                source,
            };
            // For us alone: whoever can open it can lock it, and keep us from starting.
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600);
            let file = options.open(path).map_err(failed)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                // Its last owner may have removed it between the two calls.
                Ok(file) if !is_still_at(&file, path) => continue,
                Ok(file) => {
                    return Ok(Self {
                        file,
                        path: path.into(),
                    });
                }
                Err((_, Errno::EINTR)) => continue,
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    return Err(StartupError::AlreadyRunning {
                        pid: read_pid(&mut file),
                    });
                }
                Err((_, errno)) => return Err(failed(errno.into())),
            }
        }
    }

    /// Writes this process's id, after the last fork.
    ///
    /// # Errors
    /// [`StartupError::PidFile`].
    pub fn write(&mut self) -> Result<(), StartupError> {
        let file = &mut self.file;
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(&mut **file, "{}", std::process::id()));
        written.map_err(|source| StartupError::PidFile {
            path: self.path.clone().into(),
            source,
        })
    }

    /// Removes the file, then lets go of the lock.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(self) -> io::Result<()> {
        if is_still_at(&self.file, &self.path) {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.dev() == there.dev() && ours.ino() == there.ino(),
        _ => false,
    }
}

/// Its owner writes its id soon after it has the lock.
fn read_pid(file: &mut File) -> Option<u32> {
    for _ in 0..READ_ATTEMPTS {
        let mut text = String::new();
        file.rewind()
            .and_then(|()| file.read_to_string(&mut text))
            .ok()?;
        if let Ok(pid) = text.trim().parse() {
            return Some(pid);
        }
        std::thread::sleep(READ_PAUSE);
    }
    None
}

const READ_ATTEMPTS: usize = 20;
const READ_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_learns_who_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nvmfd.pid");
        let mut first = PidFile::open(&path).unwrap();
        let refused = || PidFile::open(&path).map(drop).unwrap_err();
        assert!(matches!(
            refused(),
            StartupError::AlreadyRunning { pid: None }
        ));
        first.write().unwrap();
        let us = std::process::id();
        assert_eq!(fs::read_to_string(&path).unwrap(), us.to_string());
        assert!(matches!(refused(), StartupError::AlreadyRunning { pid } if pid == Some(us)));
        first.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_daemon_left_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nvmfd.pid");
        fs::write(&path, "4294967295 and more").unwrap();
        let mut file = PidFile::open(&path).unwrap();
        file.write().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
    }

    #[test]
    fn another_daemons_file_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nvmfd.pid");
        let file = PidFile::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = PidFile::open(&path).unwrap();
        file.remove().unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_made_names_the_way_out() {
        let error = PidFile::open(Path::new("/no/such/directory/pid"))
            .map(drop)
            .unwrap_err();
        assert!(
            error
                .report()
                .contains("in the foreground with -d: No such file")
        );
    }
}
