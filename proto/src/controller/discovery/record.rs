//! The bytes of a discovery log: header, entries, and the attributes that extended entries end with.
//! A registration ([`crate::registration`]) is made of the same entries.

use std::borrow::Cow;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::identify::field;
use super::{DiscoveryEntry, DiscoveryLog, EntryFormat, Family, Subtype};
use crate::nqn::NQN_FIELD_SIZE;

/// The log's header (Base 2.1, figure 296).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) genctr: U64,
    pub(super) numrec: U64,
    /// Format of the records: 0, whether they are extended or not.
    pub(super) recfmt: U16,
    /// Flags (DLPF): bit 0 extended, bit 1 port local, bit 2 all subsystems.
    pub(super) dlpf: u8,
    reserved_19: u8,
    /// Bytes of the whole log.
    pub(super) tdlpl: U32,
    reserved_24: [u8; 1000],
}

/// An entry of the log (Base 2.1, figure 294).
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Record {
    pub(crate) trtype: u8,
    pub(crate) adrfam: u8,
    pub(crate) subtype: u8,
    pub(crate) treq: u8,
    pub(crate) portid: U16,
    pub(crate) cntlid: U16,
    pub(crate) asqsz: U16,
    pub(crate) eflags: U16,
    pub(crate) reserved_12: [u8; 20],
    pub(crate) trsvcid: [u8; 32],
    pub(crate) reserved_64: [u8; 192],
    pub(crate) subnqn: [u8; NQN_FIELD_SIZE],
    pub(crate) traddr: [u8; 256],
    pub(crate) sectype: u8,
    pub(crate) reserved_769: [u8; 255],
}

/// What follows an entry's first 1024 bytes if it is extended (Base 2.1, figures 295 and 498).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ExtensionHead {
    /// Bytes of the whole entry.
    pub(crate) tel: U32,
    /// Attributes that follow.
    pub(crate) numexat: U16,
    pub(crate) reserved: U16,
}

/// What precedes an attribute's value (Base 2.1, figure 499).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct AttributeHead {
    pub(crate) exattype: U16,
    /// Bytes of the value: not 0, a multiple of four.
    pub(crate) exatlen: U16,
}

/// The attributes of an extended entry: a label, or none.
pub(crate) struct Extension<'a> {
    label: Option<Cow<'a, str>>,
}

/// The header of `log`, which has `size` bytes in this form.
pub(super) fn header(log: &DiscoveryLog, format: EntryFormat, size: u64) -> Header {
    let extended = match format {
        EntryFormat::Basic => 0,
        EntryFormat::Extended => DLPF_EXTENDED,
    };
    let mut header = Header::new_zeroed();
    header.genctr = log.generation.into();
    header.numrec = (log.entries.len() as u64).into();
    header.dlpf = extended | u8::from(log.scope.port_local) << 1 | u8::from(log.scope.all) << 2;
    header.tdlpl = u32::try_from(size).unwrap_or(u32::MAX).into();
    header
}

impl Record {
    pub(crate) fn of(entry: &DiscoveryEntry) -> Self {
        let mut record = Self::new_zeroed();
        record.trtype = TRTYPE_TCP;
        record.adrfam = match entry.family {
            Family::V4 => 1,
            Family::V6 => 2,
        };
        record.subtype = match entry.subtype {
            Subtype::Referral => 1,
            Subtype::Nvm => 2,
            Subtype::CurrentDiscovery => 3,
        };
        record.treq = entry.treq;
        record.portid = entry.portid.into();
        record.cntlid = CNTLID_DYNAMIC.into();
        record.asqsz = entry.asqsz.into();
        record.eflags = entry.eflags.into();
        // FreeBSD: `nvmecontrol connect-all` hands both texts to getaddrinfo() as they are, so the
        // spaces that the specification asks for would break it. NUL is what Linux and ctld send,
        // and libnvme, which strips spaces, takes it too.
        record.trsvcid = field(&entry.trsvcid, 0);
        record.traddr = field(&entry.traddr, 0);
        record.subnqn = entry.subnqn.to_field();
        record.sectype = entry.sectype;
        record
    }
}

impl<'a> Extension<'a> {
    pub(crate) fn of(entry: &'a DiscoveryEntry) -> Self {
        let label = entry.label.as_deref().map(clean_label);
        Self {
            label: label.filter(|label| !label.is_empty()),
        }
    }

    /// Bytes of the whole entry.
    pub(crate) fn entry_size(&self) -> u32 {
        let heads = RECORD_BYTES + size_of::<ExtensionHead>();
        let label = self.label.as_ref();
        let label = label.map_or(0, |it| size_of::<AttributeHead>() + padded(it.len()));
        u32::try_from(heads + label).unwrap_or(u32::MAX)
    }

    /// Appends what follows the first 1024 bytes.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let head = ExtensionHead {
            tel: self.entry_size().into(),
            numexat: u16::from(self.label.is_some()).into(),
            reserved: 0.into(),
        };
        bytes.extend(head.as_bytes());
        if let Some(label) = &self.label {
            let length = padded(label.len());
            let exattype = if label.is_ascii() {
                LABEL_ASCII
            } else {
                LABEL_UTF8
            };
            let head = AttributeHead {
                exattype: exattype.into(),
                exatlen: u16::try_from(length).unwrap_or(u16::MAX).into(),
            };
            bytes.extend(head.as_bytes());
            let end = bytes.len() + length;
            bytes.extend(label.bytes());
            bytes.resize(end, 0);
        }
    }
}

/// A label without control characters, and not longer than the specification allows.
fn clean_label(label: &str) -> Cow<'_, str> {
    let ends = label.char_indices().map(|(at, char)| at + char.len_utf8());
    let end = ends.take_while(|&end| end <= LABEL_MAX_BYTES).last();
    let label = label.get(..end.unwrap_or_default()).unwrap_or_default();
    if label.contains(char::is_control) {
        // A control character has one byte or two, the replacement one: it cannot get longer.
        Cow::Owned(label.replace(char::is_control, "?"))
    } else {
        Cow::Borrowed(label)
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Bytes of the header, and of every entry that is not extended.
pub const RECORD_SIZE: u64 = RECORD_BYTES as u64;

const RECORD_BYTES: usize = 1024;

/// Bytes of a label at most (Base 2.1, figure 499).
pub const LABEL_MAX_BYTES: usize = 256;

/// NVMe/TCP.
pub(crate) const TRTYPE_TCP: u8 = 3;

/// Controllers are made as hosts connect.
const CNTLID_DYNAMIC: u16 = 0xffff;

/// The log has extended entries. The other flags are [`super::DiscoveryScope`]'s.
const DLPF_EXTENDED: u8 = 1;

/// Attributes (EXATTYPE): of hosts alone.
pub(crate) const HOST_IDENTIFIER: u16 = 1;
/// A label in ASCII.
pub(crate) const LABEL_ASCII: u16 = 2;
/// A label in UTF-8.
pub(crate) const LABEL_UTF8: u16 = 3;
/// From here on, of whoever made it.
pub(crate) const VENDOR_ATTRIBUTES: u16 = 0xff00;

const _: () = assert!(size_of::<Header>() == RECORD_BYTES);
const _: () = assert!(size_of::<Record>() == RECORD_BYTES);
const _: () = assert!(size_of::<ExtensionHead>() == 8);
const _: () = assert!(size_of::<AttributeHead>() == 4);
