//! A device as whoever opens it has it: looked at, opened, locked, and known by plain [`Facts`].
//!
//! Everything that must be asked of a path is asked here. The process that serves may have no paths:
//! it is given the descriptor and the facts, and makes the backend of them
//! ([`from_parts`](super::from_parts)).

#![forbid(unsafe_code)]

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::facts::{Facts, Kind};
use super::ram::RamSize;
use super::{BLOCK_SIZE, Backend, DeviceSpec, disk, file, preferred, ram, what_is};
use crate::config::model::Access;
use crate::error::{PathText, StartupError};
use crate::os;

/// A device that is open.
#[derive(Debug)]
pub struct Opened {
    facts: Facts,
    storage: Storage,
}

/// Where its bytes are.
#[derive(Debug)]
enum Storage {
    Ram(RamSize),
    File(Locked),
    Disk(Locked),
}

/// Opens a device, for as long as the result lives.
///
/// # Errors
/// Whatever keeps it from being read, and with [`Access::ReadWrite`] written by us alone.
pub fn open(device: &DeviceSpec, access: Access) -> Result<Opened, StartupError> {
    match device {
        DeviceSpec::Ram(size) => Ok(Opened::ram(*size, access)),
        DeviceSpec::Path(path) => match look_at(path)? {
            Medium::File => Opened::file(path, access),
            Medium::Disk => Opened::disk(path, access),
        },
        DeviceSpec::Lun(_) => Err(StartupError::Usage {
            message: format!("{device} is the kernel's to serve; add -K"),
        }),
    }
}

/// What a path leads to, if it is storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A regular file that is not empty.
    File,
    /// A disk.
    Disk,
}

/// Looks at what is to be served, without opening it: to open a terminal or a tape does things.
///
/// # Errors
/// Why it cannot be served, as far as that shows from outside.
pub fn look_at(path: &Path) -> Result<Medium, StartupError> {
    let metadata = fs::metadata(path).map_err(|error| StartupError::opening(path, error))?;
    match metadata.file_type() {
        kind if kind.is_file() && metadata.len() == 0 => {
            Err(StartupError::DeviceEmpty { path: path.into() })
        }
        kind if kind.is_file() => Ok(Medium::File),
        kind if os::is_disk(kind) => Ok(Medium::Disk),
        kind => Err(StartupError::NotStorage {
            path: path.into(),
            what: what_is(kind),
        }),
    }
}

/// How large a file or disk is now.
///
/// # Errors
/// The system's: a disk can be in use by somebody who lets nobody else look.
pub fn size_of(path: &Path) -> io::Result<u64> {
    let metadata = fs::metadata(path)?;
    match os::is_disk(metadata.file_type()) {
        true => Ok(os::disk_facts(&File::open(path)?)?.bytes),
        false => Ok(metadata.len()),
    }
}

impl Opened {
    fn ram(size: RamSize, access: Access) -> Self {
        Self {
            facts: Facts {
                kind: Kind::Ram,
                bytes: size.bytes(),
                block_size: BLOCK_SIZE,
                preferred_bytes: ram::PAGE,
                can_deallocate: access == Access::ReadWrite,
                read_only: access == Access::ReadOnly,
            },
            storage: Storage::Ram(size),
        }
    }

    fn file(path: &Path, access: Access) -> Result<Self, StartupError> {
        let file = Locked::open(path, access, 0, |kind| kind.is_file())?;
        let metadata = file
            .file
            .metadata()
            .map_err(|error| StartupError::opening(path, error))?;
        let bytes = metadata.len();
        if bytes == 0 {
            return Err(StartupError::DeviceEmpty { path: path.into() });
        }
        if !bytes.is_multiple_of(BLOCK_SIZE.into()) {
            let (path, block_size) = (PathText::from(path), BLOCK_SIZE);
            return Err(StartupError::DeviceSize {
                path,
                bytes,
                block_size,
            });
        }
        let facts = Facts {
            kind: Kind::File,
            bytes,
            block_size: BLOCK_SIZE,
            preferred_bytes: preferred(metadata.blksize(), BLOCK_SIZE),
            can_deallocate: access == Access::ReadWrite && os::can_punch(&file.file, bytes),
            read_only: access == Access::ReadOnly,
        };
        Ok(Self {
            facts,
            storage: Storage::File(file),
        })
    }

    fn disk(path: &Path, access: Access) -> Result<Self, StartupError> {
        // A disk that is only read can be in use: it is as safe as reading a mounted disk can be.
        let flags = match access {
            Access::ReadWrite => os::DISK_OPEN_FLAGS,
            Access::ReadOnly => 0,
        };
        let disk = Locked::open(path, access, flags, os::is_disk)?;
        let facts =
            os::disk_facts(&disk.file).map_err(|error| disk::no_facts(path, &disk.file, error))?;
        Ok(Self {
            facts: disk::checked(path, facts, access)?,
            storage: Storage::Disk(disk),
        })
    }

    /// What was found when it was opened.
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// Its descriptor; memory has none.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.storage {
            Storage::Ram(_) => None,
            Storage::File(locked) | Storage::Disk(locked) => Some(locked.file.as_fd()),
        }
    }

    /// The same open file or disk, with the same lock, to be read only: for a namespace that shows what
    /// another one writes, which a lock of its own would refuse.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn reader(&self) -> io::Result<Self> {
        let storage = match &self.storage {
            Storage::Ram(size) => Storage::Ram(*size),
            Storage::File(locked) => Storage::File(locked.again()?),
            Storage::Disk(locked) => Storage::Disk(locked.again()?),
        };
        let facts = Facts {
            can_deallocate: false,
            read_only: true,
            ..self.facts
        };
        Ok(Self { facts, storage })
    }

    /// What is found now: a file or disk may have grown. A last block that is not whole does not
    /// count.
    ///
    /// # Errors
    /// The system's; and a disk whose sectors have another size.
    pub fn look_again(&self) -> io::Result<Facts> {
        let (bytes, block_size) = match &self.storage {
            Storage::Ram(size) => (size.bytes(), BLOCK_SIZE),
            Storage::File(locked) => (locked.file.metadata()?.len(), BLOCK_SIZE),
            Storage::Disk(locked) => {
                let facts = os::disk_facts(&locked.file)?;
                (facts.bytes, facts.sector)
            }
        };
        if block_size != self.facts.block_size {
            return Err(io::Error::other(format!(
                "its sectors have {block_size} bytes now; they had {}",
                self.facts.block_size
            )));
        }
        Ok(Facts {
            bytes: bytes - bytes % u64::from(block_size),
            ..self.facts
        })
    }

    /// A backend on it, in this process. It keeps the lock.
    pub fn backend(self) -> Arc<dyn Backend> {
        match self.storage {
            Storage::Ram(size) => Arc::new(ram::Ram::new(size).read_only(self.facts.read_only)),
            Storage::File(locked) => Arc::new(file::Image::new(locked, self.facts)),
            Storage::Disk(locked) => Arc::new(disk::Disk::new(locked, self.facts)),
        }
    }
}

/// An open file or disk that no other daemon writes, as far as locks reach.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) file: File,
    /// A second descriptor of the same open file, because the lock owns what it locks. Given back with
    /// the last who uses it.
    lock: Option<Arc<Flock<File>>>,
}

impl Locked {
    /// Opens `path` if it is of the wanted type. Who only reads shares it with others that do.
    fn open(
        path: &Path,
        access: Access,
        flags: i32,
        wanted: fn(FileType) -> bool,
    ) -> Result<Self, StartupError> {
        let failed = |error| StartupError::opening(path, error);
        let (write, lock) = match access {
            Access::ReadWrite => (true, FlockArg::LockExclusiveNonblock),
            Access::ReadOnly => (false, FlockArg::LockSharedNonblock),
        };
        let options = OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(flags)
            .to_owned();
        let file = options.open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if !wanted(kind) {
            return Err(StartupError::NotStorage {
                path: path.into(),
                what: what_is(kind),
            });
        }
        let second = file.try_clone().map_err(failed)?;
        let lock = match Flock::lock(second, lock) {
            Ok(lock) => Some(Arc::new(lock)),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(StartupError::DeviceLocked { path: path.into() });
            }
            Err((_, errno)) => {
                let path = PathText::from(path);
                tracing::warn!(%path, %errno, "not locked: make sure that nothing else writes it");
                None
            }
        };
        Ok(Self { file, lock })
    }

    fn again(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            lock: self.lock.clone(),
        })
    }
}

impl From<OwnedFd> for Locked {
    /// One that somebody else has opened, and keeps locked.
    fn from(descriptor: OwnedFd) -> Self {
        Self {
            file: descriptor.into(),
            lock: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{from_parts, model};
    use super::*;

    fn sized(bytes: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(bytes).unwrap();
        file
    }

    fn opened(path: &Path, access: Access) -> Result<Opened, String> {
        open(&DeviceSpec::Path(path.into()), access).map_err(|error| error.report())
    }

    fn refusal(path: &Path) -> String {
        opened(path, Access::ReadWrite).map(drop).unwrap_err()
    }

    #[test]
    fn what_is_no_storage_is_named() {
        assert!(
            refusal(Path::new("/")).starts_with("/ is a directory; name a regular file"),
            "a directory"
        );
        assert!(refusal(Path::new("/dev/null")).contains("is a character device that is no disk"));
        assert!(refusal(Path::new("/no/such")).starts_with("/no/such: no such file"));
    }

    #[test]
    fn sizes_that_cannot_be_served() {
        assert!(refusal(sized(0).path()).contains("is empty"));
        let odd = refusal(sized(1000).path());
        assert!(
            odd.contains("1000 bytes, which is no multiple of 512"),
            "{odd}"
        );
    }

    #[test]
    fn a_file_has_one_writer_or_many_readers() {
        let file = sized(4096);
        let writer = opened(file.path(), Access::ReadWrite).unwrap();
        assert!(refusal(file.path()).contains("is served already"));
        assert!(opened(file.path(), Access::ReadOnly).is_err());
        drop(writer);
        let readers = [(); 2].map(|()| opened(file.path(), Access::ReadOnly).unwrap());
        assert!(refusal(file.path()).contains("is served already"));
        drop(readers);
        assert!(opened(file.path(), Access::ReadWrite).is_ok());
    }

    #[test]
    fn who_writes_a_file_can_show_it_read_only_too() {
        let file = sized(4096);
        let writer = opened(file.path(), Access::ReadWrite).unwrap();
        let reader = writer.reader().unwrap();
        writer.backend().write(0, &[7; 512]).unwrap();
        assert!(refusal(file.path()).contains("is served already"), "shown");
        let reader = reader.backend();
        assert!(reader.character().read_only && reader.write(0, &[1; 512]).is_err());
        let mut read = [0; 512];
        reader.read(0, &mut read).unwrap();
        assert_eq!(read, [7; 512]);
        drop(reader);
        assert!(opened(file.path(), Access::ReadWrite).is_ok());
    }

    #[test]
    fn a_backend_keeps_the_lock() {
        let file = sized(4096);
        let backend = opened(file.path(), Access::ReadWrite).unwrap().backend();
        assert!(refusal(file.path()).contains("is served already"));
        drop(backend);
        assert!(opened(file.path(), Access::ReadWrite).is_ok());
    }

    #[test]
    fn a_file_that_has_grown_is_noticed_in_whole_blocks() {
        let file = sized(4096);
        let opened = opened(file.path(), Access::ReadWrite).unwrap();
        assert_eq!(opened.look_again().unwrap(), opened.facts());
        file.as_file().set_len(9000).unwrap();
        let grown = opened.look_again().unwrap();
        assert_eq!((grown.bytes, opened.facts().bytes), (8704, 4096));
    }

    #[test]
    fn a_descriptor_and_facts_make_the_same_backend_elsewhere() {
        let file = sized(4096);
        let opened = opened(file.path(), Access::ReadWrite).unwrap();
        let descriptor = opened
            .descriptor()
            .map(|it| it.try_clone_to_owned().unwrap());
        let sent = serde_json::to_string(&opened.facts()).unwrap();
        let facts: Facts = serde_json::from_str(&sent).unwrap();
        let backend = from_parts(facts, descriptor).unwrap();
        backend.write(512, &[7; 512]).unwrap();
        let here = opened.backend();
        assert_eq!(
            (here.geometry(), here.character()),
            (backend.geometry(), backend.character())
        );
        let mut read = [0; 512];
        here.read(512, &mut read).unwrap();
        assert_eq!(read, [7; 512]);
    }

    #[test]
    fn what_is_read_only_is_not_written() {
        let file = sized(4096);
        let opened = opened(file.path(), Access::ReadOnly).unwrap();
        assert!(!opened.facts().can_deallocate);
        let ram = DeviceSpec::Ram(RamSize::from_bytes(4096).unwrap());
        let ram = open(&ram, Access::ReadOnly).unwrap();
        for backend in [opened.backend(), ram.backend()] {
            assert!(backend.character().read_only);
            let refusals = [
                backend.write(0, &[1; 512]),
                backend.write_zeroes(0, 512, true, &model::WANTED),
                backend.deallocate(0, 512, &model::WANTED),
            ];
            for refusal in refusals {
                let kind = refusal.unwrap_err().kind();
                assert_eq!(kind, io::ErrorKind::ReadOnlyFilesystem);
            }
            backend.read(0, &mut [0; 512]).unwrap();
            backend.flush().unwrap();
        }
    }
}
