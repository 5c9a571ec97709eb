//! What the daemon holds, sample by sample, and whether that grows.

use std::fmt;
use std::time::{Duration, Instant};

use nvmfd::control::message::{Answer, Request};
use nvmfd_tests::operator;
use nvmfd_tests::target::Target;
use nvmfd_tests::usage::Usage;
use serde_json::{Value, json};

/// The daemon at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    at: Duration,
    monitor: Usage,
    worker: Usage,
    associations: usize,
    negotiating: u64,
}

/// A figure of a sample: its name, what it is, and how much more at the end is no growth.
type Figure = (&'static str, fn(&Sample) -> f64, Slack);

/// What is within chance: so many more, or this part more.
#[derive(Clone, Copy, Debug)]
struct Slack {
    absolute: f64,
    part: f64,
}

/// Memory in MiB. Hosts come and go, so that a window's middle is compared, and what is compared may differ
/// by some hosts; a leak of a descriptor or of a page for each of thousands of connections is far beyond that.
const FIGURES: [Figure; 8] = [
    (
        "worker RSS, MiB",
        |it| mebibytes(it.worker.resident),
        HOSTS_MEMORY,
    ),
    (
        "worker descriptors",
        |it| count(it.worker.descriptors),
        Slack {
            absolute: 40.0,
            part: 0.2,
        },
    ),
    (
        // Each namespace has its own, and namespaces come and go.
        "worker threads",
        |it| count(it.worker.threads),
        Slack {
            absolute: 40.0,
            part: 0.0,
        },
    ),
    (
        "monitor RSS, MiB",
        |it| mebibytes(it.monitor.resident),
        MEMORY,
    ),
    (
        "monitor descriptors",
        |it| count(it.monitor.descriptors),
        FEW,
    ),
    ("monitor threads", |it| count(it.monitor.threads), FEW),
    (
        "associations",
        |it| count(it.associations),
        Slack {
            absolute: 10.0,
            part: 0.5,
        },
    ),
    (
        "in negotiation",
        |it| u32::try_from(it.negotiating).map_or(f64::MAX, f64::from),
        Slack {
            absolute: 40.0,
            part: 0.5,
        },
    ),
];

/// What allocators keep is not the same twice.
const MEMORY: Slack = Slack {
    absolute: 12.0,
    part: 0.08,
};

/// The same where hosts are. With one arena of the C library's (`MALLOC_ARENA_MAX=1`) it is flat within 1 MiB; with
/// many it rises ever more slowly, 20 MiB in eleven minutes and 2 in the last three, for each meets its largest
/// load by chance. The share of memory that each controller has, kept for the thousand of five minutes, would be 50.
const HOSTS_MEMORY: Slack = Slack {
    absolute: 32.0,
    part: 0.1,
};

/// What reloads make and unmake.
const FEW: Slack = Slack {
    absolute: 12.0,
    part: 0.0,
};

/// All samples.
#[derive(Debug)]
pub(crate) struct Gauge {
    began: Instant,
    worker: u32,
    samples: Vec<Sample>,
}

impl Gauge {
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            began: Instant::now(),
            worker: target.worker(),
            samples: Vec::new(),
        }
    }

    /// Looks; what is wrong already.
    pub(crate) fn look(&mut self, target: &Target) -> Result<Sample, String> {
        let status = operator::status(&target.socket());
        if status.worker.pid != Some(self.worker) || status.worker.restarts != 0 {
            return Err(format!("the worker has ended: {:?}", status.worker));
        }
        let answer = target.ask(Request::Sessions);
        let Answer::Sessions(sessions) = answer else {
            return Err(format!("no sessions but {answer:?}"));
        };
        let usage = |pid| Usage::of(pid).ok_or_else(|| format!("no /proc of process {pid}"));
        let sample = Sample {
            at: self.began.elapsed(),
            monitor: usage(target.pid())?,
            worker: usage(self.worker)?,
            associations: sessions.sessions.len(),
            negotiating: status.negotiating,
        };
        self.samples.push(sample);
        Ok(sample)
    }

    /// The first part of the time against the last.
    pub(crate) fn trends(&self) -> Vec<Trend> {
        let Some(whole) = self.samples.last().map(|it| it.at) else {
            return Vec::new();
        };
        let window = (whole / 4).min(Duration::from_secs(60));
        let first: Vec<_> = self.samples.iter().filter(|it| it.at <= window).collect();
        let last = self.samples.iter().filter(|it| it.at + window >= whole);
        let last: Vec<_> = last.collect();
        let trend = |&(name, figure, slack): &Figure| {
            let of = |samples: &[&Sample]| median(samples.iter().map(|it| figure(it)).collect());
            let (first, last) = (of(&first), of(&last));
            let points = self.samples.iter();
            let points = points.map(|it| (it.at.as_secs_f64() / 3600.0, figure(it)));
            Trend {
                name,
                first,
                last,
                slope: slope(&points.collect::<Vec<_>>()),
                flat: last <= first + slack.absolute.max(first * slack.part),
            }
        };
        FIGURES.iter().map(trend).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let sample = |it: &Sample| {
            let mut object = json!({"seconds": it.at.as_secs_f64()});
            for (name, figure, _) in FIGURES {
                object[name] = figure(it).into();
            }
            object
        };
        self.samples.iter().map(sample).collect()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s: worker {:.0} MiB, {} descriptors, {} threads; {} associations",
            self.at.as_secs(),
            mebibytes(self.worker.resident),
            self.worker.descriptors,
            self.worker.threads,
            self.associations
        )
    }
}

/// A figure over the time.
#[derive(Debug)]
pub(crate) struct Trend {
    pub(crate) name: &'static str,
    /// In the middle of the first window, and of the last.
    pub(crate) first: f64,
    pub(crate) last: f64,
    /// In an hour, as all samples have it.
    pub(crate) slope: f64,
    pub(crate) flat: bool,
}

impl Trend {
    pub(crate) fn json(&self) -> Value {
        json!({
            "figure": self.name,
            "first": self.first,
            "last": self.last,
            "per-hour": self.slope,
            "flat": self.flat,
        })
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            first,
            last,
            slope,
            flat,
        } = self;
        let verdict = if *flat { "flat" } else { "GROWS" };
        write!(
            f,
            "{name:<22}{first:>10.1}{last:>10.1}{slope:>+14.1}  {verdict}"
        )
    }
}

/// By least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = count(points.len());
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let covariance: f64 = points.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    let variance: f64 = points.iter().map(|it| (it.0 - x).powi(2)).sum();
    if variance == 0.0 {
        return 0.0;
    }
    covariance / variance
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn mebibytes(kibibytes: u64) -> f64 {
    u32::try_from(kibibytes).map_or(f64::MAX, |it| f64::from(it) / 1024.0)
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
