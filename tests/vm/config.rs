//! The files that nvmfd is served from, and reloaded with: a few, by the names that guests ask for.
//!
//! Those of `guest/reload.sh` change namespaces, those of `guest/news.sh` what discovery shows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::target::{
    ADDRESS, DISCOVERY_PORT, NQN, OTHER_ADDRESS, PORT, SECOND_NQN, UNIQUE_DISCOVERY_NQN,
};

/// What a file says. The portals, the subsystem and its name are the same in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Config {
    /// Two namespaces, for any host.
    Two,
    /// A third one.
    Added,
    /// The second one is gone.
    Removed,
    /// The first one is half as large again.
    Grown,
    /// No host of the exercise may use it.
    Revoked,
    /// Two namespaces, and discovery has a name of its own.
    Unique,
    /// There is a second subsystem, for another host.
    Hidden,
    /// It is for any host.
    Second,
    /// It is gone, and there is another discovery service.
    Referral,
}

impl Config {
    const ALL: [Self; 9] = [
        Self::Two,
        Self::Added,
        Self::Removed,
        Self::Grown,
        Self::Revoked,
        Self::Unique,
        Self::Hidden,
        Self::Second,
        Self::Referral,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Two => "two",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Grown => "grown",
            Self::Revoked => "revoked",
            Self::Unique => "unique",
            Self::Hidden => "hidden",
            Self::Second => "second",
            Self::Referral => "referral",
        }
    }

    /// Where the file is.
    pub(crate) fn path(run: &Path) -> PathBuf {
        run.join("nvmfd.toml")
    }

    /// How many LUNs it takes in the kernel.
    pub(crate) fn luns(self) -> usize {
        self.namespaces().len() + usize::from(self.second().is_some())
    }

    /// NSIDs, and how large their files are.
    fn namespaces(self) -> &'static [(u32, u64)] {
        match self {
            Self::Two | Self::Unique | Self::Hidden | Self::Second | Self::Referral => {
                &[(1, 32 << 20), (2, 64 << 20)]
            }
            Self::Added => &[(1, 32 << 20), (2, 64 << 20), (3, 32 << 20)],
            Self::Removed => &[(1, 32 << 20), (3, 32 << 20)],
            Self::Grown | Self::Revoked => &[(1, 48 << 20), (3, 32 << 20)],
        }
    }

    /// Who may use the second subsystem, if there is one.
    fn second(self) -> Option<&'static str> {
        match self {
            Self::Two | Self::Added | Self::Removed | Self::Grown | Self::Revoked => None,
            Self::Unique | Self::Referral => None,
            Self::Hidden => Some(ANOTHER_HOST),
            Self::Second => Some(ANY_HOST),
        }
    }

    /// What it says of discovery.
    fn discovery(self) -> String {
        match self {
            Self::Two | Self::Added | Self::Removed | Self::Grown | Self::Revoked => String::new(),
            Self::Unique | Self::Hidden | Self::Second | Self::Referral => {
                format!("nqn = \"{UNIQUE_DISCOVERY_NQN}\"\nlabel = \"linux-host\"\n")
            }
        }
    }

    /// What else it says, after the subsystems.
    fn referral(self) -> String {
        match self {
            Self::Referral => {
                format!("\n[[referral]]\naddress = \"{OTHER_ADDRESS}:{DISCOVERY_PORT}\"\n")
            }
            Self::Two | Self::Added | Self::Removed | Self::Grown | Self::Revoked => String::new(),
            Self::Unique | Self::Hidden | Self::Second => String::new(),
        }
    }

    /// New files, with nothing in them.
    pub(crate) fn make_storage(self, run: &Path) -> Result<(), String> {
        let nsids = Self::Added.namespaces().iter().map(|(nsid, _)| *nsid);
        for nsid in nsids.chain([SECOND]) {
            let file = storage(run, nsid);
            File::create(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }

    /// Writes the file, and makes storage as large as it has it: nothing ever shrinks.
    pub(crate) fn write(self, run: &Path, kernel: bool) -> Result<(), String> {
        let second = self.second().map(|_| (SECOND, 32 << 20));
        for (nsid, size) in self.namespaces().iter().copied().chain(second) {
            let file = storage(run, nsid);
            let grown = File::options().write(true).open(&file).and_then(|it| {
                let now = it.metadata()?.len();
                it.set_len(now.max(size))
            });
            grown.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let path = Self::path(run);
        let text = self.text(run, kernel);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn text(self, run: &Path, kernel: bool) -> String {
        let mode = if kernel { "kernel" } else { "user" };
        let hosts = match self {
            Self::Revoked => &format!("{ANOTHER_HOST}\nterminate-on-revoke = true"),
            Self::Two | Self::Added | Self::Removed | Self::Grown => ANY_HOST,
            Self::Unique | Self::Hidden | Self::Second | Self::Referral => ANY_HOST,
        };
        let discovery = self.discovery();
        let mut text = format!(
            r#"# {name}
[discovery]
listen = ["{ADDRESS}:{DISCOVERY_PORT}"]
{discovery}
[[portal]]
name = "front"
listen = ["{ADDRESS}:{PORT}"]
header-digest = "allow"
data-digest = "allow"
sq-flow-control = "optional"

[[subsystem]]
nqn = "{NQN}"
mode = "{mode}"
portals = ["front"]
{hosts}
"#,
            name = self.name()
        );
        for (nsid, _) in self.namespaces() {
            let path = storage(run, *nsid).display().to_string();
            text.push_str(&format!(
                "\n[[subsystem.namespace]]\nnsid = {nsid}\npath = {path:?}\n"
            ));
        }
        if let Some(hosts) = self.second() {
            let path = storage(run, SECOND).display().to_string();
            text.push_str(&format!(
                "\n[[subsystem]]\nnqn = \"{SECOND_NQN}\"\nmode = \"{mode}\"\n\
                 portals = [\"front\"]\n{hosts}\n\n\
                 [[subsystem.namespace]]\nnsid = 1\npath = {path:?}\n"
            ));
        }
        text.push_str(&self.referral());
        text
    }
}

const ANY_HOST: &str = "allow-any-host = true";
const ANOTHER_HOST: &str = "hosts = [\"nqn.2014-08.org.example:another\"]";

/// The second subsystem's file, beside those that are named by NSIDs.
const SECOND: u32 = 100;

fn storage(run: &Path, nsid: u32) -> PathBuf {
    run.join(format!("namespace-{nsid}"))
}
