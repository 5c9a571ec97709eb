//! TOML, as far as it is some: what breaks its rules is reported and taken out, the rest is read.
//!
//! A parser that met a mistake can only guess where the next key begins, and tells of its guesses as
//! if they were mistakes too. So a text with mistakes is cut into statements, a header or a key
//! with its value, and each is parsed alone: one mistake is told of for each. Those are replaced by
//! blanks, so that every place in what is left is still the file's.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::problem::Findings;

/// The text without what is no TOML. That is reported.
pub(super) fn sound<'t>(text: &'t str, findings: &mut Findings) -> Cow<'t, str> {
    let (_, errors) = DeTable::parse_recoverable(text);
    if errors.iter().all(is_duplicate) {
        return Cow::Borrowed(text);
    }
    // Texts of several lines, which no key needs, may hold anything: nothing can be told apart.
    if text.contains("'''") || text.contains("\"\"\"") {
        let first = errors.iter().min_by_key(|error| start_of(error));
        first
            .into_iter()
            .for_each(|error| report(error, 0, text, findings));
        findings.set_incomplete();
        return Cow::Owned(String::new());
    }
    let mut bytes = text.as_bytes().to_vec();
    let mut headless = false;
    for statement in statements(text) {
        let words = &text[statement.clone()];
        let broken = DeTable::parse(words).err();
        if let Some(error) = &broken {
            report(error, statement.start, text, findings);
        }
        if is_header(words) {
            // What belongs to a table that could not be read would else belong to the one before it.
            headless = broken.is_some() || headless && words.contains('.');
        }
        let value = broken.as_ref().and_then(|_| value_of(words));
        if let Some(at) = value
            && !headless
        {
            let value = statement.start + at..statement.end;
            findings.tell(value.start, trimmed(text, &value));
            blank(&mut bytes[value.clone()]);
            bytes[value.start..][..STAND_IN.len()].copy_from_slice(STAND_IN);
        } else if headless || broken.is_some() {
            // Nobody knows whose the keys under a broken header are.
            blank(&mut bytes[statement]);
            findings.set_incomplete();
        }
    }
    let text = String::from_utf8(bytes).expect("whole statements were replaced by ASCII");
    Cow::Owned(text)
}

/// The document in a text that [`sound`] has seen. What is left to report is between statements: a
/// key that is there twice, of which the first counts.
pub(super) fn table<'t>(text: &'t str, findings: &mut Findings) -> Spanned<DeValue<'t>> {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(start_of);
    let mut statements = statements(text).peekable();
    let mut headless = false;
    for error in &errors {
        let start = start_of(error);
        while let Some(statement) = statements.next_if(|it| it.start <= start) {
            let header = is_header(&text[statement.clone()]);
            let at_fault = header && statement.contains(&start);
            headless = at_fault || headless && !header;
            if at_fault {
                report(error, 0, text, findings);
            }
        }
        // What stands under a second header was counted as the first one's.
        if !headless {
            report(error, 0, text, findings);
        }
        if !is_duplicate(error) {
            findings.set_incomplete();
        }
    }
    let span = table.span();
    Spanned::new(span, DeValue::Table(table.into_inner()))
}

/// Where statements stand. Comments, blank lines and the further lines of a list belong to the
/// statement before them.
fn statements(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut lines = text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some(start..*at)
    });
    let content = |line: &Range<usize>| text[line.clone()].trim_start();
    let goes_on = move |line: &Range<usize>| {
        let content = content(line);
        content.is_empty() || content.starts_with(['#', '"', '\'', ']', '}', ','])
    };
    let says_nothing = move |line: &Range<usize>| {
        let content = content(line);
        content.is_empty() || content.starts_with('#')
    };
    let mut next = lines.next();
    std::iter::from_fn(move || {
        let mut statement = next.take()?;
        let mut end = statement.end;
        for line in lines.by_ref() {
            if !goes_on(&line) {
                next = Some(line);
                break;
            }
            if !says_nothing(&line) {
                end = line.end;
            }
        }
        statement.end = end;
        Some(statement)
    })
}

fn is_header(statement: &str) -> bool {
    statement.trim_start().starts_with('[')
}

/// Where the value of a statement stands, if there is a key and room for something in its place.
fn value_of(statement: &str) -> Option<usize> {
    let at = statement.find('=')? + 1;
    let (key, value) = statement.split_at(at);
    let room = value.bytes().take_while(|&byte| byte != b'\n').count();
    let replaced = [key.as_bytes(), STAND_IN].concat();
    let replaced = String::from_utf8(replaced).ok()?;
    (room >= STAND_IN.len() && DeTable::parse(&replaced).is_ok()).then_some(at)
}

/// A range without the blanks at its ends.
fn trimmed(text: &str, range: &Range<usize>) -> Range<usize> {
    let inner = text[range.clone()].trim_start();
    let start = range.end - inner.len();
    start..start + inner.trim_end().len()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

fn start_of(error: &Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

fn is_duplicate(error: &Error) -> bool {
    error.message() == "duplicate key"
}

/// Tells of a mistake in the statement that begins at `base`.
fn report(error: &Error, base: usize, text: &str, findings: &mut Findings) {
    let span = error.span().unwrap_or(0..0);
    let span = span.start + base..span.end + base;
    let at_fault = text.get(span.clone()).unwrap_or_default();
    let (what, hint) = if is_duplicate(error) {
        (format!("{at_fault} is there already"), TWICE_HINT.into())
    } else {
        in_words(error.message(), at_fault)
    };
    findings.error(span, what, hint);
}

/// What is wrong and what would be right. toml's words for a text without quotes depend on its first
/// letter: "invalid boolean, expected `false`".
fn in_words(message: &str, at_fault: &str) -> (String, String) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let is_scalar = what.starts_with("invalid") || what == "string values must be quoted";
    match at_fault {
        "" if what == "string values must be quoted" => {
            ("the value is missing".into(), QUOTES_HINT.into())
        }
        "True" | "False" | "TRUE" | "FALSE" => (
            format!("{at_fault} is no value"),
            format!("in small letters: {}", at_fault.to_lowercase()),
        ),
        word if is_scalar && is_bare(word) => (
            format!("{word} is no value"),
            format!("in quotes, if it is text: \"{word}\""),
        ),
        _ if expected.is_empty() => (what.into(), "nvmfd.toml(5) has examples".into()),
        _ => (what.into(), format!("expected here: {expected}")),
    }
}

/// Whether somebody left quotes out.
fn is_bare(text: &str) -> bool {
    let of_text = |c: char| c.is_alphanumeric() || " -_.:/%".contains(c);
    text.chars().any(char::is_alphanumeric) && text.chars().all(of_text) && text.len() <= 64
}

/// What stands for a value that is none: a float, which no key takes.
const STAND_IN: &[u8] = b"nan";

const QUOTES_HINT: &str = "text stands in quotes; true, false and numbers do not";

const TWICE_HINT: &str = "a key or [table] stands once; [[portal]], [[subsystem]] and \
    [[subsystem.namespace]] may stand again, each with two brackets";
