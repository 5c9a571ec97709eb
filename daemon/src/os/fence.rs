//! What a process of ours gives up before it meets peers, as far as the system can take it away.
//!
//! Two things, whichever system it is: the user that may do everything ([`become_user`]), and the ways
//! to anything that it was not handed ([`fence`]). What it is handed is cut to its purpose by whoever
//! hands it over ([`limited`]), so that a process that was taken over gets no more than a good one.
//! Whether all of this must succeed is decided in [`crate::confinement`].

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

use super::system;

/// What a process is for, and so what it must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// To serve, with the descriptors that it is handed: no paths, no sockets of its own.
    Worker,
    /// To tell others where we are: sockets of its own, to Internet addresses, but no paths either.
    Announcer,
}

/// What keeps a process from more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// FreeBSD's capability mode: there are no names, only descriptors and their rights.
    CapabilityMode,
    /// Linux's seccomp: system calls that are not on our list do not exist.
    SystemCallFilter,
    /// Linux's Landlock: no files by name, no ports, no signals and abstract sockets of others.
    Landlock,
}

impl Fence {
    /// Whether it alone keeps what it must. One that does not is a second one.
    pub fn is_enough(self) -> bool {
        match self {
            Self::CapabilityMode | Self::SystemCallFilter => true,
            Self::Landlock => false,
        }
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CapabilityMode => "capability mode",
            Self::SystemCallFilter => "a system call filter",
            Self::Landlock => "Landlock",
        })
    }
}

/// What a descriptor is handed over for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To accept connections, which inherit what it may.
    Listener,
    /// To read, and perhaps write, a regular file.
    File {
        /// Nothing is written.
        read_only: bool,
    },
    /// The same for a disk.
    Disk {
        /// Nothing is written.
        read_only: bool,
    },
    /// To make one request of ioctl(2), by its code.
    Requests(u32),
}

/// A user who may do less than root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// What the system calls it.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group; it has no other.
    pub gid: u32,
}

/// Gives up root for good. To be called before any thread is started.
///
/// # Errors
/// The system's. What was given up by then stays so.
pub fn become_user(user: &User) -> io::Result<()> {
    // Root has as many threads as it likes, others what is left of their user's.
    let _ = setrlimit(Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY);
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setgroups(&[gid])?;
    setgid(gid)?;
    setuid(uid)?;
    match uid.is_root() || setuid(Uid::from_raw(0)).is_err() {
        true => Ok(()),
        // Something gives it back: a capability that was kept, for instance.
        false => Err(Errno::EPERM.into()),
    }
}

/// Puts every fence that this system has around this process and whatever it starts. To be called
/// before any thread is started. Those that failed say why.
pub fn fence(profile: Profile) -> Vec<(Fence, io::Result<()>)> {
    system::fence(profile)
}

/// System calls that there should not be any more, and are: those of them that can be tried safely.
#[cfg(feature = "fake")]
pub fn forbidden_calls() -> Vec<&'static str> {
    system::forbidden_calls()
}

/// Cuts the standard descriptors to what they are for: a channel to read and write, and two to write.
/// Copies that are made of them later are cut as well.
///
/// # Errors
/// The system's.
pub fn limit_standard() -> io::Result<()> {
    system::limit_standard()
}

/// A copy of a descriptor that can do no more than its purpose asks for, where the system has rights
/// of descriptors.
///
/// # Errors
/// The system's, when it has no descriptors left.
pub fn limited(descriptor: BorrowedFd<'_>, purpose: Purpose) -> io::Result<OwnedFd> {
    let copy = descriptor.try_clone_to_owned()?;
    system::limit(&copy, purpose)?;
    Ok(copy)
}
