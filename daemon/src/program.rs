//! The program from its arguments to its exit status: the monitor, or a worker or announcer that one
//! has started.
//!
//! Whatever goes wrong before it serves is one line and an exit status.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::announcer;
use crate::cli::{self, Invocation};
use crate::error::StartupError;
use crate::identity::HostIdentity;
use crate::monitor;
use crate::worker;

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == monitor::WORKER => return worker::process::main(arguments),
        Some(first) if first == monitor::ANNOUNCER => return announcer::process::main(arguments),
        Some(_) | None => {}
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
