//! The discovery log page (Base 2.1 §5.1.12.3.1): which subsystems a host can reach, and where.
//!
//! The caller decides which entries a host sees; this module knows their bytes and reads any part
//! of the log without building the whole. One [`DiscoveryLog`] is what one host sees at one portal:
//! its generation must change with its content and with nothing else.
//!
//! A log has two forms: entries of 1024 bytes each, and for hosts that ask so *extended* ones, which
//! go on with attributes and so differ in length ([`EntryFormat`]). The bytes are in `record`.

use std::fmt;

use zerocopy::IntoBytes;

use crate::nqn::Nqn;
use crate::status::Status;

pub(crate) use record::{
    AttributeHead, ExtensionHead, HOST_IDENTIFIER, LABEL_ASCII, LABEL_UTF8, Record, TRTYPE_TCP,
    VENDOR_ATTRIBUTES,
};
pub use record::{LABEL_MAX_BYTES, RECORD_SIZE};

use record::Extension;

mod record;
#[cfg(test)]
pub(crate) mod tests;

/// The discovery log that one host sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryLog {
    /// Generation counter (GENCTR): differs whenever the entries do.
    pub generation: u64,
    /// How the entries were chosen, as the header tells it. [`DiscoveryScope::all`] is to be set
    /// only if nothing was withheld from this host.
    pub scope: DiscoveryScope,
    /// What the host can reach.
    pub entries: Vec<DiscoveryEntry>,
}

/// Which part of all entries a log has: what a host asks for (LSP), and what it got (DLPF). Nothing
/// set is what every host gets that does not ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DiscoveryScope {
    /// Only what is presented through the port that was asked (PLEO, PORTLCL).
    pub port_local: bool,
    /// What is presented through any port (ALLSUBE, ALLSUB). With `port_local`, which narrows, it
    /// adds nothing here: which hosts may see what is not for them to say.
    pub all: bool,
}

/// How long entries are, and what they can say (EXTDLPE; ENTFMT of registrations).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryFormat {
    /// 1024 bytes each.
    Basic,
    /// Attributes follow: a label.
    Extended,
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
    /// Entry flags: [`EFLAGS_DUPRETINFO`], [`EFLAGS_EPCSD`].
    pub eflags: u16,
    /// Security type of the port: 0 none, 2 TLS 1.3 (TSAS of NVMe/TCP).
    pub sectype: u8,
    /// Administrative label, which only extended entries tell: what of it exceeds
    /// [`LABEL_MAX_BYTES`] bytes is cut.
    pub label: Option<String>,
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

/// The current discovery service says the same behind every entry that has this flag.
pub const EFLAGS_DUPRETINFO: u16 = 1 << 0;

/// A Connect with a KATO makes the discovery controller there a persistent one.
pub const EFLAGS_EPCSD: u16 = 1 << 1;

/// No discovery controller that describes this entry is connected to the Centralized Discovery
/// Controller (No CDC Connectivity). Only a CDC may set it; nobody but a CDC's own log has it.
pub const EFLAGS_NCC: u16 = 1 << 2;

impl DiscoveryLog {
    /// Bytes of the whole log in this form (TDLPL).
    pub fn size(&self, format: EntryFormat) -> u64 {
        let entries = self.entries.iter().map(|entry| entry.size(format));
        RECORD_SIZE + entries.sum::<u64>()
    }

    /// `length` bytes from `offset`, zeroes beyond the end. The caller has bounded `length`.
    ///
    /// # Errors
    /// Invalid Field when `offset` lies beyond the log (CVE-2026-64320).
    pub fn read(&self, format: EntryFormat, offset: u64, length: u32) -> Result<Vec<u8>, Status> {
        let size = self.size(format);
        if offset > size {
            return Err(Status::INVALID_FIELD.dnr());
        }
        let mut window = Window::new(offset, length);
        window.take(RECORD_SIZE, || {
            let header = record::header(self, format, size);
            header.as_bytes().to_vec()
        });
        for entry in &self.entries {
            if window.is_full() {
                break;
            }
            window.take(entry.size(format), || entry.to_bytes(format));
        }
        Ok(window.finish())
    }
}

impl DiscoveryEntry {
    /// Bytes of the entry in this form (TEL of extended ones), a multiple of four.
    pub(crate) fn size(&self, format: EntryFormat) -> u64 {
        match format {
            EntryFormat::Basic => RECORD_SIZE,
            EntryFormat::Extended => Extension::of(self).entry_size().into(),
        }
    }

    /// The entry as it stands on the wire.
    pub(crate) fn to_bytes(&self, format: EntryFormat) -> Vec<u8> {
        let mut bytes = Record::of(self).as_bytes().to_vec();
        match format {
            EntryFormat::Basic => {}
            EntryFormat::Extended => Extension::of(self).write(&mut bytes),
        }
        bytes
    }
}

impl fmt::Display for EntryFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            Self::Extended => "extended",
        })
    }
}

/// The part of a sequence of records that is asked for: what lies before it is not even made.
struct Window {
    /// Bytes that still lie before the part.
    before: u64,
    length: usize,
    bytes: Vec<u8>,
}

impl Window {
    fn new(before: u64, length: u32) -> Self {
        let length = length as usize;
        Self {
            before,
            length,
            bytes: Vec::with_capacity(length),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= self.length
    }

    /// The next record, of `size` bytes, which `make` makes.
    fn take(&mut self, size: u64, make: impl FnOnce() -> Vec<u8>) {
        if self.before >= size {
            self.before -= size;
            return;
        }
        let skip = usize::try_from(self.before).unwrap_or(usize::MAX);
        let room = self.length.saturating_sub(self.bytes.len());
        self.bytes.extend(make().iter().skip(skip).take(room));
        self.before = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.length, 0);
        self.bytes
    }
}
