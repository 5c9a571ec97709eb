//! What became of connections, in few enough words to count by: never a peer's.

#![forbid(unsafe_code)]

use nvmf_kmod::request::RefusedFor;
use nvmf_proto::connect::ConnectReject;
use nvmf_proto::status::Status;

use super::tally::label;
use crate::worker::close::CloseReason;

label! {
    /// How a negotiation ended: each that began has one of these, once.
    pub Outcome {
        /// A queue of ours.
        Served = "served",
        /// A queue of the kernel's.
        HandedOver = "handed_over",
        /// The host was told why not.
        Refused = "refused",
        /// The host went away.
        Abandoned = "abandoned",
        /// The host was too slow.
        TimedOut = "timed_out",
        /// It made room for another.
        Evicted = "evicted",
        /// The daemon or the portal ended.
        Stopped = "stopped",
    }
}

label! {
    /// Why a host was refused.
    pub Refusal {
        /// No such subsystem here.
        Subnqn = "subnqn",
        /// Not a name, or another than the admin queue's.
        Hostnqn = "hostnqn",
        /// Zero, or another than the admin queue's.
        Hostid = "hostid",
        /// No such controller.
        Cntlid = "cntlid",
        /// No such queue, or one that is there already.
        Qid = "qid",
        /// A queue too large or too small.
        Sqsize = "sqsize",
        /// A Keep Alive Timeout where none can be.
        /// The Connect's data is not where it must be.
        Sgl = "sgl",
        /// The host may not use the subsystem.
        HostNotAllowed = "host_not_allowed",
        /// No controller can be made now, or there are as many connections as may be.
        Busy = "busy",
        /// It was not yet, or no longer, the time for that.
        Sequence = "sequence",
        /// A failure of ours, or of the kernel's.
        Internal = "internal",
        /// Another status of Connect.
        Other = "other",
        /// The host broke the protocol.
        Protocol = "protocol",
        /// The negotiation took too long.
        TimedOut = "timed_out",
        /// Too many were in negotiation.
        Evicted = "evicted",
        /// The host sent a Terminate Connection Request.
        Terminated = "terminated",
    }
}

label! {
    /// Why a queue of ours ended.
    pub Ending {
        /// The host closed it.
        Closed = "closed",
        /// The transport failed.
        Failed = "failed",
        /// The host broke the protocol.
        Protocol = "protocol",
        /// The host sent a Terminate Connection Request.
        Terminated = "terminated",
        /// The keep-alive timer expired.
        KeepAlive = "keep_alive",
        /// The host moved no byte for too long.
        Stalled = "stalled",
        /// The host stood still with memory that others waited for.
        MadeRoom = "made_room",
        /// Its controller ended.
        ControllerEnded = "controller_ended",
        /// The host reset or shut down the controller.
        ControllerReset = "controller_reset",
        /// An I/O queue was lost.
        QueueLost = "queue_lost",
        /// The subsystem went.
        SubsystemRemoved = "subsystem_removed",
        /// The host may not use it any more.
        HostRevoked = "host_revoked",
        /// The operator wanted it so.
        Dismissed = "dismissed",
        /// The daemon stops.
        Stopped = "stopped",
    }
}

label! {
    /// What the kernel did with a queue.
    pub Asked {
        /// It serves it.
        Taken = "taken",
        /// No port has the subsystem's name.
        NoSubsystem = "no_subsystem",
        /// The subsystem's port is offline.
        Offline = "offline",
        /// Sizes or flags of the queue did not suit it.
        Parameters = "parameters",
        /// Something else.
        Failed = "failed",
    }
}

label! {
    /// What hosts are told by asynchronous events.
    pub Event {
        /// Namespaces came, went or changed.
        Namespaces = "namespaces",
        /// The discovery log changed.
        Discovery = "discovery",
        /// Another.
        Other = "other",
    }
}

impl From<CloseReason> for Outcome {
    /// Of a connection in negotiation.
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Refused(_) | CloseReason::Limit(_) | CloseReason::Violation(_) => {
                Self::Refused
            }
            CloseReason::PeerClosed
            | CloseReason::Transport(_)
            | CloseReason::Terminated { .. }
            | CloseReason::KeepAlive
            | CloseReason::Stalled
            | CloseReason::MadeRoom => Self::Abandoned,
            CloseReason::NegotiationTimeout => Self::TimedOut,
            CloseReason::Evicted => Self::Evicted,
            CloseReason::HandedOver => Self::HandedOver,
            CloseReason::ControllerEnded
            | CloseReason::ControllerReset
            | CloseReason::QueueLost
            | CloseReason::SubsystemRemoved
            | CloseReason::HostRevoked
            | CloseReason::Dismissed
            | CloseReason::Stopped => Self::Stopped,
        }
    }
}

impl From<CloseReason> for Refusal {
    /// Of a connection that was sent away.
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Refused(reject) => reject.into(),
            CloseReason::Limit(_) => Self::Busy,
            CloseReason::Violation(_) => Self::Protocol,
            CloseReason::NegotiationTimeout => Self::TimedOut,
            CloseReason::Evicted => Self::Evicted,
            CloseReason::Terminated { .. } => Self::Terminated,
            CloseReason::PeerClosed
            | CloseReason::Transport(_)
            | CloseReason::HandedOver
            | CloseReason::KeepAlive
            | CloseReason::Stalled
            | CloseReason::MadeRoom
            | CloseReason::ControllerEnded
            | CloseReason::ControllerReset
            | CloseReason::QueueLost
            | CloseReason::SubsystemRemoved
            | CloseReason::HostRevoked
            | CloseReason::Dismissed
            | CloseReason::Stopped => Self::Other,
        }
    }
}

impl From<ConnectReject> for Refusal {
    fn from(reject: ConnectReject) -> Self {
        let by_field = [
            (ConnectReject::SUBNQN, Self::Subnqn),
            (ConnectReject::HOSTNQN, Self::Hostnqn),
            (ConnectReject::HOSTID, Self::Hostid),
            (ConnectReject::CNTLID, Self::Cntlid),
            (ConnectReject::QID, Self::Qid),
            (ConnectReject::SQSIZE, Self::Sqsize),
            (ConnectReject::SGL, Self::Sgl),
        ];
        let by_status = [
            (Status::CONNECT_INVALID_HOST, Self::HostNotAllowed),
            (Status::CONNECT_CONTROLLER_BUSY, Self::Busy),
            (Status::COMMAND_SEQUENCE_ERROR, Self::Sequence),
            (Status::INTERNAL_ERROR, Self::Internal),
        ];
        let field = by_field.iter().find(|(known, _)| *known == reject);
        let status = by_status.iter().find(|(known, _)| reject.status.is(*known));
        field
            .map(|(_, reason)| *reason)
            .or(status.map(|(_, reason)| *reason))
            .unwrap_or(Self::Other)
    }
}

impl From<CloseReason> for Ending {
    /// Of a queue.
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::PeerClosed => Self::Closed,
            CloseReason::Violation(_) | CloseReason::Refused(_) => Self::Protocol,
            CloseReason::Terminated { .. } => Self::Terminated,
            CloseReason::KeepAlive => Self::KeepAlive,
            CloseReason::Stalled => Self::Stalled,
            CloseReason::MadeRoom => Self::MadeRoom,
            CloseReason::ControllerEnded => Self::ControllerEnded,
            CloseReason::ControllerReset => Self::ControllerReset,
            CloseReason::QueueLost => Self::QueueLost,
            CloseReason::SubsystemRemoved => Self::SubsystemRemoved,
            CloseReason::HostRevoked => Self::HostRevoked,
            CloseReason::Dismissed => Self::Dismissed,
            CloseReason::Stopped => Self::Stopped,
            // The others do not happen to a queue.
            CloseReason::Transport(_)
            | CloseReason::NegotiationTimeout
            | CloseReason::HandedOver
            | CloseReason::Evicted
            | CloseReason::Limit(_) => Self::Failed,
        }
    }
}

impl From<RefusedFor> for Asked {
    fn from(refused: RefusedFor) -> Self {
        match refused {
            RefusedFor::Subsystem => Self::NoSubsystem,
            RefusedFor::Offline => Self::Offline,
            RefusedFor::Parameters => Self::Parameters,
            RefusedFor::Other(_) => Self::Failed,
        }
    }
}

impl Event {
    /// Of an event's dword 0 (Base 2.0 §5.2): the log page that tells more.
    pub fn of(result: u64) -> Self {
        match (result >> 16) & 0xff {
            0x04 => Self::Namespaces,
            0x70 => Self::Discovery,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connect_was_refused_for_is_one_of_few_words() {
        for (reject, reason) in [
            (ConnectReject::SUBNQN, Refusal::Subnqn),
            (ConnectReject::HOSTID, Refusal::Hostid),
            (ConnectReject::HOST, Refusal::HostNotAllowed),
            (ConnectReject::BUSY, Refusal::Busy),
            (ConnectReject::RECFMT, Refusal::Other),
            (
                ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr()),
                Refusal::Sequence,
            ),
        ] {
            assert_eq!(Refusal::from(CloseReason::Refused(reject)), reason);
        }
    }

    #[test]
    fn events_are_told_apart_by_their_log_page() {
        assert_eq!(Event::of(0x0004_0002), Event::Namespaces);
        assert_eq!(Event::of(0x0070_f002), Event::Discovery);
        assert_eq!(Event::of(0x0002_0101), Event::Other);
    }
}
