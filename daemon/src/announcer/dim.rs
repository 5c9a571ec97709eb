//! Discovery Information Management (TP 8010) over a connection: who we are, and what there is.

#![forbid(unsafe_code)]

use std::sync::Arc;

use nvmf_proto::controller::discovery::{DiscoveryEntry, EntryFormat, Family, Subtype};
use nvmf_proto::registration::{Entity, Task};

use super::announcement::{Announcement, Entry};
use crate::host::controller::Controller;
use crate::host::error::HostError;
use crate::host::page::Page;
use crate::worker::snapshot::MAX_ADMIN_ENTRIES;

/// A controller that is told of entries, and how.
pub(super) struct Clerk<'c> {
    controller: &'c Controller,
    entity: Entity,
    /// Bytes of data in one command.
    room: u32,
}

impl<'c> Clerk<'c> {
    /// The one behind `controller`, for the entity that announces.
    ///
    /// # Errors
    /// The queue's.
    pub(super) fn of(controller: &'c Controller, us: &Announcement) -> Result<Self, HostError> {
        let machine = nix::unistd::gethostname().unwrap_or_default();
        Ok(Self {
            controller,
            entity: Entity {
                eid: us.eid.clone(),
                ename: machine.to_string_lossy().into_owned(),
                ever: format!("nvmfd {}", crate::RELEASE),
            },
            room: room(controller)?,
        })
    }

    /// Registers these; what has the same key is replaced.
    ///
    /// # Errors
    /// The queue's, or the target's refusal.
    pub(super) fn register(&self, entries: &[Entry]) -> Result<(), HostError> {
        let entries: Vec<_> = entries.iter().map(discovery_entry).collect();
        self.run(Task::Register(&entries), "register")
    }

    /// Takes these back.
    ///
    /// # Errors
    /// The queue's, or the target's refusal.
    pub(super) fn deregister(&self, entries: &[Entry]) -> Result<(), HostError> {
        let entries: Vec<_> = entries.iter().map(discovery_entry).collect();
        self.run(Task::Deregister(&entries), "deregister")
    }

    fn run(&self, task: Task<'_>, verb: &str) -> Result<(), HostError> {
        let commands = task.commands(&self.entity, EntryFormat::Extended, self.room);
        for command in commands.map_err(|error| HostError::unfit(error.to_string()))? {
            let entries = command.entries;
            let what = || match entries {
                1 => format!("to {verb} an entry"),
                n => format!("to {verb} {n} entries"),
            };
            self.controller
                .send(command.sqe, Arc::new(command.data), what)?;
        }
        Ok(())
    }
}

/// Bytes of data that the controller takes in one command. One that refuses to say takes what is
/// usual.
fn room(controller: &Controller) -> Result<u32, HostError> {
    let page = match controller.identify(CNS_CONTROLLER, 0) {
        Ok(page) => page,
        Err(HostError::Command { .. }) => return Ok(ROOM),
        Err(error) => return Err(error),
    };
    Ok(match Page(&page).u8(MDTS_AT) {
        0 => ROOM,
        mdts => {
            let units = 1_u64.checked_shl(mdts.into()).unwrap_or(u64::MAX);
            let most = units.saturating_mul(controller.page_size());
            u32::try_from(most).map_or(ROOM, |most| most.min(ROOM))
        }
    })
}

/// An entry as our own log shows it.
fn discovery_entry(entry: &Entry) -> DiscoveryEntry {
    let address = entry.address.ip();
    DiscoveryEntry {
        subtype: Subtype::Nvm,
        family: match address.is_ipv4() {
            true => Family::V4,
            false => Family::V6,
        },
        traddr: address.to_string(),
        trsvcid: entry.address.port().to_string(),
        subnqn: entry.subnqn.clone(),
        portid: entry.portid,
        asqsz: u16::try_from(MAX_ADMIN_ENTRIES).unwrap_or(u16::MAX),
        treq: 0,
        eflags: 0,
        sectype: 0,
        label: entry.label.clone(),
    }
}

/// Identify: the controller's own data, and where it says how much data a command may have.
const CNS_CONTROLLER: u8 = 0x01;
const MDTS_AT: usize = 77;

/// Bytes of data in one command, even if the controller would take more.
const ROOM: u32 = 128 * 1024;
