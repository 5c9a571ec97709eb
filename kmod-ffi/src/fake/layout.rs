//! Where the fields of CTL's arguments are, on systems with 64-bit pointers.
//!
//! Written down as numbers on purpose: the requests are rendered through the bindings, so that a mistake
//! in one of the two is seen by the other. From FreeBSD `sys/cam/ctl/ctl_ioctl.h` and `ctl.h`.

#![forbid(unsafe_code)]

use std::ops::Range;

use super::request::Request;

/// Codes of the requests.
pub(super) mod code {
    pub(in crate::fake) const ENABLE_PORT: u32 = 0x8070_e104;
    pub(in crate::fake) const DISABLE_PORT: u32 = 0x8070_e105;
    pub(in crate::fake) const LUN_REQ: u32 = 0xc168_e121;
    pub(in crate::fake) const LUN_LIST: u32 = 0xc0d8_e122;
    pub(in crate::fake) const PORT_REQ: u32 = 0xc100_e126;
    pub(in crate::fake) const PORT_LIST: u32 = 0xc0d8_e127;
    pub(in crate::fake) const LUN_MAP: u32 = 0x800c_e128;
    pub(in crate::fake) const PORT_STATS: u32 = 0xc038_e12a;
    pub(in crate::fake) const NVMF: u32 = 0xc1c8_e12b;

    /// `IOC_OUT`: the argument is copied back.
    pub(in crate::fake) const OUT: u32 = 0x4000_0000;
}

/// Where a request says how it ended.
pub(super) struct Layout {
    pub(super) status: usize,
    pub(super) text: usize,
}

/// `ctl_port_entry`, 112 bytes.
pub(super) mod port_entry {
    pub(in crate::fake) const PORT_TYPE: usize = 0;
    pub(in crate::fake) const TARG_PORT: usize = 68;
}

/// The part that `ctl_lun_req` and `ctl_req` share, at another offset in each.
pub(super) struct Lists {
    pub(super) ends: Layout,
    pub(super) args: usize,
    pub(super) args_len: usize,
    pub(super) result: usize,
    pub(super) result_len: usize,
}

/// `ctl_lun_req`, 360 bytes.
pub(super) mod lun_req {
    use super::{Layout, Lists};

    pub(in crate::fake) const BACKEND: usize = 0;
    pub(in crate::fake) const REQTYPE: usize = 32;
    pub(in crate::fake) const CREATE_FLAGS: usize = 40;
    pub(in crate::fake) const CREATE_TYPE: usize = 44;
    pub(in crate::fake) const CREATE_SIZE: usize = 48;
    pub(in crate::fake) const CREATE_BLOCKSIZE: usize = 56;
    pub(in crate::fake) const CREATE_ID: usize = 60;
    pub(in crate::fake) const CREATE_SERIAL: usize = 64;
    pub(in crate::fake) const CREATE_DEVID: usize = 80;
    pub(in crate::fake) const RM_ID: usize = 40;
    pub(in crate::fake) const MODIFY_ID: usize = 40;
    pub(in crate::fake) const MODIFY_SIZE: usize = 48;
    pub(in crate::fake) const LISTS: Lists = Lists {
        args: 144,
        args_len: 160,
        result: 168,
        result_len: 184,
        ends: Layout {
            status: 192,
            text: 196,
        },
    };
}

/// `ctl_req`, 256 bytes.
pub(super) mod port_req {
    use super::{Layout, Lists};

    pub(in crate::fake) const DRIVER: usize = 0;
    pub(in crate::fake) const REQTYPE: usize = 32;
    pub(in crate::fake) const LISTS: Lists = Lists {
        args: 40,
        args_len: 56,
        result: 64,
        result_len: 80,
        ends: Layout {
            status: 88,
            text: 92,
        },
    };
}

/// `ctl_lun_list`, 216 bytes, of ports too.
pub(super) mod list {
    use super::Layout;

    pub(in crate::fake) const ALLOC_LEN: usize = 32;
    pub(in crate::fake) const XML: usize = 40;
    pub(in crate::fake) const FILL_LEN: usize = 48;
    pub(in crate::fake) const ENDS: Layout = Layout {
        status: 52,
        text: 56,
    };
}

/// `ctl_lun_map`, 12 bytes.
pub(super) mod lun_map {
    pub(in crate::fake) const PORT: usize = 0;
    pub(in crate::fake) const PLUN: usize = 4;
    pub(in crate::fake) const LUN: usize = 8;
}

/// `ctl_get_io_stats`, 56 bytes, and `ctl_io_stats`, which has three numbers for each counter: of
/// commands without data, of reads, of writes.
pub(super) mod stats {
    pub(in crate::fake) const STATS: usize = 0;
    pub(in crate::fake) const ALLOC_LEN: usize = 8;
    pub(in crate::fake) const FILL_LEN: usize = 16;
    pub(in crate::fake) const FIRST_ITEM: usize = 24;
    pub(in crate::fake) const NUM_ITEMS: usize = 28;
    pub(in crate::fake) const STATUS: usize = 32;
    pub(in crate::fake) const FLAGS: usize = 36;
    pub(in crate::fake) const SECONDS: usize = 40;
    pub(in crate::fake) const NANOSECONDS: usize = 48;

    pub(in crate::fake) const ITEM_SIZE: usize = 176;
    pub(in crate::fake) const BYTES: usize = 8;
    pub(in crate::fake) const OPERATIONS: usize = 32;
    pub(in crate::fake) const DMAS: usize = 56;
}

/// `ctl_nvmf`, 456 bytes.
pub(super) mod nvmf {
    use super::Layout;

    pub(in crate::fake) const TYPE: usize = 0;
    pub(in crate::fake) const HANDOFF_DATA: usize = 8;
    pub(in crate::fake) const HANDOFF_SIZE: usize = 24;
    pub(in crate::fake) const LIST_ALLOC_LEN: usize = 8;
    pub(in crate::fake) const LIST_XML: usize = 16;
    pub(in crate::fake) const LIST_FILL_LEN: usize = 24;
    pub(in crate::fake) const TERMINATE_CNTLID: usize = 8;
    pub(in crate::fake) const TERMINATE_HOSTNQN: usize = 12;
    pub(in crate::fake) const TERMINATE_ALL: usize = 268;
    pub(in crate::fake) const ENDS: Layout = Layout {
        status: 288,
        text: 292,
    };
}

/// The bytes of a request's argument that a caller has a reason to set; all others should be zero:
/// pointers of the kernel's own, padding, spare fields, what the kernel answers, and the parts of a union
/// that the request does not use.
fn used(request: &Request<'_>) -> Vec<Range<usize>> {
    let fields: &[(usize, usize)] = match (request.code, request.u32_or(0), request.u32_or(32)) {
        (code::ENABLE_PORT | code::DISABLE_PORT, ..) => &[(0, 4), (68, 4)],
        // A name, the kind of request, its part of the union, two lists.
        (code::LUN_REQ, _, 0) => &[(0, 36), (40, 5), (48, 96), (144, 8), (160, 16), (184, 8)],
        (code::LUN_REQ, _, 1) => &[(0, 36), (40, 4), (144, 8), (160, 16), (184, 8)],
        (code::LUN_REQ, ..) => &[(0, 36), (40, 4), (48, 8), (144, 8), (160, 16), (184, 8)],
        (code::PORT_REQ, ..) => &[(0, 36), (40, 8), (56, 16), (80, 8)],
        (code::LUN_LIST | code::PORT_LIST, ..) => &[(32, 4), (40, 8)],
        (code::LUN_MAP, ..) => &[(0, 12)],
        (code::PORT_STATS, ..) => &[(0, 16), (24, 4)],
        (code::NVMF, 0, _) => &[(0, 4), (8, 8), (24, 8)],
        (code::NVMF, 1, _) => &[(0, 4), (8, 4), (16, 8)],
        (code::NVMF, 2, _) => &[(0, 4), (8, 264)],
        _ => return std::iter::once(0..request.argument.len()).collect(),
    };
    fields.iter().map(|&(at, size)| at..at + size).collect()
}

/// Offsets of the first bytes of each stretch that should be zero and is not.
pub(super) fn stray_bytes(request: &Request<'_>) -> Vec<usize> {
    let used = used(request);
    let stray = |&at: &usize| request.argument[at] != 0 && !used.iter().any(|it| it.contains(&at));
    let all: Vec<usize> = (0..request.argument.len()).filter(stray).collect();
    let first = |&at: &usize| at == 0 || !all.contains(&(at - 1));
    all.iter().copied().filter(first).collect()
}

impl Request<'_> {
    /// A number for telling kinds of requests apart; 0 where the argument is too short for one.
    fn u32_or(&self, at: usize) -> u32 {
        if self.argument.len() < at + 4 {
            0
        } else {
            self.u32(at)
        }
    }
}
