//! An established queue in the daemon's hands: what a connection is once its Connect is accepted.
//!
//! Takes each capsule from the protocol's queue, says which data it moves, has it executed (here,
//! or on the pool if it may sleep) and answers. Admin queues go through [`super::admin`]. What its host
//! can make us hold is what it has in [`Funds`]; everything is given back exactly once
//! ([`Session::end`]).

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nvmf_proto::connect::Connect;
use nvmf_proto::cqe::Completion;
use nvmf_proto::handshake::{ConnectRequest, QueueLimits};
use nvmf_proto::nvm::{self, Command};
use nvmf_proto::opcode::fabrics;
use nvmf_proto::outbox::Outbox;
use nvmf_proto::queue::{self, ADMIN_IN_CAPSULE, Queue, Step, Tag};
use nvmf_proto::sqe::{Data, Sqe};
use nvmf_proto::status::Status;

use super::admin::Admin;
use super::life::Life;
use super::namespace::{Namespace, View};
use super::pool::{Job, Submitted, Task};
use super::{Errand, Executed, io};
use crate::worker::close::CloseReason;
use crate::worker::connection::Turn;
use crate::worker::memory::{Funds, SMALL_READ};
use crate::worker::message::{ConnectionId, Message};
use crate::worker::registry::Association;
use crate::worker::snapshot::{IO_IN_CAPSULE, MAX_TRANSFER};
use crate::worker::stats::Stats;

/// Bytes that a connection has whatever its host does: itself, its queue, its part of a controller.
const STATE: u64 = 4096;

/// A queue with its controller's association. Whoever has it calls [`Self::end`] before it goes.
#[derive(Debug)]
pub struct Session {
    pub(super) id: ConnectionId,
    pub(super) queue: Queue,
    pub(super) association: Arc<Association>,
    role: Role,
    /// Cleared at the end, by whoever ends it: what has not begun is not applied any more.
    alive: Arc<AtomicBool>,
    life: Arc<Life>,
    /// What it may hold; gone at its end.
    funds: Option<Funds>,
    /// Bytes that its connection keeps until there is room for what they ask.
    unread: u64,
    /// Commands that the pool has.
    jobs: usize,
    stopping: Option<Instant>,
    ended: bool,
    pub(super) stats: Arc<Stats>,
}

#[derive(Debug)]
enum Role {
    Admin(Box<Admin>),
    Io { qid: u16 },
}

impl Session {
    /// Bytes that a queue of this Connect has for itself as long as it lives.
    pub fn share(connect: &Connect) -> u64 {
        let in_capsule = match connect.qid {
            0 => ADMIN_IN_CAPSULE,
            _ => IO_IN_CAPSULE,
        };
        STATE + SMALL_READ as u64 + queue::share(connect.entries, in_capsule)
    }

    /// Accepts a Connect for the controller of `association`, with the memory that it may have.
    pub fn new(
        request: ConnectRequest,
        association: Arc<Association>,
        funds: Funds,
        turn: &Turn<'_>,
    ) -> Self {
        let connect = request.connect();
        let qid = connect.qid;
        let (role, in_capsule, alive) = if qid == 0 {
            let admin = Box::new(Admin::new(connect, &association, turn.now));
            let alive = Arc::new(AtomicBool::new(true));
            (Role::Admin(admin), ADMIN_IN_CAPSULE, alive)
        } else {
            let alive = association.alive(qid, funds.id());
            (Role::Io { qid }, IO_IN_CAPSULE, alive)
        };
        let limits = QueueLimits {
            in_capsule,
            max_transfer: MAX_TRANSFER,
        };
        let mut session = Self {
            id: funds.id(),
            queue: request.accept(association.cntlid, limits),
            association,
            role,
            alive,
            life: Arc::default(),
            funds: Some(funds),
            unread: 0,
            jobs: 0,
            stopping: None,
            ended: false,
            stats: Arc::clone(&turn.shared.stats),
        };
        session.settle(turn.now);
        session
    }

    /// The controller that the queue belongs to.
    pub fn association(&self) -> &Association {
        &self.association
    }

    /// The queue's identifier.
    pub fn qid(&self) -> u16 {
        match &self.role {
            Role::Admin(_) => 0,
            Role::Io { qid } => *qid,
        }
    }

    /// What waits to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        self.queue.outbox()
    }

    /// Whether input must wait: there is no room for another command, because the host does not read
    /// or others have it, or the host has more commands outstanding than it may, or we are about to
    /// stop. Back-pressure, so that no host makes us hold without bound.
    pub fn is_paused(&self) -> bool {
        self.stopping.is_some() || !self.queue.has_room() || self.queue.is_saturated()
    }

    /// The connection keeps so many bytes that it has read, until they can be fed.
    pub fn keep_unread(&mut self, bytes: usize) {
        self.unread = bytes as u64;
    }

    /// Sees to it that there is memory for what the queue does next, and begins what has waited for it.
    pub fn settle(&mut self, now: Instant) {
        let Some(funds) = &mut self.funds else {
            return;
        };
        let besides = STATE + self.unread;
        funds.settle(
            besides + self.queue.keeps(),
            besides + self.queue.needs(),
            now,
        );
        self.queue.allow(funds.allowed().saturating_sub(besides));
    }

    /// There is room at last.
    pub fn granted(&mut self, bytes: u64, turn: &Turn<'_>) {
        match &mut self.funds {
            Some(funds) => {
                funds.granted(bytes);
                self.settle(turn.now);
            }
            None => turn.shared.memory.give_back(bytes),
        }
    }

    /// Whether it is the host's turn: it has answers to read, or to send what we wait for.
    pub fn is_owed(&self) -> bool {
        !self.queue.outbox_is_empty() || self.queue.awaits_data() && !self.is_paused()
    }

    /// Whether more waits, to be sent or to be begun, than could be done at once.
    pub fn has_waiting(&self) -> bool {
        !self.queue.outbox_is_empty() || self.queue.has_waiting() || self.queue.has_ready()
    }

    /// Whether it holds what others could have.
    pub fn has_drawn(&self) -> bool {
        self.funds.as_ref().is_some_and(Funds::has_drawn)
    }

    /// Whether a command can be executed without further input.
    pub fn has_ready(&self) -> bool {
        self.queue.has_ready()
    }

    /// Serves what `input` holds, until it is used up or has to wait.
    ///
    /// # Errors
    /// Why the connection ends; what is still to be sent is in the outbox that [`Self::end`] gives.
    pub fn feed(&mut self, input: &mut &[u8], turn: &mut Turn<'_>) -> Result<(), CloseReason> {
        // What is ready goes on whatever waits: it may be all that there is to wait for.
        while turn.budget > 0 && (self.queue.has_ready() || !self.is_paused()) {
            turn.spend(STEP);
            match self.queue.next(input).map_err(CloseReason::Violation)? {
                None => break,
                Some(Step::Capsule(tag)) => self.capsule(tag, turn),
                Some(Step::Ready(tag)) => self.ready(tag, turn),
                Some(Step::Failed { cid, status }) => self.note_error(cid, status, None),
                Some(Step::Terminated { fes, fei }) => {
                    return Err(CloseReason::Terminated { fes, fei });
                }
            }
        }
        Ok(())
    }

    /// A command has come: which data does it move?
    fn capsule(&mut self, tag: Tag, turn: &mut Turn<'_>) {
        let Some(&sqe) = self.queue.sqe(tag) else {
            return;
        };
        let judged = match &mut self.role {
            Role::Admin(admin) => {
                admin.saw_traffic(turn.now);
                self.association.saw_command(turn.now);
                admin.judge(&sqe)
            }
            Role::Io { .. } => {
                let association = &self.association;
                association.saw_traffic(turn.now);
                let namespaces = association.namespaces();
                parse(namespaces.as_ref(), &sqe).map(|(namespace, command)| {
                    association.record.count(&command, &namespace.geometry);
                    command.data(&namespace.geometry)
                })
            }
        };
        match judged {
            Ok(data) => self.queue.accept(tag, data),
            Err(status) => self.queue.refuse(tag, status.into()),
        }
        if self.queue.is_short() {
            self.settle(turn.now);
        }
    }

    /// A command and its data are here.
    fn ready(&mut self, tag: Tag, turn: &mut Turn<'_>) {
        match &self.role {
            Role::Admin(_) => self.execute_admin(tag, turn),
            // Its controller was reset or is gone, and may be there again: the connection is about to be
            // closed, and its host hears of nothing that comes after.
            Role::Io { .. } if !self.alive.load(Ordering::Acquire) => {}
            Role::Io { .. } => match self.queue.partner(tag) {
                Some(second) => self.execute_fused(tag, second, turn),
                None => self.execute_io(tag, turn),
            },
        }
    }

    fn execute_io(&mut self, tag: Tag, turn: &mut Turn<'_>) {
        let data = self.queue.take_data(tag);
        let namespaces = self.association.namespaces();
        let parsed = match self.queue.sqe(tag) {
            Some(sqe) => parse_with(namespaces.as_ref(), sqe, &data),
            None => return,
        };
        let durable = self.is_durable();
        match parsed {
            Ok((namespace, command))
                if namespace.character.blocking
                    || io::takes_long(&command, &namespace.geometry) =>
            {
                let task = Task::Command {
                    namespace: Arc::clone(namespace),
                    command,
                    data,
                    durable,
                };
                self.submit(tag, task, turn);
            }
            Ok((namespace, command)) => {
                let errand = Errand {
                    host: self.association.hostid,
                    durable,
                    alive: &self.alive,
                };
                let executed = io::execute(namespace, &command, &data, &errand);
                turn.spend(data.len().max(executed.bytes()));
                self.answer(tag, executed);
            }
            Err(status) => self.answer(tag, Executed::Done(status.into())),
        }
    }

    fn execute_fused(&mut self, first: Tag, second: Tag, turn: &Turn<'_>) {
        let (expected, data) = (self.queue.take_data(first), self.queue.take_data(second));
        match self.parse_fused((first, &expected), (second, &data)) {
            Ok((namespace, extent, fua)) => {
                // Even in memory: the pool may wait until other writes have ended, a reactor may not.
                let durable = self.is_durable() || fua;
                let task = Task::Fused {
                    namespace,
                    extent,
                    expected,
                    data,
                    durable,
                };
                self.submit(first, task, turn);
            }
            Err(status) => self.answer(first, Executed::Fused(status.into(), status.into())),
        }
    }

    fn parse_fused(
        &self,
        first: (Tag, &[u8]),
        second: (Tag, &[u8]),
    ) -> Result<(Arc<Namespace>, nvm::Extent, bool), Status> {
        let invalid = Status::INVALID_FIELD.dnr();
        let namespaces = self.association.namespaces();
        let parse = |(tag, data)| {
            let sqe = self.queue.sqe(tag).ok_or(invalid)?;
            parse_with(namespaces.as_ref(), sqe, data)
        };
        let ((namespace, compare), (other, write)) = (parse(first)?, parse(second)?);
        nvm::fused_pair(&compare, &write)?;
        match (compare, write) {
            (Command::Compare { .. }, Command::Write { extent, fua })
                if namespace.nsid == other.nsid =>
            {
                Ok((Arc::clone(namespace), extent, fua))
            }
            _ => Err(invalid),
        }
    }

    /// Whether writes end on stable storage because the host switched the cache off, or believes that
    /// there is none.
    fn is_durable(&self) -> bool {
        let association = &self.association;
        !association.write_cache.load(Ordering::Relaxed)
            || association.cacheless.load(Ordering::Relaxed)
    }

    fn submit(&mut self, tag: Tag, task: Task, turn: &Turn<'_>) {
        let submitted = turn.shared.pool.submit(Job {
            connection: self.id,
            tag: Some(tag),
            host: self.association.hostid,
            alive: Arc::clone(&self.alive),
            life: Arc::clone(&self.life),
            task,
        });
        match submitted {
            Submitted::Queued => self.jobs += 1,
            // The subsystem went as a whole, and this connection is about to be closed. An answer would
            // be an error to whoever wrote; without one its host tries again once it is connected.
            Submitted::NamespaceGone(job)
                if self
                    .association
                    .namespaces()
                    .is_some_and(|namespaces| job.task.is_on(&namespaces)) => {}
            // It went between the look at it and now.
            Submitted::NamespaceGone(_) => {
                let gone = Completion::error(Status::INVALID_NAMESPACE.dnr());
                let executed = match self.queue.partner(tag) {
                    Some(_) => Executed::Fused(gone, gone),
                    None => Executed::Done(gone),
                };
                self.answer(tag, executed);
            }
        }
    }

    /// The pool has executed a command.
    pub fn executed(&mut self, tag: Tag, executed: Executed) {
        self.jobs -= 1;
        self.answer(tag, executed);
    }

    fn answer(&mut self, tag: Tag, executed: Executed) {
        match executed {
            Executed::Data(data) => self.queue.complete_read(tag, data),
            Executed::Done(completion) => self.complete(tag, completion),
            Executed::Fused(first, second) => {
                let partner = self.queue.partner(tag);
                self.complete(tag, first);
                if let Some(partner) = partner {
                    self.complete(partner, second);
                }
            }
        }
    }

    /// Answers a command and takes note of an error.
    pub(super) fn complete(&mut self, tag: Tag, completion: Completion) {
        if !completion.status.is_success()
            && let Some(&sqe) = self.queue.sqe(tag)
        {
            self.note_error(sqe.cid.get(), completion.status, Some(&sqe));
        }
        self.queue.complete(tag, completion);
    }

    fn note_error(&self, cid: u16, status: Status, sqe: Option<&Sqe>) {
        let record = &self.association.record;
        if status.sct() == Status::WRITE_FAULT.sct() && !status.is(Status::COMPARE_FAILURE) {
            record.count_media_error();
        }
        record.errors().record(self.qid(), cid, status, sqe);
    }

    /// When to look at the queue again, whatever its host does.
    pub fn deadline(&self) -> Option<Instant> {
        let own = match &self.role {
            Role::Admin(admin) => admin.deadline(),
            Role::Io { .. } => None,
        };
        [own, self.stopping].into_iter().flatten().min()
    }

    /// Looks at the clock.
    ///
    /// # Errors
    /// Why the connection ends.
    pub fn tick(&mut self, turn: &Turn<'_>) -> Result<(), CloseReason> {
        if self.stopping.is_some_and(|deadline| deadline <= turn.now) {
            return Err(CloseReason::Stopped);
        }
        match &mut self.role {
            Role::Admin(admin) => admin.tick(&self.association, turn.now),
            Role::Io { .. } => Ok(()),
        }
    }

    /// Aborts a command that has not begun. Whether there was one.
    pub fn abort(&mut self, cid: u16) -> bool {
        self.queue.abort(cid)
    }

    /// An I/O queue of this admin queue's controller is gone.
    pub fn queue_lost(&mut self, now: Instant) {
        if let Role::Admin(admin) = &mut self.role {
            admin.queue_lost(now);
        }
    }

    /// Everything is on stable storage: the shutdown that the host asked for is complete.
    pub fn shutdown_flushed(&mut self, turn: &Turn<'_>) {
        if let Role::Admin(admin) = &mut self.role
            && admin.shutdown_flushed()
        {
            self.flush_all(turn);
        }
    }

    pub(super) fn admin(&mut self) -> Option<&mut Admin> {
        match &mut self.role {
            Role::Admin(admin) => Some(admin),
            Role::Io { .. } => None,
        }
    }

    /// Takes nothing new in, and ends once what has begun has ended, at `deadline` at the latest.
    pub fn stop(&mut self, deadline: Instant) {
        self.stopping = Some(deadline);
    }

    /// Whether a session that stops has nothing left to do.
    pub fn is_finished(&self) -> bool {
        self.stopping.is_some() && self.jobs == 0 && self.queue.backlog() == 0
    }

    /// Gives back everything that the queue held; of an admin queue, the controller. What is left
    /// to be sent comes back, with what has its memory. Harmless when done twice.
    pub fn end(&mut self, turn: &mut Turn<'_>) -> (Outbox, Arc<Life>) {
        if !std::mem::replace(&mut self.ended, true) {
            self.alive.store(false, Ordering::Release);
            if let Some(funds) = self.funds.take() {
                self.life.left.get_or_init(|| funds);
            }
            if self.jobs != 0 {
                turn.shared.pool.sweep();
            }
            let (registry, association) = (&turn.shared.registry, &self.association);
            match &self.role {
                Role::Admin(_) => {
                    for queue in registry.end(association) {
                        turn.shared
                            .send(queue, Message::Close(queue, CloseReason::ControllerEnded));
                    }
                }
                Role::Io { qid } => {
                    if registry.leave(association, *qid, self.id) {
                        let admin = association.admin;
                        turn.shared.send(admin, Message::QueueLost(admin));
                    }
                }
            }
        }
        (std::mem::take(self.queue.outbox()), Arc::clone(&self.life))
    }
}

/// What a turn spends on a command beside its bytes.
const STEP: usize = 512;

/// The namespace and the command that an I/O queue's entry names.
fn parse<'a>(
    namespaces: Option<&'a View>,
    sqe: &Sqe,
) -> Result<(&'a Arc<Namespace>, Command), Status> {
    match sqe.fctype() {
        None => {}
        // A queue is connected once.
        Some(fabrics::CONNECT) => return Err(Status::COMMAND_SEQUENCE_ERROR.dnr()),
        // Disconnect is not offered (OFCS 0), and nothing else is for I/O queues.
        Some(_) => return Err(Status::INVALID_OPCODE.dnr()),
    }
    let namespace = namespaces
        .and_then(|namespaces| namespaces.by_nsid(sqe.nsid.get()))
        .ok_or(Status::INVALID_NAMESPACE.dnr())?;
    Ok((
        namespace,
        Command::parse(sqe, &namespace.geometry, MAX_TRANSFER)?,
    ))
}

/// The same, once its data is there. While it was on its way the namespace may have been replaced by
/// one with other blocks, of which it would be too much or too little.
fn parse_with<'a>(
    namespaces: Option<&'a View>,
    sqe: &Sqe,
    data: &[u8],
) -> Result<(&'a Arc<Namespace>, Command), Status> {
    let (namespace, command) = parse(namespaces, sqe)?;
    match command.data(&namespace.geometry) {
        Data::FromHost(bytes) if bytes as usize != data.len() => {
            Err(Status::INVALID_NAMESPACE.dnr())
        }
        Data::FromHost(_) | Data::ToHost(_) | Data::None => Ok((namespace, command)),
    }
}
