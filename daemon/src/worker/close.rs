//! Why connections end.

#![forbid(unsafe_code)]

use std::io;

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::pdu::{Fes, PduError};

use super::limits::Limit;
use super::stats::tally::Label;

/// Why a connection ended. Each ends for exactly one reason, which its log line tells.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum CloseReason {
    /// The host closed it.
    #[error("the host closed the connection")]
    PeerClosed,
    /// The transport failed.
    #[error("the connection failed: {0}")]
    Transport(io::ErrorKind),
    /// The negotiation took too long.
    #[error("the host did not finish negotiation in time")]
    NegotiationTimeout,
    /// No end but another beginning: the kernel serves it from now on.
    #[error("the kernel takes over")]
    HandedOver,
    /// It had to make room for another connection in negotiation.
    #[error("too many connections are in negotiation, this one for the longest time")]
    Evicted,
    /// The Connect was refused.
    #[error("{0}")]
    Refused(ConnectReject),
    /// There may be no more of something.
    #[error("the limit {} is reached", .0.name())]
    Limit(Limit),
    /// The host broke the protocol.
    #[error("{0}")]
    Violation(PduError),
    /// The host sent a Terminate Connection Request.
    #[error("the host terminated the connection: {}, FEI {fei:#x}", Fes::describe(*.fes))]
    Terminated {
        /// Fatal Error Status.
        fes: u16,
        /// Fatal Error Information.
        fei: u32,
    },
    /// The host was silent for longer than its Keep Alive Timeout.
    #[error("the keep-alive timer expired")]
    KeepAlive,
    /// The host had answers to read or data to send, and moved no byte for too long.
    #[error("the host did not move a byte for too long")]
    Stalled,
    /// The host stood still, or nearly, with memory that others waited for.
    #[error("the host stood still with memory that others waited for")]
    MadeRoom,
    /// The controller's admin queue ended.
    #[error("the controller ended")]
    ControllerEnded,
    /// The host reset or shut down the controller.
    #[error("the host reset or shut down the controller")]
    ControllerReset,
    /// An I/O queue was lost and the host did not reset the controller.
    #[error("an I/O queue of the controller was lost")]
    QueueLost,
    /// The subsystem is not served any more, or not by us.
    #[error("the subsystem is not served here any more")]
    SubsystemRemoved,
    /// The host may not use the subsystem any more.
    #[error("the host may not use the subsystem any more")]
    HostRevoked,
    /// The operator wanted it so.
    #[error("terminated by the operator")]
    Dismissed,
    /// The daemon stops.
    #[error("the daemon stops")]
    Stopped,
}
