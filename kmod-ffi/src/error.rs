//! What the kernel answers when it does not do what it is asked to.
//!
//! Requests fail on two levels: ioctl(2) itself, with an errno, and the request, with a status and a
//! text in its argument while ioctl(2) succeeds. Both are kept, the text always.

#![forbid(unsafe_code)]

use std::fmt;

/// An errno with FreeBSD's number, which is another than Linux's for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`: ", $text, " (FreeBSD `sys/errno.h`).")]
            pub const $name: Self = Self($number);)*

            /// Its name and what it means; nothing for a number that CTL does not use.
            fn known(self) -> Option<(&'static str, &'static str)> {
                match self {
                    $(Self::$name => Some((stringify!($name), $text)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such file or directory";
    EINTR = 4, "interrupted";
    EIO = 5, "input/output error";
    ENXIO = 6, "device not configured";
    EBADF = 9, "bad file descriptor";
    ENOMEM = 12, "cannot allocate memory";
    EACCES = 13, "permission denied";
    EFAULT = 14, "bad address";
    EBUSY = 16, "device busy";
    EEXIST = 17, "file exists";
    ENODEV = 19, "operation not supported by device";
    EINVAL = 22, "invalid argument";
    ENOTTY = 25, "inappropriate ioctl for device";
    EFBIG = 27, "file too large";
    ENOSPC = 28, "no space left on device";
    EAGAIN = 35, "resource temporarily unavailable";
    EOPNOTSUPP = 45, "operation not supported";
    ECONNABORTED = 53, "software caused connection abort";
    ETIMEDOUT = 60, "operation timed out";
    EILSEQ = 86, "illegal byte sequence";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((name, text)) => write!(f, "{text} ({name})"),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl std::error::Error for Errno {}

/// Why the kernel did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// ioctl(2) failed.
    #[error("cannot {what}: {errno}")]
    Ioctl {
        /// What was asked.
        what: String,
        /// Why not.
        errno: Errno,
    },
    /// The kernel understood the request and refused it.
    #[error("cannot {what}: the kernel says: {text}")]
    Refused {
        /// What was asked.
        what: String,
        /// `status` of the request's argument; what a number means depends on the request.
        status: u32,
        /// The kernel's text, safe to print.
        text: String,
    },
    /// The kernel did it, and its answer makes no sense.
    #[error("cannot {what}: the kernel's answer makes no sense: {why}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// It cannot be asked for: no packed list can hold it, or the kernel would take it for something
    /// else. Nothing was asked.
    #[error("cannot {what}: {why}")]
    Unaskable {
        /// What was to be asked.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl KernelError {
    /// The kernel's text, if it gave one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Refused { text, .. } => Some(text),
            Self::Ioctl { .. } | Self::Answer { .. } | Self::Unaskable { .. } => None,
        }
    }

    /// The errno of ioctl(2), if that failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Ioctl { errno, .. } => Some(*errno),
            Self::Refused { .. } | Self::Answer { .. } | Self::Unaskable { .. } => None,
        }
    }
}

/// The kernel's text as it may be shown: it can hold names that others chose.
pub(crate) fn printable(text: &str) -> String {
    if text.is_empty() {
        return "nothing".into();
    }
    let mut shown = String::new();
    for char in text.chars() {
        if char.is_ascii_graphic() || char == ' ' {
            shown.push(char);
        } else {
            shown.extend(char.escape_default());
        }
    }
    shown
}
