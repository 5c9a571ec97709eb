//! Storage that does as it is told: a RAM disk that fails with a given error, hangs until it is
//! released, and remembers in which order it was asked for what.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use nix::errno::Errno;
use nvmfd::engine::backend::ram::{Ram, RamSize};
use nvmfd::engine::backend::{Backend, Character, Geometry};
use nvmfd::engine::fault::Operation;

/// Size of the disk.
pub(crate) const SIZE: u64 = 1 << 20;

/// What a test may wait for.
const PATIENCE: Duration = Duration::from_secs(15);

/// The disk.
pub(crate) struct Injected {
    ram: Ram,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What every operation of a kind fails with.
    failing: Vec<(Operation, Errno)>,
    /// The next so many of a kind hang.
    hanging: Option<(Operation, usize)>,
    /// How often what hung was released.
    released: u64,
    events: Vec<Event>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An operation at this offset began.
    Began(Operation, u64),
    /// It ended.
    Ended(Operation, u64),
}

impl Injected {
    pub(crate) fn new() -> Self {
        Self {
            ram: Ram::new(RamSize::from_bytes(SIZE).expect("whole blocks")),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Operations of this kind fail from now on.
    pub(crate) fn fail(&self, operation: Operation, errno: Errno) {
        self.lock().failing.push((operation, errno));
    }

    /// All is well from now on.
    pub(crate) fn heal(&self) {
        self.lock().failing.clear();
    }

    /// The next `count` operations of this kind hang.
    pub(crate) fn hang(&self, operation: Operation, count: usize) {
        self.lock().hanging = Some((operation, count));
    }

    /// What hangs goes on.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.hanging = None;
        state.released += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// What has happened since this was asked last.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    /// Waits until so many operations of this kind have begun that have not been asked for yet.
    pub(crate) fn await_begun(&self, operation: Operation, count: usize) {
        let begun = |state: &mut State| {
            let events = state.events.iter();
            let of_it = |it: &&Event| matches!(it, Event::Began(what, _) if *what == operation);
            events.filter(of_it).count() < count
        };
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, begun);
        let (state, waited) = waited.expect("no panic");
        assert!(!waited.timed_out(), "{:?}", state.events);
    }

    /// What a disk holds at an offset.
    pub(crate) fn holds(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut found = vec![0; length];
        self.ram.read(offset, &mut found).expect("within it");
        found
    }

    fn perform<T>(
        &self,
        operation: Operation,
        offset: u64,
        perform: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        state.events.push(Event::Began(operation, offset));
        self.changed.notify_all();
        if let Some((kind, left)) = state.hanging.as_mut()
            && *kind == operation
            && *left != 0
        {
            *left -= 1;
            let released = state.released;
            let hangs = |state: &mut State| state.released == released;
            state = self.changed.wait_while(state, hangs).expect("no panic");
        }
        let failing = state.failing.iter().find(|(kind, _)| *kind == operation);
        let failing = failing.map(|(_, errno)| *errno);
        drop(state);
        let done = match failing {
            Some(errno) => Err(errno.into()),
            None => perform(),
        };
        self.lock().events.push(Event::Ended(operation, offset));
        done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

impl Backend for Injected {
    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }

    fn character(&self) -> Character {
        Character {
            blocking: true,
            volatile_cache: true,
            ..self.ram.character()
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.perform(Operation::Read, offset, || self.ram.read(offset, into))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.perform(Operation::Write, offset, || self.ram.write(offset, data))
    }

    fn write_zeroes(
        &self,
        offset: u64,
        length: u64,
        may_deallocate: bool,
        wanted: &AtomicBool,
    ) -> io::Result<()> {
        self.perform(Operation::Write, offset, || {
            self.ram
                .write_zeroes(offset, length, may_deallocate, wanted)
        })
    }

    fn deallocate(&self, offset: u64, length: u64, wanted: &AtomicBool) -> io::Result<()> {
        self.perform(Operation::Write, offset, || {
            self.ram.deallocate(offset, length, wanted)
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.perform(Operation::Flush, 0, || Ok(()))
    }
}
