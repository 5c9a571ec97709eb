//! The NVM command set: what an I/O command asks for, parsed and bounded before any data moves.
//!
//! [`Command::parse`] refuses whatever the namespace or the controller cannot do, so that what
//! comes out needs no further check: extents lie within the namespace, transfers within the limit.
//! Ranges that travel as data (Dataset Management, Copy) are read by [`deallocate_ranges`] and
//! [`copy_ranges`]. Which namespace a command means is the caller's business
//! ([`crate::controller::Namespaces::find`]); executing it is a backend's.
//!
//! The limits here are the ones that Identify reports.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::opcode;
use crate::sqe::Sqe;
use crate::status::Status;

pub use crate::sqe::Data;

#[cfg(test)]
mod tests;

/// Size of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Logical blocks. `blocks × block_size` fits 64 bits.
    pub blocks: u64,
    /// Bytes of a logical block, a power of two of at least 512.
    pub block_size: u32,
}

impl Geometry {
    /// Bytes of the namespace.
    pub fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size.into())
    }
}

/// A run of logical blocks that lies within its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First logical block.
    pub lba: u64,
    /// Logical blocks, possibly 0 in a Dataset Management range.
    pub blocks: u64,
}

impl Extent {
    /// The run of `blocks` from `lba`.
    ///
    /// # Errors
    /// LBA Out of Range when it does not lie within the namespace.
    pub fn new(lba: u64, blocks: u64, geometry: &Geometry) -> Result<Self, Status> {
        match lba.checked_add(blocks) {
            Some(end) if end <= geometry.blocks => Ok(Self { lba, blocks }),
            _ => Err(Status::LBA_OUT_OF_RANGE.dnr()),
        }
    }

    /// Where it starts, in bytes.
    pub fn offset(&self, geometry: &Geometry) -> u64 {
        self.lba.saturating_mul(geometry.block_size.into())
    }

    /// How long it is, in bytes.
    pub fn bytes(&self, geometry: &Geometry) -> u64 {
        self.blocks.saturating_mul(geometry.block_size.into())
    }
}

/// An NVM command that can be executed as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Make what was written durable (Base 2.0 §7.1).
    Flush,
    /// Read.
    Read {
        /// What to read.
        extent: Extent,
    },
    /// Write.
    Write {
        /// Where to write.
        extent: Extent,
        /// Durable before it completes (Force Unit Access).
        fua: bool,
    },
    /// Compare with data of the host.
    Compare {
        /// What to compare.
        extent: Extent,
    },
    /// Make blocks read as zeroes.
    WriteZeroes {
        /// Which blocks.
        extent: Extent,
        /// The host would like their space given back (DEAC).
        deallocate: bool,
        /// Durable before it completes (Force Unit Access).
        fua: bool,
    },
    /// Advice on ranges, which travel as data.
    DatasetManagement {
        /// Ranges, 1–256.
        ranges: u16,
        /// Their content is no longer needed; without it there is nothing to do.
        deallocate: bool,
    },
    /// Read without giving the data to the host.
    Verify {
        /// What to read.
        extent: Extent,
    },
    /// Copy ranges, which travel as data, to one place.
    Copy {
        /// First logical block of the destination.
        destination: u64,
        /// Source ranges, 1–[`COPY_MAX_RANGES`].
        ranges: u16,
        /// Durable before it completes (Force Unit Access).
        fua: bool,
    },
}

impl Command {
    /// Reads an entry for a namespace of `geometry` on a controller that moves at most
    /// `max_transfer` bytes a command (MDTS).
    ///
    /// # Errors
    /// The status to complete the command with, always with Do Not Retry.
    pub fn parse(sqe: &Sqe, geometry: &Geometry, max_transfer: u32) -> Result<Self, Status> {
        let fua = sqe.cdw12.get() & FUA != 0;
        // MDTS bounds what moves, and our VSL (Identify CNS 06h) what Verify reads.
        let transfer = |sqe| bounded(sqe, geometry, max_transfer.into());
        match sqe.opcode {
            opcode::nvm::FLUSH => Ok(Self::Flush),
            opcode::nvm::READ => Ok(Self::Read {
                extent: transfer(sqe)?,
            }),
            opcode::nvm::WRITE => {
                no_directive(sqe)?;
                Ok(Self::Write {
                    extent: transfer(sqe)?,
                    fua,
                })
            }
            opcode::nvm::COMPARE => Ok(Self::Compare {
                extent: transfer(sqe)?,
            }),
            opcode::nvm::VERIFY => Ok(Self::Verify {
                extent: transfer(sqe)?,
            }),
            opcode::nvm::WRITE_ZEROES => Ok(Self::WriteZeroes {
                extent: bounded(sqe, geometry, WRITE_ZEROES_MAX_BYTES)?,
                deallocate: sqe.cdw12.get() & DEAC != 0,
                fua,
            }),
            opcode::nvm::DATASET_MANAGEMENT => Ok(Self::DatasetManagement {
                ranges: range_count(sqe.cdw10.get()),
                deallocate: sqe.cdw11.get() & ATTRIBUTE_DEALLOCATE != 0,
            }),
            opcode::nvm::COPY => Self::parse_copy(sqe),
            _ => Err(Status::INVALID_OPCODE.dnr()),
        }
    }

    fn parse_copy(sqe: &Sqe) -> Result<Self, Status> {
        let cdw12 = sqe.cdw12.get();
        no_protection(sqe)?;
        no_directive(sqe)?;
        if cdw12 & (COPY_FORMAT | COPY_READ_PRINFO) != 0 {
            return Err(Status::INVALID_FIELD.dnr());
        }
        let ranges = range_count(cdw12);
        if ranges > COPY_MAX_RANGES {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.dnr());
        }
        Ok(Self::Copy {
            destination: sqe.cdw10_11(),
            ranges,
            fua: cdw12 & FUA != 0,
        })
    }

    /// Bytes that the command moves, in a namespace of the geometry that it was parsed for.
    pub fn data(&self, geometry: &Geometry) -> Data {
        // Parsing has bounded every extent that moves by a 32-bit number.
        let bytes = |extent: &Extent| u32::try_from(extent.bytes(geometry)).unwrap_or(u32::MAX);
        match self {
            Self::Flush | Self::WriteZeroes { .. } | Self::Verify { .. } => Data::None,
            Self::Read { extent } => Data::ToHost(bytes(extent)),
            Self::Write { extent, .. } | Self::Compare { extent } => Data::FromHost(bytes(extent)),
            Self::DatasetManagement { ranges, .. } => {
                Data::FromHost(u32::from(*ranges) * DSM_RANGE_SIZE)
            }
            Self::Copy { ranges, .. } => Data::FromHost(u32::from(*ranges) * COPY_RANGE_SIZE),
        }
    }

    /// Whether the command changes what the namespace holds, which a read-only one must refuse with
    /// Namespace is Write Protected.
    pub fn modifies(&self) -> bool {
        match self {
            Self::Write { .. } | Self::WriteZeroes { .. } | Self::Copy { .. } => true,
            Self::DatasetManagement { deallocate, .. } => *deallocate,
            Self::Flush | Self::Read { .. } | Self::Compare { .. } | Self::Verify { .. } => false,
        }
    }
}

/// Checks that two fused commands on one namespace are Compare and Write of the same blocks, the
/// only fused operation there is (Base 2.0 §3.4.2).
///
/// # Errors
/// Invalid Field, for both commands.
pub fn fused_pair(first: &Command, second: &Command) -> Result<(), Status> {
    match (first, second) {
        (
            Command::Compare { extent: compared },
            Command::Write {
                extent: written, ..
            },
        ) if compared == written => Ok(()),
        _ => Err(Status::INVALID_FIELD.dnr()),
    }
}

/// A Dataset Management range (NVM 1.0 §3.2.3).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DsmRange {
    /// Context attributes: hints that we do not use.
    pub attributes: U32,
    /// Logical blocks; not 0's based.
    pub blocks: U32,
    /// First logical block.
    pub lba: U64,
}

const _: () = assert!(size_of::<DsmRange>() == DSM_RANGE_SIZE as usize);

/// Reads the ranges of a Dataset Management command from its data.
///
/// # Errors
/// LBA Out of Range when any of them leaves the namespace: nothing must be deallocated then.
/// Data SGL Length Invalid when `data` holds fewer ranges than the command said.
pub fn deallocate_ranges(
    data: &[u8],
    ranges: u16,
    geometry: &Geometry,
) -> Result<Vec<Extent>, Status> {
    let (list, _) = <[DsmRange]>::ref_from_prefix_with_elems(data, ranges.into())
        .map_err(|_| Status::DATA_SGL_LENGTH_INVALID.dnr())?;
    list.iter()
        .map(|range| Extent::new(range.lba.get(), range.blocks.get().into(), geometry))
        .collect()
}

/// A source range of Copy, descriptor format 0 (NVM 1.0 §3.2.2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopyRange {
    /// Reserved.
    pub reserved_0: [u8; 8],
    /// First logical block.
    pub lba: U64,
    /// Logical blocks, 0's based as it stands on the wire.
    pub blocks: U16,
    /// Reserved.
    pub reserved_18: [u8; 6],
    /// Protection information, which no namespace of ours has.
    pub protection: [u8; 8],
}

const _: () = assert!(size_of::<CopyRange>() == COPY_RANGE_SIZE as usize);

/// What a Copy command does: the sources, one after the other, fill the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlan {
    /// Where to read, in order.
    pub sources: Vec<Extent>,
    /// Where to write; as long as the sources together.
    pub destination: Extent,
}

/// Reads the source ranges of a Copy command from its data.
///
/// # Errors
/// Command Size Limit Exceeded beyond [`COPY_MAX_RANGE_BLOCKS`] or [`COPY_MAX_BLOCKS`]; LBA Out of
/// Range when a source or the destination leaves the namespace; Data SGL Length Invalid when `data`
/// holds fewer ranges than the command said. Nothing must be copied in any of these cases.
pub fn copy_ranges(
    data: &[u8],
    ranges: u16,
    destination: u64,
    geometry: &Geometry,
) -> Result<CopyPlan, Status> {
    let (list, _) = <[CopyRange]>::ref_from_prefix_with_elems(data, ranges.into())
        .map_err(|_| Status::DATA_SGL_LENGTH_INVALID.dnr())?;
    let mut total = 0_u64;
    let mut sources = Vec::with_capacity(list.len());
    for range in list {
        let blocks = u64::from(range.blocks.get()) + 1;
        total += blocks;
        if blocks > COPY_MAX_RANGE_BLOCKS.into() || total > COPY_MAX_BLOCKS.into() {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.dnr());
        }
        sources.push(Extent::new(range.lba.get(), blocks, geometry)?);
    }
    Ok(CopyPlan {
        sources,
        destination: Extent::new(destination, total, geometry)?,
    })
}

/// The extent of dwords 10–12, of at most `limit` bytes.
fn bounded(sqe: &Sqe, geometry: &Geometry, limit: u64) -> Result<Extent, Status> {
    no_protection(sqe)?;
    let blocks = u64::from(sqe.cdw12.get() & BLOCKS) + 1;
    let extent = Extent::new(sqe.cdw10_11(), blocks, geometry)?;
    if extent.bytes(geometry) > limit {
        return Err(Status::INVALID_FIELD.dnr());
    }
    Ok(extent)
}

/// No namespace of ours has protection information: what asks for it is refused.
fn no_protection(sqe: &Sqe) -> Result<(), Status> {
    if sqe.cdw12.get() & PRINFO != 0 {
        Err(Status::INVALID_FIELD.dnr())
    } else {
        Ok(())
    }
}

/// Directives (streams) are not supported.
fn no_directive(sqe: &Sqe) -> Result<(), Status> {
    if sqe.cdw12.get() & DIRECTIVE_TYPE != 0 {
        Err(Status::INVALID_FIELD.dnr())
    } else {
        Ok(())
    }
}

/// The 0's based NR of a dword's low byte as a count, 1–256.
fn range_count(dword: u32) -> u16 {
    let [ranges, ..] = dword.to_le_bytes();
    u16::from(ranges) + 1
}

/// Source ranges of one Copy at most; Identify reports it less one (MSRC). They fill one page.
pub const COPY_MAX_RANGES: u16 = 128;

/// Logical blocks of one source range of Copy at most (MSSRL).
pub const COPY_MAX_RANGE_BLOCKS: u16 = 2048;

/// Logical blocks of one Copy at most (MCL): 8 MiB of 512-byte blocks, so that one command cannot
/// hold a backend for long.
pub const COPY_MAX_BLOCKS: u32 = 16_384;

/// Bytes of one Write Zeroes at most (WZSL).
// Linux: the host takes WZSL for its request limit without regard to the 16 bits of NLB, so with
// 512-byte blocks anything larger than 65,536 × 512 bytes would be cut short silently.
pub const WRITE_ZEROES_MAX_BYTES: u64 = 32 << 20;

/// Bytes of a Dataset Management range.
pub const DSM_RANGE_SIZE: u32 = 16;

/// Bytes of a Copy source range, format 0.
pub const COPY_RANGE_SIZE: u32 = 32;

/// Dword 12, bits 15:0: number of logical blocks, 0's based.
const BLOCKS: u32 = 0xffff;
/// Dword 12, bit 30: Force Unit Access.
const FUA: u32 = 1 << 30;
/// Dword 12, bits 29:26: protection information.
const PRINFO: u32 = 0xf << 26;
/// Dword 12, bit 25 of Write Zeroes: deallocate.
const DEAC: u32 = 1 << 25;
/// Dword 12, bits 23:20: directive type.
const DIRECTIVE_TYPE: u32 = 0xf << 20;
/// Dword 12, bits 11:8 of Copy: descriptor format; only 0 is supported (OCFS).
const COPY_FORMAT: u32 = 0xf << 8;
/// Dword 12, bits 15:12 of Copy: protection information of the sources.
const COPY_READ_PRINFO: u32 = 0xf << 12;
/// Dword 11, bit 2 of Dataset Management: deallocate.
const ATTRIBUTE_DEALLOCATE: u32 = 1 << 2;
