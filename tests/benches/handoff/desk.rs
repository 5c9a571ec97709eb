//! What stands for nvmft behind the fake kernel's ioctl: it notes when each queue came, says yes and
//! lets the connection go.
//!
//! It does as little as possible, because it shares a core with the clients: the fake's own
//! bookkeeper starts a thread for every controller and looks for a free CNTLID among all. How many
//! controllers its list shows is what the benchmark says; the last one is the clients'.

use std::io::Write;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{LunView, Plane, PortView, Session, TakenQueue};
use nvmfd_tests::peer::HostOptions;

/// Clients at once at the most.
pub(crate) const CLIENTS: usize = 64;

/// The books of one port.
#[derive(Debug)]
pub(crate) struct Desk {
    began: Instant,
    port: AtomicU32,
    listed: Mutex<Vec<Session>>,
    /// When the last queue of each client came, in nanoseconds since the beginning; 0: not yet.
    came: [AtomicU64; CLIENTS],
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            port: AtomicU32::default(),
            listed: Mutex::default(),
            came: [const { AtomicU64::new(0) }; CLIENTS],
        }
    }

    /// Shows this many controllers from now on.
    pub(crate) fn list(&self, count: u16) {
        let port = self.port.load(Ordering::Relaxed);
        *self.listed() = (0..count)
            .map(|cntlid| Session {
                port,
                cntlid,
                hostnqn: HostOptions::named(cntlid.into()).hostnqn.to_string(),
            })
            .collect();
    }

    /// How long after `since` the last queue of a client came, once for each.
    pub(crate) fn came(&self, client: usize, since: Instant) -> Option<Duration> {
        let came = self.came[client].swap(0, Ordering::Acquire);
        let came = self.began + Duration::from_nanos(came);
        came.checked_duration_since(since)
    }

    fn listed(&self) -> MutexGuard<'_, Vec<Session>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plane for Desk {
    fn online(&self, port: PortView) {
        self.port.store(port.id, Ordering::Relaxed);
    }

    fn offline(&self, _: u32) {}

    fn mapped(&self, _: u32, _: u32, _: Option<LunView>) {}

    fn hand_off(&self, _: u32, mut queue: TakenQueue) -> Result<(), Errno> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(came) = self.came.get(client_of(&queue)) {
            came.store(now, Ordering::Release);
        }
        let yes = queue.acceptance(queue.cntlid());
        queue.socket.write_all(&yes).map_err(|_| Errno::ENXIO)
    }

    fn sessions(&self) -> Vec<Session> {
        self.listed().clone()
    }

    fn terminate(&self, _: u32, _: u16) {}

    fn has_controller(&self, _: u32, cntlid: u16) -> bool {
        usize::from(cntlid) < self.listed().len()
    }
}

/// Admin queues come from a host for each client, I/O queues from one host: one for each client.
fn client_of(queue: &TakenQueue) -> usize {
    match queue.qid() {
        0 => {
            let [_, a, b, c, d, ..] = queue.hostid();
            u32::from_be_bytes([a, b, c, d]) as usize
        }
        qid => usize::from(qid) - 1,
    }
}
