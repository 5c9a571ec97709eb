//! What can be asked of CTL: each request rendered to the exact struct and packed list, and its answer
//! read on both levels of failure.

#![forbid(unsafe_code)]

mod handoff;
mod list;
mod lun;
mod port;
mod session;
mod statistics;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};

pub use handoff::{HandoffError, RefusedFor, Socket, arguments as handoff_arguments};
pub use lun::{LunId, NewLun, Storage};
pub use port::{NewPort, PortId, is_name_taken};
pub use session::Which;
pub use statistics::Statistics;

use crate::error::{KernelError, printable};
use crate::kernel::{Call, Kernel};
use crate::nv::{Nvlist, Value};

/// Value of `ctl_lun_status` that means success; every other is a failure, `CTL_LUN_WARNING` too.
const STATUS_OK: u32 = nvmf_sys::CTL_LUN_OK;

/// Length of every `error_str`, its NUL included.
const ERROR_TEXT: usize = nvmf_sys::CTL_ERROR_STR_LEN as usize;

/// CTL, ready to be asked.
#[derive(Clone)]
pub struct Ctl {
    kernel: Arc<dyn Kernel>,
    /// Bytes that lists are offered first.
    list_space: Arc<AtomicUsize>,
    /// Held by who makes or removes a port, and alone by who needs that nobody does.
    port_list: Arc<RwLock<()>>,
}

impl Ctl {
    /// CTL behind this seam.
    pub fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self {
            kernel,
            list_space: Arc::default(),
            port_list: Arc::default(),
        }
    }

    /// Makes a request; `what` completes "cannot …".
    fn ioctl(&self, what: impl fmt::Display, mut call: Call<'_>) -> Result<(), KernelError> {
        self.kernel
            .ioctl(&mut call)
            .map_err(|errno| KernelError::Ioctl {
                what: what.to_string(),
                errno,
            })
    }
}

impl fmt::Debug for Ctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctl").finish_non_exhaustive()
    }
}

/// A refusal with the kernel's text.
fn refused(what: impl fmt::Display, status: u32, text: &str) -> KernelError {
    KernelError::Refused {
        what: what.to_string(),
        status,
        text: printable(text),
    }
}

/// Packs a list of arguments. What CTL would keep as an option and could not list is refused.
fn packed(what: impl fmt::Display, list: &Nvlist) -> Result<Vec<u8>, KernelError> {
    let unaskable = |why: String| KernelError::Unaskable {
        what: what.to_string(),
        why,
    };
    for (name, value) in list.iter() {
        if let Value::String(bytes) = value
            && let value = String::from_utf8_lossy(bytes)
            && let Some(text) = [name, &value].into_iter().find(|text| !is_listable(text))
        {
            let why = "has characters that the kernel's lists cannot hold";
            return Err(unaskable(format!("{text:?} {why}")));
        }
    }
    list.pack().map_err(|error| unaskable(error.to_string()))
}

/// Whether CTL's lists can show `text`, which they print as it is: markup would be taken for theirs.
pub fn is_listable(text: &str) -> bool {
    !text
        .chars()
        .any(|char| matches!(char, '<' | '>' | '&' | '"' | '\'') || char.is_control())
}
