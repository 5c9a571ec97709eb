//! NVMe Qualified Names: the only names that hosts and subsystems have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of a name's field in Connect data, Identify data and discovery entries.
pub const NQN_FIELD_SIZE: usize = 256;

/// Bytes that a name may have at most, without its NUL (Base 2.0 §4.5).
pub const NQN_MAX_LENGTH: usize = 223;

/// The well-known name of every discovery controller.
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";

/// A name of 1–223 bytes of UTF-8 without control characters, so that it can be printed as it is.
///
/// Cheap to clone. Names compare byte for byte, case included, as FreeBSD's kernel compares them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nqn(Arc<str>);

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NqnError {
    /// No byte before the NUL.
    #[error("the name is empty")]
    Empty,
    /// More than 223 bytes, or no NUL in the field (CVE-2023-6121).
    #[error("the name is longer than {NQN_MAX_LENGTH} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the name is not UTF-8")]
    NotUtf8,
    /// A control character, which could forge a log line.
    #[error("the name contains a control character")]
    ControlCharacter,
    /// Not of the form `nqn.yyyy-mm.reverse.domain:name` (only asked for where names are made).
    #[error("the name is not of the form nqn.yyyy-mm.reverse.domain[:name]")]
    Form,
}

impl Nqn {
    /// Reads a 256-byte field: the bytes up to the first NUL.
    ///
    /// # Errors
    /// [`NqnError`] when what stands there can be no name; the field is peer input, never trusted.
    pub fn from_field(field: &[u8; NQN_FIELD_SIZE]) -> Result<Self, NqnError> {
        let name = field.split(|&byte| byte == 0).next().unwrap_or_default();
        if name.len() > NQN_MAX_LENGTH {
            return Err(NqnError::TooLong);
        }
        std::str::from_utf8(name)
            .map_err(|_| NqnError::NotUtf8)?
            .parse()
    }

    /// The 256-byte field: the name, then NULs.
    pub fn to_field(&self) -> [u8; NQN_FIELD_SIZE] {
        let mut field = [0; NQN_FIELD_SIZE];
        for (to, from) in field.iter_mut().zip(self.0.bytes()) {
            *to = from;
        }
        field
    }

    /// The well-known discovery name.
    pub fn discovery() -> Self {
        Self(DISCOVERY_NQN.into())
    }

    /// Whether this is the well-known discovery name.
    pub fn is_discovery(&self) -> bool {
        &*self.0 == DISCOVERY_NQN
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses names that are not of the form `nqn.yyyy-mm.reverse.domain[:name]` (Base 2.0 §4.5).
    /// Peers are held to less, because hosts in the field use other forms.
    ///
    /// # Errors
    /// [`NqnError::Form`].
    pub fn require_form(self) -> Result<Self, NqnError> {
        let well_formed = || -> Option<bool> {
            let (date, domain) = self.0.strip_prefix("nqn.")?.split_once('.')?;
            let (year, month) = date.split_once('-')?;
            let digits =
                |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
            let month_known = matches!(month.parse::<u8>(), Ok(1..=12));
            let domain = domain.split(':').next()?;
            Some(digits(year, 4) && digits(month, 2) && month_known && !domain.is_empty())
        };
        if well_formed() == Some(true) {
            Ok(self)
        } else {
            Err(NqnError::Form)
        }
    }
}

impl FromStr for Nqn {
    type Err = NqnError;

    fn from_str(text: &str) -> Result<Self, NqnError> {
        if text.is_empty() {
            Err(NqnError::Empty)
        } else if text.len() > NQN_MAX_LENGTH {
            Err(NqnError::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(NqnError::ControlCharacter)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl fmt::Display for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Nqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(bytes: &[u8]) -> [u8; NQN_FIELD_SIZE] {
        let mut field = [0; NQN_FIELD_SIZE];
        field[..bytes.len()].copy_from_slice(bytes);
        field
    }

    #[test]
    fn names_survive_their_field() {
        let name: Nqn = "nqn.2014-08.org.example:vol0".parse().unwrap();
        assert_eq!(Nqn::from_field(&name.to_field()), Ok(name));
    }

    #[test]
    fn cve_2023_6121_a_field_without_nul_is_refused() {
        assert_eq!(
            Nqn::from_field(&[b'a'; NQN_FIELD_SIZE]),
            Err(NqnError::TooLong)
        );
    }

    #[test]
    fn the_longest_name_has_223_bytes() {
        assert!(Nqn::from_field(&field(&[b'a'; 223])).is_ok());
        assert_eq!(
            Nqn::from_field(&field(&[b'a'; 224])),
            Err(NqnError::TooLong)
        );
    }

    #[test]
    fn names_that_could_forge_a_log_line_are_refused() {
        assert_eq!(Nqn::from_field(&field(b"")), Err(NqnError::Empty));
        assert_eq!(Nqn::from_field(&field(b"nqn.\xff")), Err(NqnError::NotUtf8));
        assert_eq!(
            Nqn::from_field(&field(b"a\nb")),
            Err(NqnError::ControlCharacter)
        );
        assert_eq!(
            Nqn::from_field(&field(b"\x1b[31m")),
            Err(NqnError::ControlCharacter)
        );
    }

    #[test]
    fn the_form_is_asked_of_our_own_names() {
        let form = |text: &str| text.parse::<Nqn>().unwrap().require_form().map(|_| ());
        assert_eq!(form(DISCOVERY_NQN), Ok(()));
        assert_eq!(form("nqn.2014-08.org.example:vol0"), Ok(()));
        for bad in [
            "vol0",
            "nqn.2014.org.example",
            "nqn.2014-13.org:x",
            "nqn.2014-08.",
            "nqn.x",
        ] {
            assert_eq!(form(bad), Err(NqnError::Form), "{bad}");
        }
    }
}
