//! An established queue pair, seen by its controller: capsules, R2T, data in pieces, responses.
//!
//! The queue knows how commands and their data travel, not what they mean. It yields a [`Step`] for
//! each capsule ([`Step::Capsule`]: the caller says which data the command moves, or refuses it)
//! and one when the command is complete ([`Step::Ready`]: the caller executes it and answers).
//! Whatever a peer does wrong below the level of commands ends the queue with a termination in its
//! outbox, after which it accepts and sends nothing more.
//!
//! Nothing is allocated because a peer named a number: a command that moves data begins once what it
//! moves fits into what the queue may hold ([`Queue::allow`]). Until then it waits, and what comes
//! behind it goes on.

mod answer;
mod arrive;
mod inflight;
mod room;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use inflight::Tag;
use inflight::{Inflight, Phase, Slot};
pub use room::share;

use crate::cqe::Completion;
use crate::deframer::{Deframer, Rules, Side};
use crate::outbox::Outbox;
use crate::pdu::{Framing, PduError, PduType, termination};
use crate::sqe::{Data, DataPointer, Sqe};
use crate::status::Status;

/// Bytes of in-capsule data that admin queues and Fabrics commands may have (NVMe/TCP §3.5).
pub const ADMIN_IN_CAPSULE: u32 = 8192;

/// Bytes of data that one C2HData PDU carries at most. Hosts accept any; smaller ones let a host
/// begin with the first while the next is on its way.
const C2H_DATA_MAX: u32 = 256 * 1024;

/// Bytes that a queue asks for ahead of their execution. One command is always served.
const SOLICIT_MAX: u64 = 4 << 20;

/// What a queue is made of, settled by ICReq and Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Digests and alignment.
    pub framing: Framing,
    /// Bytes that one H2CData PDU may carry.
    pub maxh2cdata: u32,
    /// Bytes of data that a command capsule may carry.
    pub in_capsule: u32,
    /// Entries of the submission queue.
    pub entries: u32,
    /// Whether responses report the submission queue's head.
    pub sq_flow_control: bool,
    /// Bytes that one command may move (MDTS).
    pub max_transfer: u32,
}

/// What the queue asks of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command's capsule is here: answer with [`Queue::accept`] or [`Queue::refuse`] before the
    /// next call.
    Capsule(Tag),
    /// A command and all its data are here, to be executed. Of a fused pair this is the first half;
    /// [`Queue::partner`] is the second.
    Ready(Tag),
    /// A command was answered with an error before it became ready: by [`Queue::refuse`], or because
    /// its capsule or its data was wrong. Nothing is left to do but to take note.
    Failed {
        /// Its identifier.
        cid: u16,
        /// How it ended.
        status: Status,
    },
    /// The host ends the connection; nothing is to be answered.
    Terminated {
        /// Fatal Error Status as the host gave it; any number.
        fes: u16,
        /// Fatal Error Information as the host gave it.
        fei: u32,
    },
}

/// The controller's side of a queue pair. See the module's description.
#[derive(Debug)]
pub struct Queue {
    parameters: Parameters,
    deframer: Deframer,
    inflight: Inflight,
    outbox: Outbox,
    /// Commands consumed so far, modulo the queue's entries.
    sqhd: u16,
    /// Whose data the stream carries now; `None` while a PDU without owner is swallowed.
    receiving: Option<Tag>,
    undecided: Option<Tag>,
    ready: VecDeque<Tag>,
    failed: VecDeque<(u16, Status)>,
    /// First half of a fused pair whose second has not come.
    fused_first: Option<Tag>,
    /// Reads that wait for room.
    unread: VecDeque<Tag>,
    /// Writes whose R2T waits for room or for the budget.
    unsolicited: VecDeque<Tag>,
    /// Bytes asked for by R2T and not yet executed.
    solicited: u64,
    /// Bytes that commands in execution have brought or will send.
    executing: u64,
    /// Bytes that there is memory for: all commands that have begun move as many.
    begun: u64,
    /// Bytes that the queue may hold.
    allowed: u64,
    dead: bool,
}

impl Queue {
    /// A queue on which nothing has happened yet.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            deframer: Deframer::new(rules(&parameters)),
            parameters,
            inflight: Inflight::default(),
            outbox: Outbox::default(),
            sqhd: 0,
            receiving: None,
            undecided: None,
            ready: VecDeque::new(),
            failed: VecDeque::new(),
            fused_first: None,
            unread: VecDeque::new(),
            unsolicited: VecDeque::new(),
            solicited: 0,
            executing: 0,
            begun: 0,
            allowed: u64::MAX,
            dead: false,
        }
    }

    /// What the queue is made of.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Makes the queue what its Connect settled, before the Connect is answered.
    pub(crate) fn establish(&mut self, parameters: Parameters) {
        self.parameters = parameters;
        self.deframer = Deframer::new(rules(&parameters));
    }

    /// Takes bytes from the front of `input` up to the next step. `None`: all is used up.
    ///
    /// # Errors
    /// The host's violation. A termination is in the outbox and the queue is dead.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Step>, PduError> {
        if let Some(tag) = self.undecided.take() {
            self.fail(tag, Status::INTERNAL_ERROR.into());
        }
        loop {
            if let Some(step) = self.next_ready() {
                return Ok(Some(step));
            }
            if self.dead {
                // The state that failed is dead for good; what still comes is ignored.
                *input = &[];
                return Ok(None);
            }
            let step = match self.deframer.next(input) {
                Ok(None) => return Ok(None),
                Ok(Some(event)) => self.event(&event),
                Err(error) => Err(error),
            };
            match step {
                Ok(None) => {}
                Ok(Some(step)) => return Ok(Some(step)),
                Err(error) => {
                    self.terminate(error);
                    return Err(error);
                }
            }
        }
    }

    /// The next step that needs no input.
    pub fn next_ready(&mut self) -> Option<Step> {
        if let Some((cid, status)) = self.failed.pop_front() {
            return Some(Step::Failed { cid, status });
        }
        self.ready.pop_front().map(Step::Ready)
    }

    /// Bytes that may be read without reading beyond the next event.
    pub fn wants(&self) -> usize {
        if self.dead { 0 } else { self.deframer.wants() }
    }

    /// The command `tag` is legal and moves `data`. It becomes ready once its data is here; if the
    /// host's descriptor does not fit, it is answered with an error and never becomes ready.
    pub fn accept(&mut self, tag: Tag, data: Data) {
        self.undecided = None;
        let Some(slot) = self.inflight.get_mut(tag) else {
            return;
        };
        let fits = match (data, slot.pointer) {
            (Data::None, _) => Ok(()),
            (Data::ToHost(_), DataPointer::InCapsule(_)) => {
                Err(Status::SGL_DESCRIPTOR_TYPE_INVALID)
            }
            (Data::ToHost(bytes) | Data::FromHost(bytes), pointer) if bytes > pointer.length() => {
                Err(Status::DATA_SGL_LENGTH_INVALID)
            }
            (Data::ToHost(_) | Data::FromHost(_), _) => Ok(()),
        };
        if let Err(status) = fits {
            return self.fail(tag, status.dnr().into());
        }
        match data {
            Data::None => {}
            Data::ToHost(bytes) => slot.to_host = bytes,
            Data::FromHost(bytes) => slot.expected = bytes,
        }
        slot.phase = Phase::Receiving;
        match slot.pointer {
            // The data is behind it already: whoever goes on reading has room for it.
            _ if slot.in_capsule != 0 => {
                slot.begun = true;
                self.begun += slot.moves();
            }
            DataPointer::Transport(_) if slot.expected != 0 => {
                self.unsolicited.push_back(tag);
                self.solicit();
            }
            DataPointer::Transport(_) if slot.to_host != 0 => {
                self.unread.push_back(tag);
                self.begin_reads();
            }
            DataPointer::InCapsule(_) | DataPointer::Transport(_) => self.data_complete(tag),
        }
    }

    /// The command `tag` is not executed; it ends with `completion`, once its data has passed.
    pub fn refuse(&mut self, tag: Tag, completion: Completion) {
        self.undecided = None;
        self.fail(tag, completion);
    }

    /// Ends a command that is not executed: now, or when the data that is on its way has passed.
    fn fail(&mut self, tag: Tag, completion: Completion) {
        let receiving = self.receiving == Some(tag);
        let Some(slot) = self.inflight.get_mut(tag) else {
            return;
        };
        if let Some(partner) = slot.partner.take() {
            if let Some(other) = self.inflight.get_mut(partner) {
                other.partner = None;
            }
            self.fail(partner, Status::FUSED_FAILED.into());
        }
        if self.fused_first == Some(tag) {
            self.fused_first = None;
        }
        let Some(slot) = self.inflight.get_mut(tag) else {
            return;
        };
        let completion = *slot.failure.get_or_insert(completion);
        let data_on_its_way = match slot.phase {
            Phase::Undecided => receiving && slot.in_capsule != 0,
            Phase::Receiving => slot.solicited || slot.in_capsule != 0,
            Phase::Complete | Phase::Executing | Phase::Held => false,
        };
        if data_on_its_way {
            // An aborted write must still swallow what its R2T has asked for.
            slot.data = Vec::new();
            slot.phase = Phase::Receiving;
        } else {
            self.failed
                .push_back((slot.sqe.cid.get(), completion.status));
            self.complete(tag, completion);
        }
    }

    /// The command itself.
    pub fn sqe(&self, tag: Tag) -> Option<&Sqe> {
        self.inflight.get(tag).map(|slot| &slot.sqe)
    }

    /// The second half of a fused pair, asked with the first.
    pub fn partner(&self, tag: Tag) -> Option<Tag> {
        self.inflight.get(tag)?.partner
    }

    /// Takes the data that came with a ready command.
    pub fn take_data(&mut self, tag: Tag) -> Vec<u8> {
        self.inflight
            .get_mut(tag)
            .map(|slot| std::mem::take(&mut slot.data))
            .unwrap_or_default()
    }

    fn remove(&mut self, tag: Tag) -> Option<Box<Slot>> {
        let slot = self.inflight.remove(tag)?;
        if slot.phase == Phase::Executing {
            self.executing = self.executing.saturating_sub(slot.moves());
        }
        if slot.begun {
            self.begun -= slot.moves();
        } else if slot.phase == Phase::Receiving && slot.moves() != 0 {
            let waiting = match slot.expected {
                0 => &mut self.unread,
                _ => &mut self.unsolicited,
            };
            waiting.retain(|&waiting| waiting != tag);
        }
        if slot.solicited {
            self.solicited -= u64::from(slot.expected);
            self.solicit();
        }
        Some(slot)
    }

    /// The outstanding command with this identifier.
    pub fn find(&self, cid: u16) -> Option<Tag> {
        self.inflight.find(cid)
    }

    /// Ends a command without an answer, as a Controller Reset ends event requests.
    pub fn forget(&mut self, tag: Tag) {
        if self.remove(tag).is_some() {
            self.advance_sqhd();
        }
    }

    /// The command waits for an event that may never come: its end is nothing to wait for.
    pub fn hold(&mut self, tag: Tag) {
        if let Some(slot) = self.inflight.get_mut(tag) {
            slot.phase = Phase::Held;
            self.executing = self.executing.saturating_sub(slot.moves());
        }
    }

    /// Aborts the command with this identifier if it is not being executed yet. Whether it was.
    pub fn abort(&mut self, cid: u16) -> bool {
        let Some(tag) = self.inflight.find(cid) else {
            return false;
        };
        let waiting = |slot: &Slot| matches!(slot.phase, Phase::Receiving | Phase::Complete);
        let abortable = self.inflight.get(tag).is_some_and(waiting);
        if abortable {
            self.fail(tag, Status::ABORT_REQUESTED.into());
        }
        abortable
    }

    /// Bytes that the host may be sent for this command, as accepted.
    #[cfg(test)]
    fn to_host(&self, tag: Tag) -> u32 {
        self.inflight.get(tag).map_or(0, |slot| slot.to_host)
    }

    /// What waits to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether nothing waits to be sent.
    pub fn outbox_is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Bytes that wait to be sent, or that commands in execution have brought or will send: what a
    /// host makes us hold that sends but does not read, or sends faster than its storage is. It
    /// shrinks without further input.
    pub fn backlog(&self) -> u64 {
        self.outbox.len() as u64 + self.executing
    }

    /// Commands not yet answered.
    pub fn outstanding(&self) -> usize {
        self.inflight.len()
    }

    /// Whether the host has sent more than it may and must wait until commands in execution end:
    /// stop reading. Hosts may overlap by as many commands as the queue has entries, because they
    /// count an entry free when its response arrives.
    pub fn is_saturated(&self) -> bool {
        self.is_full()
            && self
                .inflight
                .iter()
                .any(|slot| slot.phase == Phase::Executing)
    }

    fn is_full(&self) -> bool {
        self.inflight.len() as u64 >= 2 * u64::from(self.parameters.entries)
    }

    /// Whether a step is there without further input.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.failed.is_empty()
    }

    /// Whether the queue has ended by a violation or at the host's wish.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    fn die(&mut self) {
        self.dead = true;
        self.ready.clear();
        self.failed.clear();
    }

    fn terminate(&mut self, error: PduError) {
        if self.dead {
            return;
        }
        self.die();
        if let PduError::Fatal { fes, fei } = error {
            let pdu = termination(PduType::C2hTermReq, fes, fei, self.deframer.header_bytes());
            self.outbox.headers(|out| out.extend_from_slice(&pdu));
        }
    }
}

fn rules(parameters: &Parameters) -> Rules {
    Rules {
        side: Side::Controller,
        framing: parameters.framing,
        max_capsule_data: parameters.in_capsule,
        max_data: parameters.maxh2cdata,
        initialized: true,
    }
}
