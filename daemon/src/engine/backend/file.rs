//! Regular files: `pread`, `pwrite`, `fdatasync`, and holes where the file system has them.
//!
//! A file keeps the size that it had when it was opened; growing it later changes nothing, and
//! where it was cut off requests fail. An advisory lock keeps two daemons off one file.

#![forbid(unsafe_code)]

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{BLOCK_SIZE, Backend, Character, Geometry, length_of, preferred, what_is, within};
use crate::error::{PathText, StartupError};
use crate::os::{self, Support};

/// A regular file that is served as a disk.
#[derive(Debug)]
pub struct Image {
    medium: Medium,
    can_punch: bool,
    preferred_bytes: u32,
}

impl Image {
    /// Opens and locks the file at `path`.
    ///
    /// # Errors
    /// A file that is absent, empty, of an odd size, not writable or served by somebody else.
    pub fn open(path: &Path) -> Result<Self, StartupError> {
        let file = Locked::open(path, 0, |kind| kind.is_file())?;
        let metadata = file
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
        Ok(Self {
            can_punch: os::can_punch(&file, bytes),
            preferred_bytes: preferred(metadata.blksize(), BLOCK_SIZE),
            medium: Medium::new(file, bytes),
        })
    }
}

impl Backend for Image {
    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: self.medium.bytes / u64::from(BLOCK_SIZE),
            block_size: BLOCK_SIZE,
        }
    }

    fn character(&self) -> Character {
        Character {
            blocking: true,
            volatile_cache: true,
            can_deallocate: self.can_punch,
            zeroes_after_deallocate: self.can_punch,
            preferred_bytes: self.preferred_bytes,
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
        self.medium.zero(offset, length, |file| {
            if may_deallocate && self.can_punch {
                os::punch(file, offset, length)
            } else {
                os::zero_file(file, offset, length)
            }
        })
    }

    fn deallocate(&self, offset: u64, length: u64) -> io::Result<()> {
        within(self.medium.bytes, offset, length)?;
        if self.can_punch && length != 0 {
            os::punch(&self.medium.file, offset, length)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.medium.flush(File::sync_data)
    }
}

/// What files and disks have in common: a descriptor and a size that requests are held to.
#[derive(Debug)]
pub(super) struct Medium {
    pub(super) file: Locked,
    pub(super) bytes: u64,
    flush_failed: AtomicBool,
}

impl Medium {
    pub(super) fn new(file: Locked, bytes: u64) -> Self {
        Self {
            file,
            bytes,
            flush_failed: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        within(self.bytes, offset, length_of(into))?;
        self.file.read_exact_at(into, offset)
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        within(self.bytes, offset, length_of(data))?;
        self.file.write_all_at(data, offset)
    }

    /// Zeroes a range the fast way if there is one, else by writing zeroes.
    pub(super) fn zero(
        &self,
        offset: u64,
        length: u64,
        fast: impl FnOnce(&File) -> io::Result<Support>,
    ) -> io::Result<()> {
        within(self.bytes, offset, length)?;
        if length == 0 || fast(&self.file)? == Support::Done {
            return Ok(());
        }
        let zeroes = vec![0; usize::try_from(length).unwrap_or(ZEROES).min(ZEROES)];
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(ZEROES).min(ZEROES);
            self.file.write_all_at(&zeroes[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }

    /// A system tells of lost writes once, and to one caller; the others would believe that
    /// theirs are safe. So a flush that failed makes every later one fail.
    pub(super) fn flush(&self, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let synced = sync(&self.file);
        if synced.is_err() {
            self.flush_failed.store(true, Ordering::SeqCst);
        } else if self.flush_failed.load(Ordering::SeqCst) {
            return Err(io::Error::other(
                "an earlier flush failed and may have lost writes",
            ));
        }
        synced
    }
}

/// An open file or disk that no other daemon has, as far as locks reach.
#[derive(Debug)]
pub(super) struct Locked {
    file: File,
    /// A second descriptor of the same open file, because the lock owns what it locks.
    _lock: Option<Flock<File>>,
}

impl Locked {
    /// Opens `path` if it is of the wanted type.
    pub(super) fn open(
        path: &Path,
        flags: i32,
        wanted: fn(FileType) -> bool,
    ) -> Result<Self, StartupError> {
        let failed = |error| StartupError::opening(path, error);
        let options = OpenOptions::new()
            .read(true)
            .write(true)
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
        let lock = match Flock::lock(second, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(StartupError::DeviceLocked { path: path.into() });
            }
            Err((_, errno)) => {
                let path = PathText::from(path);
                tracing::warn!(%path, %errno, "not locked: make sure that nothing else writes it");
                None
            }
        };
        Ok(Self { file, _lock: lock })
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// Bytes written at a time where zeroes have to be written.
const ZEROES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::super::model;
    use super::*;

    fn sized(bytes: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(bytes).unwrap();
        file
    }

    fn refusal(path: &Path) -> String {
        Image::open(path).map(drop).unwrap_err().report()
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
    fn a_file_is_served_once() {
        let file = sized(4096);
        let first = Image::open(file.path()).unwrap();
        assert!(refusal(file.path()).contains("is served already"));
        drop(first);
        assert!(Image::open(file.path()).is_ok());
    }

    #[test]
    fn what_was_written_is_in_the_file() {
        let file = sized(4096);
        let image = Image::open(file.path()).unwrap();
        assert_eq!(
            image.geometry(),
            Geometry {
                blocks: 8,
                block_size: 512
            }
        );
        image.write(512, &[7; 512]).unwrap();
        image.flush().unwrap();
        let mut bytes = vec![0; 4096];
        bytes[512..1024].fill(7);
        assert_eq!(fs::read(file.path()).unwrap(), bytes);
    }

    #[test]
    fn a_file_that_was_cut_off_gives_errors() {
        let file = sized(4096);
        let image = Image::open(file.path()).unwrap();
        file.as_file().set_len(1024).unwrap();
        assert!(image.read(512, &mut [0; 512]).is_ok());
        let error = image.read(2048, &mut [0; 512]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn holes_give_space_back() {
        let file = sized(1 << 20);
        let image = Image::open(file.path()).unwrap();
        image.write(0, &[1; 1 << 20]).unwrap();
        image.flush().unwrap();
        let before = fs::metadata(file.path()).unwrap().blocks();
        image.deallocate(0, 1 << 19).unwrap();
        image.write_zeroes(1 << 19, 1 << 19, true).unwrap();
        image.flush().unwrap();
        let after = fs::metadata(file.path()).unwrap();
        assert_eq!(after.len(), 1 << 20);
        if image.character().can_deallocate {
            assert!(after.blocks() < before, "{} < {before}", after.blocks());
        } else {
            eprintln!("not tested: no holes in files on this file system");
        }
    }

    #[test]
    fn zeroes_are_written_where_there_is_no_other_way() {
        let file = sized(4 << 20);
        let image = Image::open(file.path()).unwrap();
        image.write(0, &[1; 4 << 20]).unwrap();
        image
            .medium
            .zero(512, (3 << 20) + 512, |_| Ok(Support::Unsupported))
            .unwrap();
        let bytes = fs::read(file.path()).unwrap();
        assert!(bytes[..512].iter().all(|&byte| byte == 1));
        assert!(bytes[512..(3 << 20) + 1024].iter().all(|&byte| byte == 0));
        assert!(bytes[(3 << 20) + 1024..].iter().all(|&byte| byte == 1));
    }

    #[test]
    fn a_failed_flush_is_not_forgotten() {
        let file = sized(4096);
        let image = Image::open(file.path()).unwrap();
        assert!(image.medium.flush(|_| Err(Errno::EIO.into())).is_err());
        assert!(image.flush().is_err());
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let file = sized(model::SIZE as u64);
        model::check_bounds(&Image::open(file.path()).unwrap());
        assert_eq!(fs::metadata(file.path()).unwrap().len(), model::SIZE as u64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_like_a_vector(ops in model::ops()) {
            let file = sized(model::SIZE as u64);
            let image = Image::open(file.path()).unwrap();
            if image.character().zeroes_after_deallocate {
                model::check(&image, ops);
            }
        }
    }
}
