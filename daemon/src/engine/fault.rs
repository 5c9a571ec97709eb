//! What a medium that fails means to a host: the one table from the system's errors to NVMe statuses.
//!
//! | what the system says | status | media error | Do Not Retry |
//! |---|---|---|---|
//! | no space: ENOSPC, EDQUOT, EFBIG; memory, of a RAM disk | Capacity Exceeded (81h) | no | yes |
//! | it cannot be written: EROFS, EACCES, EPERM | Namespace is Write Protected (20h) | no | yes |
//! | it is gone: ENXIO, ENODEV, ESTALE | Namespace Not Ready (82h) | no | no |
//! | the system is short of something: ENOMEM, ENOBUFS, EAGAIN | Internal Error (06h) | no | no |
//! | all else, EIO before all; a file or disk that was cut off | Unrecovered Read Error, Write Fault | yes | no |
//!
//! A read cannot fail for the first two causes; if the system says so all the same, it is a medium that
//! could not be read. *Capacity Exceeded*, as Linux's and FreeBSD's targets answer, and not Write Fault:
//! Linux makes ENOSPC of it and no broken medium, and ESXi pauses a machine that may go on when there is
//! space. Do Not Retry does not mean for ever: it keeps a host from repeating at once what only an
//! operator can put right, as Linux would five times. What may pass by itself comes without it.
//! *Not Ready* and not a status of the path (SCT 3h): with one path, Linux would repeat that without end.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use nix::errno::Errno;
use nvmf_proto::status::Status;
use serde::{Deserialize, Serialize};

/// What was asked of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// To give data.
    Read,
    /// To change what it holds.
    Write,
    /// To put it on stable storage.
    Flush,
}

impl Operation {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Flush];
}

impl fmt::Display for Operation {
    /// More than one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Flush => "flushes",
        })
    }
}

/// What the host is told of an operation that failed.
pub fn status(operation: Operation, error: &io::Error) -> Status {
    let medium = match operation {
        Operation::Read => Status::UNRECOVERED_READ_ERROR,
        Operation::Write | Operation::Flush => Status::WRITE_FAULT,
    };
    match (operation, cause(error)) {
        (Operation::Read, Cause::Space | Cause::Protection) | (_, Cause::Medium) => medium,
        (_, Cause::Space) => Status::CAPACITY_EXCEEDED.dnr(),
        (_, Cause::Protection) => Status::NAMESPACE_WRITE_PROTECTED.dnr(),
        (_, Cause::Absence) => Status::NAMESPACE_NOT_READY,
        (_, Cause::Shortage) => Status::INTERNAL_ERROR,
    }
}

/// Why.
enum Cause {
    Space,
    Protection,
    Absence,
    Shortage,
    Medium,
}

fn cause(error: &io::Error) -> Cause {
    // Some numbers have no kind, and what we say ourselves has no number.
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENXIO | Errno::ENODEV) => return Cause::Absence,
        Some(Errno::ENOBUFS) => return Cause::Shortage,
        _ => {}
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Cause::Space
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Cause::Protection,
        io::ErrorKind::StaleNetworkFileHandle => Cause::Absence,
        io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => Cause::Shortage,
        _ => Cause::Medium,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_status_that_the_table_says() {
        let full = Status::CAPACITY_EXCEEDED.dnr();
        let protected = Status::NAMESPACE_WRITE_PROTECTED.dnr();
        let (unread, unwritten) = (Status::UNRECOVERED_READ_ERROR, Status::WRITE_FAULT);
        let (gone, short) = (Status::NAMESPACE_NOT_READY, Status::INTERNAL_ERROR);
        let table = [
            (Errno::ENOSPC, unread, full),
            (Errno::EDQUOT, unread, full),
            (Errno::EFBIG, unread, full),
            (Errno::EROFS, unread, protected),
            (Errno::EACCES, unread, protected),
            (Errno::EPERM, unread, protected),
            (Errno::ENXIO, gone, gone),
            (Errno::ENODEV, gone, gone),
            (Errno::ESTALE, gone, gone),
            (Errno::ENOMEM, short, short),
            (Errno::ENOBUFS, short, short),
            (Errno::EAGAIN, short, short),
            (Errno::EIO, unread, unwritten),
            (Errno::ETIMEDOUT, unread, unwritten),
            (Errno::EILSEQ, unread, unwritten),
            (Errno::EINVAL, unread, unwritten),
        ];
        for (errno, read, written) in table {
            let error = errno.into();
            assert_eq!(status(Operation::Read, &error), read, "{errno}");
            assert_eq!(status(Operation::Write, &error), written, "{errno}");
            assert_eq!(status(Operation::Flush, &error), written, "{errno}");
        }
    }

    #[test]
    fn what_we_say_ourselves_has_one_too() {
        let of = |kind: io::ErrorKind| status(Operation::Write, &io::Error::new(kind, "why"));
        assert_eq!(
            of(io::ErrorKind::StorageFull),
            Status::CAPACITY_EXCEEDED.dnr()
        );
        assert_eq!(of(io::ErrorKind::UnexpectedEof), Status::WRITE_FAULT);
        assert_eq!(of(io::ErrorKind::WriteZero), Status::WRITE_FAULT);
        let short = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(
            status(Operation::Read, &short),
            Status::UNRECOVERED_READ_ERROR
        );
    }
}
