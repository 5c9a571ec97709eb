//! How hosts open, to be cut anywhere, and how they end.

use std::net::{Shutdown, SocketAddr};

use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::pdu::{Framing, IcReq};
use nvmfd_tests::peer::{PATIENCE, PeerError, Raw};
use zerocopy::IntoBytes;

/// Bytes of an ICReq, and of the ICResp that answers it.
pub(crate) const IC: usize = 128;

/// How a peer ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It closes: a FIN, or a reset if there was something to read.
    Close,
    /// It says that nothing more comes, and reads on: a FIN.
    Finish,
    /// It is gone: a reset.
    Reset,
}

pub(crate) const ENDINGS: [Ending; 3] = [Ending::Close, Ending::Finish, Ending::Reset];

/// Ends it; who reads on comes back.
pub(crate) fn end(raw: Raw, ending: Ending) -> Result<Option<Raw>, PeerError> {
    match ending {
        Ending::Close => Ok(None),
        Ending::Finish => {
            // The target may have ended it already.
            let _ = raw.stream().shutdown(Shutdown::Write);
            Ok(Some(raw))
        }
        Ending::Reset => raw.reset().map(|()| None),
    }
}

/// What a host sends until its queue is established.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    bytes: Vec<u8>,
}

impl Opening {
    pub(crate) fn new(wishes: &Wishes) -> Self {
        let (header_digest, data_digest) = (wishes.header_digest, wishes.data_digest);
        let mut bytes = IcReq::new(0, 0, header_digest, data_digest)
            .as_bytes()
            .to_vec();
        let framing = Framing {
            header_digest,
            data_digest,
            ..Framing::INITIAL
        };
        let (sqe, data) = wishes.connect.to_wire(0);
        framing.capsule_cmd(&mut bytes, sqe, 1024);
        bytes.extend_from_slice(data.as_bytes());
        if data_digest {
            nvmf_proto::pdu::append_data_digest(&mut bytes, data.as_bytes());
        }
        Self { bytes }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A connection on which so much of it was sent. Who is beyond the ICReq has read its answer, as
    /// hosts do.
    pub(crate) fn sent(&self, at: SocketAddr, length: usize) -> Result<Raw, PeerError> {
        let mut raw = Raw::connect(at)?;
        raw.send(&self.bytes[..length.min(IC)])?;
        if length > IC {
            raw.receive(IC)?;
            raw.send(&self.bytes[IC..length])?;
        }
        Ok(raw)
    }

    /// The same, in one go and without a look at what the target says.
    pub(crate) fn blurted(&self, at: SocketAddr, length: usize) -> Result<Raw, PeerError> {
        let mut raw = Raw::connect(at)?;
        raw.send(&self.bytes[..length])?;
        Ok(raw)
    }
}

/// Peers that read on: the target closes each of them.
#[derive(Debug, Default)]
pub(crate) struct Readers(Vec<Raw>);

impl Readers {
    /// Takes one in. There are never many.
    pub(crate) fn take(&mut self, raw: Option<Raw>) -> Result<(), PeerError> {
        self.0.extend(raw);
        if self.0.len() >= 64 {
            return self.are_closed();
        }
        Ok(())
    }

    /// All of them are.
    pub(crate) fn are_closed(&mut self) -> Result<(), PeerError> {
        for mut raw in self.0.drain(..) {
            raw.until_closed(PATIENCE)?;
        }
        Ok(())
    }
}
