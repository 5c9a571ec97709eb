//! Disks: Linux's block devices, FreeBSD's character disks and zvols.
//!
//! A disk's sector is the namespace's block. What the disk can do is asked once, when it is
//! opened; how it is asked and told is in [`crate::os`].

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::file::{Locked, Medium};
use super::{Backend, Character, Geometry, preferred, what_is, within};
use crate::error::{PathText, StartupError};
use crate::os::{self, DiskFacts};

/// A disk that is served whole.
#[derive(Debug)]
pub struct Disk {
    medium: Medium,
    facts: DiskFacts,
}

impl Disk {
    /// Opens the disk at `path` and, where the system can, keeps it from being mounted.
    ///
    /// # Errors
    /// A disk that is in use, not writable or of a form that NVMe does not have.
    pub fn open(path: &Path) -> Result<Self, StartupError> {
        let disk = Locked::open(path, os::DISK_OPEN_FLAGS, os::is_disk)?;
        let facts = os::disk_facts(&disk).map_err(|error| no_facts(path, &disk, error))?;
        let facts = checked(path, facts)?;
        Ok(Self {
            medium: Medium::new(disk, facts.bytes),
            facts,
        })
    }
}

impl Backend for Disk {
    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: self.facts.bytes / u64::from(self.facts.sector),
            block_size: self.facts.sector,
        }
    }

    fn character(&self) -> Character {
        Character {
            blocking: true,
            volatile_cache: true,
            can_deallocate: self.facts.can_deallocate,
            zeroes_after_deallocate: false,
            preferred_bytes: preferred(self.facts.preferred, self.facts.sector),
            read_only: false,
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.medium.read(offset, into)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.medium.write(offset, data)
    }

    fn write_zeroes(&self, offset: u64, length: u64, may_deallocate: bool) -> io::Result<()> {
        self.medium.zero(offset, length, |disk| {
            os::zero_disk(disk, offset, length, may_deallocate)
        })
    }

    fn deallocate(&self, offset: u64, length: u64) -> io::Result<()> {
        within(self.facts.bytes, offset, length)?;
        if self.facts.can_deallocate && length != 0 {
            os::discard(&self.medium.file, offset, length)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.medium.flush(os::flush_disk)
    }
}

fn no_facts(path: &Path, disk: &Locked, error: io::Error) -> StartupError {
    match disk.metadata() {
        Ok(metadata) if error.raw_os_error() == Some(Errno::ENOTTY as i32) => {
            StartupError::NotStorage {
                path: path.into(),
                what: what_is(metadata.file_type()),
            }
        }
        _ => StartupError::opening(path, error),
    }
}

fn checked(path: &Path, facts: DiskFacts) -> Result<DiskFacts, StartupError> {
    let (path, DiskFacts { bytes, sector, .. }) = (PathText::from(path), facts);
    if !sector.is_power_of_two() || !(512..=MAX_SECTOR).contains(&sector) {
        Err(StartupError::DeviceSectors { path, sector })
    } else if bytes == 0 {
        Err(StartupError::DeviceEmpty { path })
    } else {
        // A last sector that is not whole cannot be served.
        Ok(DiskFacts {
            bytes: bytes - bytes % u64::from(sector),
            ..facts
        })
    }
}

/// The largest block that hosts are known to take.
const MAX_SECTOR: u32 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::test_runner::{Config, TestRunner};

    use super::super::model;
    use super::*;

    fn check(bytes: u64, sector: u32) -> Result<u64, String> {
        let facts = DiskFacts {
            bytes,
            sector,
            preferred: 0,
            can_deallocate: true,
        };
        checked(Path::new("d"), facts)
            .map(|facts| facts.bytes)
            .map_err(|error| error.report())
    }

    #[test]
    fn forms_that_cannot_be_served() {
        assert_eq!(check(1 << 20, 4096), Ok(1 << 20));
        assert_eq!(check((1 << 20) + 512, 4096), Ok(1 << 20));
        assert!(check(0, 512).unwrap_err().contains("is empty"));
        for sector in [0, 256, 520, 2352, 1 << 17] {
            assert!(
                check(1 << 20, sector)
                    .unwrap_err()
                    .contains("which NVMe does not have")
            );
        }
    }

    /// A loop device over a file, gone when dropped.
    struct Loop(
        String,
        #[expect(dead_code, reason = "held")] tempfile::NamedTempFile,
    );

    impl Loop {
        fn new(bytes: u64) -> Self {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(bytes).unwrap();
            let made = Command::new("losetup")
                .args(["--find", "--show"])
                .arg(file.path())
                .output();
            let name = String::from_utf8(made.unwrap().stdout)
                .unwrap()
                .trim()
                .to_owned();
            assert!(name.starts_with("/dev/"));
            Self(name, file)
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            let _ = Command::new("losetup").args(["--detach", &self.0]).status();
        }
    }

    #[test]
    #[ignore = "needs Linux, root and loop devices"]
    fn a_loop_device_behaves_like_a_vector() {
        let disk = Loop::new(model::SIZE as u64);
        let mut runner = TestRunner::new(Config::with_cases(64));
        let opened = Disk::open(Path::new(&disk.0)).unwrap();
        assert_eq!(
            opened.geometry(),
            Geometry {
                blocks: model::SIZE as u64 / 512,
                block_size: 512
            }
        );
        model::check_bounds(&opened);
        let result = runner.run(&model::ops(), |ops| {
            opened.write_zeroes(0, model::SIZE as u64, true)?;
            model::check(&opened, ops);
            Ok(())
        });
        result.unwrap();
    }

    #[test]
    #[ignore = "needs Linux, root and loop devices"]
    fn a_disk_in_use_is_refused() {
        let disk = Loop::new(1 << 20);
        let first = Disk::open(Path::new(&disk.0)).unwrap();
        let refusal = Disk::open(Path::new(&disk.0))
            .map(drop)
            .unwrap_err()
            .report();
        assert!(
            refusal.contains("is in use by this machine; unmount it"),
            "{refusal}"
        );
        drop(first);
        assert!(Disk::open(Path::new(&disk.0)).is_ok());
    }
}
