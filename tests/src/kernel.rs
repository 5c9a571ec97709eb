//! FreeBSD's kernel, played: CTL and nvmft as `nvmf_kmod::fake` judges them, with queues that our own
//! userspace engine serves. It runs here, not in the daemon, and so outlives every daemon that uses it.

pub mod plane;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nvmf_kmod::fake::FakeKernel;
use nvmf_kmod::fake::faults::Fault;
use nvmf_kmod::fake::remote::{self, RemoteKernel};
use plane::EnginePlane;
use tempfile::TempDir;

/// A kernel that a daemon reaches by a socket.
#[derive(Debug)]
pub struct Kernel {
    fake: FakeKernel,
    socket: PathBuf,
    /// Goes with the kernel, and the socket with it.
    _directory: TempDir,
}

impl Kernel {
    /// A kernel that serves what it is handed, without the remedy for CVE-2026-4652: any daemon of ours
    /// must get along with it.
    pub fn start() -> Self {
        let plane = Arc::new(EnginePlane::default());
        Self::of(FakeKernel::new(plane).unpatched())
    }

    /// The same with the remedy.
    pub fn patched() -> Self {
        Self::of(FakeKernel::new(Arc::new(EnginePlane::default())))
    }

    /// This kernel.
    ///
    /// # Panics
    /// If it cannot be reached.
    pub fn of(fake: FakeKernel) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = directory.path().join("ctl");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let served = fake.clone();
        std::thread::spawn(move || remote::serve(&listener, &served));
        Self {
            fake,
            socket,
            _directory: directory,
        }
    }

    /// What it knows.
    pub fn fake(&self) -> &FakeKernel {
        &self.fake
    }

    /// Where a daemon reaches it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// CTL as another program on the same machine asks it.
    pub fn ctl(&self) -> nvmf_kmod::Ctl {
        nvmf_kmod::Ctl::new(Arc::new(self.fake.clone()))
    }

    /// Orders a failure for whoever asks next.
    ///
    /// # Panics
    /// If the kernel cannot be reached.
    pub fn order(&self, fault: &Fault) {
        let control = RemoteKernel::connect(&self.socket).expect("the kernel listens");
        control.order(fault).expect("a failure can be ordered");
    }

    /// Nothing was done to it that a real one panics at, or that no good daemon does.
    ///
    /// # Panics
    /// If anything was.
    pub fn is_well(&self) {
        assert_eq!(self.fake.panicked(), None);
        assert_eq!(self.fake.misuses(), Vec::<String>::new());
    }
}
