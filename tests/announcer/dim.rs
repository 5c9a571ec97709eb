//! Discovery Information Management commands, read by the layout that libnvme has of them (its
//! `struct nvmf_dim_data` and `struct nvmf_ext_die`), and by nothing of ours.

use std::net::{IpAddr, SocketAddr};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dim {
    pub(crate) task: Task,
    /// Who: its identifier, its name, its version.
    pub(crate) entity: [String; 3],
    pub(crate) entries: Vec<Entry>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Register,
    Deregister,
    Update,
}

/// A subsystem at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) nqn: String,
    pub(crate) address: SocketAddr,
    pub(crate) portid: u16,
    pub(crate) label: Option<String>,
}

/// Bytes before the entries, and of an extended entry before its attributes.
const HEADER: usize = 1024;
const DIE: usize = 1032;

/// Reads dword 10 and the data of one; or what is wrong with it.
pub(crate) fn read(dword10: u32, data: &[u8]) -> Result<Dim, String> {
    let task = match dword10 {
        0 => Task::Register,
        1 => Task::Deregister,
        2 => Task::Update,
        other => return Err(format!("dword 10 is {other:#x}")),
    };
    let header = data.get(..HEADER).ok_or("no header")?;
    let expect = |what: &str, at: usize, bytes: &[u8]| {
        let there = &header[at..at + bytes.len()];
        (there == bytes)
            .then_some(())
            .ok_or(format!("{what}: {there:02x?}"))
    };
    let length = u32::try_from(data.len()).map_err(|_| "too long")?;
    expect("TDL", 0, &length.to_le_bytes())?;
    expect("bytes 4 to 7", 4, &[0; 4])?;
    expect("ENTFMT", 16, &2_u16.to_le_bytes())?;
    expect("ETYPE", 18, &2_u16.to_le_bytes())?;
    expect("PORTLCL and byte 21", 20, &[0; 2])?;
    expect("EKTYPE", 22, &0x5f_u16.to_le_bytes())?;
    expect("bytes from 600", 600, &[0; 424])?;
    let count = u64::from_le_bytes(*header[8..].first_chunk().expect("8 bytes"));
    let mut rest = &data[HEADER..];
    let mut entries = Vec::new();
    for _ in 0..count {
        let (entry, behind) = read_entry(rest)?;
        entries.push(entry);
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes behind {count} entries", rest.len()));
    }
    Ok(Dim {
        task,
        entity: [
            text(&header[24..280])?,
            text(&header[280..536])?,
            text(&header[536..600])?,
        ],
        entries,
    })
}

fn read_entry(bytes: &[u8]) -> Result<(Entry, &[u8]), String> {
    let die = bytes.get(..DIE).ok_or("an entry is cut off")?;
    let word = |at: usize| u16::from_le_bytes([die[at], die[at + 1]]);
    let address: IpAddr = text(&die[512..768])?.parse().map_err(|_| "TRADDR")?;
    let family = if address.is_ipv4() { 1 } else { 2 };
    // TRTYPE TCP, ADRFAM, SUBTYPE of an NVM subsystem, TREQ.
    if die[..4] != [3, family, 2, 0] {
        return Err(format!("an entry begins with {:02x?}", &die[..4]));
    }
    if word(6) != 0xffff || word(8) < 32 {
        return Err(format!("CNTLID {:#x}, ASQSZ {}", word(6), word(8)));
    }
    if die[10..32]
        .iter()
        .chain(&die[64..256])
        .any(|&byte| byte != 0)
    {
        return Err("what is reserved is not zero".into());
    }
    let port: u16 = text(&die[32..64])?.parse().map_err(|_| "TRSVCID")?;
    let tel = u32::from_le_bytes(*die[1024..].first_chunk().expect("4 bytes")) as usize;
    let attributes = bytes.get(DIE..tel).ok_or("TEL")?;
    let label = match (word(1028), attributes) {
        (0, []) => None,
        // EXATTYPE symbolic name, EXATLEN.
        (1, [2, 0, low, high, value @ ..])
            if usize::from(u16::from_le_bytes([*low, *high])) == value.len() =>
        {
            Some(text(value)?)
        }
        (count, _) => return Err(format!("{count} attributes in {} bytes", attributes.len())),
    };
    let entry = Entry {
        nqn: text(&die[256..512])?,
        address: SocketAddr::new(address, port),
        portid: word(4),
        label,
    };
    Ok((entry, &bytes[tel..]))
}

/// A text that ends in NULs or blanks.
fn text(field: &[u8]) -> Result<String, String> {
    let end = field.iter().rposition(|byte| ![0, b' '].contains(byte));
    let text = &field[..end.map_or(0, |end| end + 1)];
    match text.iter().all(u8::is_ascii_graphic) || text.is_ascii() {
        true => Ok(String::from_utf8_lossy(text).into_owned()),
        false => Err(format!("a text: {text:02x?}")),
    }
}
