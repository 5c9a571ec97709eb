//! What the kernel takes in a hand-off without a look, and a good daemon never hands over.

#![forbid(unsafe_code)]

use super::handoff::{Offer, Transport};
use super::plane::PortView;
use super::request::up_to_nul;

/// All that is wrong with a hand-off that the kernel takes.
pub(super) fn of_handoff(
    offer: &Offer,
    transport: &Transport,
    port: Option<&PortView>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    of_command(offer, &mut wrong);
    of_data(offer, &mut wrong);
    of_parameters(offer, transport, &mut wrong);
    if let Some(port) = port
        && !offer.admin
        && offer.qsize > port.max_io_qsize
    {
        let (size, most) = (offer.qsize, port.max_io_qsize);
        wrong.push(format!("{size} entries where the port allows {most}"));
    }
    wrong
        .iter()
        .map(|what| format!("handed over a queue with {what}"))
        .collect()
}

fn of_command(offer: &Offer, wrong: &mut Vec<String>) {
    let sqe = &offer.sqe;
    let u16_at = |at: usize| u16::from_le_bytes([sqe[at], sqe[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| sqe[at + i]));
    let mut require = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    require(
        sqe[0] == 0x7f && sqe[4] == 1,
        "a command that is no Connect",
    );
    require(sqe[1] & 0xc0 == 0x40, "a Connect without SGL");
    require(u32_at(32) == 1024, "an SGL of another length than 1024");
    require(u16_at(40) == 0, "a RECFMT that is not 0");
    let sqsize = u32::from(u16_at(44)) + 1;
    require(sqsize == offer.qsize, "a qsize that is not SQSIZE + 1");
    let asked_without = sqe[46] & 4 != 0;
    require(
        offer.sq_flow_control || asked_without,
        "flow control off, which the host did not ask for",
    );
    require(offer.admin || u32_at(48) == 0, "a KATO on an I/O queue");
}

fn of_data(offer: &Offer, wrong: &mut Vec<String>) {
    let data = &offer.data;
    let cntlid = u16::from_le_bytes([data[16], data[17]]);
    let is_legal = if offer.admin {
        cntlid == 0xffff
    } else {
        cntlid <= 0xffef
    };
    if !is_legal {
        wrong.push(format!("CNTLID {cntlid:#x}"));
    }
    if data[..16] == [0; 16] {
        wrong.push("a host identifier of zeroes".into());
    }
    for (name, at) in [("SubNQN", 256), ("host NQN", 512)] {
        let field = &data[at..at + 256];
        let nqn = up_to_nul(field);
        if nqn.len() == field.len() {
            wrong.push(format!("a {name} without NUL"));
        } else if field[nqn.len()..].iter().any(|&byte| byte != 0) {
            wrong.push(format!("bytes behind the NUL of the {name}"));
        }
        if nqn.is_empty() || nqn.len() > 223 {
            wrong.push(format!("a {name} of {} bytes", nqn.len()));
        }
    }
    let forges = |byte: &u8| {
        !(b' '..=b'~').contains(byte) || matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')
    };
    if up_to_nul(&data[512..768]).iter().any(forges) {
        wrong.push("a host NQN that can forge the list of associations".into());
    }
}

fn of_parameters(offer: &Offer, transport: &Transport, wrong: &mut Vec<String>) {
    if offer.sqhd != 0 {
        wrong.push(format!("sqhd {}", offer.sqhd));
    }
    let number = |key| offer.params.get_number(key).unwrap_or(0);
    if number("max_icd") != 0 {
        wrong.push(format!("max_icd {}", number("max_icd")));
    }
    for key in ["rxpda", "txpda"] {
        let alignment = number(key);
        if !(4..=128).contains(&alignment) || alignment % 4 != 0 {
            wrong.push(format!("{key} {alignment}"));
        }
    }
    if transport.maxh2cdata < 4096 || number("maxh2cdata") > 0xffff_ffff {
        wrong.push(format!("maxh2cdata {}", number("maxh2cdata")));
    }
    for key in ["fd", "maxr2t"] {
        if number(key) > 0xffff_ffff {
            wrong.push(format!("{key} {}", number(key)));
        }
    }
}
