//! Where examples are run: in a directory of their own, by a shell that finds our programs first.
//!
//! What an example says is run as it stands but for places that are not ours: addresses, ports and
//! paths of the machine become those of the stage. `nvmfd` and `nvmfctl` are the real programs,
//! told where the stage's files are; `service` and `sysrc` write down how they are called.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd_tests::program::{Profile, nvmfctl, nvmfd_fake};
use nvmfd_tests::target::binary;
use tempfile::TempDir;

/// A directory for examples, and what they find in it.
pub(crate) struct Stage {
    directory: TempDir,
    replaced: Vec<(String, String)>,
}

/// What an example printed, and how it ended.
pub(crate) struct Said {
    status: Option<i32>,
    /// On standard output.
    pub(crate) out: String,
    err: String,
}

impl Said {
    /// It did what it should.
    pub(crate) fn is_good(&self) -> bool {
        self.status == Some(0)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "status {:?}\n{}{}", self.status, self.out, self.err)
    }
}

impl Stage {
    /// With a control socket and a configuration file that belong to somebody.
    pub(crate) fn new(socket: &Path, config: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("bin")).unwrap();
        let stage = Self {
            directory,
            replaced: Vec::new(),
        };
        let (daemon, control) = (binary(), nvmfctl(Profile::AsThisTest).unwrap());
        let (daemon, control) = (daemon.display(), control.display());
        let (socket, config) = (socket.display(), config.display());
        let (own, pid) = (stage.path("own-socket"), stage.pid_file());
        let (own, pid) = (own.display(), pid.display());
        stage.program(
            "nvmfctl",
            &format!(
                "case $* in check | plan | 'plan --exit-code') set -- \"$@\" {config} ;; esac\n\
                 exec {control} --socket {socket} \"$@\"\n"
            ),
        );
        stage.program(
            "nvmfd",
            &format!(
                "case $* in --check) exec {daemon} --check -f {config} ;; esac\n\
                 set -- \"$@\" -p 0 -P 0 --socket {own} --pid-file {pid}\n\
                 case \" $* \" in\n\
                 *' --listen '*) ;;\n\
                 *) set -- \"$@\" --listen 127.0.0.1 --discovery-listen 127.0.0.1 ;;\n\
                 esac\n\
                 exec ${{NVMFD:-{daemon}}} \"$@\"\n"
            ),
        );
        for name in ["service", "sysrc"] {
            stage.program(name, "echo \"${0##*/} $*\" >>\"${0%/bin/*}/calls\"\n");
        }
        stage
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// nvmfd is the one whose kernel is the fake at this socket.
    pub(crate) fn has_kernel(&self, socket: &Path) {
        let fake = nvmfd_fake(Profile::AsThisTest).unwrap();
        let (fake, socket) = (fake.display(), socket.display());
        let on_fake = format!("exec {fake} --ctl {socket} \"$@\"\n");
        self.program("nvmfd-on-fake", &on_fake);
    }

    /// A path below the stage's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pid_file(&self) -> PathBuf {
        self.path("own-pid")
    }

    /// What an example says is read so from now on; what is said first counts first.
    pub(crate) fn replace(&mut self, text: &str, by: &str) {
        self.replaced.push((text.into(), by.into()));
    }

    /// How `service` and `sysrc` were called so far, a line each.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    fn shell(&self, example: &str) -> Command {
        let mut script = example.to_owned();
        for (text, by) in &self.replaced {
            script = script.replace(text, by);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &script])
            .current_dir(self.directory.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .stdin(Stdio::null());
        if example.contains(" -K ") {
            shell.env("NVMFD", "nvmfd-on-fake");
        }
        shell
    }

    /// Runs one to its end.
    pub(crate) fn run(&self, example: &str) -> Said {
        let output = self.shell(example).output().unwrap();
        Said {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs one that stays in the foreground, and presses Ctrl-C when it has said where it serves.
    pub(crate) fn run_until_interrupted(&self, example: &str) -> Said {
        let mut child = self
            .shell(&format!("exec {example}"))
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let is_last = line.trim_start().starts_with("nvmecontrol connect");
            out.push_str(&line);
            out.push('\n');
            if is_last {
                let group = Pid::from_raw(-i32::try_from(child.id()).unwrap());
                kill(group, Signal::SIGINT).unwrap();
            }
        }
        let status = child.wait().unwrap().code();
        let err = String::new();
        Said { status, out, err }
    }

    /// Ends the daemon that an example has started in the background.
    pub(crate) fn end_daemon(&self) {
        let pid = fs::read_to_string(self.pid_file()).expect("the daemon leaves its pid");
        let pid = Pid::from_raw(pid.trim().parse().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.pid_file().exists() {
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The address behind these words of a banner.
pub(crate) fn address(banner: &str, words: &str) -> SocketAddr {
    let line = banner.lines().find_map(|line| line.strip_prefix(words));
    let line = line.unwrap_or_else(|| panic!("no {words:?} in {banner}"));
    line.trim().parse().unwrap_or_else(|_| panic!("{line}"))
}
