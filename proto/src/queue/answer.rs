//! How commands are answered.

use std::sync::Arc;

use super::{C2H_DATA_MAX, Queue, Tag};
use crate::cqe::{Completion, Cqe};
use crate::pdu::{append_data_digest, flags};
use crate::status::Status;

impl Queue {
    /// Answers a command that sends no data (or none because it failed).
    pub fn complete(&mut self, tag: Tag, completion: Completion) {
        let Some(slot) = self.remove(tag) else { return };
        self.respond(slot.sqe.cid.get(), completion);
    }

    /// Answers a command successfully with its data, which is exactly what was accepted: hosts
    /// refuse less and more alike, so anything else ends as an internal error.
    pub fn complete_read(&mut self, tag: Tag, data: Vec<u8>) {
        let Some(slot) = self.remove(tag) else { return };
        let cid = slot.sqe.cid.get();
        if data.len() as u64 != u64::from(slot.to_host) || self.dead {
            return self.respond(cid, Status::INTERNAL_ERROR.into());
        }
        // Without flow control nothing but success would be said, so the data says it.
        let success = !self.parameters.sq_flow_control && !data.is_empty();
        self.send_data(cid, data, success);
        if !success {
            self.respond(cid, Completion::SUCCESS);
        } else {
            self.advance_sqhd();
        }
    }

    fn send_data(&mut self, cid: u16, data: Vec<u8>, success: bool) {
        let framing = self.parameters.framing;
        let data = Arc::new(data);
        // As many as `to_host` says, which is 32 bits.
        let total = u32::try_from(data.len()).unwrap_or_default();
        let mut offset = 0;
        while offset < total {
            let length = C2H_DATA_MAX.min(total - offset);
            let last = offset + length == total;
            let mut extra = if last { flags::LAST_PDU } else { 0 };
            if last && success {
                extra |= flags::SUCCESS;
            }
            self.outbox
                .headers(|out| framing.c2h_data(out, cid, offset, length, extra));
            let range = offset as usize..(offset + length) as usize;
            self.outbox.data(&data, range.clone());
            if framing.data_digest {
                let piece = data.get(range).unwrap_or_default();
                self.outbox.headers(|out| append_data_digest(out, piece));
            }
            offset += length;
        }
    }

    fn respond(&mut self, cid: u16, completion: Completion) {
        if self.dead {
            return;
        }
        self.advance_sqhd();
        let sqhd = if self.parameters.sq_flow_control {
            self.sqhd
        } else {
            0
        };
        self.send_response(cid, sqhd, completion);
    }

    /// Answers the Connect itself: 0 is the head that a host starts with, FFFFh says that there is
    /// no flow control.
    pub(crate) fn complete_connect(&mut self, tag: Tag, completion: Completion) {
        let Some(slot) = self.remove(tag) else { return };
        let flow_control = self.parameters.sq_flow_control || !completion.status.is_success();
        let sqhd = if flow_control { 0 } else { 0xffff };
        self.send_response(slot.sqe.cid.get(), sqhd, completion);
    }

    fn send_response(&mut self, cid: u16, sqhd: u16, completion: Completion) {
        let cqe = Cqe {
            result: completion.result.into(),
            sqhd: sqhd.into(),
            sqid: 0.into(),
            cid: cid.into(),
            status: completion.status.to_wire().into(),
        };
        let framing = self.parameters.framing;
        self.outbox.headers(|out| framing.capsule_resp(out, cqe));
    }

    pub(super) fn advance_sqhd(&mut self) {
        let next = (u32::from(self.sqhd) + 1) % self.parameters.entries.max(1);
        self.sqhd = u16::try_from(next).unwrap_or_default();
    }
}
