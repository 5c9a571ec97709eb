//! The daemon's side, said by the test; and what nvmfctl says.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use nvmfd::control::message::{Answer, Mode, Request, Session, Traffic};
use nvmfd::control::{ControlSocket, Question, Server};
use nvmfd_tests::program::{self as programs, Profile};
use tempfile::TempDir;

/// A control socket and the monitor behind it.
pub(crate) struct Scene {
    directory: TempDir,
    _server: Server,
}

impl Scene {
    /// One whose monitor answers so.
    pub(crate) fn new(mut answer: impl FnMut(Request) -> Answer + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = ControlSocket::open(&directory.path().join("sock")).unwrap();
        let (sender, questions) = crossbeam_channel::unbounded();
        thread::spawn(move || {
            for Question { request, reply } in questions {
                // A client may have gone.
                let _ = reply.send(answer(request));
            }
        });
        Self {
            _server: socket.serve(sender).unwrap(),
            directory,
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// What nvmfctl says to this line.
    pub(crate) fn ask(&self, line: &str) -> Said {
        let path = self.path();
        let mut words = vec!["--socket", path.to_str().unwrap()];
        words.extend(line.split_whitespace());
        nvmfctl(&words)
    }
}

/// What nvmfctl said, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// All is well.
    pub(crate) fn out(out: &str) -> Self {
        Self {
            status: 0,
            out: out.into(),
            err: String::new(),
        }
    }

    /// It is not.
    pub(crate) fn err(status: i32, err: &str) -> Self {
        Self {
            status,
            out: String::new(),
            err: err.into(),
        }
    }

    /// Of a process that ended by itself.
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().expect("no signal ended it"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs nvmfctl.
pub(crate) fn nvmfctl(words: &[&str]) -> Said {
    let mut command = Command::new(program());
    command.args(words).stdin(Stdio::null());
    Said::of(command.output().unwrap())
}

/// nvmfctl, built once.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| programs::nvmfctl(Profile::AsThisTest).unwrap())
}

/// A session of a user mode subsystem that has read `reads` times 4 KiB.
pub(crate) fn session(hostnqn: &str, cntlid: u16, reads: u64) -> Session {
    Session {
        mode: Mode::User,
        subsystem: "nqn.2014-08.org.example:vol0".into(),
        cntlid,
        hostnqn: hostnqn.into(),
        hostid: None,
        peer: "192.0.2.7:50000".parse().ok(),
        local: "192.0.2.1:4420".parse().ok(),
        io_queues: Some(4),
        header_digest: Some(true),
        data_digest: Some(true),
        kato: Some(15_000),
        age: Some(90),
        idle: Some(0),
        traffic: Some(Traffic {
            reads,
            bytes_read: reads * 4096,
            ..Traffic::default()
        }),
    }
}

/// Answers the next client with these bytes, whatever it asks.
pub(crate) fn say_once(listener: &UnixListener, bytes: &str) -> JoinHandle<()> {
    let (listener, bytes) = (listener.try_clone().unwrap(), bytes.to_owned());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
    })
}
