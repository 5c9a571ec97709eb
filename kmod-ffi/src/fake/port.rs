//! Ports: made and removed (`CTL_PORT_REQ`), let online and offline (`CTL_ENABLE_PORT`,
//! `CTL_DISABLE_PORT`).
//!
//! FreeBSD `sys/cam/ctl/ctl_frontend_nvmf.c` (nvmft_port_create, nvmft_port_remove),
//! `sys/cam/ctl/ctl_frontend.c` (ctl_port_online, ctl_port_offline) and `sys/cam/ctl/ctl.c`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::Inner;
use super::args::{self, Failure};
use super::layout::{port_entry, port_req};
use super::number;
use super::plane::Traffic;
use super::request::Request;
use super::state::{Nvmf, Port, State, text, unlistable};
use crate::error::Errno;
use crate::nv::Nvlist;

/// Port type of nvmft's ports.
pub(super) const TYPE_NVMF: u32 = 0x80;

/// `CTL_PORT_REQ`.
pub(super) fn port_request(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let driver = text(request.text(port_req::DRIVER, 32));
    let kind = request.u32(port_req::REQTYPE);
    if !kernel.has_frontend(&driver) {
        let why = format!("Frontend \"{driver}\" not found.");
        return args::refuse(request, &port_req::LISTS.ends, Failure::Refused(why));
    }
    let done = args::unpack(kernel, request, &port_req::LISTS).and_then(|options| {
        if driver != "nvmf" {
            kernel
                .state()
                .misuse(format!("asked front end {driver} for something"));
            return Err(Failure::Errno(Errno::ENODEV));
        }
        match kind {
            0 => create(kernel, &options, false).map(|id| Some(reply(id))),
            1 => remove(kernel, &options).map(|()| None),
            _ => Err(Failure::Refused(format!("Unsupported request type {kind}"))),
        }
    });
    args::finish(request, &port_req::LISTS, done)
}

fn reply(id: u32) -> Nvlist {
    Nvlist::new().number("port_id", id.into())
}

/// The numbers among a port's options, in the order in which they are looked at.
struct Numbers {
    portid: u16,
    max_io_qsize: u32,
    enable_timeout: u8,
    ioccsz: u32,
    iorcsz: u32,
    nn: u32,
}

impl Numbers {
    fn read(options: &Nvlist, misuses: &mut Vec<String>) -> Result<Self, Failure> {
        let mut number = |key: &str, default: u64, is_legal: &dyn Fn(u64) -> bool, why: &str| {
            let text = options.get_bytes(key);
            if text.is_some_and(|text| !number::is_plain(text)) {
                misuses.push(format!("option {key} of a port is no plain decimal number"));
            }
            let number = text.map_or(Some(default), number::whole);
            number
                .filter(|&number| is_legal(number))
                .ok_or_else(|| Failure::refused(why))
        };
        let portid = number("portid", 0xffff, &|it| it <= 0xffff, "Invalid port ID")?;
        let in_range = |it| (2..=65536).contains(&it);
        let why = "Invalid maximum I/O queue size";
        let max_io_qsize = number("max_io_qsize", 1024, &in_range, why)?;
        let is_timeout = |it| it % 500 == 0 && it / 500 <= 255;
        let why = "Invalid enable timeout";
        let enable_timeout = number("enable_timeout", 7500, &is_timeout, why)?;
        let is_command = |it| it >= 64 && it % 16 == 0;
        let why = "Invalid Command Capsule size";
        let ioccsz = number("ioccsz", 16448, &is_command, why)?;
        let is_response = |it| it >= 16 && it % 16 == 0;
        let why = "Invalid Response Capsule size";
        let iorcsz = number("iorcsz", 16, &is_response, why)?;
        let is_count = |it| (1..=0xffff_ffff).contains(&it);
        let nn = number("nn", 1024, &is_count, "Invalid number of namespaces")?;
        if max_io_qsize == 65536 {
            misuses.push("MAXCMD of 65536 wraps to 0".into());
        }
        if ioccsz > 0xffff_ffff || iorcsz > 0xffff_ffff {
            misuses.push("a capsule size of a port is cut to 32 bits".into());
        }
        Ok(Self {
            portid: u16::try_from(portid).unwrap_or(u16::MAX),
            max_io_qsize: low(max_io_qsize),
            enable_timeout: u8::try_from(enable_timeout / 500).unwrap_or(u8::MAX),
            ioccsz: low(ioccsz),
            iorcsz: low(iorcsz),
            nn: low(nn),
        })
    }
}

/// What a cast to 32 bits leaves.
pub(super) fn low(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Makes a port; its number.
pub(super) fn create(kernel: &Inner, options: &Nvlist, foreign: bool) -> Result<u32, Failure> {
    let (Some(subnqn), Some(_)) = (options.get_bytes("subnqn"), options.get_bytes("portid")) else {
        return Err(Failure::refused("Missing required argument"));
    };
    if !is_valid_nqn(subnqn) {
        return Err(Failure::refused("Invalid SubNQN"));
    }
    let mut misuses = Vec::new();
    let numbers = Numbers::read(options, &mut misuses);
    misuses.extend(unlistable(options));
    let mut state = kernel.state();
    if !foreign {
        misuses.into_iter().for_each(|it| state.misuse(it));
    }
    let numbers = numbers?;
    if state.subsystem(subnqn).is_some() {
        let why = format!("SubNQN \"{}\" already exists", text(subnqn));
        return Err(Failure::Refused(why));
    }
    let serial = match options.get_bytes("serial") {
        Some(serial) => serial.to_vec(),
        None => format!("HI:{}", super::HOSTID).into_bytes(),
    };
    let portid = numbers.portid.into();
    let nvmf = Nvmf {
        subnqn: subnqn.to_vec(),
        online: false,
        portid: numbers.portid,
        max_io_qsize: numbers.max_io_qsize,
        enable_timeout: numbers.enable_timeout,
        ioccsz: numbers.ioccsz,
        iorcsz: numbers.iorcsz,
        nn: numbers.nn,
        serial,
        active: BTreeSet::new(),
        shown: BTreeMap::new(),
    };
    let port = Port {
        frontend: "nvmf".into(),
        port_type: TYPE_NVMF,
        name: "nvmf".into(),
        physical: portid,
        virtual_port: 0,
        target: None,
        port: None,
        online: false,
        options: options.clone(),
        map: None,
        foreign,
        traffic_before: Traffic::default(),
        nvmf: Some(nvmf),
    };
    // EBUSY.
    let id = register(kernel, &mut state, port)
        .ok_or_else(|| Failure::refused("Failed to register CTL port with error 16"))?;
    state.nvmf_ports.push(id);
    Ok(id)
}

/// Gives a port the lowest number that is free.
pub(super) fn register(kernel: &Inner, state: &mut State, mut port: Port) -> Option<u32> {
    let id = (0..kernel.limits.ports).find(|id| !state.ports.contains_key(id))?;
    // Its counters begin at zero.
    port.traffic_before = kernel.plane.traffic(id);
    state.ports.insert(id, port);
    Some(id)
}

fn remove(kernel: &Inner, options: &Nvlist) -> Result<(), Failure> {
    let mut state = kernel.state();
    let id = match (options.get_bytes("subnqn"), options.get_bytes("port_id")) {
        (None, None) => return Err(Failure::refused("Missing required argument")),
        (Some(_), Some(_)) => return Err(Failure::refused("Ambiguous port removal request")),
        (None, Some(number)) => {
            let number =
                number::whole(number).ok_or_else(|| Failure::refused("Invalid CTL port ID"))?;
            let why = format!("CTL port {number} is not a NVMF port");
            // Compared as a C int.
            let id = low(number);
            Some(id)
                .filter(|id| state.nvmf_ports.contains(id))
                .ok_or(Failure::Refused(why))?
        }
        (Some(subnqn), None) => {
            if !is_valid_nqn(subnqn) && kernel.invariants {
                drop(state);
                return Err(kernel.panic("nvmft_port_find: invalid nqn").into());
            }
            let why = format!("SubNQN \"{}\" does not exist", text(subnqn));
            state.subsystem(subnqn).ok_or(Failure::Refused(why))?
        }
    };
    if state.ports.get(&id).is_some_and(|port| port.foreign) {
        state.misuse(format!("removed port {id}, which is somebody else's"));
    }
    // From here on its name is free, and hosts do not find it.
    state.nvmf_ports.retain(|&it| it != id);
    state.removals += 1;
    drop(state);
    offline(kernel, id);
    let mut state = kernel.state();
    state.ports.remove(&id);
    state.removals -= 1;
    Ok(())
}

/// `nvmf_nqn_valid`.
pub(super) fn is_valid_nqn(nqn: &[u8]) -> bool {
    (1..=223).contains(&nqn.len())
}

/// `CTL_ENABLE_PORT` and `CTL_DISABLE_PORT`.
pub(super) fn switch(kernel: &Inner, request: &Request<'_>, enable: bool) -> Result<(), Errno> {
    let kinds = request.u32(port_entry::PORT_TYPE);
    let id = request.u32(port_entry::TARG_PORT);
    let mut state = kernel.state();
    if kinds != 0 {
        state.misuse(format!(
            "switched every port of type {kinds:#x}, not one port"
        ));
    }
    let is_meant =
        |&(it, port): &(&u32, &Port)| (kinds == 0 && *it == id) || kinds & port.port_type != 0;
    let meant: Vec<u32> = state
        .ports
        .iter()
        .filter(is_meant)
        .map(|(&id, _)| id)
        .collect();
    for &id in &meant {
        let port = &state.ports[&id];
        let (foreign, no_map) = (port.foreign, port.map.is_none());
        if foreign {
            state.misuse(format!("switched port {id}, which is somebody else's"));
        } else if enable && no_map {
            state.misuse(format!(
                "enabled port {id} without a map: it shows every LUN"
            ));
        }
    }
    drop(state);
    for id in meant {
        if enable {
            online(kernel, id);
        } else {
            offline(kernel, id);
        }
    }
    Ok(())
}

/// `ctl_port_online`.
pub(super) fn online(kernel: &Inner, id: u32) {
    let mut state = kernel.state();
    for plun in state.pluns(id) {
        state.enable_lun(id, plun);
    }
    let namespaces = state.namespaces(id);
    let view = state.view(id);
    let Some(port) = state.ports.get_mut(&id) else {
        return;
    };
    port.online = true;
    match (&mut port.nvmf, view) {
        (Some(nvmf), Some(view)) if !nvmf.online => {
            nvmf.online = true;
            nvmf.shown = namespaces;
            kernel.plane.online(view);
        }
        _ => state.settle(&*kernel.plane),
    }
}

/// `ctl_port_offline`: returns when the port's controllers are gone. Until then CTL lists it as online.
fn offline(kernel: &Inner, id: u32) {
    let mut state = kernel.state();
    let Some(nvmf) = state.nvmf_mut(id) else {
        if let Some(port) = state.ports.get_mut(&id) {
            port.online = false;
        }
        return;
    };
    nvmf.online = false;
    nvmf.shown.clear();
    drop(state);
    kernel.plane.offline(id);
    let mut state = kernel.state();
    for plun in state.pluns(id) {
        state.disable_lun(id, plun);
    }
    if let Some(port) = state.ports.get_mut(&id) {
        port.online = false;
    }
}
