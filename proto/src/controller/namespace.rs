//! What a controller must know of its namespaces. The set belongs to the caller and may change
//! between any two commands; the controller asks anew each time.

use crate::nvm::Geometry;
use crate::status::Status;

/// NSID that means every namespace.
pub const BROADCAST_NSID: u32 = 0xffff_ffff;

/// The namespaces of a subsystem, as one host sees them.
pub trait Namespaces {
    /// The active namespace of this NSID.
    fn get(&self, nsid: u32) -> Option<NamespaceInfo>;

    /// The lowest active NSID above `after`.
    fn next_active(&self, after: u32) -> Option<u32>;

    /// The highest NSID that can ever be active (NN). Hosts read it once: a fixed ceiling is best.
    fn highest(&self) -> u32;

    /// The namespace that a command means.
    ///
    /// # Errors
    /// Invalid Namespace or Format for 0, [`BROADCAST_NSID`], inactive and impossible NSIDs.
    fn find(&self, nsid: u32) -> Result<NamespaceInfo, Status> {
        match nsid {
            0 | BROADCAST_NSID => None,
            _ => self.get(nsid),
        }
        .ok_or(Status::INVALID_NAMESPACE.dnr())
    }
}

/// What Identify says of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// Blocks and block size.
    pub geometry: Geometry,
    /// Namespace Globally Unique Identifier, all zeroes for none.
    pub nguid: [u8; 16],
    /// IEEE Extended Unique Identifier, all zeroes for none.
    pub eui64: [u8; 8],
    /// UUID in the byte order of RFC 9562, all zeroes for none.
    pub uuid: [u8; 16],
    /// Writes that have completed can be lost at power failure until they are flushed.
    pub volatile_cache: bool,
    /// Deallocated blocks read as zeroes.
    pub zeroes_after_deallocate: bool,
    /// Deallocation gives space back.
    pub can_deallocate: bool,
    /// Bytes whose multiples, so aligned, are served best (NPWG); at least the block size.
    pub preferred_bytes: u32,
    /// More than one controller may have it attached.
    pub shared: bool,
    /// Writes are refused.
    pub read_only: bool,
}

/// Active NSIDs above `after`, ascending.
pub(super) fn active(namespaces: &dyn Namespaces, after: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(namespaces.next_active(after), |&nsid| {
        namespaces.next_active(nsid)
    })
}

/// Whether any namespace has a volatile write cache (VWC).
pub(super) fn any_volatile_cache(namespaces: &dyn Namespaces) -> bool {
    active(namespaces, 0)
        .filter_map(|nsid| namespaces.get(nsid))
        .any(|namespace| namespace.volatile_cache)
}
