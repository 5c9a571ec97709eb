//! What can be asked of CTL: each request rendered to the exact struct and packed list, and its answer
//! read on both levels of failure.

#![forbid(unsafe_code)]

mod handoff;
mod list;
mod lun;
mod port;
mod session;

use std::fmt;
use std::sync::Arc;

pub use handoff::{HandoffError, RefusedFor, Socket, arguments as handoff_arguments};
pub use lun::{LunId, NewLun, Storage};
pub use port::{NewPort, PortId, is_name_taken};
pub use session::Which;

use crate::error::{KernelError, printable};
use crate::kernel::{Call, Kernel};
use crate::nv::Nvlist;

/// Value of `ctl_lun_status` that means success; every other is a failure, `CTL_LUN_WARNING` too.
const STATUS_OK: u32 = nvmf_sys::CTL_LUN_OK;

/// Length of every `error_str`, its NUL included.
const ERROR_TEXT: usize = nvmf_sys::CTL_ERROR_STR_LEN as usize;

/// CTL, ready to be asked.
#[derive(Clone)]
pub struct Ctl {
    kernel: Arc<dyn Kernel>,
}

impl Ctl {
    /// CTL behind this seam.
    pub fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self { kernel }
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

/// Packs a list of arguments.
fn packed(what: impl fmt::Display, list: &Nvlist) -> Result<Vec<u8>, KernelError> {
    list.pack().map_err(|error| KernelError::Unaskable {
        what: what.to_string(),
        why: error.to_string(),
    })
}

/// Whether CTL's lists can show `text`, which they print as it is: markup would be taken for theirs.
pub fn is_listable(text: &str) -> bool {
    !text
        .chars()
        .any(|char| matches!(char, '<' | '>' | '&' | '"' | '\'') || char.is_control())
}

/// Refuses what CTL's lists cannot show.
fn listable<'a>(
    what: impl fmt::Display,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<(), KernelError> {
    match texts.into_iter().find(|text| !is_listable(text)) {
        None => Ok(()),
        Some(text) => Err(KernelError::Unaskable {
            what: what.to_string(),
            why: format!("{text:?} has characters that the kernel's lists cannot hold"),
        }),
    }
}
