//! `verify`: a namespace compared with a file or with a pattern.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::{around, range, whole_blocks};
use crate::host::cli::Verify;
use crate::host::controller::Controller;
use crate::host::disk::{Disk, Filled, Wait};
use crate::host::error::HostError;
use crate::host::input::{Input, Pattern};
use crate::host::report::{Form, Progress};
use crate::host::stop::Stop;
use crate::host::subsystem;

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Verdict {
    /// No byte differs.
    Equal,
    /// Some do.
    Different,
}

pub(in super::super) fn run(asked: &Verify, form: Form, stop: &Stop) -> Result<Verdict, HostError> {
    let expected = match (&asked.file, asked.pattern) {
        (Some(path), _) => Expected::File(Input::open(path)?),
        (None, seed) => Expected::Pattern(Pattern(seed.unwrap_or_default())),
    };
    let work = |it: &Controller| verify(asked, expected, it);
    let compared = subsystem::with(&asked.namespace.subsystem, stop, work)?;
    let verdict = match compared.first_difference {
        None => Verdict::Equal,
        Some(_) => Verdict::Different,
    };
    // A difference is what one asks for; silence is for the rest.
    if !asked.transfer.quiet || form == Form::Json || verdict == Verdict::Different {
        form.show(&compared)?;
    }
    Ok(verdict)
}

fn verify(
    asked: &Verify,
    mut expected: Expected,
    controller: &Controller,
) -> Result<Compared, HostError> {
    let its = &asked.namespace;
    let mut disk = Disk::open(controller, its.nsid, its.queue_size, asked.transfer.depth)?;
    let length = match (&expected, asked.length) {
        (Expected::File(input), None) => Some(input.length().ok_or_else(|| {
            HostError::unfit("how much is to be compared is not known; say it with --length")
        })?),
        (Expected::File(input), Some(length)) if input.length().is_some_and(|it| it < length) => {
            let there = input.length().unwrap_or_default();
            let message = format!("the file has {there} bytes, {length} are to be compared");
            return Err(HostError::unfit(message));
        }
        (Expected::File(_) | Expected::Pattern(_), length) => length,
    };
    let wanted = range(disk.facts(), asked.offset, length)?;
    if let Expected::Pattern(pattern) = expected {
        whole_blocks("the offset", wanted.start, disk.facts())?;
        whole_blocks("the length", wanted.end - wanted.start, disk.facts())?;
        if asked.write {
            write_pattern(&mut disk, pattern, &wanted, asked.transfer.quiet)?;
        }
    }
    let mut compared = Compared::new(&wanted);
    let progress = Progress::begin(Some(compared.bytes), asked.transfer.quiet);
    let blocks = around(&wanted, disk.facts());
    let (mut done, mut right) = (0, Vec::new());
    let result = disk.read(blocks, |offset, data| {
        let skip = wanted.start.saturating_sub(offset);
        let (at, data) = (offset + skip, data.get(index(skip)..).unwrap_or_default());
        let data = &data[..data.len().min(index(wanted.end.saturating_sub(at)))];
        right.clear();
        expected.append(&mut right, at, data.len(), controller.stop())?;
        compared.compare(at, data, &right);
        done += data.len() as u64;
        progress.at(done);
        Ok(())
    });
    compared.seconds = progress.end().as_secs_f64();
    match result {
        Ok(()) => Ok(compared),
        Err(error) => Err(HostError::Partly {
            done: format!(
                "{done} of {} bytes were compared, {} of them differ",
                compared.bytes, compared.differing_bytes
            ),
            source: Box::new(error),
        }),
    }
}

fn write_pattern(
    disk: &mut Disk<'_>,
    pattern: Pattern,
    wanted: &Range<u64>,
    quiet: bool,
) -> Result<(), HostError> {
    if disk.facts().read_only {
        let nsid = disk.facts().nsid;
        return Err(HostError::unfit(format!("namespace {nsid} is read-only")));
    }
    let progress = Progress::begin(Some(wanted.end - wanted.start), quiet);
    let (piece, mut next, mut done) = (disk.piece() as u64, wanted.start, 0);
    let result = disk.write(
        wanted.start,
        |filling, _| {
            let length = piece.min(wanted.end - next);
            pattern.append(filling, next, index(length));
            next += length;
            Ok(match next == wanted.end {
                true => Filled::End,
                false => Filled::Full,
            })
        },
        |bytes| {
            done = bytes;
            progress.at(bytes);
        },
    );
    progress.end();
    result.map_err(|error| HostError::Partly {
        done: format!(
            "{done} bytes of the pattern at {} were written, and some behind them may have been",
            wanted.start
        ),
        source: Box::new(error),
    })
}

/// What should be there.
#[derive(Debug)]
enum Expected {
    File(Input),
    Pattern(Pattern),
}

impl Expected {
    /// Appends the `length` bytes that should be at `offset`.
    fn append(
        &mut self,
        to: &mut Vec<u8>,
        offset: u64,
        length: usize,
        stop: &Stop,
    ) -> Result<(), HostError> {
        match self {
            Self::Pattern(pattern) => pattern.append(to, offset, length),
            Self::File(input) => match input.fill(to, length, Wait::ForInput, stop)? {
                Filled::Full => {}
                Filled::End | Filled::NotYet => {
                    let message = format!("the file ended before byte {offset} of the namespace");
                    return Err(HostError::unfit(message));
                }
            },
        }
        Ok(())
    }
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Compared {
    offset: u64,
    bytes: u64,
    /// Where in the namespace the first byte is that differs.
    first_difference: Option<u64>,
    differing_bytes: u64,
    seconds: f64,
}

impl Compared {
    fn new(range: &Range<u64>) -> Self {
        Self {
            offset: range.start,
            bytes: range.end - range.start,
            first_difference: None,
            differing_bytes: 0,
            seconds: 0.0,
        }
    }

    fn compare(&mut self, at: u64, is: &[u8], should_be: &[u8]) {
        if is == should_be {
            return;
        }
        let pairs = (at..).zip(is.iter().zip(should_be));
        for (at, _) in pairs.filter(|(_, (is, should_be))| is != should_be) {
            self.first_difference.get_or_insert(at);
            self.differing_bytes += 1;
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, bytes, .. } = self;
        match self.first_difference {
            None => write!(f, "{bytes} bytes at {offset} are equal"),
            Some(first) => {
                let differing = self.differing_bytes;
                write!(
                    f,
                    "{differing} of {bytes} bytes at {offset} differ, the first at {first}"
                )
            }
        }
    }
}

/// A number of bytes of a piece.
fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_where_the_namespace_has_it() {
        let mut compared = Compared::new(&(1000..1008));
        compared.compare(1000, b"abcd", b"abcd");
        assert_eq!(compared.to_string(), "8 bytes at 1000 are equal");
        compared.compare(1004, b"efgh", b"eFgH");
        let said = "2 of 8 bytes at 1000 differ, the first at 1005";
        assert_eq!(compared.to_string(), said);
    }
}
