//! Disks: Linux's block devices, FreeBSD's character disks and zvols.
//!
//! A disk's sector is the namespace's block. What the disk can do is asked once, when it is
//! opened; how it is asked and told is in [`crate::os`].

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;

use super::file::Medium;
use super::opened::Locked;
use super::{Backend, Character, Facts, Geometry, Kind, preferred, what_is};
use crate::config::model::Access;
use crate::error::{PathText, StartupError};
use crate::os::{self, DiskFacts};

/// A disk that is served whole.
#[derive(Debug)]
pub struct Disk {
    medium: Medium,
    facts: Facts,
}

impl Disk {
    /// Serves an open disk, of which these facts are true.
    pub(super) fn new(disk: Locked, facts: Facts) -> Self {
        Self {
            medium: Medium::new(disk, &facts),
            facts,
        }
    }
}

impl Backend for Disk {
    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: self.facts.bytes / u64::from(self.facts.block_size),
            block_size: self.facts.block_size,
        }
    }

    fn character(&self) -> Character {
        Character {
            blocking: true,
            volatile_cache: !self.facts.read_only,
            can_deallocate: self.facts.can_deallocate,
            zeroes_after_deallocate: false,
            preferred_bytes: self.facts.preferred_bytes,
            read_only: self.facts.read_only,
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.medium.read(offset, into)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.medium.write(offset, data)
    }

    fn write_zeroes(
        &self,
        offset: u64,
        length: u64,
        may_deallocate: bool,
        _wanted: &AtomicBool,
    ) -> io::Result<()> {
        self.medium.zero(offset, length, |disk| {
            os::zero_disk(disk, offset, length, may_deallocate)
        })
    }

    fn deallocate(&self, offset: u64, length: u64, _wanted: &AtomicBool) -> io::Result<()> {
        self.medium.changeable(offset, length)?;
        if self.facts.can_deallocate && length != 0 {
            os::discard(self.medium.file(), offset, length)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        os::flush_disk(self.medium.file())
    }
}

/// Why a disk does not say what it is.
pub(super) fn no_facts(path: &Path, disk: &File, error: io::Error) -> StartupError {
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

/// What a disk says, if it can be served.
pub(super) fn checked(
    path: &Path,
    facts: DiskFacts,
    access: Access,
) -> Result<Facts, StartupError> {
    let (path, DiskFacts { bytes, sector, .. }) = (PathText::from(path), facts);
    if !is_sector(sector) {
        return Err(StartupError::DeviceSectors { path, sector });
    }
    if bytes < sector.into() {
        return Err(StartupError::DeviceEmpty { path });
    }
    Ok(Facts {
        kind: Kind::Disk,
        // A last sector that is not whole cannot be served.
        bytes: bytes - bytes % u64::from(sector),
        block_size: sector,
        preferred_bytes: preferred(facts.preferred, sector),
        can_deallocate: facts.can_deallocate && access == Access::ReadWrite,
        read_only: access == Access::ReadOnly,
    })
}

/// Whether sectors of this size can be blocks.
pub(super) fn is_sector(bytes: u32) -> bool {
    bytes.is_power_of_two() && (512..=MAX_SECTOR).contains(&bytes)
}

/// The largest block that hosts are known to take.
const MAX_SECTOR: u32 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::test_runner::{Config, TestRunner};

    use super::super::{DeviceSpec, Opened, model, open};
    use super::*;

    fn check(bytes: u64, sector: u32) -> Result<u64, String> {
        let facts = DiskFacts {
            bytes,
            sector,
            preferred: 0,
            can_deallocate: true,
        };
        checked(Path::new("d"), facts, Access::ReadWrite)
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

    fn opened(disk: &Loop, access: Access) -> Result<Opened, String> {
        let device = DeviceSpec::Path(disk.0.clone().into());
        open(&device, access).map_err(|error| error.report())
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
        let opened = opened(&disk, Access::ReadWrite).unwrap();
        let descriptor = opened.descriptor().unwrap().try_clone_to_owned().unwrap();
        let opened = Disk::new(descriptor.into(), opened.facts());
        assert_eq!(
            opened.geometry(),
            Geometry {
                blocks: model::SIZE as u64 / 512,
                block_size: 512
            }
        );
        model::check_bounds(&opened);
        let result = runner.run(&model::ops(), |ops| {
            opened.write_zeroes(0, model::SIZE as u64, true, &model::WANTED)?;
            model::check(&opened, ops);
            Ok(())
        });
        result.unwrap();
    }

    #[test]
    #[ignore = "needs Linux, root and loop devices"]
    fn a_disk_in_use_is_refused() {
        let disk = Loop::new(1 << 20);
        let first = opened(&disk, Access::ReadWrite).unwrap();
        let refusal = opened(&disk, Access::ReadWrite).map(drop).unwrap_err();
        assert!(
            refusal.contains("is in use by this machine; unmount it"),
            "{refusal}"
        );
        drop(first);
        assert!(opened(&disk, Access::ReadWrite).is_ok());
    }
}
