//! The subcommands of `nvmfctl host`, one a file: what is refused beforehand, what is done, what is
//! said of it.

#![forbid(unsafe_code)]

pub(super) mod bench;
pub(super) mod discover;
pub(super) mod identify;
pub(super) mod read;
pub(super) mod verify;
pub(super) mod write;

use std::ops::Range;

use super::error::HostError;
use super::facts::NamespaceFacts;

/// Where in a namespace something is to happen: `length` bytes from `offset`, or all behind it.
fn range(
    namespace: &NamespaceFacts,
    offset: u64,
    length: Option<u64>,
) -> Result<Range<u64>, HostError> {
    let size = namespace.bytes;
    let end = match length {
        None => Some(size),
        Some(length) => offset.checked_add(length),
    };
    match end {
        Some(end) if offset <= size && end <= size => Ok(offset..end.max(offset)),
        _ => {
            let nsid = namespace.nsid;
            let what = length
                .map(|it| format!("{it} bytes from "))
                .unwrap_or_default();
            let message =
                format!("namespace {nsid} has {size} bytes; {what}{offset} is beyond them");
            Err(HostError::unfit(message))
        }
    }
}

/// The whole blocks that hold `range`.
fn around(range: &Range<u64>, namespace: &NamespaceFacts) -> Range<u64> {
    let block = u64::from(namespace.block_size);
    let end = range.end.next_multiple_of(block).min(namespace.bytes);
    range.start / block * block..end
}

/// Writes need whole blocks.
fn whole_blocks(what: &str, bytes: u64, namespace: &NamespaceFacts) -> Result<(), HostError> {
    let block = u64::from(namespace.block_size);
    if bytes.is_multiple_of(block) {
        return Ok(());
    }
    Err(HostError::unfit(format!(
        "{what} {bytes} is no multiple of namespace {}'s block size, {block}",
        namespace.nsid
    )))
}
