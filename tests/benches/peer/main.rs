//! nvmfd beside SPDK's target, under SPDK's own load: what each does with one core.
//!
//! `SPDK_DIR=… cargo bench -p nvmfd-tests --bench peer`, with the directory where SPDK was built; after
//! `--`:
//!
//! * `--quick`: short rounds, for a first look.
//! * `--only TEXT`: cases whose name contains the text, such as `write` or `"QD 32"`.
//! * `--rounds N`, `--seconds S`: how often and how long each case is measured.
//! * `--busy-poll TIME`: what nvmfd is told to spin before it sleeps, such as `50us`.
//! * `--json FILE`, `--chart FILE`: the results as JSON and as a picture (SVG) as well.
//!
//! Target on core 0, client on core 1, both targets in turn, round by round, so that whatever else the
//! machine does meets both; the ratio of a row is the median of its rounds' ratios. As root on Linux all
//! of it happens in a network namespace of its own, with cubic: another congestion control may pace what
//! loopback carries. Without `SPDK_DIR` it says that it was not run.

#![forbid(unsafe_code)]

mod case;
mod chart;
mod client;
#[path = "../figures/mod.rs"]
#[expect(dead_code, reason = "the client says percentiles itself")]
mod figures;
mod machine;
mod report;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;

use case::Case;
use client::{Client, Round};
use report::Row;
use targets::{Measured, Nvmfd, Spdk};

/// What to do.
struct Options {
    rounds: u64,
    seconds: u64,
    only: Option<String>,
    busy_poll: Option<String>,
    json: Option<PathBuf>,
    chart: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(64);
        }
    };
    let Some(spdk) = std::env::var_os("SPDK_DIR").map(PathBuf::from) else {
        // No failure: it is among those that `make bench` runs.
        eprintln!("NOT RUN: SPDK_DIR does not say where SPDK is; see docs/performance.md");
        return ExitCode::SUCCESS;
    };
    if let Some(status) = machine::in_a_namespace() {
        return status;
    }
    match run(&options, &spdk) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the benchmark could not go on: {problem}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            rounds: 5,
            seconds: 3,
            only: None,
            busy_poll: None,
            json: None,
            chart: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            let number = |text: String| -> Result<u64, String> {
                text.parse().map_err(|_| format!("{text}: no number"))
            };
            match argument.as_str() {
                // What cargo bench adds.
                "--bench" => {}
                "--quick" => (options.rounds, options.seconds) = (3, 1),
                "--only" => options.only = Some(value()?),
                "--rounds" => options.rounds = number(value()?)?.max(1),
                "--seconds" => options.seconds = number(value()?)?.max(1),
                "--busy-poll" => options.busy_poll = Some(value()?),
                "--json" => options.json = Some(value()?.into()),
                "--chart" => options.chart = Some(value()?.into()),
                other => return Err(format!("unknown option {other}; see benches/peer")),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options, spdk: &std::path::Path) -> Result<(), String> {
    let facts = machine::Facts::gather();
    println!("{facts}");
    let wanted = |case: &Case| {
        let only = options.only.as_ref();
        only.is_none_or(|text| case.to_string().contains(text))
    };
    let cases: Vec<Case> = Case::all().filter(wanted).collect();
    let client = Client::new(spdk)?;
    let (ours, theirs) = (
        Nvmfd::start(options.busy_poll.as_deref()),
        Spdk::start(spdk)?,
    );
    let targets: [&dyn Measured; 2] = [&ours, &theirs];
    // One at a time: who polls would have the other's core.
    let alone = |which: usize| {
        targets[1 - which].run(false)?;
        targets[which].run(true)
    };
    eprintln!("filling the RAM disks");
    for (which, target) in targets.iter().enumerate() {
        alone(which)?;
        client.fill(*target)?;
    }
    let mut rows = Vec::new();
    report::print_heading();
    for (index, case) in cases.iter().enumerate() {
        let mut rounds = Vec::new();
        for round in 1..=options.rounds {
            let (number, all) = (index + 1, cases.len());
            eprint!("\r[{number}/{all}] {case}, round {round}  ");
            let measure = |which: usize| {
                alone(which)?;
                client.run(targets[which], case, options.seconds)
            };
            rounds.push((measure(0)?, measure(1)?));
        }
        eprint!("\r{:60}\r", "");
        let row = Row::new(*case, &rounds);
        report::print_row(&row);
        rows.push(row);
    }
    if let Some(file) = &options.json {
        std::fs::write(file, report::json(&facts, &rows)).map_err(|error| error.to_string())?;
    }
    if let Some(file) = &options.chart {
        std::fs::write(file, chart::draw(&rows)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Both targets' rounds of one case, side by side.
type Pair = (Round, Round);
