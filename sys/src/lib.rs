//! The kernel interface of FreeBSD's CTL and nvmft, as it lies in memory.
//!
//! Types, constants and request codes under C's own names, on every host, so that what uses them is
//! checked and tested everywhere; no call is made here. The bindings are made from the C
//! declarations in `cam/` and `dev/` of this directory by `bindgen.sh`, or with the feature
//! `bindgen` from FreeBSD's own headers. [`ioccom`] has FreeBSD's rule for request codes, `layout`
//! asserts what the kernel expects. Numbers are in the machine's byte order, texts end in a NUL.
//!
//! Every request begins as zeros ([`FromZeros::new_zeroed`]), because the kernel reads all of it.

#![forbid(unsafe_code)]

pub mod ioccom;
mod layout;

use std::ffi::CStr;

pub use bindings::*;
use ioccom::{iow, iowr};
pub use zerocopy::FromZeros;

/// CTL's device. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_DEFAULT_DEV: &CStr = match CStr::from_bytes_with_nul(bindings::CTL_DEFAULT_DEV) {
    Ok(path) => path,
    Err(_) => panic!("a C string ends in its only NUL"),
};

/// Puts the port online; `targ_port` selects it. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_ENABLE_PORT: u32 = iow::<ctl_port_entry>(CTL_MINOR, 0x04);
/// Takes the port offline, and sleeps until its controllers are gone. FreeBSD
/// `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_DISABLE_PORT: u32 = iow::<ctl_port_entry>(CTL_MINOR, 0x05);
/// Makes, removes or changes a LUN. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_LUN_REQ: u32 = iowr::<ctl_lun_req>(CTL_MINOR, 0x21);
/// Lists the LUNs as XML. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_LUN_LIST: u32 = iowr::<ctl_lun_list>(CTL_MINOR, 0x22);
/// Makes or removes a port. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_PORT_REQ: u32 = iowr::<ctl_req>(CTL_MINOR, 0x26);
/// Lists the ports as XML, in the list of LUNs' type. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_PORT_LIST: u32 = iowr::<ctl_lun_list>(CTL_MINOR, 0x27);
/// Shows a LUN at a port, or hides it. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_LUN_MAP: u32 = iow::<ctl_lun_map>(CTL_MINOR, 0x28);
/// What was read from and written to each LUN. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_GET_LUN_STATS: u32 = iowr::<ctl_get_io_stats>(CTL_MINOR, 0x29);
/// What was read from and written to each port. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_GET_PORT_STATS: u32 = iowr::<ctl_get_io_stats>(CTL_MINOR, 0x2a);
/// nvmft's requests: hand-off, list, terminate. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_NVMF: u32 = iowr::<ctl_nvmf>(CTL_MINOR, 0x2b);

/// The group in the codes of CTL's requests. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_MINOR: u32 = bindings::CTL_MINOR;
/// Hosts that CTL knows at one port. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_MAX_INIT_PER_PORT: u32 = bindings::CTL_MAX_INIT_PER_PORT;
/// Bytes of packed options that a request may bring. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_MAX_ARGS_LEN: u32 = bindings::CTL_MAX_ARGS_LEN;
/// Bytes of `error_str`, with its NUL. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_ERROR_STR_LEN: u32 = bindings::CTL_ERROR_STR_LEN;
/// Bytes of a backend's name, with its NUL. FreeBSD `sys/cam/ctl/ctl_ioctl.h`.
pub const CTL_BE_NAME_LEN: u32 = bindings::CTL_BE_NAME_LEN;
/// Bytes of a frontend's name, with its NUL. FreeBSD `sys/cam/ctl/ctl.h`.
pub const CTL_DRIVER_NAME_LEN: u32 = bindings::CTL_DRIVER_NAME_LEN;
/// Bytes of a LUN's serial number. FreeBSD `sys/cam/ctl/ctl.h`.
pub const CTL_SN_LEN: u32 = bindings::CTL_SN_LEN;
/// Bytes of a LUN's device id. FreeBSD `sys/cam/ctl/ctl.h`.
pub const CTL_DEVID_LEN: u32 = bindings::CTL_DEVID_LEN;
/// `ctl_port_entry.wwnn` is filled in. FreeBSD `sys/cam/ctl/ctl.h`.
pub const CTL_PORT_WWNN_VALID: u32 = bindings::CTL_PORT_WWNN_VALID;
/// `ctl_port_entry.wwpn` is filled in. FreeBSD `sys/cam/ctl/ctl.h`.
pub const CTL_PORT_WWPN_VALID: u32 = bindings::CTL_PORT_WWPN_VALID;

/// Entries of an I/O queue, unless the port's options say otherwise. FreeBSD `sys/dev/nvmf/nvmf.h`.
pub const NVMF_MAX_IO_ENTRIES: u32 = bindings::NVMF_MAX_IO_ENTRIES;
/// How long enabling may take, in 500 ms, unless the port's options say otherwise. FreeBSD
/// `sys/dev/nvmf/nvmf.h`.
pub const NVMF_CC_EN_TIMEOUT: u32 = bindings::NVMF_CC_EN_TIMEOUT;
/// Highest NSID, unless the port's options say otherwise. FreeBSD `sys/dev/nvmf/nvmf.h`.
pub const NVMF_NN: u32 = bindings::NVMF_NN;
/// Bytes of an NQN's field, with its NUL. FreeBSD `sys/dev/nvmf/nvmf_proto.h`.
pub const NVME_NQN_FIELD_SIZE: u32 = bindings::NVME_NQN_FIELD_SIZE;
/// Bytes of the longest NQN, without a NUL. FreeBSD `sys/dev/nvmf/nvmf_proto.h`.
pub const NVMF_NQN_MAX_LEN: u32 = bindings::NVMF_NQN_MAX_LEN;
/// The CNTLID by which a host asks for a new controller. FreeBSD `sys/dev/nvmf/nvmf_proto.h`.
pub const NVMF_CNTLID_DYNAMIC: u32 = bindings::NVMF_CNTLID_DYNAMIC;
/// The CNTLID by which a host asks for any of the static controllers. FreeBSD
/// `sys/dev/nvmf/nvmf_proto.h`.
pub const NVMF_CNTLID_STATIC_ANY: u32 = bindings::NVMF_CNTLID_STATIC_ANY;
/// The highest CNTLID of a controller. FreeBSD `sys/dev/nvmf/nvmf_proto.h`.
pub const NVMF_CNTLID_STATIC_MAX: u32 = bindings::NVMF_CNTLID_STATIC_MAX;
/// The keep-alive timeout that FreeBSD's host asks for, in ms. FreeBSD `sys/dev/nvmf/nvmf_proto.h`.
pub const NVMF_KATO_DEFAULT: u32 = bindings::NVMF_KATO_DEFAULT;

// Macros have no comment that bindgen sees: they are documented above, and hide what is here.
#[expect(non_camel_case_types, unreachable_pub, reason = "C's names")]
#[cfg_attr(
    feature = "bindgen",
    allow(
        missing_docs,
        reason = "the system's headers are documented in their own way"
    )
)]
mod bindings {
    #[cfg(not(feature = "bindgen"))]
    include!("bindings.rs");
    #[cfg(feature = "bindgen")]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
