//! A target with a healthy host on it, for attacks.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::connect::Connect;
use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::opcode::{fabrics, nvm};
use nvmf_proto::pdu::{Fes, Framing, IcReq};
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, Raw, nvm_sqe, property};
use nvmfd_tests::target::{Setup, Target};
use nvmfd_tests::usage::Usage;
use zerocopy::IntoBytes;

/// How tests and attacks end.
pub(crate) type Result<T = ()> = std::result::Result<T, PeerError>;

/// Memory that may come and go without being a leak, in KiB: buffers that allocators keep.
pub(crate) const SLACK: u64 = 12 * 1024;

/// The target of an attack, with a healthy host on it.
pub(crate) struct Scene {
    /// The program.
    pub(crate) target: Target,
    /// A host that does nothing wrong.
    pub(crate) healthy: Host,
    /// What it has written at block 64.
    pub(crate) data: Vec<u8>,
    before: Option<Usage>,
}

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        Self::with(&Setup::default())
    }

    pub(crate) fn with(setup: &Setup) -> Result<Self> {
        let setup = &Setup {
            lean: true,
            ..setup.clone()
        };
        let target = Target::with(setup);
        let options = HostOptions {
            header_digest: true,
            data_digest: true,
            ..HostOptions::named(999)
        };
        let mut healthy = Host::connect(target.io(), &target.nqn(), &options)?;
        let data: Vec<u8> = (0..=250).cycle().take(300_032).collect();
        assert!(healthy.io[0].write(64, data.clone())?.is_success());
        // One host comes and goes before the count, so that what is made once is there.
        drop(Host::connect(
            target.io(),
            &target.nqn(),
            &HostOptions::default(),
        )?);
        thread::sleep(Duration::from_millis(50));
        let before = target.usage();
        Ok(Self {
            target,
            healthy,
            data,
            before,
        })
    }

    pub(crate) fn io(&self) -> SocketAddr {
        self.target.io()
    }

    /// The healthy host's data is still what it was, and new hosts are served.
    pub(crate) fn is_well(&mut self) -> Result {
        let length = self.data.len();
        let read = self.healthy.io[0]
            .read(64, length)?
            .expect("a healthy host is served");
        assert!(read == self.data, "a healthy host's data has changed");
        assert!(self.healthy.keep_alive()?.status.is_success());
        let mut new = Host::connect(self.io(), &self.target.nqn(), &HostOptions::default())?;
        assert!(new.io[0].read(64, 512)?.expect("a new host is served") == self.data[..512]);
        Ok(())
    }

    /// What the program holds now, it may hold at the end, but for descriptors and threads.
    pub(crate) fn is_usual(&mut self) -> Result {
        self.is_well()?;
        if let (Some(before), Some(now)) = (&mut self.before, self.target.usage()) {
            before.resident = now.resident;
        }
        Ok(())
    }

    /// Beside the attack, the program holds at most so many KiB more than before.
    pub(crate) fn holds_at_most(&self, more: u64) {
        if let (Some(before), Some(now)) = (self.before, self.target.usage()) {
            assert!(
                now.resident <= before.resident + more,
                "from {before:?} to {now:?}"
            );
        }
    }

    /// All is well, and what the attack made the program hold is given back.
    pub(crate) fn ends_well(mut self) -> Result {
        self.is_well()?;
        assert!(self.target.is_running());
        let Some(before) = self.before else {
            eprintln!("SKIPPED: this system has no /proc to count descriptors and memory in");
            return Ok(());
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.target.usage().expect("the target runs");
            let back = now.descriptors == before.descriptors
                && now.threads == before.threads
                && now.resident <= before.resident + SLACK;
            if back {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "from {before:?} to {now:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What an admin queue of a stranger is asked for with.
    pub(crate) fn admin(&self) -> Wishes {
        HostOptions::named(1).admin(&self.target.nqn())
    }

    /// A host with an enabled controller and no I/O queue yet, and how to ask for its first.
    pub(crate) fn without_queue(&self, number: u32) -> Result<(Host, Wishes)> {
        let options = HostOptions {
            io_queues: 0,
            ..HostOptions::named(number)
        };
        let mut host = Host::connect(self.io(), &self.target.nqn(), &options)?;
        host.set_queues(4)?;
        let cntlid = host.admin.cntlid();
        let wishes = options.io(&self.target.nqn(), cntlid, 1, 16_384);
        Ok((host, wishes))
    }
}

/// Property Set of CC, the controller's configuration.
pub(crate) fn configure(cc: u32) -> Sqe {
    let mut sqe = Sqe::fabrics(fabrics::PROPERTY_SET, 0);
    sqe.cdw11 = property::CC.into();
    sqe.cdw12 = cc.into();
    sqe
}

/// The stream of a good host up to its Connect.
pub(crate) fn good_start(connect: &Connect) -> Vec<u8> {
    let (sqe, data) = connect.to_wire(0);
    let mut bytes = IcReq::new(0, 0, false, false).as_bytes().to_vec();
    Framing::INITIAL.capsule_cmd(&mut bytes, sqe, 1024);
    bytes.extend_from_slice(data.as_bytes());
    bytes
}

pub(crate) const FIELD: u16 = Fes::InvalidHeaderField as u16;
pub(crate) const SEQUENCE: u16 = Fes::SequenceError as u16;
pub(crate) const RANGE: u16 = Fes::DataOutOfRange as u16;
pub(crate) const LIMIT: u16 = Fes::LimitExceeded as u16;
pub(crate) const DIGEST: u16 = Fes::HeaderDigestError as u16;

/// A connection with a write of `length` bytes whose R2T has come, and the tags of its data.
pub(crate) fn solicited(scene: &Scene, length: u32) -> Result<(Raw, (u16, u16), Host)> {
    let (host, wishes) = scene.without_queue(9)?;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let mut write = nvm_sqe(nvm::WRITE, 64, length as usize);
    write.cid = 77.into();
    write.sgl = SglDescriptor::transport(length);
    raw.send(&raw.capsule(write, &[]))?;
    let (tags, offset, asked) = raw.r2t()?;
    assert_eq!((tags.0, offset, asked), (77, 0, length));
    Ok((raw, tags, host))
}
