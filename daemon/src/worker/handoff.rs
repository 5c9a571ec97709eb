//! Kernel mode: a negotiated connection becomes a queue of FreeBSD's kernel.
//!
//! The kernel trusts what it is handed, so everything it relies on is judged here first (`preflight`
//! for what a Connect says by itself, `gate` for what only the kernel's own list of associations can
//! tell), and the host is answered here exactly where the kernel answers nothing (`answer`).
//!
//! The ioctl can sleep for as long as a host pleases, so a thread of its own makes it, never a reactor.
//! It is one thread: nothing of ours comes between the gate of a queue and its hand-off. Another one
//! sees to those that have waited for it too long (`waiting`).

#![forbid(unsafe_code)]

mod waiting;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nvmf_kmod::request::{Ctl, HandoffError, RefusedFor, Socket, is_listable};
use nvmf_kmod::xml::ListedSession;
use nvmf_proto::connect::{CNTLID_DYNAMIC, CNTLID_MAX, Connect, ConnectReject, MIN_ENTRIES};
use nvmf_proto::handshake::{ConnectRequest, Handoff};
use nvmf_proto::nqn::{NQN_FIELD_SIZE, Nqn};
use nvmf_proto::status::Status;
use tracing::{debug, info, warn};

use super::admission::{Place, Seat};
use super::close::CloseReason;
use super::lines::{Kind, Lines};
use super::message::{Message, ReactorHandle, Refusal, Returned};
use super::route::Route;
use super::served::Served;
use super::snapshot::{MAX_ADMIN_ENTRIES, MAX_IO_ENTRIES};
use super::stats::Stats;
use super::stats::reason::{Asked, Outcome};
use waiting::Waiting;

/// Where the Connect data has the two names, in bytes.
const SUBNQN_AT: usize = 256;
const HOSTNQN_AT: usize = 512;

/// Largest alignment of data that a host may ask for, in bytes: HPDA 31. The kernel keeps eight bits of
/// it and divides by them.
const MAX_ALIGNMENT: u32 = 128;

/// A connection that leaves its reactor for the kernel.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) handoff: Handoff,
    /// Registered with no poll any more.
    pub(super) socket: OwnedFd,
    pub(super) peer: SocketAddr,
    /// The portal that it came by.
    pub(super) portal: u16,
    /// Its place among those in negotiation, which goes on until the kernel has it.
    pub(super) place: Option<Place>,
    /// Its seat among all connections, likewise.
    pub(super) seat: Option<Seat>,
    /// When its negotiation must have ended.
    pub(super) deadline: Instant,
    /// Its reactor, which sends the answer if there is one.
    pub(super) reactor: usize,
}

/// The thread that hands over, and the one that watches the time.
#[derive(Debug)]
pub struct Handoffs {
    desk: Arc<Desk>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads and those who send to it share.
#[derive(Debug)]
struct Desk {
    ctl: Ctl,
    served: Arc<Served>,
    reactors: Arc<[ReactorHandle]>,
    stats: Arc<Stats>,
    lines: Arc<Lines>,
    waiting: Waiting,
    /// Nothing is handed over any more: what we have exported goes.
    stopping: AtomicBool,
    hold: Mutex<Hold>,
    /// Told whenever `hold` or `stopping` changes.
    changed: Condvar,
}

/// Whether what the kernel exports is being changed, during which nothing is handed over.
#[derive(Debug, Default)]
struct Hold {
    held: bool,
    /// A hand-off is under way.
    busy: bool,
}

impl Handoffs {
    /// Starts the threads, which hand over to `ctl` and return what the kernel does not want through
    /// `reactors`.
    ///
    /// # Errors
    /// The system's, when it has no threads left.
    pub(super) fn start(
        ctl: Ctl,
        served: Arc<Served>,
        reactors: Arc<[ReactorHandle]>,
        stats: Arc<Stats>,
        lines: Arc<Lines>,
    ) -> io::Result<Self> {
        let desk = Arc::new(Desk {
            ctl,
            served,
            reactors,
            stats,
            lines,
            waiting: Waiting::default(),
            stopping: AtomicBool::new(false),
            hold: Mutex::default(),
            changed: Condvar::new(),
        });
        type Part = fn(&Desk);
        let parts: [(&str, Part); 2] = [("handoff", Desk::serve), ("handoff late", Desk::watch)];
        let mut threads = Vec::new();
        for (name, run) in parts {
            let shared = Arc::clone(&desk);
            let thread = std::thread::Builder::new().name(name.into());
            // The first must not wait for ever if there is no second.
            let spawned = thread.spawn(move || run(&shared));
            threads.push(spawned.inspect_err(|_| desk.waiting.close())?);
        }
        Ok(Self {
            desk,
            threads: Mutex::new(threads),
        })
    }

    /// Whether another connection from `peer` would have to wait too long, or make others wait.
    pub(super) fn is_full_for(&self, peer: SocketAddr) -> bool {
        self.desk.waiting.is_full_for(peer)
    }

    /// Connections that wait for the thread.
    pub(super) fn waiting(&self) -> usize {
        self.desk.waiting.count()
    }

    /// Lets a connection go. If nobody can take it, its host is told to come back.
    pub(super) fn submit(&self, departure: Departure) {
        if let Some(departure) = self.desk.waiting.push(departure) {
            self.desk.put_back(departure, ConnectReject::BUSY);
        }
    }

    /// Hands nothing over until [`Self::resume`], and returns when the kernel has ended what it was at.
    /// What comes meanwhile waits, no longer than its negotiation may take.
    pub(super) fn hold(&self) {
        let mut hold = self.desk.lock_hold();
        hold.held = true;
        while hold.busy {
            hold = self
                .desk
                .changed
                .wait(hold)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands over again.
    pub(super) fn resume(&self) {
        self.desk.lock_hold().held = false;
        self.desk.changed.notify_all();
    }

    /// Hands nothing over any more, and returns when the kernel has ended what it was at.
    pub(super) fn stop(&self) {
        {
            let _hold = self.desk.lock_hold();
            self.desk.stopping.store(true, Ordering::SeqCst);
        }
        self.desk.changed.notify_all();
        self.desk.waiting.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Desk {
    /// Answers those that have waited too long, whatever the kernel is at.
    fn watch(&self) {
        while let Some(late) = self.waiting.late() {
            for departure in late {
                self.give_up(departure);
            }
        }
    }

    fn serve(&self) {
        while let Some(departure) = self.waiting.next() {
            let _under_way = self.await_turn(departure.deadline);
            if departure.is_evicted() || departure.deadline <= Instant::now() {
                self.give_up(departure);
            } else if let Err(reject) = self.judge_again(&departure) {
                self.put_back(departure, reject);
            } else {
                self.hand_over(departure);
            }
        }
    }

    /// A connection that cannot wait any longer.
    fn give_up(&self, departure: Departure) {
        // Somebody else was given its place: its peer has too many, or is too slow.
        if departure.is_evicted() {
            let reason = CloseReason::Evicted;
            self.stats.refusals.count(reason.into());
            let place = departure.place.as_ref();
            self.stats.negotiated(Outcome::Evicted, place);
            if self.lines.admit(Kind::Closed, Instant::now()) {
                debug!(peer = %departure.peer, %reason, "closed");
            }
            return;
        }
        if self.lines.admit(Kind::NotTaken, Instant::now()) {
            warn!(
                peer = %departure.peer,
                "the kernel takes queues too slowly, or is being changed; this one has waited too long"
            );
        }
        self.put_back(departure, ConnectReject::BUSY);
    }

    /// Waits while nothing may be handed over, until `deadline` at most. Until the result is dropped,
    /// whoever wants to hold waits for it.
    fn await_turn(&self, deadline: Instant) -> UnderWay<'_> {
        let mut hold = self.lock_hold();
        while hold.held && !self.stopping.load(Ordering::SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // It is told so, and not handed over.
                return UnderWay(None);
            }
            let waited = self.changed.wait_timeout(hold, left);
            (hold, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        hold.busy = true;
        UnderWay(Some(self))
    }

    fn lock_hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is served may have changed while it waited.
    fn judge_again(&self, departure: &Departure) -> Result<(), ConnectReject> {
        let connect = &departure.handoff.connect;
        match self.served.judge(departure.portal, connect).0 {
            Route::Kernel(_) => Ok(()),
            Route::Reject(reject) => Err(reject),
            // It is ours now: when the host comes again.
            Route::Discovery | Route::Userspace(_) => Err(ConnectReject::BUSY),
        }
    }

    fn hand_over(&self, mut departure: Departure) {
        let connect = &departure.handoff.connect;
        if let Err(reject) = gate(&self.ctl, connect, &self.lines) {
            return self.put_back(departure, reject);
        }
        // Looked at after the gate: from here to the end of the ioctl nothing of ours may end a
        // controller, and whoever stops us waits for that.
        if self.stopping.load(Ordering::SeqCst) {
            return self.put_back(departure, ConnectReject::BUSY);
        }
        let peer = departure.peer;
        let began = Instant::now();
        let result = self.ctl.hand_off(&departure.handoff, &mut departure.socket);
        let answered = result
            .as_ref()
            .map_or_else(|it| it.refused_for.into(), |()| Asked::Taken);
        self.stats.handed(answered, began.elapsed());
        match result {
            Ok(()) => {
                let place = departure.place.as_ref();
                self.stats.negotiated(Outcome::HandedOver, place);
                if self.lines.admit(Kind::HandedOver, Instant::now()) {
                    info!(
                        %peer,
                        host = %connect.hostnqn,
                        subsystem = %connect.subnqn,
                        qid = connect.qid,
                        entries = connect.entries,
                        "handed over"
                    );
                }
            }
            Err(failed) => {
                if self.lines.admit(Kind::NotTaken, Instant::now()) {
                    warn!(
                        %peer,
                        host = %connect.hostnqn,
                        reason = %failed,
                        "the kernel does not take the queue"
                    );
                }
                // In every other case the kernel has the connection, and our descriptor is only to be
                // closed.
                match answer(&failed) {
                    Some(reject) => self.put_back(departure, reject),
                    None => {
                        let place = departure.place.as_ref();
                        self.stats.negotiated(Outcome::Refused, place);
                    }
                }
            }
        }
    }

    /// Has its reactor tell the host why not.
    fn put_back(&self, departure: Departure, reject: ConnectReject) {
        let Some(reactor) = self.reactors.get(departure.reactor) else {
            return;
        };
        self.stats
            .negotiated(Outcome::Refused, departure.place.as_ref());
        reactor.add_load();
        reactor.send(Message::Returned(Box::new(Returned {
            stream: departure.socket.into(),
            peer: departure.peer,
            portal: departure.portal,
            place: departure.place,
            seat: departure.seat,
            refusal: Refusal {
                connect: departure.handoff.connect.clone(),
                reject,
                outbox: ConnectRequest::resume(departure.handoff).reject(reject),
            },
        })));
    }
}

impl Departure {
    fn is_evicted(&self) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| !place.is_held())
    }
}

/// A hand-off that is under way, until it is dropped.
struct UnderWay<'a>(Option<&'a Desk>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(desk) = self.0 {
            desk.lock_hold().busy = false;
            desk.changed.notify_all();
        }
    }
}

/// Judges what the kernel takes on trust, and cleans what it compares in full.
///
/// # Errors
/// The host's answer.
pub(super) fn preflight(handoff: &mut Handoff) -> Result<(), ConnectReject> {
    let connect = &handoff.connect;
    let most = if connect.qid == 0 {
        let dynamic = connect.cntlid == CNTLID_DYNAMIC;
        dynamic.then_some(MAX_ADMIN_ENTRIES)
    } else {
        // Any other is no controller's, and unknown ones make unpatched kernels panic.
        let possible = connect.cntlid <= CNTLID_MAX;
        possible.then_some(MAX_IO_ENTRIES)
    };
    let most = most.ok_or(ConnectReject::CNTLID)?;
    if !(MIN_ENTRIES..=most).contains(&handoff.entries) {
        return Err(ConnectReject::SQSIZE);
    }
    if connect.qid != 0 {
        // KATO, which hosts may send there and which means nothing.
        handoff.sqe.cdw12 = 0.into();
    }
    let framing = &handoff.framing;
    if [framing.send_alignment, framing.receive_alignment]
        .iter()
        .any(|alignment| !(4..=MAX_ALIGNMENT).contains(alignment))
    {
        return Err(ConnectReject::status(Status::INTERNAL_ERROR.dnr()));
    }
    if !is_plain(&connect.subnqn) {
        return Err(ConnectReject::SUBNQN);
    }
    if !is_plain(&connect.hostnqn) {
        return Err(ConnectReject::HOSTNQN);
    }
    for at in [SUBNQN_AT, HOSTNQN_AT] {
        let field = handoff.data.get_mut(at..at + NQN_FIELD_SIZE);
        clean(field.ok_or(ConnectReject::SGL)?);
    }
    Ok(())
}

/// Whether the kernel's list of associations can hold the name: it prints names as they are.
fn is_plain(name: &Nqn) -> bool {
    let printable = name.as_str().bytes().all(|byte| byte.is_ascii_graphic());
    printable && is_listable(name.as_str())
}

/// Zeroes what follows a name's NUL: the kernel compares all 256 bytes.
fn clean(field: &mut [u8]) {
    let end = field.iter().position(|&byte| byte == 0);
    if let Some(rest) = end.and_then(|end| field.get_mut(end..)) {
        rest.fill(0);
    }
}

/// Lets an I/O queue pass whose controller the kernel has: a kernel without the remedy for
/// CVE-2026-4652 panics when it is handed one whose CNTLID it does not know.
fn gate(ctl: &Ctl, connect: &Connect, lines: &Lines) -> Result<(), ConnectReject> {
    if connect.qid == 0 {
        return Ok(());
    }
    match ctl.sessions() {
        Ok(sessions) => among(&sessions.sessions, connect),
        Err(error) => {
            if lines.admit(Kind::NotTaken, Instant::now()) {
                warn!(%error, "I/O queues cannot be handed over");
            }
            Err(ConnectReject::status(Status::INTERNAL_ERROR))
        }
    }
}

/// CNTLIDs are a port's own, so the subsystem counts too.
fn among(sessions: &[ListedSession], connect: &Connect) -> Result<(), ConnectReject> {
    let same =
        |it: &&ListedSession| it.cntlid == connect.cntlid && it.subnqn == connect.subnqn.as_str();
    match sessions.iter().find(same) {
        None => Err(ConnectReject::CNTLID),
        Some(it) if it.hostnqn != connect.hostnqn.as_str() => Err(ConnectReject::HOSTNQN),
        Some(_) => Ok(()),
    }
}

/// What the host is answered after a hand-off that failed; nothing where the kernel has answered, or
/// closed. The table of who answers what: FreeBSD's `nvmft_handoff` tells nobody anything before it
/// takes the connection over, and everything after.
fn answer(failed: &HandoffError) -> Option<ConnectReject> {
    match (failed.socket, failed.refused_for) {
        (Socket::Taken, _) => None,
        (Socket::Ours, RefusedFor::Subsystem) => Some(ConnectReject::SUBNQN),
        // It is being changed, and comes back.
        (Socket::Ours, RefusedFor::Offline) => Some(ConnectReject::BUSY),
        (Socket::Ours, RefusedFor::Parameters) => Some(ConnectReject::SQSIZE),
        (Socket::Ours, RefusedFor::Other(_)) => Some(ConnectReject::status(Status::INTERNAL_ERROR)),
    }
}

#[cfg(test)]
mod tests;
