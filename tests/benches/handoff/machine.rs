//! Cores, and who had them for how long. Linux counts it in /proc; elsewhere nothing is known.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Ticks a second in /proc, the same on every machine (USER_HZ).
const TICKS: u64 = 100;

/// Keeps all threads of a process, and those that they start, on one core. Whether that was possible.
pub(crate) fn pin(pid: u32, core: usize) -> bool {
    let (pid, core) = (pid.to_string(), core.to_string());
    let pins = [
        ("taskset", vec!["-a", "-c", "-p", &core, &pid]),
        // FreeBSD's.
        ("cpuset", vec!["-l", &core, "-p", &pid]),
    ];
    pins.iter().any(|(program, arguments)| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// What a process has had of its core so far, or has had meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent(BTreeMap<String, Share>);

/// What threads of one name have had.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    /// On the core.
    pub(crate) time: Duration,
    /// How often they were given it.
    pub(crate) turns: u64,
}

impl Spent {
    /// Of a process that does nothing just now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let mut spent = BTreeMap::<_, Share>::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let thread = entry.ok()?.path();
            let name = fs::read_to_string(thread.join("comm")).ok()?;
            // On the core, and waiting for it, in nanoseconds; how often it was given.
            let text = fs::read_to_string(thread.join("schedstat")).ok()?;
            let mut numbers = text.split_whitespace().map_while(|it| it.parse().ok());
            let share = spent.entry(name.trim().to_owned()).or_default();
            share.time += Duration::from_nanos(numbers.next()?);
            share.turns += numbers.nth(1)?;
        }
        Some(Self(spent))
    }

    /// What was spent since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let later = self.0.iter().map(|(name, share)| {
            let before = before.0.get(name).copied().unwrap_or_default();
            let time = share.time.saturating_sub(before.time);
            let turns = share.turns.saturating_sub(before.turns);
            (name.clone(), Share { time, turns })
        });
        Self(later.collect())
    }

    /// Of the threads whose name begins so; of all that is everything.
    pub(crate) fn on(&self, name: &str) -> Share {
        let named = self.0.iter().filter(|(it, _)| it.starts_with(name));
        named.fold(Share::default(), |sum, (_, share)| Share {
            time: sum.time + share.time,
            turns: sum.turns + share.turns,
        })
    }
}

/// Watches what other programs have of the machine.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    /// Of everybody, and of processes of ours; in ticks.
    busy: u64,
    ours: u64,
}

impl Watch {
    /// From now on.
    pub(crate) fn start(ours: &[u32]) -> Option<Self> {
        Some(Self {
            began: Instant::now(),
            busy: busy()?,
            ours: ticks_of(ours),
        })
    }

    /// Cores that others than the same processes had since, in the mean.
    pub(crate) fn others(&self, ours: &[u32]) -> Option<f64> {
        let all = busy()?.saturating_sub(self.busy);
        let mine = ticks_of(ours).saturating_sub(self.ours);
        let others = u32::try_from(all.saturating_sub(mine)).ok()?;
        let ticks = self.began.elapsed().as_secs_f64() * f64::from(u32::try_from(TICKS).ok()?);
        Some(f64::from(others) / ticks)
    }
}

/// Ticks of all cores that were not idle.
fn busy() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let mut fields = stat.lines().next()?.split_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal
    let mut next = || fields.next()?.parse::<u64>().ok();
    let running = next()? + next()? + next()?;
    let (_idle, _iowait) = (next()?, next()?);
    Some(running + next()? + next()? + next()?)
}

/// Ticks of these processes.
fn ticks_of(processes: &[u32]) -> u64 {
    let ticks = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, a name in parentheses, may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(next()? + next()?)
    };
    processes.iter().filter_map(ticks).sum()
}
