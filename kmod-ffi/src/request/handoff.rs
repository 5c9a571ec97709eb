//! The hand-off: a negotiated connection becomes a queue of the kernel's (`CTL_NVMF` of type `HANDOFF`).
//!
//! FreeBSD `sys/cam/ctl/ctl_frontend_nvmf.c` (nvmft_handoff) and
//! `sys/dev/nvmf/controller/nvmft_controller.c`. Who answers the host's Connect depends on how it ends:
//!
//! * it succeeds: the kernel has answered;
//! * it fails and the socket is taken ([`Socket::Taken`]): the kernel has answered, or closed;
//! * it fails and the socket is ours: nobody has, so we must.

#![forbid(unsafe_code)]

use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{getsockopt, sockopt};
use nvmf_proto::handshake::Handoff;
use nvmf_sys::ctl_nvmf;
use zerocopy::IntoBytes;

use super::{Ctl, ERROR_TEXT, packed, refused};
use crate::argument::Argument;
use crate::error::{Errno, KernelError};
use crate::kernel::{Call, LengthField};
use crate::nv::Nvlist;

/// Transport type TCP (NVMe-oF §5.1, TRTYPE).
const TRTYPE_TCP: u64 = 3;

/// A hand-off that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct HandoffError {
    /// What the kernel said.
    pub error: KernelError,
    /// What it took offence at.
    pub refused_for: RefusedFor,
    /// Whose the connection is now, and with it the duty to answer.
    pub socket: Socket,
}

/// What the kernel took offence at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedFor {
    /// No port has the subsystem's name.
    Subsystem,
    /// The subsystem's port is offline.
    Offline,
    /// Sizes or flags of the queue.
    Parameters,
    /// Something else: the errno that it gave, if it gave one.
    Other(Option<Errno>),
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Ours, as before; its host waits for an answer.
    Ours,
    /// The kernel's, which answers, and closes it.
    Taken,
}

/// The arguments of a hand-off of the connection `fd`, in libnvmf's order.
pub fn arguments(handoff: &Handoff, fd: RawFd) -> Nvlist {
    let framing = &handoff.framing;
    let params = Nvlist::new()
        .bool("admin", handoff.connect.qid == 0)
        .bool("sq_flow_control", handoff.sq_flow_control)
        .number("qsize", handoff.entries.into())
        // The host has used no entry yet but Connect's, which the kernel counts.
        .number("sqhd", 0)
        // Descriptors are never negative.
        .number("fd", u64::try_from(fd).unwrap_or(u64::MAX))
        .number("rxpda", framing.receive_alignment.into())
        .number("txpda", framing.send_alignment.into())
        .bool("header_digests", framing.header_digest)
        .bool("data_digests", framing.data_digest)
        .number("maxr2t", handoff.maxr2t.into())
        .number("maxh2cdata", handoff.maxh2cdata.into())
        .number("max_icd", 0);
    Nvlist::new()
        .number("trtype", TRTYPE_TCP)
        .nvlist("params", params)
        .binary("cmd", handoff.sqe.as_bytes())
        .binary("data", &handoff.data)
}

impl Ctl {
    /// Hands a connection over. It may sleep. Whatever comes of it, `socket` is the caller's to close;
    /// unless it is still [`Socket::Ours`], nothing else can be done with it.
    ///
    /// The kernel trusts what it is given: what `Handoff` holds must have been judged, and the I/O
    /// queue's CNTLID must be one that [`Ctl::sessions`] lists for this subsystem and host, or a kernel
    /// without the remedy for CVE-2026-4652 panics.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hand_off(&self, handoff: &Handoff, socket: &mut OwnedFd) -> Result<(), HandoffError> {
        let result = self.try_hand_off(handoff, socket);
        result.map_err(|error| HandoffError {
            refused_for: RefusedFor::of(&error),
            socket: whose(socket),
            error,
        })
    }

    fn try_hand_off(&self, handoff: &Handoff, socket: &mut OwnedFd) -> Result<(), KernelError> {
        let what = format_args!(
            "hand over queue {} of {}",
            handoff.connect.qid, handoff.connect.subnqn
        );
        let list = packed(what, &arguments(handoff, socket.as_raw_fd()))?;
        let mut argument = Argument::zeroed::<ctl_nvmf>();
        argument.put_u32(offset_of!(ctl_nvmf, type_), nvmf_sys::CTL_NVMF_HANDOFF);
        let call = Call::new(nvmf_sys::CTL_NVMF, &mut argument)
            .input(
                offset_of!(ctl_nvmf, data.handoff.data),
                LengthField::Size(offset_of!(ctl_nvmf, data.handoff.size)),
                &list,
            )
            .descriptor(socket);
        self.ioctl(what, call)?;
        match argument.u32(offset_of!(ctl_nvmf, status)) {
            nvmf_sys::CTL_NVMF_OK => Ok(()),
            status => {
                let text = argument.text(offset_of!(ctl_nvmf, error_str), ERROR_TEXT);
                Err(refused(what, status, &text))
            }
        }
    }
}

impl RefusedFor {
    fn of(error: &KernelError) -> Self {
        let text = match error {
            KernelError::Refused { text, .. } => text.as_str(),
            KernelError::Ioctl { errno, .. } => return Self::Other(Some(*errno)),
            KernelError::Answer { .. } | KernelError::Unaskable { .. } => return Self::Other(None),
        };
        match text {
            "Invalid SubNQN" | "Unknown SubNQN" => Self::Subsystem,
            "CTL port offline" => Self::Offline,
            "Invalid queue pair parameters" => Self::Parameters,
            // Some versions say "admin" for I/O queues too: only the number counts.
            _ if text.starts_with("Failed to handoff ") => {
                let number = text.rsplit(' ').next().and_then(|it| it.parse().ok());
                Self::Other(number.map(Errno))
            }
            _ => Self::Other(None),
        }
    }
}

/// Asks the descriptor: of one that was taken over, everything fails.
fn whose(socket: &OwnedFd) -> Socket {
    match getsockopt(socket, sockopt::SockType) {
        Ok(_) => Socket::Ours,
        Err(_) => Socket::Taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_for(text: &str) -> RefusedFor {
        RefusedFor::of(&refused("hand over", 1, text))
    }

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(refused_for("Unknown SubNQN"), RefusedFor::Subsystem);
        assert_eq!(refused_for("CTL port offline"), RefusedFor::Offline);
        assert_eq!(
            refused_for("Invalid queue pair parameters"),
            RefusedFor::Parameters
        );
        let admin = refused_for("Failed to handoff admin queue: 12");
        assert_eq!(admin, RefusedFor::Other(Some(Errno::ENOMEM)));
        let io = refused_for("Failed to handoff I/O queue: 22");
        assert_eq!(io, RefusedFor::Other(Some(Errno::EINVAL)));
        let odd = refused_for("Failed to handoff I/O queue: soon");
        assert_eq!(odd, RefusedFor::Other(None));
        assert_eq!(refused_for("no"), RefusedFor::Other(None));
    }
}
