//! Many hosts for a long time, and nothing lost, nothing leaked.
//!
//! `cargo test -p nvmfd-tests --test soak -- --seconds 300`; `options.rs` has every option. Hosts connect, do
//! by chance what hosts do on extents of their own, and end in every way that there is (`tenant`, `work`).
//! Meanwhile the configuration is reloaded every few seconds, discovery is asked, and strangers connect
//! (`bystanders`). What blocks may hold is known of each (`oracle`); a block that holds anything else ends
//! the soak. What the daemon holds is sampled, and must be flat (`gauge`); when all hosts have gone it must be
//! what it was before they came.
//!
//! What a host does follows from the seed, which is said; when it does it is the system's.

#![forbid(unsafe_code)]

mod bystanders;
mod files;
mod gauge;
mod options;
mod oracle;
mod tally;
mod tenant;
mod work;

use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use fastrand::Rng;
use files::{FILE, Files, NQN};
use gauge::Gauge;
use nvmf_proto::nqn::Nqn;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::PATIENCE;
use nvmfd_tests::target::{Setup, Target};
use nvmfd_tests::usage::Usage;
use options::Options;
use oracle::{BYTES, FIRST, SETTLED};
use serde_json::json;
use tally::Tally;
use tenant::Tenant;
use work::Work;

/// Who asks discovery.
const ONLOOKERS: u32 = 3;

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(64);
        }
    };
    if options.list {
        println!("soak: test");
        return ExitCode::SUCCESS;
    }
    if Usage::of(std::process::id()).is_none() {
        eprintln!("soak: NOT RUN: what the daemon holds is read from Linux's /proc");
        return ExitCode::from(75);
    }
    match soak(&options) {
        Ok(faults) if faults.is_empty() => {
            println!("\nnothing is wrong (seed {})", options.seed);
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            println!("\nwrong (seed {}):", options.seed);
            for fault in faults {
                println!("  {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\nit could not go on (seed {}): {error}", options.seed);
            ExitCode::FAILURE
        }
    }
}

/// What was wrong.
fn soak(options: &Options) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    println!("{options:?}");
    let directory = tempfile::tempdir()?;
    let files = Files::new(directory.path(), options)?;
    let kernel = options.kernel.then(Kernel::start);
    let mut target = Target::with(&Setup {
        config: Some(files.plain()),
        kernel: kernel.as_ref().map(|it| it.socket().to_owned()),
        ..Setup::default()
    });
    let subnqn: Nqn = NQN.parse()?;
    let tally = Tally::default();
    let mut chance = Rng::with_seed(options.seed);
    let mut tenants = tenants(options, &mut chance);

    // Memory is used and threads are started before anything is measured.
    fill_shared(&target, &subnqn, &tally)?;
    for tenant in &mut tenants {
        tenant.once(target.io(), &subnqn, |work, queue| work.fill(queue, &tally))?;
    }
    let at_rest = at_rest(&target)?;
    let mut gauge = Gauge::new(&target);
    thread::scope(|scope| {
        let (target, tally, subnqn) = (&target, &tally, &subnqn);
        let io = target.io();
        for tenant in &mut tenants {
            scope.spawn(move || tenant.live(io, subnqn, tally));
        }
        let (operator, stranger) = (chance.fork(), chance.fork());
        scope.spawn(|| bystanders::operator(target, &files, operator, tally));
        scope.spawn(move || bystanders::stranger(io, stranger, tally));
        for number in 0..ONLOOKERS {
            let chance = chance.fork();
            let asked = target.discovery();
            scope.spawn(move || bystanders::onlooker(asked, 1000 + number, chance, tally));
        }
        watch(&mut gauge, target, options, tally);
        tally.end();
    });
    if tally.faults().is_empty() {
        thread::sleep(SETTLED);
        target.reload(&files.plain()).map_err(|it| it.text)?;
        // Over, but this is to be done whole.
        for tenant in &mut tenants {
            tenant.once(target.io(), &subnqn, |work, queue| {
                work.read_all(queue, &tally)
            })?;
        }
        compare(at_rest, self::at_rest(&target)?, &tally);
    }
    report(options, &gauge, &tally)?;
    if !target.stop().success() {
        tally.fault("the daemon did not end in order".into());
    }
    read_file(&files, &mut tenants, &tally)?;
    if let Some(kernel) = &kernel {
        kernel.is_well();
    }
    if !tally.faults().is_empty() {
        let log = env::temp_dir().join("soak.log");
        fs::write(&log, target.log())?;
        println!("the daemon's log is in {}", log.display());
    }
    Ok(tally.faults())
}

fn tenants(options: &Options, chance: &mut Rng) -> Vec<Tenant> {
    let all = options.hosts * u32::from(options.queues);
    let interval = match options.rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs(all.into()) / rate,
    };
    let tenant = |host: u32| {
        let mut chance = chance.fork();
        let queues = (0..u32::from(options.queues)).map(|queue| {
            let name = format!("host {host}, queue {}", queue + 1);
            let number = host * u32::from(options.queues) + queue;
            let own = Files::extents(number);
            let mut shared = Files::shared();
            for extent in &mut shared {
                extent.written(0..extent.len(), FIRST);
            }
            Work::new(name, own, shared, chance.fork(), interval)
        });
        Tenant {
            number: host,
            queues: queues.collect(),
            chance,
        }
    };
    (0..options.hosts).map(tenant).collect()
}

/// What nobody writes later.
fn fill_shared(
    target: &Target,
    subnqn: &Nqn,
    tally: &Tally,
) -> Result<(), Box<dyn std::error::Error>> {
    let (own, chance) = (Files::shared(), Rng::with_seed(0));
    let work = Work::new("nobody".into(), own, Vec::new(), chance, Duration::ZERO);
    let mut tenant = Tenant {
        number: 999,
        queues: vec![work],
        chance: Rng::with_seed(0),
    };
    tenant.once(target.io(), subnqn, |work, queue| work.fill(queue, tally))?;
    Ok(())
}

/// Samples until time is up.
fn watch(gauge: &mut Gauge, target: &Target, options: &Options, tally: &Tally) {
    let every = (options.time / 60).clamp(Duration::from_secs(1), Duration::from_secs(10));
    let until = Instant::now() + options.time;
    let mut next = Instant::now();
    let alive = stderr().is_terminal();
    while Instant::now() < until && !tally.is_over() {
        thread::sleep(Duration::from_millis(100));
        if Instant::now() < next {
            continue;
        }
        next += every;
        match gauge.look(target) {
            Ok(sample) if alive => {
                eprint!("\r\x1b[K{sample}; {} commands", tally.counts.commands.now());
                let _ = stderr().flush();
            }
            Ok(_) => {}
            Err(why) => tally.fault(why),
        }
    }
    if alive {
        eprintln!();
    }
}

/// What worker and monitor hold without hosts.
fn at_rest(target: &Target) -> Result<[Usage; 2], String> {
    let worker = target.worker();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = nvmfd_tests::operator::status(&target.socket());
        let sessions: u64 = status.subsystems.iter().map(|it| it.sessions).sum();
        if sessions + status.negotiating == 0 {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!(
                "without hosts there are {sessions} sessions and {} in negotiation",
                status.negotiating
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
    let usage = |pid| Usage::settled(pid).ok_or("no /proc of the daemon");
    Ok([usage(worker)?, usage(target.pid())?])
}

/// All hosts have gone: everything that they held is given back.
fn compare(before: [Usage; 2], after: [Usage; 2], tally: &Tally) {
    println!("\nwithout hosts, before and after: {before:?} {after:?}");
    for (who, before, after) in [
        ("the worker", before[0], after[0]),
        ("the monitor", before[1], after[1]),
    ] {
        if after.descriptors > before.descriptors || after.threads > before.threads {
            tally.fault(format!("{who} keeps something: {before:?} {after:?}"));
        }
    }
}

fn report(options: &Options, gauge: &Gauge, tally: &Tally) -> Result<(), std::io::Error> {
    println!();
    for (what, count) in tally.counts.all() {
        println!("{count:>16}  {what}");
    }
    let trends = gauge.trends();
    println!(
        "\n{:<22}{:>10}{:>10}{:>14}",
        "", "first", "last", "per hour"
    );
    for trend in &trends {
        println!("{trend}");
        if !trend.flat {
            tally.fault(format!("{} grows", trend.name));
        }
    }
    if let Some(file) = &options.json {
        let counts = tally.counts.all().into_iter();
        let counts: serde_json::Map<_, _> = counts.map(|(k, v)| (k.into(), v.into())).collect();
        let trends: Vec<_> = trends.iter().map(gauge::Trend::json).collect();
        let all = json!({
            "seed": options.seed,
            "seconds": options.time.as_secs(),
            "hosts": options.hosts,
            "queues": options.queues,
            "rate": options.rate,
            "kernel": options.kernel,
            "counts": counts,
            "trends": trends,
            "samples": gauge.json(),
            "faults": tally.faults(),
        });
        fs::write(file, format!("{all:#}\n"))?;
    }
    Ok(())
}

/// Nothing serves the file any more: it holds what it must by itself.
fn read_file(files: &Files, tenants: &mut [Tenant], tally: &Tally) -> std::io::Result<()> {
    let bytes = fs::read(&files.file)?;
    let now = Instant::now();
    let works = tenants.iter_mut().flat_map(|it| &mut it.queues);
    for extent in works.flat_map(Work::own).filter(|it| it.nsid == FILE) {
        let from = usize::try_from(extent.lba(0)).expect("it is in memory") * BYTES;
        let all = 0..extent.len();
        let data = &bytes[from..][..all.len() * BYTES];
        if let Err(corruption) = extent.read(all, data, now) {
            tally.fault(format!("the file itself: {corruption}"));
        }
    }
    Ok(())
}
