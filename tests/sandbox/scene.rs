//! What the stories share: a place for attempts, and what the system says of a process.

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nvmfd_tests::program::{Profile, poor_kernel};
use nvmfd_tests::target::Setup;
use tempfile::TempDir;

/// What a story ends with.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Where attempts are made: anybody could read, write and connect there.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    listener: TcpListener,
    _socket: UnixListener,
}

impl Place {
    /// Another one.
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777));
        let kept = directory.path().join("kept");
        fs::write(&kept, "kept")?;
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket)?;
        for path in [&kept, &socket, directory.path()] {
            open(path)?;
        }
        Ok(Self {
            directory,
            listener: TcpListener::bind("127.0.0.1:0")?,
            _socket: listener,
        })
    }

    /// A daemon whose worker makes them, with further arguments.
    pub(crate) fn setup(&self, arguments: &[&str]) -> Result<Setup> {
        let directory = self.directory.path().display().to_string();
        let address = self.listener.local_addr()?.to_string();
        Ok(Setup {
            arguments: arguments.iter().map(|&it| it.into()).collect(),
            environment: vec![
                ("NVMFD_ATTEMPTS_IN".into(), directory),
                ("NVMFD_ATTEMPTS_AT".into(), address),
            ],
            with_attempts: true,
            ..Setup::default()
        })
    }

    /// What is there now.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files: Vec<_> = fs::read_dir(self.directory.path())?
            .map(|entry| Ok(entry?.file_name().into()))
            .collect::<Result<_>>()?;
        files.sort();
        Ok(files)
    }
}

/// What starts a program as on a kernel without `what`; nothing where that cannot be played.
pub(crate) fn poorer(what: &str) -> Result<Option<Vec<String>>> {
    if !cfg!(target_os = "linux") {
        eprintln!("NOT RUN: a poorer kernel, which only Linux can play");
        return Ok(None);
    }
    let program = poor_kernel(Profile::AsThisTest)?;
    Ok(Some(vec![program.display().to_string(), what.into()]))
}

/// What /proc says of a process behind `key`; `None` where there is no /proc.
pub(crate) fn told(process: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim_start_matches(':').trim().to_owned())
}
