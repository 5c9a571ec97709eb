//! The real CTL: `/dev/cam/ctl`.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno as SystemErrno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::Errno;
use crate::ioctl;
use crate::kernel::{Call, Kernel};

/// Where FreeBSD has it (`CTL_DEFAULT_DEV` of `sys/cam/ctl/ctl_ioctl.h`).
pub const PATH: &str = "/dev/cam/ctl";

/// CTL's device, open, and ours as long as it is.
#[derive(Debug)]
pub enum CtlDevice {
    /// With a lock.
    Locked(Flock<File>),
    /// Without one of its own: another process has it, or the system locks no devices, which is no
    /// reason not to serve.
    Unlocked(File),
}

impl CtlDevice {
    /// Opens CTL's device ([`crate::module::open_ctl`] knows which), and locks it: two daemons would each remove what the other has made. Other
    /// programs that use CTL do not lock it.
    ///
    /// # Errors
    /// The system's; `NotFound` while CTL is not loaded, `WouldBlock` while another daemon has it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self::Locked(file)),
            Err((_, errno @ SystemErrno::EWOULDBLOCK)) => Err(errno.into()),
            Err((file, _)) => Ok(Self::Unlocked(file)),
        }
    }
}

impl From<OwnedFd> for CtlDevice {
    /// The device as another process has opened, and perhaps locked, it.
    fn from(descriptor: OwnedFd) -> Self {
        Self::Unlocked(descriptor.into())
    }
}

impl AsFd for CtlDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Locked(file) => file.as_fd(),
            Self::Unlocked(file) => file.as_fd(),
        }
    }
}

impl Kernel for CtlDevice {
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno> {
        match self {
            Self::Locked(file) => ioctl::ioctl(file, call),
            Self::Unlocked(file) => ioctl::ioctl(file, call),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_at_a_time() {
        let path = std::env::temp_dir().join(format!("nvmf-kmod-lock-{}", std::process::id()));
        File::create(&path).unwrap();
        let first = CtlDevice::open(&path).unwrap();
        let second = CtlDevice::open(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(CtlDevice::open(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_not_ctl_refuses_and_says_so() {
        let device = CtlDevice::open(Path::new("/dev/null")).unwrap();
        let ctl = crate::Ctl::new(std::sync::Arc::new(device));
        let error = ctl.enable_port(crate::request::PortId(3)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOTTY));
        let line = "cannot enable port 3: inappropriate ioctl for device (ENOTTY)";
        assert_eq!(error.to_string(), line);
    }
}
