//! What is written to a namespace, or compared with it: a file, standard input, or a pattern.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::disk::{Filled, Wait};
use super::error::{HostError, OPEN};
use super::stop::Stop;

/// A file or standard input.
#[derive(Debug)]
pub struct Input {
    file: File,
    path: PathBuf,
    /// Bytes from where it stands, of what has a size.
    length: Option<u64>,
}

impl Input {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        let failed = |error| HostError::file(OPEN, path, error);
        let mut file = match path.as_os_str() == "-" {
            true => {
                let descriptor = io::stdin().as_fd().try_clone_to_owned();
                File::from(descriptor.map_err(failed)?)
            }
            false => File::open(path).map_err(failed)?,
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let length = match metadata.is_file() {
            true => {
                let position = file.stream_position().map_err(failed)?;
                Some(metadata.len().saturating_sub(position))
            }
            false => None,
        };
        let path = path.into();
        Ok(Self { file, path, length })
    }

    /// Bytes that it has, if that is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Appends to `piece` until it has `full` bytes.
    ///
    /// # Errors
    /// The system's, or that we should stop.
    pub fn fill(
        &mut self,
        piece: &mut Vec<u8>,
        full: usize,
        wait: Wait,
        stop: &Stop,
    ) -> Result<Filled, HostError> {
        while piece.len() < full {
            if !self.is_ready(wait, stop)? {
                return Ok(Filled::NotYet);
            }
            let have = piece.len();
            piece.resize(full, 0);
            let count = self.file.read(&mut piece[have..]);
            piece.truncate(have + *count.as_ref().unwrap_or(&0));
            match count {
                Ok(0) => return Ok(Filled::End),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(HostError::file("read", &self.path, error)),
            }
        }
        Ok(Filled::Full)
    }

    fn is_ready(&self, wait: Wait, stop: &Stop) -> Result<bool, HostError> {
        let timeout = match wait {
            Wait::ForInput => PollTimeout::NONE,
            Wait::No => PollTimeout::ZERO,
        };
        let mut waiting = vec![PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let wish = stop.descriptor();
        waiting.extend(wish.map(|wish| PollFd::new(wish, PollFlags::POLLIN)));
        let polled = loop {
            match poll(&mut waiting, timeout) {
                Err(Errno::EINTR) => {}
                polled => break polled,
            }
        };
        polled.map_err(|errno| HostError::file("read", &self.path, errno.into()))?;
        if stop.is_wished() {
            return Err(HostError::Stopped);
        }
        let flags = waiting.first().and_then(PollFd::revents);
        Ok(flags.is_some_and(|flags| !flags.is_empty()))
    }
}

/// Bytes that say where they are, so that no two pieces are alike and none need be kept.
#[derive(Debug, Clone, Copy)]
pub struct Pattern(pub u64);

impl Pattern {
    /// Appends the `length` bytes that belong at `offset`, a multiple of eight.
    pub fn append(self, piece: &mut Vec<u8>, offset: u64, length: usize) {
        let words = length.div_ceil(8) as u64;
        let end = piece.len() + length;
        for word in offset / 8..offset / 8 + words {
            piece.extend_from_slice(&self.word(word).to_le_bytes());
        }
        piece.truncate(end);
    }

    /// SplitMix64's output for its state after `index` steps.
    fn word(self, index: u64) -> u64 {
        let state = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0.wrapping_add(state);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_depends_on_the_place_and_not_on_the_pieces() {
        let whole = |seed| {
            let mut bytes = Vec::new();
            Pattern(seed).append(&mut bytes, 0, 4096);
            bytes
        };
        let mut pieces = Vec::new();
        for at in 0..8 {
            Pattern(7).append(&mut pieces, at * 512, 512);
        }
        assert_eq!(pieces, whole(7));
        assert_ne!(whole(7), whole(8));
        // From the reference implementation: SplitMix64 seeded with 1234567.
        assert_eq!(Pattern(1_234_567).word(0), 6_457_827_717_110_365_317);
        assert_eq!(Pattern(1_234_567).word(1), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_file_fills_pieces_and_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let mut input = Input::open(&path).unwrap();
        assert_eq!(input.length(), Some(10));
        let mut fill = |piece: &mut Vec<u8>| input.fill(piece, 8, Wait::No, &Stop::never());
        let mut piece = Vec::new();
        assert_eq!(fill(&mut piece).unwrap(), Filled::Full);
        assert_eq!(piece, b"01234567");
        piece.clear();
        assert_eq!(fill(&mut piece).unwrap(), Filled::End);
        assert_eq!(piece, b"89");
        assert!(Input::open(directory.path()).is_err());
        assert_eq!(
            Input::open(&directory.path().join("none"))
                .unwrap_err()
                .exit(),
            66
        );
    }

    #[test]
    fn a_pipe_that_is_empty_is_not_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut input = Input {
            file: File::from(std::os::fd::OwnedFd::from(reader)),
            path: "-".into(),
            length: None,
        };
        let mut piece = Vec::new();
        let mut fill =
            |piece: &mut Vec<u8>, wait| input.fill(piece, 4, wait, &Stop::never()).unwrap();
        assert_eq!(fill(&mut piece, Wait::No), Filled::NotYet);
        io::Write::write_all(&mut writer, b"abc").unwrap();
        assert_eq!(fill(&mut piece, Wait::No), Filled::NotYet);
        assert_eq!(piece, b"abc");
        drop(writer);
        assert_eq!(fill(&mut piece, Wait::ForInput), Filled::End);
    }
}
