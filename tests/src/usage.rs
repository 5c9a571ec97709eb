//! What a process holds, as Linux counts it in /proc.

use std::fs;

/// Descriptors, threads and memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory, in KiB.
    pub resident: u64,
    /// Resident memory, that shared with other processes divided among them, in KiB.
    pub proportional: u64,
}

impl Usage {
    /// Of the process `pid`; `None` where there is no such thing.
    pub fn of(pid: u32) -> Option<Self> {
        let process = format!("/proc/{pid}");
        let status = fs::read_to_string(format!("{process}/status")).ok()?;
        let smaps = fs::read_to_string(format!("{process}/smaps_rollup")).ok()?;
        Some(Self {
            descriptors: fs::read_dir(format!("{process}/fd")).ok()?.count(),
            threads: usize::try_from(field(&status, "Threads:")?).ok()?,
            resident: field(&smaps, "Rss:")?,
            proportional: field(&smaps, "Pss:")?,
        })
    }
}

/// The number behind a line's name.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
