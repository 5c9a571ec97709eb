//! Text of a target, made fit for a terminal.
//!
//! Whatever a target sends goes through here before it is printed: control characters, and what
//! turns the direction of text, are escaped, so that no name can forge a line or move a cursor.

#![forbid(unsafe_code)]

use std::fmt;

use serde::{Serialize, Serializer};

use crate::nvmfctl::printable::printable;

/// Text that keeps to its line when it is displayed. As JSON it is what was sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Printable(String);

impl Printable {
    /// A field of a page, without the blanks and NULs that fill it: the specification asks for
    /// blanks, some targets send NULs.
    pub fn from_field(field: &[u8]) -> Self {
        let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
        Self(String::from_utf8_lossy(text).trim_matches(' ').into())
    }

    /// The text as it was sent.
    pub fn as_sent(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Printable {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable(&self.0))
    }
}

impl Serialize for Printable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A value as JSON, on one line. serde_json leaves DEL and the second set of control characters as
/// they are, of which terminals know some.
///
/// # Errors
/// What cannot be JSON.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    Ok(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_with_blanks_or_nuls() {
        for field in [b"disk    ", b"disk\0\0\0\0", b"disk  \0\0", b"disk\0xyz"] {
            assert_eq!(Printable::from_field(field).as_sent(), "disk");
        }
        assert_eq!(
            Printable::from_field(&[0xff; 2]).as_sent(),
            "\u{fffd}\u{fffd}"
        );
        assert_eq!(Printable::from_field(b"").as_sent(), "");
    }

    #[test]
    fn what_a_target_sends_cannot_move_the_cursor() {
        let text = Printable::from("a\x1b[2J\u{9b}1m\r\n'é\u{202e}\\");
        let shown = r"a\u{1b}[2J\u{9b}1m\r\n'é\u{202e}\\";
        assert_eq!(text.to_string(), shown);
        assert_eq!(
            format!("{:>5}|{:<3}|", Printable::from("ab"), "c"),
            "   ab|c  |"
        );
        let json = json(&text).unwrap();
        assert!(!json.contains(char::is_control), "{json}");
        let back: String = serde_json::from_str(&json).unwrap();
        assert_eq!(back, text.as_sent());
    }
}
