//! A host: one controller after the other, each of which ends in one of the ways that there are.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::admin;
use nvmf_proto::sqe::Sqe;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Qpair};
use socket2::SockRef;

use crate::files::{FILE, GUESTS, MEMORY};
use crate::tally::Tally;
use crate::work::Work;

/// The end of an association whose host lost a queue: the daemon waits three seconds, for a reset.
const END_AFTER_A_LOSS: Duration = Duration::from_secs(15);

/// A namespace attribute notice.
const NAMESPACES_CHANGED: u64 = 0x0004_0002;

/// A host.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) number: u32,
    pub(crate) queues: Vec<Work>,
    pub(crate) chance: Rng,
}

/// How a controller ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Everything is answered, then the controller shut down or reset.
    InOrder,
    /// Connections are closed under commands: FIN, or RST if there is something unread.
    Left,
    /// RST.
    Reset,
    /// In the midst of a capsule.
    Cut,
    /// A queue ends, and the daemon the others.
    AQueue,
}

impl Tenant {
    /// Lives until time is up.
    pub(crate) fn live(&mut self, address: SocketAddr, subnqn: &Nqn, tally: &Tally) {
        while !tally.is_over() {
            if let Err(why) = self.life(address, subnqn, tally) {
                tally.fault(format!("host {}: {why}", self.number));
            }
            let pause = self.chance.u64(..300);
            thread::sleep(Duration::from_millis(pause));
        }
    }

    /// Connects once, does this with every queue, and shuts the controller down.
    pub(crate) fn once(
        &mut self,
        address: SocketAddr,
        subnqn: &Nqn,
        task: impl Fn(&mut Work, &mut Qpair) -> Result<(), PeerError> + Sync,
    ) -> Result<(), PeerError> {
        let options = self.options();
        let mut host = Host::connect(address, subnqn, &options)?;
        let mut io = std::mem::take(&mut host.io);
        for (work, queue) in self.queues.iter_mut().zip(&mut io) {
            task(work, queue)?;
        }
        host.shut_down()
    }

    fn options(&mut self) -> HostOptions {
        let queues = u16::try_from(self.queues.len()).expect("a few queues");
        HostOptions {
            header_digest: self.chance.bool(),
            data_digest: self.chance.bool(),
            hpda: self.chance.u8(0..4),
            sq_flow_control: self.chance.bool(),
            kato: Duration::from_secs(if self.chance.bool() { 60 } else { 0 }),
            io_queues: queues,
            io_entries: self.chance.u32(4..=128),
            ..HostOptions::named(self.number)
        }
    }

    fn life(&mut self, address: SocketAddr, subnqn: &Nqn, tally: &Tally) -> Result<(), String> {
        let options = self.options();
        let mut host = Host::connect(address, subnqn, &options)
            .map_err(|why| format!("it cannot connect ({options:?}): {why}"))?;
        let io = std::mem::take(&mut host.io);
        if self.chance.u8(..4) == 0 {
            // So that data waits here and is cut, too.
            for queue in &io {
                let _ = SockRef::from(queue).set_send_buffer_size(4096);
            }
        }
        let ending = match self.chance.u8(..10) {
            0..4 => Ending::InOrder,
            4..6 => Ending::Left,
            6..8 => Ending::Reset,
            8 => Ending::Cut,
            _ => Ending::AQueue,
        };
        tally.counts.lives.one();
        let until = Instant::now() + Duration::from_millis(self.chance.u64(100..8000));
        // From when on the daemon may end connections.
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers = self.queues.iter_mut().zip(io).enumerate();
            let workers: Vec<_> = workers
                .map(|(index, (work, queue))| {
                    let ends = &ends;
                    scope.spawn(move || one_queue(work, queue, (ending, index), until, ends, tally))
                })
                .collect();
            let watched = watch(&mut host, until, &ends, ending, tally);
            let mut queues = Vec::new();
            for worker in workers {
                let ended = worker.join().map_err(|_| "a thread failed".to_owned())?;
                queues.extend(ended.map_err(|why| format!("{ending:?}: {why}"))?);
            }
            watched.map_err(|why| format!("its admin queue, {ending:?}: {why}"))?;
            let ended = match ending {
                Ending::InOrder if self.chance.bool() => host.shut_down(),
                Ending::InOrder => host.disable(),
                Ending::Reset => {
                    let linger = SockRef::from(&host.admin).set_linger(Some(Duration::ZERO));
                    linger.map_err(PeerError::from)
                }
                Ending::Left | Ending::Cut | Ending::AQueue => Ok(()),
            };
            ended.map_err(|why| format!("its end, {ending:?}: {why}"))
        })?;
        let counts = &tally.counts;
        match ending {
            Ending::InOrder => counts.orderly.one(),
            Ending::Left => counts.left.one(),
            Ending::Reset => counts.reset.one(),
            Ending::Cut => counts.cut.one(),
            Ending::AQueue => counts.lost_a_queue.one(),
        }
        Ok(())
    }
}

/// What an I/O queue does until its controller ends; the queue, if it is there to be closed in order.
fn one_queue(
    work: &mut Work,
    mut queue: Qpair,
    (ending, index): (Ending, usize),
    until: Instant,
    ends: &AtomicBool,
    tally: &Tally,
) -> Result<Option<Qpair>, String> {
    let last = match (ending, index) {
        (Ending::AQueue, 1..) => until + END_AFTER_A_LOSS,
        (Ending::InOrder | Ending::Left | Ending::Reset | Ending::Cut | Ending::AQueue, _) => until,
    };
    let done = work
        .go_on(&mut queue, last, tally)
        .and_then(|()| match ending {
            Ending::InOrder => work.finish(&mut queue, tally),
            Ending::Cut => work.begin_and_break_off(&mut queue),
            // Or there would seldom be anything to lose.
            Ending::Left | Ending::Reset | Ending::AQueue => work.begin_some(&mut queue).map(drop),
        });
    let was_ended = match done {
        Ok(()) => false,
        Err(why) if is_end(&why) && ends.load(Ordering::SeqCst) => true,
        Err(why) => {
            work.lose(tally);
            return Err(format!("queue {}: {why}", index + 1));
        }
    };
    if ending == Ending::InOrder && !was_ended {
        return Ok(Some(queue));
    }
    if ending == Ending::AQueue && index > 0 && !was_ended && !tally.is_over() {
        work.lose(tally);
        return Err("the controller has outlived one of its queues".into());
    }
    if ending == Ending::Reset {
        let _ = SockRef::from(&queue).set_linger(Some(Duration::ZERO));
    }
    ends.store(true, Ordering::SeqCst);
    drop(queue);
    work.lose(tally);
    Ok(None)
}

/// Keeps a controller alive, and hears what its admin queue is told.
fn watch(
    host: &mut Host,
    until: Instant,
    ends: &AtomicBool,
    ending: Ending,
    tally: &Tally,
) -> Result<(), PeerError> {
    let watched = watch_until(host, until, ends, tally);
    if ending != Ending::InOrder {
        // Whoever is first: the others may see that.
        ends.store(true, Ordering::SeqCst);
    }
    match watched {
        Err(why) if ending == Ending::AQueue && is_end(&why) => Ok(()),
        other => other,
    }
}

fn watch_until(
    host: &mut Host,
    until: Instant,
    ends: &AtomicBool,
    tally: &Tally,
) -> Result<(), PeerError> {
    let mut awaited = await_event(host)?;
    let mut turn = 0;
    while Instant::now() < until && !tally.is_over() && !ends.load(Ordering::SeqCst) {
        let tick = until.saturating_duration_since(Instant::now()).min(TICK);
        if !host.admin.is_silent_for(tick)? {
            let event = host.admin.await_answer(awaited)?.completion;
            if event.result != NAMESPACES_CHANGED {
                tally.fault(format!("an event that nobody awaits: {event:?}"));
            }
            let changed = numbers(&host.log_page(0x04, 0, 4096)?.unwrap_or_default());
            if changed.iter().any(|nsid| !GUESTS.contains(nsid)) {
                tally.fault(format!("namespaces {changed:?} are said to have changed"));
            }
            tally.counts.events.one();
            awaited = await_event(host)?;
        }
        turn += 1;
        if turn % 10 == 0 {
            host.keep_alive()?;
        }
        if turn % 7 == 0 {
            let active = numbers(&host.identify(0x02, 0)?);
            if ![MEMORY, FILE].iter().all(|nsid| active.contains(nsid)) {
                tally.fault(format!("the only namespaces are {active:?}"));
            }
        }
    }
    Ok(())
}

fn await_event(host: &mut Host) -> Result<u16, PeerError> {
    let request = Sqe::new(admin::ASYNC_EVENT_REQUEST, 0);
    let cid = host.admin.submit(request, Payload::None)?;
    host.admin.send_all()?;
    Ok(cid)
}

/// The first entries of a list of NSIDs, as far as it goes.
fn numbers(list: &[u8]) -> Vec<u32> {
    let (entries, _) = list.as_chunks();
    let all = entries.iter().map(|it| u32::from_le_bytes(*it));
    all.take_while(|&nsid| nsid != 0).collect()
}

/// Whether a connection is at its end, and nothing else is wrong with it.
fn is_end(why: &PeerError) -> bool {
    match why {
        PeerError::Closed => true,
        PeerError::Io(_)
        | PeerError::Timeout
        | PeerError::Violation(_)
        | PeerError::Refused(_)
        | PeerError::Terminated { .. }
        | PeerError::Misuse(_)
        | PeerError::Stopped => false,
    }
}

/// How often an admin queue is looked after.
const TICK: Duration = Duration::from_millis(200);
