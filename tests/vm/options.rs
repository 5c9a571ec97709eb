//! The command line of the test program: which guests are booted, against what.

use std::path::PathBuf;

use crate::tally::Tally;

const USAGE: &str = "\
usage: linux_host [--kernel 6.1|6.12]... [--level essential|full]
                  [--target nvmfd|nvmfd-kernel|nvmet] [--capture FILE]

  --kernel   Debian kernels to boot, in turn (default: both)
  --level    essential for every change (default), full for everything
  --target   nvmfd; nvmfd-kernel: in kernel mode, over the fake kernel; or nvmet: Linux's own target
             inside the guest, the reference (default: nvmfd, then nvmfd-kernel with kernel 6.12)
  --capture  no exercise: record a short connection to nvmfd as a pcap FILE (default kernel: 6.12)";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Nvmfd,
    /// nvmfd -K. What hosts see of it is the same program's doing until queues are handed over, so by
    /// default one kernel is host enough.
    NvmfdKernel,
    Nvmet,
}

impl Which {
    const ALL: [Self; 3] = [Self::Nvmfd, Self::NvmfdKernel, Self::Nvmet];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nvmfd => "nvmfd",
            Self::NvmfdKernel => "nvmfd-kernel",
            Self::Nvmet => "nvmet",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|which| which.name() == name)
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

/// A guest to boot.
#[derive(Clone)]
pub(crate) struct Boot {
    pub(crate) target: Which,
    pub(crate) kernel: String,
}

impl Boot {
    /// How lines of output name it.
    pub(crate) fn label(&self) -> String {
        let mode = match self.target {
            Which::Nvmfd | Which::Nvmet => "",
            Which::NvmfdKernel => " -K",
        };
        format!("{}{mode}", self.kernel)
    }

    /// The name of the directory where its logs go.
    pub(crate) fn directory(&self) -> String {
        format!("run-{}-{}", self.target.name(), self.kernel)
    }

    /// What `image.sh` calls its image. With everything, one guest has nvme-stas as well.
    pub(crate) fn image(&self, level: Level) -> String {
        match (level, self.target, self.kernel.as_str()) {
            (Level::Full, Which::Nvmfd, "6.12") => "6.12-stas".into(),
            (Level::Full | Level::Essential, Which::Nvmfd, kernel)
            | (Level::Full | Level::Essential, Which::NvmfdKernel | Which::Nvmet, kernel) => {
                kernel.into()
            }
        }
    }

    /// See [`Boot::to_arg`].
    fn parse(arg: &str) -> Option<Self> {
        let (target, kernel) = arg.split_once('/')?;
        Some(Self {
            target: Which::named(target)?,
            kernel: kernel.into(),
        })
    }

    fn to_arg(&self) -> String {
        format!("{}/{}", self.target.name(), self.kernel)
    }
}

pub(crate) struct Options {
    /// In this order.
    pub(crate) boots: Vec<Boot>,
    pub(crate) level: Level,
    pub(crate) capture: Option<PathBuf>,
    /// Asked by test runners before they run anything.
    pub(crate) list: bool,
    /// In the namespaces already, with what was counted before.
    pub(crate) inside: Option<Tally>,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let mut options = Self {
            boots: Vec::new(),
            level: Level::Essential,
            capture: None,
            list: false,
            inside: None,
        };
        let (mut kernels, mut target) = (Vec::new(), None);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(USAGE);
            match arg.as_str() {
                "--kernel" => kernels.push(value()?),
                "--level" => {
                    options.level = match value()?.as_str() {
                        "essential" => Level::Essential,
                        "full" => Level::Full,
                        _ => return Err(USAGE),
                    }
                }
                "--target" => target = Some(Which::named(&value()?).ok_or(USAGE)?),
                // Relative to where the user is; the rest runs elsewhere.
                "--capture" => {
                    options.capture = Some(std::path::absolute(value()?).map_err(|_| USAGE)?);
                }
                "--inside" => options.inside = Some(Tally::parse(&value()?).ok_or(USAGE)?),
                "--boot" => options.boots.push(Boot::parse(&value()?).ok_or(USAGE)?),
                "--list" => options.list = true,
                // `cargo test -- --nocapture` reaches every test program.
                "--nocapture" | "--quiet" | "-q" => {}
                _ => return Err(USAGE),
            }
        }
        if options.inside.is_none() {
            options.boots = boots(kernels, target, options.capture.is_some());
        }
        Ok(options)
    }

    /// The same request for the program in the namespaces, for these guests.
    pub(crate) fn inside_args(&self, boots: &[Boot], before: &Tally) -> Vec<String> {
        let mut args = vec!["--inside".into(), before.to_arg()];
        args.extend(["--level".into(), self.level.name().into()]);
        for boot in boots {
            args.extend(["--boot".into(), boot.to_arg()]);
        }
        if let Some(file) = &self.capture {
            args.extend(["--capture".into(), file.display().to_string()]);
        }
        args
    }
}

/// The guests that are asked for, or that are booted when nobody asks for any.
fn boots(kernels: Vec<String>, target: Option<Which>, capture: bool) -> Vec<Boot> {
    let kernels = match (kernels.is_empty(), capture) {
        (false, _) => kernels,
        (true, true) => vec![NEWEST.into()],
        (true, false) => vec!["6.1".into(), NEWEST.into()],
    };
    let boot = |target, kernel: &String| Boot {
        target,
        kernel: kernel.clone(),
    };
    let first = target.unwrap_or(Which::Nvmfd);
    let mut boots: Vec<_> = kernels.iter().map(|kernel| boot(first, kernel)).collect();
    if target.is_none() && !capture {
        let newest = kernels.iter().filter(|kernel| *kernel == NEWEST);
        boots.extend(newest.map(|kernel| boot(Which::NvmfdKernel, kernel)));
    }
    boots
}

const NEWEST: &str = "6.12";
