//! nvmfctl's command line; `man/nvmfctl.8` describes it, and `tests/manual` compares them.

#![forbid(unsafe_code)]

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cli::CONFIG;
use crate::control::message::{self, Whose};
use crate::host::cli::HostCommand;

/// Asks nvmfd what it does, and tells it what to do.
#[derive(Parser, Debug)]
#[command(name = "nvmfctl", version, after_help = AFTER)]
pub(super) struct Arguments {
    /// Print JSON: one document, on one line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The daemon's control socket
    #[arg(long, global = true, value_name = "PATH", default_value = message::PATH)]
    pub(super) socket: PathBuf,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug, PartialEq)]
pub(super) enum Command {
    /// Show how the daemon is, and what it serves
    Status,
    /// Show who is connected
    Sessions,
    /// Show the connections that were refused last, and why
    Refusals {
        /// Show the last N of them
        #[arg(short = 'n', value_name = "N")]
        count: Option<usize>,
    },
    /// Show who reads and writes how much, all the time
    Top(Top),
    /// Check a configuration file; needs no daemon
    Check {
        /// The file
        #[arg(default_value = CONFIG)]
        file: PathBuf,
    },
    /// Show what a reload of a configuration file would do, and do nothing
    Plan {
        /// The file
        #[arg(default_value = CONFIG)]
        file: PathBuf,
        /// End with status 1 if anything would change
        #[arg(long)]
        exit_code: bool,
    },
    /// Let the daemon read its configuration file again, and serve what it says
    Reload,
    /// End the sessions of a host, or those with a controller identifier
    Terminate {
        /// The host's NQN, or a CNTLID
        #[arg(value_name = "HOSTNQN|CNTLID", value_parser = whose)]
        whose: Whose,
    },
    /// Accept no new controllers; those that are there go on
    Drain {
        /// Accept them again
        #[arg(long, conflicts_with = "wait")]
        end: bool,
        /// Wait until the last session has ended
        #[arg(long)]
        wait: bool,
    },
    /// Log lines that are at least this severe, until the next reload or start
    Log {
        /// The least severe lines
        level: Level,
    },
    /// End the daemon, and leave what the kernel serves to the next one (service nvmfd upgrade)
    Leave,
    /// Be an NVMe/TCP host, of any target; needs no daemon
    #[command(subcommand)]
    Host(HostCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// What `top` shows, and how often.
#[derive(Args, Debug, PartialEq)]
pub(super) struct Top {
    /// Seconds from one look to the next
    #[arg(short = 'i', value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(super) interval: Duration,
    /// Print N tables, one below the other, and end
    #[arg(short = 'n', value_name = "N")]
    pub(super) count: Option<NonZeroU64>,
}

/// Severities, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    /// Act now
    Error,
    /// Something was refused, or is worse than it should be
    Warn,
    /// Beginnings, ends and configuration
    Info,
    /// Each connection
    Debug,
    /// Each PDU
    Trace,
}

impl Level {
    /// As the daemon is told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A number is a controller's, anything else a host's name.
fn whose(text: &str) -> Result<Whose, String> {
    if text.is_empty() {
        return Err("name a host, or a CNTLID".into());
    }
    if !text.bytes().all(|it| it.is_ascii_digit()) {
        return Ok(Whose::Host(text.into()));
    }
    let cntlid = text.parse();
    cntlid
        .map(Whose::Cntlid)
        .map_err(|_| "a CNTLID is at most 65535".into())
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Result<f64, _> = text.parse();
    let interval = seconds
        .ok()
        .and_then(|it| Duration::try_from_secs_f64(it).ok());
    interval
        .filter(|it| (SHORTEST..=LONGEST).contains(it))
        .ok_or_else(|| "from 0.1 to 3600 seconds".into())
}

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

const AFTER: &str = "\
Examples:
  nvmfctl status
  nvmfctl plan && nvmfctl reload
  nvmfctl --json sessions | jq -r '.sessions[].hostnqn'

Exit status: 0 done; 1 nobody has that name or number; 64 usage; 65 and 66 the file; 69 no
daemon; 71 the system; 75 busy, try again; 77 permission. See nvmfctl(8).";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["nvmfctl"].into_iter().chain(line.split_whitespace()))
    }

    fn command(line: &str) -> Command {
        parsed(line)
            .unwrap_or_else(|error| panic!("{error}"))
            .command
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_number_is_a_controller_and_all_else_a_host() {
        let whose = |line: &str| {
            let Command::Terminate { whose } = command(line) else {
                panic!("{line}");
            };
            whose
        };
        assert_eq!(whose("terminate 65535"), Whose::Cntlid(65535));
        assert_eq!(whose("terminate 0"), Whose::Cntlid(0));
        let nqn = "nqn.2014-08.org.example:1";
        assert_eq!(whose(&format!("terminate {nqn}")), Whose::Host(nqn.into()));
        assert!(parsed("terminate 65536").is_err());
        assert!(parsed("terminate").is_err());
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in [
            "--json --socket s status",
            "status --json --socket s",
            "--socket s status --json",
        ] {
            let arguments = parsed(line).unwrap();
            assert!(arguments.json, "{line}");
            assert_eq!(arguments.socket, PathBuf::from("s"), "{line}");
        }
        let arguments = parsed("status").unwrap();
        assert_eq!(arguments.socket, PathBuf::from(message::PATH));
    }

    #[test]
    fn the_file_of_the_service_is_the_default() {
        let file = PathBuf::from(CONFIG);
        assert_eq!(command("check"), Command::Check { file: file.clone() });
        let exit_code = false;
        assert_eq!(command("plan"), Command::Plan { file, exit_code });
    }

    #[test]
    fn intervals_are_neither_busy_nor_endless() {
        let interval = |line| {
            let Command::Top(top) = command(line) else {
                panic!("{line}");
            };
            top.interval
        };
        assert_eq!(interval("top"), Duration::from_secs(1));
        assert_eq!(interval("top -i 0.5"), Duration::from_millis(500));
        for bad in ["0", "0.01", "3601", "-1", "NaN", "inf", "x"] {
            assert!(parsed(&format!("top -i {bad}")).is_err(), "{bad}");
        }
        assert!(parsed("top -n 0").is_err());
    }

    #[test]
    fn a_drain_is_not_ended_and_waited_for() {
        assert!(parsed("drain --end --wait").is_err());
        let (end, wait) = (false, true);
        assert_eq!(command("drain --wait"), Command::Drain { end, wait });
    }
}
