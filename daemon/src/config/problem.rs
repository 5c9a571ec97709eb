//! What is wrong with a file: where, what, and the way out, as an operator reads it in a terminal.
//!
//! `Findings` gathers while a file is read; [`Problems`] is what is shown, in the file's order.
//! Texts follow the house's errors: one line, no period, and whatever comes from the file is quoted
//! and escaped.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::place::{Lines, Place};

/// Bytes of a file's text.
pub(super) type Span = Range<usize>;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where; nowhere, if it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// The way out: what was meant, what is allowed, or an example.
    pub hint: String,
}

/// Everything that is wrong with a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    name: String,
    list: Vec<Problem>,
    unreadable: bool,
}

impl Problems {
    /// The file, as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.list.iter()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Whether there is no text to find anything wrong in.
    pub fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// The same, of a file that cannot be read at all.
    pub(super) fn of_no_text(self) -> Self {
        Self {
            unreadable: true,
            ..self
        }
    }

    /// How many there are of a kind.
    pub fn count(&self, severity: Severity) -> usize {
        let of_kind = |problem: &&Problem| problem.severity == severity;
        self.list.iter().filter(of_kind).count()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    /// All of them, several lines each, and their number at the end. Nothing, if there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            write!(f, "{}:", self.name)?;
            if let Some(place) = &problem.place {
                write!(f, "{}:{}:", place.line, place.column)?;
            }
            writeln!(f, " {}: {}", problem.severity, problem.what)?;
            if let Some(place) = &problem.place {
                writeln!(f, "{place}")?;
            }
            writeln!(f, "      = {}\n", problem.hint)?;
        }
        let counted = |severity| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {severity}")),
            n => Some(format!("{n} {severity}s")),
        };
        let counts = [Severity::Error, Severity::Warning].map(counted);
        let counts: Vec<_> = counts.into_iter().flatten().collect();
        if !counts.is_empty() {
            writeln!(f, "{}: {}", self.name, counts.join(", "))?;
        }
        Ok(())
    }
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Findings {
    lines: Lines,
    list: Vec<Finding>,
    told: BTreeMap<usize, Span>,
    incomplete: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    span: Option<Span>,
    severity: Severity,
    what: String,
    hint: String,
}

impl Findings {
    /// Nothing, in this text.
    pub(super) fn of(text: &str) -> Self {
        Self {
            lines: Lines::of(text),
            list: Vec::new(),
            told: BTreeMap::new(),
            incomplete: false,
        }
    }

    /// Something for which the file cannot be used.
    pub(super) fn error(
        &mut self,
        span: impl Into<Option<Span>>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.list.push(Finding {
            span: span.into(),
            severity: Severity::Error,
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// Something that can be, but is hardly meant.
    pub(super) fn warning(
        &mut self,
        span: impl Into<Option<Span>>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.list.push(Finding {
            span: span.into(),
            severity: Severity::Warning,
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// Something that is not there. When a part of the file could not be read it may be in that
    /// part, so nothing is said.
    pub(super) fn missing(
        &mut self,
        span: impl Into<Option<Span>>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if !self.incomplete {
            self.error(span, what, hint);
        }
    }

    /// What stands at `span` was reported, and has a stand-in at `at`, to be refused without a word.
    pub(super) fn tell(&mut self, at: usize, span: Span) {
        self.told.insert(at, span);
    }

    /// What was reported, if there is a stand-in for it at `at`.
    pub(super) fn told(&self, at: usize) -> Option<Span> {
        self.told.get(&at).cloned()
    }

    /// A part of the file could not be read.
    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Whether a part of the file could not be read.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// The line where `span` begins.
    pub(super) fn line(&self, span: &Span) -> usize {
        self.lines.line(span.start)
    }

    /// What there is to show, with the lines of the text that it is about.
    pub(super) fn into_problems(mut self, name: &str, text: &str) -> Problems {
        let start = |it: &Finding| it.span.as_ref().map(|span| (span.start, span.end));
        self.list
            .sort_by_key(|it| (start(it), it.severity, it.what.clone()));
        self.list.dedup();
        let lines = self.lines;
        let problem = |finding: Finding| Problem {
            severity: finding.severity,
            place: finding.span.map(|span| lines.place(text, &span)),
            what: harmless(&finding.what),
            hint: harmless(&finding.hint),
        };
        Problems {
            name: name.into(),
            list: self.list.into_iter().map(problem).collect(),
            unreadable: false,
        }
    }
}

/// Text of a file as a sentence quotes it: escaped, and not at length.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// What a text quotes may come from a file as it is, and must not break its line.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => harmless.extend(c.escape_default()),
            false => harmless.push(c),
        }
    }
    harmless
}

/// Characters of a file that a sentence quotes at most; the line itself is shown below it.
const QUOTED_MAX: usize = 40;
