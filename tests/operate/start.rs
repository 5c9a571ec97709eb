//! Starts that fail, and the way into the background.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd::control::message::{Answer, Request};
use nvmfd_tests::operator;
use nvmfd_tests::target::binary;

use crate::scene::{A, HEAD, Result, subsystem};

/// nvmfd with a file, a socket and a pid file in this directory, which it is started in.
fn nvmfd(directory: &Path) -> Result<Command> {
    let text = format!("{HEAD}{}", subsystem(A, &[(1, "ram = \"8m\"")]));
    fs::write(directory.join("nvmfd.toml"), text)?;
    let mut command = Command::new(binary());
    command
        .args(["-f", "nvmfd.toml", "--socket", "ctl", "--pid-file", "pid"])
        .current_dir(directory)
        .stdin(Stdio::null());
    Ok(command)
}

/// What descriptors are of; those that are closed meanwhile are of nothing.
fn leads_to(descriptors: fs::ReadDir) -> Vec<PathBuf> {
    let descriptors = descriptors.filter_map(std::result::Result::ok);
    descriptors
        .filter_map(|it| fs::read_link(it.path()).ok())
        .collect()
}

/// A daemon that nobody waits for. It is killed when this goes.
struct Background(u32);

impl Drop for Background {
    fn drop(&mut self) {
        if let Ok(process) = i32::try_from(self.0) {
            // It has ended, if all is well.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}

fn names(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries: std::result::Result<Vec<_>, _> = fs::read_dir(directory)?.collect();
    let mut names: Vec<_> = entries?.iter().map(|it| it.file_name().into()).collect();
    names.sort();
    Ok(names)
}

#[test]
fn a_start_that_fails_at_its_last_step_leaves_nothing() -> Result {
    let directory = tempfile::tempdir()?;
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("NOT RUN: this system has no /dev/full");
        return Ok(());
    };
    let output = nvmfd(directory.path())?.arg("-d").stdout(full).output()?;
    assert_eq!(output.status.code(), Some(71));
    let told = String::from_utf8(output.stderr)?;
    assert!(told.contains("cannot print what is served"), "{told}");
    assert_eq!(names(directory.path())?, [Path::new("nvmfd.toml")]);
    Ok(())
}

#[test]
fn the_background_keeps_nothing_of_where_it_was_started() -> Result {
    let directory = tempfile::tempdir()?;
    // Whoever holds these open would keep this from returning.
    let output = nvmfd(directory.path())?.output()?;
    assert!(output.status.success(), "{output:?}");
    let socket = directory.path().join("ctl");
    let status = operator::status(&socket);
    let _background = Background(status.pid);
    let worker = status.worker.pid.expect("a worker");
    let pipes = |process: &str| {
        let mut places = leads_to(fs::read_dir(format!("/proc/{process}/fd"))?);
        places.retain(|place| place.to_string_lossy().starts_with("pipe:"));
        Ok::<_, Box<dyn std::error::Error>>(places)
    };
    if !Path::new("/proc/self/fd").exists() {
        eprintln!("NOT RUN: what its descriptors are: this system has no /proc");
    } else {
        for process in [status.pid, worker] {
            let at = fs::read_link(format!("/proc/{process}/cwd"))?;
            assert_eq!(at, Path::new("/"));
        }
        let (monitor, worker) = (pipes(&status.pid.to_string())?, pipes(&worker.to_string())?);
        // What this test has from cargo is not the daemon's to close; the worker's lines go to the
        // monitor.
        let ours = pipes("self")?;
        for pipe in monitor.iter().chain(&worker) {
            let between_them = monitor.contains(pipe) && worker.contains(pipe);
            let pipe = pipe.display();
            assert!(
                between_them || ours.contains(&pipe.to_string().into()),
                "it keeps {pipe}"
            );
        }
    }
    let second = nvmfd(directory.path())?.output()?;
    assert_eq!(second.status.code(), Some(69), "{second:?}");
    assert!(String::from_utf8(second.stderr)?.contains(&status.pid.to_string()));
    assert_eq!(operator::ask(&socket, Request::Leave), Answer::Done);
    let deadline = Instant::now() + Duration::from_secs(20);
    while directory.path().join("pid").exists() {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(names(directory.path())?, [Path::new("nvmfd.toml")]);
    Ok(())
}
