//! What blocks may hold, by what their one writer was answered.
//!
//! An [`Extent`] belongs to one queue, which writes nothing twice: each write has a version of its own, and
//! each block says whose it is, where it belongs and which version it is of. A block is [`Block::Known`] when
//! its last write was acknowledged. What was under way when a connection ended may have happened or not, block
//! by block: the block is [`Block::Unsure`] until a read shows which. That read must begin when nothing can
//! happen any more ([`SETTLED`]); until then nothing is written there either, because the next write's data
//! could be overtaken by the lost one's, which no target can prevent and every host must wait for.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use nvmfd_tests::peer::BLOCK;

/// Bytes of a block.
pub(crate) const BYTES: usize = BLOCK as usize;

/// What a write that has begun may take after its connection has ended. The daemon drops what has not begun;
/// what has is one system call.
pub(crate) const SETTLED: Duration = Duration::from_secs(4);

/// Which write a block is of; [`ZEROES`] for none.
pub(crate) type Version = u64;

/// What was never written, or was deallocated.
pub(crate) const ZEROES: Version = 0;

/// What is written first.
pub(crate) const FIRST: Version = 1;

/// What is known of a block.
#[derive(Clone, Debug)]
enum Block {
    /// It is of this version.
    Known(Version),
    /// It is of one of these; since when nobody waits for the write that made it so.
    Unsure(Vec<Version>, Instant),
}

/// Blocks that one queue alone writes.
#[derive(Debug)]
pub(crate) struct Extent {
    /// Whose it is, in each block.
    owner: u32,
    /// Its namespace.
    pub(crate) nsid: u32,
    /// Its first block there.
    first: u64,
    blocks: Vec<Block>,
    last: Version,
}

/// What blocks hold that they may not.
#[derive(Debug)]
pub(crate) struct Corruption {
    nsid: u32,
    lba: u64,
    may: Vec<Version>,
    found: String,
}

/// How doubts were resolved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resolved {
    /// What was lost had not happened.
    pub(crate) old: u64,
    /// It had.
    pub(crate) new: u64,
}

impl Extent {
    /// One of zeroes.
    pub(crate) fn new(owner: u32, nsid: u32, first: u64, blocks: usize) -> Self {
        Self {
            owner,
            nsid,
            first,
            blocks: vec![Block::Known(ZEROES); blocks],
            last: ZEROES,
        }
    }

    /// How many blocks it has.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The block of the namespace that one of its blocks is.
    pub(crate) fn lba(&self, block: usize) -> u64 {
        self.first + block as u64
    }

    /// A version that nothing has yet.
    pub(crate) fn next_version(&mut self) -> Version {
        self.last += 1;
        self.last
    }

    /// Blocks as a write of this version has them.
    pub(crate) fn data(&self, range: Range<usize>, version: Version) -> Vec<u8> {
        let mut data = Vec::with_capacity(range.len() * BYTES);
        for block in range {
            data.extend(self.content(block, version));
        }
        data
    }

    /// What the blocks hold, if that is known of all of them.
    pub(crate) fn known(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let mut data = Vec::with_capacity(range.len() * BYTES);
        for block in range {
            match &self.blocks[block] {
                Block::Known(version) => data.extend(self.content(block, *version)),
                Block::Unsure(..) => return None,
            }
        }
        Some(data)
    }

    fn content(&self, block: usize, version: Version) -> Vec<u8> {
        if version == ZEROES {
            return vec![0; BYTES];
        }
        let mut word = [0; WORD];
        word[..4].copy_from_slice(&self.owner.to_le_bytes());
        word[4..8].copy_from_slice(&self.lba(block).to_le_bytes()[..4]);
        word[8..].copy_from_slice(&version.to_le_bytes());
        word.repeat(BYTES / WORD)
    }

    /// A write of this version was acknowledged.
    pub(crate) fn written(&mut self, range: Range<usize>, version: Version) {
        self.blocks[range].fill(Block::Known(version));
    }

    /// A write of this version was under way when its connection ended.
    pub(crate) fn lost(&mut self, range: Range<usize>, version: Version, now: Instant) {
        for block in &mut self.blocks[range] {
            let mut may = match block {
                Block::Known(old) => vec![*old],
                Block::Unsure(may, _) => std::mem::take(may),
            };
            may.push(version);
            *block = Block::Unsure(may, now);
        }
    }

    /// Whether what the blocks hold can still change by itself.
    pub(crate) fn settles(&self, range: Range<usize>, now: Instant) -> bool {
        let unsettled = |block: &Block| match block {
            Block::Known(_) => false,
            Block::Unsure(_, since) => now.duration_since(*since) < SETTLED,
        };
        self.blocks[range].iter().any(unsettled)
    }

    /// Judges what a read that began at `asked` found, and learns from it.
    pub(crate) fn read(
        &mut self,
        range: Range<usize>,
        data: &[u8],
        asked: Instant,
    ) -> Result<Resolved, Corruption> {
        let mut resolved = Resolved::default();
        for (block, found) in range.zip(data.chunks_exact(BYTES)) {
            let may = match &self.blocks[block] {
                Block::Known(version) => std::slice::from_ref(version),
                Block::Unsure(may, _) => may.as_slice(),
            };
            let is = |version: &&Version| self.content(block, **version) == found;
            let Some(&version) = may.iter().find(is) else {
                return Err(Corruption {
                    nsid: self.nsid,
                    lba: self.lba(block),
                    may: may.to_vec(),
                    found: describe(found),
                });
            };
            if let Block::Unsure(may, since) = &self.blocks[block]
                && asked.duration_since(*since) >= SETTLED
            {
                match may.first() == Some(&version) {
                    true => resolved.old += 1,
                    false => resolved.new += 1,
                }
                self.blocks[block] = Block::Known(version);
            }
        }
        Ok(resolved)
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            nsid,
            lba,
            may,
            found,
        } = self;
        write!(
            f,
            "namespace {nsid}, block {lba}: may be of version {may:?}, but is {found}"
        )
    }
}

/// What a block seems to be.
fn describe(found: &[u8]) -> String {
    let (words, _) = found.as_chunks::<WORD>();
    if found.iter().all(|byte| *byte == 0) {
        return "zeroes".into();
    }
    let [a, b, c, d, e, f, g, h, version @ ..] = words[0];
    let owner = u32::from_le_bytes([a, b, c, d]);
    let lba = u32::from_le_bytes([e, f, g, h]);
    let version = u64::from_le_bytes(version);
    let whole = match words.iter().position(|word| *word != words[0]) {
        None => String::new(),
        Some(at) => format!(" up to its byte {}", at * WORD),
    };
    format!("owner {owner}'s block {lba} of version {version}{whole}")
}

/// Bytes of what repeats in a block.
const WORD: usize = 16;
