//! A queue on its way from the fake kernel to who serves it, and how its Connect is answered.

#![forbid(unsafe_code)]

use std::net::TcpStream;

use nvmf_proto::connect::{Connect, ConnectReject, Limits};
use nvmf_proto::cqe::Cqe;
use nvmf_proto::handshake::Handoff;
use nvmf_proto::pdu::Framing;
use nvmf_proto::sqe::Sqe;
use zerocopy::FromBytes;

use super::request::up_to_nul;
use crate::error::Errno;

/// A queue that the kernel has taken over. Nobody has answered its Connect.
#[derive(Debug)]
pub struct TakenQueue {
    /// The connection. It may be in non-blocking mode.
    pub socket: TcpStream,
    /// The Connect command, 64 bytes.
    pub sqe: [u8; 64],
    /// The Connect data, 1024 bytes.
    pub data: Box<[u8; 1024]>,
    /// Whether SQ flow control is used.
    pub sq_flow_control: bool,
    /// Entries of the queue.
    pub qsize: u32,
    /// Where the queue's head begins.
    pub sqhd: u16,
    /// Digests and alignment.
    pub framing: Framing,
    /// R2Ts that the host bears, 0's based.
    pub maxr2t: u32,
    /// Bytes that one H2CData PDU may carry.
    pub maxh2cdata: u32,
}

/// Why a queue is not served, in the order in which nvmft looks (FreeBSD
/// `sys/dev/nvmf/controller/nvmft_controller.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The port went offline while its queue was on the way.
    Offline,
    /// Every CNTLID is taken.
    NoCntlid,
    /// No such controller. Kernels without the remedy for CVE-2026-4652 panic.
    Cntlid,
    /// Another host identifier than the admin queue's.
    Hostid,
    /// Another host name than the admin queue's, in any of its 256 bytes.
    Hostnqn,
    /// The controller is being shut down.
    ShuttingDown,
    /// The host has not asked for a number of queues.
    NoQueues,
    /// The queue is not among those that the host has got.
    Qid,
    /// There is such a queue already.
    QidTaken,
}

/// What an I/O queue is held against.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The host identifier of the admin queue.
    pub hostid: [u8; 16],
    /// The 256 bytes of the host's name that came with the admin queue.
    pub hostnqn: &'a [u8; 256],
    /// Whether the controller is being shut down.
    pub shutting_down: bool,
    /// The number of I/O queues that the host has got.
    pub queues: Option<u16>,
    /// Whether the controller has a queue of this number.
    pub taken: bool,
}

impl TakenQueue {
    /// Command identifier of the Connect.
    pub fn cid(&self) -> u16 {
        u16::from_le_bytes([self.sqe[2], self.sqe[3]])
    }

    /// Queue identifier.
    pub fn qid(&self) -> u16 {
        u16::from_le_bytes([self.sqe[42], self.sqe[43]])
    }

    /// The host identifier.
    pub fn hostid(&self) -> [u8; 16] {
        std::array::from_fn(|i| self.data[i])
    }

    /// Controller identifier that is asked for.
    pub fn cntlid(&self) -> u16 {
        u16::from_le_bytes([self.data[16], self.data[17]])
    }

    /// The 256 bytes of the host's name.
    pub fn hostnqn_field(&self) -> [u8; 256] {
        std::array::from_fn(|i| self.data[512 + i])
    }

    /// The host's name as the kernel prints it.
    pub fn hostnqn(&self) -> String {
        // Without a NUL the kernel would print on into what stands behind the name.
        String::from_utf8_lossy(up_to_nul(&self.hostnqn_field())).into_owned()
    }

    /// The hand-off as an engine of ours takes it.
    ///
    /// # Errors
    /// Why our own handshake would never have handed such a Connect over; the kernel takes more.
    pub fn handoff(&self) -> Result<Handoff, ConnectReject> {
        let sqe = Sqe::read_from_bytes(&self.sqe).expect("an SQE has 64 bytes");
        let limits = Limits {
            max_admin_entries: 4096,
            max_io_entries: 65536,
            sq_flow_control_optional: true,
        };
        Ok(Handoff {
            connect: Connect::from_wire(&sqe, &self.data[..], &limits)?,
            sqe,
            data: self.data.to_vec(),
            framing: self.framing,
            maxr2t: self.maxr2t,
            maxh2cdata: self.maxh2cdata,
            entries: self.qsize,
            sq_flow_control: self.sq_flow_control,
        })
    }

    /// Judges an I/O queue against the controller that it names, if there is one.
    ///
    /// # Errors
    /// The first reason of the kernel's.
    pub fn judge(&self, owner: Option<Owner<'_>>) -> Result<(), Refusal> {
        let owner = owner.ok_or(Refusal::Cntlid)?;
        if owner.hostid != self.hostid() {
            return Err(Refusal::Hostid);
        }
        if *owner.hostnqn != self.hostnqn_field() {
            return Err(Refusal::Hostnqn);
        }
        if owner.shutting_down {
            return Err(Refusal::ShuttingDown);
        }
        let queues = owner.queues.ok_or(Refusal::NoQueues)?;
        if self.qid() > queues {
            return Err(Refusal::Qid);
        }
        if owner.taken {
            return Err(Refusal::QidTaken);
        }
        Ok(())
    }

    /// The PDU that says yes, for a controller `cntlid`.
    pub fn acceptance(&self, cntlid: u16) -> Vec<u8> {
        let sqhd = if self.sq_flow_control {
            self.sqhd
        } else {
            0xffff
        };
        self.response(u64::from(cntlid), sqhd, 0)
    }

    /// The PDU that says no, if the kernel says anything.
    pub fn refusal(&self, refusal: Refusal) -> Option<Vec<u8>> {
        let (sct, sc, in_data, offset) = refusal.answer()?;
        let result = u64::from(offset) | u64::from(in_data) << 16;
        Some(self.response(result, 0, sct << 9 | sc << 1))
    }

    fn response(&self, result: u64, sqhd: u16, status: u16) -> Vec<u8> {
        let cqe = Cqe {
            result: result.into(),
            sqhd: sqhd.into(),
            sqid: 0.into(),
            cid: self.cid().into(),
            status: status.into(),
        };
        let mut pdu = Vec::new();
        self.framing.capsule_resp(&mut pdu, cqe);
        pdu
    }
}

impl Refusal {
    /// The number in the kernel's text.
    pub fn errno(self) -> Errno {
        match self {
            Self::Offline => Errno::ENXIO,
            Self::NoCntlid => Errno::ENOMEM,
            Self::Cntlid => Errno::ENOENT,
            Self::Hostid
            | Self::Hostnqn
            | Self::ShuttingDown
            | Self::NoQueues
            | Self::Qid
            | Self::QidTaken => Errno::EINVAL,
        }
    }

    /// Status code type and code, and of Invalid Parameters whether it is about the data, and where.
    /// Do Not Retry is never set.
    fn answer(self) -> Option<(u16, u16, bool, u16)> {
        const INVALID_PARAMETERS: u16 = 0x82;
        Some(match self {
            Self::Offline => return None,
            Self::NoCntlid => (1, 0x84, false, 0),
            Self::Cntlid | Self::ShuttingDown => (1, INVALID_PARAMETERS, true, 16),
            Self::Hostid => (1, INVALID_PARAMETERS, true, 0),
            Self::Hostnqn => (1, INVALID_PARAMETERS, true, 512),
            Self::NoQueues | Self::QidTaken => (0, 0x0c, false, 0),
            Self::Qid => (1, INVALID_PARAMETERS, false, 42),
        })
    }
}
