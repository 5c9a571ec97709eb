//! How commands and their data are sent.

use std::sync::Arc;

use super::{Misuse, Payload, Queue, Slot};
use crate::outbox::Outbox;
use crate::pdu::{Fes, Framing, PduError, R2t, append_data_digest, flags};
use crate::sqe::{SglDescriptor, Sqe};

impl Queue {
    /// Submits a command; its identifier, which is ours to choose. The descriptor is set to what
    /// the payload needs: in the capsule if it fits there, else by the transport.
    ///
    /// # Errors
    /// [`Misuse`]; nothing has happened, and the payload is gone. [`Self::room`] says beforehand.
    pub fn submit(&mut self, mut sqe: Sqe, payload: Payload) -> Result<u16, Misuse> {
        let length = payload.length()?;
        let from_host = matches!(payload, Payload::FromHost(_));
        sqe.sgl = if from_host && length != 0 && length <= self.parameters.in_capsule {
            SglDescriptor::in_capsule(length)
        } else {
            SglDescriptor::transport(length)
        };
        self.submit_as_is(sqe, payload)
    }

    /// Submits a command with the descriptor that it has, right or wrong (but for its identifier).
    /// Data from the host goes into the capsule if the descriptor says so.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn submit_as_is(&mut self, mut sqe: Sqe, payload: Payload) -> Result<u16, Misuse> {
        let length = payload.length()?;
        if self.dead {
            return Err(Misuse::Dead);
        }
        if self.room() == 0 {
            return Err(Misuse::Full);
        }
        let in_capsule = sqe.sgl.kind == SglDescriptor::IN_CAPSULE && length != 0;
        let mut slot = Slot::new();
        let mut capsule_data = None;
        match payload {
            Payload::None => {}
            Payload::FromHost(data) if in_capsule => capsule_data = Some(data),
            Payload::FromHost(data) => slot.from_host = Some(data),
            Payload::ToHost { into, .. } => {
                slot.data = into;
                slot.data.clear();
                slot.data.reserve_exact(length as usize);
                slot.expected = length;
            }
        }
        let cid = self.insert(slot).ok_or(Misuse::Full)?;
        sqe.cid = cid.into();
        self.tail = (self.tail + 1) % self.parameters.entries.max(1);
        self.append(|outbox, framing| match capsule_data {
            None => outbox.headers(|out| framing.capsule_cmd(out, sqe, 0)),
            Some(data) => {
                outbox.headers(|out| framing.capsule_cmd(out, sqe, length));
                send_piece(outbox, framing, &data, 0, length);
            }
        });
        Ok(cid)
    }

    /// Commands that can be submitted now. One entry of a queue always stays empty.
    pub fn room(&self) -> usize {
        let entries = self.parameters.entries.max(1);
        let used = if self.parameters.sq_flow_control {
            ((self.tail + entries - self.head) % entries) as usize
        } else {
            self.outstanding()
        };
        let identifiers = MAX_OUTSTANDING.saturating_sub(self.outstanding());
        (entries as usize - 1).saturating_sub(used).min(identifiers)
    }

    fn insert(&mut self, slot: Slot) -> Option<u16> {
        if let Some(cid) = self.free.pop() {
            *self.slots.get_mut(usize::from(cid))? = Some(slot);
            return Some(cid);
        }
        let cid = u16::try_from(self.slots.len()).ok()?;
        self.slots.push(Some(slot));
        Some(cid)
    }

    /// Answers an R2T with all that it asks for, in PDUs of at most MAXH2CDATA bytes.
    pub(super) fn ready_to_transfer(&mut self, r2t: &R2t) -> Result<(), PduError> {
        self.forget_answered();
        let max_r2ts = self.parameters.max_r2ts;
        let (cid, ttag) = (r2t.cccid.get(), r2t.ttag.get());
        let (offset, length) = (r2t.r2to.get(), r2t.r2tl.get());
        let slot = self.slot_mut(cid).ok_or(PduError::field(8))?;
        let total = slot.from_host.as_ref().map_or(0, |data| data.len() as u64);
        if length == 0 {
            return Err(PduError::field(16));
        }
        if u64::from(offset) + u64::from(length) > total {
            return Err(PduError::Fatal {
                fes: Fes::DataOutOfRange,
                fei: 12,
            });
        }
        if offset != slot.asked {
            return Err(PduError::sequence(12));
        }
        if slot.r2ts >= max_r2ts.max(1) {
            return Err(PduError::Fatal {
                fes: Fes::LimitExceeded,
                fei: 0,
            });
        }
        slot.asked += length;
        slot.r2ts += 1;
        if let Some(data) = slot.from_host.clone() {
            self.send_data((cid, ttag), &data, offset, length);
        }
        self.answering.push_back((cid, self.appended));
        Ok(())
    }

    fn send_data(&mut self, tags: (u16, u16), data: &Arc<Vec<u8>>, mut offset: u32, length: u32) {
        let most = self.parameters.maxh2cdata.max(1);
        let end = offset + length;
        self.append(|outbox, framing| {
            while offset < end {
                let length = most.min(end - offset);
                let last = offset + length == end;
                let extra = if last { flags::LAST_PDU } else { 0 };
                outbox.headers(|out| framing.h2c_data(out, tags, offset, length, extra));
                send_piece(outbox, framing, data, offset, length);
                offset += length;
            }
        });
    }

    /// An R2T is outstanding until all that it asked for has left. Of a command that the controller
    /// ended before that, a later one with its identifier may be credited: no harm to us.
    fn forget_answered(&mut self) {
        let sent = self.appended.saturating_sub(self.outbox.len() as u64);
        while let Some(&(cid, _)) = self.answering.front().filter(|(_, end)| *end <= sent) {
            self.answering.pop_front();
            if let Some(slot) = self.slot_mut(cid) {
                slot.r2ts = slot.r2ts.saturating_sub(1);
            }
        }
    }

    fn append(&mut self, build: impl FnOnce(&mut Outbox, &Framing)) {
        let before = self.outbox.len();
        build(&mut self.outbox, &self.parameters.framing);
        self.appended += (self.outbox.len() - before) as u64;
    }
}

impl Payload {
    fn length(&self) -> Result<u32, Misuse> {
        match self {
            Self::None => Ok(0),
            Self::FromHost(data) => u32::try_from(data.len()).map_err(|_| Misuse::TooLong),
            Self::ToHost { length, .. } => Ok(*length),
        }
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            from_host: None,
            asked: 0,
            r2ts: 0,
            expected: 0,
            data: Vec::new(),
            intact: true,
            success: false,
        }
    }
}

/// Appends `length` bytes of `data` from `offset`, and their digest.
fn send_piece(
    outbox: &mut Outbox,
    framing: &Framing,
    data: &Arc<Vec<u8>>,
    offset: u32,
    length: u32,
) {
    let range = offset as usize..offset as usize + length as usize;
    outbox.data(data, range.clone());
    if framing.data_digest {
        let piece = data.get(range).unwrap_or_default();
        outbox.headers(|out| append_data_digest(out, piece));
    }
}

/// Identifiers that can be out at once; FFFFh is left alone, because logs use it for "none".
const MAX_OUTSTANDING: usize = 0xffff;
