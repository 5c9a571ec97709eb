//! What a host loses to others that are slow, silent or greedy.
//!
//! `cargo bench -p nvmfd-tests --bench fairness`; after `--`:
//!
//! * `--quick`: short rounds, for a first look.
//! * `--only TEXT`: cases whose name contains the text, such as `greedy` or `"64 slow"`.
//! * `--rounds N`, `--milliseconds T`: how often and how long each case is measured.
//! * `--threads N`: threads of the program, if not one for all connections.
//! * `--json`: the results as JSON on standard output; progress is on standard error.
//!
//! An honest host reads 4 KiB at random, one command at a time and eight; another sends Keep Alives. It
//! is measured while all is quiet, beside the others, and beside the same others of a second program
//! (the control): what it loses there it loses to the machine, whose cores all of them share. The three
//! take turns, and each ratio is that of one turn; medians are reported.

#![forbid(unsafe_code)]

#[path = "../figures/mod.rs"]
mod figures;
mod honest;
mod others;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use honest::{DEPTHS, Honest};
use nvmfd_tests::peer::PeerError;
use nvmfd_tests::target::{Setup, Target, binary, configuration};
use others::{Kind, Others};
use report::{Row, Turns};

/// What to do.
struct Options {
    rounds: usize,
    time: Duration,
    threads: usize,
    only: Option<String>,
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
            rounds: 7,
            time: Duration::from_millis(500),
            threads: 1,
            only: None,
            json: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            let number = |text: String| -> Result<usize, String> {
                text.parse().map_err(|_| format!("{text}: no number"))
            };
            match argument.as_str() {
                // What cargo bench adds.
                "--bench" => {}
                "--quick" => {
                    options.rounds = 3;
                    options.time = Duration::from_millis(200);
                }
                "--only" => options.only = Some(value()?),
                "--rounds" => options.rounds = number(value()?)?.max(1),
                "--milliseconds" => options.time = Duration::from_millis(number(value()?)? as u64),
                "--threads" => options.threads = number(value()?)?.max(1),
                "--json" => options.json = true,
                other => return Err(format!("unknown option {other}; see benches/fairness")),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<(), PeerError> {
    eprintln!("program: {}", binary().display());
    let [target, control] = [(); 2].map(|()| {
        Target::with(&Setup {
            config: Some(config(options.threads)),
            ..Setup::default()
        })
    });
    for target in [&target, &control] {
        honest::fill(target)?;
    }
    let mut honest = Honest::connect(&target)?;
    let mut rows = Vec::new();
    if !options.json {
        report::print_heading();
    }
    for (kind, count) in cases() {
        let name = format!("{count} {kind}");
        if options
            .only
            .as_ref()
            .is_some_and(|text| !name.contains(text))
        {
            continue;
        }
        let mut turns = DEPTHS.map(|_| Vec::new());
        for round in 1..=options.rounds {
            eprint!("\r{name}, round {round} of {}  ", options.rounds);
            let quiet = honest.measure(options.time)?;
            let others = Others::start(&target, kind, count)?;
            let beside = honest.measure(options.time)?;
            drop(others);
            let others = Others::start(&control, kind, count)?;
            let control = honest.measure(options.time)?;
            drop(others);
            for (index, turns) in turns.iter_mut().enumerate() {
                turns.push(Turns {
                    quiet: quiet[index],
                    beside: beside[index],
                    control: control[index],
                });
            }
        }
        eprint!("\r{:78}\r", "");
        for (depth, turns) in DEPTHS.iter().zip(&turns) {
            let row = Row::new(&name, *depth, turns);
            if !options.json {
                report::print_row(&row);
            }
            rows.push(row);
        }
    }
    if options.json {
        report::print_json(&rows);
    }
    Ok(())
}

fn cases() -> impl Iterator<Item = (Kind, usize)> {
    let kinds = [Kind::SlowReader, Kind::Silent, Kind::Dripping, Kind::Greedy];
    kinds
        .into_iter()
        .flat_map(|kind| [1, 64].map(|count| (kind, count)))
}

/// Nobody is put out for what is measured.
fn config(threads: usize) -> String {
    let storage = format!("ram = \"{}m\"", honest::DISK >> 20);
    let limits =
        format!("[limits]\nthreads = {threads}\nnegotiation-time = \"5m\"\nstall-time = \"5m\"\n");
    configuration(&storage, &limits)
}
