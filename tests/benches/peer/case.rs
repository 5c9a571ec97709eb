//! What is measured.

use std::fmt;

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the host.
    Read,
    /// To the target.
    Write,
}

/// One load: random places, one queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) direction: Direction,
    /// Bytes of each command.
    pub(crate) length: u32,
    /// Commands outstanding.
    pub(crate) depth: u16,
    /// Header and data digests.
    pub(crate) digests: bool,
}

impl Case {
    /// All of them: 4 KiB at three depths, 128 KiB at one; both ways; without digests and with both.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [false, true].into_iter().flat_map(|digests| {
            [(4096, 1), (4096, 32), (4096, 128), (131_072, 32)]
                .into_iter()
                .flat_map(move |(length, depth)| {
                    [Direction::Read, Direction::Write].map(|direction| Self {
                        direction,
                        length,
                        depth,
                        digests,
                    })
                })
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        };
        let (kib, depth) = (self.length / 1024, self.depth);
        let digests = if self.digests { ", digests" } else { "" };
        write!(f, "{kib} KiB {direction}, QD {depth}{digests}")
    }
}
