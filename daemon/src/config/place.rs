//! A place in a file: its line and column, and the line itself with a mark under what is meant.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use super::problem::Span;

/// A place in a file. Its text is the line and, below it, the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// As much of the line as fits a terminal; characters that would disturb one are replaced.
    pub excerpt: String,
    /// What of the excerpt is meant, in characters; at the line's end, one beyond it.
    pub marked: Range<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            excerpt,
            marked,
            ..
        } = self;
        writeln!(f, "{line:>5} | {excerpt}")?;
        let (before, mark) = (" ".repeat(marked.start), "^".repeat(marked.len()));
        write!(f, "      | {before}{mark}")
    }
}

/// Where the lines of a text begin.
#[derive(Debug)]
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let after_newline = |(at, _)| at + 1;
        let starts = [0].into_iter();
        let starts = starts.chain(text.match_indices('\n').map(after_newline));
        Self {
            starts: starts.collect(),
        }
    }

    /// The line, from 1, that the byte `at` is in.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at)
    }

    /// The place of `text`, whose lines these are, where `span` begins. What lies on later lines is
    /// not marked.
    pub(super) fn place(&self, text: &str, span: &Span) -> Place {
        let [from, to] = [span.start, span.end].map(|at| boundary(text, at));
        let line = self.line(from);
        let start = self.starts[line - 1];
        let content = text[start..].split('\n').next().unwrap_or_default();
        let content = content.strip_suffix('\r').unwrap_or(content);
        let inside = |at: usize| at.saturating_sub(start).min(content.len());
        // A span in front of a line's end may point between its carriage return and newline.
        let (from, to) = (inside(from), inside(to));
        let column = content[..from].chars().count();
        let width = content[from..to.max(from)].chars().count().max(1);
        let (excerpt, shift) = excerpt(content, column);
        let left = column + usize::from(shift > 0) - shift;
        let right = (left + width).min(excerpt.chars().count().max(left + 1));
        Place {
            line,
            column: column + 1,
            excerpt,
            marked: left..right,
        }
    }
}

/// The beginning of the character at `at`, or the end of the text.
fn boundary(text: &str, at: usize) -> usize {
    let mut here = (0..=at.min(text.len())).rev();
    here.find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The part of a line around `column`, and how many characters were cut off before it.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let harmless = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let length = line.chars().count();
    if length <= WIDTH {
        return (line.chars().map(harmless).collect(), 0);
    }
    let shift = match column {
        0..CUT_FROM => 0,
        column => column - LEAD,
    };
    let mut excerpt = String::from(if shift > 0 { "…" } else { "" });
    excerpt.extend(line.chars().skip(shift).take(WIDTH).map(harmless));
    if length > shift + WIDTH {
        excerpt.push('…');
    }
    (excerpt, shift)
}

/// Characters of a line that are shown at most.
const WIDTH: usize = 88;

/// From this column on a long line is shown from its middle,
const CUT_FROM: usize = 60;

/// with so many characters before what is meant.
const LEAD: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Span) -> String {
        let place = Lines::of(text).place(text, &span);
        format!("{}:{}\n{place}", place.line, place.column)
    }

    #[test]
    fn the_mark_stands_under_what_is_meant() {
        let text = "a = 1\nbc = 'x'\n";
        assert_eq!(shown(text, 0..1), "1:1\n    1 | a = 1\n      | ^");
        assert_eq!(
            shown(text, 11..14),
            "2:6\n    2 | bc = 'x'\n      |      ^^^"
        );
    }

    #[test]
    fn the_end_of_a_line_and_of_the_text_can_be_meant() {
        assert_eq!(shown("ab\r\nc", 2..2), "1:3\n    1 | ab\n      |   ^");
        assert_eq!(shown("ab\r\nc", 3..4), "1:3\n    1 | ab\n      |   ^");
        assert_eq!(shown("ab", 2..2), "1:3\n    1 | ab\n      |   ^");
        assert_eq!(shown("ab\n", 3..3), "2:1\n    2 | \n      | ^");
        assert_eq!(shown("", 0..0), "1:1\n    1 | \n      | ^");
        assert_eq!(shown("ab", 9..12), "1:3\n    1 | ab\n      |   ^");
    }

    #[test]
    fn columns_are_characters_and_a_tab_is_one() {
        let text = "\té = \u{1b}5";
        assert_eq!(
            shown(text, 6..8),
            "1:6\n    1 |  é = \u{fffd}5\n      |      ^^"
        );
        assert_eq!(shown(text, 2..2), "1:2\n    1 |  é = \u{fffd}5\n      |  ^");
    }

    #[test]
    fn more_than_a_line_is_marked_to_the_end_of_the_first() {
        assert_eq!(
            shown("a = [\n1,\n]\n", 4..10),
            "1:5\n    1 | a = [\n      |     ^"
        );
    }

    #[test]
    fn a_long_line_is_shown_where_it_matters() {
        let line = format!("{}X{}", "a".repeat(200), "b".repeat(200));
        let place = Lines::of(&line).place(&line, &(200..201));
        let marked: String = place.excerpt.chars().skip(place.marked.start).collect();
        assert!(
            marked.starts_with("Xb") && marked.ends_with("b…"),
            "{place}"
        );
        assert!(place.excerpt.starts_with("…a"), "{place}");
        let all = Lines::of(&line).place(&line, &(0..401));
        assert_eq!(all.marked, 0..WIDTH + 1);
    }
}
