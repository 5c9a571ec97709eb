//! Failures to order: what fails is a request, and how is up to a test.

#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dead;
use super::layout::{code, list, lun_req, nvmf, port_req, stats};
use super::request::{Request, TEXT_SIZE};
use crate::error::Errno;
use crate::kernel::{Call, Kernel};

/// A failure, and the request that it strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code of the requests that count; `None`: all.
    pub code: Option<u32>,
    /// How many of those that count are let through before.
    pub skip: u32,
    /// What happens.
    pub kind: FaultKind,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It is not done, and ioctl(2) fails.
    Fail(Errno),
    /// It is done, and ioctl(2) fails nevertheless. Its argument is not copied back.
    FailAfter(Errno),
    /// It is not done; the argument says this instead.
    Refuse(Verdict),
    /// It is done, and the argument says this instead, as with `Cannot copyout() the result.`
    RefuseAfter(Verdict),
    /// It is not done, but the socket that it hands over is taken and closed.
    TakeAndRefuse(Verdict),
    /// It is not done, the socket that it hands over is taken and closed, and ioctl(2) fails.
    TakeAndFail(Errno),
    /// The caller has died: this one is not done, and none after it.
    Crash,
    /// The caller dies after this one: it is done, nobody hears of it, and none after it is done.
    CrashAfter,
}

/// What a request's argument says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Status; what a number means depends on the request.
    pub status: u32,
    /// Text.
    pub text: String,
}

impl Verdict {
    /// A status and a text.
    pub fn new(status: u32, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// The texts with which a hand-off is refused while the socket stays the daemon's, for an admin queue
    /// or an I/O queue, in the order of the kernel's checks.
    pub fn of_handoff(admin: bool) -> Vec<Self> {
        let kind = if admin { "admin" } else { "I/O" };
        [
            "Failed to copyin and unpack handoff arguments".to_owned(),
            "Handoff arguments missing required value".to_owned(),
            "Invalid queue pair parameters".to_owned(),
            "Wrong size for CONNECT SQE".to_owned(),
            "Wrong size for CONNECT data".to_owned(),
            "Invalid SubNQN".to_owned(),
            "Unknown SubNQN".to_owned(),
            "CTL port offline".to_owned(),
            format!("Failed to handoff {kind} queue: 22"),
            format!("Failed to handoff {kind} queue: 6"),
        ]
        .into_iter()
        .map(|text| Self::new(1, text))
        .collect()
    }
}

/// The failures that are ordered. Clones are the same order.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    dead: bool,
    seen: u64,
}

/// A kernel with failures to order.
#[derive(Clone, Debug)]
pub struct Faulty<K> {
    kernel: K,
    faults: Faults,
}

impl Faults {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Orders a failure. Of several that strike the same request the one that was ordered first comes;
    /// the others have counted the request and wait for the next.
    pub fn order(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Orders a failure of the request with this index among those to come, from 0.
    pub fn order_at(&self, index: u32, kind: FaultKind) {
        self.order(Fault {
            code: None,
            skip: index,
            kind,
        });
    }

    /// Forgets all failures; a caller that has died lives again.
    pub fn clear(&self) {
        let mut plan = self.lock();
        plan.faults.clear();
        plan.dead = false;
    }

    /// Failures that are ordered and have not come.
    pub fn outstanding(&self) -> usize {
        self.lock().faults.len()
    }

    /// Requests so far, those that failed included.
    pub fn requests(&self) -> u64 {
        self.lock().seen
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a request, and the failure that is ordered for it.
    pub(super) fn around<R: Target>(
        &self,
        request: &mut R,
        perform: impl FnOnce(&mut R) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let Some(kind) = self.lock().next(request.code())? else {
            return perform(request);
        };
        let before = request.argument().to_vec();
        let failed = |request: &mut R, errno| {
            request.argument_mut().copy_from_slice(&before);
            Err(errno)
        };
        match kind {
            FaultKind::Fail(errno) => Err(errno),
            FaultKind::FailAfter(errno) => {
                // What really came of it is what nobody is told.
                let _ = perform(request);
                failed(request, errno)
            }
            FaultKind::Refuse(verdict) => verdict.write(request),
            FaultKind::RefuseAfter(verdict) => {
                perform(request)?;
                request.argument_mut().copy_from_slice(&before);
                verdict.write(request)
            }
            FaultKind::TakeAndRefuse(verdict) => {
                request.take_descriptor();
                verdict.write(request)
            }
            FaultKind::TakeAndFail(errno) => {
                request.take_descriptor();
                Err(errno)
            }
            FaultKind::Crash => Err(Errno::EIO),
            FaultKind::CrashAfter => {
                let _ = perform(request);
                failed(request, Errno::EIO)
            }
        }
    }
}

impl Plan {
    /// What is ordered for the next request.
    fn next(&mut self, code: u32) -> Result<Option<FaultKind>, Errno> {
        self.seen += 1;
        if self.dead {
            return Err(Errno::EIO);
        }
        let mut strikes = None;
        for (index, fault) in self.faults.iter_mut().enumerate() {
            if fault.code.is_some_and(|it| it != code) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if strikes.is_none() {
                strikes = Some(index);
            }
        }
        let kind = strikes.map(|index| self.faults.remove(index).kind);
        self.dead = matches!(kind, Some(FaultKind::Crash | FaultKind::CrashAfter));
        Ok(kind)
    }
}

impl Verdict {
    fn write(&self, request: &mut impl Target) -> Result<(), Errno> {
        let status = self.status.to_ne_bytes();
        let ends = match request.code() {
            code::LUN_REQ => &lun_req::LISTS.ends,
            code::PORT_REQ => &port_req::LISTS.ends,
            code::LUN_LIST | code::PORT_LIST => &list::ENDS,
            code::NVMF => &nvmf::ENDS,
            code::PORT_STATS => {
                // Has no place for a text.
                request.argument_mut()[stats::STATUS..stats::STATUS + 4].copy_from_slice(&status);
                return Ok(());
            }
            // Has no place to say it.
            _ => return Err(Errno::EINVAL),
        };
        let argument = request.argument_mut();
        argument[ends.status..ends.status + 4].copy_from_slice(&status);
        let kept = &self.text.as_bytes()[..self.text.len().min(TEXT_SIZE - 1)];
        let text = &mut argument[ends.text..ends.text + TEXT_SIZE];
        text.fill(0);
        text[..kept.len()].copy_from_slice(kept);
        Ok(())
    }
}

/// A request in either of its forms: on its way to any kernel, or within the fake.
pub(super) trait Target {
    fn code(&self) -> u32;
    fn argument(&self) -> &[u8];
    fn argument_mut(&mut self) -> &mut [u8];
    /// Takes the socket that is handed over, and closes it.
    fn take_descriptor(&mut self);
}

impl Target for Call<'_> {
    fn code(&self) -> u32 {
        Call::code(self)
    }

    fn argument(&self) -> &[u8] {
        Call::argument(self)
    }

    fn argument_mut(&mut self) -> &mut [u8] {
        Call::argument_mut(self)
    }

    fn take_descriptor(&mut self) {
        if let Some(file) = self.descriptor_mut() {
            kill(file);
        }
    }
}

impl Target for Request<'_> {
    fn code(&self) -> u32 {
        self.code
    }

    fn argument(&self) -> &[u8] {
        &self.argument
    }

    fn argument_mut(&mut self) -> &mut [u8] {
        &mut self.argument
    }

    fn take_descriptor(&mut self) {
        if let Some(descriptor) = &mut self.descriptor {
            kill(descriptor.file);
            descriptor.taken = true;
        }
    }
}

fn kill(file: &mut OwnedFd) {
    let killed = dead::nothing().and_then(|nothing| dead::kill(file, nothing));
    killed.expect("a descriptor can be replaced");
}

impl<K: Kernel> Faulty<K> {
    /// This kernel, with these failures.
    pub fn new(kernel: K, faults: Faults) -> Self {
        Self { kernel, faults }
    }
}

impl<K: Kernel> Kernel for Faulty<K> {
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno> {
        self.faults.around(call, |call| self.kernel.ioctl(call))
    }
}
