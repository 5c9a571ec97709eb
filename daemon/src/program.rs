//! The program from its arguments to its exit status: the monitor, or a worker that one has started.
//!
//! Whatever goes wrong before it serves is one line and an exit status.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::cli::{self, Invocation};
use crate::error::StartupError;
use crate::identity::HostIdentity;
use crate::monitor;
use crate::worker;

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == monitor::WORKER)
    {
        return worker::process::main(arguments);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let StartupError::Config(problems) = &error {
                // Several lines, each of which names the file.
                eprint!("{problems}");
            } else {
                eprintln!("nvmfd: {}", error.report());
            }
            error.exit().into()
        }
    }
}

fn run() -> Result<(), StartupError> {
    let host = HostIdentity::of_this_machine();
    match cli::parse(std::env::args_os(), &host)? {
        Invocation::Print(text) => print!("{text}"),
        Invocation::Modules(options) => print!("{}", monitor::modules(&options)?),
        Invocation::Check(options) => monitor::check(&options)?,
        Invocation::Serve(options) => monitor::run(*options, &host)?,
    }
    Ok(())
}
