//! RAM disks: zeroes until written, whatever their size.
//!
//! The disk is cut into chunks; a chunk that was never written, or was deallocated since, costs
//! nothing. Chunks live in hash maps with a lock each, so that queues meet only when they use the
//! same map. A chunk changes under its map's write lock: a reader sees all of a write within one
//! chunk or nothing of it. What frees or zeroes looks under that lock whether it is still wanted: so it
//! never undoes a write that came after it was given up. No memory left is an error of the write, not the end of the daemon, as
//! far as the system says no before it kills.

#![forbid(unsafe_code)]

use std::collections::{HashMap, TryReserveError};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{BLOCK_SIZE, Backend, Character, Geometry, length_of, within, writable};

/// A RAM disk. Its contents go with the last one of those that have them ([`Ram::resized`]).
#[derive(Debug)]
pub struct Ram {
    size: RamSize,
    read_only: bool,
    contents: Arc<Contents>,
}

#[derive(Debug)]
struct Contents {
    shards: Vec<RwLock<Chunks>>,
    /// Size of the largest disk that has them.
    largest: AtomicU64,
}

/// A RAM disk's size in bytes: a multiple of 512, not 0, and no larger than a file can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RamSize(u64);

impl RamSize {
    /// The size, or `None` if no RAM disk can have it.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        let good = bytes != 0
            && bytes.is_multiple_of(u64::from(BLOCK_SIZE))
            && i64::try_from(bytes).is_ok();
        good.then_some(Self(bytes))
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl Ram {
    /// An empty disk.
    pub fn new(size: RamSize) -> Self {
        Self {
            size,
            read_only: false,
            contents: Arc::new(Contents {
                shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
                largest: AtomicU64::new(size.0),
            }),
        }
    }

    /// The same disk in another size, with the same contents: what either writes, both read. What lies
    /// beyond a smaller size is lost.
    #[must_use]
    pub fn resized(&self, size: RamSize) -> Self {
        let contents = Arc::clone(&self.contents);
        contents.largest.fetch_max(size.0, Ordering::Relaxed);
        if size.0 < self.size.0 {
            // Within the size that it had.
            let wanted = AtomicBool::new(true);
            let _ = self.clear(size.0, self.size.0 - size.0, &wanted);
        }
        Self {
            size,
            read_only: self.read_only,
            contents,
        }
    }

    /// The same, written by nobody if so: a disk of zeroes.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Bytes of memory that hold data now.
    pub fn resident_bytes(&self) -> u64 {
        let chunks = |shard| Self::shared(shard).len() as u64;
        self.contents.shards.iter().map(chunks).sum::<u64>() * CHUNK
    }

    fn shard(&self, chunk: u64) -> &RwLock<Chunks> {
        // The remainder is below SHARDS, which is the length.
        &self.contents.shards[(chunk % SHARDS) as usize]
    }

    // A panic cannot leave a chunk half made, so a poisoned lock is as good as any.
    fn shared(shard: &RwLock<Chunks>) -> RwLockReadGuard<'_, Chunks> {
        shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(shard: &RwLock<Chunks>) -> RwLockWriteGuard<'_, Chunks> {
        shard.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Zeroes a range: whole chunks are freed, the rest is overwritten where there is something.
    fn clear(&self, offset: u64, length: u64, wanted: &AtomicBool) -> io::Result<()> {
        within(self.size.0, offset, length)?;
        let end = offset + length;
        // The last chunk may be cut short by the disk's end and is whole all the same.
        let cut = if end >= self.contents.largest.load(Ordering::Relaxed) {
            end.div_ceil(CHUNK)
        } else {
            end / CHUNK
        };
        let whole = offset.div_ceil(CHUNK)..cut;
        if whole.is_empty() {
            self.blank(offset, length, wanted);
        } else {
            let (from, to) = (whole.start * CHUNK, whole.end * CHUNK);
            self.blank(offset, from - offset, wanted);
            self.free(whole, wanted);
            self.blank(to, end.saturating_sub(to), wanted);
        }
        Ok(())
    }

    /// The lock of a shard, for what is undone there if it is still wanted. Looked at under the lock: who
    /// came after it was given up comes after this, or has been here.
    fn exclusive_if<'a>(
        shard: &'a RwLock<Chunks>,
        wanted: &AtomicBool,
    ) -> Option<RwLockWriteGuard<'a, Chunks>> {
        let chunks = Self::exclusive(shard);
        wanted.load(Ordering::Acquire).then_some(chunks)
    }

    fn blank(&self, offset: u64, length: u64, wanted: &AtomicBool) {
        for piece in pieces(offset, length) {
            let Some(mut chunks) = Self::exclusive_if(self.shard(piece.chunk), wanted) else {
                return;
            };
            if let Some(data) = chunks.get_mut(&piece.chunk) {
                data[piece.within()].fill(0);
            }
        }
    }

    /// Frees chunks, in time that the range or what is written bounds, whichever is less.
    fn free(&self, chunks: Range<u64>, wanted: &AtomicBool) {
        let count = chunks.end - chunks.start;
        if count <= SHARDS {
            for chunk in chunks {
                let Some(mut map) = Self::exclusive_if(self.shard(chunk), wanted) else {
                    return;
                };
                let freed = map.remove(&chunk);
                drop(map);
                drop(freed);
            }
            return;
        }
        for (shard, first) in self.contents.shards.iter().zip(0..) {
            let Some(mut map) = Self::exclusive_if(shard, wanted) else {
                return;
            };
            if count / SHARDS < map.len() as u64 {
                let skipped = (SHARDS + first - chunks.start % SHARDS) % SHARDS;
                let mut chunk = chunks.start + skipped;
                while chunk < chunks.end {
                    map.remove(&chunk);
                    chunk += SHARDS;
                }
            } else {
                map.retain(|chunk, _| !chunks.contains(chunk));
            }
        }
    }
}

impl Backend for Ram {
    fn geometry(&self) -> Geometry {
        Geometry {
            blocks: self.size.0 / u64::from(BLOCK_SIZE),
            block_size: BLOCK_SIZE,
        }
    }

    fn character(&self) -> Character {
        Character {
            blocking: false,
            volatile_cache: false,
            can_deallocate: !self.read_only,
            zeroes_after_deallocate: !self.read_only,
            preferred_bytes: PAGE,
            read_only: self.read_only,
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        within(self.size.0, offset, length_of(into))?;
        let mut rest = into;
        for piece in pieces(offset, length_of(rest)) {
            let (part, after) = rest.split_at_mut(piece.length);
            match Self::shared(self.shard(piece.chunk)).get(&piece.chunk) {
                Some(data) => part.copy_from_slice(&data[piece.within()]),
                None => part.fill(0),
            }
            rest = after;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        writable(self.read_only)?;
        within(self.size.0, offset, length_of(data))?;
        let mut rest = data;
        for piece in pieces(offset, length_of(data)) {
            let (part, after) = rest.split_at(piece.length);
            let mut map = Self::exclusive(self.shard(piece.chunk));
            match map.get_mut(&piece.chunk) {
                Some(data) => data[piece.within()].copy_from_slice(part),
                None => {
                    map.try_reserve(1).map_err(no_memory)?;
                    map.insert(piece.chunk, piece.fresh(part)?);
                }
            }
            rest = after;
        }
        Ok(())
    }

    fn write_zeroes(
        &self,
        offset: u64,
        length: u64,
        _may_deallocate: bool,
        wanted: &AtomicBool,
    ) -> io::Result<()> {
        writable(self.read_only)?;
        // Chunks that are all zeroes are not kept, allocated or not: nobody can tell.
        self.clear(offset, length, wanted)
    }

    fn deallocate(&self, offset: u64, length: u64, wanted: &AtomicBool) -> io::Result<()> {
        writable(self.read_only)?;
        self.clear(offset, length, wanted)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The chunks of one shard that hold data, each [`CHUNK`] bytes.
///
/// The hosts choose the keys: the standard, seeded hash keeps them from choosing collisions.
type Chunks = HashMap<u64, Box<[u8]>>;

/// The part of a range that lies in one chunk.
struct Piece {
    chunk: u64,
    start: usize,
    length: usize,
}

impl Piece {
    fn within(&self) -> Range<usize> {
        self.start..self.start + self.length
    }

    /// A chunk with `data` in this place and zeroes around it.
    fn fresh(&self, data: &[u8]) -> io::Result<Box<[u8]>> {
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(CHUNK_BYTES).map_err(no_memory)?;
        chunk.resize(self.start, 0);
        chunk.extend_from_slice(data);
        chunk.resize(CHUNK_BYTES, 0);
        Ok(chunk.into_boxed_slice())
    }
}

/// Memory is the space of a disk that is made of it.
fn no_memory(error: TryReserveError) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, error)
}

/// Cuts a range at the borders of chunks.
fn pieces(offset: u64, length: u64) -> impl Iterator<Item = Piece> {
    let end = offset + length;
    let mut at = offset;
    std::iter::from_fn(move || {
        let start = (at % CHUNK) as usize;
        let length = usize::try_from(end - at)
            .unwrap_or(CHUNK_BYTES)
            .min(CHUNK_BYTES - start);
        let piece = Piece {
            chunk: at / CHUNK,
            start,
            length,
        };
        at += length as u64;
        (length != 0).then_some(piece)
    })
}

/// Bytes of a chunk: large enough that a map of them stays small, small enough to be allocated
/// for a first 4 KiB write.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNK: u64 = CHUNK_BYTES as u64;

/// Maps with a lock each; neighbouring chunks lie in different ones.
const SHARDS: u64 = 64;

/// What requests are best multiples of.
pub(super) const PAGE: u32 = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::{self, WANTED};
    use super::*;

    fn ram(bytes: u64) -> Ram {
        Ram::new(RamSize::from_bytes(bytes).unwrap())
    }

    fn read(ram: &Ram, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0xee; length];
        ram.read(offset, &mut data).unwrap();
        data
    }

    #[test]
    fn sizes_that_no_disk_can_have() {
        for bad in [0, 1, 511, 513, 1 << 63, u64::MAX, u64::MAX - 511] {
            assert_eq!(RamSize::from_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_huge_disk_costs_what_is_written() {
        let ram = ram(4 << 50);
        assert_eq!(read(&ram, (4 << 50) - 512, 512), [0; 512]);
        assert_eq!(ram.resident_bytes(), 0);
        ram.write((4 << 50) - 4096, &[7; 4096]).unwrap();
        assert_eq!(ram.resident_bytes(), CHUNK);
        assert_eq!(read(&ram, (4 << 50) - 4096, 4096), [7; 4096]);
        assert_eq!(read(&ram, (4 << 50) - 8192, 4096), [0; 4096]);
    }

    #[test]
    fn another_size_has_the_same_contents_as_far_as_it_goes() {
        let size = |bytes| RamSize::from_bytes(bytes).unwrap();
        let small = ram(CHUNK + 512);
        small.write(CHUNK, &[1; 512]).unwrap();
        let large = small.resized(size(4 * CHUNK));
        assert_eq!(read(&large, CHUNK, 512), [1; 512]);
        large.write(CHUNK + 512, &[2; 512]).unwrap();
        large.write(3 * CHUNK, &[3; 512]).unwrap();
        // Who still has the smaller one frees no more than its own.
        small.deallocate(0, CHUNK + 512, &WANTED).unwrap();
        assert_eq!(read(&large, CHUNK, 1024), [[0; 512], [2; 512]].concat());
        let cut = large.resized(size(2 * CHUNK));
        assert_eq!(read(&cut, CHUNK + 512, 512), [2; 512]);
        let again = cut.resized(size(4 * CHUNK));
        assert_eq!(read(&again, 3 * CHUNK, 512), [0; 512], "it was lost");
        assert_eq!(again.resident_bytes(), CHUNK);
    }

    #[test]
    fn what_is_given_up_undoes_nothing_that_is_written_since() {
        let ram = ram(4 << 50);
        // Some of a chunk, few chunks, and many.
        for (offset, length) in [(512, 512), (CHUNK, 8 * CHUNK), (0, 1 << 50)] {
            let wanted = AtomicBool::new(true);
            let at = offset + length - 512;
            ram.write(at, &[1; 512]).unwrap();
            std::thread::scope(|scope| {
                // It waits for this shard, and is given up meanwhile.
                let shard = Ram::exclusive(ram.shard(at / CHUNK));
                let late = [true, false].map(|deallocates| {
                    let (ram, wanted) = (&ram, &wanted);
                    scope.spawn(move || match deallocates {
                        true => ram.deallocate(offset, length, wanted),
                        false => ram.write_zeroes(offset, length, true, wanted),
                    })
                });
                wanted.store(false, Ordering::Release);
                drop(shard);
                ram.write(at, &[2; 512]).unwrap();
                for late in late {
                    assert!(late.join().unwrap().is_ok());
                }
            });
            assert_eq!(read(&ram, at, 512), [2; 512]);
            // Nor one that comes later still.
            ram.deallocate(offset, length, &wanted).unwrap();
            assert_eq!(read(&ram, at, 512), [2; 512]);
        }
    }

    #[test]
    fn deallocating_everything_ends_at_once_and_frees_everything() {
        let ram = ram(4 << 50);
        for at in [0, 1 << 30, 3 << 50, (4 << 50) - 512] {
            ram.write(at, &[1; 512]).unwrap();
        }
        ram.deallocate(0, 4 << 50, &WANTED).unwrap();
        assert_eq!(ram.resident_bytes(), 0);
        assert_eq!(read(&ram, 3 << 50, 512), [0; 512]);
    }

    #[test]
    fn deallocating_much_of_a_full_disk_frees_just_that() {
        let ram = ram(400 * CHUNK);
        ram.write(0, &vec![1; 400 * CHUNK_BYTES]).unwrap();
        ram.deallocate(7 * CHUNK + 512, 300 * CHUNK, &WANTED)
            .unwrap();
        assert_eq!(ram.resident_bytes(), 101 * CHUNK);
        let data = read(&ram, 0, 400 * CHUNK_BYTES);
        let zeroed = 7 * CHUNK_BYTES + 512..307 * CHUNK_BYTES + 512;
        assert!(
            (0..)
                .zip(&data)
                .all(|(at, &byte)| (byte == 0) == zeroed.contains(&at))
        );
    }

    #[test]
    fn the_last_chunk_may_be_short() {
        let ram = ram(CHUNK + 512);
        ram.write(0, &[9; CHUNK_BYTES + 512]).unwrap();
        ram.write_zeroes(CHUNK, 512, true, &WANTED).unwrap();
        assert_eq!(ram.resident_bytes(), CHUNK);
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let ram = ram(model::SIZE as u64);
        model::check_bounds(&ram);
        assert_eq!(ram.resident_bytes(), 0);
    }

    #[test]
    fn readers_never_see_half_a_write_within_a_chunk() {
        let ram = ram(1 << 20);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for fill in (0..=u8::MAX).cycle().take(2000) {
                    ram.write(4096, &[fill; 8192]).unwrap();
                }
            });
            for _ in 0..2000 {
                let data = read(&ram, 4096, 8192);
                assert!(data.iter().all(|&byte| byte == data[0]));
            }
        });
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(ops in model::ops()) {
            model::check(&ram(model::SIZE as u64), ops);
        }
    }
}
