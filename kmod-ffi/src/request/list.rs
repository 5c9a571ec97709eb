//! What there is: ports, LUNs, associations, as CTL lists them in XML (`CTL_PORT_LIST`, `CTL_LUN_LIST`,
//! `CTL_NVMF` of type `LIST`).
//!
//! FreeBSD `sys/cam/ctl/ctl.c` and `sys/cam/ctl/ctl_frontend_nvmf.c`.

#![forbid(unsafe_code)]

use std::mem::offset_of;
use std::sync::atomic::Ordering;

use nvmf_sys::{ctl_lun_list, ctl_nvmf};

use super::{Ctl, ERROR_TEXT, refused};
use crate::argument::Argument;
use crate::error::KernelError;
use crate::kernel::{Call, LengthField};
use crate::xml;

/// Space that is offered first, in bytes. The kernel must not be offered less than two.
const FIRST_SPACE: usize = 4096;

/// Space that is offered at the most. A thousand LUNs take half a megabyte.
const MOST_SPACE: usize = 64 << 20;

/// Where an argument has what lists need.
struct Shape {
    code: u32,
    pointer: usize,
    space: usize,
    filled: usize,
    status: usize,
    text: usize,
    ok: u32,
    need_more_space: u32,
}

const CTL_LIST: Shape = Shape {
    code: 0,
    pointer: offset_of!(ctl_lun_list, lun_xml),
    space: offset_of!(ctl_lun_list, alloc_len),
    filled: offset_of!(ctl_lun_list, fill_len),
    status: offset_of!(ctl_lun_list, status),
    text: offset_of!(ctl_lun_list, error_str),
    ok: nvmf_sys::CTL_LUN_LIST_OK,
    need_more_space: nvmf_sys::CTL_LUN_LIST_NEED_MORE_SPACE,
};

const SESSION_LIST: Shape = Shape {
    code: nvmf_sys::CTL_NVMF,
    pointer: offset_of!(ctl_nvmf, data.list.conn_xml),
    space: offset_of!(ctl_nvmf, data.list.alloc_len),
    filled: offset_of!(ctl_nvmf, data.list.fill_len),
    status: offset_of!(ctl_nvmf, status),
    text: offset_of!(ctl_nvmf, error_str),
    ok: nvmf_sys::CTL_NVMF_OK,
    need_more_space: nvmf_sys::CTL_NVMF_LIST_NEED_MORE_SPACE,
};

impl Ctl {
    /// Every port of every front end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ports(&self) -> Result<xml::Ports, KernelError> {
        let what = "list the ports";
        let shape = Shape {
            code: nvmf_sys::CTL_PORT_LIST,
            ..CTL_LIST
        };
        let text = self.list(what, &shape, &Argument::zeroed::<ctl_lun_list>())?;
        xml::ports(&text).map_err(|error| senseless(what, &error))
    }

    /// Every LUN.
    ///
    /// # Errors
    /// The kernel's.
    pub fn luns(&self) -> Result<xml::Luns, KernelError> {
        let what = "list the LUNs";
        let shape = Shape {
            code: nvmf_sys::CTL_LUN_LIST,
            ..CTL_LIST
        };
        let text = self.list(what, &shape, &Argument::zeroed::<ctl_lun_list>())?;
        xml::luns(&text).map_err(|error| senseless(what, &error))
    }

    /// Every association of every port; one that was ended stays until its queues are gone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sessions(&self) -> Result<xml::Sessions, KernelError> {
        let what = "list the associations";
        let mut argument = Argument::zeroed::<ctl_nvmf>();
        argument.put_u32(offset_of!(ctl_nvmf, type_), nvmf_sys::CTL_NVMF_LIST);
        let text = self.list(what, &SESSION_LIST, &argument)?;
        xml::sessions(&text).map_err(|error| senseless(what, &error))
    }

    /// The text of a list, asked for with twice the space until it fits.
    fn list(&self, what: &str, shape: &Shape, template: &Argument) -> Result<Vec<u8>, KernelError> {
        // As much as the last list took, and its growth.
        let mut space = self.list_space.load(Ordering::Relaxed).max(FIRST_SPACE);
        loop {
            let mut argument = template.clone();
            let mut text = vec![0; space];
            let call = Call::new(shape.code, &mut argument).output(
                shape.pointer,
                LengthField::U32(shape.space),
                &mut text,
            );
            self.ioctl(what, call)?;
            let status = argument.u32(shape.status);
            if status == shape.ok {
                let filled = usize::try_from(argument.u32(shape.filled)).unwrap_or(usize::MAX);
                text.truncate(filled);
                let wanted = (text.len() + text.len() / 8).next_multiple_of(FIRST_SPACE);
                self.list_space.store(wanted, Ordering::Relaxed);
                return Ok(text);
            }
            if status != shape.need_more_space || space >= MOST_SPACE {
                return Err(refused(
                    what,
                    status,
                    &argument.text(shape.text, ERROR_TEXT),
                ));
            }
            space *= 2;
        }
    }
}

fn senseless(what: &str, error: &xml::XmlError) -> KernelError {
    KernelError::Answer {
        what: what.into(),
        why: error.to_string(),
    }
}
