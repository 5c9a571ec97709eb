//! Records what passes between a host and nvmfd.

use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use crate::child;
use crate::target::{DISCOVERY_PORT, PORT, send};

/// A pcap of both ports while `conversation` runs.
pub(crate) fn record(file: &Path, conversation: impl FnOnce()) -> Result<(), String> {
    // It would have started long before a guest has booted.
    let mut tcpdump = start(file)?;
    conversation();
    send(&tcpdump, Signal::SIGINT)?;
    match tcpdump.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("tcpdump: {status}")),
        Err(error) => Err(format!("tcpdump: {error}")),
    }
}

fn start(file: &Path) -> Result<Child, String> {
    child("tcpdump")
        // --immediate-mode: the last second is there when it is told to stop.
        // -Z: keeps the right to write where the user wants the file.
        .args(["-i", "lo", "-s", "0", "-U", "--immediate-mode"])
        .args(["-Z", "root", "-w"])
        .arg(file)
        .arg(format!("tcp port {PORT} or tcp port {DISCOVERY_PORT}"))
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("tcpdump: {error}; tests/vm/packages.txt names its package"))
}
