//! What is known of an open device, as plain data that one process can tell another.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::opened::Locked;
use super::ram::{Ram, RamSize};
use super::{BLOCK_SIZE, Backend, disk, file, preferred};
use crate::os;

/// All that a backend needs besides its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// Its size: a multiple of the block size.
    pub bytes: u64,
    /// Bytes of a block: of files and memory 512, of a disk its sector's.
    pub block_size: u32,
    /// Requests of multiples of this many bytes are served best.
    pub preferred_bytes: u32,
    /// Space can be given back: holes punched, sectors discarded.
    pub can_deallocate: bool,
    /// Writes are refused.
    pub read_only: bool,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Memory of the process that serves it.
    Ram,
    /// A regular file.
    File,
    /// A disk.
    Disk,
}

/// Why parts make no backend. They come from our own monitor, so it is a fault of ours.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// Nothing is of this size.
    #[error("no device has {bytes} bytes in blocks of {block_size}")]
    Size {
        /// Bytes in all.
        bytes: u64,
        /// Bytes of a block.
        block_size: u32,
    },
    /// A descriptor is missing, or there is one too many.
    #[error("a {kind:?} device needs {}", if *kind == Kind::Ram { "no descriptor" } else { "a descriptor" })]
    Descriptor {
        /// What the facts say that it is.
        kind: Kind,
    },
    /// The descriptor is of something else.
    #[error("the descriptor is of no {kind:?} device")]
    OtherKind {
        /// What the facts say that it is.
        kind: Kind,
    },
    /// The descriptor cannot be looked at.
    #[error("cannot look at the descriptor")]
    Look(#[source] io::Error),
}

/// A backend of what [`super::Opened`] tells elsewhere: its facts, and a copy of its descriptor. A RAM
/// disk is a new one, and empty.
///
/// # Errors
/// Facts that no device has.
pub fn from_parts(
    facts: Facts,
    descriptor: Option<OwnedFd>,
) -> Result<Arc<dyn Backend>, PartsError> {
    let facts = checked(facts)?;
    let kind = facts.kind;
    match (kind, descriptor) {
        (Kind::Ram, None) => {
            let size = RamSize::from_bytes(facts.bytes).ok_or(wrong_size(&facts))?;
            Ok(Arc::new(Ram::new(size).read_only(facts.read_only)))
        }
        (Kind::File, Some(descriptor)) => {
            let file = of_kind(descriptor, kind)?;
            Ok(Arc::new(file::Image::new(file, facts)))
        }
        (Kind::Disk, Some(descriptor)) => {
            let disk = of_kind(descriptor, kind)?;
            Ok(Arc::new(disk::Disk::new(disk, facts)))
        }
        (Kind::Ram, Some(_)) | (Kind::File | Kind::Disk, None) => {
            Err(PartsError::Descriptor { kind })
        }
    }
}

fn checked(facts: Facts) -> Result<Facts, PartsError> {
    let Facts {
        kind,
        bytes,
        block_size,
        ..
    } = facts;
    let good_block = match kind {
        Kind::Ram | Kind::File => block_size == BLOCK_SIZE,
        Kind::Disk => disk::is_sector(block_size),
    };
    let good_size = good_block
        && bytes != 0
        && bytes.is_multiple_of(block_size.into())
        && i64::try_from(bytes).is_ok();
    if !good_size {
        return Err(wrong_size(&facts));
    }
    Ok(Facts {
        preferred_bytes: preferred(facts.preferred_bytes.into(), block_size),
        can_deallocate: facts.can_deallocate && !facts.read_only,
        ..facts
    })
}

fn wrong_size(facts: &Facts) -> PartsError {
    PartsError::Size {
        bytes: facts.bytes,
        block_size: facts.block_size,
    }
}

fn of_kind(descriptor: OwnedFd, kind: Kind) -> Result<Locked, PartsError> {
    let locked = Locked::from(descriptor);
    // Not by the standard library, whose call takes paths too: who serves does not have it.
    let found = rustix::fs::fstat(&locked.file).map_err(|errno| PartsError::Look(errno.into()))?;
    let found = FileType::from_raw_mode(found.st_mode);
    let fits = match kind {
        Kind::Ram => false,
        Kind::File => found == FileType::RegularFile,
        Kind::Disk => found == os::DISK,
    };
    fits.then_some(locked).ok_or(PartsError::OtherKind { kind })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const FACTS: Facts = Facts {
        kind: Kind::File,
        bytes: 4096,
        block_size: 512,
        preferred_bytes: 4096,
        can_deallocate: true,
        read_only: false,
    };

    fn refusal(facts: Facts, descriptor: Option<OwnedFd>) -> String {
        from_parts(facts, descriptor)
            .map(drop)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn facts_that_no_device_has_make_no_backend() {
        let file = || Some(OwnedFd::from(tempfile::tempfile().unwrap()));
        let ram = Facts {
            kind: Kind::Ram,
            ..FACTS
        };
        assert!(from_parts(FACTS, file()).is_ok() && from_parts(ram, None).is_ok());
        for (bytes, block_size) in [
            (0, 512),
            (4000, 512),
            (4096, 0),
            (4096, 4096),
            (1 << 63, 512),
        ] {
            let facts = Facts {
                bytes,
                block_size,
                ..FACTS
            };
            let text = refusal(facts, file());
            assert!(text.starts_with("no device has"), "{text}");
        }
        assert_eq!(refusal(FACTS, None), "a File device needs a descriptor");
        assert_eq!(refusal(ram, file()), "a Ram device needs no descriptor");
        let null = File::open("/dev/null").unwrap().into();
        assert_eq!(
            refusal(FACTS, Some(null)),
            "the descriptor is of no File device"
        );
    }
}
