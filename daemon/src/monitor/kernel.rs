//! Kernel mode: what a configuration asks for, as ports and LUNs of FreeBSD's CTL.
//!
//! What this program makes in the kernel outlives it: a daemon that was killed is followed by one that
//! adopts ([`crate::reconcile`]), and only an orderly stop removes it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nvmf_kmod::request::{LunId, PortId, Statistics, Storage, Which};
use nvmf_kmod::{Ctl, CtlDevice, Kernel, KernelError, module};
use nvmf_proto::nqn::Nqn;
use nvmf_proto::nvm::Geometry;
use tracing::{info, warn};

use crate::banner::Served;
use crate::config::Config;
use crate::config::model::{Disk, KernelLun, Medium, Namespaces, Subsystem};
use crate::control::message::{Mode, Session, Traffic};
use crate::engine::backend;
use crate::error::{PathText, StartupError};
use crate::identity::{self, HostIdentity, NamespaceIds};
use crate::os::Purpose;
use crate::reconcile::{
    Desired, DesiredLun, DesiredPort, Exports, Limits, LunThere, OurLun, everything,
};
use crate::worker::snapshot::{IO_IN_CAPSULE, MAX_IO_ENTRIES};

/// Port identifier of each port, as FreeBSD's nvmfd has it: a subsystem has one.
const PORTID: u16 = 1;

/// Bytes of an SQE, which a command capsule holds besides its data.
const SQE_SIZE: u32 = 64;

/// Highest NSID (NN), as the kernel has it by default.
const HIGHEST_NSID: u32 = nvmf_sys::NVMF_NN;

/// CTL, open.
#[derive(Debug)]
pub(super) struct OpenKernel {
    /// To be asked.
    pub(super) ctl: Ctl,
    /// To be passed to the worker; a fake has none.
    pub(super) device: Option<Arc<CtlDevice>>,
}

impl OpenKernel {
    /// Opens CTL, with all modules that are needed; or the fake at this socket. Nothing is exported yet.
    ///
    /// # Errors
    /// Whatever keeps the kernel from serving anything.
    pub(super) fn open(fake: Option<&PathBuf>) -> Result<Self, StartupError> {
        #[cfg(feature = "fake")]
        if let Some(path) = fake {
            let kernel = nvmf_kmod::fake::remote::RemoteKernel::connect(path);
            let kernel = kernel.map_err(|source| StartupError::OpenDevice {
                path: path.as_path().into(),
                source,
            })?;
            return Ok(Self {
                ctl: Ctl::new(Arc::new(kernel)),
                device: None,
            });
        }
        let _ = fake;
        let device = Arc::new(module::open_ctl()?);
        let kernel: Arc<dyn Kernel> = device.clone();
        Ok(Self {
            ctl: Ctl::new(kernel),
            device: Some(device),
        })
    }

    /// What a worker is handed of it: its device, for hand-offs and the list that they need. A fake has
    /// none.
    pub(super) fn for_worker(&self) -> Option<(BorrowedFd<'_>, Purpose)> {
        let device = self.device.as_ref()?;
        Some((device.as_fd(), Purpose::Requests(nvmf_sys::CTL_NVMF)))
    }

    /// What hosts of this subsystem see.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn served(&self, nqn: &Nqn) -> Result<Vec<Served>, StartupError> {
        let luns = everything(&self.ctl).map_err(StartupError::Kernel)?;
        let ports = self.ctl.ports().map_err(StartupError::Kernel)?.ports;
        let port = ports
            .iter()
            .find(|port| port.option("subnqn") == Some(nqn.as_str()));
        Ok(match port.and_then(|port| port.lun_map.as_ref()) {
            Some(map) => map
                .iter()
                .filter_map(|(&plun, &id)| {
                    let lun = luns.iter().find(|lun| lun.id == LunId(id))?;
                    Some(served(plun, lun))
                })
                .collect(),
            None => luns.iter().map(|lun| served(lun.id.0, lun)).collect(),
        })
    }

    /// Warns of what is exported where nothing was chosen.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn warn_of_everything(&self) -> Result<(), StartupError> {
        warn!(
            "every LUN of this machine is exported, those of iSCSI too, and those to come; name \
             devices to export only them"
        );
        for lun in everything(&self.ctl).map_err(StartupError::Kernel)? {
            warn!("exported: {lun}");
        }
        Ok(())
    }

    /// The associations of our subsystems, as far as the kernel tells.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn sessions(&self, config: &Config) -> Result<Vec<Session>, StartupError> {
        let listed = self.ctl.sessions().map_err(StartupError::Kernel)?;
        let ours = |nqn: &str| {
            let mut all = config.subsystems.iter();
            all.any(|it| it.nqn.as_str() == nqn && is_kernel(it))
        };
        let traffic = self.traffic().map_err(StartupError::Kernel)?;
        let listed: Vec<_> = listed.sessions.into_iter().collect();
        // The kernel counts for each port: what a host has alone is its own.
        let alone = |nqn: &str| listed.iter().filter(|it| it.subnqn == nqn).count() == 1;
        let sessions = listed.iter().filter(|it| ours(&it.subnqn));
        Ok(sessions
            .map(|it| Session {
                traffic: traffic
                    .get(&it.subnqn)
                    .copied()
                    .filter(|_| alone(&it.subnqn)),
                ..Session::named(Mode::Kernel, &it.subnqn, it.cntlid, &it.hostnqn)
            })
            .collect())
    }

    /// What the hosts of each subsystem have read and written since its port was made.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn traffic(&self) -> Result<BTreeMap<String, Traffic>, KernelError> {
        let counted = self.ctl.port_statistics()?;
        let ports = self.ctl.ports()?.ports;
        let traffic = ports.iter().filter_map(|port| {
            let Statistics {
                reads,
                writes,
                bytes_read,
                bytes_written,
            } = *counted.get(&PortId(port.id))?;
            let traffic = Traffic {
                reads,
                writes,
                bytes_read,
                bytes_written,
            };
            Some((port.option("subnqn")?.to_owned(), traffic))
        });
        Ok(traffic.collect())
    }

    /// Sends hosts away that were taken off a list whose subsystem says so. The kernel ends all
    /// associations of a host or none: those that it may have come back by themselves.
    pub(super) fn revoke(&self, config: &Config) {
        let Ok(sessions) = self.sessions(config) else {
            return;
        };
        for session in sessions {
            let mut all = config.subsystems.iter();
            let subsystem = all.find(|it| it.nqn.as_str() == session.subsystem);
            let Ok(host) = session.hostnqn.parse::<Nqn>() else {
                continue;
            };
            if subsystem.is_some_and(|it| it.terminate_on_revoke && !it.hosts.allow(&host)) {
                info!(%host, subsystem = session.subsystem, "sent away: it is off the list");
                if let Err(error) = self.ctl.terminate(&Which::Host(host)) {
                    warn!(%error, "a host that is off the list stays");
                }
            }
        }
    }
}

/// Whether FreeBSD's kernel serves it.
pub(super) fn is_kernel(subsystem: &Subsystem) -> bool {
    subsystem.namespaces.mode() == crate::config::model::Mode::Kernel
}

/// What CTL shall hold of ours for this configuration.
///
/// # Errors
/// A device that shows from outside that it cannot be served, or that the kernel cannot be asked for.
pub(super) fn desired(config: &Config, host: &HostIdentity) -> Result<Desired, StartupError> {
    let mut ports = Vec::new();
    for subsystem in &config.subsystems {
        let exports = match &subsystem.namespaces {
            Namespaces::User(_) => continue,
            Namespaces::EveryLun => Exports::Everything,
            Namespaces::Kernel(luns) => {
                let lun = |(&nsid, lun): (&u32, &KernelLun)| {
                    Ok((nsid, desired_lun(&subsystem.nqn, nsid, lun)?))
                };
                let luns: Result<_, StartupError> = luns.iter().map(lun).collect();
                Exports::Namespaces(luns?)
            }
        };
        ports.push(DesiredPort {
            nqn: subsystem.nqn.clone(),
            portid: PORTID,
            serial: serial(subsystem, host),
            max_io_qsize: MAX_IO_ENTRIES,
            ioccsz: SQE_SIZE + IO_IN_CAPSULE,
            nn: HIGHEST_NSID,
            exports,
        });
    }
    Desired::new(ports, Limits::default()).map_err(|invalid| StartupError::Usage {
        message: invalid.to_string(),
    })
}

/// A subsystem's serial number.
pub(super) fn serial(subsystem: &Subsystem, host: &HostIdentity) -> String {
    let own = subsystem.serial.clone();
    own.unwrap_or_else(|| host.serial.clone())
}

fn desired_lun(nqn: &Nqn, nsid: u32, lun: &KernelLun) -> Result<DesiredLun, StartupError> {
    let (disk, block_size) = match lun {
        KernelLun::Existing(id) => return Ok(DesiredLun::Existing(*id)),
        KernelLun::Ours { disk, block_size } => (disk, block_size),
    };
    let ids = ids(nqn, nsid, disk);
    let storage = match &disk.medium {
        Medium::Ram(size) => Storage::Ramdisk { size: size.bytes() },
        Medium::Path(path) => {
            // A name that leads nowhere must not cost what an earlier daemon exported.
            backend::look_at(path)?;
            let path = identity::lasting_name(path);
            let path = path.to_str().ok_or_else(|| StartupError::PathEncoding {
                path: PathText::from(path.as_path()),
            })?;
            let path = path.to_owned();
            Storage::Block { path }
        }
    };
    let mut ours = OurLun::identified(storage, &ids);
    if let Medium::Path(path) = &disk.medium {
        // One that cannot be looked at keeps the size that the kernel knows.
        ours.bytes = backend::size_of(path).ok();
    }
    ours.blocksize = block_size.unwrap_or(0);
    if let (None, Some(eui64)) = (disk.ids.nguid, disk.ids.eui64) {
        ours.eui = Some(eui64.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    ours.read_only = disk.access == crate::config::model::Access::ReadOnly;
    Ok(DesiredLun::Ours(ours))
}

/// By what hosts know a namespace, in either mode.
pub(super) fn ids(nqn: &Nqn, nsid: u32, disk: &Disk) -> NamespaceIds {
    use std::os::unix::ffi::OsStrExt;

    let name = match &disk.medium {
        Medium::Path(path) => identity::lasting_name(path),
        Medium::Ram(_) => format!("ramdisk:{nsid}").into(),
    };
    disk.ids
        .or(NamespaceIds::new(nqn, name.as_os_str().as_bytes()))
}

/// NSIDs count from 1 what ports count from 0.
fn served(plun: u32, lun: &LunThere) -> Served {
    let name = match lun.backend.as_str() {
        "ramdisk" => "RAM disk".into(),
        _ => lun.name.escape_debug().to_string(),
    };
    Served {
        nsid: plun.saturating_add(1),
        device: format!("{name} (LUN {})", lun.id),
        geometry: Geometry {
            blocks: lun.bytes.checked_div(lun.blocksize.into()).unwrap_or(0),
            block_size: lun.blocksize,
        },
        uuid: lun.uuid.as_deref().and_then(|uuid| uuid.parse().ok()),
    }
}
