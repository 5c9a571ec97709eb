//! Namespaces: a backend with a number, a name and identifiers that last.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nvmf_proto::controller::{NamespaceInfo, Namespaces as NamespaceView};
use nvmf_proto::nvm::Geometry;
use tracing::error;

use super::backend::{Backend, Character, DeviceSpec};
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
    pub gate: Gate,
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
            gate: Gate::default(),
        }
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.character.read_only
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

/// The namespaces of a subsystem, by NSID.
#[derive(Debug, Default)]
pub struct Namespaces(BTreeMap<u32, Arc<Namespace>>);

impl Namespaces {
    /// These namespaces.
    pub fn new(namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        Self(
            namespaces
                .into_iter()
                .map(|it| (it.nsid, Arc::new(it)))
                .collect(),
        )
    }

    /// The namespace with this NSID.
    pub fn by_nsid(&self, nsid: u32) -> Option<&Arc<Namespace>> {
        self.0.get(&nsid)
    }

    /// All of them, lowest NSID first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.0.values()
    }

    /// Puts everything written on stable storage. Failures are logged: nobody is left to tell.
    pub fn flush_all(&self) {
        for namespace in self.iter().filter(|it| it.character.volatile_cache) {
            if let Err(error) = namespace.backend.flush() {
                error!(device = %namespace.device, %error, "flushing failed");
            }
        }
    }
}

impl NamespaceView for Namespaces {
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
