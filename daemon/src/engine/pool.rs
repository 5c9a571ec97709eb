//! Threads for commands that may sleep, so that a slow disk never delays a keep-alive.
//!
//! A job whose connection has ended before it began is dropped: what a host did not live to see
//! acknowledged is not applied later. One that has begun ends, its answer finds nobody, and what came
//! later for the same blocks waits for it (`lane`). What waits goes with its connection, even when all
//! threads hang ([`Pool::sweep`]). How many jobs wait is bounded by what each session lets its host have
//! outstanding.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nvmf_proto::cqe::Completion;
use nvmf_proto::nvm::{Command, Extent};
use nvmf_proto::queue::Tag;

use super::flushes::HostId;
use super::lane::Lane;
use super::life::Life;
use super::namespace::{Gate, Namespace, View};
use super::{Errand, Executed, io as commands};
use crate::worker::message::{ConnectionId, Message, ReactorHandle};

/// Threads for one namespace that may sleep. Each waits for one operation at a time, so this is the
/// depth that the disk sees.
const DISK_THREADS: usize = 16;

/// Threads for one namespace that does not sleep, whose long commands come here.
const MEMORY_THREADS: usize = 2;

/// Threads of all namespaces together, or one for each if there are more of those.
const ALL_THREADS: usize = 512;

/// What a pool thread does.
#[derive(Debug)]
pub enum Task {
    /// Execute a command.
    Command {
        /// On what.
        namespace: Arc<Namespace>,
        /// Which.
        command: Command,
        /// What came with it.
        data: Vec<u8>,
        /// Whether it ends on stable storage.
        durable: bool,
    },
    /// Execute Compare and Write as one.
    Fused {
        /// On what.
        namespace: Arc<Namespace>,
        /// Which blocks.
        extent: Extent,
        /// What must be there.
        expected: Vec<u8>,
        /// What to put there.
        data: Vec<u8>,
        /// Whether it ends on stable storage.
        durable: bool,
    },
    /// Flush a namespace for a controller's shutdown.
    Settle {
        /// Which.
        namespace: Arc<Namespace>,
        /// The shutdown.
        shutdown: Arc<Shutdown>,
    },
}

/// A controller's shutdown, whose connection is told when this goes with the last of its flushes.
#[derive(Debug)]
pub struct Shutdown {
    connection: ConnectionId,
    reactors: Arc<[ReactorHandle]>,
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        if let Some(reactor) = self.reactors.get(self.connection.reactor) {
            reactor.send(Message::ShutdownFlushed(self.connection));
        }
    }
}

impl Task {
    /// Whether it is about one of these namespaces.
    pub fn is_on(&self, namespaces: &View) -> bool {
        let namespace = self.namespace();
        let served = namespaces.by_nsid(namespace.nsid);
        served.is_some_and(|it| Arc::ptr_eq(it, namespace))
    }

    fn namespace(&self) -> &Arc<Namespace> {
        match self {
            Self::Command { namespace, .. }
            | Self::Fused { namespace, .. }
            | Self::Settle { namespace, .. } => namespace,
        }
    }
}

/// A task, and who waits for it.
#[derive(Debug)]
pub struct Job {
    /// The connection that is told.
    pub connection: ConnectionId,
    /// Its command, which is answered; `None` of a shutdown's flush.
    pub tag: Option<Tag>,
    /// Its host.
    pub host: HostId,
    /// Cleared when the connection ends: what has not started then is never applied.
    pub alive: Arc<AtomicBool>,
    /// Keeps its memory counted until the job is gone.
    pub life: Arc<Life>,
    /// What to do.
    pub task: Task,
}

/// What became of a job.
#[derive(Debug)]
pub enum Submitted {
    /// It will be done, or dropped once nobody waits for it.
    Queued,
    /// Its namespace is not served any more; nobody will do it.
    NamespaceGone(Box<Job>),
}

/// The threads, in lanes: a namespace whose disk hangs holds up no other.
#[derive(Debug)]
pub struct Pool {
    reactors: Arc<[ReactorHandle]>,
    /// None once it has stopped.
    lanes: Mutex<Option<Lanes>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Lanes = HashMap<LaneId, (Served, Kept)>;

/// A lane that threads serve until this goes, and what was left then is done.
#[derive(Debug)]
struct Served(Arc<Lane>);

/// Kept, so that no other gate can have its address while there is a lane of that name.
type Kept = Arc<Gate>;

/// Names a namespace's lane: the address of its gate. So a namespace that has grown, say, has the lane of
/// the one before, and a command that was begun on that one finds it.
type LaneId = usize;

impl Pool {
    /// Starts the threads for these namespaces; they answer through `reactors`.
    ///
    /// # Errors
    /// The system's, when it has no threads left.
    pub fn start(
        reactors: &Arc<[ReactorHandle]>,
        namespaces: &[Arc<Namespace>],
    ) -> io::Result<Self> {
        let pool = Self {
            reactors: Arc::clone(reactors),
            lanes: Mutex::new(Some(Lanes::new())),
            threads: Mutex::default(),
        };
        pool.add(namespaces)?;
        Ok(pool)
    }

    /// Makes lanes for those of these namespaces that have none.
    ///
    /// # Errors
    /// The system's, when it has no threads left; no lane is made then.
    pub fn add(&self, namespaces: &[Arc<Namespace>]) -> io::Result<()> {
        let mut guard = self.lanes();
        let Some(lanes) = guard.as_mut() else {
            return Ok(());
        };
        let there = &*lanes;
        let new: Vec<_> = namespaces
            .iter()
            .filter(|it| !there.contains_key(&lane_of(it)))
            .collect();
        // Lanes that are there keep what they have: the bound is one of order, not of law.
        let share = (ALL_THREADS / (there.len() + new.len()).max(1)).max(1);
        let mut threads = Vec::new();
        let mut made = Vec::new();
        for namespace in new {
            let most = if namespace.character.blocking {
                DISK_THREADS
            } else {
                MEMORY_THREADS
            };
            let name = format!("nsid {}", namespace.nsid);
            let lane = lane(&name, most.min(share), &self.reactors, &mut threads)?;
            made.push((lane_of(namespace), (lane, Arc::clone(&namespace.gate))));
        }
        lanes.extend(made);
        self.threads().append(&mut threads);
        Ok(())
    }

    /// Retires the lanes of all namespaces but these: their threads end when the jobs that are left
    /// have.
    pub fn keep(&self, namespaces: &[Arc<Namespace>]) {
        let kept: HashSet<_> = namespaces.iter().map(lane_of).collect();
        if let Some(lanes) = self.lanes().as_mut() {
            lanes.retain(|lane, _| kept.contains(lane));
        }
        // Those that have ended by now; nobody waits for a disk that hangs.
        self.threads().retain(|thread| !thread.is_finished());
    }

    /// Queues a job.
    pub fn submit(&self, job: Job) -> Submitted {
        let lane = {
            let lanes = self.lanes();
            // Without any, the last connection is gone, and nobody waits for an answer.
            let Some(lanes) = lanes.as_ref() else {
                return Submitted::Queued;
            };
            let lane = lanes.get(&lane_of(job.task.namespace()));
            lane.map(|(lane, _)| Arc::clone(&lane.0))
        };
        // Others find their lanes meanwhile. One that was retired since says so.
        let pushed = match lane {
            Some(lane) => lane.push(job),
            None => Err(Box::new(job)),
        };
        match pushed {
            Ok(()) => Submitted::Queued,
            Err(job) => Submitted::NamespaceGone(job),
        }
    }

    /// Flushes these namespaces for a controller's shutdown, each on its own lane: a disk that hangs
    /// holds up the shutdowns of those who have it. The connection is told by
    /// [`Message::ShutdownFlushed`].
    pub fn flush_all(&self, connection: ConnectionId, host: HostId, namespaces: &View) {
        let shutdown = Arc::new(Shutdown {
            connection,
            reactors: Arc::clone(&self.reactors),
        });
        let namespaces = namespaces.iter();
        for namespace in namespaces.filter(|it| it.character.volatile_cache) {
            // Of one that has just gone there is nothing to wait for.
            let _ = self.submit(Job {
                connection,
                tag: None,
                host,
                // Durable whether or not the host waits for it.
                alive: Arc::new(AtomicBool::new(true)),
                life: Arc::default(),
                task: Task::Settle {
                    namespace: Arc::clone(namespace),
                    shutdown: Arc::clone(&shutdown),
                },
            });
        }
    }

    /// Jobs that no thread has taken up.
    pub fn waiting(&self) -> usize {
        self.all_lanes().iter().map(|lane| lane.waiting()).sum()
    }

    /// Drops the jobs of connections that have ended, with the memory that they hold: the threads
    /// would, but all of a lane can hang in its disk.
    pub fn sweep(&self) {
        for lane in self.all_lanes() {
            lane.sweep();
        }
    }

    fn all_lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes().as_ref().map_or_else(Vec::new, |lanes| {
            let lanes = lanes.values();
            lanes.map(|(lane, _)| Arc::clone(&lane.0)).collect()
        })
    }

    /// Ends the threads once the jobs that are left have ended.
    pub fn stop(&self) {
        drop(self.lanes().take());
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Option<Lanes>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn lane_of(namespace: &Arc<Namespace>) -> LaneId {
    Arc::as_ptr(&namespace.gate).addr()
}

/// Starts the threads of one lane.
fn lane(
    name: &str,
    count: usize,
    reactors: &Arc<[ReactorHandle]>,
    threads: &mut Vec<JoinHandle<()>>,
) -> io::Result<Served> {
    let served = Served(Arc::default());
    for _ in 0..count {
        let (lane, reactors) = (Arc::clone(&served.0), Arc::clone(reactors));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&lane, &reactors))?;
        threads.push(thread);
    }
    Ok(served)
}

fn serve(lane: &Lane, reactors: &[ReactorHandle]) {
    let mut taken = lane.take();
    while let Some((job, running)) = taken {
        let executed = run(job.task, job.host, &job.alive);
        // It ends before the host hears of it, whose next command may be of the same blocks.
        taken = running.next();
        if let Some(tag) = job.tag
            && let Some(reactor) = reactors.get(job.connection.reactor)
        {
            reactor.send(Message::Executed(job.connection, tag, executed));
        }
        if taken.is_none() {
            taken = lane.take();
        }
    }
}

fn run(task: Task, host: HostId, alive: &AtomicBool) -> Executed {
    let errand = |durable| Errand {
        host,
        durable,
        alive,
    };
    match task {
        Task::Command {
            namespace,
            command,
            data,
            durable,
        } => commands::execute(&namespace, &command, &data, &errand(durable)),
        Task::Fused {
            namespace,
            extent,
            expected,
            data,
            durable,
        } => commands::execute_fused(&namespace, &extent, &expected, &data, &errand(durable)),
        Task::Settle {
            namespace,
            shutdown,
        } => {
            // Told to the log, and to hosts that flush later.
            let _ = namespace.flush(None);
            drop(shutdown);
            Executed::Done(Completion::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use uuid::Uuid;

    use super::*;
    use crate::engine::backend::DeviceSpec;
    use crate::engine::backend::ram::{Ram, RamSize};
    use crate::engine::namespace::Namespaces;
    use crate::identity::NamespaceIds;

    const PATIENCE: Duration = Duration::from_secs(15);

    /// A RAM disk that has a cache to flush.
    fn namespace(nsid: u32) -> Arc<Namespace> {
        let size = RamSize::from_bytes(4096).unwrap();
        let ids = NamespaceIds {
            uuid: Uuid::nil(),
            nguid: [0; 16],
            eui64: [0; 8],
        };
        let disk = Arc::new(Ram::new(size));
        let mut namespace = Namespace::new(nsid, DeviceSpec::Ram(size), disk, ids);
        namespace.character.volatile_cache = true;
        Arc::new(namespace)
    }

    fn connection(token: usize) -> ConnectionId {
        ConnectionId {
            reactor: 0,
            token,
            generation: 1,
        }
    }

    fn flush(namespace: &Arc<Namespace>) -> Job {
        Job {
            connection: connection(0),
            tag: Some(Tag::from(0)),
            host: [7; 16],
            alive: Arc::new(AtomicBool::new(true)),
            life: Arc::default(),
            task: Task::Command {
                namespace: Arc::clone(namespace),
                command: Command::Flush,
                data: Vec::new(),
                durable: false,
            },
        }
    }

    #[test]
    fn lanes_come_and_go_with_their_namespaces() {
        let poll = mio::Poll::new().unwrap();
        let (handle, messages) = ReactorHandle::new(poll.registry()).unwrap();
        let [first, second] = [1, 2].map(namespace);
        let pool = Pool::start(&vec![handle].into(), &[Arc::clone(&first)]).unwrap();
        let is_queued = |job| matches!(pool.submit(job), Submitted::Queued);
        assert!(!is_queued(flush(&second)));
        pool.add(&[&first, &second].map(Arc::clone)).unwrap();
        assert_eq!(pool.threads().len(), 2 * MEMORY_THREADS);
        let gate = first.gate.write();
        let fused = Task::Fused {
            namespace: Arc::clone(&first),
            extent: Extent { lba: 0, blocks: 1 },
            expected: vec![0; 512],
            data: vec![1; 512],
            durable: false,
        };
        let job = Job {
            task: fused,
            ..flush(&first)
        };
        assert!(is_queued(job));
        pool.keep(std::slice::from_ref(&second));
        assert!(!is_queued(flush(&first)) && is_queued(flush(&second)));
        assert!(messages.recv_timeout(PATIENCE).is_ok());
        // What had been asked for before is done all the same.
        drop(gate);
        assert!(messages.recv_timeout(PATIENCE).is_ok());
        let mut found = [0; 512];
        first.backend.read(0, &mut found).unwrap();
        assert_eq!(found, [1; 512]);
        let deadline = Instant::now() + PATIENCE;
        while pool.threads().len() != MEMORY_THREADS {
            assert!(Instant::now() < deadline, "threads without a lane stay");
            pool.keep(std::slice::from_ref(&second));
            std::thread::yield_now();
        }
        pool.stop();
    }

    #[test]
    fn shutdowns_wait_for_their_own_disks() {
        const MANY: usize = 40;
        let poll = mio::Poll::new().unwrap();
        let (handle, messages) = ReactorHandle::new(poll.registry()).unwrap();
        let [hangs, works] = [1, 2].map(namespace);
        let all = [&hangs, &works].map(Arc::clone);
        let pool = Pool::start(&vec![handle].into(), &all).unwrap();
        let flushed = || match messages.recv_timeout(PATIENCE) {
            Ok(Message::ShutdownFlushed(id)) => id.token,
            other => panic!("{other:?}"),
        };
        let shut_down = |token, namespaces: &[&Arc<Namespace>]| {
            let namespaces = Namespaces::new(namespaces.iter().map(|&it| Arc::clone(it)));
            pool.flush_all(connection(token), [7; 16], &namespaces.load());
        };
        let (go_on, released) = mpsc::channel::<()>();
        let (began, has_begun) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                hangs.flushes.flush(None, move || {
                    began.send(()).unwrap();
                    let _ = released.recv();
                    Ok(())
                })
            });
            has_begun.recv().unwrap();
            for token in 0..MANY {
                shut_down(token, &[&hangs, &works]);
            }
            shut_down(MANY, &[&works]);
            assert_eq!(flushed(), MANY);
            shut_down(MANY + 1, &[]);
            assert_eq!(flushed(), MANY + 1);
            drop(go_on);
        });
        let mut told: Vec<_> = (0..MANY).map(|_| flushed()).collect();
        told.sort_unstable();
        assert!(told.into_iter().eq(0..MANY), "each of them, once");
        pool.stop();
    }
}
