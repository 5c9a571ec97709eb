//! `read`: a namespace, or a part of it, to a file or to standard output.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::{around, range};
use crate::host::cli::Read;
use crate::host::controller::Controller;
use crate::host::disk::Disk;
use crate::host::error::{CREATE, HostError};
use crate::host::report::{Form, Moved, Progress};
use crate::host::stop::Stop;
use crate::host::subsystem;

pub(in super::super) fn run(asked: &Read, form: Form, stop: &Stop) -> Result<(), HostError> {
    if asked.output.is_none() && io::stdout().is_terminal() {
        let message = "a terminal is no place for data; name a file with -o, or - to insist";
        return Err(HostError::unfit(message));
    }
    let to = asked
        .output
        .as_deref()
        .filter(|path| path.as_os_str() != "-");
    let work = |it: &Controller| read(asked, to, it);
    let moved = subsystem::with(&asked.namespace.subsystem, stop, work)?;
    match (asked.transfer.quiet, form, to) {
        (true, Form::Text, _) => Ok(()),
        (_, Form::Json, Some(_)) => form.show(&moved),
        _ => form.show_aside(&moved),
    }
}

fn read(asked: &Read, to: Option<&Path>, controller: &Controller) -> Result<Moved, HostError> {
    let its = &asked.namespace;
    let mut disk = Disk::open(controller, its.nsid, its.queue_size, asked.transfer.depth)?;
    let wanted = range(disk.facts(), asked.offset, asked.length)?;
    // Nothing is overwritten before it is clear that there is something to read.
    let mut file = create(to)?;
    let name = to.unwrap_or(Path::new("standard output"));
    let bytes = wanted.end - wanted.start;
    let progress = Progress::begin(Some(bytes), asked.transfer.quiet);
    let mut done = 0;
    let blocks = around(&wanted, disk.facts());
    let result = disk.read(blocks, |offset, data| {
        let data = cut(offset, data, &wanted);
        file.write_all(data)
            .map_err(|error| HostError::file("write", name, error))?;
        done += data.len() as u64;
        progress.at(done);
        Ok(())
    });
    let seconds = progress.end().as_secs_f64();
    match result {
        Ok(()) => Ok(Moved {
            what: "read",
            offset: wanted.start,
            bytes,
            seconds,
        }),
        Err(error) => Err(HostError::Partly {
            done: format!("{done} of {bytes} bytes at {} were read", wanted.start),
            source: Box::new(error),
        }),
    }
}

/// The part of a piece at `offset` that lies in `wanted`.
fn cut<'a>(offset: u64, data: &'a [u8], wanted: &std::ops::Range<u64>) -> &'a [u8] {
    let place = |at: u64| {
        let within = at.saturating_sub(offset).min(data.len() as u64);
        usize::try_from(within).unwrap_or(data.len())
    };
    &data[place(wanted.start)..place(wanted.end)]
}

fn create(path: Option<&Path>) -> Result<File, HostError> {
    match path {
        None => {
            let failed = |error| HostError::file("use", Path::new("standard output"), error);
            let descriptor = io::stdout().as_fd().try_clone_to_owned();
            Ok(File::from(descriptor.map_err(failed)?))
        }
        Some(path) => File::create(path).map_err(|error| HostError::file(CREATE, path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_cut_to_what_is_wanted() {
        let data: Vec<u8> = (0..10).collect();
        assert_eq!(cut(100, &data, &(102..105)), [2, 3, 4]);
        assert_eq!(cut(100, &data, &(0..103)), [0, 1, 2]);
        assert_eq!(cut(100, &data, &(108..200)), [8, 9]);
        assert_eq!(cut(100, &data, &(0..u64::MAX)), data);
    }
}
