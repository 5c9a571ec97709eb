//! A controller of a target, from its admin queue's Connect to its shutdown.
//!
//! [`with`] is how one is used: it is shut down at the end however the work ended, so that the
//! target need not wait for a host that is gone.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::host::{Answer, Payload};
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::{admin, fabrics};
use nvmf_proto::sqe::Sqe;
use serde::Serialize;

use super::error::{HostError, QueueError};
use super::line::{Line, Patience};
use super::options::HostOptions;
use super::page::Page;
use super::qpair::Qpair;
use super::stop::Stop;

/// A controller that is ready.
#[derive(Debug)]
pub struct Controller {
    admin: Arc<Mutex<Qpair>>,
    address: SocketAddr,
    subnqn: Nqn,
    options: HostOptions,
    stop: Stop,
    cap: u64,
    vs: u32,
    /// Ends the thread that keeps it alive, when it goes. Who has none sends its own Keep Alives.
    _keeper: Option<Sender<()>>,
}

/// How a connection was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settled {
    /// Header digests are in use.
    pub header_digest: bool,
    /// Data digests are in use.
    pub data_digest: bool,
    /// SQ flow control is in use.
    pub sq_flow_control: bool,
    /// Bytes that one PDU with data may carry to the target.
    pub maxh2cdata: u32,
}

/// Connects to the first of `addresses` where somebody is, does the work and shuts the controller
/// down.
///
/// # Errors
/// The first thing that went wrong. That the shutdown did is told only.
pub fn with<T>(
    addresses: &[SocketAddr],
    subnqn: &Nqn,
    options: &HostOptions,
    stop: &Stop,
    work: impl FnOnce(&Controller) -> Result<T, HostError>,
) -> Result<T, HostError> {
    let mut controller = Controller::connect(addresses, subnqn, options, stop)?;
    controller._keeper = keep_alive(&controller.admin, options.kato)?;
    let result = controller.enable().and_then(|()| work(&controller));
    let ended = controller.shut_down();
    if let (Ok(_), Err(error)) = (&result, ended) {
        eprintln!("nvmfctl: done, but not shut down: {}", error.report());
    }
    result
}

/// Connects to the first address that answers.
fn open(
    addresses: &[SocketAddr],
    patience: Patience,
    stop: &Stop,
) -> Result<(SocketAddr, Line), HostError> {
    let mut last = HostError::nonsense("it has no address");
    for &address in addresses {
        match Line::open(address, patience, stop) {
            Ok(line) => return Ok((address, line)),
            Err(QueueError::Stopped) => return Err(HostError::Stopped),
            Err(source) => {
                last = HostError::Unreachable {
                    address,
                    source,
                    silence: patience.silence,
                };
            }
        }
    }
    Err(last)
}

impl Controller {
    /// Connects to the first of `addresses` where somebody is. Nobody keeps it alive, enables it or
    /// shuts it down but the caller.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn connect(
        addresses: &[SocketAddr],
        subnqn: &Nqn,
        options: &HostOptions,
        stop: &Stop,
    ) -> Result<Self, HostError> {
        let line = open(addresses, options.patience, stop)?;
        Self::over(line, subnqn, options, stop)
    }

    /// Connects the admin queue and reads the capabilities.
    fn over(
        (address, line): (SocketAddr, Line),
        subnqn: &Nqn,
        options: &HostOptions,
        stop: &Stop,
    ) -> Result<Self, HostError> {
        let failed = |source| ended(admin_queue(subnqn), address, source);
        let admin = Qpair::over(line, options.admin(subnqn)).map_err(failed)?;
        let mut controller = Self {
            admin: Arc::new(Mutex::new(admin)),
            address,
            subnqn: subnqn.clone(),
            options: options.clone(),
            stop: stop.clone(),
            cap: 0,
            vs: 0,
            _keeper: None,
        };
        let registers = |it: &Self| Ok((it.property(property::CAP)?, it.property(property::VS)?));
        match registers(&controller) {
            Ok((cap, vs)) => {
                controller.cap = cap;
                controller.vs = Page(&vs.to_le_bytes()).u32(0);
                Ok(controller)
            }
            Err(error) => {
                // What went wrong before says more than what goes wrong now.
                let _ = controller.shut_down();
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its subsystem, as it was asked for.
    pub fn subnqn(&self) -> &Nqn {
        &self.subnqn
    }

    /// Its version: 31:16 major, 15:8 minor.
    pub fn version(&self) -> u32 {
        self.vs
    }

    /// Its identifier.
    pub fn cntlid(&self) -> u16 {
        self.lock().cntlid()
    }

    /// When we should stop.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Entries of the largest I/O queue.
    pub fn max_entries(&self) -> u32 {
        u32::from(Page(&self.cap.to_le_bytes()).u16(0)) + 1
    }

    /// The smallest memory page, which sizes are counted in.
    pub fn page_size(&self) -> u64 {
        1 << (12 + self.mpsmin())
    }

    /// How the admin queue was settled; the others are alike.
    pub fn settled(&self) -> Settled {
        settled(&mut self.lock())
    }

    /// Identify (Base 2.0 §5.17): 4096 bytes.
    ///
    /// # Errors
    /// The queue's, or the target's refusal.
    pub fn identify(&self, cns: u8, nsid: u32) -> Result<Vec<u8>, HostError> {
        let mut sqe = Sqe::new(admin::IDENTIFY, 0);
        sqe.nsid = nsid.into();
        sqe.cdw10 = u32::from(cns).into();
        self.receive(sqe, 4096, || {
            format!("Identify {cns:02x}h of namespace {nsid:#x}")
        })
    }

    /// `length` bytes, a multiple of four, of a log page from `offset` (Base 2.0 §5.16).
    ///
    /// # Errors
    /// The queue's, or the target's refusal.
    pub fn log_page(&self, lid: u8, offset: u64, length: u32) -> Result<Vec<u8>, HostError> {
        let numd = (length / 4).saturating_sub(1);
        let mut sqe = Sqe::new(admin::GET_LOG_PAGE, 0);
        sqe.cdw10 = (u32::from(lid) | (numd & 0xffff) << 16).into();
        sqe.cdw11 = (numd >> 16).into();
        let lpo = offset.to_le_bytes();
        sqe.cdw12 = Page(&lpo).u32(0).into();
        sqe.cdw13 = Page(&lpo).u32(4).into();
        self.receive(sqe, length, || format!("log page {lid:02x}h from {offset}"))
    }

    /// Asks for `count` I/O queues (feature 07h); how many there may be.
    ///
    /// # Errors
    /// The queue's, or the target's refusal.
    pub fn request_queues(&self, count: u16) -> Result<u16, HostError> {
        let wanted = u32::from(count.saturating_sub(1));
        let mut sqe = Sqe::new(admin::SET_FEATURES, 0);
        sqe.cdw10 = FEATURE_QUEUES.into();
        sqe.cdw11 = (wanted | wanted << 16).into();
        let what = || format!("{count} I/O queues");
        let result = self.run(sqe, Payload::None, what)?.completion.result;
        let granted = Page(&result.to_le_bytes()).u32(0).to_le_bytes();
        let (submission, completion) = (Page(&granted).u16(0), Page(&granted).u16(2));
        Ok(submission.min(completion).saturating_add(1).min(count))
    }

    /// Connects I/O queue `qid` of at most `entries`, whose capsules carry `in_capsule` bytes.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn io_queue(&self, qid: u16, entries: u32, in_capsule: u32) -> Result<Qpair, HostError> {
        let mut wishes: Wishes = self.options.admin(&self.subnqn);
        wishes.in_capsule = in_capsule;
        wishes.connect.qid = qid;
        wishes.connect.entries = entries.min(self.max_entries()).max(2);
        wishes.connect.kato = Duration::ZERO;
        wishes.connect.cntlid = self.cntlid();
        let patience = self.options.patience;
        Qpair::connect(self.address, wishes, patience, &self.stop)
            .map_err(|source| self.io_ended(qid, source))
    }

    /// What the end of I/O queue `qid` is.
    pub fn io_ended(&self, qid: u16, source: QueueError) -> HostError {
        ended(format!("I/O queue {qid}"), self.address, source)
    }

    /// Our address on the admin queue's connection.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> Result<SocketAddr, HostError> {
        let address = self.lock().local_addr();
        address.map_err(|source| HostError::System {
            what: "name our end of a connection",
            source,
        })
    }

    /// Sends a command with data.
    ///
    /// # Errors
    /// The queue's, or the target's refusal, which `what` is the object of.
    pub fn send(
        &self,
        sqe: Sqe,
        data: Arc<Vec<u8>>,
        what: impl FnOnce() -> String,
    ) -> Result<(), HostError> {
        self.run(sqe, Payload::FromHost(data), what).map(drop)
    }

    /// Sends a Keep Alive and waits for its answer.
    ///
    /// # Errors
    /// The queue's, or the target's refusal.
    pub fn keep_alive(&self) -> Result<(), HostError> {
        let sqe = Sqe::new(admin::KEEP_ALIVE, 0);
        self.run(sqe, Payload::None, || "to be kept alive".into())
            .map(drop)
    }

    /// Waits so long, or until `stop` is wished, which is [`HostError::Stopped`]; false if the target
    /// says something unasked. What is done afterwards hears of no wish.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn rest(&self, time: Duration, stop: &Stop) -> Result<bool, HostError> {
        let mut admin = self.lock();
        admin.heed(stop);
        let silent = admin.is_silent_for(time);
        admin.heed(&Stop::never());
        silent.map_err(|error| ended(admin_queue(&self.subnqn), self.address, error))
    }

    /// Makes it ready (Base 2.0 §3.5.1).
    ///
    /// # Errors
    /// The queue's, the target's refusal, or that it took too long.
    pub fn enable(&self) -> Result<(), HostError> {
        self.set_property(property::CC, self.configuration())?;
        let deadline = Instant::now() + self.options.patience.silence;
        self.await_status(CSTS_CFS | CSTS_RDY, CSTS_RDY, deadline, "become ready")
    }

    /// CC of the controller when it is enabled, with the command sets that it has.
    fn configuration(&self) -> u32 {
        let has = |bit: u32| self.cap >> bit & 1 == 1;
        let css = match (has(37), has(43), has(44)) {
            (true, ..) | (_, false, false) => 0b000,
            (_, true, _) => 0b110,
            (_, _, true) => 0b111,
        };
        CC_ENTRY_SIZES | self.mpsmin() << 7 | css << 4 | CC_EN
    }

    fn mpsmin(&self) -> u32 {
        Page(&self.cap.to_le_bytes()).u32(4) >> 16 & 0xf
    }

    /// Asks it to shut down, and waits a little until it has.
    ///
    /// # Errors
    /// The queue's, the target's refusal, or that it took too long.
    pub fn shut_down(self) -> Result<(), HostError> {
        let silence = self.options.patience.silence.min(LAST_WAIT);
        {
            let mut admin = self.lock();
            if admin.queue().is_dead() {
                return Ok(());
            }
            let answer = silence;
            admin.last_wait(Patience { silence, answer });
        }
        let cc = self.configuration() | CC_SHN_NORMAL;
        self.set_property(property::CC, cc)?;
        let deadline = Instant::now() + silence;
        self.await_status(CSTS_SHST, CSTS_SHST_COMPLETE, deadline, "shut down")
    }

    /// Polls CSTS until the bits `mask` are `value`.
    fn await_status(
        &self,
        mask: u64,
        value: u64,
        deadline: Instant,
        what: &str,
    ) -> Result<(), HostError> {
        loop {
            let csts = self.property(property::CSTS)?;
            if csts & mask == value {
                return Ok(());
            }
            if csts & CSTS_CFS != 0 {
                return Err(HostError::nonsense(
                    "the controller reports a fatal status (CSTS.CFS)",
                ));
            }
            if Instant::now() > deadline {
                let what = format!("the controller does not {what} in time, CSTS {csts:#x}");
                return Err(HostError::nonsense(what));
            }
            thread::sleep(POLL);
        }
    }

    fn property(&self, offset: u32) -> Result<u64, HostError> {
        let mut sqe = Sqe::fabrics(fabrics::PROPERTY_GET, 0);
        sqe.cdw10 = u32::from(offset == property::CAP).into();
        sqe.cdw11 = offset.into();
        let what = || format!("to tell property {offset:#x}");
        Ok(self.run(sqe, Payload::None, what)?.completion.result)
    }

    fn set_property(&self, offset: u32, value: u32) -> Result<(), HostError> {
        let mut sqe = Sqe::fabrics(fabrics::PROPERTY_SET, 0);
        sqe.cdw11 = offset.into();
        sqe.cdw12 = value.into();
        let what = || format!("property {offset:#x} of {value:#x}");
        self.run(sqe, Payload::None, what).map(|_| ())
    }

    fn receive(
        &self,
        sqe: Sqe,
        length: u32,
        what: impl FnOnce() -> String,
    ) -> Result<Vec<u8>, HostError> {
        let into = Vec::new();
        Ok(self.run(sqe, Payload::ToHost { length, into }, what)?.data)
    }

    fn run(
        &self,
        sqe: Sqe,
        payload: Payload,
        what: impl FnOnce() -> String,
    ) -> Result<Answer, HostError> {
        let answer = self.lock().run(sqe, payload);
        let answer =
            answer.map_err(|error| ended(admin_queue(&self.subnqn), self.address, error))?;
        let status = answer.completion.status;
        if status.is_success() {
            return Ok(answer);
        }
        let what = what();
        Err(HostError::Command { what, status })
    }

    fn lock(&self) -> MutexGuard<'_, Qpair> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a queue was settled.
fn settled(queue: &mut Qpair) -> Settled {
    let icresp = queue.icresp();
    Settled {
        header_digest: icresp.header_digest(),
        data_digest: icresp.data_digest(),
        maxh2cdata: icresp.maxh2cdata.get(),
        sq_flow_control: queue.queue().parameters().sq_flow_control,
    }
}

fn admin_queue(subnqn: &Nqn) -> String {
    format!("admin queue of {subnqn}")
}

fn ended(what: String, address: SocketAddr, source: QueueError) -> HostError {
    if matches!(source, QueueError::Stopped) {
        return HostError::Stopped;
    }
    HostError::Queue {
        what,
        address,
        source: Box::new(source),
        hint: None,
    }
}

/// Sends a Keep Alive twice in each `kato` until the sender is dropped.
fn keep_alive(admin: &Arc<Mutex<Qpair>>, kato: Duration) -> Result<Option<Sender<()>>, HostError> {
    if kato.is_zero() {
        return Ok(None);
    }
    let (admin, (keeper, quit)) = (Arc::clone(admin), channel());
    let keep = move || keep(&admin, kato / 2, &quit);
    let thread = thread::Builder::new().name("keep-alive".into());
    thread.spawn(keep).map_err(|source| HostError::System {
        what: "start a thread",
        source,
    })?;
    Ok(Some(keeper))
}

fn keep(admin: &Mutex<Qpair>, every: Duration, quit: &Receiver<()>) {
    while quit.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let mut admin = admin.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever needs the queue next is told why it ended.
        if admin.command(Sqe::new(admin::KEEP_ALIVE, 0)).is_err() {
            return;
        }
    }
}

/// Offsets of properties (Base 2.0 §3.1.3).
mod property {
    pub(super) const CAP: u32 = 0x00;
    pub(super) const VS: u32 = 0x08;
    pub(super) const CC: u32 = 0x14;
    pub(super) const CSTS: u32 = 0x1c;
}

const CC_EN: u32 = 1;
const CC_SHN_NORMAL: u32 = 0b01 << 14;
/// Entries of 64 and 16 bytes, as powers of two.
const CC_ENTRY_SIZES: u32 = 6 << 16 | 4 << 20;
const CSTS_RDY: u64 = 1;
const CSTS_CFS: u64 = 1 << 1;
const CSTS_SHST: u64 = 0b11 << 2;
const CSTS_SHST_COMPLETE: u64 = 0b10 << 2;

/// Number of Queues.
const FEATURE_QUEUES: u32 = 0x07;

/// Between two looks at a controller's status.
const POLL: Duration = Duration::from_millis(5);

/// What a controller may take to shut down before we leave all the same.
const LAST_WAIT: Duration = Duration::from_secs(3);
