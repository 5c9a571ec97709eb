//! nvmfctl(8).

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nvmfd::nvmfctl::main()
}
