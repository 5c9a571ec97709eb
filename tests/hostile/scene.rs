//! A target with a healthy host on it, for attacks, in userspace mode or in kernel mode.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::connect::Connect;
use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::opcode::{fabrics, nvm};
use nvmf_proto::pdu::{Fes, Framing, IcReq};
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, Raw, nvm_sqe, property};
use nvmfd_tests::target::{Setup, Target};
use nvmfd_tests::usage::Usage;
use zerocopy::IntoBytes;

/// How tests and attacks end.
pub(crate) type Result<T = ()> = std::result::Result<T, PeerError>;

/// Memory that may come and go without being a leak, in KiB: buffers that allocators keep.
pub(crate) const SLACK: u64 = 12 * 1024;

/// Who executes the commands of the hosts that a target has let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The program itself.
    Userspace,
    /// FreeBSD's kernel, played: it has no remedy for CVE-2026-4652 and panics where a real one would.
    Kernel,
}

/// What a target holds for its peers.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Of its worker; `None` where there is no /proc to count in.
    usage: Option<Usage>,
    /// Controllers, the kernel's too.
    controllers: u64,
    /// Connections that are no queue yet.
    negotiating: u64,
}

/// The target of an attack, with a healthy host on it.
pub(crate) struct Scene {
    /// The program.
    pub(crate) target: Target,
    /// A host that does nothing wrong.
    pub(crate) healthy: Host,
    /// What it has written at block 64.
    pub(crate) data: Vec<u8>,
    before: Held,
    /// In kernel mode, and if nobody else has it. It ends after the target.
    kernel: Option<Kernel>,
}

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        Self::with(&Setup::default())
    }

    /// A target in this mode, with a kernel of its own if it needs one.
    pub(crate) fn in_mode(mode: Mode, setup: &Setup) -> Result<Self> {
        match mode {
            Mode::Userspace => Self::with(setup),
            Mode::Kernel => Self::on(Kernel::start(), setup),
        }
    }

    /// A target in kernel mode on this kernel.
    pub(crate) fn on(kernel: Kernel, setup: &Setup) -> Result<Self> {
        let socket = Some(kernel.socket().to_owned());
        let mut scene = Self::with(&Setup {
            kernel: socket,
            ..setup.clone()
        })?;
        scene.kernel = Some(kernel);
        Ok(scene)
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
        let deadline = Instant::now() + PATIENCE;
        let before = loop {
            let held = Held::by(&target);
            if (held.controllers, held.negotiating) == (1, 0) {
                break held;
            }
            assert!(Instant::now() < deadline, "a host does not go: {held:?}");
            thread::sleep(PAUSE);
        };
        let mut scene = Self {
            target,
            healthy,
            data,
            before,
            kernel: None,
        };
        scene.is_steady();
        Ok(scene)
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.kernel {
            None => Mode::Userspace,
            Some(_) => Mode::Kernel,
        }
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
        assert!(self.healthy.io[0].write(64, read)?.is_success());
        assert!(self.healthy.keep_alive()?.status.is_success());
        let mut new = Host::connect(self.io(), &self.target.nqn(), &HostOptions::default())?;
        assert!(new.io[0].read(64, 512)?.expect("a new host is served") == self.data[..512]);
        Ok(())
    }

    /// What the program holds now, it may hold at the end, but for descriptors and threads.
    pub(crate) fn is_usual(&mut self) -> Result {
        self.is_well()?;
        if let (Some(before), Some(now)) = (&mut self.before.usage, self.target.usage()) {
            before.resident = now.resident;
        }
        Ok(())
    }

    /// Beside the attack, the program holds at most so many KiB more than before.
    pub(crate) fn holds_at_most(&self, more: u64) {
        if let (Some(before), Some(now)) = (self.before.usage, self.target.usage()) {
            assert!(
                now.resident <= before.resident + more,
                "from {before:?} to {now:?}"
            );
        }
    }

    /// All is well, and what the attack made the program hold is given back.
    pub(crate) fn ends_well(mut self) -> Result {
        self.is_as_before()
    }

    /// All is well, and what the attack made the program hold is given back: the next may begin.
    pub(crate) fn is_as_before(&mut self) -> Result {
        self.is_well()?;
        assert!(self.target.is_running());
        if let Some(kernel) = &self.kernel {
            kernel.is_well();
        }
        if self.before.usage.is_none() {
            eprintln!("SKIPPED: this system has no /proc to count descriptors and memory in");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Held::by(&self.target);
            if now.is_no_more_than(&self.before) {
                return Ok(());
            }
            let before = self.before;
            assert!(Instant::now() < deadline, "from {before:?} to {now:?}");
            thread::sleep(PAUSE);
        }
    }

    /// What it holds now is where the next attack begins.
    pub(crate) fn begins_again(&mut self) {
        self.before = Held::by(&self.target);
        self.is_steady();
    }

    /// Waits until descriptors are no longer given back: a host that has gone has gone altogether.
    fn is_steady(&mut self) {
        loop {
            thread::sleep(PAUSE);
            let now = Held::by(&self.target);
            let was = std::mem::replace(&mut self.before, now);
            let counted = |held: &Held| held.usage.map(|it| (it.descriptors, it.threads));
            if counted(&was) == counted(&now) {
                return;
            }
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

impl Held {
    fn by(target: &Target) -> Self {
        let status = operator::status(&target.socket());
        Self {
            usage: status.worker.pid.and_then(Usage::of),
            controllers: status.subsystems.iter().map(|it| it.sessions).sum(),
            negotiating: status.negotiating,
        }
    }

    /// Memory but for what allocators keep.
    fn is_no_more_than(&self, before: &Self) -> bool {
        let usage = match (self.usage, before.usage) {
            (Some(now), Some(before)) => {
                now.descriptors == before.descriptors
                    && now.threads == before.threads
                    && now.resident <= before.resident + SLACK
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        usage && self.controllers == before.controllers && self.negotiating == before.negotiating
    }
}

/// Between two looks at what a target holds.
const PAUSE: Duration = Duration::from_millis(20);

/// Property Set of CC, the controller's configuration.
pub(crate) fn configure(cc: u32) -> Sqe {
    let mut sqe = Sqe::fabrics(fabrics::PROPERTY_SET, 0);
    sqe.cdw11 = property::CC.into();
    sqe.cdw12 = cc.into();
    sqe
}

/// CC of a controller that is enabled, and of one that is not.
pub(crate) const ENABLED: u32 = 6 << 16 | 4 << 20 | 1;
pub(crate) const DISABLED: u32 = ENABLED & !1;

/// The stream of a good host up to its Connect.
pub(crate) fn good_start(connect: &Connect) -> Vec<u8> {
    let (sqe, data) = connect.to_wire(0);
    let mut bytes = IcReq::new(0, 0, false, false).as_bytes().to_vec();
    Framing::INITIAL.capsule_cmd(&mut bytes, sqe, 1024);
    bytes.extend_from_slice(data.as_bytes());
    bytes
}

pub(crate) const FIELD: Fes = Fes::InvalidHeaderField;
pub(crate) const SEQUENCE: Fes = Fes::SequenceError;
pub(crate) const RANGE: Fes = Fes::DataOutOfRange;
pub(crate) const LIMIT: Fes = Fes::LimitExceeded;
pub(crate) const DIGEST: Fes = Fes::HeaderDigestError;

/// A connection with a write of `length` bytes over the healthy host's whose R2T has come, the tags of
/// its data, and its host.
pub(crate) fn solicited(scene: &Scene, length: u32) -> Result<(Raw, (u16, u16), Host)> {
    let (host, wishes) = scene.without_queue(9)?;
    let mut raw = Raw::establish(scene.io(), &wishes)?;
    let tags = solicit(&mut raw, length)?;
    Ok((raw, tags, host))
}

/// The same on a queue that is there.
pub(crate) fn solicit(raw: &mut Raw, length: u32) -> Result<(u16, u16)> {
    let mut write = nvm_sqe(nvm::WRITE, 64, length as usize);
    write.cid = 77.into();
    write.sgl = SglDescriptor::transport(length);
    raw.send(&raw.capsule(write, &[]))?;
    let (tags, offset, asked) = raw.r2t()?;
    assert_eq!((tags.0, offset, asked), (77, 0, length));
    Ok(tags)
}
