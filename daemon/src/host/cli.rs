//! The options of `nvmfctl host`, as clap reads them and `--help` shows them.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use nvmf_proto::nqn::Nqn;

use super::place::Place;
use crate::cli::value;

/// What a host can do with a target.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum HostCommand {
    /// Show what a target offers, and where
    ///
    /// Reads the discovery log. Without a port the standard one of discovery controllers, 8009, is
    /// asked; many targets answer at the port for I/O, 4420, as well.
    Discover(Discover),
    /// Show a controller and its namespaces
    Identify(Identify),
    /// Copy a namespace, or a part of it, to a file or to standard output
    ///
    /// Offset and length need not be whole blocks. If it fails in the middle, the file holds what
    /// was read before that, and the message says how much.
    Read(Read),
    /// Copy a file or standard input to a namespace
    ///
    /// Offset and length must be whole blocks. Whatever is known not to fit is refused before
    /// anything is written; of standard input that is only known with --length. Ends with a Flush.
    Write(Write),
    /// Compare a namespace with a file, or with a pattern that is written first
    ///
    /// Nothing is written unless --write is given. Exits with 0 if all is equal, with 1 after
    /// saying where the first difference is and how many bytes differ.
    Verify(Verify),
    /// Measure how fast a namespace is read or written
    ///
    /// Counts what completes within the time, and measures each command from its submission to its
    /// answer. Reading is harmless; writing destroys what is there and must be allowed.
    Bench(Bench),
}

/// Where the target is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Connection")]
pub struct Reach {
    /// The target: an address or a name; an IPv6 address with a port in brackets
    #[arg(value_name = "ADDRESS[:PORT]", index = 1, help_heading = None)]
    pub target: Place,
    /// Name of this host [default: /etc/nvme/hostnqn, or from the machine's UUID]
    #[arg(long, value_name = "NQN")]
    pub hostnqn: Option<Nqn>,
    /// Identifier of this host [default: /etc/nvme/hostid, or from the machine's UUID]
    #[arg(long, value_name = "UUID")]
    pub hostid: Option<uuid::Uuid>,
    /// Ask for header digests
    #[arg(short = 'g', long)]
    pub header_digest: bool,
    /// Ask for data digests
    #[arg(short = 'G', long)]
    pub data_digest: bool,
    /// Ask to do without SQ flow control
    #[arg(short = 'F', long)]
    pub no_flow_control: bool,
    /// Keep Alive Timeout; 0s for none
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = kato)]
    pub kato: Duration,
    /// How long the target may be silent
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = wait)]
    pub timeout: Duration,
}

/// A subsystem of a target.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Subsystem {
    /// The subsystem [default: the only one that discovery names there]
    #[arg(short = 'n', long, value_name = "NQN")]
    pub nqn: Option<Nqn>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub reach: Reach,
}

/// A namespace of a subsystem.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Namespace {
    /// The namespace [default: 1, or the only one]
    #[arg(long = "namespace", value_name = "NSID", value_parser = clap::value_parser!(u32).range(1..))]
    pub nsid: Option<u32>,
    /// Entries of each I/O queue
    #[arg(long, value_name = "N", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=65536))]
    pub queue_size: u32,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub subsystem: Subsystem,
}

/// Options of `discover`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Discover {
    /// The discovery subsystem [default: the well-known name]
    #[arg(short = 'n', long, value_name = "NQN")]
    pub nqn: Option<Nqn>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub reach: Reach,
}

/// Options of `identify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Identify {
    /// Show this namespace only
    #[arg(long = "namespace", value_name = "NSID", value_parser = clap::value_parser!(u32).range(1..))]
    pub nsid: Option<u32>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub subsystem: Subsystem,
}

/// Commands outstanding at once.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Transfer {
    /// Commands outstanding at once
    #[arg(short = 'd', long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub depth: u16,
    /// Show no progress and no summary
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// Options of `read`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Read {
    /// Where to begin, in bytes
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = value::size)]
    pub offset: u64,
    /// How many bytes [default: all up to the namespace's end]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub length: Option<u64>,
    /// Where to put them; - is standard output [default: standard output, if it is no terminal]
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub transfer: Transfer,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub namespace: Namespace,
}

/// Options of `write`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Write {
    /// Where to begin, in bytes
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub offset: u64,
    /// How many bytes [default: all of the input]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub length: Option<u64>,
    /// Where to get them; - is standard input
    #[arg(short = 'i', long, value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
    /// Fill up the last block with zeroes
    #[arg(long)]
    pub pad: bool,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub transfer: Transfer,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub namespace: Namespace,
}

/// Options of `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Verify {
    /// What should be there; - is standard input, which needs --length
    #[arg(value_name = "FILE", index = 2, required_unless_present = "pattern")]
    pub file: Option<PathBuf>,
    /// A pattern should be there, another for each number and at each offset
    #[arg(long, value_name = "SEED", conflicts_with = "file")]
    pub pattern: Option<u64>,
    /// Write the pattern first, over whatever is there
    #[arg(long, requires = "pattern")]
    pub write: bool,
    /// Where to begin, in bytes
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = value::size)]
    pub offset: u64,
    /// How many bytes [default: all of the file; of a pattern, all up to the namespace's end]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub length: Option<u64>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub transfer: Transfer,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub namespace: Namespace,
}

/// Which way the data of a benchmark goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// To the host
    Read,
    /// To the target
    Write,
    /// Both, as --reads says
    Mixed,
}

/// Options of `bench`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Bench {
    /// Which way the data goes
    #[arg(
        short = 'w',
        long,
        value_name = "WAY",
        value_enum,
        default_value = "read"
    )]
    pub workload: Workload,
    /// Reads in a hundred commands of a mixed workload
    #[arg(long, value_name = "PERCENT", default_value_t = 70, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub reads: u8,
    /// One block after the other, each queue in a part of its own, instead of at random
    #[arg(long)]
    pub sequential: bool,
    /// Bytes of each command
    #[arg(short = 'b', long, value_name = "SIZE", default_value = "4k", value_parser = value::size)]
    pub block_size: u64,
    /// Commands outstanding on each queue
    #[arg(short = 'd', long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub depth: u16,
    /// I/O queues, each with a thread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub queues: u16,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = wait)]
    pub time: Duration,
    /// Where the part begins that is used, in bytes
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = value::size)]
    pub offset: u64,
    /// How large it is [default: all up to the namespace's end]
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub length: Option<u64>,
    /// Allow to write, which destroys what the namespace holds
    #[arg(long)]
    pub destroy_data: bool,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "clap would take it for the command's description"
    )]
    pub namespace: Namespace,
}

/// A time that can be waited for.
fn wait(text: &str) -> Result<Duration, value::ValueError> {
    match value::time(text)? {
        Duration::ZERO => Err(value::ValueError::NoSuchWait),
        time if time > DAY => Err(value::ValueError::NoSuchWait),
        time => Ok(time),
    }
}

/// A Keep Alive Timeout, or none.
fn kato(text: &str) -> Result<Duration, value::ValueError> {
    match value::time(text)? {
        Duration::ZERO => Ok(Duration::ZERO),
        _ => wait(text),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
