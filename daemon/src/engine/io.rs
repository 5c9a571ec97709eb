//! NVM commands executed on a backend: what a command does to bytes, whoever runs it.
//!
//! Runs on the reactor for memory and on the I/O pool for what may sleep; knows neither.

#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nvmf_proto::cqe::Completion;
use nvmf_proto::nvm::{self, Command, Extent};
use nvmf_proto::status::Status;
use tracing::warn;

use super::Executed;
use super::namespace::Namespace;
use crate::log::{Quota, told};

/// Bytes that Verify and Copy hold at a time.
const PIECE: u64 = 1 << 20;

/// Lines about media that fail: hosts cause them as often as they like.
static FAILURES: Quota = Quota::new(20, Duration::from_secs(10));

/// Executes a command with the data that came with it. With `durable`, what it writes is on stable
/// storage before it returns, as a host asks that switched the write cache off. What takes long stops
/// when its connection ceases to be `alive`.
pub fn execute(
    namespace: &Namespace,
    command: &Command,
    data: &[u8],
    durable: bool,
    alive: &AtomicBool,
) -> Executed {
    let done = match command {
        Command::Read { extent } => return read(namespace, extent),
        _ if command.modifies() && namespace.is_read_only() => {
            Err(Status::NAMESPACE_WRITE_PROTECTED.dnr())
        }
        Command::Flush => flush(namespace),
        Command::Write { extent, fua } => {
            write(namespace, extent, data).and_then(|()| settle(namespace, *fua || durable))
        }
        Command::Compare { extent } => compare(namespace, extent, data),
        Command::WriteZeroes {
            extent,
            deallocate,
            fua,
        } => write_zeroes(namespace, extent, *deallocate)
            .and_then(|()| settle(namespace, *fua || durable)),
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
            .and_then(|()| settle(namespace, *fua || durable)),
    };
    Executed::Done(done.map_or_else(Completion::error, |()| Completion::SUCCESS))
}

/// Whether a command may take long even in memory, because one entry can name gigabytes.
pub fn takes_long(command: &Command) -> bool {
    match command {
        Command::WriteZeroes { .. }
        | Command::DatasetManagement { .. }
        | Command::Verify { .. }
        | Command::Copy { .. } => true,
        Command::Flush | Command::Read { .. } | Command::Write { .. } | Command::Compare { .. } => {
            false
        }
    }
}

/// Executes Compare and Write of the same blocks as one: nothing else is written in between (Base
/// 2.0 §3.4.2).
pub fn execute_fused(
    namespace: &Namespace,
    extent: &Extent,
    expected: &[u8],
    data: &[u8],
    durable: bool,
) -> Executed {
    if namespace.is_read_only() {
        let protected = Completion::error(Status::NAMESPACE_WRITE_PROTECTED.dnr());
        return Executed::Fused(Completion::error(Status::FUSED_FAILED), protected);
    }
    let _alone = namespace.gate.write();
    if let Err(status) = compare(namespace, extent, expected) {
        return Executed::Fused(status.into(), Status::FUSED_FAILED.into());
    }
    let written = put(namespace, extent, data).and_then(|()| settle(namespace, durable));
    let written = written.map_or_else(Completion::error, |()| Completion::SUCCESS);
    Executed::Fused(Completion::SUCCESS, written)
}

fn read(namespace: &Namespace, extent: &Extent) -> Executed {
    let geometry = &namespace.geometry;
    let mut buffer = vec![0; length(extent.bytes(geometry))];
    match namespace.backend.read(extent.offset(geometry), &mut buffer) {
        Ok(()) => Executed::Data(buffer),
        Err(error) => Executed::Done(read_failed(namespace, &error).into()),
    }
}

fn write(namespace: &Namespace, extent: &Extent, data: &[u8]) -> Result<(), Status> {
    let _shared = namespace.gate.read();
    put(namespace, extent, data)
}

fn put(namespace: &Namespace, extent: &Extent, data: &[u8]) -> Result<(), Status> {
    let offset = extent.offset(&namespace.geometry);
    namespace
        .backend
        .write(offset, data)
        .map_err(|error| write_failed(namespace, &error))
}

/// Makes what was written durable, where that takes more than having written it.
fn settle(namespace: &Namespace, durable: bool) -> Result<(), Status> {
    if durable && namespace.character.volatile_cache {
        flush(namespace)
    } else {
        Ok(())
    }
}

fn flush(namespace: &Namespace) -> Result<(), Status> {
    namespace
        .backend
        .flush()
        .map_err(|error| write_failed(namespace, &error))
}

fn compare(namespace: &Namespace, extent: &Extent, expected: &[u8]) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    let mut found = vec![0; length(extent.bytes(geometry))];
    namespace
        .backend
        .read(extent.offset(geometry), &mut found)
        .map_err(|error| read_failed(namespace, &error))?;
    if found == expected {
        Ok(())
    } else {
        Err(Status::COMPARE_FAILURE.dnr())
    }
}

fn write_zeroes(namespace: &Namespace, extent: &Extent, deallocate: bool) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    let _shared = namespace.gate.read();
    namespace
        .backend
        .write_zeroes(extent.offset(geometry), extent.bytes(geometry), deallocate)
        .map_err(|error| write_failed(namespace, &error))
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
        let freed = namespace
            .backend
            .deallocate(extent.offset(geometry), extent.bytes(geometry));
        freed.map_err(|error| write_failed(namespace, &error))?;
    }
    Ok(())
}

fn verify(namespace: &Namespace, extent: &Extent, alive: &AtomicBool) -> Result<(), Status> {
    let geometry = &namespace.geometry;
    pieces(extent.offset(geometry), extent.bytes(geometry)).try_for_each(|(offset, bytes)| {
        still(alive)?;
        let mut buffer = vec![0; length(bytes)];
        let read = namespace.backend.read(offset, &mut buffer);
        read.map_err(|error| read_failed(namespace, &error))
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
            let read = namespace.backend.read(offset, &mut buffer);
            read.map_err(|error| read_failed(namespace, &error))?;
            let written = namespace.backend.write(to, &buffer);
            written.map_err(|error| write_failed(namespace, &error))?;
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

fn tell(namespace: &Namespace, error: &io::Error, what: &str) {
    if let Some(suppressed) = FAILURES.admit(Instant::now()) {
        warn!(suppressed = told(suppressed), device = %namespace.device, %error, "{what}");
    }
}

fn read_failed(namespace: &Namespace, error: &io::Error) -> Status {
    tell(namespace, error, "read failed");
    Status::UNRECOVERED_READ_ERROR
}

fn write_failed(namespace: &Namespace, error: &io::Error) -> Status {
    tell(namespace, error, "write failed");
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            Status::CAPACITY_EXCEEDED
        }
        io::ErrorKind::ReadOnlyFilesystem => Status::NAMESPACE_WRITE_PROTECTED,
        _ => Status::WRITE_FAULT,
    }
}

#[cfg(test)]
mod tests;
