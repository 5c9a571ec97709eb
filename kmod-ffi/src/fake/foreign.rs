//! What others have made: ports and LUNs that tests put into the fake kernel. A daemon that changes them
//! is reported.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::args::Failure;
use super::lun::{self, Parameters};
use super::plane::Traffic;
use super::state::{Backend, Port};
use super::{FakeKernel, port};
use crate::nv::Nvlist;

/// A port of a front end other than nvmft, as `ctladm portlist` would show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignPort {
    /// Front end: `iscsi`, `ha` and so on.
    pub frontend: String,
    /// CTL's type of the port: 16 for iSCSI.
    pub port_type: u32,
    /// Name of the port.
    pub name: String,
    /// Physical port.
    pub physical: u32,
    /// Virtual port.
    pub virtual_port: u32,
    /// Whether it is online.
    pub online: bool,
    /// Name of the target, of front ends that have such.
    pub target: Option<String>,
    /// Name of the port within the target, of front ends that have such.
    pub port: Option<String>,
    /// Options.
    pub options: Vec<(String, String)>,
    /// CTL's LUNs by the port's own numbers; `None`: all.
    pub map: Option<BTreeMap<u32, u32>>,
}

/// A LUN of somebody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignLun {
    /// `block` or `ramdisk`.
    pub backend: String,
    /// Bytes; 0: as large as its file is.
    pub size: u64,
    /// Bytes of a block; 0: the default.
    pub blocksize: u32,
    /// Wanted number.
    pub id: Option<u32>,
    /// Serial number.
    pub serial: Option<String>,
    /// Device identifier.
    pub device_id: Option<String>,
    /// Options, `file` among them.
    pub options: Vec<(String, String)>,
}

impl ForeignPort {
    /// The ports that CTL itself makes.
    pub(super) fn own() -> [Self; 3] {
        let port = |name: &str, port_type, online| Self {
            frontend: name.into(),
            port_type,
            name: name.into(),
            online,
            ..Self::default()
        };
        [
            port("camsim", 2, false),
            port("ioctl", 4, true),
            port("tpc", 8, true),
        ]
    }

    /// A target of iSCSI, online, that shows `luns`.
    pub fn iscsi(target: &str, luns: impl IntoIterator<Item = (u32, u32)>) -> Self {
        Self {
            frontend: "iscsi".into(),
            port_type: 0x10,
            name: "iscsi".into(),
            physical: 257,
            virtual_port: 1,
            online: true,
            target: Some(target.into()),
            port: Some(format!("{target},t,0x0101")),
            options: vec![
                ("cfiscsi_target".into(), target.into()),
                ("ctld_portal_group_name".into(), "pg0".into()),
                ("cfiscsi_portal_group_tag".into(), "257".into()),
            ],
            map: Some(luns.into_iter().collect()),
        }
    }
}

impl FakeKernel {
    /// Adds a port of another front end; its number.
    ///
    /// # Errors
    /// The kernel's text.
    pub fn add_port(&self, foreign: ForeignPort) -> Result<u32, String> {
        let port = Port {
            frontend: foreign.frontend,
            port_type: foreign.port_type,
            name: foreign.name,
            physical: foreign.physical,
            virtual_port: foreign.virtual_port,
            target: foreign.target,
            port: foreign.port,
            online: foreign.online,
            options: listed(&foreign.options),
            map: foreign.map,
            foreign: true,
            traffic_before: Traffic::default(),
            nvmf: None,
        };
        port::register(&self.0, &mut self.0.state(), port)
            .ok_or_else(|| "Failed to register CTL port with error 16".into())
    }

    /// Adds a port of nvmft that somebody else made (ctld, say), with an empty map; its number.
    ///
    /// # Errors
    /// The kernel's text.
    pub fn add_nvmf_port(&self, options: &[(&str, &str)], online: bool) -> Result<u32, String> {
        let id = port::create(&self.0, &listed(options), true).map_err(why)?;
        if let Some(port) = self.0.state().ports.get_mut(&id) {
            port.map = Some(BTreeMap::new());
        }
        if online {
            port::online(&self.0, id);
        }
        Ok(id)
    }

    /// Adds a LUN that somebody else made; its number.
    ///
    /// # Errors
    /// The kernel's text.
    pub fn add_lun(&self, foreign: ForeignLun) -> Result<u32, String> {
        let backend = match foreign.backend.as_str() {
            "block" => Backend::Block,
            "ramdisk" => Backend::Ramdisk,
            other => return Err(format!("Backend \"{other}\" not found.")),
        };
        let parameters = Parameters {
            lun_type: 0,
            size: foreign.size,
            blocksize: foreign.blocksize,
            id: foreign.id,
            serial: foreign.serial.map(String::into_bytes),
            device_id: foreign.device_id.map(String::into_bytes),
            foreign: true,
        };
        lun::create_foreign(&self.0, backend, listed(&foreign.options), &parameters).map_err(why)
    }
}

fn why(failure: Failure) -> String {
    match failure {
        Failure::Refused(why) => why,
        Failure::Errno(errno) => errno.to_string(),
    }
}

fn listed<T: AsRef<str>>(options: &[(T, T)]) -> Nvlist {
    options.iter().fold(Nvlist::new(), |list, (key, value)| {
        list.string(key.as_ref(), value.as_ref())
    })
}
