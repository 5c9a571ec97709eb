//! The safe face of FreeBSD's CTL and its NVMe over Fabrics front end: ports, LUNs, maps, the hand-off
//! of queues, associations.
//!
//! [`Ctl`] has a method for each thing that can be asked. Below it lies one seam, [`Kernel`], at
//! ioctl(2): [`device::CtlDevice`] is FreeBSD's, and `fake` (a feature, for tests) judges the very bytes
//! by the kernel's rules.
//!
//! Source of all rules: FreeBSD 15, `sys/cam/ctl/{ctl.c,ctl_ioctl.h,ctl_frontend_nvmf.c}` and
//! `sys/dev/nvmf/controller/`.

#![deny(unsafe_code)]

mod argument;
pub mod device;
pub mod error;
#[cfg(feature = "fake")]
pub mod fake;
#[expect(unsafe_code, reason = "ioctl(2)")]
mod ioctl;
pub mod kernel;
#[allow(unsafe_code, reason = "modfind, kldload, sysctl; FreeBSD only")]
pub mod module;
pub mod nv;
pub mod request;
pub mod xml;

pub use device::CtlDevice;
pub use error::{Errno, KernelError};
pub use kernel::Kernel;
pub use request::Ctl;
