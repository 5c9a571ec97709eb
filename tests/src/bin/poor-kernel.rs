//! Starts a program as if the kernel were a poorer one: `poor-kernel WITHOUT,... PROGRAM [ARGUMENT...]`,
//! where WITHOUT is `seccomp` or `landlock`. On Linux alone, where it is a filter of system calls itself.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use std::collections::BTreeMap;
    use std::env::consts::ARCH;
    use std::os::unix::process::CommandExt;

    use nix::libc;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    let mut arguments = std::env::args_os().skip(1);
    let (Some(without), Some(program)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: poor-kernel seccomp|landlock[,...] PROGRAM [ARGUMENT...]");
        return ExitCode::from(64);
    };
    let mut calls = BTreeMap::new();
    for without in without.to_string_lossy().split(',') {
        let call = match without {
            "seccomp" => libc::SYS_seccomp,
            "landlock" => libc::SYS_landlock_create_ruleset,
            _ => {
                eprintln!("poor-kernel: nothing is called {without}");
                return ExitCode::from(64);
            }
        };
        calls.insert(call, Vec::new());
    }
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let applied = ARCH
        .try_into()
        .and_then(|arch| SeccompFilter::new(calls, SeccompAction::Allow, missing, arch))
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
        .and_then(|filter| apply_filter(&filter).map_err(|error| error.to_string()));
    if let Err(error) = applied {
        eprintln!("poor-kernel: {error}");
        return ExitCode::from(71);
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    eprintln!("poor-kernel: {error}");
    ExitCode::from(71)
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("poor-kernel: this system has neither seccomp nor Landlock");
    ExitCode::from(75)
}
