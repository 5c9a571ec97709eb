//! The LUNs of this machine, for people: a port without a map shows all of them.

#![forbid(unsafe_code)]

use std::fmt;

use nvmf_kmod::request::LunId;
use nvmf_kmod::xml::ListedLun;
use nvmf_kmod::{Ctl, KernelError};

use super::marker::{self, NamespaceKey};

/// A LUN, whoever's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LunThere {
    /// Its number; a port without a map shows it as the NSID that follows.
    pub id: LunId,
    /// `block`, `ramdisk` or another.
    pub backend: String,
    /// Its size; 0 without media.
    pub bytes: u64,
    /// Bytes of a block.
    pub blocksize: u32,
    /// Its file or disk, or else its device identifier.
    pub name: String,
    /// Its UUID, if it was given one.
    pub uuid: Option<String>,
    /// Whether we made it, and if that can be told, for what.
    pub maker: Maker,
}

/// Who made a LUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// We did, for this namespace, if its mark can be read.
    Nvmfd(Option<NamespaceKey>),
    /// ctld(8), under this name.
    Ctld(String),
    /// Anybody.
    Unknown,
}

/// Every LUN that a port without a map shows, by number; those that cannot be read are not told.
///
/// # Errors
/// The kernel's.
pub fn everything(ctl: &Ctl) -> Result<Vec<LunThere>, KernelError> {
    let mut luns: Vec<_> = ctl.luns()?.luns.iter().map(LunThere::of).collect();
    luns.sort_by_key(|lun| lun.id);
    Ok(luns)
}

impl LunThere {
    fn of(lun: &ListedLun) -> Self {
        let own = |key: &str| lun.option(key).map(str::to_owned);
        let maker = match (lun.option(marker::LUN), own("ctld_name")) {
            (Some(mark), _) => Maker::Nvmfd(NamespaceKey::read(mark)),
            (None, Some(name)) => Maker::Ctld(name),
            (None, None) => Maker::Unknown,
        };
        Self {
            id: LunId(lun.id),
            backend: lun.backend.clone(),
            bytes: lun.size_blocks.saturating_mul(lun.blocksize.into()),
            blocksize: lun.blocksize,
            name: own("file").unwrap_or_else(|| lun.device_id.trim_end().into()),
            uuid: own("uuid"),
            maker,
        }
    }
}

impl fmt::Display for LunThere {
    /// One line; whatever others chose is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            backend,
            bytes,
            blocksize,
            name,
            ..
        } = self;
        let name = name.escape_debug();
        write!(
            f,
            "LUN {id}: {backend} {name}, {bytes} bytes in blocks of {blocksize}"
        )?;
        match &self.maker {
            Maker::Nvmfd(Some(key)) => write!(f, ", made by nvmfd for {key}"),
            Maker::Nvmfd(None) => f.write_str(", made by nvmfd"),
            Maker::Ctld(name) => write!(f, ", made by ctld as {}", name.escape_debug()),
            Maker::Unknown => Ok(()),
        }
    }
}
