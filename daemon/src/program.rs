//! The program from its arguments to its exit status.
//!
//! Whatever goes wrong before it serves is one line and an exit status.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use crate::cli::{self, Invocation};
use crate::error::StartupError;
use crate::identity::HostIdentity;
use crate::serve;

/// Does what the command line asks for.
pub fn main() -> ExitCode {
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
