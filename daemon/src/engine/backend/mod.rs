//! Storage behind a namespace: a handful of methods on bytes, and what Identify must know.
//!
//! A backend never sees a PDU, a queue or a host, and knows nothing of NVMe but blocks. Its caller
//! checks every range against [`Backend::geometry`] first; a backend refuses what lies outside
//! all the same, with an error. All methods take `&self`: many queues use one backend at a time,
//! and two overlapping requests in flight have no order, as NVMe has it. Those whose `wanted` was cleared
//! change nothing any more on a medium that does not sleep: nothing else keeps them from coming late.
//!
//! [`ram`] answers at once; [`mod@file`] and [`disk`] may sleep and belong on the I/O pool, which
//! [`Character::blocking`] says. Who may look at paths opens devices ([`open`]); who serves them may be
//! given descriptors and facts instead ([`from_parts`]).

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::FileType;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

pub use facts::{Facts, Kind, PartsError, from_parts};
pub use nvmf_proto::nvm::Geometry;
pub use opened::{Medium, Opened, look_at, open, size_of};

use crate::error::PathText;

pub mod disk;
mod facts;
pub mod file;
#[cfg(test)]
mod model;
mod opened;
pub mod ram;

/// Storage of one namespace. Offsets and lengths are bytes, multiples of the block size.
pub trait Backend: Send + Sync {
    /// Size, fixed for the life of the backend.
    fn geometry(&self) -> Geometry;

    /// What Identify reports and the engine must know, fixed as well.
    fn character(&self) -> Character;

    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// The medium's; [`io::ErrorKind::InvalidInput`] for a range that the geometry does not have.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`. On stable storage only after [`Self::flush`].
    ///
    /// # Errors
    /// As [`Self::read`]; the range then holds old and new data in an unknown mixture.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes the range read as zeroes. The space may be given back only if `may_deallocate`. Once `wanted` is
    /// cleared it may end before that is done.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn write_zeroes(
        &self,
        offset: u64,
        length: u64,
        may_deallocate: bool,
        wanted: &AtomicBool,
    ) -> io::Result<()>;

    /// Gives the range's space back, as far as the medium can: advice, so that a medium that
    /// cannot is no error. The range reads as zeroes afterwards only if
    /// [`Character::zeroes_after_deallocate`], and if `wanted` is not cleared meanwhile.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn deallocate(&self, offset: u64, length: u64, wanted: &AtomicBool) -> io::Result<()>;

    /// Puts all writes that have returned on stable storage before it returns.
    ///
    /// # Errors
    /// The medium's. Writes since the last good flush may then be lost.
    fn flush(&self) -> io::Result<()>;
}

/// What a backend can do, beyond its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// Requests may sleep: they belong on the I/O pool, never on a reactor.
    pub blocking: bool,
    /// A power cut can lose a write that has returned but was not flushed.
    pub volatile_cache: bool,
    /// [`Backend::deallocate`] does something.
    pub can_deallocate: bool,
    /// A deallocated range reads as zeroes.
    pub zeroes_after_deallocate: bool,
    /// Requests of multiples of this many bytes are served best; a multiple of the block size.
    pub preferred_bytes: u32,
    /// Writes are refused.
    pub read_only: bool,
}

/// What a namespace is made of, as the operator named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSpec {
    /// `ramdisk:SIZE`.
    Ram(ram::RamSize),
    /// A regular file or a disk.
    Path(PathBuf),
    /// `lun:N`: a LUN of CTL's that is there already, in kernel mode.
    Lun(u32),
}

impl fmt::Display for DeviceSpec {
    /// As the operator names it, sizes in bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ram(size) => write!(f, "ramdisk:{}", size.bytes()),
            Self::Path(path) => PathText::from(path.as_path()).fmt(f),
            Self::Lun(id) => write!(f, "lun:{id}"),
        }
    }
}

fn what_is(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_file() => "a regular file",
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() => "a character device that is no disk",
        _ if kind.is_block_device() => "a block device that is no disk",
        _ => "no storage",
    }
}

/// The refusal of a write to what is read-only; the engine has refused it before.
fn writable(read_only: bool) -> io::Result<()> {
    match read_only {
        true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        false => Ok(()),
    }
}

/// A medium's preferred size of requests, as far as it makes sense in blocks.
fn preferred(bytes: u64, block_size: u32) -> u32 {
    match u32::try_from(bytes) {
        Ok(bytes @ 1..=MAX_PREFERRED) if bytes.is_multiple_of(block_size) => bytes,
        _ => block_size,
    }
}

/// Refuses a range that ends beyond `size` bytes.
fn within(size: u64, offset: u64, length: u64) -> io::Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{length} bytes at {offset} lie outside the {size} bytes there are"),
        )),
    }
}

/// A buffer's length as the number that ranges are counted in.
fn length_of(buffer: &[u8]) -> u64 {
    buffer.len() as u64
}

/// Logical block of RAM disks and files.
const BLOCK_SIZE: u32 = 512;

/// A medium that prefers more than this at once is better served in parts.
const MAX_PREFERRED: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_preferences_are_passed_over() {
        assert_eq!(preferred(4096, 512), 4096);
        for odd in [0, 100, 513, 1 << 21, u64::MAX] {
            assert_eq!(preferred(odd, 512), 512, "{odd}");
        }
    }
}
