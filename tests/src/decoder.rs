//! What tshark reads in a capture: a decoder of NVMe/TCP that others have written.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Why nothing was read.
#[derive(Debug)]
pub enum NotDecoded {
    /// tshark is not installed.
    NoDecoder,
    /// It could not read the capture; its words.
    Failed(String),
}

/// An entry of a discovery log, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 1 another discovery service, 2 an NVM subsystem, 3 the discovery service that was asked.
    pub subtype: u32,
    /// Name of the subsystem.
    pub subnqn: String,
    /// Address.
    pub traddr: String,
    /// Port.
    pub trsvcid: String,
}

/// The frames of a capture that pass `filter`: of each, all values of every field. What was said on
/// `ports` is NVMe/TCP.
///
/// # Errors
/// Why they cannot be read.
pub fn frames(
    capture: &Path,
    ports: &[u16],
    filter: &str,
    fields: &[&str],
) -> Result<Vec<Vec<Vec<String>>>, NotDecoded> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture);
    tshark.args(["-Y", filter, "-T", "fields", "-E", "aggregator=/s"]);
    for port in ports {
        tshark.args(["-d", &format!("tcp.port=={port},nvme-tcp")]);
    }
    for field in fields {
        tshark.args(["-e", field]);
    }
    let output = match tshark.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(NotDecoded::NoDecoder),
        Err(error) => return Err(NotDecoded::Failed(error.to_string())),
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(NotDecoded::Failed(words));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let values = |column: &str| column.split_whitespace().map(str::to_owned).collect();
    let frame = |line: &str| line.split('\t').map(values).collect();
    Ok(text.lines().map(frame).collect())
}

/// What is wrong with the frames of a capture: those that end too early or say what cannot be.
///
/// # Errors
/// As [`frames`].
pub fn complaints(capture: &Path, ports: &[u16]) -> Result<Vec<String>, NotDecoded> {
    let wrong = "(nvme-tcp or nvme) and (_ws.malformed or _ws.expert.severity == error)";
    let fields = ["frame.number", "_ws.expert.message"];
    let wrong = frames(capture, ports, wrong, &fields)?;
    let words = |frame: Vec<Vec<String>>| {
        let words: Vec<String> = frame.into_iter().flatten().collect();
        format!("frame {}", words.join(" "))
    };
    Ok(wrong.into_iter().map(words).collect())
}

/// The entries of discovery logs that were read as such, in order.
///
/// # Errors
/// As [`frames`].
pub fn discovery_entries(capture: &Path, ports: &[u16]) -> Result<Vec<Entry>, NotDecoded> {
    let record = "nvme.cmd.get_logpage.identify.rcrd";
    let fields = ["subtype", "subnqn", "traddr", "trsvcid"].map(|it| format!("{record}.{it}"));
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let frames = frames(capture, ports, &format!("{record}.subtype"), &fields)?;
    let entries = |frame: Vec<Vec<String>>| {
        let value = |field: usize, index: usize| {
            let values = frame.get(field).and_then(|it| it.get(index));
            values.cloned().unwrap_or_default()
        };
        let count = frame.first().map_or(0, Vec::len);
        let entry = |index| Entry {
            subtype: number(&value(0, index)),
            subnqn: value(1, index),
            traddr: value(2, index),
            trsvcid: value(3, index),
        };
        (0..count).map(entry).collect::<Vec<_>>()
    };
    Ok(frames.into_iter().flat_map(entries).collect())
}

/// A number as tshark writes it.
///
/// # Panics
/// If it is none.
pub fn number(text: &str) -> u32 {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("{text:?} is no number"))
}
