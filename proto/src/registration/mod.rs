//! Discovery Information Management (TP 8010; Base 2.1 §5.3.3): a discovery controller tells a
//! Centralized Discovery Controller (CDC) what can be reached, and hosts ask the CDC.
//!
//! We are the side that registers: a Direct Discovery Controller (DDC), connected to the CDC's
//! discovery subsystem as a host would be. [`Task::commands`] makes the commands; [`Support`] says
//! whether a controller takes them. [`Received`] is the CDC's side, strict in what it takes, for
//! whoever plays one.
//!
//! A CDC remembers an entry by the entity that registered it (EID) and by its key, which here is
//! name and address: registering the same again replaces it. Host Identifiers and whatever else is
//! a host's does not belong into entries of NVM subsystems; a label does.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::controller::discovery::{DiscoveryEntry, EntryFormat, Subtype};
use crate::controller::identify::{IdentifyController, field};
use crate::nqn::{NQN_FIELD_SIZE, Nqn};
use crate::opcode::admin;
use crate::sqe::Sqe;

pub use received::Received;

mod received;
#[cfg(test)]
mod tests;

/// What is to be done with entries (TAS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task<'a> {
    /// Registers entries; what is registered already and has the same key is replaced.
    Register(&'a [DiscoveryEntry]),
    /// Takes entries back. Only their keys count.
    Deregister(&'a [DiscoveryEntry]),
    /// Replaces one entry by another, whose key may be another, too, at one stroke.
    Update {
        /// What is registered. Only its key counts.
        old: &'a DiscoveryEntry,
        /// What takes its place.
        new: &'a DiscoveryEntry,
    },
}

/// Who registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// A name in UUID form that is the same whenever this entity comes (EID).
    pub eid: Nqn,
    /// What people call it, at most 256 characters of ASCII (ENAME), or empty.
    pub ename: String,
    /// Product and version, at most 64 characters of ASCII (EVER), or empty.
    pub ever: String,
}

/// A command of a registration and the data that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The entry; whoever submits it sets identifier and descriptor.
    pub sqe: Sqe,
    /// The data.
    pub data: Vec<u8>,
    /// How many entries that are.
    pub entries: usize,
}

/// Why a registration cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// An entry leads to the discovery service itself, of which a CDC knows by this connection.
    #[error("the entry of the discovery service itself cannot be registered")]
    CurrentDiscovery,
    /// One command cannot hold what belongs together.
    #[error("{needed} bytes are needed in one command, and the controller takes {most}")]
    TooLarge {
        /// Bytes of the smallest command.
        needed: u64,
        /// Bytes that a command may have.
        most: u32,
    },
}

/// Whether a controller takes registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is a CDC, which must.
    Always,
    /// It is a discovery controller that may: [`Support::is_named_by`] its list of commands.
    Optional,
    /// It is no discovery controller.
    Never,
}

impl Task<'_> {
    /// The commands that do this for `entity`, each with at most `most` bytes of data, which is the
    /// controller's limit (MDTS) or less. There is none for no entries.
    ///
    /// # Errors
    /// [`RegistrationError`]; nothing is to be sent then.
    pub fn commands(
        self,
        entity: &Entity,
        format: EntryFormat,
        most: u32,
    ) -> Result<Vec<Command>, RegistrationError> {
        match self {
            Self::Register(entries) | Self::Deregister(entries) => {
                let mut commands = Vec::new();
                let mut rest = entries;
                while !rest.is_empty() {
                    let fitting = fitting(rest, format, most)?;
                    let (these, others) = rest.split_at(fitting);
                    commands.push(self.command(entity, format, these.iter())?);
                    rest = others;
                }
                Ok(commands)
            }
            Self::Update { old, new } => {
                let needed = HEADER_SIZE + old.size(format) + new.size(format);
                if needed > most.into() {
                    return Err(RegistrationError::TooLarge { needed, most });
                }
                let both = [old, new].into_iter();
                Ok(vec![self.command(entity, format, both)?])
            }
        }
    }

    fn command<'e>(
        self,
        entity: &Entity,
        format: EntryFormat,
        entries: impl ExactSizeIterator<Item = &'e DiscoveryEntry>,
    ) -> Result<Command, RegistrationError> {
        let count = entries.len();
        let mut dies = Vec::new();
        for entry in entries {
            dies.extend(die(entry, format)?);
        }
        let mut header = Header::new_zeroed();
        // As much as `most` says, which is 32 bits.
        header.tdl = u32::try_from(HEADER_BYTES + dies.len())
            .unwrap_or(u32::MAX)
            .into();
        header.nument = (count as u64).into();
        header.entfmt = match format {
            EntryFormat::Basic => ENTFMT_BASIC,
            EntryFormat::Extended => ENTFMT_EXTENDED,
        }
        .into();
        header.etype = ETYPE_DDC.into();
        header.ektype = EKTYPE_TRADDR.into();
        header.eid = entity.eid.to_field();
        header.ename = text(&entity.ename);
        header.ever = text(&entity.ever);
        let mut data = header.as_bytes().to_vec();
        data.extend(dies);
        let mut sqe = Sqe::new(admin::DISCOVERY_INFORMATION_MANAGEMENT, 0);
        sqe.cdw10 = self.tas().into();
        Ok(Command {
            sqe,
            data,
            entries: count,
        })
    }

    fn tas(self) -> u32 {
        match self {
            Self::Register(_) => TAS_REGISTER,
            Self::Deregister(_) => TAS_DEREGISTER,
            Self::Update { .. } => TAS_UPDATE,
        }
    }
}

impl Support {
    /// As far as Identify tells.
    pub fn of(identify: &IdentifyController) -> Self {
        match (identify.cntrltype, identify.dctype) {
            (CNTRLTYPE_DISCOVERY, DCTYPE_CDC) => Self::Always,
            (CNTRLTYPE_DISCOVERY, _) => Self::Optional,
            _ => Self::Never,
        }
    }

    /// Whether a controller's Commands Supported and Effects (log page 05h) has the command.
    pub fn is_named_by(effects: &[u8]) -> bool {
        let index = usize::from(admin::DISCOVERY_INFORMATION_MANAGEMENT) * size_of::<U32>();
        effects.get(index).is_some_and(|byte| byte & 1 != 0)
    }
}

/// How many of `entries`, at least one, one command can hold.
fn fitting(
    entries: &[DiscoveryEntry],
    format: EntryFormat,
    most: u32,
) -> Result<usize, RegistrationError> {
    let mut size = HEADER_SIZE;
    for (count, entry) in entries.iter().enumerate() {
        size += entry.size(format);
        if size > most.into() {
            return match count {
                0 => Err(RegistrationError::TooLarge { needed: size, most }),
                count => Ok(count),
            };
        }
    }
    Ok(entries.len())
}

/// A Discovery Information Entry, which is an entry of a log as it is.
fn die(entry: &DiscoveryEntry, format: EntryFormat) -> Result<Vec<u8>, RegistrationError> {
    match entry.subtype {
        Subtype::Nvm | Subtype::Referral => {}
        Subtype::CurrentDiscovery => return Err(RegistrationError::CurrentDiscovery),
    }
    let mut bytes = entry.to_bytes(format);
    match format {
        EntryFormat::Basic => {}
        // Where a basic entry has its flags, an extended one has reserved bytes.
        EntryFormat::Extended => bytes
            .iter_mut()
            .skip(EFLAGS_AT)
            .take(2)
            .for_each(|it| *it = 0),
    }
    Ok(bytes)
}

/// A text padded with spaces (Base 2.1 §1.4.2); nothing at all for none.
fn text<const N: usize>(text: &str) -> [u8; N] {
    field(text, if text.is_empty() { 0 } else { b' ' })
}

/// What precedes the entries (Base 2.1, figure 497; libnvme's `struct nvmf_dim_data`).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    /// Bytes of header and entries together.
    tdl: U32,
    reserved_4: [u8; 4],
    nument: U64,
    entfmt: U16,
    etype: U16,
    /// Whether the entries are only those of the port that registers: never, we register all.
    portlcl: u8,
    reserved_21: u8,
    /// Which fields make an entry's key.
    ektype: U16,
    eid: [u8; NQN_FIELD_SIZE],
    ename: [u8; 256],
    ever: [u8; 64],
    reserved_600: [u8; 424],
}

const HEADER_BYTES: usize = size_of::<Header>();
const HEADER_SIZE: u64 = HEADER_BYTES as u64;

const _: () = assert!(HEADER_BYTES == 1024);
const _: () = assert!(std::mem::offset_of!(Header, nument) == 8);
const _: () = assert!(std::mem::offset_of!(Header, entfmt) == 16);
const _: () = assert!(std::mem::offset_of!(Header, etype) == 18);
const _: () = assert!(std::mem::offset_of!(Header, portlcl) == 20);
const _: () = assert!(std::mem::offset_of!(Header, ektype) == 22);
const _: () = assert!(std::mem::offset_of!(Header, eid) == 24);
const _: () = assert!(std::mem::offset_of!(Header, ename) == 280);
const _: () = assert!(std::mem::offset_of!(Header, ever) == 536);
const _: () = assert!(std::mem::offset_of!(Header, reserved_600) == 600);

/// Dword 10, bits 3:0.
const TAS_REGISTER: u32 = 0;
const TAS_DEREGISTER: u32 = 1;
const TAS_UPDATE: u32 = 2;

const ENTFMT_BASIC: u16 = 1;
const ENTFMT_EXTENDED: u16 = 2;

/// A Direct Discovery Controller. (1 is a host, 3 a CDC: both register hosts.)
const ETYPE_DDC: u16 = 2;

/// The key has the port's identifier.
const EKTYPE_PORTID: u16 = 0x3f;
/// The key has the address: the one that every CDC knows, because hosts must use it.
const EKTYPE_TRADDR: u16 = 0x5f;

/// Where an entry of a log has its flags.
const EFLAGS_AT: usize = 10;

/// Identify: a discovery controller.
const CNTRLTYPE_DISCOVERY: u8 = 2;
/// Identify: a Centralized Discovery Controller.
const DCTYPE_CDC: u8 = 2;
