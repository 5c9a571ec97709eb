//! Ports: one for each subsystem that the kernel serves (`CTL_PORT_REQ`, `CTL_ENABLE_PORT`,
//! `CTL_DISABLE_PORT`, `CTL_LUN_MAP`).
//!
//! FreeBSD `sys/cam/ctl/ctl_frontend_nvmf.c` (nvmft_port_create, nvmft_port_remove) and
//! `sys/cam/ctl/ctl.c` (ctl_ioctl).

#![forbid(unsafe_code)]

use std::fmt;
use std::mem::offset_of;
use std::sync::PoisonError;

use nvmf_proto::nqn::Nqn;
use nvmf_sys::{ctl_lun_map, ctl_port_entry, ctl_req};

use super::{Ctl, ERROR_TEXT, LunId, STATUS_OK, packed, refused};
use crate::argument::Argument;
use crate::error::KernelError;
use crate::kernel::{Call, LengthField};
use crate::nv::Nvlist;

/// Space for the answer to a port's creation, which has 54 bytes.
const REPLY_SIZE: usize = 256;

/// Every LUN, or none: what a map is dropped or emptied with.
const ALL: u32 = u32::MAX;

/// A port's identifier in CTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A port to be made. Sizes are as the kernel takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPort {
    /// The subsystem's name: one port for each, system-wide.
    pub subnqn: Nqn,
    /// Port identifier in discovery entries.
    pub portid: u16,
    /// Entries of the largest I/O queue, 2 to 65535.
    pub max_io_qsize: u32,
    /// I/O command capsules in bytes (IOCCSZ): 64 and the in-capsule data, a multiple of 16.
    pub ioccsz: u32,
    /// Highest NSID (NN).
    pub nn: u32,
    /// Serial number, cut after 20 characters.
    pub serial: String,
    /// Options of ours, which the kernel only keeps and lists.
    pub options: Vec<(String, String)>,
}

impl NewPort {
    /// The arguments, in libnv's order of insertion. Values are strings, numbers too: the kernel passes
    /// over any other type.
    pub fn arguments(&self) -> Nvlist {
        let own = [
            ("subnqn", self.subnqn.as_str().to_owned()),
            ("portid", self.portid.to_string()),
            ("max_io_qsize", self.max_io_qsize.to_string()),
            ("ioccsz", self.ioccsz.to_string()),
            ("nn", self.nn.to_string()),
            ("serial", self.serial.clone()),
        ];
        let mut list = Nvlist::new();
        for (key, value) in own {
            list = list.string(key, value);
        }
        for (key, value) in &self.options {
            list = list.string(key, value);
        }
        list
    }
}

impl Ctl {
    /// Makes a port: offline, and without a map, with which it would show every LUN.
    ///
    /// # Errors
    /// The kernel's; a name that has a port already is one of them ([`is_name_taken`]).
    pub fn create_port(&self, port: &NewPort) -> Result<PortId, KernelError> {
        let what = format_args!("make a port for {}", port.subnqn);
        let mut reply = [0; REPLY_SIZE];
        let length = self.port_request(
            what,
            nvmf_sys::CTL_REQ_CREATE,
            &port.arguments(),
            &mut reply,
        )?;
        let senseless = |why: String| KernelError::Answer {
            what: what.to_string(),
            why,
        };
        let reply = reply
            .get(..length)
            .ok_or_else(|| senseless(format!("it claims to have {length} bytes")))?;
        let reply = Nvlist::unpack(reply, 0).map_err(|error| senseless(error.to_string()))?;
        let id = reply
            .get_number("port_id")
            .ok_or_else(|| senseless("it has no port_id".into()))?;
        u32::try_from(id)
            .map(PortId)
            .map_err(|_| senseless(format!("port_id is {id}")))
    }

    /// Removes the port of a subsystem, whoever made it. Sleeps until its controllers are gone.
    ///
    /// # Errors
    /// The kernel's; that there is none is one of them.
    pub fn remove_port(&self, subnqn: &Nqn) -> Result<(), KernelError> {
        let what = format_args!("remove the port of {subnqn}");
        let arguments = Nvlist::new().string("subnqn", subnqn.as_str());
        self.port_request(what, nvmf_sys::CTL_REQ_REMOVE, &arguments, &mut [])
            .map(drop)
    }

    /// The length of the answer, for requests that have one.
    fn port_request(
        &self,
        what: fmt::Arguments<'_>,
        kind: u32,
        arguments: &Nvlist,
        reply: &mut [u8],
    ) -> Result<usize, KernelError> {
        let arguments = packed(what, arguments)?;
        let mut argument = Argument::zeroed::<ctl_req>();
        argument.put_text(offset_of!(ctl_req, driver), 32, "nvmf");
        argument.put_u32(offset_of!(ctl_req, reqtype), kind);
        let length_of = |at| LengthField::Size(at);
        let mut call = Call::new(nvmf_sys::CTL_PORT_REQ, &mut argument).input(
            offset_of!(ctl_req, args),
            length_of(offset_of!(ctl_req, args_len)),
            &arguments,
        );
        if !reply.is_empty() {
            call = call.output(
                offset_of!(ctl_req, result),
                length_of(offset_of!(ctl_req, result_len)),
                reply,
            );
        }
        {
            let _changes = self
                .port_list
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            self.ioctl(what, call)?;
        }
        match argument.u32(offset_of!(ctl_req, status)) {
            STATUS_OK => Ok(argument.size(offset_of!(ctl_req, result_len))),
            status => {
                let text = argument.text(offset_of!(ctl_req, error_str), ERROR_TEXT);
                Err(refused(what, status, &text))
            }
        }
    }

    /// Lets hosts in. No answer tells whether there is such a port: [`Ctl::ports`] does.
    ///
    /// # Errors
    /// The system's.
    pub fn enable_port(&self, port: PortId) -> Result<(), KernelError> {
        let what = format_args!("enable port {port}");
        self.switch_port(what, nvmf_sys::CTL_ENABLE_PORT, port)
    }

    /// Sends all hosts away, and sleeps until they are gone.
    ///
    /// # Errors
    /// The system's.
    pub fn disable_port(&self, port: PortId) -> Result<(), KernelError> {
        let what = format_args!("disable port {port}");
        self.switch_port(what, nvmf_sys::CTL_DISABLE_PORT, port)
    }

    fn switch_port(
        &self,
        what: fmt::Arguments<'_>,
        code: u32,
        port: PortId,
    ) -> Result<(), KernelError> {
        let mut argument = Argument::zeroed::<ctl_port_entry>();
        // port_type stays 0: any other acts on every port of that type.
        argument.put_u32(offset_of!(ctl_port_entry, targ_port), port.0);
        self.ioctl(what, Call::new(code, &mut argument))
    }

    /// Gives a port a map that shows nothing. The port must be offline.
    ///
    /// # Errors
    /// `ENXIO`: there is no such port.
    pub fn empty_map(&self, port: PortId) -> Result<(), KernelError> {
        let what = format_args!("empty the map of port {port}");
        self.map_request(what, port, ALL, 0)
    }

    /// Takes a port's map away, so that it shows every LUN there is. The port must be offline.
    ///
    /// # Errors
    /// `ENXIO`: there is no such port.
    pub fn drop_map(&self, port: PortId) -> Result<(), KernelError> {
        let what = format_args!("drop the map of port {port}");
        self.map_request(what, port, ALL, ALL)
    }

    /// Shows a LUN to the port's hosts as namespace `nsid`. Another LUN that is there must be unmapped
    /// first, or hosts are not told.
    ///
    /// # Errors
    /// `ENXIO`: there is no such port or LUN; `EINVAL`: the kernel's maps are shorter.
    pub fn map(&self, port: PortId, nsid: u32, lun: LunId) -> Result<(), KernelError> {
        let what = format_args!("map namespace {nsid} of port {port} to LUN {lun}");
        self.map_request(what, port, plun(nsid), lun.0)
    }

    /// Hides namespace `nsid` from the port's hosts.
    ///
    /// # Errors
    /// `ENXIO`: there is no such port.
    pub fn unmap(&self, port: PortId, nsid: u32) -> Result<(), KernelError> {
        let what = format_args!("unmap namespace {nsid} of port {port}");
        self.map_request(what, port, plun(nsid), ALL)
    }

    fn map_request(
        &self,
        what: fmt::Arguments<'_>,
        port: PortId,
        plun: u32,
        lun: u32,
    ) -> Result<(), KernelError> {
        let mut argument = Argument::zeroed::<ctl_lun_map>();
        argument.put_u32(offset_of!(ctl_lun_map, port), port.0);
        argument.put_u32(offset_of!(ctl_lun_map, plun), plun);
        argument.put_u32(offset_of!(ctl_lun_map, lun), lun);
        self.ioctl(what, Call::new(nvmf_sys::CTL_LUN_MAP, &mut argument))
    }
}

/// The kernel counts LUNs from 0, hosts count namespaces from 1. NSIDs 0 and ffffffffh are nobody's.
fn plun(nsid: u32) -> u32 {
    debug_assert!((1..u32::MAX).contains(&nsid), "NSID {nsid}");
    nsid.wrapping_sub(1)
}

/// Whether a port could not be made because its subsystem has one already. The text is cut when the
/// name is long.
pub fn is_name_taken(error: &KernelError) -> bool {
    error.text().is_some_and(|text| {
        text.starts_with("SubNQN ")
            && (text.contains("already exists") || text.len() + 1 >= ERROR_TEXT)
    })
}
