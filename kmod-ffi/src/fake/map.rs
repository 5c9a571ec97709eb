//! Maps (`CTL_LUN_MAP`): which of CTL's LUNs a port has, and under which number.
//!
//! FreeBSD `sys/cam/ctl/ctl.c` (`CTL_LUN_MAP`, ctl_lun_map_init, ctl_lun_map_deinit, ctl_lun_map_set,
//! ctl_lun_map_unset).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::Inner;
use super::layout::lun_map;
use super::request::Request;
use super::state::State;
use crate::error::Errno;

/// All, or none.
const ALL: u32 = 0xffff_ffff;

/// `CTL_LUN_MAP`.
pub(super) fn map_request(kernel: &Inner, request: &Request<'_>) -> Result<(), Errno> {
    let port = request.u32(lun_map::PORT);
    let plun = request.u32(lun_map::PLUN);
    let lun = request.u32(lun_map::LUN);
    let mut state = kernel.state();
    let online = {
        let it = state.ports.get(&port).ok_or(Errno::ENXIO)?;
        let (online, foreign) = (it.online, it.foreign);
        if foreign {
            state.misuse(format!(
                "changed the map of port {port}, which is somebody else's"
            ));
        }
        online
    };
    match (plun, lun) {
        (ALL, lun) => {
            if online {
                let what = if lun == ALL { "dropped" } else { "emptied" };
                state.misuse(format!("{what} the map of port {port} while it is online"));
            }
            if lun == ALL {
                drop_map(&mut state, port, online);
            } else {
                empty_map(&mut state, port, online);
            }
        }
        (plun, ALL) => unset(&mut state, port, online, plun),
        (plun, lun) => {
            state.lun(lun).ok_or(Errno::ENXIO)?;
            set(kernel, &mut state, port, online, (plun, lun))?;
        }
    }
    state.settle(&*kernel.plane);
    Ok(())
}

/// An empty map. FreeBSD BUG: of a port that is online, namespaces are taken away by the numbers of all
/// LUNs there are, and not by those that the map had.
fn empty_map(state: &mut State, port: u32, online: bool) {
    let luns: Vec<u32> = state.luns.iter().map(|lun| lun.id).collect();
    if let Some(port) = state.ports.get_mut(&port) {
        port.map = Some(BTreeMap::new());
    }
    if online {
        luns.into_iter()
            .for_each(|lun| state.disable_lun(port, lun));
    }
}

/// No map. FreeBSD BUG: as with an empty one.
fn drop_map(state: &mut State, port: u32, online: bool) {
    let luns: Vec<u32> = state.luns.iter().map(|lun| lun.id).collect();
    let had = state
        .ports
        .get_mut(&port)
        .and_then(|port| port.map.take())
        .is_some();
    if online && had {
        luns.into_iter().for_each(|lun| state.enable_lun(port, lun));
    }
}

fn unset(state: &mut State, port: u32, online: bool, plun: u32) {
    let map = state.ports.get_mut(&port).and_then(|it| it.map.as_mut());
    let was_set = map.and_then(|map| map.remove(&plun)).is_some();
    if online && was_set {
        state.disable_lun(port, plun);
    }
}

fn set(
    kernel: &Inner,
    state: &mut State,
    port: u32,
    online: bool,
    (plun, lun): (u32, u32),
) -> Result<(), Errno> {
    if state.ports.get(&port).is_some_and(|it| it.map.is_none()) {
        if online {
            state.misuse(format!("gave port {port} its first map while it is online"));
        }
        empty_map(state, port, online);
    }
    if plun >= kernel.limits.lun_map {
        return Err(Errno::EINVAL);
    }
    if state.nvmf_mut(port).is_some_and(|nvmf| plun >= nvmf.nn) {
        state.misuse(format!(
            "mapped plun {plun} of port {port}, whose highest NSID is less"
        ));
    }
    let map = state.ports.get_mut(&port).and_then(|it| it.map.as_mut());
    match map.and_then(|map| map.insert(plun, lun)) {
        None if online => state.enable_lun(port, plun),
        Some(before) if online && before != lun => state.misuse(format!(
            "mapped plun {plun} of port {port} to another LUN without unmapping it: hosts are not told"
        )),
        None | Some(_) => {}
    }
    Ok(())
}
