//! The configuration that a command line stands for, so that the rest of the program knows one kind.

#![forbid(unsafe_code)]

use nvmf_kmod::request::LunId;

use super::Options;
use crate::config::Config;
use crate::config::model::{
    Access, Announce, Digest, Discovery, Disk, Hosts, Ids, KernelLun, Limits, Log, Medium,
    Namespaces, Portal, Sandbox, SqFlowControl, Subsystem,
};
use crate::engine::backend::DeviceSpec;
use crate::identity::{self, NamespaceIds};

impl Options {
    /// What the command line says is served: one subsystem, on one portal, for every host.
    pub fn given(&self) -> Config {
        let digest = |offered| if offered { Digest::Allow } else { Digest::Off };
        let portal = Portal {
            name: PORTAL.into(),
            listen: self.listen.clone(),
            header_digest: digest(self.header_digest),
            data_digest: digest(self.data_digest),
            sq_flow_control: match self.optional_flow_control {
                true => SqFlowControl::Optional,
                false => SqFlowControl::Required,
            },
            maxh2cdata: self.maxh2cdata,
            discovery_nqn: None,
        };
        let subsystem = Subsystem {
            nqn: self.nqn.clone(),
            portals: [0].into(),
            hosts: Hosts::Any,
            terminate_on_revoke: false,
            serial: None,
            label: None,
            namespaces: self.namespaces(),
        };
        Config {
            discovery: Discovery::at(self.discovery_listen.clone()),
            announce: Announce::default(),
            portals: vec![portal],
            subsystems: vec![subsystem],
            referrals: Vec::new(),
            limits: Limits {
                threads: self.threads,
                ..Limits::default()
            },
            sandbox: Sandbox::default(),
            log: Log::default(),
            metrics: Vec::new(),
        }
    }

    fn namespaces(&self) -> Namespaces {
        if self.kernel && self.devices.is_empty() {
            return Namespaces::EveryLun;
        }
        let ids = identity::namespaces(&self.nqn, &self.devices);
        let numbered = (1..).zip(self.devices.iter().zip(ids));
        match self.kernel {
            true => Namespaces::Kernel(
                numbered
                    .map(|(nsid, (device, ids))| (nsid, kernel_lun(device, &ids)))
                    .collect(),
            ),
            false => {
                let disk = |(nsid, (device, ids)): (u32, (&DeviceSpec, NamespaceIds))| {
                    Some((nsid, disk(medium(device)?, &ids)))
                };
                Namespaces::User(numbered.filter_map(disk).collect())
            }
        }
    }
}

fn kernel_lun(device: &DeviceSpec, ids: &NamespaceIds) -> KernelLun {
    let ours = |medium| KernelLun::Ours {
        disk: disk(medium, ids),
        block_size: None,
    };
    match device {
        DeviceSpec::Lun(id) => KernelLun::Existing(LunId(*id)),
        DeviceSpec::Ram(size) => ours(Medium::Ram(*size)),
        DeviceSpec::Path(path) => ours(Medium::Path(path.clone())),
    }
}

/// Nothing, of a LUN, which user mode does not have: [`super::parse`] has refused it.
fn medium(device: &DeviceSpec) -> Option<Medium> {
    match device {
        DeviceSpec::Ram(size) => Some(Medium::Ram(*size)),
        DeviceSpec::Path(path) => Some(Medium::Path(path.clone())),
        DeviceSpec::Lun(_) => None,
    }
}

fn disk(medium: Medium, ids: &NamespaceIds) -> Disk {
    Disk {
        medium,
        access: Access::ReadWrite,
        ids: Ids {
            uuid: Some(ids.uuid),
            nguid: Some(ids.nguid),
            eui64: Some(ids.eui64),
        },
    }
}

/// What the only portal is called.
const PORTAL: &str = "io";
