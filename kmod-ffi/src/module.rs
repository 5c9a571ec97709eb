//! From any FreeBSD to an open `/dev/cam/ctl`: the kernel modules that kernel mode needs, loaded where
//! they are missing, and what is in the way said in words.
//!
//! `ctl` makes the device, `nvmft` is CTL's NVMe over Fabrics front end (and brings `nvmf_transport`),
//! `nvmf/tcp` the transport: without it the kernel of 15.0 reads an uninitialised pointer at the first
//! hand-off. All of it needs root outside a jail, before privileges are dropped.

use std::io;
use std::path::Path;

use crate::device::{self, CtlDevice};
use crate::error::Errno;

/// Why kernel mode is not to be had here.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// Another system.
    #[error(
        "kernel mode needs FreeBSD 15.0 or later, and this is {0}; leave -K out to serve from userland"
    )]
    NotFreeBsd(String),
    /// `nvmft` came with 15.0.
    #[error(
        "kernel mode needs FreeBSD 15.0 or later, and this kernel is {0}; leave -K out to serve from userland"
    )]
    TooOld(String),
    /// Jails may not load modules or use CTL.
    #[error("kernel mode does not work in a jail; run nvmfd on the host, or leave -K out")]
    Jailed,
    /// Modules are loaded, and CTL is used, by root only.
    #[error("kernel mode needs root")]
    NotRoot,
    /// A module could not be loaded.
    #[error(
        "cannot load the kernel module {module}: {errno}; 'kldload {module}' and dmesg tell more"
    )]
    Load {
        /// The module's file.
        module: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// Another daemon of ours has it.
    #[error("another nvmfd serves kernel mode already; stop it first")]
    Locked,
    /// The device could not be opened.
    #[error("cannot open {}: {source}", device::PATH)]
    Open {
        /// Why not.
        source: io::Error,
    },
}

/// Loads what is missing and opens CTL's device.
///
/// # Errors
/// What is in the way.
pub fn open_ctl() -> Result<CtlDevice, ModuleError> {
    system::prepare()?;
    CtlDevice::open(Path::new(device::PATH)).map_err(|source| {
        if source.kind() == io::ErrorKind::WouldBlock {
            ModuleError::Locked
        } else {
            ModuleError::Open { source }
        }
    })
}

/// Whether the kernel may serve something of ours by now: all modules are there, and nothing keeps
/// us from looking. Loads nothing.
pub fn is_loaded() -> bool {
    system::is_loaded()
}

#[cfg(target_os = "freebsd")]
mod system {
    use std::ffi::CStr;
    use std::path::Path;
    use std::ptr;

    use nix::errno::Errno as SystemErrno;
    use nix::libc;
    use nix::unistd::geteuid;

    use super::ModuleError;
    use crate::device;
    use crate::error::Errno;

    unsafe extern "C" {
        /// modfind(2): the identifier of a module, -1 if it is not there.
        fn modfind(name: *const libc::c_char) -> libc::c_int;
        /// kldload(2): loads a file and what it depends on; -1 if it cannot.
        fn kldload(file: *const libc::c_char) -> libc::c_int;
    }

    /// `__FreeBSD_version` of 15.0 (FreeBSD `sys/sys/param.h`).
    const FREEBSD_15: libc::c_int = 1_500_000;

    pub(super) fn prepare() -> Result<(), ModuleError> {
        if number(c"kern.osreldate").is_some_and(|version| version < FREEBSD_15) {
            let release = nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default();
            return Err(ModuleError::TooOld(release));
        }
        if number(c"security.jail.jailed").is_some_and(|jailed| jailed != 0) {
            return Err(ModuleError::Jailed);
        }
        if !geteuid().is_root() {
            return Err(ModuleError::NotRoot);
        }
        // CTL may be part of the kernel: its device tells.
        if !Path::new(device::PATH).exists() {
            load(c"ctl", "ctl")?;
        }
        for (name, file, module) in [
            (c"nvmft", c"nvmft", "nvmft"),
            (c"nvmf/tcp", c"nvmf_tcp", "nvmf_tcp"),
        ] {
            if !is_there(name) {
                load(file, module)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_loaded() -> bool {
        geteuid().is_root() && Path::new(device::PATH).exists() && is_there(c"nvmft")
    }

    fn is_there(name: &CStr) -> bool {
        // SAFETY: the call reads a string that outlives it.
        unsafe { modfind(name.as_ptr()) != -1 }
    }

    fn load(file: &CStr, module: &'static str) -> Result<(), ModuleError> {
        // SAFETY: the call reads a string that outlives it.
        if unsafe { kldload(file.as_ptr()) } != -1 {
            return Ok(());
        }
        match Errno(SystemErrno::last_raw()) {
            // Somebody else was faster.
            Errno::EEXIST => Ok(()),
            errno => Err(ModuleError::Load { module, errno }),
        }
    }

    /// A number of the kernel's.
    fn number(name: &CStr) -> Option<libc::c_int> {
        let mut value: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>();
        // SAFETY: the kernel writes at most `length` bytes to `value`; nothing is set.
        let status = unsafe {
            let into = (&raw mut value).cast();
            libc::sysctlbyname(name.as_ptr(), into, &raw mut length, ptr::null(), 0)
        };
        (status == 0).then_some(value)
    }
}

#[cfg(not(target_os = "freebsd"))]
mod system {
    use super::ModuleError;

    pub(super) fn is_loaded() -> bool {
        false
    }

    pub(super) fn prepare() -> Result<(), ModuleError> {
        let name = nix::sys::utsname::uname()
            .map(|name| name.sysname().to_string_lossy().into_owned())
            .unwrap_or_else(|_| std::env::consts::OS.into());
        Err(ModuleError::NotFreeBsd(name))
    }
}
