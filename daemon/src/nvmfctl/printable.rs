//! Text that others made, as a terminal can bear it.

#![forbid(unsafe_code)]

/// `text` on one line: what would move the cursor, hide or turn text around is escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// The same for a text of several lines.
pub(super) fn lines(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().split('\n').map(printable).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_disturbs_a_terminal_is_escaped() {
        assert_eq!(
            printable("nqn.2014-08.org.example:é\"'"),
            "nqn.2014-08.org.example:é\"'"
        );
        assert_eq!(printable("a\n\x1b[2J\u{9b}1m"), "a\\n\\u{1b}[2J\\u{9b}1m");
        assert_eq!(
            printable("\u{202e}evil\u{200b}\\n"),
            "\\u{202e}evil\\u{200b}\\\\n"
        );
        assert_eq!(lines("a\r\nb\x07\n\n"), "a\\r\nb\\u{7}");
    }
}
