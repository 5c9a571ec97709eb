//! From options to a daemon that serves, and to its end, in order.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::sys::signal::Signal;
use nvmf_kmod::module::{self, ModuleError};
use tracing::{error, info, warn};

use super::announcing::Announcing;
use super::child::Lost;
use super::kernel::{self, OpenKernel};
use super::resources::{Numbers, Resources};
use super::restarts::Restarts;
use super::{End, Monitor, descriptors, signals};
use crate::background::{self, Starting};
use crate::cli::Options;
use crate::config::model::{Destination, Namespaces};
use crate::config::{self, Config, Problems};
use crate::confinement::Order;
use crate::control::message::{self, Answer};
use crate::control::{ControlSocket, Question, Server};
use crate::error::{StartupError, chain};
use crate::identity::{HostIdentity, Origin};
use crate::log;
use crate::os;
use crate::pidfile::PidFile;
use crate::reconcile::{self, Report};

/// What is asked for, and what is hardly meant in it.
///
/// # Errors
/// Everything that is wrong with the file.
pub(super) fn load(options: &Options) -> Result<(Config, Option<Problems>), StartupError> {
    match &options.config {
        None => Ok((options.given(), None)),
        Some(path) => {
            let loaded = config::load(path).map_err(StartupError::Config)?;
            Ok((loaded.config, Some(loaded.warnings)))
        }
    }
}

/// Says what is wrong with what would be served, and serves nothing.
///
/// # Errors
/// Everything that is wrong.
pub fn check(options: &Options) -> Result<(), StartupError> {
    let (_, warnings) = load(options)?;
    if let Some(warnings) = warnings {
        eprint!("{warnings}");
    }
    Ok(())
}

/// The kernel modules that are needed, one a line.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn modules(options: &Options) -> Result<String, StartupError> {
    let (config, _) = load(options)?;
    let needed = config.subsystems.iter().any(kernel::is_kernel);
    Ok(match needed {
        true => "ctl\nnvmft\nnvmf_tcp\n".into(),
        false => String::new(),
    })
}

/// Serves until a signal or an operator ends it.
///
/// # Errors
/// Whatever keeps it from starting, after which nothing is left half-started; or what is left at the
/// end that should not be.
pub fn run(mut options: Options, host: &HostIdentity) -> Result<(), StartupError> {
    // The background has no directory of its own.
    options.config = options.config.map(|path| absolute(&path));
    options.socket = options.socket.map(|path| absolute(&path));
    options.pid_file = absolute(&options.pid_file);
    #[cfg(feature = "fake")]
    {
        options.ctl = options.ctl.map(|path| absolute(&path));
    }
    let (config, warnings) = load(&options)?;
    if let Some(warnings) = warnings {
        eprint!("{warnings}");
    }
    let starting = match options.foreground {
        true => None,
        false => Some(background::fork()?),
    };
    let confine = options.confine.unwrap_or(config.sandbox.confine);
    let user = options.user.as_deref().or(config.sandbox.user.as_deref());
    let order = Order::new(confine, user)?;
    let destination = config.log.destination.unwrap_or(match options.foreground {
        true => Destination::Stderr,
        false => Destination::Syslog,
    });
    let verbosity = log::start(destination, options.log.unwrap_or(config.log.level))?;
    os::set_title(c"nvmfd: monitor");
    if host.origin == Origin::HostName {
        warn!("this machine has no identity of its own: names derive from its host name");
    }
    descriptors::raise_limit();
    let mut pidfile = match options.foreground {
        true => None,
        false => Some(PidFile::open(&options.pid_file)?),
    };
    let now = SystemTime::now();
    let announcing = Announcing::new(destination, &order);
    let mut monitor = Monitor {
        options: &options,
        host,
        verbosity,
        destination,
        order,
        resources: Resources::default(),
        numbers: Numbers::default(),
        // It also moves from one start to the next, whatever was served before.
        generation: now
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs()),
        kernel: None,
        worker: None,
        worker_has_kernel: false,
        restarts: Restarts::default(),
        announcing,
        draining: false,
        started: now,
        loaded: now,
        reload_failed: None,
        config,
    };
    let ended = monitor.start_and_serve(starting, &mut pidfile);
    if let Some(pidfile) = pidfile {
        if let Err(error) = &ended {
            // Standard error may lead nowhere by now.
            error!("{}", error.report());
        }
        if let Err(error) = pidfile.remove() {
            warn!(%error, "cannot remove the pid file");
        }
    }
    ended
}

impl Monitor<'_> {
    fn start_and_serve(
        &mut self,
        starting: Option<Starting>,
        pidfile: &mut Option<PidFile>,
    ) -> Result<(), StartupError> {
        self.acquire()?;
        // Until the kernel has what it shall export a signal ends us at once, for that can take as
        // long as its hosts please; the next start goes on from there.
        let exported = self.export()?;
        let signals = signals::receive()?;
        let (sender, questions) = unbounded();
        let server = match self.begin(starting, pidfile, sender) {
            Ok(server) => server,
            Err(error) => {
                // Nothing is handed over any more.
                self.stop_worker();
                self.take_back(exported.as_ref(), &signals);
                return Err(error);
            }
        };
        descriptors::tell(&self.config, &self.resources);
        let end = self.serve(&signals, &questions);
        self.end(end, &signals, questions, server)
    }

    /// Answers nvmfctl. In the foreground that is a courtesy, unless it is asked for.
    fn serve_operators(&self, questions: Sender<Question>) -> Result<Option<Server>, StartupError> {
        let usual = Path::new(message::PATH);
        let path = self.options.socket.as_deref().unwrap_or(usual);
        let socket = match ControlSocket::open(path) {
            Ok(socket) => socket,
            Err(error) if self.options.foreground && self.options.socket.is_none() => {
                let reason = chain(&error);
                info!(%reason, "nvmfctl does not reach this daemon; --socket names another place");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let server = socket.serve(questions);
        server.map(Some).map_err(|source| StartupError::System {
            what: "serve the control socket",
            source,
        })
    }

    /// Binds and opens everything. A worker of a daemon that was killed lets go of it soon.
    fn acquire(&mut self) -> Result<(), StartupError> {
        let deadline = Instant::now() + PREDECESSOR_TIME;
        loop {
            let none = Resources::default();
            match Resources::acquire(&self.config, &none, &mut self.numbers) {
                Err(error) if error.is_of_a_predecessor() && Instant::now() < deadline => {
                    std::thread::sleep(PREDECESSOR_PAUSE);
                }
                acquired => {
                    self.resources = acquired?;
                    return Ok(());
                }
            }
        }
    }

    /// Has the kernel export what it shall. What a daemon before us left is adopted, and its hosts
    /// notice nothing.
    fn export(&mut self) -> Result<Option<Report>, StartupError> {
        let desired = kernel::desired(&self.config, self.host)?;
        if desired.ports().is_empty() {
            self.remove_leftovers();
            return Ok(None);
        }
        let kernel = self.open_kernel()?;
        let report = reconcile::reconcile(&kernel.ctl, &desired).map_err(StartupError::Export)?;
        Ok(Some(report))
    }

    /// Removes what a daemon before us left in the kernel, where the file asks for nothing of it any
    /// more: nobody else would. Who was given devices instead of a file is asked for less than all.
    fn remove_leftovers(&self) {
        let may_be_there = self.fake().is_some() || module::is_loaded();
        if self.options.config.is_none() || !may_be_there {
            return;
        }
        let removed = match self.open_soon() {
            Ok(kernel) => reconcile::withdraw(&kernel.ctl),
            // One that lives serves it.
            Err(StartupError::NoKernelMode(ModuleError::Locked)) => return,
            Err(error) => {
                warn!(reason = %error.report(), "cannot see what an earlier daemon exported");
                return;
            }
        };
        if let Err(error) = removed {
            warn!(reason = %chain(&error), "what an earlier daemon exported stays");
        }
    }

    /// Opens CTL, unless it is open.
    pub(super) fn open_kernel(&mut self) -> Result<&OpenKernel, StartupError> {
        if self.kernel.is_none() {
            self.kernel = Some(self.open_soon()?);
        }
        Ok(self.kernel.as_ref().expect("it was opened"))
    }

    fn open_soon(&self) -> Result<OpenKernel, StartupError> {
        let deadline = Instant::now() + PREDECESSOR_TIME;
        loop {
            match OpenKernel::open(self.fake()) {
                Err(error) if error.is_of_a_predecessor() && Instant::now() < deadline => {
                    std::thread::sleep(PREDECESSOR_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    /// The fake that plays the kernel's part.
    fn fake(&self) -> Option<&PathBuf> {
        #[cfg(feature = "fake")]
        return self.options.ctl.as_ref();
        #[cfg(not(feature = "fake"))]
        None
    }

    /// Everything is open, bound, locked and exported: serves it, says so, and leaves the terminal.
    fn begin(
        &mut self,
        starting: Option<Starting>,
        pidfile: &mut Option<PidFile>,
        questions: Sender<Question>,
    ) -> Result<Option<Server>, StartupError> {
        self.resources.listen_all()?;
        let worker = self.start_worker();
        let worker = worker.map_err(|lost: Lost| StartupError::Worker(chain(&lost)))?;
        self.worker = Some(worker);
        if let Some(pidfile) = pidfile {
            pidfile.write()?;
        }
        let server = self.serve_operators(questions)?;
        let keep_stderr = self.config.log.destination == Some(Destination::Stderr);
        let announced = self.announce().and_then(|()| match starting {
            Some(starting) => starting.leave_terminal(keep_stderr),
            None => Ok(()),
        });
        if let Err(error) = announced {
            close(server);
            return Err(error);
        }
        for subsystem in &self.config.subsystems {
            info!(subsystem = %subsystem.nqn, "serving");
        }
        self.announce_what_is_served();
        Ok(server)
    }

    /// Prints what is served, and the lines to paste on a host. A service that starts says nothing.
    fn announce(&self) -> Result<(), StartupError> {
        let everything =
            |it: &crate::config::model::Subsystem| matches!(it.namespaces, Namespaces::EveryLun);
        if let Some(kernel) = &self.kernel
            && self.config.subsystems.iter().any(everything)
        {
            kernel.warn_of_everything()?;
        }
        if self.options.config.is_some() && !self.options.foreground {
            return Ok(());
        }
        let banner = self.banners()?;
        let mut out = io::stdout().lock();
        write!(out, "{banner}")
            .and_then(|()| out.flush())
            .map_err(|source| StartupError::System {
                what: "print what is served",
                source,
            })
    }

    /// Undoes a start that fails after the kernel exports what it shall.
    fn take_back(&mut self, exported: Option<&Report>, signals: &Receiver<Signal>) {
        let (Some(report), Some(kernel)) = (exported, &self.kernel) else {
            return;
        };
        if report.goes_on() {
            // A start that fails is no reason to send an earlier daemon's hosts away.
            warn!("what an earlier daemon exported stays, and its hosts are served");
            return;
        }
        let signals = signals.clone();
        std::thread::spawn(move || signals::end_at_the_next(&signals));
        if let Err(left) = reconcile::withdraw(&kernel.ctl) {
            error!("{}", StartupError::Withdraw(left).report());
        }
    }

    /// Ends in order: no hand-off comes between the worker's end and the removal of the exports.
    fn end(
        &mut self,
        end: End,
        signals: &Receiver<Signal>,
        questions: Receiver<Question>,
        server: Option<Server>,
    ) -> Result<(), StartupError> {
        let signals = signals.clone();
        std::thread::spawn(move || signals::end_at_the_next(&signals));
        match &end {
            End::Stop(signal) => {
                info!(%signal, "stopping");
                self.announcing.stop();
            }
            // The next daemon announces the same; what is taken back in between would be missed.
            End::Leave(_) => info!("leaving; what the kernel serves goes on"),
        }
        self.stop_worker();
        if let End::Stop(_) = &end {
            self.announcing.await_end();
        }
        let withdrawn = match (&end, &self.kernel) {
            (End::Stop(_), Some(kernel)) => {
                info!("removing what was exported; hosts are sent away");
                let withdrawn = reconcile::withdraw(&kernel.ctl).map(drop);
                withdrawn.map_err(StartupError::Withdraw)
            }
            (End::Stop(_), None) | (End::Leave(_), _) => Ok(()),
        };
        if let End::Leave(reply) = end {
            // Nobody may wait for it.
            let _ = reply.send(Answer::Done);
        }
        drop(questions);
        close(server);
        info!("stopped");
        withdrawn
    }
}

fn close(server: Option<Server>) {
    if let Some(Err(error)) = server.map(Server::close) {
        warn!(%error, "cannot remove the control socket");
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What the worker of a daemon that was killed may take to notice, and so to let go.
const PREDECESSOR_TIME: Duration = Duration::from_secs(1);
const PREDECESSOR_PAUSE: Duration = Duration::from_millis(20);
