//! Admin commands, parsed: what is asked, and how many bytes it moves, before any of them moves.
//!
//! Everything that can be refused by looking at the entry alone is refused here, so that a command
//! that cannot succeed never allocates a buffer.

use super::Kind;
use super::features::{FeatureRead, FeatureWrite};
use super::identify::Identify;
use super::log_page::LogRead;
use crate::opcode::admin;
use crate::sqe::{Data, Fuse, Sqe};
use crate::status::Status;

/// An admin command that the controller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminCommand {
    /// Identify (Base 2.0 §5.17).
    Identify(Identify),
    /// Get Log Page (Base 2.0 §5.16).
    GetLogPage(LogRead),
    /// Get Features (Base 2.0 §5.15).
    GetFeatures(FeatureRead),
    /// Set Features (Base 2.0 §5.27).
    SetFeatures(FeatureWrite),
    /// Asynchronous Event Request (Base 2.0 §5.2).
    AsyncEventRequest,
    /// Abort (Base 2.0 §5.1): the command `cid` of queue `sqid`, where it can be found.
    Abort {
        /// Queue of the command to abort.
        sqid: u16,
        /// Identifier of the command to abort.
        cid: u16,
    },
    /// Keep Alive (Base 2.0 §5.18).
    KeepAlive,
}

impl AdminCommand {
    /// Reads an entry for a controller of `kind` that moves at most `max_transfer` bytes a command
    /// (MDTS). Fabrics commands are not admin commands in this sense.
    ///
    /// # Errors
    /// The status to complete the command with, always with Do Not Retry.
    pub fn parse(sqe: &Sqe, kind: Kind, max_transfer: u32) -> Result<Self, Status> {
        if sqe.fuse()? != Fuse::Normal {
            return Err(Status::INVALID_FIELD.dnr());
        }
        match (sqe.opcode, kind) {
            (admin::IDENTIFY, _) => Identify::parse(sqe, kind).map(Self::Identify),
            (admin::GET_LOG_PAGE, _) => {
                LogRead::parse(sqe, kind, max_transfer).map(Self::GetLogPage)
            }
            (admin::GET_FEATURES, _) => FeatureRead::parse(sqe, kind).map(Self::GetFeatures),
            (admin::SET_FEATURES, _) => FeatureWrite::parse(sqe, kind).map(Self::SetFeatures),
            (admin::ASYNC_EVENT_REQUEST, _) => Ok(Self::AsyncEventRequest),
            (admin::KEEP_ALIVE, _) => Ok(Self::KeepAlive),
            (admin::ABORT, Kind::Io) => {
                let [a, b, c, d] = sqe.cdw10.get().to_le_bytes();
                let (sqid, cid) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                Ok(Self::Abort { sqid, cid })
            }
            _ => Err(Status::INVALID_OPCODE.dnr()),
        }
    }

    /// Bytes that the command moves; none of ours takes data from the host.
    pub fn data(&self) -> Data {
        match self {
            Self::Identify(_) => Data::ToHost(Identify::SIZE),
            Self::GetLogPage(read) => Data::ToHost(read.length),
            Self::GetFeatures(read) => read.data(),
            Self::SetFeatures(_)
            | Self::AsyncEventRequest
            | Self::Abort { .. }
            | Self::KeepAlive => Data::None,
        }
    }
}
