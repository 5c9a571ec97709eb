//! Associations that the kernel has: ended by name (`CTL_NVMF` of type `TERMINATE`).
//!
//! FreeBSD `sys/cam/ctl/ctl_frontend_nvmf.c` (nvmft_terminate).

#![forbid(unsafe_code)]

use std::mem::offset_of;

use nvmf_proto::nqn::Nqn;
use nvmf_sys::ctl_nvmf;

use super::{Ctl, ERROR_TEXT, refused};
use crate::argument::Argument;
use crate::error::KernelError;
use crate::kernel::Call;

/// Associations, of all ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every one.
    All,
    /// Those of this host.
    Host(Nqn),
    /// Those with this controller identifier: one for each port that has given it.
    Cntlid(u16),
}

impl Ctl {
    /// Ends associations. Their hosts see the connection closed; they may come back. Whether there was
    /// any.
    ///
    /// # Errors
    /// The kernel's.
    pub fn terminate(&self, which: &Which) -> Result<bool, KernelError> {
        let what = "end associations";
        let mut argument = Argument::zeroed::<ctl_nvmf>();
        argument.put_u32(offset_of!(ctl_nvmf, type_), nvmf_sys::CTL_NVMF_TERMINATE);
        // -1: by another criterion. 0 is a controller.
        let mut cntlid = -1_i32;
        match which {
            Which::All => argument.put_u32(offset_of!(ctl_nvmf, data.terminate.all), 1),
            Which::Host(hostnqn) => {
                let at = offset_of!(ctl_nvmf, data.terminate.hostnqn);
                argument.put_text(at, 256, hostnqn.as_str());
            }
            Which::Cntlid(id) => cntlid = i32::from(*id),
        }
        let at = offset_of!(ctl_nvmf, data.terminate.cntlid);
        argument.put(at, &cntlid.to_ne_bytes());
        self.ioctl(what, Call::new(nvmf_sys::CTL_NVMF, &mut argument))?;
        match argument.u32(offset_of!(ctl_nvmf, status)) {
            nvmf_sys::CTL_NVMF_OK => Ok(true),
            nvmf_sys::CTL_NVMF_ASSOCIATION_NOT_FOUND => Ok(false),
            status => {
                let text = argument.text(offset_of!(ctl_nvmf, error_str), ERROR_TEXT);
                Err(refused(what, status, &text))
            }
        }
    }
}
