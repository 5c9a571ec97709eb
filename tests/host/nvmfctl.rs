//! `nvmfctl host`, run as an operator runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd_tests::program::{Profile, nvmfctl};
use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) out: Vec<u8>,
    /// What it said on standard error.
    pub(crate) said: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// Its standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("text")
    }

    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.out).expect("JSON")
    }

    /// It did what it should.
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.status, 0, "{}", self.said);
        self
    }

    /// It did not, with this status, and said so in one line.
    pub(crate) fn fails(self, status: i32, words: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.said);
        assert!(self.said.contains(words), "{:?} lacks {words:?}", self.said);
        assert!(self.said.starts_with("nvmfctl: ") && self.said.ends_with('\n'));
        let odd = |c: char| c.is_control();
        assert!(!self.said.trim_end().contains(odd), "{:?}", self.said);
        self
    }
}

/// Runs `nvmfctl host` to its end.
pub(crate) fn host(arguments: &[&str]) -> Ended {
    host_with_input(arguments, &[])
}

/// Runs it with this on its standard input.
pub(crate) fn host_with_input(arguments: &[&str], input: &[u8]) -> Ended {
    let mut running = Running::start(arguments);
    let mut stdin = running.child.stdin.take().expect("a pipe");
    // It need not read all of it.
    let _ = stdin.write_all(input);
    drop(stdin);
    running.end()
}

/// A run that goes on.
pub(crate) struct Running {
    pub(crate) child: Child,
    since: Instant,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let child = Command::new(binary())
            .arg("host")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nvmfctl can be started");
        let since = Instant::now();
        Self { child, since }
    }

    pub(crate) fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).expect("a process identifier");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    }

    pub(crate) fn end(self) -> Ended {
        let Output {
            status,
            stdout,
            stderr,
        } = self.child.wait_with_output().expect("it ends");
        Ended {
            status: status.code().expect("an exit status"),
            out: stdout,
            said: String::from_utf8(stderr).expect("text"),
            took: self.since.elapsed(),
        }
    }
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| nvmfctl(Profile::AsThisTest).expect("nvmfctl can be built"))
}
