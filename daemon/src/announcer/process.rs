//! The announcer as a process of its own: told by the monitor what to announce, until it is told to
//! stop or the monitor is gone.
//!
//! Before anything else it is confined, as far as one can be who has to make sockets
//! ([`crate::confinement`]). A thread for each Centralized Discovery Controller and the responder's own
//! do the work; this one only listens to the monitor, so that it is heard at once.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{Resource, rlim_t, setrlimit};
use tracing::warn;

use super::announcement::Announcement;
use super::mdns::Responder;
use super::news::News;
use super::registration::{LEAVE_TIME, Leaving, Registration};
use crate::confinement;
use crate::ipc::channel::nonsense;
use crate::ipc::{Channel, FromAnnouncer, ToAnnouncer, process};
use crate::log::Verbosity;
use crate::os::{self, Profile};

/// Announces what the monitor says until it says stop or is gone.
pub fn main(_arguments: impl Iterator<Item = OsString>) -> ExitCode {
    process::main(c"nvmfd: announcer", || {
        bound_memory();
        Process::start()?.run()
    })
}

/// Whoever is on the link can have the responder's library remember records without end. The announcer
/// ends of it then, is started again, and nothing else on the machine suffers; nor from what it would
/// leave of itself each time.
fn bound_memory() {
    for (resource, most) in [(os::MEMORY, MEMORY_MAX), (Resource::RLIMIT_CORE, 0)] {
        if let Err(error) = setrlimit(resource, most, most) {
            eprintln!("nvmfd: announcer: cannot limit its memory: {error}");
        }
    }
}

/// Bytes. It takes some 15 MiB, and 2 MiB of address space for each thread, of which a CDC has one.
const MEMORY_MAX: rlim_t = 256 << 20;

/// The announcer between two messages.
struct Process {
    channel: Channel,
    verbosity: Option<Verbosity>,
    /// What comes in pieces.
    assembly: Option<Announcement>,
    responder: Option<Responder>,
    registrations: BTreeMap<SocketAddr, Registration>,
    /// Those that leave, and may not have left.
    leaving: BTreeMap<SocketAddr, Leaving>,
}

impl Process {
    fn start() -> io::Result<Self> {
        os::limit_standard()?;
        let channel = Channel::of(io::stdin().as_fd().try_clone_to_owned()?)?;
        let release = crate::RELEASE.into();
        channel.send(&FromAnnouncer::Hello { release }, None)?;
        be_confined(&channel)?;
        Ok(Self {
            channel,
            verbosity: None,
            assembly: None,
            responder: None,
            registrations: BTreeMap::new(),
            leaving: BTreeMap::new(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        while let Some((message, _descriptor)) = self.channel.receive()? {
            match message {
                ToAnnouncer::Confine(_) => return Err(nonsense("confined already")),
                ToAnnouncer::Log { level, destination } => {
                    process::log(&mut self.verbosity, &level, destination)?;
                }
                ToAnnouncer::Begin(entity) => self.assembly = Some(Announcement::new(&entity)?),
                ToAnnouncer::Service(service) => self.assembly()?.services.push(service),
                ToAnnouncer::Cdc(address) => self.assembly()?.cdcs.push(address),
                ToAnnouncer::Portal(portal) => self.assembly()?.portal(portal),
                ToAnnouncer::Subsystem(subsystem) => self.assembly()?.subsystem(subsystem)?,
                ToAnnouncer::Commit => {
                    let assembly = self.assembly.take();
                    let assembly = assembly.ok_or_else(|| nonsense("nothing to commit"))?;
                    self.announce(&Arc::new(assembly))?;
                }
                ToAnnouncer::Stop => {
                    self.stop();
                    return Ok(());
                }
            }
        }
        // The monitor is gone, and another may go on with what we had announced: nothing is taken
        // back, and nothing of ours stays.
        std::process::exit(0)
    }

    fn assembly(&mut self) -> io::Result<&mut Announcement> {
        let assembly = self.assembly.as_mut();
        assembly.ok_or_else(|| nonsense("a piece of nothing"))
    }

    fn announce(&mut self, announcement: &Arc<Announcement>) -> io::Result<()> {
        self.leaving.retain(|_, leaving| !leaving.has_ended());
        for (cdc, registration) in std::mem::take(&mut self.registrations) {
            if announcement.cdcs.contains(&cdc) {
                self.registrations.insert(cdc, registration);
            } else {
                self.leaving.insert(cdc, registration.leave());
            }
        }
        for &cdc in &announcement.cdcs {
            match self.registrations.get(&cdc) {
                Some(registration) => registration.register(announcement),
                None => {
                    let news = News::over(&self.channel)?;
                    let (wanted, before) = (Arc::clone(announcement), self.leaving.remove(&cdc));
                    let registration = Registration::start(cdc, wanted, news, before)?;
                    self.registrations.insert(cdc, registration);
                }
            }
        }
        let announced = self.announce_services(announcement);
        if let Err(error) = announced {
            warn!(reason = %error, "cannot announce by multicast DNS");
            let news = News::over(&self.channel)?;
            news.mdns(0, Some(error.to_string()));
        }
        Ok(())
    }

    fn announce_services(&mut self, announcement: &Announcement) -> mdns_sd::Result<()> {
        if announcement.services.is_empty() {
            if let Some(responder) = self.responder.take() {
                responder.stop();
            }
            return Ok(());
        }
        let responder = match &mut self.responder {
            Some(responder) => responder,
            none @ None => {
                let news = News::over(&self.channel);
                let news = news.map_err(|error| mdns_sd::Error::Msg(error.to_string()))?;
                none.insert(Responder::start(news)?)
            }
        };
        responder.announce(&announcement.services)
    }

    /// Takes everything back, as far as the network lets us within a moment.
    fn stop(self) {
        let leaving: Vec<Leaving> = self
            .registrations
            .into_values()
            .map(Registration::leave)
            .chain(self.leaving.into_values())
            .collect();
        if let Some(responder) = self.responder {
            responder.stop();
        }
        let deadline = Instant::now() + LEAVE_TIME;
        for leaving in leaving {
            leaving.await_end(deadline);
        }
    }
}

/// Is confined as the monitor orders, which is the first thing that it says, unless that is to stop.
fn be_confined(channel: &Channel) -> io::Result<()> {
    let order = match channel.receive()? {
        Some((ToAnnouncer::Confine(order), _)) => order,
        Some((ToAnnouncer::Stop, _)) | None => std::process::exit(0),
        Some(_) => return Err(nonsense("not confined yet")),
    };
    let confined = confinement::enter(Profile::Announcer, &order).map_err(io::Error::other)?;
    channel.send(&FromAnnouncer::Confined(confined), None)
}
