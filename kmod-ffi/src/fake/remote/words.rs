//! What travels, as lists: the caller's half and the kernel's half of each word in one place.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;

use super::frame::invalid;
use crate::error::Errno;
use crate::fake::faults::{Fault, FaultKind, Verdict};
use crate::fake::{ForeignLun, ForeignPort, Region};
use crate::nv::{Nvlist, Value};

/// A list that says what is asked for.
pub(super) fn asking(what: &str) -> Nvlist {
    Nvlist::new().string("op", what)
}

/// A number that must be there, and fit.
pub(super) fn number<T: TryFrom<u64>>(list: &Nvlist, key: &str) -> io::Result<T> {
    let number = list.get_number(key).and_then(|it| it.try_into().ok());
    number.ok_or_else(|| invalid(format!("{key} is missing")))
}

/// A string that must be there.
pub(super) fn string(list: &Nvlist, key: &str) -> io::Result<String> {
    let text = list.get_string(key).map(str::to_owned);
    text.ok_or_else(|| invalid(format!("{key} is missing")))
}

/// Bytes, which libnv cannot hold when there are none.
pub(super) fn with_bytes(list: Nvlist, key: &str, bytes: &[u8]) -> Nvlist {
    if bytes.is_empty() {
        list
    } else {
        list.binary(key, bytes)
    }
}

/// Bytes; none if there is no such pair.
pub(super) fn bytes(list: &Nvlist, key: &str) -> Vec<u8> {
    list.get_binary(key).unwrap_or_default().to_vec()
}

/// Texts, perhaps none.
pub(super) fn with_texts(list: Nvlist, key: &str, texts: &[String]) -> Nvlist {
    if texts.is_empty() {
        return list;
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    list.string_array(key, &texts)
}

/// Texts, perhaps none.
pub(super) fn texts(list: &Nvlist, key: &str) -> Vec<String> {
    match list.get(key) {
        Some(Value::StringArray(texts)) => texts
            .iter()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect(),
        _ => Vec::new(),
    }
}

/// A request's memory: bytes of what the kernel reads, the length of what it writes.
pub(super) fn with_region(list: Nvlist, index: usize, region: &Region) -> Nvlist {
    let entry = Nvlist::new()
        .number("address", region.address)
        .number("length", region.bytes.len() as u64)
        .bool("writable", region.writable);
    let entry = if region.writable {
        entry
    } else {
        with_bytes(entry, "bytes", &region.bytes)
    };
    list.nvlist(memory_key(index), entry)
}

/// A request's memory, as far as there is any.
pub(super) fn region(list: &Nvlist, index: usize) -> io::Result<Option<Region>> {
    let Some(entry) = list.get_nvlist(&memory_key(index)) else {
        return Ok(None);
    };
    let address = number(entry, "address")?;
    if entry.get_bool("writable") != Some(true) {
        return Ok(Some(Region::input(address, bytes(entry, "bytes"))));
    }
    let length = number(entry, "length")?;
    if length > MOST_SPACE {
        return Err(invalid(format!("{length} bytes of memory")));
    }
    Ok(Some(Region::output(address, length)))
}

/// Where in an answer the bytes stand that were written to a region.
pub(super) fn memory_key(index: usize) -> String {
    format!("memory{index}")
}

/// Memory that a request may offer to be filled: 64 MiB, as much as the lists ever get.
const MOST_SPACE: usize = 64 << 20;

/// A fault.
pub(super) fn with_fault(list: Nvlist, fault: &Fault) -> Nvlist {
    let mut list = list.number("skip", fault.skip.into());
    if let Some(code) = fault.code {
        list = list.number("code", code.into());
    }
    let errno = |list: Nvlist, errno: &Errno| {
        // FreeBSD's numbers are positive.
        list.number("errno", errno.0.unsigned_abs().into())
    };
    let verdict = |list: Nvlist, verdict: &Verdict| {
        list.number("status", verdict.status.into())
            .string("text", &verdict.text)
    };
    match &fault.kind {
        FaultKind::Fail(number) => errno(list.string("kind", "fail"), number),
        FaultKind::FailAfter(number) => errno(list.string("kind", "fail-after"), number),
        FaultKind::TakeAndFail(number) => errno(list.string("kind", "take-fail"), number),
        FaultKind::Refuse(said) => verdict(list.string("kind", "refuse"), said),
        FaultKind::RefuseAfter(said) => verdict(list.string("kind", "refuse-after"), said),
        FaultKind::TakeAndRefuse(said) => verdict(list.string("kind", "take-refuse"), said),
        FaultKind::Crash => list.string("kind", "crash"),
        FaultKind::CrashAfter => list.string("kind", "crash-after"),
    }
}

/// A fault.
pub(super) fn fault(list: &Nvlist) -> io::Result<Fault> {
    let errno = || Ok::<_, io::Error>(Errno(number(list, "errno")?));
    let verdict = || {
        let (status, text) = (number(list, "status")?, string(list, "text")?);
        Ok::<_, io::Error>(Verdict { status, text })
    };
    let kind = match string(list, "kind")?.as_str() {
        "fail" => FaultKind::Fail(errno()?),
        "fail-after" => FaultKind::FailAfter(errno()?),
        "take-fail" => FaultKind::TakeAndFail(errno()?),
        "refuse" => FaultKind::Refuse(verdict()?),
        "refuse-after" => FaultKind::RefuseAfter(verdict()?),
        "take-refuse" => FaultKind::TakeAndRefuse(verdict()?),
        "crash" => FaultKind::Crash,
        "crash-after" => FaultKind::CrashAfter,
        other => return Err(invalid(format!("no such fault: {other}"))),
    };
    let code = list.get_number("code").map(u32::try_from).transpose();
    Ok(Fault {
        code: code.map_err(invalid)?,
        skip: number(list, "skip")?,
        kind,
    })
}

/// Options, in their order.
pub(super) fn with_options(list: Nvlist, options: &[(String, String)]) -> Nvlist {
    let options = options
        .iter()
        .fold(Nvlist::new(), |list, (key, value)| list.string(key, value));
    list.nvlist("options", options)
}

/// Options, in their order.
pub(super) fn options(list: &Nvlist) -> Vec<(String, String)> {
    let options = list.get_nvlist("options");
    options.map_or_else(Vec::new, |options| {
        let text = |name| options.get_string(name).unwrap_or_default().to_owned();
        let names = options.iter().map(|(name, _)| name);
        names.map(|name| (name.to_owned(), text(name))).collect()
    })
}

/// A foreign port.
pub(super) fn with_port(list: Nvlist, port: &ForeignPort) -> Nvlist {
    let mut list = with_options(list, &port.options)
        .string("frontend", &port.frontend)
        .number("port_type", port.port_type.into())
        .string("name", &port.name)
        .number("physical", port.physical.into())
        .number("virtual_port", port.virtual_port.into())
        .bool("online", port.online);
    if let Some(target) = &port.target {
        list = list.string("target", target);
    }
    if let Some(name) = &port.port {
        list = list.string("port", name);
    }
    if let Some(map) = &port.map {
        let map = map.iter().fold(Nvlist::new(), |list, (plun, lun)| {
            list.number(plun.to_string(), (*lun).into())
        });
        list = list.nvlist("map", map);
    }
    list
}

/// A foreign port.
pub(super) fn port(list: &Nvlist) -> io::Result<ForeignPort> {
    let map = list.get_nvlist("map").map(|map| {
        let entry = |(plun, _): (&str, &Value)| {
            let lun = map.get_number(plun)?.try_into().ok()?;
            Some((plun.parse().ok()?, lun))
        };
        map.iter().filter_map(entry).collect::<BTreeMap<u32, u32>>()
    });
    Ok(ForeignPort {
        frontend: string(list, "frontend")?,
        port_type: number(list, "port_type")?,
        name: string(list, "name")?,
        physical: number(list, "physical")?,
        virtual_port: number(list, "virtual_port")?,
        online: list.get_bool("online") == Some(true),
        target: list.get_string("target").map(str::to_owned),
        port: list.get_string("port").map(str::to_owned),
        options: options(list),
        map,
    })
}

/// A foreign LUN.
pub(super) fn with_lun(list: Nvlist, lun: &ForeignLun) -> Nvlist {
    let mut list = with_options(list, &lun.options)
        .string("backend", &lun.backend)
        .number("size", lun.size)
        .number("blocksize", lun.blocksize.into());
    if let Some(id) = lun.id {
        list = list.number("id", id.into());
    }
    if let Some(serial) = &lun.serial {
        list = list.string("serial", serial);
    }
    if let Some(device_id) = &lun.device_id {
        list = list.string("device_id", device_id);
    }
    list
}

/// A foreign LUN.
pub(super) fn lun(list: &Nvlist) -> io::Result<ForeignLun> {
    let id = list.get_number("id").map(u32::try_from).transpose();
    Ok(ForeignLun {
        backend: string(list, "backend")?,
        size: number(list, "size")?,
        blocksize: number(list, "blocksize")?,
        id: id.map_err(invalid)?,
        serial: list.get_string("serial").map(str::to_owned),
        device_id: list.get_string("device_id").map(str::to_owned),
        options: options(list),
    })
}
