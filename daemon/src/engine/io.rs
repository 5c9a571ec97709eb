//! NVM commands executed on a backend: what a command does to bytes, whoever runs it.
//!
//! Runs on the reactor for memory and on the I/O pool for what may sleep; knows neither.

#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nvmf_proto::cqe::Completion;
use nvmf_proto::nvm::{self, Command, Extent};
use nvmf_proto::status::Status;

use super::backend::Geometry;
use super::fault::Operation;
use super::namespace::Namespace;
use super::{Errand, Executed};

/// Bytes that Compare, Verify and Copy hold at a time, beside what hosts sent.
const PIECE: u64 = 128 << 10;

/// Bytes that a reactor moves for one command. More would have its other connections wait.
const SHORT: u64 = 256 << 10;

/// Executes a command with the data that came with it.
pub fn execute(
    namespace: &Namespace,
    command: &Command,
    data: &[u8],
    errand: &Errand<'_>,
) -> Executed {
    let alive = errand.alive;
    let done = match command {
        Command::Read { extent } => return read(namespace, extent),
        _ if command.modifies() && namespace.is_read_only() => {
            Err(Status::NAMESPACE_WRITE_PROTECTED.dnr())
        }
        Command::Flush => namespace.flush(Some(errand)),
        Command::Write { extent, fua } => {
            write(namespace, extent, data).and_then(|()| settle(namespace, *fua, errand))
        }
        Command::Compare { extent } => compare(namespace, extent, data),
        Command::WriteZeroes {
            extent,
            deallocate,
            fua,
        } => write_zeroes(namespace, extent, *deallocate, alive)
            .and_then(|()| settle(namespace, *fua, errand)),
        Command::DatasetManagement {
            deallocate: false, ..
        } => Ok(()),
        Command::DatasetManagement { ranges, .. } => deallocate(namespace, data, *ranges, alive),
        Command::Verify { extent } => verify(namespace, extent, alive),
        Command::Copy {
            destination,
            ranges,
            fua,
        } => copy(namespace, data, *ranges, *destination, alive)
            .and_then(|()| settle(namespace, *fua, errand)),
    };
    Executed::Done(done.map_or_else(Completion::error, |()| Completion::SUCCESS))
}

/// Whether a command may take long even in memory, because one entry can name gigabytes.
pub fn takes_long(command: &Command, geometry: &Geometry) -> bool {
    match command {
        Command::WriteZeroes { .. }
        | Command::DatasetManagement { .. }
        | Command::Verify { .. }
        | Command::Copy { .. } => true,
        Command::Read { extent } | Command::Compare { extent } => extent.bytes(geometry) > SHORT,
        // Done where it arrives: it cannot come late, over a newer one.
        Command::Flush | Command::Write { .. } => false,
    }
}

/// Executes Compare and Write of the same blocks as one: nothing else is written in between (Base
/// 2.0 §3.4.2).
pub fn execute_fused(
    namespace: &Namespace,
    extent: &Extent,
    expected: &[u8],
    data: &[u8],
    errand: &Errand<'_>,
) -> Executed {
    if namespace.is_read_only() {
        let protected = Completion::error(Status::NAMESPACE_WRITE_PROTECTED.dnr());
        return Executed::Fused(Completion::error(Status::FUSED_FAILED), protected);
    }
    let _alone = namespace.gate.write();
    if let Err(status) = compare(namespace, extent, expected) {
        return Executed::Fused(status.into(), Status::FUSED_FAILED.into());
    }
    let written = put(namespace, extent, data).and_then(|()| settle(namespace, false, errand));
    let written = written.map_or_else(Completion::error, |()| Completion::SUCCESS);
    Executed::Fused(Completion::SUCCESS, written)
}

fn read(namespace: &Namespace, extent: &Extent) -> Executed {
    let geometry = &namespace.geometry;
    let mut buffer = vec![0; length(extent.bytes(geometry))];
    match fetch(namespace, extent.offset(geometry), &mut buffer) {
        Ok(()) => Executed::Data(buffer),
        Err(status) => Executed::Done(status.into()),
    }
}

fn fetch(namespace: &Namespace, offset: u64, into: &mut [u8]) -> Result<(), Status> {
    let read = namespace.backend.read(offset, into);
    namespace.judge(Operation::Read, read.as_ref().copied())
}

fn changed(namespace: &Namespace, done: &io::Result<()>) -> Result<(), Status> {
    namespace.judge(Operation::Write, done.as_ref().copied())
}

fn write(namespace: &Namespace, extent: &Extent, data: &[u8]) -> Result<(), Status> {
    let _shared = namespace.gate.read();
    put(namespace, extent, data)
}

fn put(namespace: &Namespace, extent: &Extent, data: &[u8]) -> Result<(), Status> {
    let offset = extent.offset(&namespace.geometry);
    changed(namespace, &namespace.backend.write(offset, data))
}

/// Makes what was written durable, where that takes more than having written it.
fn settle(namespace: &Namespace, fua: bool, errand: &Errand<'_>) -> Result<(), Status> {
    if (fua || errand.durable) && namespace.character.volatile_cache {
        namespace.flush(Some(errand))
    } else {
        Ok(())
    }
}

fn compare(namespace: &Namespace, extent: &Extent, expected: &[u8]) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    let mut found = vec![0; length(extent.bytes(geometry).min(PIECE))];
    let mut expected = expected.chunks(length(PIECE));
    for (offset, bytes) in pieces(extent.offset(geometry), extent.bytes(geometry)) {
        let Some(found) = found.get_mut(..length(bytes)) else {
            break;
        };
        fetch(namespace, offset, found)?;
        if expected.next() != Some(&*found) {
            return Err(Status::COMPARE_FAILURE.dnr());
        }
    }
    Ok(())
}

fn write_zeroes(
    namespace: &Namespace,
    extent: &Extent,
    deallocate: bool,
    alive: &AtomicBool,
) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    let _shared = namespace.gate.read();
    let (offset, bytes) = (extent.offset(geometry), extent.bytes(geometry));
    still(alive)?;
    let zeroed = namespace
        .backend
        .write_zeroes(offset, bytes, deallocate, alive);
    changed(namespace, &zeroed)
}

fn deallocate(
    namespace: &Namespace,
    data: &[u8],
    ranges: u16,
    alive: &AtomicBool,
) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    let extents = nvm::deallocate_ranges(data, ranges, geometry)?;
    for extent in extents.iter().filter(|extent| extent.blocks != 0) {
        still(alive)?;
        let _shared = namespace.gate.read();
        // In one piece: what it costs is bounded by what is stored there, not by its length.
        let freed =
            namespace
                .backend
                .deallocate(extent.offset(geometry), extent.bytes(geometry), alive);
        changed(namespace, &freed)?;
    }
    Ok(())
}

fn verify(namespace: &Namespace, extent: &Extent, alive: &AtomicBool) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    pieces(extent.offset(geometry), extent.bytes(geometry)).try_for_each(|(offset, bytes)| {
        still(alive)?;
        let mut buffer = vec![0; length(bytes)];
        fetch(namespace, offset, &mut buffer)
    })
}

fn copy(
    namespace: &Namespace,
    data: &[u8],
    ranges: u16,
    destination: u64,
    alive: &AtomicBool,
) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    let plan = nvm::copy_ranges(data, ranges, destination, geometry)?;
    let mut to = plan.destination.offset(geometry);
    for source in &plan.sources {
        for (offset, bytes) in pieces(source.offset(geometry), source.bytes(geometry)) {
            still(alive)?;
            let mut buffer = vec![0; length(bytes)];
            let _shared = namespace.gate.read();
            fetch(namespace, offset, &mut buffer)?;
            changed(namespace, &namespace.backend.write(to, &buffer))?;
            to += bytes;
        }
    }
    Ok(())
}

/// Whether to go on: nobody waits for a command whose connection is gone.
fn still(alive: &AtomicBool) -> Result<(), Status> {
    if alive.load(Ordering::Acquire) {
        Ok(())
    } else {
        Err(Status::ABORT_REQUESTED)
    }
}

/// A range in pieces, each of which is done with before the next: memory is bounded, and so is how
/// long the gate is held.
fn pieces(offset: u64, bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..bytes.div_ceil(PIECE)).map(move |index| {
        let start = index * PIECE;
        (offset + start, PIECE.min(bytes - start))
    })
}

/// A length that parsing has bounded, as a buffer's.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
