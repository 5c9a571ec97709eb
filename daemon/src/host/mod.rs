//! An NVMe/TCP host in userland, for any target: what `nvmfctl host` is made of.
//!
//! [`cli`] is what can be asked, [`run`] does it. Below: [`qpair`] moves the bytes of `proto`'s
//! host half over a [`mod@line`], [`controller`] makes a controller ready and shuts it down,
//! [`subsystem`] chooses which, [`disk`] moves a namespace's bytes, `command/` has the subcommands.
//!
//! A target is not trusted: whatever it sends is bounded before it is kept ([`facts`],
//! [`discovery`]) and made [`printable`] before it is shown, every wait ends, and nothing that it
//! can do is a panic.

#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
mod command;
pub mod controller;
pub mod discovery;
pub mod disk;
pub mod error;
pub mod facts;
pub mod input;
pub mod latency;
pub mod line;
pub mod options;
pub mod page;
pub mod place;
pub mod printable;
pub mod qpair;
pub mod report;
pub mod stop;
pub mod subsystem;

use std::process::ExitCode;

use cli::HostCommand;
use command::verify::Verdict;
use command::{bench as benchmark, discover, identify, read, verify, write};
use error::HostError;
use report::Form;
use stop::Stop;

/// Does what was asked for; what goes wrong is one line on standard error. To be called before any
/// thread was started, because it takes over the signals that end a program.
pub fn run(command: HostCommand, json: bool) -> ExitCode {
    let form = if json { Form::Json } else { Form::Text };
    match try_run(command, form) {
        Ok(Verdict::Equal) => ExitCode::SUCCESS,
        Ok(Verdict::Different) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nvmfctl: {}", error.report());
            error.exit().into()
        }
    }
}

fn try_run(command: HostCommand, form: Form) -> Result<Verdict, HostError> {
    let stop = Stop::on_signals().map_err(|source| HostError::System {
        what: "wait for signals",
        source,
    })?;
    let done = |()| Verdict::Equal;
    match command {
        HostCommand::Discover(asked) => discover::run(&asked, form, &stop).map(done),
        HostCommand::Identify(asked) => identify::run(&asked, form, &stop).map(done),
        HostCommand::Read(asked) => read::run(&asked, form, &stop).map(done),
        HostCommand::Write(asked) => write::run(&asked, form, &stop).map(done),
        HostCommand::Verify(asked) => verify::run(&asked, form, &stop),
        HostCommand::Bench(asked) => benchmark::run(&asked, form, &stop).map(done),
    }
}
