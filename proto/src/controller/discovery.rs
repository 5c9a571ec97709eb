//! The discovery log page (Base 2.0 §5.16.1.23): which subsystems a host can reach, and where.
//!
//! The caller decides which entries a host sees; this module knows their bytes and reads any part
//! of the log without building the whole. One [`DiscoveryLog`] is what one host sees at one portal:
//! its generation must change with its content and with nothing else.

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::identify::field;
use crate::nqn::{NQN_FIELD_SIZE, Nqn};
use crate::status::Status;

/// The discovery log that one host sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryLog {
    /// Generation counter (GENCTR): differs whenever the entries do.
    pub generation: u64,
    /// What the host can reach.
    pub entries: Vec<DiscoveryEntry>,
}

/// One way to one subsystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryEntry {
    /// What is found there.
    pub subtype: Subtype,
    /// How to read `traddr`.
    pub family: Family,
    /// Address as text, at most 256 bytes of ASCII; never a wildcard.
    pub traddr: String,
    /// Port as decimal text, at most 32 bytes.
    pub trsvcid: String,
    /// Name of the subsystem.
    pub subnqn: Nqn,
    /// Port identifier, the same for all entries of one portal.
    pub portid: u16,
    /// Entries that an admin queue may have there, at least 32.
    pub asqsz: u16,
    /// Transport requirements: bits 1:0 secure channel, bit 2 SQ flow control can be off.
    pub treq: u8,
    /// Entry flags: bit 0 duplicate returned information, bit 1 explicit persistent connections.
    pub eflags: u16,
    /// Security type of the port: 0 none, 2 TLS 1.3 (TSAS of NVMe/TCP).
    pub sectype: u8,
}

/// What a discovery entry leads to (SUBTYPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subtype {
    /// Another discovery subsystem.
    Referral,
    /// An NVM subsystem.
    Nvm,
    /// The discovery subsystem that is being read.
    CurrentDiscovery,
}

/// Address family (ADRFAM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, dotted decimal.
    V4,
    /// IPv6.
    V6,
}

impl DiscoveryLog {
    /// Bytes of the whole log.
    pub fn size(&self) -> u64 {
        (self.entries.len() as u64 + 1) * RECORD_SIZE
    }

    /// `length` bytes from `offset`, zeroes beyond the end. The caller has bounded `length`.
    ///
    /// # Errors
    /// Invalid Field when `offset` lies beyond the log (CVE-2026-64320).
    pub fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, Status> {
        if offset > self.size() {
            return Err(Status::INVALID_FIELD.dnr());
        }
        let length = length as usize;
        let mut skip = usize::try_from(offset % RECORD_SIZE).unwrap_or_default();
        let mut bytes = Vec::with_capacity(length);
        let mut record = offset / RECORD_SIZE;
        while bytes.len() < length {
            let Some(whole) = self.record(record) else {
                break;
            };
            let wanted = whole.iter().skip(skip).take(length - bytes.len());
            bytes.extend(wanted);
            skip = 0;
            record += 1;
        }
        bytes.resize(length, 0);
        Ok(bytes)
    }

    /// The header (0) or an entry (from 1) as it stands on the wire.
    fn record(&self, index: u64) -> Option<[u8; RECORD_BYTES]> {
        match usize::try_from(index).ok()?.checked_sub(1) {
            None => Some(zerocopy::transmute!(self.header())),
            Some(entry) => Some(zerocopy::transmute!(self.entries.get(entry)?.record())),
        }
    }

    fn header(&self) -> Header {
        let mut header = Header::new_zeroed();
        header.genctr = self.generation.into();
        header.numrec = (self.entries.len() as u64).into();
        header
    }
}

impl DiscoveryEntry {
    fn record(&self) -> Record {
        let mut record = Record::new_zeroed();
        record.trtype = TRTYPE_TCP;
        record.adrfam = match self.family {
            Family::V4 => 1,
            Family::V6 => 2,
        };
        record.subtype = match self.subtype {
            Subtype::Referral => 1,
            Subtype::Nvm => 2,
            Subtype::CurrentDiscovery => 3,
        };
        record.treq = self.treq;
        record.portid = self.portid.into();
        record.cntlid = CNTLID_DYNAMIC.into();
        record.asqsz = self.asqsz.into();
        record.eflags = self.eflags.into();
        // FreeBSD: `nvmecontrol connect-all` hands both texts to getaddrinfo() as they are, so the
        // spaces that the specification asks for would break it. NUL is what Linux and ctld send,
        // and libnvme, which strips spaces, takes it too.
        record.trsvcid = field(&self.trsvcid, 0);
        record.traddr = field(&self.traddr, 0);
        record.subnqn = self.subnqn.to_field();
        record.sectype = self.sectype;
        record
    }
}

/// The log's header.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    genctr: U64,
    numrec: U64,
    /// Format of the records: 0.
    recfmt: U16,
    reserved: [u8; 1006],
}

/// An entry of the log.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Record {
    trtype: u8,
    adrfam: u8,
    subtype: u8,
    treq: u8,
    portid: U16,
    cntlid: U16,
    asqsz: U16,
    eflags: U16,
    reserved_12: [u8; 20],
    trsvcid: [u8; 32],
    reserved_64: [u8; 192],
    subnqn: [u8; NQN_FIELD_SIZE],
    traddr: [u8; 256],
    sectype: u8,
    reserved_769: [u8; 255],
}

/// Bytes of the header, and of every entry.
pub const RECORD_SIZE: u64 = RECORD_BYTES as u64;

const RECORD_BYTES: usize = 1024;

/// NVMe/TCP.
const TRTYPE_TCP: u8 = 3;

/// Controllers are made as hosts connect.
const CNTLID_DYNAMIC: u16 = 0xffff;

const _: () = assert!(size_of::<Header>() == RECORD_BYTES);
const _: () = assert!(size_of::<Record>() == RECORD_BYTES);

#[cfg(test)]
pub(super) mod tests {
    use std::mem::offset_of;

    use super::*;
    use proptest::prelude::*;

    pub(in super::super) fn log(entries: u16) -> DiscoveryLog {
        let entry = |portid| DiscoveryEntry {
            subtype: Subtype::Nvm,
            family: Family::V4,
            traddr: "192.0.2.1".into(),
            trsvcid: "4420".into(),
            subnqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
            portid,
            asqsz: 32,
            treq: 4,
            eflags: 0,
            sectype: 0,
        };
        DiscoveryLog {
            generation: 7,
            entries: (1..=entries).map(entry).collect(),
        }
    }

    #[test]
    fn fields_stand_where_the_specification_puts_them() {
        assert_eq!(offset_of!(Header, numrec), 8);
        assert_eq!(offset_of!(Header, recfmt), 16);
        assert_eq!(offset_of!(Record, portid), 4);
        assert_eq!(offset_of!(Record, cntlid), 6);
        assert_eq!(offset_of!(Record, asqsz), 8);
        assert_eq!(offset_of!(Record, eflags), 10);
        assert_eq!(offset_of!(Record, trsvcid), 32);
        assert_eq!(offset_of!(Record, subnqn), 256);
        assert_eq!(offset_of!(Record, traddr), 512);
        assert_eq!(offset_of!(Record, sectype), 768);
    }

    #[test]
    fn an_entry_is_what_hosts_expect() {
        let bytes = log(1).read(RECORD_SIZE, 1024).unwrap();
        assert_eq!(bytes[..12], [3, 1, 2, 4, 1, 0, 0xff, 0xff, 32, 0, 0, 0]);
        assert_eq!(bytes[32..64], field::<32>("4420", 0));
        assert_eq!(
            &bytes[512..522],
            b"192.0.2.1\0",
            "NUL, not spaces: see FreeBSD's host"
        );
    }

    #[test]
    fn libnvme_reads_twenty_bytes_first() {
        let bytes = log(3).read(0, 20).unwrap();
        assert_eq!(
            bytes,
            [7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn cve_2026_64320_nothing_is_read_beyond_the_log() {
        let log = log(2);
        assert_eq!(log.size(), 3072);
        assert_eq!(log.read(3072, 8), Ok(vec![0; 8]));
        for offset in [3076, u64::from(u32::MAX), u64::MAX - 3] {
            assert_eq!(log.read(offset, 4), Err(Status::INVALID_FIELD.dnr()));
        }
    }

    #[test]
    fn over_long_texts_are_cut() {
        let mut log = log(1);
        log.entries[0].trsvcid = "9".repeat(100);
        assert_eq!(log.read(1024, 1024).unwrap()[64], 0);
    }

    proptest! {
        #[test]
        fn any_split_of_reads_reassembles_to_the_log(
            entries in 0_u16..5,
            pieces in proptest::collection::vec(1_u32..600, 1..20),
        ) {
            let log = log(entries);
            let whole = log.read(0, 1024 * (u32::from(entries) + 1)).unwrap();
            let mut read = Vec::new();
            for piece in pieces.iter().cycle() {
                if read.len() >= whole.len() {
                    break;
                }
                read.extend(log.read(read.len() as u64, piece * 4).unwrap());
            }
            prop_assert_eq!(&read[..whole.len()], &whole);
            prop_assert!(read[whole.len()..].iter().all(|&byte| byte == 0));
        }
    }
}
