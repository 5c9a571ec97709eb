//! How commands and their data arrive.

use super::inflight::{Phase, Slot};
use super::{Queue, Step, Tag};
use crate::deframer::Event;
use crate::pdu::{CapsuleCmd, DataHeader, Fes, Header, PduError, flags};
use crate::sqe::{DataPointer, Fuse, Sqe};
use crate::status::Status;

impl Queue {
    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<Option<Step>, PduError> {
        match event {
            Event::Header {
                header: Header::CapsuleCmd(capsule),
                data_length,
            } => {
                return self.capsule(capsule, *data_length);
            }
            Event::Header {
                header: Header::H2cData(header),
                data_length,
            } => {
                self.receiving = Some(self.expect_data(header, *data_length)?);
            }
            Event::Header {
                header: Header::H2cTermReq(request),
                ..
            } => {
                self.die();
                let (fes, fei) = (request.fes.get(), request.fei.get());
                return Ok(Some(Step::Terminated { fes, fei }));
            }
            // The deframer passes no other type to a controller.
            Event::Header { .. } => return Err(PduError::sequence(0)),
            Event::Data(piece) => self.keep(piece),
            Event::End { intact } => self.data_ended(*intact),
        }
        Ok(None)
    }

    /// A command has come. Its data pointer is judged here, its meaning by the caller.
    fn capsule(&mut self, capsule: &CapsuleCmd, in_capsule: u32) -> Result<Option<Step>, PduError> {
        let sqe = capsule.sqe;
        if self.is_full() && !self.is_saturated() {
            // Every command waits for the host, which sends more commands instead: no end of it.
            return Err(PduError::sequence(0));
        }
        let conflict = self.inflight.find(sqe.cid.get()).is_some();
        let judged = match sqe.data_pointer(in_capsule) {
            _ if conflict => Err(Status::COMMAND_ID_CONFLICT),
            Ok(pointer) if pointer.length() > self.parameters.max_transfer => {
                Err(Status::INVALID_FIELD.dnr())
            }
            judged => judged,
        };
        let pointer = judged.unwrap_or(DataPointer::Transport(0));
        let Some(tag) = self.inflight.insert(Slot::new(sqe, pointer, in_capsule)) else {
            return Err(PduError::sequence(0));
        };
        self.receiving = Some(tag);
        let paired = self.pair(tag, sqe.fuse());
        match judged.and(paired) {
            Err(status) => {
                self.fail(tag, status.into());
                Ok(None)
            }
            Ok(()) => {
                self.undecided = Some(tag);
                Ok(Some(Step::Capsule(tag)))
            }
        }
    }

    /// Takes over the Connect that somebody else has received, on a queue on which nothing else has
    /// happened: it waits to be answered.
    pub(crate) fn resume(&mut self, sqe: Sqe) -> Tag {
        let mut slot = Slot::new(sqe, DataPointer::Transport(0), 0);
        slot.phase = Phase::Executing;
        // An empty queue has room.
        self.inflight.insert(slot).unwrap_or(Tag::from(0))
    }

    /// Ties the halves of a fused pair, which must come one right after the other (Base 2.0 §3.4.2).
    fn pair(&mut self, tag: Tag, fuse: Result<Fuse, Status>) -> Result<(), Status> {
        let first = self.fused_first.take();
        if let Some(first) = first.filter(|_| fuse != Ok(Fuse::Second)) {
            self.fail(first, Status::FUSED_MISSING.into());
        }
        match (fuse?, first) {
            (Fuse::Normal, _) => {}
            (Fuse::First, _) => self.fused_first = Some(tag),
            (Fuse::Second, None) => return Err(Status::FUSED_MISSING),
            (Fuse::Second, Some(first)) => match self.inflight.get_mut(first) {
                Some(slot) if slot.failure.is_none() => {
                    slot.partner = Some(tag);
                    if let Some(slot) = self.inflight.get_mut(tag) {
                        slot.partner = Some(first);
                    }
                }
                _ => return Err(Status::FUSED_FAILED),
            },
        }
        Ok(())
    }

    /// Checks an H2CData header against the R2T that it answers, with FreeBSD's answers.
    fn expect_data(&self, header: &DataHeader, data_length: u32) -> Result<Tag, PduError> {
        let unknown = PduError::field(10);
        let (tag, slot) = self.inflight.at(header.ttag.get()).ok_or(unknown)?;
        if !slot.solicited || slot.phase != Phase::Receiving {
            return Err(unknown);
        }
        if slot.sqe.cid != header.cccid {
            return Err(PduError::field(8));
        }
        let (offset, length) = (u64::from(header.datao.get()), u64::from(header.datal.get()));
        if length == 0 || length != u64::from(data_length) {
            return Err(PduError::field(16));
        }
        if offset + length > u64::from(slot.expected) {
            return Err(PduError::Fatal {
                fes: Fes::DataOutOfRange,
                fei: 12,
            });
        }
        if offset != u64::from(slot.received) {
            return Err(PduError::sequence(12));
        }
        let last = header.common.flags & flags::LAST_PDU != 0;
        if last != (offset + length == u64::from(slot.expected)) {
            return Err(PduError::sequence(1));
        }
        Ok(tag)
    }

    fn keep(&mut self, piece: &[u8]) {
        let Some(slot) = self.receiving.and_then(|tag| self.inflight.get_mut(tag)) else {
            return;
        };
        slot.received = slot
            .received
            .saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        if slot.failure.is_some() {
            return;
        }
        let room = (slot.expected as usize).saturating_sub(slot.data.len());
        if slot.data.capacity() == 0 {
            slot.data.reserve_exact(room);
        }
        slot.data
            .extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    fn data_ended(&mut self, intact: bool) {
        let Some(tag) = self.receiving.take() else {
            return;
        };
        let Some(slot) = self.inflight.get_mut(tag) else {
            return;
        };
        if !intact && slot.failure.is_none() {
            // Not fatal (NVMe/TCP §3.3.1.2): the command fails once all of its data has passed.
            slot.failure = Some(Status::TRANSIENT_TRANSPORT_ERROR.into());
        }
        if slot.in_capsule != 0 || slot.received >= slot.expected {
            self.data_complete(tag);
        }
    }

    /// All data of the command has passed: it is ready, or ends now if it failed before.
    pub(super) fn data_complete(&mut self, tag: Tag) {
        let Some(slot) = self.inflight.get_mut(tag) else {
            return;
        };
        slot.phase = Phase::Complete;
        if let Some(completion) = slot.failure {
            return self.fail(tag, completion);
        }
        let fused = slot.partner.is_some() || self.fused_first == Some(tag);
        if !fused {
            slot.phase = Phase::Executing;
            self.executing += slot.moves();
            self.ready.push_back(tag);
        } else if let Some(partner) = slot.partner {
            let complete = |slot: &Slot| slot.phase == Phase::Complete;
            if self.inflight.get(partner).is_some_and(complete) {
                let second = slot_is_second(self.inflight.get(tag));
                self.start_pair(if second {
                    (partner, tag)
                } else {
                    (tag, partner)
                });
            }
        }
    }

    fn start_pair(&mut self, (first, second): (Tag, Tag)) {
        for tag in [first, second] {
            if let Some(slot) = self.inflight.get_mut(tag) {
                slot.phase = Phase::Executing;
                self.executing += slot.moves();
            }
        }
        self.ready.push_back(first);
    }
}

fn slot_is_second(slot: Option<&Slot>) -> bool {
    slot.is_some_and(|slot| slot.sqe.fuse() == Ok(Fuse::Second))
}
