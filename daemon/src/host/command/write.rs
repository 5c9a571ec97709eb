//! `write`: a file or standard input to a namespace.

#![forbid(unsafe_code)]

use super::{range, whole_blocks};
use crate::host::cli::Write;
use crate::host::controller::Controller;
use crate::host::disk::{Disk, Filled, Wait};
use crate::host::error::HostError;
use crate::host::facts::NamespaceFacts;
use crate::host::input::Input;
use crate::host::report::{Form, Moved, Progress};
use crate::host::stop::Stop;
use crate::host::subsystem;

pub(in super::super) fn run(asked: &Write, form: Form, stop: &Stop) -> Result<(), HostError> {
    let input = Input::open(&asked.input)?;
    let work = |it: &Controller| write(asked, input, it);
    let moved = subsystem::with(&asked.namespace.subsystem, stop, work)?;
    match (asked.transfer.quiet, form) {
        (true, Form::Text) => Ok(()),
        (_, Form::Json) => form.show(&moved),
        (false, Form::Text) => form.show_aside(&moved),
    }
}

fn write(asked: &Write, input: Input, controller: &Controller) -> Result<Moved, HostError> {
    let its = &asked.namespace;
    let mut disk = Disk::open(controller, its.nsid, its.queue_size, asked.transfer.depth)?;
    let offset = asked.offset;
    let mut source = Source::new(asked, input, disk.facts(), controller.stop())?;
    let progress = Progress::begin(source.length, asked.transfer.quiet);
    let (piece, mut done) = (disk.piece(), 0);
    let result = disk.write(
        offset,
        |filling, wait| source.fill(filling, piece, wait),
        |bytes| {
            done = bytes;
            progress.at(bytes);
        },
    );
    let seconds = progress.end().as_secs_f64();
    match result {
        Ok(()) => Ok(Moved {
            what: "written",
            offset,
            bytes: done,
            seconds,
        }),
        Err(error) => Err(HostError::Partly {
            done: format!(
                "{done} bytes at {offset} were written, and some behind them may have been"
            ),
            source: Box::new(error),
        }),
    }
}

/// The input, as far as it is wanted, in whole blocks.
#[derive(Debug)]
struct Source<'a> {
    input: Input,
    stop: &'a Stop,
    /// Bytes that are wanted, if that is known.
    length: Option<u64>,
    /// Bytes that there is room for.
    room: u64,
    /// Bytes taken so far, without the piece that is being filled.
    taken: u64,
    block: u64,
    pad: bool,
}

impl<'a> Source<'a> {
    /// Refuses what is known not to fit.
    fn new(
        asked: &Write,
        input: Input,
        namespace: &NamespaceFacts,
        stop: &'a Stop,
    ) -> Result<Self, HostError> {
        let block = u64::from(namespace.block_size);
        if namespace.read_only {
            let nsid = namespace.nsid;
            return Err(HostError::unfit(format!("namespace {nsid} is read-only")));
        }
        whole_blocks("the offset", asked.offset, namespace)?;
        if let (Some(length), Some(there)) = (asked.length, input.length())
            && length > there
        {
            let message = format!("the input has {there} bytes, {length} are to be written");
            return Err(HostError::unfit(message));
        }
        let length = asked.length.or(input.length());
        let padded = match length {
            Some(length) if asked.pad => length.checked_next_multiple_of(block),
            length => length,
        };
        if let Some(padded) = padded {
            whole_blocks("the length", padded, namespace)
                .map_err(|error| HostError::unfit(format!("{}; or use --pad", error.report())))?;
        }
        range(namespace, asked.offset, padded.or(length))?;
        Ok(Self {
            input,
            stop,
            length,
            room: namespace.bytes - asked.offset,
            taken: 0,
            block,
            pad: asked.pad,
        })
    }

    fn fill(&mut self, piece: &mut Vec<u8>, most: usize, wait: Wait) -> Result<Filled, HostError> {
        let left = self.length.unwrap_or(self.room).saturating_sub(self.taken);
        let full = usize::try_from(left).unwrap_or(most).min(most);
        if full == 0 {
            return self.end();
        }
        let filled = self.input.fill(piece, full, wait, self.stop)?;
        if filled == Filled::NotYet {
            return Ok(filled);
        }
        self.taken += piece.len() as u64;
        if filled == Filled::End
            && let Some(length) = self.length.filter(|length| *length > self.taken)
        {
            let message = format!("the input ended after {} of {length} bytes", self.taken);
            return Err(HostError::unfit(message));
        }
        self.complete(piece)?;
        Ok(filled)
    }

    /// Only the last piece may have a broken block.
    fn complete(&self, piece: &mut Vec<u8>) -> Result<(), HostError> {
        let block = usize::try_from(self.block).unwrap_or(usize::MAX);
        if piece.len().is_multiple_of(block) {
            return Ok(());
        }
        if !self.pad {
            let (taken, block) = (self.taken, self.block);
            return Err(HostError::unfit(format!(
                "the input has {taken} bytes, which is no multiple of the block size, {block}; use --pad"
            )));
        }
        piece.resize(piece.len().next_multiple_of(block), 0);
        Ok(())
    }

    /// What was wanted is there. Of an input whose length nobody knew there may be more.
    fn end(&mut self) -> Result<Filled, HostError> {
        if self.length.is_some() {
            return Ok(Filled::End);
        }
        match self
            .input
            .fill(&mut Vec::new(), 1, Wait::ForInput, self.stop)?
        {
            Filled::End => Ok(Filled::End),
            Filled::Full | Filled::NotYet => {
                let room = self.room;
                let message = format!("the input is longer than the {room} bytes that there are");
                Err(HostError::unfit(message))
            }
        }
    }
}
