//! Lists of ports and LUNs (`CTL_PORT_LIST`, `CTL_LUN_LIST`), character for character as CTL prints
//! them: options stand there as they are, names and values, without any escaping.
//!
//! FreeBSD `sys/cam/ctl/ctl.c` and `sys/cam/ctl/ctl_backend_block.c` (ctl_be_block_lun_info).

#![forbid(unsafe_code)]

use std::io::Write;

use super::Inner;
use super::layout::list;
use super::request::Request;
use super::state::{Backend, Lun, Port, State};
use crate::error::Errno;
use crate::nv::{Nvlist, Value};

/// `CTL_LUN_LIST_OK`.
const STATUS_OK: u32 = 1;
/// `CTL_LUN_LIST_NEED_MORE_SPACE`.
const STATUS_NEED_MORE_SPACE: u32 = 2;

/// `CTL_PORT_LIST`.
pub(super) fn ports(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let text = print_ports(&kernel.state());
    answer(kernel, request, text)
}

/// `CTL_LUN_LIST`.
pub(super) fn luns(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Errno> {
    let text = print_luns(&kernel.state());
    answer(kernel, request, text)
}

fn answer(kernel: &Inner, request: &mut Request<'_>, mut text: Vec<u8>) -> Result<(), Errno> {
    let space = request.u32(list::ALLOC_LEN);
    check_space(kernel, space)?;
    text.push(0);
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    if length > space {
        let why = format!("Out of space, {space} bytes is too small");
        request.conclude(&list::ENDS, STATUS_NEED_MORE_SPACE, why.as_bytes());
        return Ok(());
    }
    request.copy_out(request.u64(list::XML), &text)?;
    request.put_u32(list::FILL_LEN, length);
    request.conclude(&list::ENDS, STATUS_OK, b"");
    Ok(())
}

/// The kernel takes the space of any list for a signed number, and makes a buffer of it unseen.
pub(super) fn check_space(kernel: &Inner, space: u32) -> Result<(), Errno> {
    match space {
        0 | 1 if kernel.invariants => {
            Err(kernel.panic(&format!("sbuf_new: a buffer of {space} bytes")))
        }
        0x8000_0000.. => Err(kernel.panic(&format!("malloc of {space} bytes, sign-extended"))),
        _ => Ok(()),
    }
}

/// Appends formatted text; memory takes all of it.
macro_rules! print {
    ($out:expr, $($arg:tt)*) => {
        write!($out, $($arg)*).expect("memory takes text")
    };
}

pub(super) fn print_ports(state: &State) -> Vec<u8> {
    let mut out = b"<ctlportlist>\n".to_vec();
    for (id, port) in &state.ports {
        print!(out, "<targ_port id=\"{id}\">\n");
        print_port(&mut out, port);
        print!(out, "</targ_port>\n");
    }
    print!(out, "</ctlportlist>\n");
    out
}

fn print_port(out: &mut Vec<u8>, port: &Port) {
    print!(out, "\t<frontend_type>{}</frontend_type>\n", port.frontend);
    print!(out, "\t<port_type>{}</port_type>\n", port.port_type);
    let online = if port.online { "YES" } else { "NO" };
    print!(out, "\t<online>{online}</online>\n");
    print!(out, "\t<port_name>{}</port_name>\n", port.name);
    print!(out, "\t<physical_port>{}</physical_port>\n", port.physical);
    print!(
        out,
        "\t<virtual_port>{}</virtual_port>\n", port.virtual_port
    );
    if let Some(target) = &port.target {
        print!(out, "\t<target>{target}</target>\n");
    }
    if let Some(name) = &port.port {
        print!(out, "\t<port>{name}</port>\n");
    }
    print_options(out, &port.options);
    if let Some(map) = &port.map {
        print!(out, "\t<lun_map>on</lun_map>\n");
        for (plun, lun) in map {
            print!(out, "\t<lun id=\"{plun}\">{lun}</lun>\n");
        }
    }
}

pub(super) fn print_luns(state: &State) -> Vec<u8> {
    let mut out = b"<ctllunlist>\n".to_vec();
    for lun in &state.luns {
        print!(out, "<lun id=\"{}\">\n", lun.id);
        print_lun(&mut out, lun);
        print!(out, "</lun>\n");
    }
    print!(out, "</ctllunlist>\n");
    out
}

fn print_lun(out: &mut Vec<u8>, lun: &Lun) {
    print!(
        out,
        "\t<backend_type>{}</backend_type>\n",
        lun.backend.name()
    );
    print!(out, "\t<lun_type>{}</lun_type>\n", lun.lun_type);
    print!(out, "\t<size>{}</size>\n", lun.listed_blocks());
    print!(out, "\t<blocksize>{}</blocksize>\n", lun.blocksize);
    print!(out, "\t<serial_number>");
    escape(out, &lun.serial);
    print!(out, "</serial_number>\n\t<device_id>");
    escape(out, &lun.device_id);
    print!(out, "</device_id>\n");
    if lun.backend == Backend::Block {
        print!(out, "\t<num_threads>{}</num_threads>\n", lun.threads);
    }
    print_options(out, &lun.options);
}

/// Options as they are; what is no string is empty.
fn print_options(out: &mut Vec<u8>, options: &Nvlist) {
    for (name, value) in options.iter() {
        print!(out, "\t<{name}>");
        if let Value::String(value) = value {
            out.extend_from_slice(value);
        }
        print!(out, "</{name}>\n");
    }
}

/// `ctl_sbuf_printf_esc`.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            _ => out.push(*byte),
        }
    }
}
