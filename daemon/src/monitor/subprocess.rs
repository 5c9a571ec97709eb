//! A process of ours: this program, started anew with one end of a channel as its standard input.
//!
//! What the worker and the announcer have in common: how they are started, told, listened to and
//! ended. What is told and what is believed is the business of whoever has one.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::relay;
use crate::ipc::Channel;

/// What a process of ours is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    /// The argument by which the program knows it.
    pub(super) argument: &'static str,
    /// What it is called in the log.
    pub(super) name: &'static str,
    /// What ps(1) calls it.
    pub(super) title: &'static str,
}

/// A process of ours that says messages of type `M`.
#[derive(Debug)]
pub(super) struct Subprocess<M> {
    channel: Channel,
    said: Receiver<M>,
    process: u32,
    /// For people. The clock may be set meanwhile.
    started: SystemTime,
    since: Instant,
    ended: Receiver<ExitStatus>,
}

impl<M: DeserializeOwned + Send + 'static> Subprocess<M> {
    /// Starts the same program as this one in a role. What it writes to standard error goes to
    /// `stderr`; if that is a pipe, to our log.
    pub(super) fn start(role: Role, arguments: &[OsString], stderr: Stdio) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let mut child = Command::new(program()?)
            .arg0(role.title)
            .arg(role.argument)
            .args(arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(stderr)
            // What is served must not keep a file system from being unmounted.
            .current_dir("/")
            // Signals of the terminal are the monitor's.
            .process_group(0)
            .spawn()?;
        let process = child.id();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || relay::pass_on(stderr, role.name));
        }
        let (ended_sender, ended) = bounded(1);
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // Nobody may care any more.
                let _ = ended_sender.send(status);
            }
        });
        Self::of(channel, process, ended)
    }

    /// The process at the other end of `channel`.
    pub(super) fn of(
        channel: Channel,
        process: u32,
        ended: Receiver<ExitStatus>,
    ) -> io::Result<Self> {
        let receiving = channel.try_clone()?;
        let (sender, said) = bounded(WAITING_MAX);
        thread::spawn(move || receive(&receiving, &sender));
        Ok(Self {
            channel,
            said,
            process,
            started: SystemTime::now(),
            since: Instant::now(),
            ended,
        })
    }
}

impl<M> Subprocess<M> {
    /// Its number.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// When it was started.
    pub(super) fn started(&self) -> SystemTime {
        self.started
    }

    /// How long it has been there.
    pub(super) fn lived(&self) -> Duration {
        self.since.elapsed()
    }

    /// Where its end shows.
    pub(super) fn ended(&self) -> &Receiver<ExitStatus> {
        &self.ended
    }

    /// What it says.
    pub(super) fn said(&self) -> &Receiver<M> {
        &self.said
    }

    /// Another handle of the channel, for a thread that tells it something.
    pub(super) fn channel(&self) -> io::Result<Channel> {
        self.channel.try_clone()
    }

    /// Tells it something.
    pub(super) fn tell(
        &self,
        message: &impl Serialize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        self.channel.send(message, descriptor)
    }

    /// Ends it at once. What it had begun may or may not be done.
    pub(super) fn kill(&self) {
        if let Ok(process) = i32::try_from(self.process) {
            // It may have ended by itself.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(process),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

impl<M> Drop for Subprocess<M> {
    /// Without its monitor it is of no use to anybody.
    fn drop(&mut self) {
        // Whoever else has its end of the channel has nobody at this one.
        self.channel.shut_down();
        if self.ended.is_empty() {
            self.kill();
        }
    }
}

/// Passes on what a process says until it is gone or makes no sense.
fn receive<M: DeserializeOwned>(channel: &Channel, said: &Sender<M>) {
    loop {
        match channel.receive::<M>() {
            Ok(Some((message, _descriptor))) => {
                if said.send(message).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                debug!(%error, "from a process of ours");
                return;
            }
        }
    }
}

/// This program, even if another has taken its name since.
fn program() -> io::Result<PathBuf> {
    let itself = PathBuf::from("/proc/self/exe");
    if itself.exists() {
        return Ok(itself);
    }
    std::env::current_exe()
}

/// A process's words, fit for a log.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .flat_map(char::escape_debug)
        .collect()
}

const TEXT_MAX: usize = 1024;

/// Messages that may wait; who says more waits itself.
const WAITING_MAX: usize = 64;
