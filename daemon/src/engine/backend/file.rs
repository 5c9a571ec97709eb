//! Regular files: `pread`, `pwrite`, `fdatasync`, and holes where the file system has them.
//!
//! A file keeps the size that it had when it was looked at; growing it later changes nothing, and
//! where it was cut off requests fail: a write there would make the file long again, and what was cut
//! off before it would be zeroes of which nobody knows.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use super::opened::Locked;
use super::{BLOCK_SIZE, Backend, Character, Facts, Geometry, Kind, length_of, within, writable};
use crate::os::{self, Support};

/// A regular file that is served as a disk.
#[derive(Debug)]
pub struct Image {
    medium: Medium,
    facts: Facts,
}

impl Image {
    /// Serves an open file, of which these facts are true.
    pub(super) fn new(file: Locked, facts: Facts) -> Self {
        Self {
            medium: Medium::new(file, &facts),
            facts,
        }
    }
}

impl Backend for Image {
    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: self.facts.bytes / u64::from(BLOCK_SIZE),
            block_size: BLOCK_SIZE,
        }
    }

    fn character(&self) -> Character {
        Character {
            blocking: true,
            volatile_cache: !self.facts.read_only,
            can_deallocate: self.facts.can_deallocate,
            zeroes_after_deallocate: self.facts.can_deallocate,
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
        self.medium.zero(offset, length, |file| {
            if may_deallocate && self.facts.can_deallocate {
                os::punch(file, offset, length)
            } else {
                os::zero_file(file, offset, length)
            }
        })
    }

    fn deallocate(&self, offset: u64, length: u64, _wanted: &AtomicBool) -> io::Result<()> {
        self.medium.changeable(offset, length)?;
        if self.facts.can_deallocate && length != 0 {
            os::punch(self.medium.file(), offset, length)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.medium.file().sync_data()
    }
}

/// What files and disks have in common: a descriptor and a size that requests are held to.
#[derive(Debug)]
pub(super) struct Medium {
    locked: Locked,
    bytes: u64,
    read_only: bool,
    /// A write beyond the end of it succeeds.
    extends: bool,
}

impl Medium {
    pub(super) fn new(locked: Locked, facts: &Facts) -> Self {
        Self {
            locked,
            bytes: facts.bytes,
            read_only: facts.read_only,
            extends: facts.kind == Kind::File,
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.locked.file
    }

    /// Refuses a range that cannot be changed.
    pub(super) fn changeable(&self, offset: u64, length: u64) -> io::Result<()> {
        writable(self.read_only)?;
        within(self.bytes, offset, length)?;
        if self.extends && length != 0 {
            // Not by the standard library, whose call takes paths too: who serves does not have it.
            let now = rustix::fs::fstat(self.file())?.st_size;
            if u64::try_from(now).is_ok_and(|now| now < offset + length) {
                return Err(cut_off());
            }
        }
        Ok(())
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        within(self.bytes, offset, length_of(into))?;
        let read = self.file().read_exact_at(into, offset);
        read.map_err(|error| match error.kind() == io::ErrorKind::UnexpectedEof {
            true => cut_off(),
            false => error,
        })
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.changeable(offset, length_of(data))?;
        self.file().write_all_at(data, offset)
    }

    /// Zeroes a range the fast way if there is one, else by writing zeroes.
    pub(super) fn zero(
        &self,
        offset: u64,
        length: u64,
        fast: impl FnOnce(&File) -> io::Result<Support>,
    ) -> io::Result<()> {
        self.changeable(offset, length)?;
        if length == 0 || fast(self.file())? == Support::Done {
            return Ok(());
        }
        let zeroes = vec![0; usize::try_from(length).unwrap_or(ZEROES).min(ZEROES)];
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(ZEROES).min(ZEROES);
            self.file().write_all_at(&zeroes[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }
}

fn cut_off() -> io::Error {
    let kind = io::ErrorKind::UnexpectedEof;
    io::Error::new(kind, "it was cut off, and ends before")
}

/// Bytes written at a time where zeroes have to be written.
const ZEROES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::{DeviceSpec, model, open};
    use super::*;
    use crate::config::model::Access;

    fn sized(bytes: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(bytes).unwrap();
        file
    }

    /// The file, through a descriptor of its own as the process has it that serves.
    fn image(path: &Path) -> Image {
        let opened = open(&DeviceSpec::Path(path.into()), Access::ReadWrite).unwrap();
        assert_eq!(opened.facts().kind, Kind::File);
        let descriptor = opened.descriptor().unwrap().try_clone_to_owned().unwrap();
        Image::new(descriptor.into(), opened.facts())
    }

    #[test]
    fn what_was_written_is_in_the_file() {
        let file = sized(4096);
        let image = image(file.path());
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
        let image = image(file.path());
        file.as_file().set_len(1024).unwrap();
        assert!(image.read(512, &mut [0; 512]).is_ok());
        let is_cut_off = |done: io::Result<()>| {
            assert_eq!(done.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        };
        is_cut_off(image.read(2048, &mut [0; 512]));
        // Nor is it made long again, with zeroes where something was.
        is_cut_off(image.write(2048, &[1; 512]));
        is_cut_off(image.write_zeroes(1024, 512, true, &model::WANTED));
        is_cut_off(image.deallocate(512, 1024, &model::WANTED));
        assert_eq!(fs::metadata(file.path()).unwrap().len(), 1024);
        assert!(image.write(512, &[1; 512]).is_ok());
        file.as_file().set_len(4096).unwrap();
        assert!(image.write(2048, &[1; 512]).is_ok());
        assert!(image.read(2048, &mut [0; 512]).is_ok());
    }

    #[test]
    fn holes_give_space_back() {
        let file = sized(1 << 20);
        let image = image(file.path());
        image.write(0, &[1; 1 << 20]).unwrap();
        image.flush().unwrap();
        let before = fs::metadata(file.path()).unwrap().blocks();
        image.deallocate(0, 1 << 19, &model::WANTED).unwrap();
        image
            .write_zeroes(1 << 19, 1 << 19, true, &model::WANTED)
            .unwrap();
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
        let image = image(file.path());
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
    fn what_lies_outside_is_refused() {
        let file = sized(model::SIZE as u64);
        model::check_bounds(&image(file.path()));
        assert_eq!(fs::metadata(file.path()).unwrap().len(), model::SIZE as u64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_like_a_vector(ops in model::ops()) {
            let file = sized(model::SIZE as u64);
            let image = image(file.path());
            if image.character().zeroes_after_deallocate {
                model::check(&image, ops);
            }
        }
    }
}
