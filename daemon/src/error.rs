//! Why the daemon did not start: one line each, which says what to do, and an exit status.
//!
//! Every error of start-up ends here, and only `main` prints one, as [`StartupError::report`]. A
//! line names what was given, then the way out. Errors of a running daemon are elsewhere: they
//! end a connection or a request, never the daemon.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nvmf_kmod::KernelError;
use nvmf_kmod::module::ModuleError;

use crate::config::Problems;
use crate::control::OpenError;
use crate::reconcile::ReconcileError;

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The command line is wrong; the message is about one option or device.
    #[error("{message} (nvmfd --help lists the options)")]
    Usage {
        /// What is wrong, with the offending text in it.
        message: String,
    },
    /// No file has the name.
    #[error("{path}: no such file; check the name, or create one: truncate -s 1g {path}")]
    NoSuchDevice {
        /// As given.
        path: PathText,
    },
    /// The name belongs to a directory, a terminal, a socket…
    #[error("{path} is {what}; name a regular file, a disk or ramdisk:SIZE")]
    NotStorage {
        /// As given.
        path: PathText,
        /// What it is, with its article.
        what: &'static str,
    },
    /// The system says no. FreeBSD says this of mounted disks, too.
    #[error("{path}: no permission to write it; run nvmfd as root, and unmount it if mounted")]
    DevicePermission {
        /// As given.
        path: PathText,
    },
    /// A medium or a file system that cannot be written.
    #[error("{path} is read-only, which nvmfd does not serve; make its file system writable")]
    DeviceReadOnly {
        /// As given.
        path: PathText,
    },
    /// A disk that is mounted, or part of a volume.
    #[error("{path} is in use by this machine; unmount it, or take it out of its volume or swap")]
    DeviceBusy {
        /// As given.
        path: PathText,
    },
    /// Another program has the lock.
    #[error("{path} is served already, by another nvmfd or under a second name; stop that first")]
    DeviceLocked {
        /// As given.
        path: PathText,
    },
    /// Nothing to serve.
    #[error("{path} is empty; give it a size: truncate -s 1g {path}")]
    DeviceEmpty {
        /// As given.
        path: PathText,
    },
    /// A size that blocks do not divide.
    #[error(
        "{path} has {bytes} bytes, which is no multiple of {block_size}; enlarge it: \
         truncate -s {} {path}",
        bytes.next_multiple_of(u64::from(*block_size))
    )]
    DeviceSize {
        /// As given.
        path: PathText,
        /// Its size.
        bytes: u64,
        /// Bytes of a block.
        block_size: u32,
    },
    /// Sectors that NVMe cannot express.
    #[error(
        "{path} has sectors of {sector} bytes, which NVMe does not have; serve a file on it instead"
    )]
    DeviceSectors {
        /// As given.
        path: PathText,
        /// Bytes of a sector.
        sector: u32,
    },
    /// Whatever else may happen to a device.
    #[error("cannot open {path}")]
    OpenDevice {
        /// As given.
        path: PathText,
        /// The system's word.
        source: io::Error,
    },
    /// Somebody listens there.
    #[error(
        "{address} is in use; stop what listens there, or choose another port with {}",
        service.port_option()
    )]
    AddressInUse {
        /// Where we would listen.
        address: SocketAddr,
        /// For what.
        service: Service,
    },
    /// No interface has the address.
    #[error(
        "{} is not an address of this machine; see its addresses with ifconfig or ip address, and \
         choose with {}",
        address.ip(),
        service.listen_option()
    )]
    AddressUnknown {
        /// Where we would listen.
        address: SocketAddr,
        /// For what.
        service: Service,
    },
    /// A listener of ours is in the way, which the system lets go of only when it is closed.
    #[error(
        "{address} cannot be listened on while this daemon has {taken}; keep that, or restart nvmfd"
    )]
    AddressOurs {
        /// Where we would listen.
        address: SocketAddr,
        /// Where we do.
        taken: SocketAddr,
    },
    /// A port below 1024, as a rule.
    #[error(
        "no permission to listen on {address}; run nvmfd as root, or choose a port above \
         1023 with {}",
        service.port_option()
    )]
    AddressPermission {
        /// Where we would listen.
        address: SocketAddr,
        /// For what.
        service: Service,
    },
    /// Whatever else may happen to a listener.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where we would listen.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// Another daemon holds the pid file.
    #[error(
        "nvmfd runs already{}; stop it, or run this one in the foreground with -d",
        running(*pid)
    )]
    AlreadyRunning {
        /// Its process id, if it wrote one.
        pid: Option<u32>,
    },
    /// The pid file cannot be made.
    #[error("cannot write {path}; run nvmfd as root, or in the foreground with -d")]
    PidFile {
        /// Where it belongs.
        path: PathText,
        /// The system's word.
        source: io::Error,
    },
    /// A path that the kernel's lists cannot hold.
    #[error("{path} is no text, which kernel mode needs; give it another name")]
    PathEncoding {
        /// As given.
        path: PathText,
    },
    /// The configuration file; all of its problems, in several lines.
    #[error("{0}")]
    Config(Problems),
    /// The process that serves did not come up.
    #[error("{0}")]
    Worker(String),
    /// Nobody has the name of who the worker is to be.
    #[error("there is no user {name} for the worker to be; name another, or make it one")]
    NoSuchUser {
        /// As given.
        name: String,
    },
    /// There is no kernel mode here.
    #[error(transparent)]
    NoKernelMode(#[from] ModuleError),
    /// The kernel does not export what it is asked to.
    #[error(transparent)]
    Export(ReconcileError),
    /// Something of ours is left in the kernel at the end.
    #[error(
        "not everything that was exported could be removed; nvmfd -K with the same name adopts it"
    )]
    Withdraw(#[source] ReconcileError),
    /// The kernel does not tell.
    #[error(transparent)]
    Kernel(KernelError),
    /// There is no control socket.
    #[error(transparent)]
    Control(#[from] OpenError),
    /// The system refuses what every daemon needs.
    #[error("cannot {what}")]
    System {
        /// What was asked, as it follows "cannot".
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
}

impl StartupError {
    /// What an attempt to open the device at `path` ended with.
    pub fn opening(path: &Path, source: io::Error) -> Self {
        let path = PathText::from(path);
        let is = |kind| source.kind() == kind;
        if is(io::ErrorKind::NotFound) {
            Self::NoSuchDevice { path }
        } else if is(io::ErrorKind::PermissionDenied) {
            Self::DevicePermission { path }
        } else if is(io::ErrorKind::ReadOnlyFilesystem) {
            Self::DeviceReadOnly { path }
        } else if is(io::ErrorKind::ResourceBusy) {
            Self::DeviceBusy { path }
        } else {
            Self::OpenDevice { path, source }
        }
    }

    /// What an attempt to listen on `address` ended with.
    pub fn listening(address: SocketAddr, service: Service, source: io::Error) -> Self {
        let is = |kind| source.kind() == kind;
        if is(io::ErrorKind::AddrInUse) {
            Self::AddressInUse { address, service }
        } else if is(io::ErrorKind::AddrNotAvailable) {
            Self::AddressUnknown { address, service }
        } else if is(io::ErrorKind::PermissionDenied) {
            Self::AddressPermission { address, service }
        } else {
            Self::Listen { address, source }
        }
    }

    /// Whether a daemon that was killed a moment ago may be the reason.
    pub fn is_of_a_predecessor(&self) -> bool {
        matches!(
            self,
            Self::AddressInUse { .. }
                | Self::DeviceLocked { .. }
                | Self::NoKernelMode(ModuleError::Locked)
        )
    }

    /// The status that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::DeviceEmpty { .. } | Self::DeviceSize { .. } | Self::DeviceSectors { .. } => {
                Exit::Data
            }
            Self::NoSuchDevice { .. }
            | Self::NotStorage { .. }
            | Self::DeviceReadOnly { .. }
            | Self::OpenDevice { .. } => Exit::NoInput,
            Self::DeviceBusy { .. }
            | Self::DeviceLocked { .. }
            | Self::AddressInUse { .. }
            | Self::AddressOurs { .. }
            | Self::AddressUnknown { .. }
            | Self::AlreadyRunning { .. } => Exit::Unavailable,
            Self::DevicePermission { .. } | Self::AddressPermission { .. } => Exit::NoPermission,
            Self::PathEncoding { .. } => Exit::Data,
            Self::Config(problems) if problems.is_unreadable() => Exit::NoInput,
            Self::Config(_) => Exit::Data,
            Self::Worker(_) => Exit::System,
            Self::NoSuchUser { .. } => Exit::NoUser,
            Self::NoKernelMode(ModuleError::NotRoot | ModuleError::Jailed) => Exit::NoPermission,
            Self::NoKernelMode(_) | Self::Export(_) | Self::Kernel(_) => Exit::Unavailable,
            Self::Withdraw(_) => Exit::System,
            Self::PidFile { .. } => Exit::CannotCreate,
            Self::Control(error) => error.exit(),
            Self::Listen { .. } | Self::System { .. } => Exit::System,
        }
    }

    /// The line to print, with the chain of sources.
    pub fn report(&self) -> String {
        chain(self)
    }
}

/// An error and its sources, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}

/// Exit status, as `sysexits.h` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line.
    Usage = 64,
    /// A device whose size or form cannot be served.
    Data = 65,
    /// A device that is not there, or not what it should be.
    NoInput = 66,
    /// A user who is not there.
    NoUser = 67,
    /// A name without an address.
    NoHost = 68,
    /// Something that is in use, or a peer that does not serve.
    Unavailable = 69,
    /// The system's refusal.
    System = 71,
    /// The pid file, the control socket, or a file that cannot be made.
    CannotCreate = 73,
    /// A read or a write that failed.
    InputOutput = 74,
    /// A peer that breaks the protocol.
    Protocol = 76,
    /// Permissions.
    NoPermission = 77,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a listener is for, and by which options it is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Subsystems.
    Io,
    /// The discovery controller.
    Discovery,
    /// Counters.
    Metrics,
}

impl Service {
    fn port_option(self) -> &'static str {
        match self {
            Self::Io => "-p, or in its [[portal]]",
            Self::Discovery => "-P, or in [discovery]",
            Self::Metrics => "listen in [metrics]",
        }
    }

    fn listen_option(self) -> &'static str {
        match self {
            Self::Io => "--listen, or in its [[portal]]",
            Self::Discovery => "--discovery-listen, or in [discovery]",
            Self::Metrics => "listen in [metrics]",
        }
    }
}

/// A path that keeps to its line, whatever bytes it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathText(PathBuf);

impl From<&Path> for PathText {
    fn from(path: &Path) -> Self {
        Self(path.into())
    }
}

impl From<PathBuf> for PathText {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl std::fmt::Display for PathText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let escape = |c: char| c.is_control().then(|| c.escape_default());
        for c in self.0.to_string_lossy().chars() {
            match escape(c) {
                Some(escaped) => write!(f, "{escaped}")?,
                None => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

fn running(pid: Option<u32>) -> String {
    pid.map(|pid| format!(", as process {pid}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(kind: io::ErrorKind) -> StartupError {
        StartupError::opening(Path::new("disk.img"), kind.into())
    }

    #[test]
    fn every_refusal_to_open_says_what_to_do() {
        let cases = [
            (
                io::ErrorKind::NotFound,
                "truncate -s 1g disk.img",
                Exit::NoInput,
            ),
            (
                io::ErrorKind::PermissionDenied,
                "run nvmfd as root",
                Exit::NoPermission,
            ),
            (io::ErrorKind::ReadOnlyFilesystem, "writable", Exit::NoInput),
            (io::ErrorKind::ResourceBusy, "unmount it", Exit::Unavailable),
            (
                io::ErrorKind::TimedOut,
                "cannot open disk.img: timed out",
                Exit::NoInput,
            ),
        ];
        for (kind, words, exit) in cases {
            let error = opening(kind);
            assert!(error.report().contains(words), "{}", error.report());
            assert_eq!(error.exit(), exit);
        }
    }

    #[test]
    fn a_port_in_use_names_the_option_that_moves_it() {
        let address = "[::]:8009".parse().unwrap();
        let source = || io::Error::from(io::ErrorKind::AddrInUse);
        let io = StartupError::listening(address, Service::Io, source());
        let discovery = StartupError::listening(address, Service::Discovery, source());
        assert!(io.report().starts_with("[::]:8009 is in use"));
        assert!(io.report().ends_with("with -p, or in its [[portal]]"));
        assert!(discovery.report().ends_with("with -P, or in [discovery]"));
        assert_eq!(io.exit() as u8, 69);
    }

    #[test]
    fn the_way_to_a_good_size_is_given() {
        let path = PathText::from(Path::new("a"));
        let error = StartupError::DeviceSize {
            path,
            bytes: 1000,
            block_size: 512,
        };
        assert!(error.report().ends_with("truncate -s 1024 a"), "{error}");
        assert_eq!(error.exit() as u8, 65);
    }

    #[test]
    fn a_path_keeps_to_its_line() {
        let error =
            StartupError::opening(Path::new("a\nb\x1b[31m"), io::ErrorKind::NotFound.into());
        assert!(error.report().starts_with("a\\nb\\u{1b}[31m: no such file"));
    }

    #[test]
    fn another_daemon_is_named() {
        let with = StartupError::AlreadyRunning { pid: Some(42) };
        assert!(
            with.report()
                .starts_with("nvmfd runs already, as process 42; stop it")
        );
        let without = StartupError::AlreadyRunning { pid: None };
        assert!(without.report().starts_with("nvmfd runs already; stop it"));
    }
}
