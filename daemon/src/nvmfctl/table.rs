//! Aligned tables, and the few colours that there are.
//!
//! A [`Cell`] escapes what it is made of, so that no text of a peer can get past it.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{IsTerminal, stdout};

use crossterm::style::Stylize;

use super::printable::printable;

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// On a terminal, unless the environment has a `NO_COLOR` that is not empty.
    Colours,
    /// Anywhere else.
    Plain,
}

impl Paint {
    /// What standard output can have.
    pub(super) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        if stdout().is_terminal() && !unwanted {
            Self::Colours
        } else {
            Self::Plain
        }
    }

    /// `text` in a tone. It was escaped before.
    pub(super) fn tone(self, text: &str, tone: Tone) -> String {
        match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => text.into(),
            (Self::Colours, Tone::Head) => text.bold().to_string(),
            (Self::Colours, Tone::Notable) => text.yellow().to_string(),
            (Self::Colours, Tone::Bad) => text.red().to_string(),
        }
    }
}

/// What a text is to the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Like most.
    Plain,
    /// The head of a table.
    Head,
    /// Worth a look.
    Notable,
    /// Somebody loses something.
    Bad,
}

/// On which side a column's cells begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A text in a table.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Of a text in a tone.
    pub(super) fn toned(text: &str, tone: Tone) -> Self {
        let text = printable(text);
        Self { text, tone }
    }

    /// Of a text that is [`printable`] already, and perhaps cut.
    pub(super) fn escaped(text: String) -> Self {
        let tone = Tone::Plain;
        Self { text, tone }
    }

    /// Of something that may be absent.
    pub(super) fn maybe(value: Option<impl Display>) -> Self {
        value.map_or_else(|| "-".into(), |value| value.to_string().into())
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Rows below a head.
#[derive(Debug)]
pub(super) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// One with this head and no rows yet.
    pub(super) fn new(head: &[(&str, Side)]) -> Self {
        let cells = head.iter().map(|(name, _)| Cell::toned(name, Tone::Head));
        Self {
            sides: head.iter().map(|&(_, side)| side).collect(),
            rows: vec![cells.collect()],
        }
    }

    /// Adds a row, which has as many cells as the head.
    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.sides.len());
        self.rows.push(cells.into());
    }

    /// The head and the rows, each a line that begins with `indent`.
    pub(super) fn lines(&self, indent: &str, paint: Paint) -> Vec<String> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(Cell::width).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.sides.len()).map(width).collect();
        let line = |row: &Vec<Cell>| {
            let mut line = indent.to_owned();
            for (column, cell) in row.iter().enumerate() {
                let padding = " ".repeat(widths[column] - cell.width());
                let text = paint.tone(&cell.text, cell.tone);
                let is_last = column + 1 == row.len();
                match self.sides[column] {
                    Side::Right => line.extend([&*padding, &*text]),
                    Side::Left if is_last => line.push_str(&text),
                    Side::Left => line.extend([&*text, &*padding]),
                }
                if !is_last {
                    line.push_str(GAP);
                }
            }
            line
        };
        self.rows.iter().map(line).collect()
    }
}

/// What is between columns.
pub(super) const GAP: &str = "  ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_does() {
        let mut table = Table::new(&[
            ("NAME", Side::Left),
            ("NUMBER", Side::Right),
            ("WORD", Side::Left),
        ]);
        table.row(["é".into(), "1".into(), "a".into()]);
        table.row(["a\nb c d".into(), "1234567".into(), Cell::maybe(None::<u8>)]);
        let expected = "\
> NAME       NUMBER  WORD
> é               1  a
> a\\nb c d  1234567  -";
        assert_eq!(table.lines("> ", Paint::Plain).join("\n"), expected);
    }

    #[test]
    fn a_colour_does_not_count_as_width() {
        let mut table = Table::new(&[("A", Side::Left), ("B", Side::Left)]);
        table.row([Cell::toned("bad", Tone::Bad), "x".into()]);
        let plain = table.lines("", Paint::Plain);
        assert_eq!(plain, ["A    B", "bad  x"]);
        let coloured = Paint::Colours.tone("bad", Tone::Bad);
        assert_eq!(table.lines("", Paint::Colours)[1], format!("{coloured}  x"));
    }
}
