//! A registration as a CDC reads it: what a discovery controller sent, believed nothing.
//!
//! The refusals are the specification's (Base 2.1 §5.3.3): Invalid Discovery Information for entries
//! that do not fit who registers, Invalid Field for everything else. Whatever is reserved must be
//! zero, so that whoever registers by our own hand is held to all of it.

// The type alone: what does I/O with it is in std.
use core::net::IpAddr;

use zerocopy::FromBytes;

use super::{
    EKTYPE_PORTID, EKTYPE_TRADDR, ENTFMT_BASIC, ENTFMT_EXTENDED, ETYPE_DDC, Entity, HEADER_BYTES,
    Header, TAS_DEREGISTER, TAS_REGISTER, TAS_UPDATE, Task,
};
use crate::controller::discovery::{
    AttributeHead, DiscoveryEntry, EntryFormat, ExtensionHead, Family, HOST_IDENTIFIER,
    LABEL_ASCII, LABEL_MAX_BYTES, LABEL_UTF8, Record, Subtype, TRTYPE_TCP, VENDOR_ATTRIBUTES,
};
use crate::nqn::Nqn;
use crate::opcode::admin;
use crate::sqe::{Data, Sqe};
use crate::status::Status;

/// What a discovery controller wants a CDC to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Who.
    pub entity: Entity,
    /// How long the entries were.
    pub format: EntryFormat,
    /// Whether an entry's key has its port's identifier instead of its address.
    pub keyed_by_port: bool,
    /// Whether they are only those of the port that registers (PORTLCL).
    pub port_local: bool,
    tas: u32,
    entries: Vec<DiscoveryEntry>,
}

impl Received {
    /// The data that the command `sqe` moves, if it is one and at most `most` bytes (MDTS).
    ///
    /// # Errors
    /// Invalid Opcode for another command; Invalid Field for an unknown task or too much data.
    pub fn data(sqe: &Sqe, most: u32) -> Result<Data, Status> {
        if sqe.opcode != admin::DISCOVERY_INFORMATION_MANAGEMENT {
            return Err(Status::INVALID_OPCODE.dnr());
        }
        let length = sqe.sgl.length.get();
        let known = (TAS_REGISTER..=TAS_UPDATE).contains(&sqe.cdw10.get());
        if !known || length > most || (length as usize) < HEADER_BYTES {
            return Err(Status::INVALID_FIELD.dnr());
        }
        Ok(Data::FromHost(length))
    }

    /// Reads the command `sqe` and its data.
    ///
    /// # Errors
    /// The status to complete the command with.
    pub fn read(sqe: &Sqe, data: &[u8]) -> Result<Self, Status> {
        let tas = sqe.cdw10.get();
        let (header, rest) = Header::ref_from_prefix(data).map_err(|_| INVALID)?;
        let format = match header.entfmt.get() {
            ENTFMT_BASIC => EntryFormat::Basic,
            ENTFMT_EXTENDED => EntryFormat::Extended,
            _ => return Err(INVALID),
        };
        let keyed_by_port = match header.ektype.get() {
            EKTYPE_PORTID => true,
            EKTYPE_TRADDR => false,
            _ => return Err(INVALID),
        };
        let reserved = [
            &header.reserved_4[..],
            &[header.reserved_21],
            &header.reserved_600,
        ];
        require(u64::from(header.tdl.get()) == data.len() as u64)?;
        require(header.etype.get() == ETYPE_DDC && header.portlcl <= 1)?;
        require(reserved.into_iter().flatten().all(|&byte| byte == 0))?;
        let count = header.nument.get();
        require(match tas {
            TAS_REGISTER | TAS_DEREGISTER => count != 0,
            TAS_UPDATE => count == 2,
            _ => false,
        })?;
        let entity = Entity {
            eid: uuid_form(Nqn::from_field(&header.eid).map_err(|_| INVALID)?)?,
            ename: ascii(&header.ename)?,
            ever: ascii(&header.ever)?,
        };
        // What NUMENT says is believed as far as there are bytes.
        let mut entries = Vec::new();
        let mut rest = rest;
        for _ in 0..count {
            let (entry, behind) = read_entry(rest, format)?;
            entries.push(entry);
            rest = behind;
        }
        let addressless = entries.iter().filter(|it| it.traddr.is_empty()).count();
        require(rest.is_empty() && addressless <= 1)?;
        Ok(Self {
            entity,
            format,
            keyed_by_port,
            port_local: header.portlcl != 0,
            tas,
            entries,
        })
    }

    /// What is to be done. An empty address is the one that the connection comes from.
    pub fn task(&self) -> Task<'_> {
        match (self.tas, &self.entries[..]) {
            (TAS_UPDATE, [old, new]) => Task::Update { old, new },
            (TAS_DEREGISTER, entries) => Task::Deregister(entries),
            (_, entries) => Task::Register(entries),
        }
    }
}

/// Reads an entry; what follows it.
fn read_entry(bytes: &[u8], format: EntryFormat) -> Result<(DiscoveryEntry, &[u8]), Status> {
    let (record, rest) = Record::ref_from_prefix(bytes).map_err(|_| INVALID)?;
    let mut entry = read_record(record)?;
    match format {
        EntryFormat::Basic => Ok((entry, rest)),
        EntryFormat::Extended => {
            require(entry.eflags == 0)?;
            let (head, attributes) = ExtensionHead::ref_from_prefix(rest).map_err(|_| INVALID)?;
            require(head.reserved.get() == 0 && head.tel.get() % 4 == 0)?;
            let heads = bytes.len() - attributes.len();
            let length = (head.tel.get() as usize).checked_sub(heads);
            let split = length.and_then(|length| attributes.split_at_checked(length));
            let (attributes, behind) = split.ok_or(INVALID)?;
            entry.label = read_label(attributes, head.numexat.get())?;
            Ok((entry, behind))
        }
    }
}

fn read_record(record: &Record) -> Result<DiscoveryEntry, Status> {
    let subtype = match record.subtype {
        1 => Subtype::Referral,
        2 => Subtype::Nvm,
        _ => return Err(INVALID_INFORMATION),
    };
    let family = match record.adrfam {
        1 => Family::V4,
        2 => Family::V6,
        _ => return Err(INVALID),
    };
    let reserved = [
        &record.reserved_12[..],
        &record.reserved_64,
        &record.reserved_769,
    ];
    require(record.trtype == TRTYPE_TCP)?;
    require(reserved.into_iter().flatten().all(|&byte| byte == 0))?;
    // FFF0h to FFFDh name no controller.
    require(!(0xfff0..=0xfffd).contains(&record.cntlid.get()))?;
    let (traddr, trsvcid) = (ascii(&record.traddr)?, ascii(&record.trsvcid)?);
    let port: u16 = trsvcid.parse().map_err(|_| INVALID)?;
    require(port != 0 && trsvcid.bytes().all(|byte| byte.is_ascii_digit()))?;
    require(record.asqsz.get() >= MIN_ASQSZ)?;
    if !traddr.is_empty() {
        let address: IpAddr = traddr.parse().map_err(|_| INVALID)?;
        let fits = match family {
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        require(fits && !address.is_unspecified() && !address.is_multicast())?;
    }
    Ok(DiscoveryEntry {
        subtype,
        family,
        traddr,
        trsvcid,
        subnqn: Nqn::from_field(&record.subnqn).map_err(|_| INVALID)?,
        portid: record.portid.get(),
        asqsz: record.asqsz.get(),
        treq: record.treq,
        eflags: record.eflags.get(),
        sectype: record.sectype,
        label: None,
    })
}

/// The label among `count` attributes, which are all of `bytes`.
fn read_label(bytes: &[u8], count: u16) -> Result<Option<String>, Status> {
    let mut label = None;
    let mut rest = bytes;
    for _ in 0..count {
        let (head, behind) = AttributeHead::ref_from_prefix(rest).map_err(|_| INVALID)?;
        let length = usize::from(head.exatlen.get());
        require(length != 0 && length % 4 == 0)?;
        let (value, behind) = behind.split_at_checked(length).ok_or(INVALID)?;
        match head.exattype.get() {
            LABEL_ASCII | LABEL_UTF8 => {
                require(length <= LABEL_MAX_BYTES && label.is_none())?;
                let text = until_nul(value)?;
                let text = std::str::from_utf8(text).map_err(|_| INVALID)?;
                let ascii = head.exattype.get() == LABEL_ASCII;
                require(!text.contains(char::is_control) && (!ascii || text.is_ascii()))?;
                label = Some(text.to_owned());
            }
            // A subsystem has no Host Identifier.
            HOST_IDENTIFIER => return Err(INVALID_INFORMATION),
            VENDOR_ATTRIBUTES.. => {}
            _ => return Err(INVALID),
        }
        rest = behind;
    }
    require(rest.is_empty())?;
    Ok(label)
}

/// A text that is padded with NULs or spaces.
fn ascii(field: &[u8]) -> Result<String, Status> {
    let text = until_nul(field)?;
    require(text.iter().all(|byte| matches!(byte, b' '..=b'~')))?;
    let text = std::str::from_utf8(text).map_err(|_| INVALID)?;
    Ok(text.trim_end_matches(' ').to_owned())
}

/// What precedes the NULs at the end; there is nothing but NULs behind the first.
fn until_nul(field: &[u8]) -> Result<&[u8], Status> {
    let end = field.iter().position(|&byte| byte == 0);
    let (text, nuls) = field.split_at(end.unwrap_or(field.len()));
    require(nuls.iter().all(|&byte| byte == 0))?;
    Ok(text)
}

/// A name that a UUID makes unique (Base 2.1 §4.7).
fn uuid_form(nqn: Nqn) -> Result<Nqn, Status> {
    let uuid = nqn.as_str().strip_prefix(UUID_NQN).ok_or(INVALID)?;
    let groups: Vec<&str> = uuid.split('-').collect();
    require(groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]))?;
    let hexadecimal = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    require(groups.iter().all(hexadecimal))?;
    Ok(nqn)
}

fn require(right: bool) -> Result<(), Status> {
    if right { Ok(()) } else { Err(INVALID) }
}

const INVALID: Status = Status::INVALID_FIELD.dnr();
const INVALID_INFORMATION: Status = Status::INVALID_DISCOVERY_INFORMATION.dnr();

/// What a name in UUID form begins with.
const UUID_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// Entries that an admin queue may have at least.
const MIN_ASQSZ: u16 = 32;
