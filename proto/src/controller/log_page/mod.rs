//! Get Log Page (Base 2.0 §5.16): any part of any page, at any offset of four.
//!
//! A page has a size; an offset beyond it is refused, what is read past its end is zero
//! (CVE-2026-64320). The length is bounded by MDTS when the command is parsed, before anything is
//! allocated by the host's number.

use zerocopy::IntoBytes;

use super::discovery::{DiscoveryScope, EntryFormat};
use super::{Controller, Environment, Kind};
use crate::sqe::Sqe;
use crate::status::Status;

pub use error::{ErrorEntry, ErrorLog};
pub use health::{HealthInformation, IoStatistics};

pub(super) use error::ERROR_ENTRIES;

mod effects;
mod error;
mod health;
#[cfg(test)]
mod tests;

/// A log page that one of our controllers has (LID).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPage {
    /// 00h.
    SupportedPages,
    /// 01h.
    ErrorInformation,
    /// 02h.
    Health,
    /// 03h.
    FirmwareSlots,
    /// 04h.
    ChangedNamespaces,
    /// 05h.
    CommandEffects,
    /// 12h.
    FeatureEffects,
    /// 13h: none of the Management Interface's commands.
    ManagementEffects,
    /// 70h.
    Discovery,
}

/// Part of a log page to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRead {
    /// Which page.
    pub page: LogPage,
    /// Where to start, in bytes; a multiple of four.
    pub offset: u64,
    /// How much, in bytes: a multiple of four, at least 4, at most MDTS.
    pub length: u32,
    /// Leave the page's event as it is (RAE).
    pub retain_event: bool,
    /// I/O command set that the page is about (CSI), where pages differ by it.
    pub command_set: u8,
    /// Which entries the host wants of the discovery log; nothing set for other pages.
    pub scope: DiscoveryScope,
    /// Whether it wants them extended; never for other pages.
    pub extended: bool,
}

impl LogPage {
    /// All pages, by identifier.
    const ALL: [(u8, Self); 9] = [
        (0x00, Self::SupportedPages),
        (0x01, Self::ErrorInformation),
        (0x02, Self::Health),
        (0x03, Self::FirmwareSlots),
        (0x04, Self::ChangedNamespaces),
        (0x05, Self::CommandEffects),
        (0x12, Self::FeatureEffects),
        (0x13, Self::ManagementEffects),
        (0x70, Self::Discovery),
    ];

    fn exists_on(self, kind: Kind) -> bool {
        match self {
            Self::SupportedPages
            | Self::ErrorInformation
            | Self::CommandEffects
            | Self::FeatureEffects
            | Self::ManagementEffects => true,
            Self::Discovery => kind == Kind::Discovery,
            Self::Health | Self::FirmwareSlots | Self::ChangedNamespaces => kind == Kind::Io,
        }
    }

    /// The pages that a controller of `kind` has, by identifier.
    fn existing(kind: Kind) -> impl Iterator<Item = (u8, Self)> {
        let all = Self::ALL.into_iter();
        all.filter(move |(_, page)| page.exists_on(kind))
    }

    /// What Supported Log Pages says of it: LSUPP, and from bit 16 the LID Specific Parameter.
    fn support(self) -> u32 {
        match self {
            Self::Discovery => PAGE_SUPPORTED | (EXTDLPE | PLEO | ALLSUBE) << 16,
            Self::SupportedPages
            | Self::ErrorInformation
            | Self::Health
            | Self::FirmwareSlots
            | Self::ChangedNamespaces
            | Self::CommandEffects
            | Self::FeatureEffects
            | Self::ManagementEffects => PAGE_SUPPORTED,
        }
    }
}

impl LogRead {
    /// Reads a Get Log Page entry for a controller that moves at most `max_transfer` bytes.
    ///
    /// # Errors
    /// Invalid Log Page for pages that do not exist; Invalid Field for an offset that is not a
    /// multiple of four or counts anything but bytes, a length beyond `max_transfer`, or the
    /// health of a single namespace.
    pub fn parse(sqe: &Sqe, kind: Kind, max_transfer: u32) -> Result<Self, Status> {
        let [lid, lsp_rae, numdl @ ..] = sqe.cdw10.get().to_le_bytes();
        let numd = u64::from(u16::from_le_bytes(numdl)) | u64::from(sqe.cdw11.get() & 0xffff) << 16;
        let offset = u64::from(sqe.cdw12.get()) | u64::from(sqe.cdw13.get()) << 32;
        let cdw14 = sqe.cdw14.get();
        let page = LogPage::ALL
            .iter()
            .find(|(known, page)| *known == lid && page.exists_on(kind))
            .map(|&(_, page)| page)
            .ok_or(Status::INVALID_LOG_PAGE.dnr())?;
        let length = u32::try_from((numd + 1) * 4).unwrap_or(u32::MAX);
        let foreign = match page {
            LogPage::Health => !matches!(sqe.nsid.get(), 0 | super::BROADCAST_NSID),
            LogPage::SupportedPages
            | LogPage::ErrorInformation
            | LogPage::FirmwareSlots
            | LogPage::ChangedNamespaces
            | LogPage::CommandEffects
            | LogPage::FeatureEffects
            | LogPage::ManagementEffects
            | LogPage::Discovery => false,
        };
        if offset % 4 != 0 || cdw14 & OFFSET_TYPE != 0 || length > max_transfer || foreign {
            return Err(Status::INVALID_FIELD.dnr());
        }
        // What LSP says depends on the page; bits that mean nothing are not looked at.
        let lsp = match page {
            LogPage::Discovery => u32::from(lsp_rae & !RETAIN_EVENT),
            LogPage::SupportedPages
            | LogPage::ErrorInformation
            | LogPage::Health
            | LogPage::FirmwareSlots
            | LogPage::ChangedNamespaces
            | LogPage::CommandEffects
            | LogPage::FeatureEffects
            | LogPage::ManagementEffects => 0,
        };
        Ok(Self {
            page,
            offset,
            length,
            retain_event: lsp_rae & RETAIN_EVENT != 0,
            command_set: cdw14.to_be_bytes().first().copied().unwrap_or_default(),
            scope: DiscoveryScope {
                port_local: lsp & PLEO != 0,
                all: lsp & ALLSUBE != 0,
            },
            extended: lsp & EXTDLPE != 0,
        })
    }

    /// The part of `page` that is asked for, zeroes beyond its end.
    ///
    /// # Errors
    /// Invalid Field when it starts beyond the end.
    fn of(&self, page: &[u8]) -> Result<Vec<u8>, Status> {
        let rest = usize::try_from(self.offset)
            .ok()
            .and_then(|offset| page.get(offset..))
            .ok_or(Status::INVALID_FIELD.dnr())?;
        let length = self.length as usize;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(rest.iter().take(length));
        bytes.resize(length, 0);
        Ok(bytes)
    }
}

impl Controller {
    /// Executes Get Log Page: as many bytes as asked for.
    pub(super) fn read_log(
        &mut self,
        read: &LogRead,
        env: &Environment<'_>,
    ) -> Result<Vec<u8>, Status> {
        let bytes = match read.page {
            LogPage::SupportedPages => read.of(&supported_pages(self.config.kind)),
            LogPage::ErrorInformation => read.of(&env.errors.page()),
            LogPage::Health => {
                let health = HealthInformation::of(&env.io, env.errors.count());
                read.of(health.as_bytes())
            }
            LogPage::FirmwareSlots => read.of(&health::firmware_slots(&self.config.firmware)),
            LogPage::ChangedNamespaces => {
                let nsids = self.events.changed_namespaces();
                let mut page: Vec<u8> = nsids.flat_map(u32::to_le_bytes).collect();
                page.resize(super::event::CHANGED_LIST_ENTRIES * 4, 0);
                read.of(&page)
            }
            LogPage::CommandEffects => {
                read.of(&effects::commands(self.config.kind, read.command_set))
            }
            LogPage::FeatureEffects => read.of(&effects::features(self.config.kind, env)),
            LogPage::ManagementEffects => read.of(&[0; 4096]),
            LogPage::Discovery => {
                let format = match read.extended {
                    true => EntryFormat::Extended,
                    false => EntryFormat::Basic,
                };
                env.discovery.read(format, read.offset, read.length)
            }
        }?;
        // Hosts that read in pieces retain the event in all but the last.
        if !read.retain_event {
            match read.page {
                LogPage::ChangedNamespaces => self.events.namespaces_read(),
                LogPage::Discovery => {
                    let shows_generation = read.offset == 0 && read.length >= 8;
                    self.events.discovery_read(shows_generation);
                }
                LogPage::SupportedPages
                | LogPage::ErrorInformation
                | LogPage::Health
                | LogPage::FirmwareSlots
                | LogPage::CommandEffects
                | LogPage::FeatureEffects
                | LogPage::ManagementEffects => {}
            }
        }
        Ok(bytes)
    }
}

/// Supported Log Pages: a dword for each identifier (Base 2.0 §5.16.1.1).
fn supported_pages(kind: Kind) -> Vec<u8> {
    effects::table(LogPage::existing(kind).map(|(lid, page)| (lid, page.support())))
}

/// Dword 10's second byte, bit 7: Retain Asynchronous Event.
const RETAIN_EVENT: u8 = 1 << 7;
/// Dword 14, bit 23: the offset is an index.
const OFFSET_TYPE: u32 = 1 << 23;
/// LSUPP.
const PAGE_SUPPORTED: u32 = 1;

/// What a host may ask of the discovery log, in LSP; in the LID Specific Parameter, that it may
/// (Base 2.1 §5.1.12.3.1). Extended entries.
const EXTDLPE: u32 = 1;
/// Only entries of the port that is asked.
const PLEO: u32 = 1 << 1;
/// Entries of all ports. What a host may not use it is not shown even so.
const ALLSUBE: u32 = 1 << 2;
