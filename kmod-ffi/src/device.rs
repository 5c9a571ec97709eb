//! The real CTL: `/dev/cam/ctl`.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::Errno;
use crate::ioctl;
use crate::kernel::{Call, Kernel};

/// Where FreeBSD has it (`CTL_DEFAULT_DEV` of `sys/cam/ctl/ctl_ioctl.h`).
pub const PATH: &str = "/dev/cam/ctl";

/// CTL's device, open.
#[derive(Debug)]
pub struct CtlDevice(File);

impl CtlDevice {
    /// Opens CTL's device.
    ///
    /// # Errors
    /// The system's; `NotFound` while CTL is not loaded.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(Self)
    }
}

impl Kernel for CtlDevice {
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno> {
        ioctl::ioctl(&self.0, call)
    }
}
