//! What CTL shall hold of ours: ports, what they export, and the LUNs that we make for it.
//!
//! A [`Desired`] that exists can be asked of the kernel and read back from its lists: whatever the
//! kernel would take for something else, cut off or show wrongly is refused here, with the reason.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use nvmf_kmod::request::{LunId, NewLun, NewPort, Storage, is_listable};
use nvmf_proto::nqn::Nqn;
use uuid::Uuid;

use super::marker::{self, NamespaceKey};
use crate::identity::NamespaceIds;

/// Everything of ours that there shall be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    ports: Vec<DesiredPort>,
}

/// A subsystem that the kernel shall serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredPort {
    /// Its name.
    pub nqn: Nqn,
    /// Port identifier in discovery entries.
    pub portid: u16,
    /// Serial number: 1 to 20 printable ASCII characters.
    pub serial: String,
    /// Entries of the largest I/O queue, 2 to 65535.
    pub max_io_qsize: u32,
    /// I/O command capsules in bytes: 64 and the in-capsule data, a multiple of 16.
    pub ioccsz: u32,
    /// Highest NSID.
    pub nn: u32,
    /// What its hosts see.
    pub exports: Exports,
}

/// What the hosts of a port see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exports {
    /// Every LUN of the machine, whoever made it and whenever: what FreeBSD's `nvmfd -K` does.
    Everything,
    /// These, by NSID.
    Namespaces(BTreeMap<u32, DesiredLun>),
}

/// What is behind a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DesiredLun {
    /// A LUN that somebody else made and keeps.
    Existing(LunId),
    /// A LUN that we make, and remove when it is not wanted any more.
    Ours(OurLun),
}

/// A LUN of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurLun {
    /// What it is made of.
    pub storage: Storage,
    /// Bytes of the file or disk, if they are known: when it has grown, the kernel is told to look.
    pub bytes: Option<u64>,
    /// Bytes of a block; 0 leaves it to the kernel: 512, or the disk's own.
    pub blocksize: u32,
    /// Whether hosts may only read it.
    pub read_only: bool,
    /// Serial number: 1 to 16 printable ASCII characters.
    pub serial: String,
    /// Device identifier: 1 to 64 printable ASCII characters.
    pub device_id: String,
    /// NGUID or EUI64 in hexadecimal digits: 32 or 16.
    pub eui: Option<String>,
    /// UUID.
    pub uuid: Option<Uuid>,
}

/// What this kernel's tunables allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of a port's map (`kern.cam.ctl.lun_map_size`).
    pub lun_map_size: u32,
}

impl Default for Limits {
    /// FreeBSD's defaults.
    fn default() -> Self {
        Self { lun_map_size: 1024 }
    }
}

impl Desired {
    /// Nothing: what a stop wants.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// These ports, if the kernel can be asked for all of them.
    ///
    /// # Errors
    /// The first of them that it cannot be asked for, and why.
    pub fn new(ports: Vec<DesiredPort>, limits: Limits) -> Result<Self, Invalid> {
        let mut names = BTreeSet::new();
        for port in &ports {
            port.check(limits)?;
            if !names.insert(&port.nqn) {
                return Err(Invalid::new(&port.nqn, None, "name", "is there twice"));
            }
        }
        Ok(Self { ports })
    }

    /// The ports.
    pub fn ports(&self) -> &[DesiredPort] {
        &self.ports
    }
}

/// Something that the kernel cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {what} {why}")]
pub struct Invalid {
    /// The subsystem or namespace.
    pub subject: String,
    /// What of it is wrong.
    pub what: &'static str,
    /// In what way; completes a sentence that begins with `what`.
    pub why: String,
}

impl Invalid {
    fn new(nqn: &Nqn, nsid: Option<u32>, what: &'static str, why: impl Into<String>) -> Self {
        let subject = match nsid {
            None => nqn.to_string(),
            Some(nsid) => NamespaceKey {
                nqn: nqn.clone(),
                nsid,
            }
            .to_string(),
        };
        Self {
            subject,
            what,
            why: why.into(),
        }
    }
}

impl DesiredPort {
    /// The name of one of its namespaces.
    pub fn key(&self, nsid: u32) -> NamespaceKey {
        NamespaceKey {
            nqn: self.nqn.clone(),
            nsid,
        }
    }

    /// The request that makes it.
    pub fn new_port(&self) -> NewPort {
        NewPort {
            subnqn: self.nqn.clone(),
            portid: self.portid,
            max_io_qsize: self.max_io_qsize,
            ioccsz: self.ioccsz,
            nn: self.nn,
            serial: self.serial.clone(),
            options: vec![(marker::PORT.into(), self.nqn.to_string())],
        }
    }

    fn check(&self, limits: Limits) -> Result<(), Invalid> {
        let invalid = |what, why| Err(Invalid::new(&self.nqn, None, what, why));
        if let Err(why) = keeps(self.nqn.as_str()) {
            return invalid("name", why);
        }
        if let Err(why) = identifier(&self.serial, 20) {
            return invalid("serial number", why);
        }
        if !(2..=65535).contains(&self.max_io_qsize) {
            let why = format!("is {}, not 2 to 65535", self.max_io_qsize);
            return invalid("largest I/O queue", why);
        }
        if self.ioccsz < 64 || !self.ioccsz.is_multiple_of(16) {
            let why = format!("is {} bytes, not 64 or more in steps of 16", self.ioccsz);
            return invalid("I/O command capsule", why);
        }
        if self.nn == 0 {
            return invalid("highest NSID", "is 0".into());
        }
        let Exports::Namespaces(namespaces) = &self.exports else {
            return Ok(());
        };
        for (&nsid, lun) in namespaces {
            let most = self.nn.min(limits.lun_map_size);
            if !(1..=most).contains(&nsid) {
                let why = format!("is not 1 to {most}");
                return Err(Invalid::new(&self.nqn, Some(nsid), "NSID", why));
            }
            if let DesiredLun::Ours(lun) = lun {
                lun.check()
                    .map_err(|(what, why)| Invalid::new(&self.nqn, Some(nsid), what, why))?;
            }
        }
        Ok(())
    }
}

impl OurLun {
    /// A LUN that hosts find again by the same UUID and NGUID as if this program served it itself.
    pub fn identified(storage: Storage, ids: &NamespaceIds) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let serial: String = hex(&ids.eui64);
        Self {
            storage,
            bytes: None,
            blocksize: 0,
            read_only: false,
            serial,
            device_id: format!("nvmfd {}", ids.uuid),
            eui: Some(hex(&ids.nguid)),
            uuid: Some(ids.uuid),
        }
    }

    /// The request that makes it.
    pub fn new_lun(&self, key: &NamespaceKey) -> NewLun {
        NewLun {
            storage: self.storage.clone(),
            blocksize: self.blocksize,
            read_only: self.read_only,
            serial: self.serial.clone(),
            device_id: self.device_id.clone(),
            eui: self.eui.clone(),
            uuid: self.uuid.map(|uuid| uuid.to_string()),
            options: vec![(marker::LUN.into(), key.mark())],
        }
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.blocksize != 0 && (self.blocksize < 512 || !self.blocksize.is_power_of_two()) {
            let why = format!("is {}, not 512, 1024, 2048…", self.blocksize);
            return Err(("block size", why));
        }
        match &self.storage {
            Storage::Block { path } => {
                keeps(path).map_err(|why| ("path", why))?;
                // The kernel tries a relative one in its own directory, then in /dev.
                if !path.starts_with('/') {
                    return Err(("path", format!("{path:?} is not absolute")));
                }
                if path.len() >= PATH_MAX {
                    return Err(("path", format!("is longer than {} bytes", PATH_MAX - 1)));
                }
                let least = 2 * u64::from(self.blocksize.max(512));
                if let Some(bytes) = self.bytes.filter(|&bytes| bytes < least) {
                    return Err(("file", format!("has {bytes} bytes, less than two blocks")));
                }
            }
            Storage::Ramdisk { size } => {
                let block = u64::from(self.blocksize.max(512));
                // The kernel lists a LUN of one block as if it had none.
                if *size < 2 * block || !size.is_multiple_of(block) {
                    let why = format!("is {size} bytes, not two or more blocks of {block}");
                    return Err(("RAM disk", why));
                }
            }
        }
        identifier(&self.serial, 16).map_err(|why| ("serial number", why))?;
        identifier(&self.device_id, 64).map_err(|why| ("device identifier", why))?;
        match &self.eui {
            Some(eui) if !is_eui(eui) => {
                let why = format!("is {eui:?}, not 16 or 32 hexadecimal digits");
                Err(("EUI64 or NGUID", why))
            }
            _ => Ok(()),
        }
    }
}

fn is_eui(text: &str) -> bool {
    matches!(text.len(), 16 | 32) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Refuses text that would not come back from the kernel's lists as it was.
fn keeps(text: &str) -> Result<(), String> {
    if !is_listable(text) {
        Err(format!(
            "{text:?} has one of < > & \" ' or a control character, which the kernel cannot list"
        ))
    } else if text.trim() != text {
        Err(format!("{text:?} begins or ends with a blank"))
    } else {
        Ok(())
    }
}

/// Refuses what does not fit a field of printable ASCII.
fn identifier(text: &str, most: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > most {
        return Err(format!("{text:?} has not 1 to {most} characters"));
    }
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(format!("{text:?} is not all printable ASCII"));
    }
    keeps(text)
}

/// The kernel's longest path, its NUL included.
const PATH_MAX: usize = 1024;

#[cfg(test)]
mod tests;
