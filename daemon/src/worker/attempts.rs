//! Everything that a confined worker must not be able to do, tried from inside. In programs for tests
//! alone: what a shipped one has of this is nothing.
//!
//! It is done in a thread that was started after the confinement, with the rights of all that serve. What
//! came of each attempt is a line of the log, and so is their end; the last one is to become another
//! program, after whose success there is nobody to say so.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Pid, Uid, execv, setgid, setgroups, setuid};
use tracing::{error, info};

use crate::ipc::Channel;
use crate::os;

/// Where the attempts find a file that anybody may read, write and remove, `kept`; and a socket that
/// anybody may connect to, `socket`.
pub(super) const DIRECTORY: &str = "NVMFD_ATTEMPTS_IN";

/// Where somebody listens.
pub(super) const ADDRESS: &str = "NVMFD_ATTEMPTS_AT";

/// Whom the attempts are made against.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    directory: PathBuf,
    address: SocketAddr,
    monitor: Pid,
}

impl Attempts {
    /// What the environment asks for. To be called before anything is forbidden.
    pub(super) fn wanted() -> Option<Self> {
        let address = std::env::var(ADDRESS).ok()?;
        let monitor = std::os::unix::process::parent_id();
        Some(Self {
            directory: std::env::var_os(DIRECTORY)?.into(),
            address: address.parse().ok()?,
            monitor: Pid::from_raw(monitor.try_into().ok()?),
        })
    }

    /// Makes them, and does not wait for their end.
    pub(super) fn make(self, channel: &Channel) -> io::Result<()> {
        let channel = channel.try_clone()?;
        let run = move || self.run(&channel);
        thread::Builder::new().name("attempts".into()).spawn(run)?;
        Ok(())
    }

    fn run(&self, channel: &Channel) {
        self.read_and_write();
        self.talk();
        self.meddle(channel);
        for call in os::forbidden_calls() {
            attempt(&format!("the system call {call}"), Ok::<_, Errno>(()));
        }
        info!("attempts: all but the last are made");
        attempt(
            "become another program",
            execv(c"/bin/sh", &[c"sh", c"-c", c":"]).map(drop),
        );
        info!("attempts: the end");
    }

    fn read_and_write(&self) {
        let kept = self.directory.join("kept");
        let new = |name: &str| self.directory.join(name);
        let monitor = PathBuf::from(format!("/proc/{}", self.monitor));
        attempt("read a file", fs::read(&kept));
        attempt("write a file", File::options().write(true).open(&kept));
        attempt("make a file", File::create(new("made")));
        attempt("look at a file", fs::metadata(&kept));
        attempt("link to a file", symlink(&kept, new("link")));
        attempt("make a directory", fs::create_dir(new("directory")));
        attempt("list a directory", fs::read_dir("/"));
        attempt(
            "go to a directory",
            std::env::set_current_dir(&self.directory),
        );
        attempt("open a device", File::open("/dev/null"));
        attempt("read its own memory by name", File::open("/proc/self/mem"));
        // Where there is no such file system, there is nothing to find.
        attempt("read the monitor's memory", File::open(monitor.join("mem")));
        attempt(
            "read the monitor's environment",
            fs::read(monitor.join("environ")),
        );
        attempt(
            "follow the monitor's descriptors",
            fs::read_dir(monitor.join("fd")),
        );
        attempt("rename a file", fs::rename(&kept, new("renamed")));
        attempt("remove a file", remove(&new("renamed"), &kept));
    }

    fn talk(&self) {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        attempt("connect to an address", TcpStream::connect(self.address));
        attempt("listen at an address", TcpListener::bind(here));
        let datagram = UdpSocket::bind(here);
        attempt("have a socket for datagrams", datagram);
        let socket = self.directory.join("socket");
        attempt("connect to a path", UnixStream::connect(socket));
        let path = self.directory.join("another");
        attempt("listen at a path", UnixListener::bind(path));
        let send = || UnixDatagram::unbound()?.send_to(b"x", "/var/run/log");
        attempt("send to syslog", send());
    }

    fn meddle(&self, channel: &Channel) {
        attempt(
            "ask for what no ioctl is for",
            rustix::io::ioctl_fionread(channel),
        );
        attempt("signal the monitor", kill(self.monitor, None));
        attempt("trace the monitor", trace(self.monitor));
        attempt("become root", become_root());
        attempt("have groups", setgroups(&[Gid::from_raw(0)]));
        attempt(
            "be another program's parent",
            Command::new("/bin/sh").args(["-c", ":"]).status(),
        );
    }
}

/// Says what came of one.
fn attempt<T, E: std::fmt::Display>(what: &str, outcome: Result<T, E>) {
    match outcome {
        Ok(_) => error!("attempt to {what}: SUCCEEDED"),
        Err(error) => info!("attempt to {what}: refused: {error}"),
    }
}

/// Whichever name it has by now.
fn remove(one: &Path, other: &Path) -> io::Result<()> {
    fs::remove_file(one).or_else(|_| fs::remove_file(other))
}

/// Stops it for a moment, if it can.
fn trace(process: Pid) -> Result<(), Errno> {
    ptrace::attach(process)?;
    let _ = waitpid(process, None);
    ptrace::detach(process, None)
}

/// Root that stays root has become nothing.
fn become_root() -> Result<(), Errno> {
    setuid(Uid::from_raw(0))?;
    setgid(Gid::from_raw(0))
}
