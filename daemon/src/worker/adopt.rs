//! The other side of a hand-off: queues whose Connect somebody else has negotiated.
//!
//! For tests: it lets this program's userspace engine play the part of FreeBSD's kernel.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};
use mio::net::TcpStream;
use nvmf_proto::connect::ConnectReject;
use nvmf_proto::handshake::{ConnectRequest, Handoff};
use nvmf_proto::status::Status;

use super::Worker;
use super::message::Message;
use crate::engine::record::Record;

/// A connection that is to be adopted.
#[derive(Debug)]
pub struct Adopted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) adoption: Adoption,
}

/// Its Connect, and who wants to know what comes of it.
#[derive(Debug)]
pub struct Adoption {
    pub(super) request: ConnectRequest,
    pub(super) reply: Sender<Result<u16, ConnectReject>>,
}

impl Worker {
    /// Judges and answers the Connect of `handoff`, as one that came in at the first portal, and serves
    /// the queue. The CNTLID of its controller.
    ///
    /// # Errors
    /// What the host was answered; its connection ends.
    pub fn adopt(
        &self,
        stream: std::net::TcpStream,
        handoff: Handoff,
    ) -> Result<u16, ConnectReject> {
        let failed = ConnectReject::status(Status::INTERNAL_ERROR);
        let peer = stream.peer_addr().map_err(|_| failed)?;
        stream.set_nonblocking(true).map_err(|_| failed)?;
        let reactors = &self.shared.reactors;
        let reactor = reactors.iter().min_by_key(|reactor| reactor.load());
        let reactor = reactor.ok_or(failed)?;
        let (reply, outcome) = bounded(1);
        reactor.add_load();
        reactor.send(Message::Adopted(Box::new(Adopted {
            stream: TcpStream::from_std(stream),
            peer,
            adoption: Adoption {
                request: ConnectRequest::resume(handoff),
                reply,
            },
        })));
        outcome.recv().unwrap_or(Err(failed))
    }

    /// The counters of a controller, if it lives; whoever holds them can read them when it is gone.
    pub fn record_of(&self, cntlid: u16) -> Option<Arc<Record>> {
        self.shared.registry.record_of(cntlid)
    }
}
