//! Namespaces: a backend with a number, a name and identifiers that last.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use nvmf_proto::controller::{NamespaceInfo, Namespaces as NamespaceView};
use nvmf_proto::nvm::Geometry;
use nvmf_proto::status::Status;
use tracing::{error, warn};

use super::Errand;
use super::backend::{Backend, Character, DeviceSpec};
use super::fault::{self, Operation};
use super::flushes::Flushes;
use super::health::{Extent, Health, News};
use super::ledger::Ledger;
use crate::identity::NamespaceIds;

/// Highest NSID that can ever be there (NN). Hosts size tables by it.
const HIGHEST_NSID: u32 = 1024;

/// One namespace.
pub struct Namespace {
    /// Namespace identifier.
    pub nsid: u32,
    /// What the operator named.
    pub device: DeviceSpec,
    /// Storage.
    pub backend: Arc<dyn Backend>,
    /// Its size.
    pub geometry: Geometry,
    /// What it can do.
    pub character: Character,
    /// Identifiers that stay the same across restarts.
    pub ids: NamespaceIds,
    /// Shared by whatever writes; Compare and Write has it alone.
    pub gate: Arc<Gate>,
    /// Its flushes.
    pub flushes: Arc<Flushes>,
    /// How its storage fares.
    pub health: Arc<Health>,
}

/// Keeps writes out of a fused Compare and Write.
#[derive(Debug, Default)]
pub struct Gate(RwLock<()>);

impl Gate {
    /// Taken by every write.
    pub fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken by Compare and Write.
    pub fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namespace {
    /// The namespace `nsid` on a backend.
    pub fn new(
        nsid: u32,
        device: DeviceSpec,
        backend: Arc<dyn Backend>,
        ids: NamespaceIds,
    ) -> Self {
        let (geometry, character) = (backend.geometry(), backend.character());
        Self {
            nsid,
            device,
            backend,
            geometry,
            character,
            ids,
            gate: Arc::default(),
            flushes: Arc::default(),
            health: Arc::default(),
        }
    }

    /// The same, in the place of one on the same medium (which has grown, say): commands of either
    /// keep out of the other's Compare and Write, and what was lost or fails still is.
    #[must_use]
    pub fn succeeding(self, other: &Self) -> Self {
        Self {
            gate: Arc::clone(&other.gate),
            flushes: Arc::clone(&other.flushes),
            health: Arc::clone(&other.health),
            ..self
        }
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.character.read_only
    }

    /// Puts everything that was written on stable storage, on a host's errand or on behalf of ourselves.
    ///
    /// # Errors
    /// What the host is told.
    pub fn flush(&self, errand: Option<&Errand<'_>>) -> Result<(), Status> {
        if !self.character.volatile_cache {
            return Ok(());
        }
        let mut synced = Ok(());
        let flushed = self.flushes.flush(errand, || {
            let sync = self.backend.flush();
            // Of the medium is told what it did, and not who is told of it.
            synced = self.judge(Operation::Flush, sync.as_ref().copied());
            sync
        });
        synced?;
        flushed.map_err(|error| fault::status(Operation::Flush, &error))
    }

    /// What a host is told of what the medium did; the log is told what is worth a line.
    ///
    /// # Errors
    /// Those of the medium, as statuses.
    pub fn judge(&self, operation: Operation, done: Result<(), &io::Error>) -> Result<(), Status> {
        match done {
            Ok(()) => {
                if self.health.is_failing(operation)
                    && let Some(news) = self.health.worked(operation, Instant::now())
                {
                    self.tell(operation, news, None);
                }
                Ok(())
            }
            Err(error) => {
                if let Some(news) = self.health.failed(operation, error, Instant::now()) {
                    self.tell(operation, news, Some(error));
                }
                Err(fault::status(operation, error))
            }
        }
    }

    fn tell(&self, operation: Operation, news: News, error: Option<&io::Error>) {
        let (nsid, device) = (self.nsid, &self.device);
        let error = error.map(tracing::field::display);
        let seconds = |lasted: Duration| lasted.as_secs();
        match news {
            News::Fails => error!(nsid, %device, error, "{operation} fail"),
            News::StillFails(Extent { commands, lasted }) => {
                let seconds = seconds(lasted);
                error!(nsid, %device, error, commands, seconds, "{operation} still fail");
            }
            News::Works(Extent { commands, lasted }) => {
                let seconds = seconds(lasted);
                warn!(nsid, %device, commands, seconds, "{operation} work again");
            }
        }
    }

    fn info(&self) -> NamespaceInfo {
        NamespaceInfo {
            geometry: self.geometry,
            nguid: self.ids.nguid,
            eui64: self.ids.eui64,
            uuid: self.ids.uuid.into_bytes(),
            volatile_cache: self.character.volatile_cache,
            zeroes_after_deallocate: self.character.zeroes_after_deallocate,
            can_deallocate: self.character.can_deallocate,
            preferred_bytes: self.character.preferred_bytes,
            shared: true,
            read_only: self.character.read_only,
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("nsid", &self.nsid)
            .field("device", &self.device)
            .finish()
    }
}

/// The namespaces of a subsystem, by NSID: the same object for as long as the subsystem lives, and
/// what is in it can be replaced at any time.
#[derive(Debug, Default)]
pub struct Namespaces {
    by_nsid: ArcSwap<ByNsid>,
    /// What the subsystem's hosts have done with them.
    pub ledger: Ledger,
}

type ByNsid = BTreeMap<u32, Arc<Namespace>>;

/// The namespaces as they were at one moment. Made for every command, and meant to be short-lived.
pub struct View(Guard<Arc<ByNsid>>);

impl Namespaces {
    /// These namespaces.
    pub fn new(namespaces: impl IntoIterator<Item = Arc<Namespace>>) -> Self {
        Self {
            by_nsid: ArcSwap::from_pointee(by_nsid(namespaces)),
            ledger: Ledger::default(),
        }
    }

    /// The namespaces there are now.
    pub fn load(&self) -> View {
        View(self.by_nsid.load())
    }

    /// Has these namespaces from now on. The NSIDs of those that came, went or are not the same
    /// object any more, ascending. Who has begun something with one that went goes on with it.
    pub fn replace(&self, namespaces: impl IntoIterator<Item = Arc<Namespace>>) -> Vec<u32> {
        let new = Arc::new(by_nsid(namespaces));
        let old = self.by_nsid.swap(Arc::clone(&new));
        let changed = |nsid: &&u32| match (old.get(nsid), new.get(nsid)) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
            (Some(_), None) | (None, Some(_)) => true,
            (None, None) => false,
        };
        let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        all.into_iter().filter(changed).copied().collect()
    }

    /// Puts everything written on stable storage. Nobody waits to be told of failures.
    pub fn flush_all(&self) {
        // Owned, because flushes take their time.
        let namespaces = self.by_nsid.load_full();
        for namespace in namespaces.values() {
            // Told to the log, and to hosts that flush later.
            let _ = namespace.flush(None);
        }
    }
}

fn by_nsid(namespaces: impl IntoIterator<Item = Arc<Namespace>>) -> ByNsid {
    namespaces.into_iter().map(|it| (it.nsid, it)).collect()
}

impl View {
    /// The namespace with this NSID.
    pub fn by_nsid(&self, nsid: u32) -> Option<&Arc<Namespace>> {
        self.0.get(&nsid)
    }

    /// All of them, lowest NSID first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.0.values()
    }
}

impl NamespaceView for View {
    fn get(&self, nsid: u32) -> Option<NamespaceInfo> {
        self.by_nsid(nsid).map(|namespace| namespace.info())
    }

    fn next_active(&self, after: u32) -> Option<u32> {
        self.0
            .range(after.checked_add(1)?..)
            .next()
            .map(|(&nsid, _)| nsid)
    }

    fn highest(&self) -> u32 {
        HIGHEST_NSID
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::engine::backend::ram::{Ram, RamSize};

    fn namespace(nsid: u32, blocks: u64) -> Arc<Namespace> {
        let size = RamSize::from_bytes(blocks * 512).unwrap();
        let ids = NamespaceIds {
            uuid: Uuid::from_u128(nsid.into()),
            nguid: [0; 16],
            eui64: [0; 8],
        };
        let backend = Arc::new(Ram::new(size));
        Arc::new(Namespace::new(nsid, DeviceSpec::Ram(size), backend, ids))
    }

    fn active(view: &View) -> Vec<u32> {
        std::iter::successors(view.next_active(0), |&nsid| view.next_active(nsid)).collect()
    }

    #[test]
    fn what_came_went_or_changed_is_told_and_nothing_else() {
        let [one, two, three] = [1, 2, 3].map(|nsid| namespace(nsid, 8));
        let namespaces = Namespaces::new([&one, &two].map(Arc::clone));
        let before = namespaces.load();
        assert_eq!(namespaces.replace([&one, &two].map(Arc::clone)), [0_u32; 0]);
        let grown = namespace(2, 16);
        let changed = namespaces.replace([&three, &grown].map(Arc::clone));
        assert_eq!(changed, [1, 2, 3]);
        let after = namespaces.load();
        assert_eq!((active(&before), active(&after)), (vec![1, 2], vec![2, 3]));
        assert_eq!(after.get(2).unwrap().geometry.blocks, 16);
        assert_eq!(before.get(2).unwrap().geometry.blocks, 8);
        assert_eq!(namespaces.replace([]), [2_u32, 3]);
        assert_eq!(namespaces.load().iter().count(), 0);
    }

    #[test]
    fn a_successor_keeps_writes_out_of_its_predecessors_fused_commands() {
        let old = namespace(1, 8);
        let size = RamSize::from_bytes(8192).unwrap();
        let (device, backend) = (DeviceSpec::Ram(size), Arc::new(Ram::new(size)));
        let new = Namespace::new(1, device, backend, old.ids).succeeding(&old);
        let alone = old.gate.write();
        assert!(new.gate.0.try_read().is_err());
        drop(alone);
        assert!(new.gate.0.try_read().is_ok());
    }
}
