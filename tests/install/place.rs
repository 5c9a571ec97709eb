//! A directory to install into, with programs that stand in for nvmfd and nvmfctl.
//!
//! They write down how they are called, and do what the files beside them say; `service.rs` has the
//! stories. The daemon is played: a pid is alive as long as a file says so, so that nothing is left
//! running and nothing has to be waited for.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory of its own.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// With the programs to install in `built`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { directory };
        fs::create_dir(place.path("built")).unwrap();
        place.program("built/nvmfd", include_str!("nvmfd.sh"));
        place.program("built/nvmfctl", include_str!("nvmfctl.sh"));
        place
    }

    /// A path below it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A text below it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The same, to be executed.
    pub(crate) fn program(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Installs, or takes away, with one of the system's makes.
    pub(crate) fn make(&self, make: &str, target: &str, variables: &[&str]) -> Output {
        let built = self.path("built");
        let mut command = Command::new(make);
        command
            .arg(target)
            .args(variables)
            .arg(format!("PROGRAMS={}", built.display()));
        // What called cargo may be another make, with words of its own.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"] {
            command.env_remove(name);
        }
        command.current_dir(repository("")).output().unwrap()
    }

    /// Every file below a directory, by mode and path.
    pub(crate) fn files(&self, name: &str) -> Vec<String> {
        let root = self.path(name);
        let mut files = Vec::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let mode = path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
                if path.is_dir() {
                    assert_eq!(mode, 0o755, "{}", path.display());
                    directories.push(path);
                } else {
                    let inside = path.strip_prefix(&root).unwrap();
                    files.push(format!("{mode:o} {}", inside.display()));
                }
            }
        }
        files.sort_by(|one, other| one[4..].cmp(&other[4..]));
        files
    }
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Which of these programs the system has.
pub(crate) fn present<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(OsStr::new(&path)).collect();
    let there = |program: &&&str| directories.iter().any(|it| it.join(program).exists());
    programs.iter().filter(there).copied().collect()
}

/// What was printed, when it went well.
pub(crate) fn good(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}
