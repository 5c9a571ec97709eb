//! The fake kernel in a process of its own: `fake-kernel SOCKET` plays CTL and nvmft, without the remedy
//! for CVE-2026-4652, for every `nvmfd-fake --ctl SOCKET`. It says `ready` when it can be reached, and
//! runs until it is killed.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::Arc;

use nvmf_kmod::fake::{FakeKernel, remote};
use nvmfd::config::model::Destination;
use nvmfd_tests::kernel::plane::EnginePlane;
use tracing::level_filters::LevelFilter;

fn main() -> ExitCode {
    let Some(socket) = std::env::args_os().nth(1) else {
        eprintln!("usage: fake-kernel SOCKET");
        return ExitCode::from(64);
    };
    if let Err(error) = nvmfd::log::start(Destination::Stderr, LevelFilter::INFO) {
        eprintln!("fake-kernel: {}", error.report());
        return ExitCode::FAILURE;
    }
    let listener = match UnixListener::bind(&socket) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("fake-kernel: {}: {error}", socket.display());
            return ExitCode::FAILURE;
        }
    };
    let kernel = FakeKernel::new(Arc::new(EnginePlane::default())).unpatched();
    println!("ready");
    // Nobody may be listening any more.
    let _ = std::io::stdout().flush();
    match remote::serve(&listener, &kernel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-kernel: {error}");
            ExitCode::FAILURE
        }
    }
}
