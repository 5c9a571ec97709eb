//! A host: an admin queue, its controller made ready, and I/O queues.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nvmf_proto::connect::{CNTLID_DYNAMIC, Connect};
use nvmf_proto::cqe::Completion;
use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::{admin, fabrics};
use nvmf_proto::queue::ADMIN_IN_CAPSULE;
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;

use super::{PATIENCE, PeerError, Qpair};

/// Offsets of properties.
pub mod property {
    /// Controller capabilities, 8 bytes.
    pub const CAP: u32 = 0x00;
    /// Version.
    pub const VS: u32 = 0x08;
    /// Controller configuration.
    pub const CC: u32 = 0x14;
    /// Controller status.
    pub const CSTS: u32 = 0x1c;
}

/// CC of a controller that is enabled as Linux does it.
pub const CC_ENABLED: u32 = 6 << 16 | 4 << 20 | 1;

/// Who a host is and what it asks for.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// Its name.
    pub hostnqn: Nqn,
    /// Its identifier.
    pub hostid: [u8; 16],
    /// Whether to ask for header digests.
    pub header_digest: bool,
    /// Whether to ask for data digests.
    pub data_digest: bool,
    /// Alignment of data to the host: multiples of this many dwords, less one.
    pub hpda: u8,
    /// Whether to keep SQ flow control.
    pub sq_flow_control: bool,
    /// Keep Alive Timeout; zero for none.
    pub kato: Duration,
    /// Entries of the admin queue.
    pub admin_entries: u32,
    /// I/O queues to connect.
    pub io_queues: u16,
    /// Entries of each.
    pub io_entries: u32,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            hostnqn: "nqn.2014-08.org.example:host".parse().expect("a name"),
            hostid: [0x11; 16],
            header_digest: false,
            data_digest: false,
            hpda: 0,
            sq_flow_control: true,
            kato: Duration::ZERO,
            admin_entries: 32,
            io_queues: 1,
            io_entries: 128,
        }
    }
}

impl HostOptions {
    /// Another host than the default one, told apart by `number`.
    pub fn named(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        let hostnqn = format!("nqn.2014-08.org.example:host{number}");
        Self {
            hostnqn: hostnqn.parse().expect("a name"),
            hostid: [0x22, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ..Self::default()
        }
    }

    /// What an admin queue to `subnqn` is asked for with.
    pub fn admin(&self, subnqn: &Nqn) -> Wishes {
        Wishes {
            hpda: self.hpda,
            max_r2ts: 1,
            header_digest: self.header_digest,
            data_digest: self.data_digest,
            in_capsule: ADMIN_IN_CAPSULE,
            connect: Connect {
                qid: 0,
                entries: self.admin_entries,
                sq_flow_control: self.sq_flow_control,
                kato: self.kato,
                hostid: self.hostid,
                cntlid: CNTLID_DYNAMIC,
                subnqn: subnqn.clone(),
                hostnqn: self.hostnqn.clone(),
            },
        }
    }

    /// What an I/O queue of controller `cntlid` is asked for with.
    pub fn io(&self, subnqn: &Nqn, cntlid: u16, qid: u16, in_capsule: u32) -> Wishes {
        let mut wishes = self.admin(subnqn);
        wishes.in_capsule = in_capsule;
        wishes.connect.qid = qid;
        wishes.connect.entries = self.io_entries;
        wishes.connect.kato = Duration::ZERO;
        wishes.connect.cntlid = cntlid;
        wishes
    }
}

/// A host with a controller of its own.
#[derive(Debug)]
pub struct Host {
    /// The admin queue.
    pub admin: Qpair,
    /// I/O queues, QID 1 first.
    pub io: Vec<Qpair>,
    address: SocketAddr,
    subnqn: Nqn,
    options: HostOptions,
    /// Bytes of data in a command capsule, as Identify says.
    in_capsule: u32,
}

impl Host {
    /// Connects, makes the controller ready and connects the I/O queues, as Linux does.
    ///
    /// # Errors
    /// Whatever keeps the target from serving it.
    pub fn connect(
        address: SocketAddr,
        subnqn: &Nqn,
        options: &HostOptions,
    ) -> Result<Self, PeerError> {
        let mut host = Self::connect_admin(address, subnqn, options)?;
        host.enable()?;
        if options.io_queues == 0 {
            return Ok(host);
        }
        let controller = host.identify(0x01, 0)?;
        let ioccsz = u32::from_le_bytes(*controller[1792..].first_chunk().expect("4096 bytes"));
        host.in_capsule = (ioccsz * 16).saturating_sub(64);
        host.set_queues(options.io_queues)?;
        for qid in 1..=options.io_queues {
            let queue = host.connect_io(qid)?;
            host.io.push(queue);
        }
        Ok(host)
    }

    /// Connects the admin queue and nothing else.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn connect_admin(
        address: SocketAddr,
        subnqn: &Nqn,
        options: &HostOptions,
    ) -> Result<Self, PeerError> {
        Ok(Self {
            admin: Qpair::connect(address, options.admin(subnqn))?,
            io: Vec::new(),
            address,
            subnqn: subnqn.clone(),
            options: options.clone(),
            in_capsule: 0,
        })
    }

    /// Connects another I/O queue.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn connect_io(&self, qid: u16) -> Result<Qpair, PeerError> {
        let cntlid = self.admin.cntlid();
        let wishes = self.options.io(&self.subnqn, cntlid, qid, self.in_capsule);
        Qpair::connect(self.address, wishes)
    }

    /// Makes the controller ready.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn enable(&mut self) -> Result<(), PeerError> {
        self.set_property(property::CC, CC_ENABLED.into())?;
        self.await_status(0b11, 0b01)
    }

    /// Resets the controller: CC.EN to 0.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn disable(&mut self) -> Result<(), PeerError> {
        self.set_property(property::CC, (CC_ENABLED & !1).into())?;
        self.await_status(0b1, 0)
    }

    /// Shuts the controller down and waits until that is complete.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn shut_down(&mut self) -> Result<(), PeerError> {
        self.set_property(property::CC, (CC_ENABLED | 0b01 << 14).into())?;
        self.await_status(0b1100, 0b1000)
    }

    /// Polls CSTS until the bits `mask` are `value`.
    fn await_status(&mut self, mask: u64, value: u64) -> Result<(), PeerError> {
        let deadline = Instant::now() + PATIENCE;
        while self.property(property::CSTS)? & mask != value {
            if Instant::now() > deadline {
                return Err(PeerError::Timeout);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Reads a property.
    ///
    /// # Errors
    /// Why it cannot be read.
    ///
    /// # Panics
    /// If the target refuses.
    pub fn property(&mut self, offset: u32) -> Result<u64, PeerError> {
        let mut sqe = Sqe::fabrics(fabrics::PROPERTY_GET, 0);
        sqe.cdw10 = u32::from(offset == property::CAP).into();
        sqe.cdw11 = offset.into();
        let completion = self.admin.command(sqe)?;
        assert!(completion.status.is_success(), "{}", completion.status);
        Ok(completion.result)
    }

    /// Writes a property of 4 bytes.
    ///
    /// # Errors
    /// Why it cannot be written.
    ///
    /// # Panics
    /// If the target refuses.
    pub fn set_property(&mut self, offset: u32, value: u64) -> Result<(), PeerError> {
        let mut sqe = Sqe::fabrics(fabrics::PROPERTY_SET, 0);
        sqe.cdw11 = offset.into();
        sqe.cdw12 = u32::try_from(value).expect("4 bytes").into();
        let completion = self.admin.command(sqe)?;
        assert!(completion.status.is_success(), "{}", completion.status);
        Ok(())
    }

    /// Asks for `count` I/O queues (feature 07h); how many were granted.
    ///
    /// # Errors
    /// Why none are.
    ///
    /// # Panics
    /// If the target refuses.
    pub fn set_queues(&mut self, count: u16) -> Result<u16, PeerError> {
        let wanted = u32::from(count - 1);
        let completion = self.set_feature(0x07, wanted | wanted << 16)?;
        assert!(completion.status.is_success(), "{}", completion.status);
        let [low, high, ..] = completion.result.to_le_bytes();
        Ok(u16::from_le_bytes([low, high]) + 1)
    }

    /// Sets a feature.
    ///
    /// # Errors
    /// Why it cannot be set.
    pub fn set_feature(&mut self, feature: u32, value: u32) -> Result<Completion, PeerError> {
        let mut sqe = Sqe::new(admin::SET_FEATURES, 0);
        sqe.cdw10 = feature.into();
        sqe.cdw11 = value.into();
        self.admin.command(sqe)
    }

    /// Reads 4096 bytes of Identify.
    ///
    /// # Errors
    /// Why it cannot be read.
    ///
    /// # Panics
    /// If the target refuses.
    pub fn identify(&mut self, cns: u32, nsid: u32) -> Result<Vec<u8>, PeerError> {
        let mut sqe = Sqe::new(admin::IDENTIFY, 0);
        sqe.nsid = nsid.into();
        sqe.cdw10 = cns.into();
        let payload = Payload::ToHost {
            length: 4096,
            into: Vec::new(),
        };
        let answer = self.admin.run(sqe, payload)?;
        let status = answer.completion.status;
        assert!(status.is_success(), "Identify {cns:#x}: {status}");
        Ok(answer.data)
    }

    /// Reads `length` bytes of a log page from `offset`.
    ///
    /// # Errors
    /// Why no answer comes; the inner one is the target's refusal.
    pub fn log_page(
        &mut self,
        lid: u8,
        offset: u64,
        length: u32,
    ) -> Result<Result<Vec<u8>, Status>, PeerError> {
        let payload = Payload::ToHost {
            length,
            into: Vec::new(),
        };
        let answer = self.admin.run(log_page_sqe(lid, offset, length), payload)?;
        let status = answer.completion.status;
        Ok(if status.is_success() {
            Ok(answer.data)
        } else {
            Err(status)
        })
    }

    /// Sends a Keep Alive.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn keep_alive(&mut self) -> Result<Completion, PeerError> {
        self.admin.command(Sqe::new(admin::KEEP_ALIVE, 0))
    }
}

/// Get Log Page for `length` bytes, a multiple of four, from `offset`.
pub fn log_page_sqe(lid: u8, offset: u64, length: u32) -> Sqe {
    let numd = length / 4 - 1;
    let mut sqe = Sqe::new(admin::GET_LOG_PAGE, 0);
    sqe.cdw10 = (u32::from(lid) | (numd & 0xffff) << 16).into();
    sqe.cdw11 = (numd >> 16).into();
    let [a, b, c, d, e, f, g, h] = offset.to_le_bytes();
    sqe.cdw12 = u32::from_le_bytes([a, b, c, d]).into();
    sqe.cdw13 = u32::from_le_bytes([e, f, g, h]).into();
    sqe
}
