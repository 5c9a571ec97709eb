//! A controller: what answers admin commands and properties, for an NVM subsystem or for discovery.
//!
//! [`Controller`] decides and remembers; it moves no data, owns no queue and does no I/O. A caller
//! hands it every entry of the admin queue: Property commands to [`Controller::property_get`] and
//! [`Controller::property_set`], the rest to [`Controller::parse`], which says what data will move,
//! and [`Controller::execute`]. Whenever something may have changed it asks
//! [`Controller::next_event`] for event requests to complete, and [`Controller::deadline`] when to
//! look at the keep-alive timer again.
//!
//! Wire layouts stand beside what fills them: [`identify`], [`log_page`], [`discovery`]. What the
//! caller knows better (namespaces, counters, the discovery log) comes in as an [`Environment`].

use std::time::{Duration, Instant};

use crate::cqe::Completion;
use crate::nqn::Nqn;
use crate::sqe::Sqe;
use crate::status::Status;

pub use crate::sqe::Data;
pub use cmd::AdminCommand;
pub use discovery::{DiscoveryEntry, DiscoveryLog, DiscoveryScope};
pub use log_page::{ErrorLog, IoStatistics};
pub use namespace::{BROADCAST_NSID, NamespaceInfo, Namespaces};

use event::Events;
use features::Features;
use keep_alive::KeepAlive;
use registers::{Registers, Transition};

pub mod cmd;
pub mod discovery;
mod event;
pub mod features;
pub mod identify;
mod keep_alive;
pub mod log_page;
mod namespace;
mod registers;
#[cfg(test)]
mod tests;

/// What a controller is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// I/O on the namespaces of an NVM subsystem.
    Io,
    /// Reading the discovery log.
    Discovery,
}

/// What is fixed for the life of a controller.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it is for.
    pub kind: Kind,
    /// Its identifier, 1–FFEFh.
    pub cntlid: u16,
    /// Name of its subsystem.
    pub subnqn: Nqn,
    /// Serial number: up to 20 characters of printable ASCII; the rest is cut.
    pub serial: String,
    /// Model: up to 40 characters of printable ASCII.
    pub model: String,
    /// Firmware revision: up to 8 characters of printable ASCII.
    pub firmware: String,
    /// Host identifier, as Connect gave it.
    pub hostid: [u8; 16],
    /// Entries of an I/O queue at most, 2–65536.
    pub max_io_entries: u32,
    /// Entries of the admin queue at most, 32–4096.
    pub max_admin_entries: u32,
    /// I/O queues at most, from 1; of no account for discovery.
    pub max_io_queues: u16,
    /// Bytes that a command moves at most: a power of two, 8192–2³¹. FreeBSD's host reads all
    /// entries of a discovery log (up to 1 MiB) in one command.
    pub max_transfer: u32,
    /// Bytes of data in a command capsule of an I/O queue at most, a multiple of 16.
    pub in_capsule: u32,
    /// Keep Alive Timeout, as Connect asked for it; zero for none.
    pub kato: Duration,
}

/// What the caller knows at the moment of a command.
pub struct Environment<'a> {
    /// The namespaces that this host sees; none for discovery.
    pub namespaces: &'a dyn Namespaces,
    /// Failures of this controller's commands.
    pub errors: &'a ErrorLog,
    /// Counters of this controller's subsystem.
    pub io: IoStatistics,
    /// What this host can reach; empty on I/O controllers.
    pub discovery: &'a DiscoveryLog,
}

/// How an admin command ends, or does not end yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ends so, without data.
    Done(Completion),
    /// It succeeds, with exactly the bytes that [`AdminCommand::data`] announced.
    Data(Vec<u8>),
    /// An event request: it comes back through [`Controller::next_event`].
    Held,
    /// Abort: the caller knows the queues. It answers [`ABORTED`] or [`NOT_ABORTED`].
    Abort {
        /// Queue of the command to abort.
        sqid: u16,
        /// Identifier of the command to abort.
        cid: u16,
    },
}

/// What the caller has to do after Property Set, besides completing it with success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The controller is ready: I/O queues may connect.
    Enabled,
    /// Controller Reset: all I/O queues go, and their commands with them.
    Reset {
        /// Event requests that waited. They end without an answer (Base 2.0 §3.7.2), so their
        /// places in the queue are free.
        forgotten: Vec<u32>,
    },
    /// Shutdown: finish or drop I/O, flush, then call [`Controller::shutdown_complete`].
    Shutdown,
}

/// A controller.
#[derive(Debug)]
pub struct Controller {
    config: Config,
    registers: Registers,
    features: Features,
    events: Events,
    keep_alive: KeepAlive,
}

impl Controller {
    /// A controller as it is when its admin queue's Connect completes: disabled, its keep-alive
    /// timer running.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            registers: Registers::new(&config),
            features: Features::new(&config),
            events: Events::new(config.kind),
            keep_alive: KeepAlive::new(config.kind, config.kato, now),
            config,
        }
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its subsystem has this name: discovery's can be given another while hosts are connected.
    pub fn rename(&mut self, subnqn: Nqn) {
        self.config.subnqn = subnqn;
    }

    /// Reads an entry of the admin queue that is not a Fabrics command.
    ///
    /// # Errors
    /// The status to complete the command with: Command Sequence Error unless the controller
    /// [is ready](Self::is_ready), and whatever [`AdminCommand::parse`] finds.
    pub fn parse(&self, sqe: &Sqe) -> Result<AdminCommand, Status> {
        if self.is_ready() {
            AdminCommand::parse(sqe, self.config.kind, self.config.max_transfer)
        } else {
            Err(Status::COMMAND_SEQUENCE_ERROR.dnr())
        }
    }

    /// Executes an admin command. `tag` is the caller's name for it, told back by
    /// [`Self::next_event`] if it is an event request.
    pub fn execute(
        &mut self,
        tag: u32,
        command: &AdminCommand,
        env: &Environment<'_>,
        now: Instant,
    ) -> Outcome {
        self.keep_alive.restart(now);
        let outcome = match command {
            AdminCommand::Identify(what) => self.identify(what, env).map(Outcome::Data),
            AdminCommand::GetLogPage(read) => self.read_log(read, env).map(Outcome::Data),
            AdminCommand::GetFeatures(read) => self.read_feature(read, env),
            AdminCommand::SetFeatures(write) => self.write_feature(write, env, now),
            AdminCommand::AsyncEventRequest => self.events.hold(tag).map(|()| Outcome::Held),
            AdminCommand::Abort { sqid, cid } => Ok(Outcome::Abort {
                sqid: *sqid,
                cid: *cid,
            }),
            AdminCommand::KeepAlive => Ok(Outcome::Done(Completion::SUCCESS)),
        };
        outcome.unwrap_or_else(|status| Outcome::Done(status.into()))
    }

    /// Executes Property Get: dwords 0 and 1 of its completion.
    ///
    /// # Errors
    /// Invalid Field for anything but CAP (8 bytes), VS, CC, CSTS and CRTO (4 bytes), read whole.
    pub fn property_get(&self, sqe: &Sqe) -> Result<u64, Status> {
        self.registers.read(sqe)
    }

    /// Executes Property Set.
    ///
    /// # Errors
    /// Invalid Field for anything but CC (4 bytes) or a value that CC cannot have; nothing has
    /// changed then.
    pub fn property_set(&mut self, sqe: &Sqe, now: Instant) -> Result<Option<Effect>, Status> {
        let Some(transition) = self.registers.write(sqe)? else {
            return Ok(None);
        };
        Ok(Some(match transition {
            Transition::Enabled => {
                self.keep_alive.resume(now);
                Effect::Enabled
            }
            Transition::Reset => {
                self.keep_alive.preserve(now);
                self.features.reset();
                Effect::Reset {
                    forgotten: self.events.reset(),
                }
            }
            Transition::Shutdown => {
                self.keep_alive.preserve(now);
                Effect::Shutdown
            }
        }))
    }

    /// The shutdown that [`Effect::Shutdown`] asked for is done (CSTS.SHST 10b).
    pub fn shutdown_complete(&mut self) {
        self.registers.shutdown_complete();
    }

    /// Enabled, neither failed nor shutting down: admin commands and I/O queues are welcome.
    pub fn is_ready(&self) -> bool {
        self.registers.is_ready()
    }

    /// I/O queues that may exist: QIDs from 1 to this.
    pub fn io_queues_granted(&self) -> u16 {
        match self.config.kind {
            Kind::Io => self.features.queues(),
            Kind::Discovery => 0,
        }
    }

    /// An I/O queue has connected: until the next reset their number is fixed.
    pub fn io_queue_created(&mut self) {
        self.features.queue_created();
    }

    /// Whether the host wants its writes cached; if not, each must be durable before it completes.
    pub fn write_cache_enabled(&self) -> bool {
        self.features.write_cache()
    }

    /// An event request to complete now: the tag it was executed with, and how it ends.
    ///
    /// A discovery controller without KATO is not a persistent one and tells of nothing (Base 2.1
    /// §3.1.3.3); what there is to tell waits for one (Set Features 0Fh), as do the requests.
    pub fn next_event(&mut self) -> Option<(u32, Completion)> {
        match (self.config.kind, self.keep_alive.kato()) {
            (Kind::Discovery, 0) => None,
            (Kind::Discovery | Kind::Io, _) => self.events.next(),
        }
    }

    /// Forgets the event request of this tag, to be completed with Command Abort Requested; false
    /// if it does not wait here.
    pub fn abort_event_request(&mut self, tag: u32) -> bool {
        self.events.abort(tag)
    }

    /// These namespaces came, went, or changed size or attributes.
    pub fn namespaces_changed(&mut self, nsids: impl IntoIterator<Item = u32>) {
        self.events.namespaces_changed(nsids);
    }

    /// The discovery log that this host sees has changed; call it once the new one can be read.
    pub fn discovery_changed(&mut self) {
        self.events.discovery_changed();
    }

    /// A command arrived on any queue of the controller: its host is alive. [`Self::execute`] says
    /// so itself.
    pub fn traffic(&mut self, now: Instant) {
        self.keep_alive.restart(now);
    }

    /// Keep Alive Timeout in force, in milliseconds; 0 for none.
    pub fn kato(&self) -> u32 {
        self.keep_alive.kato()
    }

    /// When to call [`Self::expired`], if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.keep_alive.deadline()
    }

    /// Whether the host must be given up: it sent nothing for its KATO, for two minutes (discovery
    /// without KATO), or for two minutes after a reset or shutdown. If so, CSTS.CFS is set and all
    /// connections are to be closed. `traffic_elsewhere` says that commands arrived since the last
    /// call that [`Self::traffic`] was not told of.
    pub fn expired(&mut self, now: Instant, traffic_elsewhere: bool) -> bool {
        let expired = self.keep_alive.expired(now, traffic_elsewhere);
        if expired {
            self.registers.set_fatal();
        }
        expired
    }
}

/// Completion of an Abort whose command will end with Command Abort Requested.
pub const ABORTED: Completion = Completion::success(0);

/// Completion of an Abort whose command was not found or ends by itself.
pub const NOT_ABORTED: Completion = Completion::success(1);
