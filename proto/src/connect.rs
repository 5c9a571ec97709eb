//! The Fabrics Connect command: who asks for which queue of which subsystem.

use std::time::Duration;

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::cqe::Completion;
use crate::nqn::{NQN_FIELD_SIZE, Nqn};
use crate::opcode;
use crate::sqe::{SglDescriptor, Sqe};
use crate::status::Status;

/// Bytes of Connect data.
pub const CONNECT_DATA_SIZE: u32 = 1024;

/// CNTLID of a Connect that asks for a new controller (dynamic controller model).
pub const CNTLID_DYNAMIC: u16 = 0xffff;

/// Largest CNTLID that a controller can have.
pub const CNTLID_MAX: u16 = 0xffef;

/// Entries of the smallest queue.
pub const MIN_ENTRIES: u32 = 2;

/// CATTR bit 2: no submission queue flow control.
const CATTR_NO_FLOW_CONTROL: u8 = 1 << 2;

/// Connect data as it stands on the wire (Base 2.0 §6.3).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectData {
    /// Host identifier.
    pub hostid: [u8; 16],
    /// Controller asked for: [`CNTLID_DYNAMIC`] on admin queues, the controller on I/O queues.
    pub cntlid: U16,
    reserved: [u8; 238],
    /// Subsystem NQN, NUL-terminated.
    pub subnqn: [u8; NQN_FIELD_SIZE],
    /// Host NQN, NUL-terminated.
    pub hostnqn: [u8; NQN_FIELD_SIZE],
    reserved_end: [u8; 256],
}

const _: () = assert!(size_of::<ConnectData>() == CONNECT_DATA_SIZE as usize);

/// A Connect command whose every field is legal. Whether it is welcome is the caller's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Queue: 0 is the admin queue.
    pub qid: u16,
    /// Entries of the queue, 2 or more.
    pub entries: u32,
    /// Whether SQ flow control is used (the host can ask to do without).
    pub sq_flow_control: bool,
    /// Keep Alive Timeout; zero means none (admin queues only).
    pub kato: Duration,
    /// Host identifier, never all zero.
    pub hostid: [u8; 16],
    /// Controller asked for.
    pub cntlid: u16,
    /// Subsystem asked for.
    pub subnqn: Nqn,
    /// Host that asks.
    pub hostnqn: Nqn,
}

/// What a Connect is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the largest admin queue.
    pub max_admin_entries: u32,
    /// Entries of the largest I/O queue.
    pub max_io_entries: u32,
    /// Whether a host may switch SQ flow control off. If not, the wish is not heard.
    pub sq_flow_control_optional: bool,
}

/// A refused Connect: its status and, of Invalid Parameters, which parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}{}", self.field().map(|field| format!(", {field}")).unwrap_or_default())]
pub struct ConnectReject {
    /// How the command ends.
    pub status: Status,
    /// Invalid Parameter Offset, in bytes.
    pub ipo: u16,
    /// Invalid Attributes: whether the offset counts in the data, else in the SQE.
    pub in_data: bool,
}

impl ConnectReject {
    /// RECFMT is not 0.
    pub const RECFMT: Self = Self::status(Status::CONNECT_INCOMPATIBLE_FORMAT.dnr());
    /// QID: too large, already there, or an I/O queue of a discovery controller.
    pub const QID: Self = Self::in_sqe(42);
    /// SQSIZE: out of range.
    pub const SQSIZE: Self = Self::in_sqe(44);
    /// The SGL does not describe 1024 bytes.
    pub const SGL: Self = Self::in_sqe(24);
    /// HOSTID: zero, or another than the admin queue's.
    pub const HOSTID: Self = Self::in_data(0);
    /// CNTLID: no such controller, or not one that can be asked for (CVE-2026-4652).
    pub const CNTLID: Self = Self::in_data(16);
    /// SUBNQN: no such subsystem here.
    pub const SUBNQN: Self = Self::in_data(256);
    /// HOSTNQN: not a name, or another than the admin queue's.
    pub const HOSTNQN: Self = Self::in_data(512);
    /// No controller can be made now; later perhaps.
    pub const BUSY: Self = Self::status(Status::CONNECT_CONTROLLER_BUSY);
    /// This host may not use this subsystem.
    pub const HOST: Self = Self::status(Status::CONNECT_INVALID_HOST.dnr());

    /// Refused with a status that names no parameter.
    pub const fn status(status: Status) -> Self {
        Self {
            status,
            ipo: 0,
            in_data: false,
        }
    }

    const fn in_sqe(ipo: u16) -> Self {
        Self {
            status: Status::CONNECT_INVALID_PARAMETERS.dnr(),
            ipo,
            in_data: false,
        }
    }

    const fn in_data(ipo: u16) -> Self {
        Self {
            status: Status::CONNECT_INVALID_PARAMETERS.dnr(),
            ipo,
            in_data: true,
        }
    }

    /// Reads a refusal back from a completion: the host's view.
    pub fn from_completion(completion: Completion) -> Self {
        let [a, b, attributes, ..] = completion.result.to_le_bytes();
        Self {
            status: completion.status,
            ipo: u16::from_le_bytes([a, b]),
            in_data: attributes & 1 != 0,
        }
    }

    /// The name of the parameter that was refused, if it has one.
    pub fn field(&self) -> Option<&'static str> {
        if !self.status.is(Status::CONNECT_INVALID_PARAMETERS) {
            return None;
        }
        Some(match (self.in_data, self.ipo) {
            (false, 24) => "SGL",
            (false, 40) => "RECFMT",
            (false, 42) => "QID",
            (false, 44) => "SQSIZE",
            (false, 46) => "CATTR",
            (true, 0) => "HOSTID",
            (true, 16) => "CNTLID",
            (true, 256) => "SUBNQN",
            (true, 512) => "HOSTNQN",
            _ => "unknown parameter",
        })
    }
}

impl From<ConnectReject> for Completion {
    fn from(reject: ConnectReject) -> Self {
        let result = u64::from(reject.ipo) | u64::from(reject.in_data) << 16;
        Self {
            status: reject.status,
            result,
        }
    }
}

/// What the command alone says, before its data is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectCommand {
    qid: u16,
    entries: u32,
    sq_flow_control: bool,
    kato: Duration,
}

impl ConnectCommand {
    /// Checks the command, in the order of FreeBSD's `nvmf_accept`.
    pub(crate) fn parse(sqe: &Sqe, limits: &Limits) -> Result<Self, ConnectReject> {
        if sqe.fctype() != Some(opcode::fabrics::CONNECT) {
            return Err(ConnectReject::status(Status::INVALID_OPCODE.dnr()));
        }
        let [recfmt_low, recfmt_high, qid_low, qid_high] = sqe.cdw10.get().to_le_bytes();
        let [sqsize_low, sqsize_high, cattr, _] = sqe.cdw11.get().to_le_bytes();
        if u16::from_le_bytes([recfmt_low, recfmt_high]) != 0 {
            return Err(ConnectReject::RECFMT);
        }
        let qid = u16::from_le_bytes([qid_low, qid_high]);
        // SQSIZE is 0's based.
        let entries = u32::from(u16::from_le_bytes([sqsize_low, sqsize_high])) + 1;
        let most = if qid == 0 {
            limits.max_admin_entries
        } else {
            limits.max_io_entries
        };
        if !(MIN_ENTRIES..=most).contains(&entries) {
            return Err(ConnectReject::SQSIZE);
        }
        // It means nothing on an I/O queue, but SPDK's hosts send it there as well, and FreeBSD's
        // nvmf_accept refuses them for it.
        let kato = if qid == 0 { sqe.cdw12.get() } else { 0 };
        if sqe.sgl.length.get() != CONNECT_DATA_SIZE {
            return Err(ConnectReject::SGL);
        }
        let no_flow_control = cattr & CATTR_NO_FLOW_CONTROL != 0;
        Ok(Self {
            qid,
            entries,
            sq_flow_control: !(no_flow_control && limits.sq_flow_control_optional),
            kato: Duration::from_millis(kato.into()),
        })
    }

    /// Checks the data, in the order of FreeBSD's `nvmf_accept`.
    pub(crate) fn with_data(self, data: &[u8]) -> Result<Connect, ConnectReject> {
        let Ok(data) = ConnectData::read_from_bytes(data) else {
            return Err(ConnectReject::SGL);
        };
        if data.hostid == [0; 16] {
            return Err(ConnectReject::HOSTID);
        }
        let cntlid = data.cntlid.get();
        let cntlid_legal = if self.qid == 0 {
            cntlid == CNTLID_DYNAMIC
        } else {
            cntlid <= CNTLID_MAX
        };
        if !cntlid_legal {
            return Err(ConnectReject::CNTLID);
        }
        let subnqn = Nqn::from_field(&data.subnqn).map_err(|_| ConnectReject::SUBNQN)?;
        let hostnqn = Nqn::from_field(&data.hostnqn).map_err(|_| ConnectReject::HOSTNQN)?;
        Ok(Connect {
            qid: self.qid,
            entries: self.entries,
            sq_flow_control: self.sq_flow_control,
            kato: self.kato,
            hostid: data.hostid,
            cntlid,
            subnqn,
            hostnqn,
        })
    }
}

impl Connect {
    /// What a Connect command and its data say, judged in the order of FreeBSD's `nvmf_accept`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_wire(sqe: &Sqe, data: &[u8], limits: &Limits) -> Result<Self, ConnectReject> {
        ConnectCommand::parse(sqe, limits)?.with_data(data)
    }

    /// The command and its data as a host sends them; the data goes into the capsule.
    pub fn to_wire(&self, cid: u16) -> (Sqe, ConnectData) {
        let mut sqe = Sqe::fabrics(opcode::fabrics::CONNECT, cid);
        sqe.sgl = SglDescriptor::in_capsule(CONNECT_DATA_SIZE);
        sqe.cdw10 = (u32::from(self.qid) << 16).into();
        let cattr = if self.sq_flow_control {
            0
        } else {
            u32::from(CATTR_NO_FLOW_CONTROL)
        };
        sqe.cdw11 = ((self.entries.wrapping_sub(1) & 0xffff) | cattr << 16).into();
        sqe.cdw12 = u32::try_from(self.kato.as_millis())
            .unwrap_or(u32::MAX)
            .into();
        let mut data = ConnectData::new_zeroed();
        data.hostid = self.hostid;
        data.cntlid = self.cntlid.into();
        data.subnqn = self.subnqn.to_field();
        data.hostnqn = self.hostnqn.to_field();
        (sqe, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_admin_entries: 4096,
        max_io_entries: 1024,
        sq_flow_control_optional: true,
    };

    fn admin() -> Connect {
        Connect {
            qid: 0,
            entries: 32,
            sq_flow_control: true,
            kato: Duration::from_secs(5),
            hostid: [7; 16],
            cntlid: CNTLID_DYNAMIC,
            subnqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
            hostnqn: "nqn.2014-08.org.example:host".parse().unwrap(),
        }
    }

    fn parse(sqe: &Sqe, data: &[u8]) -> Result<Connect, ConnectReject> {
        Connect::from_wire(sqe, data, &LIMITS)
    }

    #[test]
    fn what_a_host_asks_is_what_a_controller_reads() {
        let io = Connect {
            qid: 3,
            entries: 128,
            sq_flow_control: false,
            kato: Duration::ZERO,
            cntlid: 9,
            ..admin()
        };
        for connect in [admin(), io] {
            let (sqe, data) = connect.to_wire(1);
            assert_eq!(parse(&sqe, data.as_bytes()), Ok(connect));
        }
    }

    #[test]
    fn a_keep_alive_timeout_on_an_io_queue_means_nothing() {
        let io = Connect {
            qid: 1,
            kato: Duration::from_secs(10),
            cntlid: 9,
            ..admin()
        };
        let (sqe, data) = io.to_wire(1);
        let kato = parse(&sqe, data.as_bytes()).map(|it| it.kato);
        assert_eq!(kato, Ok(Duration::ZERO));
    }

    #[test]
    fn every_wrong_field_is_named_by_its_offset() {
        type Spoil = fn(&mut Sqe, &mut ConnectData);
        let cases: [(Spoil, ConnectReject); 11] = [
            (|sqe, _| sqe.cdw10 = 1.into(), ConnectReject::RECFMT),
            (|sqe, _| sqe.cdw11 = 0.into(), ConnectReject::SQSIZE),
            (|sqe, _| sqe.cdw11 = 4096.into(), ConnectReject::SQSIZE),
            (|sqe, _| sqe.cdw11 = 0xffff.into(), ConnectReject::SQSIZE),
            (|sqe, _| sqe.sgl.length = 1023.into(), ConnectReject::SGL),
            (|_, data| data.hostid = [0; 16], ConnectReject::HOSTID),
            (|_, data| data.cntlid = 0.into(), ConnectReject::CNTLID),
            (|_, data| data.cntlid = 0xfffe.into(), ConnectReject::CNTLID),
            (|_, data| data.subnqn = [b'x'; 256], ConnectReject::SUBNQN),
            (|_, data| data.hostnqn = [0; 256], ConnectReject::HOSTNQN),
            (
                |sqe, _| sqe.nsid = 4.into(),
                ConnectReject::status(Status::INVALID_OPCODE.dnr()),
            ),
        ];
        for (spoil, expected) in cases {
            let (mut sqe, mut data) = admin().to_wire(1);
            spoil(&mut sqe, &mut data);
            assert_eq!(parse(&sqe, data.as_bytes()), Err(expected));
        }
    }

    #[test]
    fn a_refusal_says_which_field_to_the_host_that_reads_it() {
        let completion = Completion::from(ConnectReject::SUBNQN);
        assert_eq!(completion.result, 0x1_0100);
        let read = ConnectReject::from_completion(completion);
        assert_eq!(read, ConnectReject::SUBNQN);
        let text = "connect invalid parameters (SCT 1h SC 82h, do not retry), SUBNQN";
        assert_eq!(read.to_string(), text);
        assert_eq!(ConnectReject::BUSY.field(), None);
    }

    #[test]
    fn a_host_that_may_not_switch_flow_control_off_keeps_it() {
        let (sqe, _) = Connect {
            sq_flow_control: false,
            ..admin()
        }
        .to_wire(1);
        let required = Limits {
            sq_flow_control_optional: false,
            ..LIMITS
        };
        assert!(
            ConnectCommand::parse(&sqe, &required)
                .unwrap()
                .sq_flow_control
        );
        assert!(
            !ConnectCommand::parse(&sqe, &LIMITS)
                .unwrap()
                .sq_flow_control
        );
    }
}
