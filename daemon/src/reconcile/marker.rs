//! How we know again what we made: options that the kernel keeps and lists, and nobody else uses.
//!
//! A port of ours has the option `nvmfd`, whose value is the subsystem's name. A LUN of ours has
//! `nvmfd_namespace`, whose value is an NSID, a blank and the subsystem's name. What has neither is
//! somebody else's, and nothing here changes it. Daemons that run have written these: a name or form
//! that changes would turn what is ours into a stranger's.

#![forbid(unsafe_code)]

use std::fmt;

use nvmf_proto::nqn::Nqn;

/// The option that makes a port ours.
pub const PORT: &str = "nvmfd";

/// The option that makes a LUN ours.
pub const LUN: &str = "nvmfd_namespace";

/// A namespace, of all that there are: what a LUN of ours was made for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceKey {
    /// The subsystem's name.
    pub nqn: Nqn,
    /// The namespace's number in it.
    pub nsid: u32,
}

impl NamespaceKey {
    /// The value of a LUN's mark.
    pub fn mark(&self) -> String {
        format!("{} {}", self.nsid, self.nqn)
    }

    /// Reads the value of a LUN's mark, in exactly the form that [`Self::mark`] has.
    pub fn read(mark: &str) -> Option<Self> {
        let (nsid, nqn) = mark.split_once(' ')?;
        let key = Self {
            nqn: nqn.parse().ok()?,
            nsid: nsid.parse().ok()?,
        };
        (key.mark() == mark).then_some(key)
    }
}

impl fmt::Display for NamespaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {} of {}", self.nsid, self.nqn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back() {
        for name in ["nqn.2014-08.org.example:a", "nqn.2014-08.org.example:a b"] {
            let key = NamespaceKey {
                nqn: name.parse().unwrap(),
                nsid: 7,
            };
            assert_eq!(NamespaceKey::read(&key.mark()), Some(key));
        }
    }

    #[test]
    fn what_is_nearly_a_mark_is_none() {
        for text in ["", "1", "1 ", " nqn", "x nqn", "+1 nqn", "01 nqn", "-1 nqn"] {
            assert_eq!(NamespaceKey::read(text), None, "{text:?}");
        }
    }
}
