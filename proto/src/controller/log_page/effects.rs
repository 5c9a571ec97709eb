//! What is supported and what it does: commands (05h) and features (12h). Both pages are tables of
//! dwords by opcode or identifier.

use super::super::features::Feature;
use super::super::namespace::any_volatile_cache;
use super::super::{Environment, Kind};
use crate::opcode::{self, admin, nvm};

/// Commands Supported and Effects (Base 2.0 §5.16.1.6): admin commands, I/O commands of a command
/// set, reserved. Linux: nvme-cli before 2.4 asks for the Zoned one too, and takes an error for the
/// end; that none of its commands is supported is as true.
pub(super) fn commands(kind: Kind, command_set: u8) -> Vec<u8> {
    let everywhere = [
        admin::GET_LOG_PAGE,
        admin::IDENTIFY,
        admin::SET_FEATURES,
        admin::GET_FEATURES,
        admin::ASYNC_EVENT_REQUEST,
        admin::KEEP_ALIVE,
        opcode::FABRICS,
    ];
    let of_controller = |opcode| (opcode, SUPPORTED | CONTROLLER_SCOPE);
    let mut page = match kind {
        Kind::Io => {
            let admin = [admin::ABORT].into_iter().chain(everywhere);
            let mut page = table(admin.map(of_controller));
            if command_set == NVM_COMMAND_SET {
                page.extend(table(nvm_commands()));
            }
            page
        }
        Kind::Discovery => table(everywhere.map(of_controller)),
    };
    page.resize(4096, 0);
    page
}

fn nvm_commands() -> impl Iterator<Item = (u8, u32)> {
    let reading = [nvm::FLUSH, nvm::READ, nvm::COMPARE, nvm::VERIFY];
    let writing = [
        nvm::WRITE,
        nvm::WRITE_ZEROES,
        nvm::DATASET_MANAGEMENT,
        nvm::COPY,
    ];
    let reading = reading.map(|opcode| (opcode, SUPPORTED | NAMESPACE_SCOPE));
    let writing = writing.map(|opcode| (opcode, SUPPORTED | CHANGES_BLOCKS | NAMESPACE_SCOPE));
    reading.into_iter().chain(writing)
}

/// Feature Identifiers Supported and Effects (Base 2.0 §5.16.1.18).
pub(super) fn features(kind: Kind, env: &Environment<'_>) -> Vec<u8> {
    let cache = any_volatile_cache(env.namespaces);
    let existing = Feature::ALL.into_iter().filter(|&(_, feature)| {
        feature.exists_on(kind) && (cache || feature != Feature::VolatileWriteCache)
    });
    table(existing.map(|(fid, _)| (fid, SUPPORTED | CONTROLLER_SCOPE)))
}

/// 256 dwords, of which these are not 0.
pub(super) fn table(entries: impl IntoIterator<Item = (u8, u32)>) -> Vec<u8> {
    let mut table = [0_u32; 256];
    for (index, value) in entries {
        if let Some(entry) = table.get_mut(usize::from(index)) {
            *entry = value;
        }
    }
    table.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// CSI of the NVM command set, the only one there is.
const NVM_COMMAND_SET: u8 = 0;
/// CSUPP, FSUPP.
const SUPPORTED: u32 = 1;
/// LBCC: changes logical blocks.
const CHANGES_BLOCKS: u32 = 1 << 1;
/// CSP, FSP: of one namespace.
const NAMESPACE_SCOPE: u32 = 1 << 20;
/// CSP, FSP: of the controller.
const CONTROLLER_SCOPE: u32 = 1 << 21;
