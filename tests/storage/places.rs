//! File systems and disks that are made for a test and gone with it, also when it fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A small file system of memory, which can be full.
pub(crate) struct SmallFileSystem(TempDir);

impl SmallFileSystem {
    /// One of `size`, as mount(8) reads it.
    pub(crate) fn of(size: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = format!("size={size}");
        let path = directory.path();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path));
        Self(directory)
    }

    /// Has another size from now on.
    pub(crate) fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        run(Command::new("mount")
            .args(["-o", &options])
            .arg(self.0.path()));
    }

    /// A file of `bytes`, none of which takes space yet.
    pub(crate) fn sparse(&self, bytes: u64) -> PathBuf {
        sparse(&self.0.path().join("disk"), bytes)
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        // Lazily: a daemon that is about to end may have files there.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A loop device over a file.
pub(crate) struct Loop(String);

impl Loop {
    pub(crate) fn over(file: &Path) -> Self {
        let name = run(Command::new("losetup").args(["--find", "--show"]).arg(file));
        assert!(name.starts_with("/dev/"), "{name}");
        Self(name)
    }

    pub(crate) fn path(&self) -> &str {
        &self.0
    }

    /// Takes the size that its file has now.
    pub(crate) fn look_again(&self) {
        run(Command::new("losetup").args(["--set-capacity", &self.0]));
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Makes a file of `bytes` that takes no space.
pub(crate) fn sparse(path: &Path, bytes: u64) -> PathBuf {
    let file = File::create(path).expect("a file");
    file.set_len(bytes).expect("a size");
    path.to_owned()
}

/// Gives a file another size.
pub(crate) fn resize(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).expect("a file");
    file.set_len(bytes).expect("a size");
}

/// What a command prints.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it can be run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
