//! Storage that user mode serves: opened once, by whichever name, and found again at a reload.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use nvmf_proto::nqn::Nqn;
use rustix::fs::FlockOperation;

use crate::config::model::{Access, Disk, Medium};
use crate::control::message::{Effect, Step};
use crate::engine::backend::{self, Facts, Opened};
use crate::error::StartupError;

/// What is behind each place.
#[derive(Debug, Default)]
pub(super) struct Storage(BTreeMap<Place, Held>);

/// A namespace, by its subsystem and NSID.
type Place = (Nqn, u32);

/// Storage that is open.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Its name to the worker: the same name is the same bytes.
    pub(super) id: u64,
    /// What is known of it now.
    pub(super) facts: Facts,
    /// As asked for.
    medium: Medium,
    key: Key,
    opened: Arc<Opened>,
}

/// By what storage is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// A file, whatever its names: another one that took its name is another one.
    File { device: u64, inode: u64 },
    /// A disk.
    Disk(u64),
    /// A RAM disk, by where it is.
    Ram(Nqn, u32),
}

impl Storage {
    /// What is at a place.
    pub(super) fn get(&self, nqn: &Nqn, nsid: u32) -> Option<&Held> {
        self.0.get(&(nqn.clone(), nsid))
    }

    /// All of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.values()
    }

    /// Opens what is wanted at a place, unless it is open. `last` is the last number that was given.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) fn hold(
        &mut self,
        place: Place,
        disk: &Disk,
        before: &Self,
        last: &mut u64,
    ) -> Result<(), StartupError> {
        let key = Key::of(&place, &disk.medium)?;
        let read_only = disk.access == Access::ReadOnly;
        let open = || self.0.values().chain(before.0.values());
        let there = open().find(|held| held.key == key && held.serves(disk.access));
        let opened = match there {
            Some(held) => Arc::clone(&held.opened),
            None => {
                // Locks for readers, and ours, must not keep us from writing.
                let readers = before.0.values().filter(|held| held.key == key);
                for held in readers {
                    held.lock(FlockOperation::Unlock)?;
                }
                Arc::new(backend::open(&disk.medium.device(), disk.access)?)
            }
        };
        let shares = |held: &&Held| Arc::ptr_eq(&held.opened, &opened);
        let facts = match &disk.medium {
            // Memory is of the size that is asked for.
            Medium::Ram(size) => Facts {
                bytes: size.bytes(),
                ..opened.facts()
            },
            Medium::Path(path) => match self.0.values().find(shares) {
                // It may grow while we look: it has one size for all.
                Some(held) => held.facts,
                None => opened
                    .look_again()
                    .map_err(|error| StartupError::opening(path, error))?,
            },
        };
        if let (0, Medium::Path(path)) = (facts.bytes, &disk.medium) {
            return Err(StartupError::DeviceEmpty {
                path: path.as_path().into(),
            });
        }
        // Memory is the same to who reads and who writes it; a descriptor makes a backend for one of them.
        let memory = matches!(key, Key::Ram(..));
        let same = |held: &&Held| shares(held) && (memory || held.facts.read_only == read_only);
        let id = match open().find(same) {
            Some(held) => held.id,
            None => {
                *last += 1;
                *last
            }
        };
        let held = Held {
            id,
            facts: Facts { read_only, ..facts },
            medium: disk.medium.clone(),
            key,
            opened,
        };
        self.0.insert(place, held);
        Ok(())
    }

    /// Storage that has another size than before, or is another although the file says the same.
    pub(super) fn changed(&self, before: &Self) -> Vec<Step> {
        let change = |((nqn, nsid), held): (&Place, &Held)| {
            let had = before.get(nqn, *nsid)?;
            let bytes = held.facts.bytes;
            let what = if had.medium == held.medium && had.key != held.key {
                let device = held.medium.device();
                format!("{device} of namespace {nsid} of {nqn} was replaced: serve the new one")
            } else if had.id == held.id && had.facts.bytes != bytes {
                format!("namespace {nsid} of {nqn} has {bytes} bytes from now on")
            } else {
                return None;
            };
            let effect = Effect::Notice;
            Some(Step { what, effect })
        };
        self.0.iter().filter_map(change).collect()
    }

    /// Locks for readers again what was let go of for a writer that did not come.
    pub(super) fn lock_again(&self) {
        for held in self.0.values() {
            if held.opened.facts().read_only {
                // Another that writes has been faster, and is told nothing: locks are advice.
                let _ = held.lock(FlockOperation::NonBlockingLockShared);
            }
        }
    }
}

impl Held {
    /// Its descriptor; RAM has none.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.opened.descriptor()
    }

    fn lock(&self, operation: FlockOperation) -> Result<(), StartupError> {
        let Some(descriptor) = self.descriptor() else {
            return Ok(());
        };
        rustix::fs::flock(descriptor, operation).map_err(|errno| StartupError::System {
            what: "change a lock",
            source: errno.into(),
        })
    }

    /// Whether its descriptor lets hosts do as much.
    fn serves(&self, access: Access) -> bool {
        access == Access::ReadOnly || !self.opened.facts().read_only
    }
}

impl Key {
    fn of((nqn, nsid): &Place, medium: &Medium) -> Result<Self, StartupError> {
        let path = match medium {
            Medium::Path(path) => path,
            Medium::Ram(_) => return Ok(Self::Ram(nqn.clone(), *nsid)),
        };
        let there = fs::metadata(path).map_err(|error| StartupError::opening(path, error))?;
        Ok(match there.is_file() {
            true => Self::File {
                device: there.dev(),
                inode: there.ino(),
            },
            false => Self::Disk(there.rdev()),
        })
    }
}
