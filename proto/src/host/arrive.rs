//! How data and responses arrive.

use super::{Answer, Queue, Slot, Step};
use crate::cqe::{Completion, Cqe};
use crate::deframer::Event;
use crate::pdu::{DataHeader, Fes, Header, PduError, flags};
use crate::status::Status;

impl Queue {
    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<Option<Step>, PduError> {
        match event {
            Event::Header {
                header: Header::CapsuleResp(capsule),
                ..
            } => return self.response(&capsule.cqe).map(Some),
            Event::Header {
                header: Header::C2hData(header),
                data_length,
            } => self.expect_data(header, *data_length)?,
            Event::Header {
                header: Header::R2t(r2t),
                ..
            } => self.ready_to_transfer(r2t)?,
            Event::Header {
                header: Header::C2hTermReq(request),
                ..
            } => {
                self.dead = true;
                let (fes, fei) = (request.fes.get(), request.fei.get());
                return Ok(Some(Step::Terminated { fes, fei }));
            }
            // The deframer passes no other type to a host.
            Event::Header { .. } => return Err(PduError::sequence(0)),
            Event::Data(piece) => {
                if let Some(slot) = self.receiving.and_then(|cid| self.slot_mut(cid)) {
                    slot.data.extend_from_slice(piece);
                }
            }
            Event::End { intact } => return Ok(self.data_ended(*intact)),
        }
        Ok(None)
    }

    /// Checks a C2HData header against the command whose data it brings, with the answers that
    /// FreeBSD's target gives to H2CData.
    fn expect_data(&mut self, header: &DataHeader, data_length: u32) -> Result<(), PduError> {
        let sq_flow_control = self.parameters.sq_flow_control;
        let cid = header.cccid.get();
        let slot = self.slot_mut(cid).ok_or(PduError::field(8))?;
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
        if offset != slot.data.len() as u64 {
            return Err(PduError::sequence(12));
        }
        let last = header.common.flags & flags::LAST_PDU != 0;
        if last != (offset + length == u64::from(slot.expected)) {
            return Err(PduError::sequence(1));
        }
        slot.success = header.common.flags & flags::SUCCESS != 0;
        if slot.success && (!last || sq_flow_control) {
            return Err(PduError::field(1));
        }
        self.receiving = Some(cid);
        Ok(())
    }

    fn data_ended(&mut self, intact: bool) -> Option<Step> {
        let cid = self.receiving.take()?;
        let slot = self.slot_mut(cid)?;
        slot.intact &= intact;
        if !slot.success {
            return None;
        }
        let slot = self.remove(cid)?;
        Some(ended(cid, slot, Completion::SUCCESS, None))
    }

    fn response(&mut self, cqe: &Cqe) -> Result<Step, PduError> {
        let cid = cqe.cid.get();
        let slot = self.slot_mut(cid).ok_or(PduError::field(CID_OFFSET))?;
        let completion = Completion {
            status: cqe.status(),
            result: cqe.result.get(),
        };
        let short = (slot.data.len() as u64) < u64::from(slot.expected);
        if short && completion.status.is_success() {
            // Success without the data: the response came too early.
            return Err(PduError::sequence(0));
        }
        self.advance_head(cqe.sqhd.get())?;
        let slot = self.remove(cid).ok_or(PduError::field(CID_OFFSET))?;
        Ok(ended(cid, slot, completion, Some(cqe.sqhd.get())))
    }

    /// The controller cannot have consumed what was not submitted.
    fn advance_head(&mut self, sqhd: u16) -> Result<(), PduError> {
        if !self.parameters.sq_flow_control {
            return Ok(());
        }
        let (entries, sqhd) = (self.parameters.entries.max(1), u32::from(sqhd));
        let submitted = (self.tail + entries - self.head) % entries;
        if sqhd >= entries || (sqhd + entries - self.head) % entries > submitted {
            return Err(PduError::field(SQHD_OFFSET));
        }
        self.head = sqhd;
        Ok(())
    }

    fn remove(&mut self, cid: u16) -> Option<Slot> {
        let slot = self.slots.get_mut(usize::from(cid))?.take()?;
        self.free.push(cid);
        Some(slot)
    }
}

fn ended(cid: u16, slot: Slot, completion: Completion, sqhd: Option<u16>) -> Step {
    let damaged = !slot.intact && completion.status.is_success();
    Step::Completed(Answer {
        cid,
        completion: if damaged {
            Status::TRANSIENT_TRANSPORT_ERROR.into()
        } else {
            completion
        },
        sqhd,
        data: slot.data,
    })
}

/// Where a response capsule has SQHD and CID, for Fatal Error Information.
const SQHD_OFFSET: u32 = 16;
const CID_OFFSET: u32 = 20;
