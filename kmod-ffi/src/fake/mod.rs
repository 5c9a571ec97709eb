//! The kernel's side of CTL and nvmft, played in userland, so that everything above the ioctl can be
//! proven where there is no FreeBSD.
//!
//! [`FakeKernel`] gets the very bytes that a kernel would get, and judges them by the kernel's rules, in
//! the kernel's order, with the kernel's texts. It is a second reading of the interface: offsets and
//! codes are written down here once more as numbers, so that a mistake in the requests is not made
//! twice. Packed lists are read by [`crate::nv`], which other vectors prove.
//!
//! Three things go beyond a kernel:
//! * what makes a kernel panic makes the fake say so ([`FakeKernel::panicked`]) and fail ever after;
//! * what a kernel takes although no good daemon does it is noted ([`FakeKernel::misuses`]);
//! * failures can be had to order ([`faults`]).
//!
//! Queues that were handed over are served by a [`Plane`]: [`Bookkeeper`] if none is at hand that does
//! I/O. [`remote`] puts all of it into another process, which outlives the daemon as a kernel does.

#![forbid(unsafe_code)]

mod args;
mod association;
mod backing;
mod bookkeeper;
mod dead;
pub mod faults;
mod foreign;
mod handoff;
mod layout;
mod list;
mod lun;
mod map;
mod number;
mod plane;
mod port;
mod propriety;
mod queue;
pub mod remote;
mod request;
mod state;
mod statistics;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use bookkeeper::Bookkeeper;
pub use foreign::{ForeignLun, ForeignPort};
pub use plane::{LunView, Plane, PortView, Session, StorageView, Traffic};
pub use queue::{Owner, Refusal, TakenQueue};
pub use request::{Descriptor, Region, Request};

use layout::code;
use state::State;

use crate::error::Errno;
use crate::kernel::{Call, Kernel, Memory};

/// `kern.hostid`, of which serial numbers are made by default.
pub const HOSTID: u32 = 123_456_789;

/// A kernel with CTL and nvmft. Clones are the same kernel.
#[derive(Clone)]
pub struct FakeKernel(Arc<Inner>);

/// The kernel, and what it is like.
struct Inner {
    plane: Arc<dyn Plane>,
    patched: bool,
    invariants: bool,
    has_nvmft: bool,
    has_transport: bool,
    limits: Limits,
    /// When it came up.
    since: Instant,
    state: Mutex<State>,
}

/// How much there can be of something (FreeBSD `kern.cam.ctl.max_ports`, `max_luns`, `lun_map_size`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ports of all front ends.
    pub ports: u32,
    /// LUNs.
    pub luns: u32,
    /// Length of a map.
    pub lun_map: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ports: 1024,
            luns: 1024,
            lun_map: 1024,
        }
    }
}

impl FakeKernel {
    /// A kernel as it comes up: with the ports of its own that every CTL has (0 to 2), without LUNs. It
    /// has the remedy for CVE-2026-4652, all modules, and assertions (INVARIANTS), as a kernel that is
    /// made for finding mistakes.
    pub fn new(plane: Arc<dyn Plane>) -> Self {
        let kernel = Self(Arc::new(Inner {
            plane,
            patched: true,
            invariants: true,
            has_nvmft: true,
            has_transport: true,
            limits: Limits::default(),
            since: Instant::now(),
            state: Mutex::default(),
        }));
        for port in ForeignPort::own() {
            // 1024 ports are more than three.
            let _id = kernel.add_port(port);
        }
        kernel
    }

    /// Without the remedy for CVE-2026-4652: an I/O queue for a controller that is not there is a panic.
    #[must_use]
    pub fn unpatched(self) -> Self {
        self.built(|inner| inner.patched = false)
    }

    /// Without assertions, as releases are.
    #[must_use]
    pub fn without_invariants(self) -> Self {
        self.built(|inner| inner.invariants = false)
    }

    /// Without a module: `nvmft` or `nvmf_tcp`.
    #[must_use]
    pub fn without(self, module: &str) -> Self {
        self.built(|inner| match module {
            "nvmft" => inner.has_nvmft = false,
            "nvmf_tcp" => inner.has_transport = false,
            other => panic!("no such module: {other}"),
        })
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.built(|inner| inner.limits = limits)
    }

    fn built(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::get_mut(&mut self.0).expect("a kernel is built before it is shared"));
        self
    }

    /// Makes a request, whatever it is.
    ///
    /// # Errors
    /// ioctl(2)'s, as FreeBSD numbers them. The argument is as it was then.
    pub fn request(&self, request: &mut Request<'_>) -> Result<(), Errno> {
        self.0.note_stray_bytes(request)?;
        let argument = request.argument.clone();
        let result = self.0.dispatch(request);
        // Only what succeeded and says so is copied back.
        if result.is_err() || request.code & code::OUT == 0 {
            request.argument = argument;
        }
        result
    }

    /// What was done that a kernel takes and no good daemon does. Tests require that there is none.
    pub fn misuses(&self) -> Vec<String> {
        self.0.state().misuses.clone()
    }

    /// Why the kernel panicked, if it did. Every request fails then.
    pub fn panicked(&self) -> Option<String> {
        self.0.state().panicked.clone()
    }

    /// What `CTL_PORT_LIST` prints.
    pub fn port_list(&self) -> String {
        state::text(&list::print_ports(&self.0.state()))
    }

    /// What `CTL_LUN_LIST` prints.
    pub fn lun_list(&self) -> String {
        state::text(&list::print_luns(&self.0.state()))
    }

    /// What `CTL_NVMF` of type `LIST` prints.
    pub fn session_list(&self) -> String {
        association::print(&self.0)
    }

    /// Who serves the queues.
    pub fn plane(&self) -> &dyn Plane {
        &*self.0.plane
    }
}

impl Kernel for FakeKernel {
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno> {
        let mut request = copied(call);
        let result = match call.descriptor_mut() {
            Some(file) => {
                request.descriptor = Some(Descriptor {
                    number: std::os::fd::AsRawFd::as_raw_fd(file),
                    file,
                    taken: false,
                });
                self.request(&mut request)
            }
            None => self.request(&mut request),
        };
        let Request {
            argument, memory, ..
        } = request;
        write_back(call, &argument, &memory);
        result
    }
}

/// A request as the caller makes it, but for its descriptor.
fn copied<'a>(call: &mut Call<'_>) -> Request<'a> {
    let memory = call.memory().iter().map(|memory| {
        let (bytes, writable) = match memory {
            Memory::Input(bytes) => (bytes.to_vec(), false),
            Memory::Output(bytes) => (bytes.to_vec(), true),
        };
        Region {
            address: memory.address() as u64,
            bytes,
            writable,
            written: 0,
        }
    });
    let memory = memory.collect();
    Request {
        code: call.code(),
        argument: call.argument().to_vec(),
        memory,
        descriptor: None,
    }
}

/// Gives the caller what the kernel has written.
fn write_back(call: &mut Call<'_>, argument: &[u8], memory: &[Region]) {
    call.argument_mut().copy_from_slice(argument);
    for (to, from) in call.memory().iter_mut().zip(memory) {
        if let Memory::Output(to) = to {
            to[..from.written].copy_from_slice(&from.bytes[..from.written]);
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernel is gone.
    fn panic(&self, why: &str) -> Errno {
        self.state().panicked.get_or_insert_with(|| why.into());
        Errno::EIO
    }

    fn has_frontend(&self, name: &str) -> bool {
        match name {
            "nvmf" => self.has_nvmft,
            "camsim" | "ha" | "ioctl" | "iscsi" | "tpc" => true,
            _ => false,
        }
    }

    /// Fails if the kernel is gone; notes bytes that should be zero.
    fn note_stray_bytes(&self, request: &Request<'_>) -> Result<(), Errno> {
        let mut state = self.state();
        if state.panicked.is_some() {
            return Err(Errno::EIO);
        }
        if !request.is_whole() {
            state.misuse("an argument of another length than its code says");
            return Err(Errno::EFAULT);
        }
        for at in layout::stray_bytes(request) {
            let code = request.code;
            state.misuse(format!(
                "byte {at} of the argument of {code:#x} should be zero"
            ));
        }
        Ok(())
    }

    fn dispatch(&self, request: &mut Request<'_>) -> Result<(), Errno> {
        match request.code {
            code::ENABLE_PORT => port::switch(self, request, true),
            code::DISABLE_PORT => port::switch(self, request, false),
            code::LUN_REQ => lun::lun_request(self, request),
            code::LUN_LIST => list::luns(self, request),
            code::PORT_REQ => port::port_request(self, request),
            code::PORT_LIST => list::ports(self, request),
            code::LUN_MAP => map::map_request(self, request),
            code::PORT_STATS => statistics::ports(self, request),
            code::NVMF => association::nvmf_request(self, request),
            other => {
                let what = format!("a request with the code {other:#x}, which is not known here");
                self.state().misuse(what);
                Err(Errno::ENOTTY)
            }
        }
    }
}

impl fmt::Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeKernel")
            .field("state", &*self.0.state())
            .finish_non_exhaustive()
    }
}
