//! `bench`: queues and threads for a load, and the figures.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{range, whole_blocks};
use crate::host::bench::{Done, Failure, Load};
use crate::host::cli::{Bench, Workload};
use crate::host::controller::Controller;
use crate::host::disk;
use crate::host::error::HostError;
use crate::host::facts::ControllerFacts;
use crate::host::latency::{Latencies, Percentiles};
use crate::host::qpair::Qpair;
use crate::host::report::{Form, mib_per_second};
use crate::host::stop::Stop;
use crate::host::subsystem;

pub(in super::super) fn run(asked: &Bench, form: Form, stop: &Stop) -> Result<(), HostError> {
    if asked.workload != Workload::Read && !asked.destroy_data {
        let message = "writing destroys what the namespace holds; allow it with --destroy-data";
        return Err(HostError::Choice {
            message: message.into(),
        });
    }
    let work = |it: &Controller| bench(asked, it);
    let figures = subsystem::with(&asked.namespace.subsystem, stop, work)?;
    form.show(&figures)
}

fn bench(asked: &Bench, controller: &Controller) -> Result<Figures, HostError> {
    let its = &asked.namespace;
    let facts = ControllerFacts::of(controller)?;
    let load = plan(asked, controller, &facts)?;
    let granted = controller.request_queues(asked.queues)?;
    let mut queues = Vec::new();
    for qid in 1..=granted {
        queues.push((
            qid,
            controller.io_queue(qid, its.queue_size, facts.in_capsule)?,
        ));
    }
    let depth = queues
        .first_mut()
        .map_or(0, |(_, queue)| queue.queue().room());
    let loads: Vec<Load> = parts(&load, granted);
    let begin = Instant::now();
    let end = begin + asked.time;
    let results = thread::scope(|scope| {
        let start = |((qid, mut queue), load): ((u16, Qpair), Load)| {
            let thread = thread::Builder::new().name(format!("queue {qid}"));
            let run = move || {
                let result = load.run(&mut queue, end, controller.stop());
                result.map_err(|failure| match failure {
                    Failure::Queue(error) => controller.io_ended(qid, error),
                    Failure::Command(error) => error,
                })
            };
            thread.spawn_scoped(scope, run)
        };
        let threads: Vec<_> = queues.into_iter().zip(loads).map(start).collect();
        let join = |thread: std::io::Result<thread::ScopedJoinHandle<'_, _>>| match thread {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(HostError::nonsense("a thread of ours failed"))),
            Err(source) => Err(HostError::System {
                what: "start a thread",
                source,
            }),
        };
        threads
            .into_iter()
            .map(join)
            .collect::<Result<Vec<Done>, _>>()
    })?;
    let ran = begin.elapsed().min(asked.time);
    Ok(Figures::of(asked, granted, depth, ran, &results))
}

/// What all queues do together.
fn plan(
    asked: &Bench,
    controller: &Controller,
    facts: &ControllerFacts,
) -> Result<Load, HostError> {
    let namespace = disk::namespace(controller, asked.namespace.nsid)?;
    let wish = u32::try_from(asked.block_size).unwrap_or(u32::MAX);
    whole_blocks("the block size", asked.block_size, &namespace)?;
    whole_blocks("the offset", asked.offset, &namespace)?;
    let piece = disk::piece(facts, &namespace, wish)?;
    if u64::from(piece) != asked.block_size || wish > BLOCK_MAX {
        let most = piece.min(BLOCK_MAX);
        let message =
            format!("one command moves at most {most} bytes here; use that as block size");
        return Err(HostError::unfit(message));
    }
    if asked.workload != Workload::Read && namespace.read_only {
        let nsid = namespace.nsid;
        return Err(HostError::unfit(format!("namespace {nsid} is read-only")));
    }
    let range = range(&namespace, asked.offset, asked.length)?;
    let share = (range.end - range.start) / u64::from(asked.queues);
    if share < asked.block_size {
        let message = "the part that is used has no room for a block of each queue";
        return Err(HostError::unfit(message));
    }
    Ok(Load {
        namespace,
        range,
        length: wish,
        depth: asked.depth.into(),
        sequential: asked.sequential,
        reads: match asked.workload {
            Workload::Read => 100,
            Workload::Write => 0,
            Workload::Mixed => asked.reads,
        },
        seed: 0,
    })
}

/// Each queue's load: in sequence a part of its own, at random everywhere.
fn parts(load: &Load, queues: u16) -> Vec<Load> {
    let Range { start, end } = load.range;
    let length = u64::from(load.length);
    let share = (end - start) / length / u64::from(queues.max(1)) * length;
    let of = |index: u16| {
        let from = start + share * u64::from(index);
        Load {
            range: match load.sequential {
                true => from..from + share,
                false => start..end,
            },
            seed: u64::from(index) + 1,
            ..load.clone()
        }
    };
    (0..queues).map(of).collect()
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Figures {
    workload: String,
    sequential: bool,
    block_size: u64,
    queues: u16,
    depth: usize,
    seconds: f64,
    read: Option<Rate>,
    write: Option<Rate>,
    total: Option<Rate>,
}

/// The figures of one way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Rate {
    commands: u64,
    iops: f64,
    mib_per_second: f64,
    latency_us: Percentiles,
}

impl Figures {
    fn of(asked: &Bench, queues: u16, room: usize, ran: Duration, results: &[Done]) -> Self {
        let sum = |of: fn(&Done) -> &Latencies| {
            let mut sum = Latencies::default();
            results.iter().for_each(|done| sum.add(of(done)));
            sum
        };
        let (reads, writes) = (sum(|done| &done.reads), sum(|done| &done.writes));
        let mut total = reads.clone();
        total.add(&writes);
        let seconds = ran.as_secs_f64();
        let rate = |of: &Latencies| Rate::of(of, asked.block_size, seconds);
        Self {
            workload: match asked.workload {
                Workload::Read => "read".into(),
                Workload::Write => "write".into(),
                Workload::Mixed => format!("mixed, {} % reads", asked.reads),
            },
            sequential: asked.sequential,
            block_size: asked.block_size,
            queues,
            depth: room.min(asked.depth.into()),
            seconds,
            read: rate(&reads),
            write: rate(&writes),
            total: rate(&total),
        }
    }
}

impl Rate {
    fn of(latencies: &Latencies, block_size: u64, seconds: f64) -> Option<Self> {
        let commands = latencies.count();
        Some(Self {
            commands,
            iops: commands as f64 / seconds.max(f64::MIN_POSITIVE),
            mib_per_second: mib_per_second(commands * block_size, seconds),
            latency_us: latencies.percentiles()?,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.sequential {
            true => "sequential",
            false => "random",
        };
        write!(
            f,
            "{order} {}, {} bytes each, ",
            self.workload, self.block_size
        )?;
        let (queues, depth, seconds) = (self.queues, self.depth, self.seconds);
        let noun = if queues == 1 { "queue" } else { "queues" };
        writeln!(f, "{queues} {noun} of {depth} outstanding, {seconds:.2} s")?;
        writeln!(
            f,
            "{:<6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "IOPS", "MiB/s", "mean us", "p50 us", "p99 us", "p99.9 us", "max us"
        )?;
        let ways = [
            ("read", &self.read),
            ("write", &self.write),
            ("total", &self.total),
        ];
        let mixed = self.read.is_some() && self.write.is_some();
        for (name, rate) in ways {
            let Some(it) = rate else { continue };
            if name == "total" && !mixed {
                continue;
            }
            let Percentiles {
                mean,
                p50,
                p99,
                p99_9,
                max,
            } = it.latency_us;
            write!(f, "{name:<6} {:>10.0} {:>10.1}", it.iops, it.mib_per_second)?;
            writeln!(
                f,
                " {mean:>10.1} {p50:>10.1} {p99:>10.1} {p99_9:>10.1} {max:>10.1}"
            )?;
        }
        match self.total {
            Some(_) => Ok(()),
            None => writeln!(f, "no command completed in that time"),
        }
    }
}

/// Bytes of a command at most: depth times queues times this is held in memory.
const BLOCK_MAX: u32 = 1 << 20;
