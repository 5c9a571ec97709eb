//! The load: `spdk_nvme_perf`, which spares no core.

use std::path::{Path, PathBuf};
use std::process::Command;

use nvmfd_tests::target::NQN;
use nvmfd_tests::usage::processor_time;

use crate::case::{Case, Direction};
use crate::targets::Measured;

/// The core that the client has.
const CORE: &str = "0x2";

/// The host's name: this client has none of its own, and a host without a name is refused.
const HOST: &str = "nqn.2014-08.org.example:host";

/// SPDK's load generator.
#[derive(Debug)]
pub(crate) struct Client {
    program: PathBuf,
}

/// What one round gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Commands a second.
    pub(crate) iops: f64,
    /// Latency that half of the commands did not exceed, in microseconds.
    pub(crate) p50: f64,
    /// Latency that 99 of 100 did not exceed.
    pub(crate) p99: f64,
    /// Time that the target was on its core for each command, in microseconds.
    pub(crate) cost: f64,
}

impl Client {
    /// Of the SPDK that was built there.
    pub(crate) fn new(spdk: &Path) -> Result<Self, String> {
        let program = spdk.join("build/bin/spdk_nvme_perf");
        match program.exists() {
            true => Ok(Self { program }),
            false => Err(format!("{}: not there", program.display())),
        }
    }

    /// Writes all of the target's RAM disk, so that no read meets memory that is not there yet.
    pub(crate) fn fill(&self, target: &dyn Measured) -> Result<(), String> {
        let workload = ["-w", "write", "-o", "131072", "-q", "32"];
        self.perf(target, &workload, 2).map(drop)
    }

    /// Keeps `case.depth` commands outstanding for so many seconds.
    pub(crate) fn run(
        &self,
        target: &dyn Measured,
        case: &Case,
        seconds: u64,
    ) -> Result<Round, String> {
        let (length, depth) = (case.length.to_string(), case.depth.to_string());
        let workload = match case.direction {
            Direction::Read => "randread",
            Direction::Write => "randwrite",
        };
        let mut arguments = vec!["-w", workload, "-o", &length, "-q", &depth, "-L"];
        if case.digests {
            arguments.extend(["-H", "-I"]);
        }
        let before = processor_time(target.pid()).ok_or("no /proc")?;
        let text = self.perf(target, &arguments, seconds)?;
        let spent = processor_time(target.pid()).ok_or("the target is gone")? - before;
        Round::read(&text, seconds, spent.as_secs_f64())
            .ok_or_else(|| format!("spdk_nvme_perf said something else:\n{text}"))
    }

    fn perf(
        &self,
        target: &dyn Measured,
        arguments: &[&str],
        seconds: u64,
    ) -> Result<String, String> {
        let address = target.address();
        let transport = format!(
            "trtype:tcp adrfam:ipv4 traddr:{} trsvcid:{} subnqn:{NQN} hostnqn:{HOST}",
            address.ip(),
            address.port()
        );
        let output = Command::new(&self.program)
            .args(["-c", CORE, "--no-huge", "-s", "512", "-P", "1"])
            .args(arguments)
            .args(["-t", &seconds.to_string(), "-r", &transport])
            .output()
            .map_err(|error| format!("spdk_nvme_perf: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(format!(
                "spdk_nvme_perf: {}\n{text}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }
}

impl Round {
    /// Reads what the client printed.
    fn read(text: &str, seconds: u64, spent: f64) -> Option<Self> {
        let number = |word: &str| word.trim_end_matches("us").parse::<f64>().ok();
        let total = text.lines().find(|line| line.starts_with("Total"))?;
        let iops = total.split_once(':')?.1.split_whitespace().next()?;
        let percentile = |percent: &str| {
            let mut lines = text.lines().map(str::trim_start);
            let line = lines.find(|line| line.starts_with(percent))?;
            number(line.rsplit(' ').next()?)
        };
        let iops = number(iops)?;
        Some(Self {
            iops,
            p50: percentile("50.00000%")?,
            p99: percentile("99.00000%")?,
            cost: spent * 1e6 / (iops * seconds as f64),
        })
    }
}
