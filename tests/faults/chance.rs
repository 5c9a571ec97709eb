//! Chance that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Has the seed, if a story shall be told again.
const SEED: &str = "NVMFD_SEED";

/// Says `long` if stories shall be.
const LENGTH: &str = "NVMFD_FAULTS";

/// How many of what is `few` in CI: more where somebody has the time.
pub(crate) fn number(few: usize, many: usize) -> usize {
    match std::env::var(LENGTH) {
        Ok(length) if length == "long" => many,
        Ok(_) | Err(_) => few,
    }
}

/// Numbers from a seed (SplitMix64, by its published constants).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// From the seed of the environment, or another each time. It is printed, which a test that fails
    /// shows.
    pub(crate) fn new() -> Self {
        let given = std::env::var(SEED).ok().and_then(|it| it.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(1, |now| u64::from(now.subsec_nanos()))
        });
        println!("to tell it again: {SEED}={seed}");
        Self(seed)
    }

    /// Another that goes its own way: for thread `number`.
    pub(crate) fn branch(&self, number: u64) -> Self {
        let mut branch = Self(self.0.wrapping_add(number));
        Self(branch.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of the numbers below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("64 bits");
        usize::try_from(self.next() % end).expect("no more than it was")
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, those: &[T]) -> T {
        those[self.below(those.len())]
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
