//! The command line of the test program.

use std::path::PathBuf;

use crate::tally::Tally;

const USAGE: &str = "\
usage: linux_host [--kernel 6.1|6.12]... [--level essential|full] [--target nvmfd|nvmet]
                  [--capture FILE]

  --kernel   Debian kernels to boot, in turn (default: both)
  --level    essential for every change (default), full for everything
  --target   nvmfd, or nvmet: Linux's own target inside the guest, the reference
  --capture  no exercise: record a short connection to nvmfd as a pcap FILE (default kernel: 6.12)";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Nvmfd,
    Nvmet,
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nvmfd => "nvmfd",
            Self::Nvmet => "nvmet",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Essential,
    Full,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Essential => "essential",
            Self::Full => "full",
        }
    }
}

pub(crate) struct Options {
    pub(crate) kernels: Vec<String>,
    pub(crate) level: Level,
    pub(crate) target: Which,
    pub(crate) capture: Option<PathBuf>,
    /// Asked by test runners before they run anything.
    pub(crate) list: bool,
    /// In the namespaces already, with what was counted before.
    pub(crate) inside: Option<Tally>,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let mut options = Self {
            kernels: Vec::new(),
            level: Level::Essential,
            target: Which::Nvmfd,
            capture: None,
            list: false,
            inside: None,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(USAGE);
            match arg.as_str() {
                "--kernel" => options.kernels.push(value()?),
                "--level" => {
                    options.level = match value()?.as_str() {
                        "essential" => Level::Essential,
                        "full" => Level::Full,
                        _ => return Err(USAGE),
                    }
                }
                "--target" => {
                    options.target = match value()?.as_str() {
                        "nvmfd" => Which::Nvmfd,
                        "nvmet" => Which::Nvmet,
                        _ => return Err(USAGE),
                    }
                }
                // Relative to where the user is; the rest runs elsewhere.
                "--capture" => {
                    options.capture = Some(std::path::absolute(value()?).map_err(|_| USAGE)?);
                }
                "--inside" => options.inside = Some(Tally::parse(&value()?).ok_or(USAGE)?),
                "--list" => options.list = true,
                // `cargo test -- --nocapture` reaches every test program.
                "--nocapture" | "--quiet" | "-q" => {}
                _ => return Err(USAGE),
            }
        }
        if options.kernels.is_empty() {
            options.kernels = match options.capture {
                Some(_) => vec!["6.12".into()],
                None => vec!["6.1".into(), "6.12".into()],
            };
        }
        Ok(options)
    }

    /// The same request for the program in the namespaces, for the kernels that can be booted.
    pub(crate) fn inside_args(&self, kernels: &[&String], before: &Tally) -> Vec<String> {
        let mut args = vec!["--inside".into(), before.to_arg()];
        args.extend(["--level".into(), self.level.name().into()]);
        args.extend(["--target".into(), self.target.name().into()]);
        for kernel in kernels {
            args.extend(["--kernel".into(), (*kernel).clone()]);
        }
        if let Some(file) = &self.capture {
            args.extend(["--capture".into(), file.display().to_string()]);
        }
        args
    }
}
