//! A configuration file judged without the daemon, and read for it.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::failure::{CtlError, FileProblems};
use crate::config::{self, Problem, Problems, Severity};

/// What there is to say about a file.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Errors and warnings.
    pub(super) problems: Problems,
    read: bool,
}

impl Verdict {
    /// That of the file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        match config::load(path) {
            Ok(loaded) => Self {
                problems: loaded.warnings,
                read: true,
            },
            Err(problems) => Self {
                problems,
                read: can_be_read(path),
            },
        }
    }

    /// The errors as an error.
    ///
    /// # Errors
    /// If there are any; with warnings alone there is none.
    pub(super) fn result(&self, text: String) -> Result<(), CtlError> {
        if self.problems.has_errors() {
            let read = self.read;
            return Err(CtlError::File(FileProblems { text, read }));
        }
        Ok(())
    }

    /// All of it, for scripts.
    pub(super) fn report(&self) -> Report<'_> {
        Report {
            file: self.problems.name(),
            errors: self.problems.count(Severity::Error),
            warnings: self.problems.count(Severity::Warning),
            problems: self.problems.iter().map(Finding::of).collect(),
        }
    }
}

/// The text of a file, which the daemon is to judge.
///
/// # Errors
/// [`CtlError::File`] if it cannot be read.
pub(super) fn text(path: &Path) -> Result<String, CtlError> {
    config::text(path).map_err(|problems| {
        let text = problems.to_string();
        let read = can_be_read(path);
        CtlError::File(FileProblems { text, read })
    })
}

/// What `check --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    file: &'a str,
    errors: usize,
    warnings: usize,
    problems: Vec<Finding<'a>>,
}

#[derive(Debug, Serialize)]
struct Finding<'a> {
    line: Option<usize>,
    column: Option<usize>,
    severity: &'static str,
    what: &'a str,
    hint: &'a str,
}

impl<'a> Finding<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self {
            line: problem.place.as_ref().map(|place| place.line),
            column: problem.place.as_ref().map(|place| place.column),
            severity: match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            what: &problem.what,
            hint: &problem.hint,
        }
    }
}

/// Whether it was the file's content that was bad.
fn can_be_read(path: &Path) -> bool {
    File::open(path)
        .and_then(|mut file| file.read(&mut [0]))
        .is_ok()
}
