//! The configuration file, from text to what the rest of the program sees.
//!
//! In four steps: `document` reads TOML, `read` fills the structs of `raw`, which are the grammar,
//! `resolve` checks what belongs together, and [`model`] is what comes out, in which nothing is wrong
//! any more. No step stops at the first problem: a file's problems are shown all at once, each with
//! its place and the way out ([`problem`]).
//!
//! Nothing is opened, bound for good or logged here, and no file makes it panic. `man/nvmfd.toml.5`
//! describes each key.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::PathText;

mod amount;
mod document;
mod entry;
pub mod model;
mod nearest;
mod place;
pub mod problem;
mod raw;
mod read;
mod resolve;
mod word;

pub use model::Config;
pub use problem::{Problem, Problems, Severity};

use problem::Findings;

/// What a file that can be used means.
#[derive(Debug)]
pub struct Loaded {
    /// What it asks for.
    pub config: Config,
    /// What an operator should look at all the same; mostly nothing.
    pub warnings: Problems,
}

/// Reads the file at `path`.
///
/// # Errors
/// Everything that is wrong with it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    parse(&text(path)?, &PathText::from(path).to_string())
}

/// The text of the file at `path`, for [`parse`].
///
/// # Errors
/// Why it cannot be read as text.
pub fn text(path: &Path) -> Result<String, Problems> {
    let name = PathText::from(path).to_string();
    let bytes = bytes_of(path).map_err(|error| unreadable(&error, &name))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let mut findings = Findings::of(&text);
        findings.error(
            at..at + char::REPLACEMENT_CHARACTER.len_utf8(),
            "the file is not UTF-8 from here on",
            "save it as UTF-8, or in plain ASCII",
        );
        findings.into_problems(&name, &text)
    })
}

/// Reads a file's `text`; `name` is what its problems call it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, name: &str) -> Result<Loaded, Problems> {
    let mut findings = Findings::of(text);
    let sound = document::sound(text, &mut findings);
    let table = document::table(&sound, &mut findings);
    let file: raw::File = read::read(&table, text, &mut findings);
    let config = resolve::resolve(&file, &mut findings);
    let problems = findings.into_problems(name, text);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Loaded {
        config,
        warnings: problems,
    })
}

/// Room for ten thousand subsystems; whoever names a disk or `/dev/zero` is mistaken.
const SIZE_MAX: u64 = 4 << 20;

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(SIZE_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(io::Error::other("it is larger than any configuration"));
    }
    Ok(bytes)
}

fn unreadable(error: &io::Error, name: &str) -> Problems {
    let hint = if error.kind() == io::ErrorKind::NotFound {
        "nvmfd.toml.sample is one to begin with"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "read it as root, or change its permissions"
    } else {
        "name a regular file of at most 4 MiB"
    };
    let mut findings = Findings::of("");
    findings.error(None, format!("cannot be read: {error}"), hint);
    findings.into_problems(name, "").of_no_text()
}

#[cfg(test)]
mod tests;
