//! The jobs of one namespace, and the order in which threads take them: as they came, but none while
//! another of the same blocks is under way.
//!
//! NVMe gives commands that are under way at once no order, and for those of one host none is needed. But
//! a host that has lost its connection writes again over the next one, while the disk may still have
//! what came over the first: a write that hangs must not land later, over newer data. So a write
//! waits for whatever came before it and touches its blocks, of whatever connection, and so does what
//! comes after. It waits here and not in a thread: what touches other blocks overtakes it.
//!
//! By the same rule no read sees half a write, which a file system does not promise (AWUN).
//! Deallocation and reads do not wait for each other: it is long, and what is read meanwhile is either.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nvmf_proto::nvm::{self, Command, Extent, Geometry};

use super::pool::{Job, Task};

/// What waits for the threads of one namespace.
#[derive(Debug, Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    running: Vec<(u64, Touch)>,
    last: u64,
    /// Threads that wait for something to do, and those of them that were woken and have yet to look.
    idle: usize,
    woken: usize,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    touch: Touch,
}

/// The blocks that a job touches.
#[derive(Debug, PartialEq, Eq)]
enum Touch {
    Nothing,
    One((Use, Extent)),
    Many(Vec<(Use, Extent)>),
}

/// What is done with blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
    Deallocate,
}

/// A job that is under way, until this goes.
pub(super) struct Running<'a> {
    lane: &'a Lane,
    number: u64,
}

impl Lane {
    /// Adds a job.
    ///
    /// # Errors
    /// The job, when the lane is closed.
    pub(super) fn push(&self, job: Job) -> Result<(), Box<Job>> {
        let touch = Touch::of(&job.task);
        let mut state = self.lock();
        if state.closed {
            return Err(Box::new(job));
        }
        state.waiting.push_back(Waiting { job, touch });
        self.wake(state);
        Ok(())
    }

    /// The next job that can be done, once there is one; `None` when there will be none. Jobs that
    /// nobody waits for are dropped.
    pub(super) fn take(&self) -> Option<(Job, Running<'_>)> {
        let mut state = self.lock();
        loop {
            if let Some((job, number)) = state.start() {
                // There may be more than one was woken for.
                self.wake(state);
                return Some((job, Running { lane: self, number }));
            }
            if state.closed && state.waiting.is_empty() {
                return None;
            }
            state.idle += 1;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.woken = state.woken.saturating_sub(1);
        }
    }

    /// Drops the jobs that nobody waits for, with what they hold, also when no thread comes to look.
    pub(super) fn sweep(&self) {
        let mut state = self.lock();
        let is_wanted = |it: &Waiting| it.job.alive.load(Ordering::Acquire);
        if state.waiting.iter().all(is_wanted) {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        let (wanted, _dropped): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(is_wanted);
        state.waiting = wanted;
        // What waited for them need not any more. They go once the lock is free.
        self.wake(state);
    }

    /// Jobs that no thread has taken.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// No job is added from now on: the threads end when those that are left have ended.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Wakes a thread if there may be something for it, one at a time: it wakes the next one.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wakes = state.idle != 0 && state.woken == 0 && !state.waiting.is_empty();
        let (ends, one) = (state.closed, usize::from(wakes));
        state.woken += one;
        drop(state);
        if ends {
            self.changed.notify_all();
        } else if wakes {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running<'_> {
    /// It has ended. The next job, if one can be done now.
    pub(super) fn next(self) -> Option<(Job, Self)> {
        let lane = self.lane;
        let mut state = lane.lock();
        state.end(self.number);
        std::mem::forget(self);
        let next = state.start();
        lane.wake(state);
        next.map(|(job, number)| (job, Self { lane, number }))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.lock();
        state.end(self.number);
        self.lane.wake(state);
    }
}

impl State {
    /// The first job that can be done, which is under way from now on, by this number.
    fn start(&mut self) -> Option<(Job, u64)> {
        let Waiting { job, touch } = self.next()?;
        self.last += 1;
        self.running.push((self.last, touch));
        Some((job, self.last))
    }

    fn end(&mut self, number: u64) {
        self.running.retain(|(other, _)| *other != number);
    }

    /// The first job that touches nothing of what is under way or came before it.
    fn next(&mut self) -> Option<Waiting> {
        let mut at = 0;
        // Those before it; of several that touch the same, one.
        let mut passed = Vec::new();
        while at < self.waiting.len().min(LOOK) {
            let Waiting { job, touch } = &self.waiting[at];
            if !job.alive.load(Ordering::Acquire) {
                self.waiting.remove(at);
                continue;
            }
            let before = passed
                .iter()
                .map(|&before: &usize| &self.waiting[before].touch);
            let mut others = self.running.iter().map(|(_, it)| it).chain(before.clone());
            if !others.any(|other| touch.meets(other)) {
                return self.waiting.remove(at);
            }
            if !before.into_iter().any(|other| other == touch) {
                passed.push(at);
            }
            at += 1;
        }
        None
    }
}

impl Touch {
    fn of(task: &Task) -> Self {
        match task {
            Task::Command {
                namespace,
                command,
                data,
                ..
            } => Self::of_command(command, data, &namespace.geometry),
            Task::Fused { extent, .. } => Self::One((Use::Write, *extent)),
            Task::Settle { .. } => Self::Nothing,
        }
    }

    fn of_command(command: &Command, data: &[u8], geometry: &Geometry) -> Self {
        match command {
            Command::Read { extent } | Command::Compare { extent } => {
                Self::One((Use::Read, *extent))
            }
            Command::Write { extent, .. } | Command::WriteZeroes { extent, .. } => {
                Self::One((Use::Write, *extent))
            }
            // Nobody sees what it reads.
            Command::Verify { .. }
            | Command::Flush
            | Command::DatasetManagement {
                deallocate: false, ..
            } => Self::Nothing,
            Command::DatasetManagement { ranges, .. } => {
                let ranges = nvm::deallocate_ranges(data, *ranges, geometry);
                // What is wrong with them, its execution says.
                Self::Many(few(Use::Deallocate, ranges.unwrap_or_default()))
            }
            Command::Copy {
                destination,
                ranges,
                ..
            } => match nvm::copy_ranges(data, *ranges, *destination, geometry) {
                Ok(plan) => {
                    let mut uses = few(Use::Read, plan.sources);
                    uses.push((Use::Write, plan.destination));
                    Self::Many(uses)
                }
                Err(_) => Self::Nothing,
            },
        }
    }

    /// Whether one must wait for the other.
    fn meets(&self, other: &Self) -> bool {
        let mut ours = self.uses().iter();
        ours.any(|ours| other.uses().iter().any(|theirs| meet(ours, theirs)))
    }

    fn uses(&self) -> &[(Use, Extent)] {
        match self {
            Self::Nothing => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The use of these extents. Of many it is that of all from the first block to the last: some wait then that
/// need not, but who holds the lane's lock compares few with few.
fn few(used: Use, mut extents: Vec<Extent>) -> Vec<(Use, Extent)> {
    extents.retain(|it| it.blocks != 0);
    if extents.len() > EXTENTS_MAX {
        let first = extents.iter().map(|it| it.lba).min().unwrap_or_default();
        let end = extents.iter().map(|it| it.lba + it.blocks).max();
        extents = vec![Extent {
            lba: first,
            blocks: end.unwrap_or_default() - first,
        }];
    }
    extents.into_iter().map(|extent| (used, extent)).collect()
}

fn meet((ours, a): &(Use, Extent), (theirs, b): &(Use, Extent)) -> bool {
    let harmless = match (ours, theirs) {
        (Use::Read, Use::Read | Use::Deallocate) | (Use::Deallocate, Use::Read) => true,
        (Use::Write, _) | (_, Use::Write) | (Use::Deallocate, Use::Deallocate) => false,
    };
    // Extents lie within a namespace: their ends are numbers.
    !harmless && a.lba < b.lba + b.blocks && b.lba < a.lba + a.blocks
}

/// Jobs that are looked at for one that can overtake those before it: what that costs is bounded, also if
/// hosts write the same blocks again and again.
const LOOK: usize = 256;

/// Extents of one job that are looked at one by one.
const EXTENTS_MAX: usize = 8;

#[cfg(test)]
mod tests;
