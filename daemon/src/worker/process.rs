//! The worker as a process of its own: it takes descriptors and pieces of a snapshot from the monitor,
//! and answers its questions.
//!
//! It was started with one end of the channel as its standard input and has nothing else. Before it takes
//! anything in it is confined ([`crate::confinement`]), and from then on there are no paths and no other
//! processes: what it needs comes by the channel, already cut to its purpose. When the monitor is gone
//! it ends at once, so that the next daemon finds what is bound and locked free.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use nvmf_kmod::{Ctl, CtlDevice};

use super::Worker;
use super::assembly::{Assembled, Assembly, Stock};
use crate::confinement;
use crate::control::message::Whose;
use crate::ipc::channel::nonsense;
use crate::ipc::message::PART_MAX;
use crate::ipc::{Channel, ToMonitor, ToWorker, process};
use crate::log::Verbosity;
use crate::metrics::Metrics;
use crate::os::{self, Profile};

/// Serves what the monitor says until it says stop or is gone.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    process::main(c"nvmfd: worker", || Process::start(arguments)?.run())
}

/// The worker between two messages.
struct Process {
    channel: Channel,
    verbosity: Option<Verbosity>,
    /// The kernel that queues are handed to.
    ctl: Option<Ctl>,
    worker: Option<Worker>,
    metrics: Option<Metrics>,
    assembly: Option<Assembly>,
    stock: Stock,
    draining: bool,
    /// What is tried from inside.
    #[cfg(feature = "fake")]
    attempts: Option<super::attempts::Attempts>,
    /// The fake that plays the kernel's part: connected while there were paths.
    #[cfg(feature = "fake")]
    fake: Option<nvmf_kmod::fake::remote::RemoteKernel>,
}

impl Process {
    fn start(mut arguments: impl Iterator<Item = OsString>) -> io::Result<Self> {
        os::limit_standard()?;
        let channel = Channel::of(io::stdin().as_fd().try_clone_to_owned()?)?;
        let _fake = arguments.next();
        #[cfg(feature = "fake")]
        let _fake = _fake.and_then(|path| {
            // Who has no kernel mode needs none.
            nvmf_kmod::fake::remote::RemoteKernel::connect(path).ok()
        });
        #[cfg(feature = "fake")]
        let attempts = super::attempts::Attempts::wanted();
        let release = crate::RELEASE.into();
        channel.send(&ToMonitor::Hello { release }, None)?;
        be_confined(&channel)?;
        Ok(Self {
            channel,
            verbosity: None,
            ctl: None,
            worker: None,
            metrics: None,
            assembly: None,
            stock: Stock::default(),
            draining: false,
            #[cfg(feature = "fake")]
            attempts,
            #[cfg(feature = "fake")]
            fake: _fake,
        })
    }

    fn run(mut self) -> io::Result<()> {
        while let Some((message, descriptor)) = self.channel.receive()? {
            if let ToWorker::Stop = message {
                if let Some(metrics) = self.metrics {
                    metrics.stop();
                }
                let monitor = self.channel.try_clone()?;
                // It says no more; its end does not wait for our disks either.
                thread::spawn(move || {
                    let _ = monitor.receive::<ToWorker>();
                    std::process::exit(0)
                });
                if let Some(worker) = self.worker {
                    worker.stop();
                }
                return self.channel.send(&ToMonitor::Stopped, None);
            }
            self.message(message, descriptor)?;
        }
        // The monitor is gone: nothing here may outlive it, least of all what a later one needs.
        std::process::exit(0)
    }

    fn message(&mut self, message: ToWorker, descriptor: Option<OwnedFd>) -> io::Result<()> {
        match message {
            ToWorker::Confine(_) => Err(nonsense("confined already")),
            ToWorker::Log { level, destination } => {
                process::log(&mut self.verbosity, &level, destination)
            }
            ToWorker::Kernel => self.kernel(descriptor),
            ToWorker::Begin(begin) => {
                self.assembly = Some(Assembly::new(begin));
                Ok(())
            }
            ToWorker::Portal(portal) => self.assembly()?.portal(portal, descriptor),
            ToWorker::Subsystem(subsystem) => self.assembly()?.subsystem(subsystem),
            ToWorker::Hosts(hosts) => self.assembly()?.hosts(hosts),
            ToWorker::Referral(referral) => self.assembly()?.referral(referral),
            ToWorker::ReferralHosts(hosts) => self.assembly()?.referral_hosts(hosts),
            ToWorker::Namespace(namespace) => {
                let assembly = self.assembly.as_mut();
                let assembly = assembly.ok_or_else(|| nonsense("a piece of nothing"))?;
                assembly.namespace(namespace, descriptor, &mut self.stock)
            }
            ToWorker::Metrics(address) => {
                self.assembly()?.metrics(address, descriptor);
                Ok(())
            }
            ToWorker::Commit => {
                let committed = self.commit().map_err(|error| error.to_string());
                #[cfg(feature = "fake")]
                if let Some(attempts) = self.attempts.take() {
                    attempts.make(&self.channel)?;
                }
                self.channel.send(&ToMonitor::Committed(committed), None)
            }
            ToWorker::HoldHandoffs => {
                if let Some(worker) = &self.worker {
                    worker.hold_handoffs();
                }
                self.channel.send(&ToMonitor::Held, None)
            }
            ToWorker::ResumeHandoffs => {
                if let Some(worker) = &self.worker {
                    worker.resume_handoffs();
                }
                Ok(())
            }
            ToWorker::Drain(on) => {
                self.draining = on;
                if let Some(worker) = &self.worker {
                    worker.drain(on);
                }
                Ok(())
            }
            ToWorker::Count => self.count(),
            ToWorker::Limits => self.limits(),
            ToWorker::Sessions => self.sessions(),
            ToWorker::Refusals => self.refusals(),
            ToWorker::Failing => self.failing(),
            ToWorker::Terminate(whose) => self.terminate(&whose),
            ToWorker::Stop => Ok(()),
        }
    }

    fn kernel(&mut self, descriptor: Option<OwnedFd>) -> io::Result<()> {
        let ctl = match descriptor {
            Some(descriptor) => Ctl::new(Arc::new(CtlDevice::from(descriptor))),
            None => self.fake_kernel()?,
        };
        if let Some(worker) = &self.worker {
            worker.set_kernel(ctl.clone())?;
        }
        self.ctl = Some(ctl);
        Ok(())
    }

    #[cfg(feature = "fake")]
    fn fake_kernel(&mut self) -> io::Result<Ctl> {
        let fake = self.fake.take();
        let fake = fake.ok_or_else(|| nonsense("a kernel without a descriptor"))?;
        Ok(Ctl::new(Arc::new(fake)))
    }

    #[cfg(not(feature = "fake"))]
    fn fake_kernel(&mut self) -> io::Result<Ctl> {
        Err(nonsense("a kernel without a descriptor"))
    }

    fn assembly(&mut self) -> io::Result<&mut Assembly> {
        let assembly = self.assembly.as_mut();
        assembly.ok_or_else(|| nonsense("a piece of nothing"))
    }

    /// Serves what was sent.
    fn commit(&mut self) -> io::Result<()> {
        let assembly = self.assembly.take();
        let assembly = assembly.ok_or_else(|| nonsense("nothing to commit"))?;
        let Assembled {
            threads,
            change,
            metrics,
            stock,
        } = assembly.assemble(std::mem::take(&mut self.stock))?;
        self.stock = stock;
        let Some(worker) = &self.worker else {
            let worker =
                Worker::start(change.snapshot, change.listeners, threads, self.ctl.clone())?;
            worker.drain(self.draining);
            let shared = worker.shared();
            self.worker = Some(worker);
            self.metrics = Some(Metrics::start(metrics, shared)?);
            return Ok(());
        };
        if let Some(serving) = &self.metrics {
            serving.apply(metrics)?;
        }
        worker.apply(change)
    }

    fn count(&self) -> io::Result<()> {
        let worker = self.worker.as_ref();
        let counts = ToMonitor::Counts {
            negotiating: worker.map_or(0, Worker::negotiating),
            refused: worker.map_or(0, |worker| worker.refusals().total),
            stalled: worker.map_or(0, Worker::stalled),
            memory: worker.map(Worker::memory).unwrap_or_default(),
        };
        self.channel.send(&counts, None)
    }

    fn limits(&self) -> io::Result<()> {
        let limits = self.worker.as_ref().map(Worker::limits);
        let limits = limits.unwrap_or_default();
        self.channel.send(&ToMonitor::Limits(limits), None)
    }

    fn sessions(&self) -> io::Result<()> {
        let sessions = self.worker.as_ref().map(Worker::sessions);
        in_parts(&sessions.unwrap_or_default(), |part, more| {
            self.channel.send(&ToMonitor::Sessions { part, more }, None)
        })
    }

    fn refusals(&self) -> io::Result<()> {
        let refusals = self.worker.as_ref().map(Worker::refusals);
        let refusals = refusals.unwrap_or_default();
        let total = refusals.total;
        in_parts(&refusals.last, |part, more| {
            let message = ToMonitor::Refusals { total, part, more };
            self.channel.send(&message, None)
        })
    }

    fn failing(&self) -> io::Result<()> {
        let failing = self.worker.as_ref().map(Worker::failing);
        in_parts(&failing.unwrap_or_default(), |part, more| {
            self.channel.send(&ToMonitor::Failing { part, more }, None)
        })
    }

    fn terminate(&self, whose: &Whose) -> io::Result<()> {
        let worker = self.worker.as_ref();
        let count = worker.map_or(0, |worker| worker.terminate(whose));
        self.channel.send(&ToMonitor::Terminated(count), None)
    }
}

/// Is confined as the monitor orders, which is the first thing that it says.
fn be_confined(channel: &Channel) -> io::Result<()> {
    let order = match channel.receive()? {
        Some((ToWorker::Confine(order), None)) => order,
        Some(_) => return Err(nonsense("not confined yet")),
        None => std::process::exit(0),
    };
    let confined = confinement::enter(Profile::Worker, &order);
    let failed = confined.clone().err();
    channel.send(&ToMonitor::Confined(confined), None)?;
    failed.map_or(Ok(()), |why| Err(io::Error::other(why)))
}

/// Sends a list in parts; an empty one is one part.
fn in_parts<T: Clone>(list: &[T], send: impl Fn(Vec<T>, bool) -> io::Result<()>) -> io::Result<()> {
    let mut parts = list.chunks(PART_MAX).peekable();
    if parts.peek().is_none() {
        return send(Vec::new(), false);
    }
    while let Some(part) = parts.next() {
        send(part.to_vec(), parts.peek().is_some())?;
    }
    Ok(())
}
