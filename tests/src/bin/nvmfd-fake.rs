//! nvmfd whose kernel can be the fake: `--ctl SOCKET` leads to one (see `fake-kernel`).

use std::process::ExitCode;

fn main() -> ExitCode {
    nvmfd::program::main()
}
