//! The command line of the soak.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What can be asked for.
const USAGE: &str = "\
usage: soak [--seconds N] [--hosts N] [--queues N] [--rate N] [--seed N] [--kernel] [--json FILE]

  --seconds  how long (60)
  --hosts    how many (20)
  --queues   I/O queues of each (4)
  --rate     commands a second in all; 0: as many as go (2000)
  --seed     what chance is made of, to have the same hosts do the same again
  --kernel   kernel mode, over the fake kernel
  --json     the samples and the results go there as well";

/// What to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) time: Duration,
    pub(crate) hosts: u32,
    pub(crate) queues: u16,
    pub(crate) rate: u32,
    pub(crate) seed: u64,
    pub(crate) kernel: bool,
    pub(crate) json: Option<PathBuf>,
    /// Asked by test runners before they run anything.
    pub(crate) list: bool,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            time: Duration::from_secs(60),
            hosts: 20,
            queues: 4,
            rate: 2000,
            seed: of_the_clock(),
            kernel: false,
            json: None,
            list: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value\n{USAGE}"))
            };
            let wrong = |value: &str| format!("{argument} {value}: no such number\n{USAGE}");
            match argument.as_str() {
                "--seconds" => options.time = Duration::from_secs(number(&value()?, wrong)?),
                "--hosts" => options.hosts = number::<u32>(&value()?, wrong)?.clamp(1, 200),
                "--queues" => options.queues = number::<u16>(&value()?, wrong)?.clamp(1, 16),
                "--rate" => options.rate = number(&value()?, wrong)?,
                "--seed" => options.seed = number(&value()?, wrong)?,
                "--kernel" => options.kernel = true,
                "--json" => options.json = Some(value()?.into()),
                "--list" => options.list = true,
                _ => return Err(format!("unknown option {argument}\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(
    value: &str,
    wrong: impl FnOnce(&str) -> String,
) -> Result<T, String> {
    value.parse().map_err(|_| wrong(value))
}

fn of_the_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |time| time.as_secs())
}
