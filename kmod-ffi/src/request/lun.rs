//! LUNs: storage that CTL serves (`CTL_LUN_REQ`).
//!
//! FreeBSD `sys/cam/ctl/ctl_backend_block.c` and `ctl_backend_ramdisk.c`.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem::offset_of;

use nvmf_sys::ctl_lun_req;

use super::{Ctl, ERROR_TEXT, STATUS_OK, packed, refused};
use crate::argument::Argument;
use crate::error::KernelError;
use crate::kernel::{Call, LengthField};
use crate::nv::Nvlist;

/// A LUN's identifier in CTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LunId(pub u32);

impl fmt::Display for LunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a LUN is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A file or disk by its path, whole.
    Block {
        /// Absolute path.
        path: String,
    },
    /// Memory of the kernel.
    Ramdisk {
        /// Bytes, a multiple of the block size.
        size: u64,
    },
}

impl Storage {
    /// CTL's name for what serves it.
    pub fn backend(&self) -> &'static str {
        match self {
            Self::Block { .. } => "block",
            Self::Ramdisk { .. } => "ramdisk",
        }
    }
}

/// A LUN to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLun {
    /// What it is made of.
    pub storage: Storage,
    /// Bytes of a block; 0 leaves it to the kernel: 512, or the disk's own.
    pub blocksize: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Serial number, at most 16 bytes.
    pub serial: String,
    /// Device identifier, at most 64 bytes.
    pub device_id: String,
    /// EUI-64 or NGUID in hexadecimal digits, 16 or 32; hosts see it over NVMe.
    pub eui: Option<String>,
    /// UUID in its usual form; hosts see it over NVMe.
    pub uuid: Option<String>,
    /// Options of ours, which the kernel only keeps and lists.
    pub options: Vec<(String, String)>,
}

impl NewLun {
    /// The arguments. Values are strings, numbers too.
    pub fn arguments(&self) -> Nvlist {
        let mut list = match &self.storage {
            Storage::Block { path } => Nvlist::new().string("file", path),
            Storage::Ramdisk { size } => Nvlist::new().string("capacity", size.to_string()),
        };
        list = list.string("unmap", "on");
        if self.read_only {
            list = list.string("readonly", "on");
        }
        if let Some(eui) = &self.eui {
            list = list.string("eui", eui);
        }
        if let Some(uuid) = &self.uuid {
            list = list.string("uuid", uuid);
        }
        for (key, value) in &self.options {
            list = list.string(key, value);
        }
        list
    }
}

impl Ctl {
    /// Makes a LUN, which no port with a map shows until it is mapped.
    ///
    /// # Errors
    /// The kernel's. A LUN whose file cannot be opened or used is one of them, though the kernel makes
    /// it, with a warning or a remark: it is removed again.
    pub fn create_lun(&self, lun: &NewLun) -> Result<LunId, KernelError> {
        let what = match &lun.storage {
            Storage::Block { path } => format!("make a LUN of {path}"),
            Storage::Ramdisk { size } => format!("make a RAM disk of {size} bytes"),
        };
        let mut argument = Argument::zeroed::<ctl_lun_req>();
        let flags = nvmf_sys::CTL_LUN_FLAG_SERIAL_NUM | nvmf_sys::CTL_LUN_FLAG_DEVID;
        argument.put_u32(offset_of!(ctl_lun_req, reqdata.create.flags), flags);
        let size = match lun.storage {
            Storage::Block { .. } => 0,
            Storage::Ramdisk { size } => size,
        };
        argument.put_u64(offset_of!(ctl_lun_req, reqdata.create.lun_size_bytes), size);
        let blocksize = offset_of!(ctl_lun_req, reqdata.create.blocksize_bytes);
        argument.put_u32(blocksize, lun.blocksize);
        // Neither field ends with a NUL when it is full.
        let serial = &lun.serial.as_bytes()[..lun.serial.len().min(16)];
        argument.put(offset_of!(ctl_lun_req, reqdata.create.serial_num), serial);
        let device_id = &lun.device_id.as_bytes()[..lun.device_id.len().min(64)];
        argument.put(offset_of!(ctl_lun_req, reqdata.create.device_id), device_id);
        // No LUN's, in case the kernel leaves it so.
        let id = offset_of!(ctl_lun_req, reqdata.create.req_lun_id);
        argument.put_u32(id, u32::MAX);
        let kind = nvmf_sys::CTL_LUNREQ_CREATE;
        let list = packed(&what, &lun.arguments())?;
        let backend = lun.storage.backend();
        let made = self.lun_request(&what, backend, kind, &mut argument, Some(&list));
        let id = LunId(argument.u32(id));
        if let Err(KernelError::Refused { status, .. }) = made
            && status == nvmf_sys::CTL_LUN_WARNING
            && id.0 != u32::MAX
        {
            // Its error would hide the one that counts; whoever lists the LUNs finds it again.
            let _ = self.remove_lun(backend, id);
        }
        made.map(|()| id)
    }

    /// Removes a LUN of this backend, and sleeps until nothing uses it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_lun(&self, backend: &str, lun: LunId) -> Result<(), KernelError> {
        let mut argument = Argument::zeroed::<ctl_lun_req>();
        argument.put_u32(offset_of!(ctl_lun_req, reqdata.rm.lun_id), lun.0);
        let what = format!("remove LUN {lun}");
        let kind = nvmf_sys::CTL_LUNREQ_RM;
        self.lun_request(&what, backend, kind, &mut argument, None)
    }

    /// Has the kernel look at the size of a LUN's storage again, and replaces all of its options by
    /// those of `lun`.
    ///
    /// # Errors
    /// The kernel's; that the storage cannot be used, though the LUN stays.
    pub fn modify_lun(&self, id: LunId, lun: &NewLun) -> Result<(), KernelError> {
        let what = format!("modify LUN {id}");
        let mut argument = Argument::zeroed::<ctl_lun_req>();
        argument.put_u32(offset_of!(ctl_lun_req, reqdata.modify.lun_id), id.0);
        let list = packed(&what, &lun.arguments())?;
        let kind = nvmf_sys::CTL_LUNREQ_MODIFY;
        self.lun_request(
            &what,
            lun.storage.backend(),
            kind,
            &mut argument,
            Some(&list),
        )
    }

    fn lun_request(
        &self,
        what: &str,
        backend: &str,
        kind: u32,
        argument: &mut Argument,
        list: Option<&[u8]>,
    ) -> Result<(), KernelError> {
        argument.put_text(offset_of!(ctl_lun_req, backend), 32, backend);
        argument.put_u32(offset_of!(ctl_lun_req, reqtype), kind);
        let mut call = Call::new(nvmf_sys::CTL_LUN_REQ, argument);
        if let Some(list) = list {
            let length = LengthField::Size(offset_of!(ctl_lun_req, args_len));
            call = call.input(offset_of!(ctl_lun_req, args), length, list);
        }
        self.ioctl(what, call)?;
        let text = argument.text(offset_of!(ctl_lun_req, error_str), ERROR_TEXT);
        match argument.u32(offset_of!(ctl_lun_req, status)) {
            STATUS_OK if text.is_empty() => Ok(()),
            // FreeBSD BUG: of storage that could be opened and not used, the kernel says that all is well,
            // and in the text what is not (ctl_be_block_open() ends in `return (0)`).
            STATUS_OK => Err(refused(what, nvmf_sys::CTL_LUN_WARNING, &text)),
            status => Err(refused(what, status, &text)),
        }
    }
}
