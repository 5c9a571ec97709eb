//! What hosts have read and written, as CTL counts it for each port (`CTL_GET_PORT_STATS`).
//!
//! FreeBSD `sys/cam/ctl/ctl.c` (ctl_ioctl, ctl_process_done).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::sync::PoisonError;

use nvmf_sys::{CTL_STATS_READ, CTL_STATS_WRITE, ctl_get_io_stats, ctl_io_stats};

use super::{Ctl, PortId, refused};
use crate::argument::Argument;
use crate::error::KernelError;
use crate::kernel::{Call, LengthField};

/// Ports that space is offered for first.
const FIRST_PORTS: usize = 32;

/// Ports that space is offered for at the most: 11 MiB. FreeBSD has 1024 unless it is told otherwise.
const MOST_PORTS: usize = 1 << 16;

/// Bytes of one port's counters.
const SIZE: usize = size_of::<ctl_io_stats>();

/// What hosts have done at a port since it was made: commands that succeeded, by the way that their data
/// went. So an Identify of a namespace is a read, and Compare and Dataset Management are writes; Flush,
/// Write Zeroes and Verify move no data and are neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Commands whose data went to hosts.
    pub reads: u64,
    /// Commands whose data came from hosts.
    pub writes: u64,
    /// Bytes that went to hosts.
    pub bytes_read: u64,
    /// Bytes that came from hosts.
    pub bytes_written: u64,
}

impl Ctl {
    /// What was counted for every port of every front end. Waits while a port is made or removed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn port_statistics(&self) -> Result<BTreeMap<PortId, Statistics>, KernelError> {
        let what = "read the statistics of the ports";
        // FreeBSD BUG: the kernel walks its list of ports without a lock. We can keep ourselves from
        // changing the list meanwhile, but not others.
        let _nothing_changes = self
            .port_list
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut ports = FIRST_PORTS;
        loop {
            let mut argument = Argument::zeroed::<ctl_get_io_stats>();
            let mut counters = vec![0; ports * SIZE];
            let call = Call::new(nvmf_sys::CTL_GET_PORT_STATS, &mut argument).output(
                offset_of!(ctl_get_io_stats, stats),
                LengthField::Size(offset_of!(ctl_get_io_stats, alloc_len)),
                &mut counters,
            );
            self.ioctl(what, call)?;
            let senseless = |why: String| KernelError::Answer {
                what: what.into(),
                why,
            };
            match argument.u32(offset_of!(ctl_get_io_stats, status)) {
                nvmf_sys::CTL_SS_OK => {
                    let length = argument.size(offset_of!(ctl_get_io_stats, fill_len));
                    let counters = counters
                        .get(..length)
                        .filter(|counters| counters.len() % SIZE == 0)
                        .ok_or_else(|| senseless(format!("it claims to have {length} bytes")))?;
                    return Ok(counters.chunks_exact(SIZE).map(statistics).collect());
                }
                nvmf_sys::CTL_SS_NEED_MORE_SPACE if ports < MOST_PORTS => ports *= 2,
                nvmf_sys::CTL_SS_NEED_MORE_SPACE => {
                    let there = argument.u32(offset_of!(ctl_get_io_stats, num_items));
                    return Err(senseless(format!("there are {there} ports")));
                }
                // It has no text.
                status => return Err(refused(what, status, "")),
            }
        }
    }
}

/// One port's counters.
fn statistics(counters: &[u8]) -> (PortId, Statistics) {
    let at = offset_of!(ctl_io_stats, item);
    let id = u32::from_ne_bytes(std::array::from_fn(|i| counters[at + i]));
    let count = |array: usize, kind: u32| {
        // 0 to 2.
        let at = array + kind as usize * size_of::<u64>();
        u64::from_ne_bytes(std::array::from_fn(|i| counters[at + i]))
    };
    let operations = offset_of!(ctl_io_stats, operations);
    let bytes = offset_of!(ctl_io_stats, bytes);
    let statistics = Statistics {
        reads: count(operations, CTL_STATS_READ),
        writes: count(operations, CTL_STATS_WRITE),
        bytes_read: count(bytes, CTL_STATS_READ),
        bytes_written: count(bytes, CTL_STATS_WRITE),
    };
    (PortId(id), statistics)
}
