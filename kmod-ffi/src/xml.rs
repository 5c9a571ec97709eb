//! The lists that the kernel gives as XML text: ports, LUNs, associations.
//!
//! The text looks like XML but is none: names and values of options, and the names that remote
//! hosts gave themselves, are printed as they are, whatever they hold. So a list is cut into its
//! objects by lines, because the kernel begins and ends each on a line of its own; each is then
//! read for itself, and one that cannot be read is reported beside the others.
//!
//! What nobody can tell from the truth is text that repeats the kernel's shapes with line ends and
//! all. Of ports and LUNs, only root can set it. [`sessions()`] says what remote hosts can do.
//!
//! FreeBSD `sys/cam/ctl/ctl.c` and `sys/cam/ctl/ctl_frontend_iscsi.c` (ports and LUNs),
//! `sys/dev/nvmf/controller/ctl_frontend_nvmf.c` (associations).
#![forbid(unsafe_code)]

mod cut;
mod lun;
mod port;
mod session;

use std::fmt;

pub use lun::{ListedLun, Luns, luns};
pub use port::{ListedPort, Ports, ports};
pub use session::{ListedSession, Sessions, sessions};

/// Bytes that a list may have at most; a thousand LUNs take half a megabyte.
pub const MAX_LIST_SIZE: usize = 64 << 20;

/// Why a text is not the list that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// More than [`MAX_LIST_SIZE`]; how many bytes it has.
    #[error("a list of {0} bytes is larger than {MAX_LIST_SIZE}")]
    TooLarge(usize),
    /// The first line is not the list's opening tag; the tag's name.
    #[error("the list does not begin with <{0}>")]
    Begin(&'static str),
    /// The last line is not the list's closing tag: the text is cut short; the tag's name.
    #[error("the list does not end with </{0}>")]
    End(&'static str),
}

/// A part of a list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The id of the object, if that much could be read. It may be a forged one.
    pub id: Option<u32>,
    /// What is wrong.
    pub reason: Damage,
}

/// Why an object of a list cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Lines that belong to no object.
    #[error("text outside of all objects")]
    Outside,
    /// The list ends before the object does.
    #[error("the object has no end")]
    Unended,
    /// The same id stands for several objects, so that none of them can be trusted.
    #[error("the id is listed more than once")]
    Repeated,
    /// Bytes that are not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Tags, attributes or text where the kernel prints none.
    #[error("markup that the kernel does not print")]
    Markup,
    /// An element that the kernel prints for each object; its name.
    #[error("the element <{0}> is missing")]
    Missing(&'static str),
    /// An element's text is not of the kernel's form; the element's name.
    #[error("the text of <{0}> makes no sense")]
    Text(&'static str),
    /// The LUN map is not at its place, or has an entry twice.
    #[error("the LUN map makes no sense")]
    LunMap,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "id {id}: {}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

/// The first option of this name.
fn option<'a>(options: &'a [(String, String)], key: &str) -> Option<&'a str> {
    options
        .iter()
        .find_map(|(name, value)| (name == key).then_some(&**value))
}

/// Takes the first element of this name out: what is left at the end are options.
fn take(options: &mut Vec<(String, String)>, key: &str) -> Option<String> {
    let at = options.iter().position(|(name, _)| name == key)?;
    Some(options.remove(at).1)
}

/// A number as the kernel prints it with `%d`, `%u` or `%ju`: no sign but a minus, no leading
/// zeros, no blanks.
fn decimal<T: std::str::FromStr + fmt::Display>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests;
