//! A queue pair over a TCP connection: the one that `nvmfctl host` is made of, with a test's
//! patience and a test's commands (`nvm`).

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};

use nvmf_proto::handshake::host::Wishes;
use nvmfd::host::line::Patience;
use nvmfd::host::qpair;
use nvmfd::host::stop::Stop;

use super::{PATIENCE, PeerError};

/// The host's end of an established queue.
#[derive(Debug)]
pub struct Qpair(qpair::Qpair);

impl Qpair {
    /// Connects a queue.
    ///
    /// # Errors
    /// Whatever keeps the target from accepting it.
    pub fn connect(address: SocketAddr, wishes: Wishes) -> Result<Self, PeerError> {
        let patience = Patience::new(PATIENCE);
        qpair::Qpair::connect(address, wishes, patience, &Stop::never()).map(Self)
    }
}

impl Deref for Qpair {
    type Target = qpair::Qpair;

    fn deref(&self) -> &qpair::Qpair {
        &self.0
    }
}

impl DerefMut for Qpair {
    fn deref_mut(&mut self) -> &mut qpair::Qpair {
        &mut self.0
    }
}

/// Its connection, for who ends it in a manner of his own.
impl AsFd for Qpair {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
