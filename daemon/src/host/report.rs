//! What a command has to say: text for people or JSON for scripts, and progress on a terminal.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::error::HostError;
use super::printable;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Form {
    /// Shows a result on standard output.
    ///
    /// # Errors
    /// The system's.
    pub fn show<T: Serialize + fmt::Display>(self, result: &T) -> Result<(), HostError> {
        self.to(&mut io::stdout().lock(), result)
    }

    /// Shows a result on standard error: standard output carries something else.
    ///
    /// # Errors
    /// The system's.
    pub fn show_aside<T: Serialize + fmt::Display>(self, result: &T) -> Result<(), HostError> {
        self.to(&mut io::stderr().lock(), result)
    }

    fn to(
        self,
        out: &mut impl Write,
        result: &(impl Serialize + fmt::Display),
    ) -> Result<(), HostError> {
        let text = match self {
            Self::Text => result.to_string(),
            Self::Json => printable::json(result).map_err(|error| HostError::System {
                what: "make JSON",
                source: error.into(),
            })?,
        };
        writeln!(out, "{}", text.trim_end())
            .and_then(|()| out.flush())
            .map_err(|error| HostError::file("write", Path::new("standard output"), error))
    }
}

/// How far a transfer is, on standard error if that is a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    /// Begins, with the bytes that there will be, if that is known.
    pub fn begin(bytes: Option<u64>, quiet: bool) -> Self {
        let bar = if quiet || !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let (bar, template) = match bytes {
                Some(bytes) => (ProgressBar::new(bytes), BAR),
                None => (ProgressBar::new_spinner(), SPINNER),
            };
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        };
        let since = Instant::now();
        Self { bar, since }
    }

    /// So many bytes are done.
    pub fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Ends, and how long it took.
    pub fn end(self) -> Duration {
        self.bar.finish_and_clear();
        self.since.elapsed()
    }
}

/// What a transfer has moved.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moved {
    /// `read` or `written`.
    pub what: &'static str,
    /// Where it began.
    pub offset: u64,
    /// How much.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            offset,
            bytes,
            seconds,
        } = self;
        write!(
            f,
            "{bytes} bytes ({}) {what} at {offset}",
            BinaryBytes(*bytes)
        )?;
        write!(
            f,
            " in {seconds:.2} s, {:.1} MiB/s",
            mib_per_second(*bytes, *seconds)
        )
    }
}

/// A rate; nothing in no time is nothing.
pub fn mib_per_second(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        bytes as f64 / f64::from(1 << 20) / seconds
    } else {
        0.0
    }
}

const BAR: &str =
    "[{bar:30}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
const SPINNER: &str = "{spinner} {binary_bytes}, {binary_bytes_per_sec}";
