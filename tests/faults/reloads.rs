//! An operator who cannot leave the configuration alone.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nvmfd::control::message::Request;
use nvmfd_tests::operator;
use nvmfd_tests::target::Target;

/// One who reloads, until it goes.
pub(crate) struct Reloads {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<u32>>,
}

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
        let end = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&end);
        let (file, socket, config) = (target.config(), target.socket(), config.to_owned());
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !ends.load(Ordering::SeqCst) {
                for (before, after) in CHANGES {
                    let text = format!("{before}{config}{after}");
                    reload(&file, &socket, &text);
                    count += 1;
                }
            }
            count
        });
        Self {
            end,
            thread: Some(thread),
        }
    }

    /// Waits until the file is again what it was; how often it was read.
    pub(crate) fn end(mut self) -> u32 {
        self.end.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it was not ended");
        thread.join().expect("every reload succeeds")
    }
}

impl Drop for Reloads {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
    }
}

fn reload(file: &Path, socket: &Path, text: &str) {
    fs::write(file, text).expect("a file");
    operator::planned(operator::ask(socket, Request::Reload)).expect("it is served");
}
