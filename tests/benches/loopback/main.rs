//! How fast nvmfd is, as a share of what a bare TCP connection over loopback does.
//!
//! `cargo bench -p nvmfd-tests` (or `make bench`); after `--`:
//!
//! * `--quick`: short rounds, for a first look.
//! * `--only TEXT`: cases whose name contains the text, such as `write` or `"QD 32"`.
//! * `--rounds N`, `--seconds S`: how often and how long each case is measured.
//! * `--idle N`: not speed but memory: what N idle connections cost the program, per kind.
//! * `--json`: the results as JSON on standard output; progress is on standard error.
//!
//! The program runs in a process of its own and serves a RAM disk; our host half is the load, one
//! queue on one thread. Rounds of the program and of the bare connection ([`ceiling`]) take turns,
//! so that whatever else the machine does meets both. Medians are reported.

#![forbid(unsafe_code)]

mod ceiling;
#[path = "../figures/mod.rs"]
mod figures;
mod idle;
mod load;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use ceiling::Bare;
use load::{Case, Direction};
use nvmfd_tests::peer::PeerError;
use nvmfd_tests::target::{Setup, Target, binary};
use report::{Measured, Row};

/// What to do.
struct Options {
    rounds: usize,
    time: Duration,
    only: Option<String>,
    idle: Option<usize>,
    json: bool,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(ceiling::ANSWER) {
        return match ceiling::answer() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
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
            rounds: 5,
            time: Duration::from_secs(1),
            only: None,
            idle: None,
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
                "--seconds" => options.time = Duration::from_secs(number(value()?)? as u64),
                "--idle" => options.idle = Some(number(value()?)?.max(1)),
                "--json" => options.json = true,
                other => return Err(format!("unknown option {other}; see benches/loopback")),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<(), PeerError> {
    eprintln!("program: {}", binary().display());
    if let Some(connections) = options.idle {
        let costs = idle::measure(connections)?;
        return report::print_idle(&costs, options.json);
    }
    let wanted = |case: &Case| {
        let only = options.only.as_ref();
        only.is_none_or(|text| case.to_string().contains(text))
    };
    let cases: Vec<Case> = cases().filter(wanted).collect();
    let target = Target::with(&Setup {
        devices: vec![format!("ramdisk:{}m", load::DISK >> 20)],
        ..Setup::default()
    });
    let bare = Bare::start()?;
    eprintln!("filling the RAM disk");
    load::fill(&target)?;
    let mut rows = Vec::new();
    if !options.json {
        report::print_heading();
    }
    for (index, case) in cases.iter().enumerate() {
        let mut measured = Vec::new();
        for round in 1..=options.rounds {
            let (number, all) = (index + 1, cases.len());
            eprint!(
                "\r[{number}/{all}] {case}, round {round} of {}  ",
                options.rounds
            );
            let program = load::run(&target, case, options.time)?;
            measured.push(Measured {
                program,
                bare: bare.run(case, options.time)?,
            });
        }
        eprint!("\r{:78}\r", "");
        let row = Row::new(*case, &measured);
        if !options.json {
            report::print_row(&row);
        }
        rows.push(row);
    }
    if options.json {
        report::print_json(&rows);
    }
    Ok(())
}

/// 4 KiB at random and 128 KiB in sequence, without digests and with both.
fn cases() -> impl Iterator<Item = Case> {
    [false, true].into_iter().flat_map(|digests| {
        let random = [1, 32, 128].into_iter().flat_map(move |depth| {
            [Direction::Read, Direction::Write].map(|direction| Case {
                direction,
                length: 4096,
                depth,
                sequential: false,
                digests,
            })
        });
        let sequential = [Direction::Read, Direction::Write].map(|direction| Case {
            direction,
            length: 131_072,
            depth: 16,
            sequential: true,
            digests,
        });
        random.chain(sequential)
    })
}
