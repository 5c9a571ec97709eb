//! Associations listed and ended (`CTL_NVMF` of type `LIST` and `TERMINATE`).
//!
//! FreeBSD `sys/cam/ctl/ctl_frontend_nvmf.c` (nvmft_ioctl, nvmft_list, nvmft_terminate).

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::args::Failure;
use super::layout::nvmf;
use super::plane::Session;
use super::request::Request;
use super::state::text;
use super::{Inner, handoff, list};
use crate::error::Errno;

/// `CTL_NVMF_OK`.
pub(super) const STATUS_OK: u32 = 0;
/// `CTL_NVMF_ERROR`.
pub(super) const STATUS_ERROR: u32 = 1;
/// `CTL_NVMF_LIST_NEED_MORE_SPACE`.
const STATUS_NEED_MORE_SPACE: u32 = 2;
/// `CTL_NVMF_ASSOCIATION_NOT_FOUND`.
const STATUS_NOT_FOUND: u32 = 3;

/// `CTL_NVMF`.
pub(super) fn nvmf_request(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let refuse = |request: &mut Request<'_>, why: &str| {
        request.conclude(&nvmf::ENDS, STATUS_ERROR, why.as_bytes());
        Ok(())
    };
    if !kernel.has_frontend("nvmf") {
        return refuse(request, "Frontend \"nvmf\" not found.");
    }
    match request.u32(nvmf::TYPE) {
        0 => match handoff::hand_off(kernel, request) {
            Ok(()) => {
                request.conclude(&nvmf::ENDS, STATUS_OK, b"");
                Ok(())
            }
            Err(Failure::Refused(why)) => refuse(request, &why),
            Err(Failure::Errno(errno)) => Err(errno),
        },
        1 => list_sessions(kernel, request),
        2 => terminate(kernel, request),
        kind => {
            let why = format!("Invalid NVMeoF request type {kind}");
            refuse(request, &why)
        }
    }
}

/// Controllers of the ports that nvmft knows, in its order, with their subsystems' names.
fn sessions(kernel: &Inner) -> Vec<(Session, String)> {
    let mut by_port: HashMap<u32, Vec<Session>> = HashMap::new();
    for session in kernel.plane.sessions() {
        by_port.entry(session.port).or_default().push(session);
    }
    let state = kernel.state();
    let mut all = Vec::new();
    for id in &state.nvmf_ports {
        let nvmf = state.ports.get(id).and_then(|port| port.nvmf.as_ref());
        let subnqn = nvmf.map_or(String::new(), |nvmf| text(&nvmf.subnqn));
        let here = by_port.remove(id).unwrap_or_default();
        all.extend(here.into_iter().map(|it| (it, subnqn.clone())));
    }
    all
}

fn list_sessions(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let space = request.u32(nvmf::LIST_ALLOC_LEN);
    list::check_space(kernel, space)?;
    let xml = print(kernel) + "\0";
    let length = u32::try_from(xml.len()).unwrap_or(u32::MAX);
    let (status, why) = if length > space {
        let why = format!("Out of space, {space} bytes is too small");
        (STATUS_NEED_MORE_SPACE, why)
    } else if request
        .copy_out(request.u64(nvmf::LIST_XML), xml.as_bytes())
        .is_err()
    {
        (
            STATUS_ERROR,
            "Failed to copyout session list: 14".to_owned(),
        )
    } else {
        request.put_u32(nvmf::LIST_FILL_LEN, length);
        (STATUS_OK, String::new())
    };
    request.conclude(&nvmf::ENDS, status, why.as_bytes());
    Ok(())
}

/// The names of hosts stand there as they came from the hosts.
pub(super) fn print(kernel: &Inner) -> String {
    let mut xml = String::from("<ctlnvmflist>\n");
    for (session, subnqn) in sessions(kernel) {
        let Session {
            cntlid, hostnqn, ..
        } = session;
        xml += &format!(
            "<connection id=\"{cntlid}\"><hostnqn>{hostnqn}</hostnqn><subnqn>{subnqn}</subnqn>\
             <trtype>3</trtype></connection>\n"
        );
    }
    xml + "</ctlnvmflist>\n"
}

fn terminate(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let all = request.u32(nvmf::TERMINATE_ALL) != 0;
    let cntlid = request.u32(nvmf::TERMINATE_CNTLID);
    let hostnqn = text(request.text(nvmf::TERMINATE_HOSTNQN, 256));
    let is_meant = |session: &Session| {
        if all {
            true
        } else if cntlid != u32::MAX {
            cntlid == u32::from(session.cntlid)
        } else {
            !hostnqn.is_empty() && hostnqn == session.hostnqn
        }
    };
    if !all && cntlid != u32::MAX && !hostnqn.is_empty() {
        kernel
            .state()
            .misuse("asked to end a host's associations, and set a CNTLID, which goes before");
    }
    let mut found = false;
    for (session, _) in sessions(kernel) {
        if is_meant(&session) {
            kernel.plane.terminate(session.port, session.cntlid);
            found = true;
        }
    }
    if found {
        request.conclude(&nvmf::ENDS, STATUS_OK, b"");
    } else {
        let why = b"No matching associations found";
        request.conclude(&nvmf::ENDS, STATUS_NOT_FOUND, why);
    }
    Ok(())
}
