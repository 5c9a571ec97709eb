//! What a process holds, as Linux counts it in /proc.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

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

    /// What it holds once nothing happens any more.
    pub fn settled(pid: u32) -> Option<Self> {
        let mut last = Self::of(pid)?;
        loop {
            sleep(Duration::from_millis(200));
            let now = Self::of(pid)?;
            if now == last {
                return Some(now);
            }
            last = now;
        }
    }
}

/// How long a process has been on a core, those of its threads that have ended included: to the tick,
/// which is ten milliseconds everywhere (USER_HZ).
pub fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, a name in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some(Duration::from_millis((user + system) * 10))
}

/// The number behind a line's name.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
