//! An operator who cannot leave the configuration alone.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nvmfd::control::message::Request;
use nvmfd_tests::operator;
use nvmfd_tests::target::Target;

/// One who reloads, until it goes.
pub(crate) struct Reloads {
    /// Says the end by being gone.
    end: Option<SyncSender<()>>,
    thread: Option<JoinHandle<u32>>,
}

/// Between two reloads: while one is done nothing is handed over to the kernel, and nobody is so eager that
/// nothing else is done.
const PACE: Duration = Duration::from_millis(50);

/// What the file says besides, one after the other: a namespace and a subsystem come and go, and limits
/// change.
const CHANGES: [(&str, &str); 4] = [
    ("", "\n[[subsystem.namespace]]\nnsid = 2\nram = \"1m\"\n"),
    ("[limits]\nnegotiation-time = \"9s\"\n", ""),
    ("[limits]\nnegotiations-per-address = 500\n", ANOTHER),
    ("", ""),
];

const ANOTHER: &str = r#"
[[subsystem]]
nqn = "nqn.2014-08.org.example:another"
mode = "user"
portals = ["front"]
allow-any-host = true

[[subsystem.namespace]]
nsid = 1
ram = "1m"
"#;

impl Reloads {
    /// The file says `config` when it begins and when it ends.
    pub(crate) fn of(target: &Target, config: &str) -> Self {
        let (end, ends) = sync_channel::<()>(0);
        let (file, socket, config) = (target.config(), target.socket(), config.to_owned());
        let thread = thread::spawn(move || {
            let mut count = 0;
            loop {
                let mut goes_on = true;
                for (before, after) in CHANGES {
                    reload(&file, &socket, &format!("{before}{config}{after}"));
                    count += 1;
                    goes_on = ends.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout);
                }
                if !goes_on {
                    return count;
                }
            }
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Waits until the file is again what it was; how often it was read.
    pub(crate) fn end(mut self) -> u32 {
        self.end = None;
        let thread = self.thread.take().expect("it was not ended");
        thread.join().expect("every reload succeeds")
    }
}

fn reload(file: &Path, socket: &Path, text: &str) {
    fs::write(file, text).expect("a file");
    operator::planned(operator::ask(socket, Request::Reload)).expect("it is served");
}
