//! The control socket's file: who may open it, whose it is, and when it is replaced.
//!
//! Who may connect is decided by the file's permissions alone, which FreeBSD and Linux both check
//! in connect(2): the owner, and the group `operator` where there is one. They stand before
//! anybody can connect, because a socket that does not listen yet refuses everyone; and the name
//! appears with a rename, so that it never leads to a socket that is half made.
//!
//! What keeps two daemons that start in the same instant apart is the pid file.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::{Exit, PathText};

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A daemon answers there.
    #[error("{path}: another nvmfd answers on this socket; stop that one first")]
    InUse {
        /// Where it would be.
        path: PathText,
    },
    /// Something else has the name.
    #[error("{path} is no socket, so it is not replaced; move it out of the way")]
    NotASocket {
        /// Where it would be.
        path: PathText,
    },
    /// Whatever else may happen.
    #[error("cannot make the control socket {path}; run nvmfd as root")]
    Open {
        /// Where it would be.
        path: PathText,
        /// The system's word.
        source: io::Error,
    },
}

impl OpenError {
    /// The status that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::InUse { .. } => Exit::Unavailable,
            Self::NotASocket { .. } | Self::Open { .. } => Exit::CannotCreate,
        }
    }
}

/// The socket, which listens. Dropped, it is closed, and its file stays, as a dead daemon's does.
#[derive(Debug)]
pub struct ControlSocket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

impl ControlSocket {
    /// Makes the socket at `path`, in place of one that a dead daemon left.
    ///
    /// No thread is started: it may be opened before a fork and served after it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when a living daemon has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        make_way(path)?;
        let beside = beside(path);
        let opened = listen(&beside).and_then(|listener| {
            let metadata = fs::symlink_metadata(&beside)?;
            fs::rename(&beside, path)?;
            let (device, inode) = (metadata.dev(), metadata.ino());
            let path = path.to_owned();
            let file = SocketFile {
                path,
                device,
                inode,
            };
            Ok(Self { listener, file })
        });
        opened.map_err(|source| {
            // There may be none.
            let _ = fs::remove_file(&beside);
            let path = path.into();
            OpenError::Open { path, source }
        })
    }

    /// Closes it and removes its file.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(self) -> io::Result<()> {
        drop(self.listener);
        self.file.remove()
    }
}

/// The name under which the socket is found.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Removes it, if it is still ours and not a later daemon's.
    pub(super) fn remove(self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (self.device, self.inode) => {
                fs::remove_file(&self.path)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Finds out whether `path` is free, or may be replaced.
fn make_way(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Open {
        path: path.into(),
        source,
    };
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(OpenError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
    match connect(path) {
        Ok(_) => Err(OpenError::InUse { path: path.into() }),
        Err(error) => match error.kind() {
            // FreeBSD: a backlog that is full refuses like a dead daemon; the server's never fills.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(()),
            // Linux: the backlog is full.
            io::ErrorKind::WouldBlock => Err(OpenError::InUse { path: path.into() }),
            _ => Err(failed(error)),
        },
    }
}

/// Connects, and waits for nothing: a daemon that is stopped or busy lives, too.
pub(super) fn connect(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(mode_for_group(path)))?;
    socket.listen(BACKLOG)?;
    Ok(UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

/// Gives the file to the group, if there is one and we may, and says which mode it is to have.
fn mode_for_group(path: &Path) -> u32 {
    let group = Group::from_name(GROUP).ok().flatten();
    let given = group.is_some_and(|group| lchown(path, None, Some(group.gid.as_raw())).is_ok());
    if given { 0o660 } else { 0o600 }
}

/// Where the socket is made, to be renamed.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}", std::process::id()));
    name.into()
}

/// Who may use the socket besides its owner.
pub const GROUP: &str = "operator";

/// Clients that may wait to be accepted, which is done at once.
const BACKLOG: i32 = 64;
