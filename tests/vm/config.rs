//! The files that nvmfd is served from, and reloaded with: a few, by the names that guests ask for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::target::{ADDRESS, DISCOVERY_PORT, NQN, PORT};

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
}

impl Config {
    const ALL: [Self; 5] = [
        Self::Two,
        Self::Added,
        Self::Removed,
        Self::Grown,
        Self::Revoked,
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
        }
    }

    /// Where the file is.
    pub(crate) fn path(run: &Path) -> PathBuf {
        run.join("nvmfd.toml")
    }

    /// How many LUNs it takes in the kernel.
    pub(crate) fn luns(self) -> usize {
        self.namespaces().len()
    }

    /// NSIDs, and how large their files are.
    fn namespaces(self) -> &'static [(u32, u64)] {
        match self {
            Self::Two => &[(1, 32 << 20), (2, 64 << 20)],
            Self::Added => &[(1, 32 << 20), (2, 64 << 20), (3, 32 << 20)],
            Self::Removed => &[(1, 32 << 20), (3, 32 << 20)],
            Self::Grown | Self::Revoked => &[(1, 48 << 20), (3, 32 << 20)],
        }
    }

    /// New files, with nothing in them.
    pub(crate) fn make_storage(self, run: &Path) -> Result<(), String> {
        for (nsid, _) in Self::Added.namespaces() {
            let file = storage(run, *nsid);
            File::create(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }

    /// Writes the file, and makes storage as large as it has it: nothing ever shrinks.
    pub(crate) fn write(self, run: &Path, kernel: bool) -> Result<(), String> {
        for &(nsid, size) in self.namespaces() {
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
            Self::Two | Self::Added | Self::Removed | Self::Grown => "allow-any-host = true",
            Self::Revoked => {
                "hosts = [\"nqn.2014-08.org.example:another\"]\nterminate-on-revoke = true"
            }
        };
        let mut text = format!(
            r#"# {name}
[discovery]
listen = ["{ADDRESS}:{DISCOVERY_PORT}"]

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
        text
    }
}

fn storage(run: &Path, nsid: u32) -> PathBuf {
    run.join(format!("namespace-{nsid}"))
}
