//! Identify Namespace (CNS 00h; NVM 1.0 §4.1.5.1) and its part that is independent of the command
//! set (CNS 08h; Base 2.0 §5.17.2.8).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::NamespaceInfo;
use crate::nvm;

/// Identify Namespace. Fields that are always 0 here are gathered in `zero_*`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// Size in logical blocks.
    pub nsze: U64,
    /// Capacity in logical blocks.
    pub ncap: U64,
    /// Logical blocks in use.
    pub nuse: U64,
    /// Features: bit 4 NPWG, NPWA, NPDG, NPDA and NOWS are valid.
    pub nsfeat: u8,
    /// LBA formats, 0's based: one; which of them; metadata; protection information.
    pub zero_25: [u8; 5],
    /// Sharing: bit 0 with other controllers.
    pub nmic: u8,
    /// Reservations, format progress.
    pub zero_31: [u8; 2],
    /// Deallocation: bits 2:0 001b reads as zeroes, bit 3 Write Zeroes can deallocate.
    pub dlfeat: u8,
    /// Atomicity and boundaries.
    pub zero_34: [u8; 14],
    /// Size in bytes.
    pub nvmcap: [U64; 2],
    /// Preferred write granularity in logical blocks, 0's based.
    pub npwg: U16,
    /// Preferred write alignment, likewise.
    pub npwa: U16,
    /// Preferred deallocate granularity, likewise.
    pub npdg: U16,
    /// Preferred deallocate alignment, likewise.
    pub npda: U16,
    /// Optimal write size, likewise.
    pub nows: U16,
    /// Logical blocks of a Copy source range at most.
    pub mssrl: U16,
    /// Logical blocks of a Copy at most.
    pub mcl: U32,
    /// Source ranges of a Copy, 0's based.
    pub msrc: u8,
    /// Reserved, ANA group.
    pub zero_81: [u8; 18],
    /// Attributes: bit 0 write protected.
    pub nsattr: u8,
    /// NVM set, endurance group.
    pub zero_100: [u8; 4],
    /// Globally unique identifier, as it is printed.
    pub nguid: [u8; 16],
    /// Extended unique identifier, as it is printed.
    pub eui64: [u8; 8],
    /// LBA format 0: bits 23:16 block size as a power of two.
    pub lbaf0: U32,
    /// Other formats, vendor.
    pub zero_132: [u8; 3964],
}

const _: () = assert!(size_of::<IdentifyNamespace>() == 4096);

/// What does not depend on the command set.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IndependentNamespace {
    /// Features: none.
    pub nsfeat: u8,
    /// Sharing: bit 0 with other controllers.
    pub nmic: u8,
    /// Reservations, format progress, ANA group.
    pub zero_2: [u8; 6],
    /// Attributes: bit 0 write protected.
    pub nsattr: u8,
    /// NVM set, endurance group.
    pub zero_9: [u8; 5],
    /// Status: bit 0 ready.
    pub nstat: u8,
    /// Reserved.
    pub zero_15: [u8; 4081],
}

const _: () = assert!(size_of::<IndependentNamespace>() == 4096);

impl IdentifyNamespace {
    pub(super) fn of(info: &NamespaceInfo) -> Self {
        let geometry = &info.geometry;
        let mut data = Self::new_zeroed();
        data.nsze = geometry.blocks.into();
        data.ncap = geometry.blocks.into();
        data.nuse = geometry.blocks.into();
        data.nvmcap = [geometry.bytes().into(), 0.into()];
        data.nsfeat = NSFEAT_PERFORMANCE;
        data.nmic = info.shared.into();
        data.nsattr = info.read_only.into();
        data.dlfeat = u8::from(info.zeroes_after_deallocate) | u8::from(info.can_deallocate) << 3;
        let preferred = preferred_blocks(info);
        data.npwg = preferred;
        data.npwa = preferred;
        data.npdg = preferred;
        data.npda = preferred;
        data.nows = preferred;
        data.mssrl = nvm::COPY_MAX_RANGE_BLOCKS.into();
        data.mcl = nvm::COPY_MAX_BLOCKS.into();
        data.msrc = u8::try_from(nvm::COPY_MAX_RANGES - 1).unwrap_or(u8::MAX);
        data.nguid = info.nguid;
        data.eui64 = info.eui64;
        data.lbaf0 = (geometry.block_size.checked_ilog2().unwrap_or_default() << 16).into();
        data
    }
}

impl IndependentNamespace {
    pub(super) fn of(info: &NamespaceInfo) -> Self {
        let mut data = Self::new_zeroed();
        data.nmic = info.shared.into();
        data.nsattr = info.read_only.into();
        data.nstat = NSTAT_READY;
        data
    }
}

/// The preferred granularity in blocks, 0's based.
fn preferred_blocks(info: &NamespaceInfo) -> U16 {
    let blocks = info
        .preferred_bytes
        .checked_div(info.geometry.block_size)
        .unwrap_or_default();
    u16::try_from(blocks.saturating_sub(1))
        .unwrap_or(u16::MAX)
        .into()
}

const NSFEAT_PERFORMANCE: u8 = 1 << 4;
const NSTAT_READY: u8 = 1;
