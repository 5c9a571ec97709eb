//! The system's side of everything that POSIX does not say: one face, a file for each system.
//!
//! The only file with `cfg(target_os)`, and the only directory of the daemon with `unsafe`. The
//! rest of the daemon sees descriptors, numbers and [`io::Result`].

use std::ffi::CStr;
use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

mod fence;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "freebsd")]
use freebsd as system;
#[cfg(target_os = "linux")]
use linux as system;

#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
compile_error!("nvmfd runs on FreeBSD and on Linux; src/os/ is where another system is added");

#[cfg(feature = "fake")]
pub use fence::forbidden_calls;
pub use fence::{Fence, Profile, Purpose, User, become_user, fence, limit_standard, limited};
pub use system::{DISK, DISK_OPEN_FLAGS, MEMORY, is_disk};

/// Whether the system or the medium could do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is done.
    Done,
    /// It cannot be done here; nothing has changed.
    Unsupported,
}

/// What a disk says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFacts {
    /// Size in bytes.
    pub bytes: u64,
    /// Bytes of a sector, the smallest unit of I/O.
    pub sector: u32,
    /// Bytes that the medium writes at once; 0 if it does not say.
    pub preferred: u64,
    /// The medium can give space back.
    pub can_deallocate: bool,
}

/// What the system knows this machine by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineId {
    /// FreeBSD's `kern.hostuuid` and `kern.hostid`, which its other programs show to peers too.
    Public {
        /// A UUID in text.
        uuid: String,
        /// A number made from it, as a rule.
        hostid: u64,
    },
    /// Linux's machine-id, which no peer may see: others are derived from it.
    Confidential(String),
}

/// What the system knows this machine by, unless nobody ever told it.
pub fn machine_id() -> Option<MachineId> {
    system::machine_id()
}

/// Asks an open disk for its size and properties.
///
/// # Errors
/// The system's; `ENOTTY` when the descriptor is no disk.
pub fn disk_facts(disk: &File) -> io::Result<DiskFacts> {
    system::disk_facts(disk)
}

/// Tells a disk that a range is not needed any more; what it holds then is up to the disk.
///
/// # Errors
/// The system's.
pub fn discard(disk: &File, offset: u64, length: u64) -> io::Result<Support> {
    system::discard(disk, offset, length)
}

/// Zeroes a range of a disk without sending it the zeroes.
///
/// # Errors
/// The system's.
pub fn zero_disk(disk: &File, offset: u64, length: u64, unmap: bool) -> io::Result<Support> {
    system::zero_disk(disk, offset, length, unmap)
}

/// Puts what was written to a disk on stable storage, the disk's own cache included.
///
/// # Errors
/// The system's.
pub fn flush_disk(disk: &File) -> io::Result<()> {
    system::flush_disk(disk)
}

/// Whether the file system under a file of `size` bytes can make holes in it.
pub fn can_punch(file: &File, size: u64) -> bool {
    system::can_punch(file, size)
}

/// Makes a hole in a file, which reads as zeroes.
///
/// # Errors
/// The system's.
pub fn punch(file: &File, offset: u64, length: u64) -> io::Result<Support> {
    system::punch(file, offset, length)
}

/// Zeroes a range of a file, keeping its space, without writing the zeroes.
///
/// # Errors
/// The system's.
pub fn zero_file(file: &File, offset: u64, length: u64) -> io::Result<Support> {
    system::zero_file(file, offset, length)
}

/// What `ps` shows of this process from now on, as far as the system can be told.
pub fn set_title(title: &CStr) {
    system::set_title(title);
}

/// Forks: the child's process in the parent, `None` in the child. To be called before any thread is
/// started.
///
/// # Errors
/// The system's.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the caller is the only thread, so that nothing in the child waits for another, and it
    // goes on as the parent would have.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// An offset or a length as system calls take it.
fn signed(bytes: u64) -> io::Result<nix::libc::off_t> {
    bytes.try_into().map_err(|_| Errno::EFBIG.into())
}

/// Makes a request until no signal interrupts it; to be asked for what cannot be done is no error.
fn supported(mut request: impl FnMut() -> nix::Result<()>) -> io::Result<Support> {
    loop {
        return match request() {
            Ok(()) => Ok(Support::Done),
            Err(Errno::EINTR) => continue,
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::ENOTTY) => Ok(Support::Unsupported),
            Err(errno) => Err(errno.into()),
        };
    }
}
