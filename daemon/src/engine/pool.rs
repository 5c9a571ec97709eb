//! Threads for commands that may sleep, so that a slow disk never delays a keep-alive.
//!
//! A job whose connection has ended before it began is dropped: what a host did not live to see
//! acknowledged is not applied later. One that has begun ends, and its answer finds nobody. How many
//! jobs wait is bounded by what each session lets its host have outstanding.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use nvmf_proto::nvm::{Command, Extent};
use nvmf_proto::queue::Tag;

use super::namespace::{Namespace, Namespaces};
use super::{Executed, io as commands};
use crate::worker::message::{ConnectionId, Message, ReactorHandle};

/// Threads for one namespace that may sleep. Each waits for one operation at a time, so this is the
/// depth that the disk sees.
const DISK_THREADS: usize = 16;

/// Threads for one namespace that does not sleep, whose long commands come here.
const MEMORY_THREADS: usize = 2;

/// Threads for the flushes of shutdowns.
const FLUSH_THREADS: usize = 4;

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
    /// Flush everything, for a controller's shutdown.
    FlushAll(Arc<Namespaces>),
}

/// A task, and who waits for it.
#[derive(Debug)]
pub struct Job {
    /// The connection that is told.
    pub connection: ConnectionId,
    /// Its command; `None` of a shutdown's flush.
    pub tag: Option<Tag>,
    /// Cleared when the connection ends: what has not started then is never applied.
    pub alive: Arc<AtomicBool>,
    /// What to do.
    pub task: Task,
}

/// The threads, in lanes: a namespace whose disk hangs holds up no other.
#[derive(Debug)]
pub struct Pool {
    lanes: Mutex<Option<Lanes>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Lanes {
    flush: Sender<Job>,
    namespaces: HashMap<LaneId, Sender<Job>>,
}

/// Names a namespace's lane: the address of the namespace, which lives as long as the pool.
type LaneId = usize;

impl Pool {
    /// Starts the threads for these namespaces; they answer through `reactors`.
    ///
    /// # Errors
    /// The system's, when it has no threads left.
    pub fn start<'a>(
        reactors: &Arc<[ReactorHandle]>,
        namespaces: impl Iterator<Item = &'a Arc<Namespace>>,
    ) -> io::Result<Self> {
        let namespaces: Vec<_> = namespaces.collect();
        let share = (ALL_THREADS / namespaces.len().max(1)).max(1);
        let mut threads = Vec::new();
        let flush = lane("flush", FLUSH_THREADS, reactors, &mut threads)?;
        let mut lanes = HashMap::new();
        for namespace in namespaces {
            let most = if namespace.character.blocking {
                DISK_THREADS
            } else {
                MEMORY_THREADS
            };
            let name = format!("nsid {}", namespace.nsid);
            let sender = lane(&name, most.min(share), reactors, &mut threads)?;
            lanes.insert(lane_of(namespace), sender);
        }
        let lanes = Mutex::new(Some(Lanes {
            flush,
            namespaces: lanes,
        }));
        Ok(Self {
            lanes,
            threads: Mutex::new(threads),
        })
    }

    /// Queues a job.
    pub fn submit(&self, job: Job) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lanes) = lanes.as_ref() else { return };
        let lane = match &job.task {
            Task::Command { namespace, .. } | Task::Fused { namespace, .. } => {
                lanes.namespaces.get(&lane_of(namespace))
            }
            Task::FlushAll(_) => Some(&lanes.flush),
        };
        if let Some(lane) = lane {
            // Fails only when every thread is gone, which is after the last connection.
            let _ = lane.send(job);
        }
    }

    /// Ends the threads once the jobs that are left have ended.
    pub fn stop(&self) {
        drop(
            self.lanes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

fn lane_of(namespace: &Arc<Namespace>) -> LaneId {
    Arc::as_ptr(namespace).addr()
}

/// Starts the threads of one lane.
fn lane(
    name: &str,
    count: usize,
    reactors: &Arc<[ReactorHandle]>,
    threads: &mut Vec<JoinHandle<()>>,
) -> io::Result<Sender<Job>> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    for _ in 0..count {
        let (receiver, reactors) = (receiver.clone(), Arc::clone(reactors));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&receiver, &reactors))?;
        threads.push(thread);
    }
    Ok(sender)
}

fn serve(jobs: &Receiver<Job>, reactors: &[ReactorHandle]) {
    for job in jobs {
        if !job.alive.load(Ordering::Acquire) {
            continue;
        }
        let executed = run(job.task, &job.alive);
        let message = match job.tag {
            Some(tag) => Message::Executed(job.connection, tag, executed),
            None => Message::ShutdownFlushed(job.connection),
        };
        if let Some(reactor) = reactors.get(job.connection.reactor) {
            reactor.send(message);
        }
    }
}

fn run(task: Task, alive: &AtomicBool) -> Executed {
    match task {
        Task::Command {
            namespace,
            command,
            data,
            durable,
        } => commands::execute(&namespace, &command, &data, durable, alive),
        Task::Fused {
            namespace,
            extent,
            expected,
            data,
            durable,
        } => commands::execute_fused(&namespace, &extent, &expected, &data, durable),
        Task::FlushAll(namespaces) => {
            namespaces.flush_all();
            Executed::Done(nvmf_proto::cqe::Completion::SUCCESS)
        }
    }
}
