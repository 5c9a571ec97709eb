//! Threads for commands that may sleep, so that a slow disk never delays a keep-alive.
//!
//! A job whose connection has ended before it began is dropped: what a host did not live to see
//! acknowledged is not applied later. One that has begun ends, and its answer finds nobody. How many
//! jobs wait is bounded by what each session lets its host have outstanding.

#![forbid(unsafe_code)]

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

/// Threads. Each waits for one disk operation at a time, so this is the depth that all disks
/// together see.
const THREADS: usize = 16;

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

/// The threads.
#[derive(Debug)]
pub struct Pool {
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts the threads; they answer through `reactors`.
    ///
    /// # Errors
    /// The system's, when it has no threads left.
    pub fn start(reactors: &Arc<[ReactorHandle]>) -> io::Result<Self> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let mut threads = Vec::new();
        for index in 0..THREADS {
            let (receiver, reactors) = (receiver.clone(), Arc::clone(reactors));
            let thread = std::thread::Builder::new()
                .name(format!("io {index}"))
                .spawn(move || serve(&receiver, &reactors))?;
            threads.push(thread);
        }
        Ok(Self {
            jobs: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        })
    }

    /// Queues a job.
    pub fn submit(&self, job: Job) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = jobs.as_ref() {
            // Fails only when every thread is gone, which is after the last connection.
            let _ = jobs.send(job);
        }
    }

    /// Ends the threads once the jobs that are left have ended.
    pub fn stop(&self) {
        drop(
            self.jobs
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

fn serve(jobs: &Receiver<Job>, reactors: &[ReactorHandle]) {
    for job in jobs {
        if !job.alive.load(Ordering::Acquire) {
            continue;
        }
        let executed = run(job.task);
        let message = match job.tag {
            Some(tag) => Message::Executed(job.connection, tag, executed),
            None => Message::ShutdownFlushed(job.connection),
        };
        if let Some(reactor) = reactors.get(job.connection.reactor) {
            reactor.send(message);
        }
    }
}

fn run(task: Task) -> Executed {
    match task {
        Task::Command {
            namespace,
            command,
            data,
            durable,
        } => commands::execute(&namespace, &command, &data, durable),
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
