//! Names and numbers that must not change from one start to the next.
//!
//! A host finds its data again by a namespace's UUID, NGUID or EUI64, and its subsystem by NQN
//! and serial number: all are derived, none is stored. The same machine, NQN and device give the
//! same identifiers for ever, so nothing here may change once it was released.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nvmf_proto::nqn::Nqn;
use uuid::Uuid;

use crate::engine::backend::DeviceSpec;
use crate::os::{self, MachineId};

/// Who this machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIdentity {
    /// Its UUID.
    pub uuid: Uuid,
    /// Serial number of its subsystem: at most 20 ASCII characters.
    pub serial: String,
    /// Whether it will be the same after the machine was renamed.
    pub origin: Origin,
}

/// Where an identity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the system's own identifier.
    System,
    /// From the host name, for want of a better one. Worth a warning.
    HostName,
}

impl HostIdentity {
    /// Asks the system.
    pub fn of_this_machine() -> Self {
        match os::machine_id() {
            Some(id) => Self::from_machine_id(&id),
            None => {
                let name = nix::unistd::gethostname().unwrap_or_default();
                Self::derived(b"hostname", name.as_bytes(), Origin::HostName)
            }
        }
    }

    /// The identity of the machine with this identifier.
    pub fn from_machine_id(id: &MachineId) -> Self {
        match id {
            MachineId::Public { uuid, hostid } => match uuid.parse() {
                Ok(uuid) => Self {
                    uuid,
                    serial: serial(*hostid),
                    origin: Origin::System,
                },
                Err(_) => Self::derived(b"hostuuid", uuid.as_bytes(), Origin::System),
            },
            MachineId::Confidential(id) => {
                Self::derived(b"machine-id", id.as_bytes(), Origin::System)
            }
        }
    }

    /// The subsystem's name where none is given, FreeBSD's way.
    pub fn subsystem_nqn(&self) -> Nqn {
        format!("nqn.2014-08.org.nvmexpress:uuid:{}", self.uuid)
            .parse()
            .expect("a prefix and a UUID are a short name in ASCII")
    }

    fn derived(kind: &[u8], from: &[u8], origin: Origin) -> Self {
        let number = hash(&[kind, from, b"serial"]).as_fields().0;
        Self {
            uuid: hash(&[kind, from]),
            serial: serial(number.into()),
            origin,
        }
    }
}

/// What a namespace is known by, in the bytes of Identify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceIds {
    /// UUID.
    pub uuid: Uuid,
    /// NGUID: an extension of 8 bytes, then a locally administered EUI-64.
    pub nguid: [u8; 16],
    /// EUI64, locally administered as well.
    pub eui64: [u8; 8],
}

impl NamespaceIds {
    /// The identifiers of one device in one subsystem.
    pub fn new(subsystem: &Nqn, device: &[u8]) -> Self {
        let hash = |kind: &[u8]| *hash(&[subsystem.as_str().as_bytes(), device, kind]).as_bytes();
        let (mut nguid, mut eui64) = (hash(b"nguid"), [0; 8]);
        nguid[8] = locally_administered(nguid[8]);
        eui64.copy_from_slice(&hash(b"eui64")[..8]);
        eui64[0] = locally_administered(eui64[0]);
        Self {
            uuid: Uuid::from_bytes(hash(b"uuid")),
            nguid,
            eui64,
        }
    }
}

/// The identifiers of a subsystem's namespaces, in the order of its devices.
///
/// RAM disks are told apart by their place among the RAM disks.
pub fn namespaces(subsystem: &Nqn, devices: &[DeviceSpec]) -> Vec<NamespaceIds> {
    let mut ramdisks = 0..;
    let mut name = |device: &DeviceSpec| match device {
        DeviceSpec::Ram(_) => format!("ramdisk:{}", ramdisks.next().unwrap_or(0)).into(),
        DeviceSpec::Path(path) => lasting_name(path),
        DeviceSpec::Lun(id) => format!("lun:{id}").into(),
    };
    let ids = |device| NamespaceIds::new(subsystem, name(device).as_os_str().as_bytes());
    devices.iter().map(ids).collect()
}

/// A file's canonical path, but a disk's name as given: `/dev/disk/by-id/…` and `/dev/zvol/…` are
/// links to names that change with each boot.
pub fn lasting_name(path: &Path) -> PathBuf {
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let name = if is_file {
        fs::canonicalize(path)
    } else {
        std::path::absolute(path)
    };
    name.unwrap_or_else(|_| path.into())
}

/// A version 5 UUID of all parts, each with its length, so that no two lists are alike.
fn hash(parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_le_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

/// FreeBSD's form, cut off at the 20 characters that Identify has.
fn serial(number: u64) -> String {
    let mut serial = format!("HI:{number}");
    serial.truncate(20);
    serial
}

/// An EUI-64's first byte: from nobody's registered range, and one device's, not a group's.
fn locally_administered(byte: u8) -> u8 {
    (byte | 0b10) & !0b01
}

/// Ours alone, chosen at random once.
const NAMESPACE: Uuid = Uuid::from_u128(0x5197_5388_a203_4fbe_9b43_7c5f_8445_86f5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::backend::ram::RamSize;

    fn nqn(text: &str) -> Nqn {
        text.parse().unwrap()
    }

    fn ram() -> DeviceSpec {
        DeviceSpec::Ram(RamSize::from_bytes(512).unwrap())
    }

    #[test]
    fn released_identifiers_never_change() {
        let ids = NamespaceIds::new(&nqn("nqn.2014-08.org.example:a"), b"/disk.img");
        assert_eq!(ids.uuid.to_string(), "2d91f0a2-8a2d-5933-85c3-69a8c7370bb9");
        assert_eq!(
            Uuid::from_bytes(ids.nguid).simple().to_string(),
            "80c77c0a62d3580e86a29f187672266e"
        );
        assert_eq!(u64::from_be_bytes(ids.eui64), 0x2e5e_8d12_81d5_51c3);
        let machine = MachineId::Confidential("0123456789abcdef0123456789abcdef".into());
        let host = HostIdentity::from_machine_id(&machine);
        assert_eq!(
            host.uuid.to_string(),
            "e90a6e91-ee97-5ad8-ada5-7dcbc9a3cbaf"
        );
        assert_eq!(host.serial, "HI:3150052243");
    }

    #[test]
    fn freebsd_hosts_have_freebsd_names() {
        let machine = MachineId::Public {
            uuid: "4C4C4544-0033-3610-8052-B4C04F4D3132".into(),
            hostid: 3_735_928_559,
        };
        let host = HostIdentity::from_machine_id(&machine);
        assert_eq!(host.serial, "HI:3735928559");
        assert_eq!(
            host.subsystem_nqn().as_str(),
            "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0033-3610-8052-b4c04f4d3132"
        );
    }

    #[test]
    fn a_machine_id_is_not_shown() {
        let id = "0123456789abcdef0123456789abcdef";
        let host = HostIdentity::from_machine_id(&MachineId::Confidential(id.into()));
        assert_ne!(host.uuid.simple().to_string(), id);
    }

    #[test]
    fn this_machine_is_the_same_twice() {
        let host = HostIdentity::of_this_machine();
        assert_eq!(host, HostIdentity::of_this_machine());
        assert!(host.serial.len() <= 20 && host.serial.is_ascii());
    }

    #[test]
    fn odd_machine_ids_do_no_harm() {
        let machine = MachineId::Public {
            uuid: "unset".into(),
            hostid: u64::MAX,
        };
        assert!(HostIdentity::from_machine_id(&machine).serial.len() <= 20);
        assert_eq!(serial(u64::MAX), "HI:18446744073709551");
    }

    #[test]
    fn devices_and_subsystems_are_told_apart() {
        let (a, b) = (
            nqn("nqn.2014-08.org.example:a"),
            nqn("nqn.2014-08.org.example:b"),
        );
        let devices = [ram(), DeviceSpec::Path("/dev/null".into()), ram()];
        let mut all = namespaces(&a, &devices);
        assert_eq!(all, namespaces(&a, &devices));
        all.extend(namespaces(&b, &devices));
        for (index, ids) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert!(ids.uuid != other.uuid && ids.nguid != other.nguid);
                assert_ne!(ids.eui64, other.eui64);
            }
            assert_eq!((ids.eui64[0] & 3, ids.nguid[8] & 3), (2, 2));
            assert_eq!(ids.uuid.get_version_num(), 5);
        }
    }

    #[test]
    fn a_file_keeps_its_ids_under_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("disk"), directory.path().join("link"));
        fs::write(&file, [0; 512]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let ids = |path: PathBuf| {
            namespaces(&nqn("nqn.2014-08.org.example:a"), &[DeviceSpec::Path(path)])
        };
        assert_eq!(ids(file), ids(link));
    }

    #[test]
    fn a_disk_goes_by_the_name_that_was_given() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("by-id");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(lasting_name(&link), link);
    }
}
