//! The machine: a network of our own, cores, and what a reader of figures must know of it.

use std::fmt;
use std::fs;
use std::process::{Command, ExitCode};

/// What says to ourselves that we are in it already, and the congestion control there.
const INSIDE: &str = "NVMFD_BENCH_NAMESPACE";

/// Does all of it again in a network namespace of its own, with cubic, and gives how that ended.
/// `None`: we are in one already, or can have none.
pub(crate) fn in_a_namespace() -> Option<ExitCode> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    // By the route, because what a namespace may have as its default is not ours to say.
    let script = "ip link set lo up && ip route change local 127.0.0.1 dev lo table local \
                  proto kernel scope host src 127.0.0.1 congctl cubic";
    let unshare = |rest: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c"]).args(rest);
        command
    };
    let possible = unshare(&[script]).output();
    if !possible.is_ok_and(|it| it.status.success()) {
        eprintln!(
            "no network namespace of its own (it takes Linux and root): the machine's loopback"
        );
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let again = format!("{script} && exec \"$0\" \"$@\"");
    let status = unshare(&[&again])
        .arg(program)
        .args(std::env::args().skip(1))
        .env(INSIDE, "cubic")
        .status()
        .ok()?;
    Some(
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => ExitCode::from(code),
            None => ExitCode::FAILURE,
        },
    )
}

/// What the figures depend on.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) congestion_control: String,
}

impl Facts {
    pub(crate) fn gather() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let model = processor.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == "model name").then(|| value.trim().to_owned())
        });
        Self {
            processor: model.unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            congestion_control: std::env::var(INSIDE)
                .unwrap_or_else(|_| read("/proc/sys/net/ipv4/tcp_congestion_control"))
                .trim()
                .to_owned(),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            cores,
            kernel,
            congestion_control,
        } = self;
        write!(
            f,
            "{processor}, {cores} cores, kernel {kernel}, {congestion_control}"
        )
    }
}
