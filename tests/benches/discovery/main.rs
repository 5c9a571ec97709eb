//! What thousands of hosts cost that stay connected to discovery, and how soon they have news.
//!
//! `cargo bench -p nvmfd-tests --bench discovery`; after `--`:
//!
//! * `--quick`: 1,000 hosts and short waits, for a first look.
//! * `--hosts N`: so many instead of 1, 1,000 and 10,000 in turn.
//! * `--seconds S`: how long the processor is watched while nothing happens (20).
//! * `--changes N`: how many reloads (5).
//! * `--json`: the results as JSON on standard output; progress is on standard error.
//!
//! The daemon is a process of its own and serves 16 subsystems on two portals; all hosts are on one
//! thread of this one ([`crowd`]). A change is a reload that adds a subsystem or removes it again.
//! Each host has a descriptor in both processes: what a process may have (`ulimit -Hn`) is the limit.

#![forbid(unsafe_code)]

mod crowd;
#[expect(dead_code, reason = "other benchmarks use the rest")]
#[path = "../figures/mod.rs"]
mod figures;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crowd::Crowd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nvmfd_tests::peer::PeerError;
use nvmfd_tests::target::{Setup, Target, binary};
use nvmfd_tests::usage::{Usage, processor_time};
use report::{Change, Figures};

/// Hosts that do not fall silent send two Keep Alives in this time.
const KATO: Duration = Duration::from_secs(30);

/// Longer than any of this takes: nothing is ever due.
const LONG: Duration = Duration::from_secs(3600);

/// What to do.
struct Options {
    hosts: Vec<usize>,
    idle: Duration,
    changes: usize,
    json: bool,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(64);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            hosts: vec![1, 1_000, 10_000],
            idle: Duration::from_secs(20),
            changes: 5,
            json: false,
        };
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<usize, String> {
                let value = arguments.next();
                let value = value.ok_or_else(|| format!("{argument} needs a value"))?;
                value.parse().map_err(|_| format!("{value}: no number"))
            };
            match argument.as_str() {
                // What cargo bench adds.
                "--bench" => {}
                "--quick" => {
                    options.hosts = vec![1_000];
                    options.idle = Duration::from_secs(3);
                }
                "--hosts" => options.hosts = vec![number()?.max(1)],
                "--seconds" => options.idle = Duration::from_secs(number()? as u64),
                "--changes" => options.changes = number()?,
                "--json" => options.json = true,
                other => return Err(format!("unknown option {other}; see benches/discovery")),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<(), PeerError> {
    eprintln!("program: {}", binary().display());
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it is not enough, connecting says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let mut all = Vec::new();
    for &hosts in &options.hosts {
        let figures = measure(hosts, options)?;
        if !options.json {
            report::print(&figures);
        }
        all.push(figures);
    }
    if options.json {
        report::print_json(&all);
    }
    Ok(())
}

fn measure(hosts: usize, options: &Options) -> Result<Figures, PeerError> {
    let target = Target::with(&Setup {
        config: Some(config(SUBSYSTEMS)),
        ..Setup::default()
    });
    let worker = target.worker();
    // What is made once and not per connection is there before we count.
    drop(Crowd::gather(target.discovery(), 8, LONG)?);
    let before = settled(worker).resident;
    let each = |after: u64| {
        let kib = u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
        f64::from(kib) / f64::from(u32::try_from(hosts).unwrap_or(u32::MAX))
    };

    eprintln!("{hosts} hosts: connecting");
    let began = Instant::now();
    let mut crowd = Crowd::gather(target.discovery(), hosts, LONG)?;
    let connected = began.elapsed();
    let idle_memory = each(settled(worker).resident);
    // The deadlines of their negotiations have passed, and found nothing to do.
    crowd.idle(NEGOTIATION_TIME * 2)?;
    eprintln!("{hosts} hosts: {} s of nothing", options.idle.as_secs());
    let silent = busy(&target, || crowd.idle(options.idle))?;

    let mut changes = Vec::new();
    for number in 0..options.changes {
        eprintln!("{hosts} hosts: change {}", number + 1);
        let subsystems = SUBSYSTEMS + (number + 1) % 2;
        changes.push(change(&target, &mut crowd, &config(subsystems))?);
    }
    let memory_after = each(settled(worker).resident);
    drop(crowd);

    eprintln!("{hosts} hosts: connecting again, with Keep Alives");
    let mut crowd = Crowd::gather(target.discovery(), hosts, KATO)?;
    crowd.stay_alive(KATO / 2);
    crowd.idle(NEGOTIATION_TIME * 2)?;
    let alive = busy(&target, || crowd.idle(options.idle))?;
    Ok(Figures {
        hosts,
        connected,
        idle_memory,
        memory_after,
        silent,
        alive,
        changes,
    })
}

/// Has the daemon serve another file while all hosts wait, and has them read the log then.
fn change(target: &Target, crowd: &mut Crowd, config: &str) -> Result<Change, PeerError> {
    let asked = Instant::now();
    let (answered, told) = std::thread::scope(|scope| {
        let reload = scope.spawn(|| {
            let plan = target
                .reload(config)
                .expect("a configuration that is right");
            assert_eq!(plan.steps.len(), 1, "{:?}", plan.steps);
            Instant::now()
        });
        let told = crowd.await_news();
        (reload.join().expect("no panic"), told)
    });
    let told = told?;
    let (first, last) = (told[0], told[told.len() - 1]);
    let began = Instant::now();
    crowd.read_log()?;
    Ok(Change {
        first: first - asked,
        last: last - asked,
        answered: answered - asked,
        read: began.elapsed(),
    })
}

/// The share of one core that the daemon's two processes have while something happens.
fn busy(
    target: &Target,
    happens: impl FnOnce() -> Result<(), PeerError>,
) -> Result<f64, PeerError> {
    let processes = [target.pid(), target.worker()];
    let spent = || -> Duration {
        let times = processes.iter().map(|&it| processor_time(it));
        times.map(|it| it.expect("it is counted in /proc")).sum()
    };
    let (before, began) = (spent(), Instant::now());
    happens()?;
    Ok((spent() - before).as_secs_f64() / began.elapsed().as_secs_f64())
}

fn settled(worker: u32) -> Usage {
    Usage::settled(worker).expect("memory is counted in /proc, which only Linux has")
}

/// What the file says, in its words "2s".
const NEGOTIATION_TIME: Duration = Duration::from_secs(2);

/// Subsystems that are always there.
const SUBSYSTEMS: usize = 16;

/// A file with so many subsystems on two portals.
fn config(subsystems: usize) -> String {
    let mut text = String::from(
        "[limits]\nnegotiation-time = \"2s\"\n\
         [discovery]\nlisten = [\"127.0.0.1:0\"]\n\
         [[portal]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n\
         [[portal]]\nname = \"b\"\nlisten = [\"127.0.0.1:0\"]\n",
    );
    for number in 0..subsystems {
        text.push_str(&format!(
            "[[subsystem]]\nnqn = \"nqn.2014-08.org.example:volume{number}\"\n\
             mode = \"user\"\nportals = [\"a\", \"b\"]\nallow-any-host = true\n\
             [[subsystem.namespace]]\nnsid = 1\nram = \"1m\"\n"
        ));
    }
    text
}
