//! Records what passes between a host and nvmfd, and has it read by somebody else's decoder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nvmfd_tests::decoder::{self, NotDecoded};

use crate::child;
use crate::target::{DISCOVERY_PORT, PORT, send};

const PORTS: [u16; 2] = [PORT, DISCOVERY_PORT];
const PATIENCE: Duration = Duration::from_secs(10);

/// A pcap of both ports that is being written.
pub(crate) struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

/// A pcap of both ports while `conversation` runs.
pub(crate) fn record(file: &Path, conversation: impl FnOnce()) -> Result<(), String> {
    let capture = Capture::start(file)?;
    conversation();
    capture.end()
}

impl Capture {
    /// From now on.
    pub(crate) fn start(file: &Path) -> Result<Self, String> {
        let said = file.with_extension("log");
        let log = File::create(&said).map_err(|error| format!("{}: {error}", said.display()))?;
        let tcpdump = child("tcpdump")
            // --immediate-mode: the last second is there when it is told to stop.
            // -Z: keeps the right to write where the user wants the file.
            .args(["-i", "lo", "-s", "0", "-U", "--immediate-mode"])
            .args(["-Z", "root", "-w"])
            .arg(file)
            .arg(format!("tcp port {PORT} or tcp port {DISCOVERY_PORT}"))
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("tcpdump: {error}; tests/vm/packages.txt names its package")
            })?;
        let capture = Self {
            tcpdump,
            file: file.to_owned(),
        };
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&said).is_ok_and(|text| text.contains("listening on")) {
            if Instant::now() > deadline {
                return Err("tcpdump does not listen".into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(capture)
    }

    /// Until now.
    pub(crate) fn end(mut self) -> Result<(), String> {
        send(&self.tcpdump, Signal::SIGINT)?;
        match self.tcpdump.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("tcpdump: {status}")),
            Err(error) => Err(format!("tcpdump: {error}")),
        }
    }

    /// Until now; and nothing in it may be malformed, and all kinds of discovery entries be read.
    pub(crate) fn judge(self) -> Result<(), String> {
        let file = self.file.clone();
        self.end()?;
        let failed = |why| match why {
            NotDecoded::NoDecoder => "not here: tshark, which reads the capture".to_owned(),
            NotDecoded::Failed(words) => format!("tshark: {words}"),
        };
        let complaints = decoder::complaints(&file, &PORTS).map_err(failed)?;
        if !complaints.is_empty() {
            let (file, count) = (file.display(), complaints.len());
            let first = complaints.iter().take(5).cloned().collect::<Vec<_>>();
            return Err(format!("{count} frames of {file}: {}", first.join("; ")));
        }
        let entries = decoder::discovery_entries(&file, &PORTS).map_err(failed)?;
        let kinds: BTreeSet<u32> = entries.iter().map(|it| it.subtype).collect();
        match kinds.is_superset(&[1, 2, 3].into()) {
            true => Ok(()),
            false => Err(format!("tshark sees no entries but of subtypes {kinds:?}")),
        }
    }
}
