//! Admin queues: the controller's commands and what they set off elsewhere.
//!
//! [`Controller`] decides; this file carries out what its decisions mean for other queues, for the
//! registry and for storage: I/O queues are let in, closed at a reset, asked to abort; a shutdown
//! flushes. It also watches the keep-alive timer and the association's lost queues.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nvmf_proto::connect::Connect;
use nvmf_proto::controller::features::Feature;
use nvmf_proto::controller::identify::Identify;
use nvmf_proto::controller::log_page::LogPage;
use nvmf_proto::controller::{
    ABORTED, AdminCommand, Config, Controller, DiscoveryLog, Effect, Environment, Kind,
    NOT_ABORTED, Outcome,
};
use nvmf_proto::cqe::Completion;
use nvmf_proto::opcode::fabrics;
use nvmf_proto::queue::Tag;
use nvmf_proto::sqe::{Data, Sqe};
use nvmf_proto::status::Status;

use super::namespace::Namespaces;
use super::session::Session;
use crate::worker::close::CloseReason;
use crate::worker::connection::Turn;
use crate::worker::limits::Limit;
use crate::worker::message::Message;
use crate::worker::registry::Association;
use crate::worker::snapshot::{IO_IN_CAPSULE, MAX_ADMIN_ENTRIES, MAX_TRANSFER};
use crate::worker::{discovery, route};

/// What a host has, after it lost an I/O queue, to reset or shut down the controller in order. Hosts
/// close their I/O queues first in both cases; one that does neither has lost the association.
const QUEUE_LOST_TIME: Duration = Duration::from_secs(3);

/// Model number: what hosts show as the disk's name.
const MODEL: &str = "nvmfd";

/// What an admin queue has beyond its queue.
#[derive(Debug)]
pub struct Admin {
    controller: Controller,
    /// When the association ends because an I/O queue is lost.
    lost: Option<Instant>,
    flush: Flush,
}

/// The flush of a shutdown: one at a time, however often a host shuts down.
#[derive(Debug, PartialEq, Eq)]
enum Flush {
    /// None is under way.
    Idle,
    /// One is, for the shutdown that the host waits for.
    Running,
    /// It began before the shutdown that waits now.
    Stale,
}

impl Admin {
    /// A new controller.
    pub(super) fn new(connect: &Connect, association: &Association, now: Instant) -> Self {
        let subsystem = association.subsystem.as_ref();
        let config = Config {
            kind: if subsystem.is_some() {
                Kind::Io
            } else {
                Kind::Discovery
            },
            cntlid: association.cntlid,
            subnqn: connect.subnqn.clone(),
            serial: subsystem.map(|it| it.serial.clone()).unwrap_or_default(),
            model: MODEL.into(),
            firmware: env!("CARGO_PKG_VERSION").into(),
            hostid: connect.hostid,
            max_io_entries: association.max_io_entries,
            max_admin_entries: MAX_ADMIN_ENTRIES,
            max_io_queues: association.max_io_queues,
            max_transfer: MAX_TRANSFER,
            in_capsule: IO_IN_CAPSULE,
            kato: connect.kato,
        };
        Self {
            controller: Controller::new(config, now),
            lost: None,
            flush: Flush::Idle,
        }
    }

    /// The data that a command moves.
    pub(super) fn judge(&self, sqe: &Sqe) -> Result<Data, Status> {
        match sqe.fctype() {
            Some(fabrics::PROPERTY_GET | fabrics::PROPERTY_SET) => Ok(Data::None),
            // A queue is connected once.
            Some(fabrics::CONNECT) => Err(Status::COMMAND_SEQUENCE_ERROR.dnr()),
            Some(_) => Err(Status::INVALID_OPCODE.dnr()),
            None => self.controller.parse(sqe).map(|command| command.data()),
        }
    }

    pub(super) fn saw_traffic(&mut self, now: Instant) {
        self.controller.traffic(now);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.controller.deadline(), self.lost]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn tick(
        &mut self,
        association: &Association,
        now: Instant,
    ) -> Result<(), CloseReason> {
        if self.lost.is_some_and(|deadline| deadline <= now) {
            return Err(CloseReason::QueueLost);
        }
        let due = self
            .controller
            .deadline()
            .is_some_and(|deadline| deadline <= now);
        if due {
            let elsewhere = association.traffic.swap(false, Ordering::Relaxed);
            if self.controller.expired(now, elsewhere) {
                return Err(CloseReason::KeepAlive);
            }
        }
        Ok(())
    }

    pub(super) fn queue_lost(&mut self, now: Instant) {
        if self.controller.is_ready() {
            self.lost.get_or_insert(now + QUEUE_LOST_TIME);
        }
    }

    /// A flush has ended. Whether another must follow.
    pub(super) fn shutdown_flushed(&mut self) -> bool {
        if std::mem::replace(&mut self.flush, Flush::Idle) == Flush::Stale {
            return true;
        }
        self.controller.shutdown_complete();
        false
    }

    fn is_discovery(&self) -> bool {
        self.controller.config().kind == Kind::Discovery
    }
}

impl Session {
    /// Executes a command of the admin queue, and completes whatever events that brings.
    pub(super) fn execute_admin(&mut self, tag: Tag, turn: &Turn<'_>) {
        let Some(&sqe) = self.queue.sqe(tag) else {
            return;
        };
        match sqe.fctype() {
            Some(fabrics::PROPERTY_GET) => self.property_get(tag, &sqe),
            Some(_) => self.property_set(tag, &sqe, turn),
            None => self.admin_command(tag, &sqe, turn),
        }
        self.complete_events();
    }

    /// Completes the event requests for which there is an event.
    fn complete_events(&mut self) {
        while let Some((tag, completion)) = self.admin().and_then(|it| it.controller.next_event()) {
            self.stats.told(completion.result);
            self.queue.complete(Tag::from(tag), completion);
        }
    }

    /// These namespaces of the subsystem came, went or changed: the host is told.
    pub fn namespaces_changed(&mut self, nsids: &[u32]) {
        if let Some(admin) = self.admin() {
            admin.controller.namespaces_changed(nsids.iter().copied());
        }
        self.complete_events();
    }

    /// The discovery log that this host sees has changed: it is told.
    pub fn discovery_changed(&mut self) {
        if let Some(admin) = self.admin() {
            admin.controller.discovery_changed();
        }
        self.complete_events();
    }

    fn property_get(&mut self, tag: Tag, sqe: &Sqe) {
        let Some(admin) = self.admin() else { return };
        let completion = match admin.controller.property_get(sqe) {
            Ok(value) => Completion::success(value),
            Err(status) => status.into(),
        };
        self.complete(tag, completion);
    }

    fn property_set(&mut self, tag: Tag, sqe: &Sqe, turn: &Turn<'_>) {
        let Some(admin) = self.admin() else { return };
        let effect = admin.controller.property_set(sqe, turn.now);
        match effect {
            Ok(effect) => {
                if let Some(effect) = effect {
                    self.apply(effect, turn);
                }
                self.complete(tag, Completion::SUCCESS);
            }
            Err(status) => self.complete(tag, status.into()),
        }
    }

    fn apply(&mut self, effect: Effect, turn: &Turn<'_>) {
        match effect {
            Effect::Enabled => {
                let Some(admin) = self.admin() else { return };
                // TrueNAS: its host connects I/O queues without asking first how many it may have.
                let granted = admin.controller.io_queues_granted();
                self.association.admit(granted);
            }
            Effect::Reset { forgotten } => {
                for queue in self.association.dismiss() {
                    turn.shared
                        .send(queue, Message::Close(queue, CloseReason::ControllerReset));
                }
                self.association.write_cache.store(true, Ordering::Relaxed);
                for tag in forgotten {
                    self.queue.forget(Tag::from(tag));
                }
                if let Some(admin) = self.admin() {
                    admin.lost = None;
                }
            }
            Effect::Shutdown => self.shut_down(turn),
        }
    }

    /// I/O queues end, and everything that was written goes to stable storage; the host polls CSTS
    /// until it is there.
    fn shut_down(&mut self, turn: &Turn<'_>) {
        for queue in self.association.dismiss() {
            turn.shared
                .send(queue, Message::Close(queue, CloseReason::ControllerReset));
        }
        if let Some(admin) = self.admin() {
            admin.lost = None;
            match admin.flush {
                Flush::Idle => self.flush_all(turn),
                Flush::Running | Flush::Stale => admin.flush = Flush::Stale,
            }
        }
    }

    /// Flushes on the pool, which answers with [`Message::ShutdownFlushed`].
    pub(super) fn flush_all(&mut self, turn: &Turn<'_>) {
        let namespaces = self.association.engine().cloned();
        let (connection, host) = (self.id, self.association.hostid);
        let Some(admin) = self.admin() else { return };
        match namespaces {
            Some(namespaces) => {
                admin.flush = Flush::Running;
                let pool = &turn.shared.pool;
                pool.flush_all(connection, host, &namespaces.load());
            }
            None => admin.controller.shutdown_complete(),
        }
    }

    fn admin_command(&mut self, tag: Tag, sqe: &Sqe, turn: &Turn<'_>) {
        let association = Arc::clone(&self.association);
        let Some(admin) = self.admin() else { return };
        let command = match admin.controller.parse(sqe) {
            Ok(command) => command,
            Err(status) => return self.complete(tag, status.into()),
        };
        if association.has_io_queues() {
            admin.controller.io_queue_created();
        }
        let (outcome, cache) = {
            let namespaces = association
                .namespaces()
                .unwrap_or_else(|| Namespaces::default().load());
            let served = &turn.shared.served;
            let log = if let AdminCommand::GetLogPage(read) = &command
                && read.page == LogPage::Discovery
            {
                discovery::log(
                    served,
                    association.place(),
                    &association.hostnqn,
                    read.scope,
                )
            } else {
                Arc::<DiscoveryLog>::default()
            };
            if matches!(command, AdminCommand::Identify(_)) && admin.is_discovery() {
                // Who connected by the well-known name goes on when the other one changes.
                let (snapshot, portal) = (served.load(), association.origin.portal);
                let name = route::discovery_name(&snapshot, portal).clone();
                admin.controller.rename(name);
            }
            let environment = Environment {
                namespaces: &namespaces,
                errors: &association.record.errors(),
                io: association.record.statistics(),
                discovery: &log,
            };
            let controller = &mut admin.controller;
            let outcome = controller.execute(tag.into(), &command, &environment, turn.now);
            let cache = namespaces.iter().any(|it| it.character.volatile_cache);
            (outcome, cache)
        };
        match outcome {
            Outcome::Done(completion) => {
                if let (AdminCommand::SetFeatures(write), true) =
                    (&command, completion.status.is_success())
                {
                    let granted = admin.controller.io_queues_granted();
                    let cache = admin.controller.write_cache_enabled();
                    association.write_cache.store(cache, Ordering::Relaxed);
                    let kato = admin.controller.kato();
                    association.kato.store(kato, Ordering::Relaxed);
                    if write.feature == Feature::NumberOfQueues {
                        association.admit(granted);
                        // Both numbers are 0's based.
                        let [low, high, ..] = sqe.cdw11.get().to_le_bytes();
                        if u16::from_le_bytes([low, high]) >= association.max_io_queues {
                            self.stats.limits.count(Limit::Queues);
                        }
                    }
                }
                self.complete(tag, completion);
            }
            Outcome::Data(data) => {
                if let AdminCommand::GetLogPage(read) = &command
                    && read.page == LogPage::Discovery
                {
                    self.stats.discovery_read();
                }
                if command == AdminCommand::Identify(Identify::Controller) {
                    // Whoever asks again may be a tool, of which what writes knows nothing.
                    association.cacheless.fetch_or(!cache, Ordering::Relaxed);
                }
                self.queue.complete_read(tag, data);
            }
            Outcome::Held => self.queue.hold(tag),
            Outcome::Abort { sqid, cid } => self.abort_command(tag, sqid, cid, turn),
        }
    }

    /// Abort: found here, or asked of the reactor that has the queue.
    fn abort_command(&mut self, tag: Tag, sqid: u16, cid: u16, turn: &Turn<'_>) {
        if sqid != 0 {
            match self.association.io_queue(sqid) {
                Some(queue) => {
                    let answer = (self.id, tag);
                    turn.shared
                        .send(queue, Message::Abort { queue, cid, answer });
                }
                None => self.complete(tag, NOT_ABORTED),
            }
            return;
        }
        let event_request = self.queue.find(cid).filter(|&found| {
            self.admin()
                .is_some_and(|it| it.controller.abort_event_request(found.into()))
        });
        let aborted = match event_request {
            Some(request) => {
                self.queue.complete(request, Status::ABORT_REQUESTED.into());
                true
            }
            None => self.queue.abort(cid),
        };
        self.complete(tag, if aborted { ABORTED } else { NOT_ABORTED });
    }

    /// The reactor that has the queue of an Abort has answered.
    pub fn aborted(&mut self, tag: Tag, completion: Completion) {
        self.complete(tag, completion);
    }
}
