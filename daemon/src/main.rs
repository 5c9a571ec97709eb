//! The program: whatever goes wrong before it serves is one line and an exit status.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use nvmfd::cli::{self, Invocation};
use nvmfd::error::StartupError;
use nvmfd::identity::HostIdentity;
use nvmfd::serve;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nvmfd: {}", error.report());
            error.exit().into()
        }
    }
}

fn run() -> Result<(), StartupError> {
    let host = HostIdentity::of_this_machine();
    match cli::parse(std::env::args_os(), &host)? {
        Invocation::Print(text) => {
            print!("{text}");
            Ok(())
        }
        Invocation::Serve(options) => serve::serve(&options, &host),
    }
}
