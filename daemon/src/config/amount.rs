//! Values that are an amount: sizes and times in words, and numbers within bounds.
//!
//! As in [`super::word`], each type is what a key's value may be by itself.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::time::Duration;

use nvmf_kmod::request::LunId;
use nvmf_proto::connect::{CNTLID_MAX, MIN_ENTRIES};
use serde::Deserialize;

use super::entry::Refusal;
use super::model::{HIGHEST_NSID, LEAST_MEMORY, LEAST_MEMORY_PER_CONNECTION};
use super::problem::quoted;
use crate::cli::value::{ValueError, maxh2cdata, size, time};
use crate::engine::backend::ram::RamSize;
use crate::worker::snapshot::{MAX_IO_ENTRIES, MAX_IO_QUEUES};

/// The size of a RAM disk.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Ram(pub(super) RamSize);

impl TryFrom<String> for Ram {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let bytes = bytes(&text)?;
        RamSize::from_bytes(bytes).map(Self).ok_or_else(|| {
            let better = bytes.max(1).checked_next_multiple_of(512);
            match better.and_then(RamSize::from_bytes) {
                Some(better) => Refusal::new(
                    format!("a RAM disk of {bytes} bytes has no whole blocks of 512"),
                    format!("use \"{}\" or another multiple of 512", better.bytes()),
                ),
                None => Refusal::new(
                    format!("{} is more than a RAM disk can have", quoted(&text)),
                    SIZE_EXAMPLE,
                ),
            }
        })
    }
}

/// MAXH2CDATA.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Maxh2cdata(pub(super) u32);

impl TryFrom<String> for Maxh2cdata {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        bytes(&text)?;
        maxh2cdata(&text).map(Self).map_err(|_| {
            let what = format!("{} cannot be what one PDU carries", quoted(&text));
            Refusal::new(
                what,
                "at least 4k, below 4g and a multiple of 4, as in \"256k\"",
            )
        })
    }
}

/// Bytes of a block.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct BlockSize(pub(super) u32);

impl TryFrom<String> for BlockSize {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let bytes = u32::try_from(bytes(&text)?).unwrap_or(u32::MAX);
        if bytes.is_power_of_two() && (512..=64 << 10).contains(&bytes) {
            return Ok(Self(bytes));
        }
        Err(Refusal::new(
            format!("{} is no size of a block", quoted(&text)),
            "a power of two from 512 to 64k, as in \"4k\"",
        ))
    }
}

/// How long something may take.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Time(pub(super) Duration);

impl TryFrom<String> for Time {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let time = match time(&text) {
            Ok(time) => Some(time),
            Err(ValueError::TooLarge) => None,
            Err(_) => {
                return Err(Refusal::new(
                    format!("{} is no time", quoted(&text)),
                    "a whole number with ms, s or m behind it, as in \"500ms\", \"15s\" or \"2m\"",
                ));
            }
        };
        match time.filter(|it| (TIME_MIN..=TIME_MAX).contains(it)) {
            Some(time) => Ok(Self(time)),
            None => Err(Refusal::new(
                format!("{} is too short or too long", quoted(&text)),
                "from 100ms to 5m",
            )),
        }
    }
}

/// A namespace's number.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Nsid(pub(super) u32);

impl TryFrom<i64> for Nsid {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        let nsid = u32::try_from(number).ok();
        nsid.filter(|nsid| (1..=HIGHEST_NSID).contains(nsid))
            .map(Self)
            .ok_or_else(|| {
                let hint = format!("from 1 to {HIGHEST_NSID}");
                Refusal::new(format!("{number} is no NSID"), hint)
            })
    }
}

/// The number of a LUN.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Lun(pub(super) LunId);

impl TryFrom<i64> for Lun {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        match u32::try_from(number) {
            Ok(number) if number != u32::MAX => Ok(Self(LunId(number))),
            _ => Err(Refusal::new(
                format!("{number} is no number of a LUN"),
                "ctladm devlist shows them, 0 and up",
            )),
        }
    }
}

/// What all hosts together can make us hold.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Memory(pub(super) u64);

impl TryFrom<String> for Memory {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        at_least(&text, LEAST_MEMORY, "at least 16m, as in \"1g\"").map(Self)
    }
}

/// What one connection can make us hold.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ConnectionMemory(pub(super) u64);

impl TryFrom<String> for ConnectionMemory {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let hint = "at least 2m, as in \"4m\": the largest command needs it";
        at_least(&text, LEAST_MEMORY_PER_CONNECTION, hint).map(Self)
    }
}

/// How many threads.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Threads(pub(super) NonZeroUsize);

impl TryFrom<i64> for Threads {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        counted(number, "number of threads", 1024).map(Self)
    }
}

/// How many connections.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Count(pub(super) NonZeroUsize);

impl TryFrom<i64> for Count {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        counted(number, "number of connections", 1_000_000).map(Self)
    }
}

/// How many controllers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Controllers(pub(super) NonZeroUsize);

impl TryFrom<i64> for Controllers {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        counted(number, "number of controllers", CNTLID_MAX.into()).map(Self)
    }
}

/// How many I/O queues.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Queues(pub(super) u16);

impl TryFrom<i64> for Queues {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        between(number, "number of I/O queues", 1, MAX_IO_QUEUES).map(Self)
    }
}

/// How many entries of a queue.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct QueueEntries(pub(super) u32);

impl TryFrom<i64> for QueueEntries {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        between(number, "number of entries", MIN_ENTRIES, MAX_IO_ENTRIES).map(Self)
    }
}

/// How many log lines a second.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Rate(pub(super) u32);

impl TryFrom<i64> for Rate {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        between(number, "number of lines a second", 1, 10_000).map(Self)
    }
}

const SIZE_EXAMPLE: &str =
    "a whole number, with k, m, g, t or p behind it if need be, as in \"1g\"";

const TIME_MIN: Duration = Duration::from_millis(100);
const TIME_MAX: Duration = Duration::from_secs(300);

fn bytes(text: &str) -> Result<u64, Refusal> {
    size(text).map_err(|_| Refusal::new(format!("{} is no size", quoted(text)), SIZE_EXAMPLE))
}

fn between<N>(number: i64, what: &str, least: N, most: N) -> Result<N, Refusal>
where
    N: TryFrom<i64> + PartialOrd + Copy + Display,
{
    let counted = N::try_from(number).ok();
    counted
        .filter(|it| (least..=most).contains(it))
        .ok_or_else(|| {
            Refusal::new(
                format!("{number} is no {what}"),
                format!("from {least} to {most}"),
            )
        })
}

fn at_least(text: &str, least: u64, hint: &str) -> Result<u64, Refusal> {
    let bytes = bytes(text)?;
    if (least..=MOST_MEMORY).contains(&bytes) {
        return Ok(bytes);
    }
    let size = match bytes < least {
        true => "little",
        false => "much",
    };
    Err(Refusal::new(
        format!("{} is too {size} memory", quoted(text)),
        hint,
    ))
}

/// More than any machine has; sums of it are no matter.
const MOST_MEMORY: u64 = 1 << 50;

fn counted(number: i64, what: &str, most: u32) -> Result<NonZeroUsize, Refusal> {
    let counted = usize::try_from(number).ok().and_then(NonZeroUsize::new);
    counted
        .filter(|_| number <= i64::from(most))
        .ok_or_else(|| {
            Refusal::new(
                format!("{number} is no {what}"),
                format!("from 1 to {most}"),
            )
        })
}
