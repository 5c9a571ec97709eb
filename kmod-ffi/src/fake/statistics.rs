//! What hosts have read and written, for each port (`CTL_GET_PORT_STATS`).
//!
//! FreeBSD `sys/cam/ctl/ctl.c`, built without `CTL_TIME_IO`: no times are measured.

#![forbid(unsafe_code)]

use super::Inner;
use super::layout::stats;
use super::plane::Traffic;
use super::request::Request;
use crate::error::Errno;

/// `CTL_SS_OK`.
const STATUS_OK: u32 = 0;
/// `CTL_SS_NEED_MORE_SPACE`.
const STATUS_NEED_MORE_SPACE: u32 = 1;

/// `CTL_GET_PORT_STATS`. Ports with numbers below `first_item` are passed over, what fits is filled in,
/// and all ports are counted whatever their numbers.
pub(super) fn ports(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let mut state = kernel.state();
    if state.removals > 0 {
        state.misuse("asked for statistics while a port is removed: the kernel has no lock there");
    }
    let (address, space) = (request.u64(stats::STATS), request.u64(stats::ALLOC_LEN));
    // A C int.
    let first = i32::from_ne_bytes(request.u32(stats::FIRST_ITEM).to_ne_bytes());
    let mut filled = 0_u64;
    let mut status = STATUS_OK;
    for (&id, port) in &state.ports {
        if i64::from(id) < i64::from(first) {
            continue;
        }
        if filled + stats::ITEM_SIZE as u64 > space {
            status = STATUS_NEED_MORE_SPACE;
            break;
        }
        let traffic = kernel.plane.traffic(id).since(port.traffic_before);
        request.copy_out(address.wrapping_add(filled), &item(id, traffic))?;
        filled += stats::ITEM_SIZE as u64;
    }
    request.put_u64(stats::FILL_LEN, filled);
    let there = u32::try_from(state.ports.len()).unwrap_or(u32::MAX);
    request.put_u32(stats::NUM_ITEMS, there);
    request.put_u32(stats::STATUS, status);
    request.put_u32(stats::FLAGS, 0);
    let uptime = kernel.since.elapsed();
    request.put_u64(stats::SECONDS, uptime.as_secs());
    request.put_u64(stats::NANOSECONDS, uptime.subsec_nanos().into());
    Ok(())
}

/// One `ctl_io_stats`; data moves in one piece for each command.
fn item(id: u32, traffic: Traffic) -> [u8; stats::ITEM_SIZE] {
    let mut item = [0; stats::ITEM_SIZE];
    item[..4].copy_from_slice(&id.to_ne_bytes());
    let counters = [
        (stats::BYTES, traffic.bytes_read, traffic.bytes_written),
        (stats::OPERATIONS, traffic.reads, traffic.writes),
        (stats::DMAS, traffic.reads, traffic.writes),
    ];
    for (at, read, written) in counters {
        item[at + 8..at + 16].copy_from_slice(&read.to_ne_bytes());
        item[at + 16..at + 24].copy_from_slice(&written.to_ne_bytes());
    }
    item
}
