//! LUNs: made, removed, modified (`CTL_LUN_REQ`).
//!
//! FreeBSD `sys/cam/ctl/ctl_backend_block.c`, `sys/cam/ctl/ctl_backend_ramdisk.c` and
//! `sys/cam/ctl/ctl.c` (ctl_add_lun, ctl_remove_lun).

#![forbid(unsafe_code)]

use super::args::{self, Failure};
use super::backing::{self, Opened};
use super::layout::lun_req;
use super::request::{Request, up_to_nul};
use super::state::{Backend, Lun, State, text, unlistable};
use super::{Inner, number};
use crate::error::Errno;
use crate::nv::Nvlist;

/// `CTL_LUN_WARNING`.
const STATUS_WARNING: u32 = 3;

/// Flags of a LUN to be made: what of its parameters is filled in.
mod flag {
    pub(super) const ID_REQ: u32 = 0x1;
    pub(super) const SERIAL_NUM: u32 = 0x10;
    pub(super) const DEVID: u32 = 0x20;
    pub(super) const DEV_TYPE: u32 = 0x40;
}

/// What a request came to if it was done: with a text for its argument, and perhaps with a warning.
struct Done {
    text: String,
    warning: bool,
}

impl Done {
    fn silently() -> Self {
        Self {
            text: String::new(),
            warning: false,
        }
    }
}

impl From<Opened> for Done {
    fn from(opened: Opened) -> Self {
        match opened {
            Opened::Medium => Self::silently(),
            Opened::Useless(text) => Self {
                text,
                warning: false,
            },
            Opened::Closed(text) => Self {
                text,
                warning: true,
            },
        }
    }
}

/// `CTL_LUN_REQ`.
pub(super) fn lun_request(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let lists = &lun_req::LISTS;
    let name = text(request.text(lun_req::BACKEND, 32));
    let backend = match name.as_str() {
        "block" => Backend::Block,
        "ramdisk" => Backend::Ramdisk,
        _ => {
            let why = format!("Backend \"{name}\" not found.");
            return args::refuse(request, &lists.ends, Failure::Refused(why));
        }
    };
    let done = args::unpack(kernel, request, lists).and_then(|options| {
        match request.u32(lun_req::REQTYPE) {
            0 => create_request(kernel, request, backend, options),
            1 => remove(kernel, request.u32(lun_req::RM_ID), backend),
            2 => modify(kernel, request, backend, options),
            kind => {
                kernel.state().misuse(format!("LUN request of type {kind}"));
                Err(Failure::Refused(format!("invalid LUN request type {kind}")))
            }
        }
    });
    match done {
        Ok(done) => {
            let status = if done.warning {
                STATUS_WARNING
            } else {
                args::STATUS_OK
            };
            request.conclude(&lists.ends, status, done.text.as_bytes());
            Ok(())
        }
        Err(failure) => args::refuse(request, &lists.ends, failure),
    }
}

/// What a LUN is to be, beside its options.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    pub(super) lun_type: u8,
    pub(super) size: u64,
    pub(super) blocksize: u32,
    pub(super) id: Option<u32>,
    pub(super) serial: Option<Vec<u8>>,
    pub(super) device_id: Option<Vec<u8>>,
    pub(super) foreign: bool,
}

fn create_request(
    kernel: &Inner,
    request: &mut Request<'_>,
    backend: Backend,
    options: Nvlist,
) -> Result<Done, Failure> {
    let flags = request.u32(lun_req::CREATE_FLAGS);
    let field = |bit, at, size| {
        let field = &request.argument[at..at + size];
        (flags & bit != 0).then(|| up_to_nul(field).to_vec())
    };
    let parameters = Parameters {
        lun_type: if flags & flag::DEV_TYPE == 0 {
            0
        } else {
            request.argument[lun_req::CREATE_TYPE]
        },
        size: request.u64(lun_req::CREATE_SIZE),
        blocksize: request.u32(lun_req::CREATE_BLOCKSIZE),
        id: (flags & flag::ID_REQ != 0).then(|| request.u32(lun_req::CREATE_ID)),
        serial: field(flag::SERIAL_NUM, lun_req::CREATE_SERIAL, 16),
        device_id: field(flag::DEVID, lun_req::CREATE_DEVID, 64),
        foreign: false,
    };
    let (own_serial, own_devid) = (parameters.serial.is_some(), parameters.device_id.is_some());
    let mut state = kernel.state();
    unlistable(&options)
        .into_iter()
        .for_each(|it| state.misuse(it));
    if !(own_serial && own_devid) {
        state.misuse("made a LUN whose identity other machines have too");
    }
    let (id, done) = create(kernel, &mut state, backend, options, &parameters)?;
    state.settle(&*kernel.plane);
    let Some(lun) = state.lun(id) else {
        return Ok(done);
    };
    request.put_u64(lun_req::CREATE_SIZE, lun.size);
    request.put_u32(lun_req::CREATE_BLOCKSIZE, lun.blocksize);
    request.put_u32(lun_req::CREATE_ID, lun.id);
    if !own_serial {
        request.put(lun_req::CREATE_SERIAL, &lun.serial);
    }
    if !own_devid {
        request.put(lun_req::CREATE_DEVID, &lun.device_id);
    }
    Ok(done)
}

/// Makes a LUN for somebody else; its number.
pub(super) fn create_foreign(
    kernel: &Inner,
    backend: Backend,
    options: Nvlist,
    parameters: &Parameters,
) -> Result<u32, Failure> {
    let mut state = kernel.state();
    let (id, _) = create(kernel, &mut state, backend, options, parameters)?;
    state.settle(&*kernel.plane);
    Ok(id)
}

fn create(
    kernel: &Inner,
    state: &mut State,
    backend: Backend,
    options: Nvlist,
    parameters: &Parameters,
) -> Result<(u32, Done), Failure> {
    // FreeBSD counts the LUNs of this backend for it.
    let count = state.luns.iter().filter(|it| it.backend == backend).count();
    let own = |field: &Option<Vec<u8>>, default: String| match field {
        Some(field) => field.clone(),
        None => default.into_bytes(),
    };
    let mut lun = Lun {
        id: 0,
        instance: state.instances,
        backend,
        lun_type: parameters.lun_type,
        asked_size: parameters.size,
        asked_blocksize: parameters.blocksize,
        size: parameters.size,
        blocksize: match parameters.blocksize {
            0 => backing::default_blocksize(parameters.lun_type),
            asked => asked,
        },
        serial: own(&parameters.serial, format!("MYSERIAL{count:04}")),
        device_id: own(&parameters.device_id, format!("MYDEVID{count:04}")),
        threads: 14,
        options,
        open: None,
        readonly: false,
        capacity: 0,
        foreign: parameters.foreign,
    };
    let done = match backend {
        Backend::Block => prepare_block(&mut lun)?,
        Backend::Ramdisk => {
            prepare_ramdisk(&mut lun)?;
            Done::silently()
        }
    };
    if backend == Backend::Ramdisk && lun.capacity < lun.size && !lun.foreign {
        state.misuse("made a RAM disk that has less memory than it is large");
    }
    let free = |id: &u32| *id < kernel.limits.luns && state.lun(*id).is_none();
    let id = match parameters.id {
        Some(id) => Some(id).filter(free),
        None => (0..kernel.limits.luns).find(free),
    };
    lun.id = id.ok_or_else(|| {
        // ENOSPC.
        let why = "ctl_add_lun() returned error 28, see dmesg for details";
        match backend {
            Backend::Block => Failure::refused(why),
            Backend::Ramdisk => Failure::Refused(format!("ctl_backend_ramdisk_create: {why}")),
        }
    })?;
    let id = lun.id;
    state.instances += 1;
    state.luns.push(lun);
    // Ports that have no map show it at once.
    let ports: Vec<u32> = state
        .ports
        .iter()
        .filter(|(_, port)| port.online && port.map.is_none())
        .map(|(&id, _)| id)
        .collect();
    ports
        .into_iter()
        .for_each(|port| state.enable_lun(port, id));
    Ok((id, done))
}

fn prepare_block(lun: &mut Lun) -> Result<Done, Failure> {
    let done = Done::from(backing::open(lun));
    if let Some(threads) = lun.option("num_threads") {
        let given = text(threads);
        lun.threads = number::leading(threads);
        if lun.threads < 1 {
            // FreeBSD BUG: prints a buffer that was never filled.
            let why = format!("invalid number of threads {given}");
            return Err(Failure::Refused(why));
        }
    }
    Ok(done)
}

fn prepare_ramdisk(lun: &mut Lun) -> Result<(), Failure> {
    let refused = |why: String| Failure::Refused(format!("ctl_backend_ramdisk_create: {why}"));
    let option_size = |lun: &Lun, name, default| {
        lun.option(name)
            .map_or(default, |text| number::size(text).unwrap_or(0))
    };
    let pblocksize = option_size(lun, "pblocksize", 4096);
    if !(512..=131_072).contains(&pblocksize) {
        return Err(refused(format!("unsupported pblocksize {pblocksize}")));
    }
    let blocksize = lun.blocksize;
    if !(pblocksize / u64::from(blocksize)).is_power_of_two() {
        return Err(refused(format!(
            "pblocksize {pblocksize} not exp2 of blocksize {blocksize}"
        )));
    }
    let size = lun.asked_size;
    if size < u64::from(blocksize) {
        return Err(refused(format!("LUN size {size} < blocksize {blocksize}")));
    }
    lun.size = size - size % u64::from(blocksize);
    lun.capacity = option_size(lun, "capacity", 0);
    lun.readonly = lun.option("readonly") == Some(b"on");
    Ok(())
}

fn not_managed(id: u32, backend: Backend, function: &str) -> Failure {
    let name = backend.name();
    let why = format!("LUN {id} is not managed by the {name} backend");
    Failure::Refused(match backend {
        Backend::Block => why,
        Backend::Ramdisk => format!("ctl_backend_ramdisk_{function}: {why}"),
    })
}

fn remove(kernel: &Inner, id: u32, backend: Backend) -> Result<Done, Failure> {
    let mut state = kernel.state();
    let foreign = match state.lun(id) {
        Some(lun) if lun.backend == backend => lun.foreign,
        _ => return Err(not_managed(id, backend, "rm")),
    };
    if foreign {
        state.misuse(format!("removed LUN {id}, which is somebody else's"));
    }
    let is_mapped = |port: &&u32| {
        let map = state.ports[*port].map.as_ref();
        map.is_some_and(|map| map.values().any(|&lun| lun == id))
    };
    // FreeBSD BUG: the maps keep the number, and whatever LUN gets it next is shown to the hosts.
    if let Some(port) = state.ports.keys().find(is_mapped).copied() {
        state.misuse(format!("removed LUN {id}, which port {port} still maps"));
    }
    let ports: Vec<u32> = state
        .ports
        .iter()
        .filter(|(_, port)| port.online && port.map.is_none())
        .map(|(&id, _)| id)
        .collect();
    ports
        .into_iter()
        .for_each(|port| state.disable_lun(port, id));
    state.luns.retain(|lun| lun.id != id);
    state.settle(&*kernel.plane);
    Ok(Done::silently())
}

fn modify(
    kernel: &Inner,
    request: &mut Request<'_>,
    backend: Backend,
    options: Nvlist,
) -> Result<Done, Failure> {
    let id = request.u32(lun_req::MODIFY_ID);
    let size = request.u64(lun_req::MODIFY_SIZE);
    let mut state = kernel.state();
    let foreign = match state.lun(id) {
        Some(lun) if lun.backend == backend => lun.foreign,
        _ => return Err(not_managed(id, backend, "modify")),
    };
    if foreign {
        state.misuse(format!("modified LUN {id}, which is somebody else's"));
    }
    if options.is_empty() {
        state.misuse(format!("wiped all options of LUN {id}"));
    }
    unlistable(&options)
        .into_iter()
        .for_each(|it| state.misuse(it));
    let Some(lun) = state.lun_mut(id) else {
        return Err(not_managed(id, backend, "modify"));
    };
    lun.asked_size = if size == 0 { lun.asked_size } else { size };
    lun.options = options;
    let (done, now) = match backend {
        Backend::Block => modify_block(lun),
        Backend::Ramdisk => modify_ramdisk(lun)?,
    };
    state.settle(&*kernel.plane);
    request.put_u64(lun_req::MODIFY_SIZE, now);
    Ok(done)
}

/// The LUN's storage is measured again. A file that is open stays the one, whatever the options name.
fn modify_block(lun: &mut Lun) -> (Done, u64) {
    let done = match lun.open.clone() {
        None => Done::from(backing::open(lun)),
        Some(path) => match backing::look_again(lun, &path) {
            Ok(()) => Done::silently(),
            Err(text) => Done {
                text,
                warning: true,
            },
        },
    };
    (done, lun.size)
}

fn modify_ramdisk(lun: &mut Lun) -> Result<(Done, u64), Failure> {
    let (size, blocksize) = (lun.asked_size, u64::from(lun.blocksize));
    if size < blocksize {
        return Err(Failure::Refused(format!(
            "ctl_backend_ramdisk_modify: LUN size {size} < blocksize {blocksize}"
        )));
    }
    lun.size = size - size % blocksize;
    Ok((Done::silently(), lun.size))
}
