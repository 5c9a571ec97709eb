//! A controller's queue for hostile hosts, and the PDUs that they send.

use super::super::{Parameters, Queue, Step, Tag};
use crate::deframer::{Deframer, Event, Rules, Side};
use crate::opcode::nvm;
use crate::pdu::{Fes, Framing, Header, PduError, append_data_digest, flags};
use crate::sqe::{Data, SglDescriptor, Sqe};
use crate::status::Status;

pub(super) const PLAIN: Framing = Framing::INITIAL;
pub(super) const DIGESTS: Framing = Framing {
    header_digest: true,
    data_digest: true,
    ..PLAIN
};
pub(super) const MAXH2CDATA: u32 = 4096;

/// A controller's queue whose owner accepts reads and writes of as many bytes as dword 12 says.
pub(super) struct Target {
    pub(super) queue: Queue,
    pub(super) ready: Vec<Tag>,
}

impl Target {
    pub(super) fn new(framing: Framing) -> Self {
        let queue = Queue::new(Parameters {
            framing,
            maxh2cdata: MAXH2CDATA,
            in_capsule: 8192,
            entries: 4,
            sq_flow_control: true,
            max_transfer: 1 << 20,
        });
        let ready = Vec::new();
        Self { queue, ready }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Step>, PduError> {
        let mut steps = Vec::new();
        while let Some(step) = self.queue.next(&mut bytes)? {
            match step {
                Step::Capsule(tag) => {
                    let sqe = *self.queue.sqe(tag).unwrap();
                    let length = sqe.cdw12.get();
                    let data = match sqe.opcode {
                        nvm::READ => Data::ToHost(length),
                        _ if length == 0 => Data::None,
                        _ => Data::FromHost(length),
                    };
                    self.queue.accept(tag, data);
                }
                Step::Ready(tag) => self.ready.push(tag),
                Step::Failed { .. } | Step::Terminated { .. } => steps.push(step),
            }
        }
        Ok(steps)
    }

    /// What the host receives.
    pub(super) fn answers(&mut self) -> Vec<Header> {
        headers(&self.queue.outbox().take(), self.queue.parameters().framing)
    }

    /// The transfer tag of the one R2T that is waiting to be sent.
    pub(super) fn r2t(&mut self) -> u16 {
        match self.answers()[..] {
            [Header::R2t(r2t)] => r2t.ttag.get(),
            ref other => panic!("{other:?}"),
        }
    }

    /// The host is told `fes` and `fei` and nothing else, and nothing that follows is heard.
    pub(super) fn is_terminated(&mut self, fes: Fes, fei: u32) {
        match self.answers()[..] {
            [Header::C2hTermReq(request)] => {
                assert_eq!((request.fes.get(), request.fei.get()), (fes as u16, fei));
            }
            ref other => panic!("{other:?}"),
        }
        self.is_silent();
    }

    /// CVE-2026-52989: the state that has failed is dead for good.
    pub(super) fn is_silent(&mut self) {
        assert!(self.queue.is_dead());
        assert_eq!(self.queue.wants(), 0);
        let write = capsule(
            self.queue.parameters().framing,
            &write_sqe(99, 512),
            &[0; 512],
        );
        assert_eq!(self.feed(&write), Ok(vec![]));
        assert!(self.queue.outbox().is_empty() && self.ready.is_empty());
    }
}

fn headers(bytes: &[u8], framing: Framing) -> Vec<Header> {
    let mut deframer = Deframer::new(Rules {
        side: Side::Host,
        framing,
        max_capsule_data: 0,
        max_data: u32::MAX,
        initialized: true,
    });
    let (mut input, mut headers) = (bytes, Vec::new());
    while let Some(event) = deframer.next(&mut input).unwrap() {
        if let Event::Header { header, .. } = event {
            headers.push(header);
        }
    }
    headers
}

pub(super) fn status_of(answers: &[Header]) -> (u16, Status) {
    match answers {
        [Header::CapsuleResp(capsule)] => (capsule.cqe.cid.get(), capsule.cqe.status()),
        other => panic!("{other:?}"),
    }
}

/// A write of `length` bytes, in the capsule if it fits there.
pub(super) fn write_sqe(cid: u16, length: u32) -> Sqe {
    let mut sqe = Sqe::new(nvm::WRITE, cid);
    sqe.cdw12 = length.into();
    sqe.sgl = if length <= 8192 {
        SglDescriptor::in_capsule(length)
    } else {
        SglDescriptor::transport(length)
    };
    sqe
}

/// A write of `length` bytes that waits to be asked for them.
pub(super) fn solicited_write(cid: u16, length: u32) -> Sqe {
    let sgl = SglDescriptor::transport(length);
    Sqe {
        sgl,
        ..write_sqe(cid, length)
    }
}

pub(super) fn read_sqe(cid: u16, length: u32) -> Sqe {
    let mut sqe = Sqe::new(nvm::READ, cid);
    sqe.cdw12 = length.into();
    sqe.sgl = SglDescriptor::transport(length);
    sqe
}

pub(super) fn capsule(framing: Framing, sqe: &Sqe, data: &[u8]) -> Vec<u8> {
    let mut pdu = Vec::new();
    framing.capsule_cmd(&mut pdu, *sqe, u32::try_from(data.len()).unwrap());
    append(framing, &mut pdu, data);
    pdu
}

fn append(framing: Framing, pdu: &mut Vec<u8>, data: &[u8]) {
    pdu.extend_from_slice(data);
    if framing.data_digest && !data.is_empty() {
        append_data_digest(pdu, data);
    }
}

pub(super) const LAST: u8 = flags::LAST_PDU;

/// H2CData of `length` bytes.
pub(super) fn h2c(
    framing: Framing,
    tags: (u16, u16),
    offset: u32,
    length: u32,
    extra: u8,
) -> Vec<u8> {
    let mut pdu = Vec::new();
    framing.h2c_data(&mut pdu, tags, offset, length, extra);
    append(framing, &mut pdu, &vec![0xda; length as usize]);
    pdu
}
