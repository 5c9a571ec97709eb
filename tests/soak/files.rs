//! The configuration files: what always stays, and what comes and goes.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::options::Options;
use crate::oracle::{BYTES, Extent};

/// The subsystem that hosts use.
pub(crate) const NQN: &str = "nqn.2014-08.org.example:soak";
/// The subsystem that comes and goes.
pub(crate) const GUEST: &str = "nqn.2014-08.org.example:guest";

/// Namespaces that stay: in memory, and in a file.
pub(crate) const MEMORY: u32 = 1;
pub(crate) const FILE: u32 = 2;
/// Namespaces that come and go.
pub(crate) const GUESTS: [u32; 2] = [3, 4];

/// Blocks that one queue has of each namespace: 2 MiB.
const EXTENT: usize = (2 << 20) / BYTES;
/// Blocks that all read and nobody writes, in front of them: 1 MiB.
const SHARED: usize = (1 << 20) / BYTES;

/// What is served.
#[derive(Debug)]
pub(crate) struct Files {
    mode: &'static str,
    bytes: u64,
    /// The file of [`FILE`].
    pub(crate) file: PathBuf,
    guest: PathBuf,
}

impl Files {
    /// Makes the files that there are to be.
    pub(crate) fn new(directory: &Path, options: &Options) -> std::io::Result<Self> {
        let queues = u64::from(options.hosts) * u64::from(options.queues);
        let files = Self {
            mode: if options.kernel { "kernel" } else { "user" },
            bytes: (queues * EXTENT as u64 + SHARED as u64) * BYTES as u64,
            file: directory.join("disk"),
            guest: directory.join("guest"),
        };
        std::fs::File::create(&files.file)?.set_len(files.bytes)?;
        std::fs::File::create(&files.guest)?.set_len(1 << 20)?;
        Ok(files)
    }

    /// What a queue owns, by its number among all.
    pub(crate) fn extents(queue: u32) -> Vec<Extent> {
        let first = SHARED as u64 + u64::from(queue) * EXTENT as u64;
        [MEMORY, FILE]
            .map(|nsid| Extent::new(queue + 1, nsid, first, EXTENT))
            .into()
    }

    /// What nobody owns.
    pub(crate) fn shared() -> Vec<Extent> {
        [MEMORY, FILE]
            .map(|nsid| Extent::new(0, nsid, 0, SHARED))
            .into()
    }

    /// The file without anything that comes and goes.
    pub(crate) fn plain(&self) -> String {
        self.text([false; 4], "info", 512)
    }

    /// Another one.
    pub(crate) fn any(&self, chance: &mut Rng) -> String {
        let parts = [(); 4].map(|()| chance.bool());
        let level = ["info", "warn", "debug"][chance.usize(..3)];
        self.text(parts, level, chance.u32(256..1024))
    }

    fn text(&self, parts: [bool; 4], level: &str, negotiations: u32) -> String {
        let [in_memory, in_a_file, portal, subsystem] = parts;
        let Self { mode, bytes, .. } = self;
        let file = self.file.display().to_string();
        let guest = self.guest.display().to_string();
        let [third, fourth] = GUESTS;
        let mut text = format!(
            "[discovery]\nlisten = [\"127.0.0.1:0\"]\n\
             [[portal]]\nname = \"front\"\nlisten = [\"127.0.0.1:0\"]\nsq-flow-control = \"optional\"\n\
             [limits]\nnegotiations-per-address = {negotiations}\n\
             connections-per-address = {}\ncontrollers-per-host = {negotiations}\n[log]\nlevel = \"{level}\"\n",
            4 * negotiations
        );
        let mut add = |more: std::fmt::Arguments<'_>| {
            text.write_fmt(more).expect("a string takes everything");
        };
        if portal {
            add(format_args!(
                "[[portal]]\nname = \"side\"\nlisten = [\"127.0.0.1:0\"]\n"
            ));
        }
        add(format_args!(
            "[[subsystem]]\nnqn = \"{NQN}\"\nmode = \"{mode}\"\nportals = [\"front\"]\n\
             allow-any-host = true\n\
             [[subsystem.namespace]]\nnsid = {MEMORY}\nram = \"{bytes}\"\n\
             [[subsystem.namespace]]\nnsid = {FILE}\npath = {file:?}\n"
        ));
        if in_memory {
            add(format_args!(
                "[[subsystem.namespace]]\nnsid = {third}\nram = \"1m\"\n"
            ));
        }
        if in_a_file {
            add(format_args!(
                "[[subsystem.namespace]]\nnsid = {fourth}\npath = {guest:?}\n"
            ));
        }
        if subsystem {
            let portal = if portal { "side" } else { "front" };
            add(format_args!(
                "[[subsystem]]\nnqn = \"{GUEST}\"\nmode = \"{mode}\"\nportals = [\"{portal}\"]\n\
                 allow-any-host = true\n[[subsystem.namespace]]\nnsid = 1\nram = \"1m\"\n"
            ));
        }
        text
    }
}
