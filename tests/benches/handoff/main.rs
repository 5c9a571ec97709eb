//! How fast nvmfd hands connections over to the kernel, as a share of what a bare program does that
//! only answers with constants.
//!
//! `cargo bench -p nvmfd-tests --bench handoff`; after `--`:
//!
//! * `--quick`: short rounds, for a first look.
//! * `--only TEXT`: cases whose name contains the text, such as `admin` or `"64 clients"`.
//! * `--rounds N`, `--seconds S`: how often and how long each case is measured.
//! * `--json`: the cases as JSON on standard output; progress is on standard error.
//!
//! The daemon has core 0, with one reactor, and so has the bare program (`bare`); the clients
//! (`clients`) and the fake kernel with its plane (`desk`) have core 1. Rounds of both programs take
//! turns, so that whatever else the machine does meets both. Medians are reported.
//!
//! The fake kernel is a Unix socket and two threads that wake each other away, where a real one is an
//! ioctl of microseconds. In each round `asker` measures how far, from the daemon's core. Where this
//! was written, a request that does nothing takes 47 µs, 21 of them on that core; a hand-off takes 83
//! and 31, and comes to the plane about halfway. So of the time from accept to hand-off of a single
//! client, some 40 of 120 µs are the fake, and what carries over to FreeBSD is "ours": the daemon's
//! time on its core without what the same requests cost the asker. Reading the list and packing the
//! arguments are ours.
//!
//! Many clients do not fill the daemon's core ("busy"): one thread hands over, and mostly it waits for
//! the fake. Their latency is that of the queue before this thread.

#![forbid(unsafe_code)]

mod asker;
mod bare;
mod clients;
mod desk;
#[path = "../figures/mod.rs"]
mod figures;
mod machine;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use asker::Ask;
use bare::Bare;
use clients::{Case, Kind};
use desk::{CLIENTS, Desk};
use machine::{Spent, Watch};
use nvmf_kmod::fake::FakeKernel;
use nvmf_kmod::fake::remote::RemoteKernel;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::PeerError;
use nvmfd_tests::target::{Setup, Target};
use report::{Figures, Measured, Row};

/// The core of the programs that are measured.
const THEIRS: usize = 0;
/// The core of the clients and the fake kernel.
const OURS: usize = 1;

/// Associations in the kernel's list.
const LISTED: [u16; 3] = [1, 100, 2000];

/// What to do.
struct Options {
    rounds: usize,
    time: Duration,
    only: Option<String>,
    json: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        [bare::BARE, threads] => bare::serve(threads.parse().unwrap_or(1)).map_err(Into::into),
        [asker::ASK, what, socket, time] => {
            let time = Duration::from_millis(time.parse().unwrap_or(1));
            Ask::named(what).map_or(Ok(()), |what| asker::run(what, socket, time))
        }
        _ => match Options::parse(arguments.into_iter()) {
            Ok(options) => run(&options),
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(64);
            }
        },
    };
    match result {
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
                "--json" => options.json = true,
                other => return Err(format!("unknown option {other}; see benches/handoff")),
            }
        }
        Ok(options)
    }
}

/// A daemon in kernel mode, and its kernel.
struct Stage {
    target: Target,
    desk: Arc<Desk>,
    kernel: Kernel,
    control: RemoteKernel,
}

impl Stage {
    fn new() -> Result<Self, PeerError> {
        let desk = Arc::new(Desk::new());
        let kernel = Kernel::of(FakeKernel::new(desk.clone()));
        let mut setup = Setup {
            kernel: Some(kernel.socket().to_owned()),
            ..Setup::default()
        };
        setup.arguments.extend(["--threads", "1"].map(String::from));
        let target = Target::with(&setup);
        let control = RemoteKernel::connect(kernel.socket())?;
        let pinned = [(target.worker(), THEIRS), (std::process::id(), OURS)]
            .map(|(process, core)| machine::pin(process, core));
        if pinned != [true; 2] {
            eprintln!("cores cannot be chosen here: figures say less");
        }
        Ok(Self {
            target,
            desk,
            kernel,
            control,
        })
    }

    /// A round of the daemon, one of the bare program, and requests alone.
    fn round(&self, case: &Case, bare: &Bare, time: Duration) -> Result<Measured, PeerError> {
        let (subnqn, daemon) = (self.target.nqn(), self.target.worker());
        let before = (Spent::of(daemon), self.control.requests()?);
        let round = case.run(self.target.io(), &subnqn, Some(&*self.desk), time)?;
        let requests = self.control.requests()? - before.1;
        let program = Figures::new(&round, spent(daemon, before.0).as_ref(), requests);
        let before = Spent::of(bare.pid());
        let round = case.run(bare.address, &subnqn, None, time)?;
        let bare = Figures::new(&round, spent(bare.pid(), before).as_ref(), 0);
        let asked = case.asks().map(|ask| {
            let pin = |process| {
                machine::pin(process, THEIRS);
            };
            let took = ask.measure(self.kernel.socket(), time / 10, pin)?;
            Ok((ask, took))
        });
        Ok(Measured {
            program,
            bare,
            asked: asked.collect::<Result<_, PeerError>>()?,
        })
    }

    fn row(&self, case: Case, options: &Options) -> Result<Row, PeerError> {
        self.desk.list(case.listed);
        let bare = Bare::start(case.clients)?;
        machine::pin(bare.pid(), THEIRS);
        let ours = [self.target.worker(), bare.pid(), std::process::id()];
        let watch = Watch::start(&ours);
        let mut rounds = Vec::new();
        for round in 1..=options.rounds {
            eprint!("\r{case}, round {round} of {}  ", options.rounds);
            rounds.push(self.round(&case, &bare, options.time)?);
        }
        eprint!("\r{:78}\r", "");
        let others = watch.and_then(|it| it.others(&ours));
        Ok(Row {
            case,
            rounds,
            others,
        })
    }
}

/// What a process has had of its core since.
fn spent(process: u32, before: Option<Spent>) -> Option<Spent> {
    Some(Spent::of(process)?.since(&before?))
}

fn run(options: &Options) -> Result<(), PeerError> {
    let stage = Stage::new()?;
    let wanted = |case: &Case| {
        let only = options.only.as_ref();
        only.is_none_or(|text| case.to_string().contains(text))
    };
    if !options.json {
        report::print_heading();
    }
    let mut rows = Vec::new();
    for case in cases().filter(wanted) {
        let row = stage.row(case, options)?;
        if !options.json {
            report::print_row(&row);
        }
        rows.push(row);
    }
    if options.json {
        report::print_json(&rows);
    } else {
        report::print_processor(&rows);
        report::print_requests(&rows);
    }
    stage.kernel.is_well();
    Ok(())
}

/// Admin and I/O queues, by one client and by many; the latter with lists of all lengths.
fn cases() -> impl Iterator<Item = Case> {
    [1, CLIENTS].into_iter().flat_map(|clients| {
        let kinds = LISTED.map(|listed| (Kind::Io, listed));
        let kinds = [(Kind::Admin, 1)].into_iter().chain(kinds);
        kinds.map(move |(kind, listed)| Case {
            kind,
            clients,
            listed,
        })
    })
}
