//! Kernel mode: what the options ask for, as ports and LUNs of FreeBSD's CTL, for as long as we serve.
//!
//! What this program makes in the kernel outlives it: a daemon that was killed is followed by one that
//! adopts ([`crate::reconcile`]), and only an orderly stop removes it.

#![forbid(unsafe_code)]

use std::sync::Arc;

use nvmf_kmod::request::{LunId, Storage};
use nvmf_kmod::{Ctl, Kernel, module};
use nvmf_proto::nqn::Nqn;
use nvmf_proto::nvm::Geometry;
use tracing::{info, warn};

use crate::banner::Served;
use crate::cli::Options;
use crate::engine::backend::{self, DeviceSpec};
use crate::error::{PathText, StartupError};
use crate::identity::{self, HostIdentity};
use crate::reconcile::{
    Desired, DesiredLun, DesiredPort, Exports, Limits, LunThere, OurLun, Report, everything,
    reconcile, withdraw,
};
use crate::worker::snapshot::{IO_IN_CAPSULE, MAX_IO_ENTRIES};

/// Port identifier of the one port, as FreeBSD's nvmfd has it.
const PORTID: u16 = 1;

/// Bytes of an SQE, which a command capsule holds besides its data.
const SQE_SIZE: u32 = 64;

/// Highest NSID (NN), as the kernel has it by default.
const HIGHEST_NSID: u32 = nvmf_sys::NVMF_NN;

/// CTL, and what is wanted of it.
#[derive(Debug)]
pub struct KernelMode {
    ctl: Ctl,
    nqn: Nqn,
    desired: Desired,
}

impl KernelMode {
    /// Opens CTL, with all modules that are needed. Nothing is exported yet.
    ///
    /// # Errors
    /// Whatever keeps the kernel from serving what `options` ask for, as far as that shows before it is
    /// asked.
    pub fn open(options: &Options, host: &HostIdentity) -> Result<Self, StartupError> {
        // A name that leads nowhere must not cost what an earlier daemon exported.
        for device in &options.devices {
            if let DeviceSpec::Path(path) = device {
                backend::look_at(path)?;
            }
        }
        Ok(Self {
            desired: desired(options, host)?,
            nqn: options.nqn.clone(),
            ctl: Ctl::new(kernel(options)?),
        })
    }

    /// CTL.
    pub fn ctl(&self) -> &Ctl {
        &self.ctl
    }

    /// Makes CTL hold what is wanted, and hosts welcome. What a daemon before us left is adopted, and
    /// its hosts notice nothing.
    ///
    /// # Errors
    /// The kernel's refusal, or somebody else's port. Nothing new is left behind.
    pub fn export(&self) -> Result<Report, StartupError> {
        reconcile(&self.ctl, &self.desired).map_err(StartupError::Export)
    }

    /// What hosts see. Everything there is, if nothing was chosen, which is worth a warning.
    ///
    /// # Errors
    /// The kernel's.
    pub fn served(&self) -> Result<Vec<Served>, StartupError> {
        let luns = everything(&self.ctl).map_err(StartupError::Kernel)?;
        let ports = self.ctl.ports().map_err(StartupError::Kernel)?.ports;
        let port = ports
            .iter()
            .find(|port| port.option("subnqn") == Some(self.nqn.as_str()));
        let served = match port.and_then(|port| port.lun_map.as_ref()) {
            Some(map) => map
                .iter()
                .filter_map(|(&plun, &id)| {
                    let lun = luns.iter().find(|lun| lun.id == LunId(id))?;
                    Some(served(plun, lun))
                })
                .collect(),
            None => {
                warn_of_everything(&luns);
                luns.iter().map(|lun| served(lun.id.0, lun)).collect()
            }
        };
        Ok(served)
    }

    /// Takes everything of ours out of CTL. Hosts are sent away first.
    ///
    /// # Errors
    /// Something of ours is left.
    pub fn withdraw(&self) -> Result<(), StartupError> {
        info!("removing what was exported; hosts are sent away");
        withdraw(&self.ctl)
            .map(drop)
            .map_err(StartupError::Withdraw)
    }
}

/// The kernel, or who plays its part.
fn kernel(options: &Options) -> Result<Arc<dyn Kernel>, StartupError> {
    #[cfg(feature = "fake")]
    if let Some(path) = &options.ctl {
        let fake = nvmf_kmod::fake::remote::RemoteKernel::connect(path);
        return Ok(Arc::new(fake.map_err(|source| {
            StartupError::OpenDevice {
                path: path.as_path().into(),
                source,
            }
        })?));
    }
    let _ = options;
    Ok(Arc::new(module::open_ctl()?))
}

fn desired(options: &Options, host: &HostIdentity) -> Result<Desired, StartupError> {
    let exports = if options.devices.is_empty() {
        Exports::Everything
    } else {
        let ids = identity::namespaces(&options.nqn, &options.devices);
        let luns = options
            .devices
            .iter()
            .zip(&ids)
            .map(|(device, ids)| match device {
                DeviceSpec::Lun(id) => Ok(DesiredLun::Existing(LunId(*id))),
                DeviceSpec::Ram(size) => {
                    let size = size.bytes();
                    let lun = OurLun::identified(Storage::Ramdisk { size }, ids);
                    Ok(DesiredLun::Ours(lun))
                }
                DeviceSpec::Path(path) => {
                    let path = identity::lasting_name(path);
                    let path = path.to_str().ok_or_else(|| StartupError::PathEncoding {
                        path: PathText::from(path.as_path()),
                    })?;
                    let path = path.to_owned();
                    let lun = OurLun::identified(Storage::Block { path }, ids);
                    Ok(DesiredLun::Ours(lun))
                }
            });
        let luns: Vec<_> = luns.collect::<Result<_, StartupError>>()?;
        Exports::Namespaces((1..).zip(luns).collect())
    };
    let port = DesiredPort {
        nqn: options.nqn.clone(),
        portid: PORTID,
        serial: host.serial.clone(),
        max_io_qsize: MAX_IO_ENTRIES,
        ioccsz: SQE_SIZE + IO_IN_CAPSULE,
        nn: HIGHEST_NSID,
        exports,
    };
    Desired::new(vec![port], Limits::default()).map_err(|invalid| StartupError::Usage {
        message: invalid.to_string(),
    })
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

fn warn_of_everything(luns: &[LunThere]) {
    warn!(
        "every LUN of this machine is exported, those of iSCSI too, and those to come; name devices \
         to export only them"
    );
    for lun in luns {
        warn!("exported: {lun}");
    }
}
