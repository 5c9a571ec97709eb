//! A connection that says whatever it is told to say.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use nvmf_proto::connect::{Connect, ConnectReject};
use nvmf_proto::cqe::Completion;
use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::pdu::{Framing, IcReq, append_data_digest};
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use socket2::{Domain, SockRef, Socket, Type};
use zerocopy::IntoBytes;

use super::{PATIENCE, PeerError};

/// A connection without a host behind it.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    framing: Framing,
}

impl Raw {
    /// Connects, and says nothing.
    ///
    /// # Errors
    /// The transport's.
    pub fn connect(address: SocketAddr) -> Result<Self, PeerError> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let framing = Framing::INITIAL;
        Ok(Self { stream, framing })
    }

    /// Connects from an address of this machine, and gets an ICResp without digests.
    ///
    /// # Errors
    /// Why there is none.
    pub fn negotiate_from(source: IpAddr, address: SocketAddr) -> Result<Self, PeerError> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect(&address.into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let framing = Framing::INITIAL;
        let mut raw = Self { stream, framing };
        raw.send(IcReq::new(0, 0, false, false).as_bytes())?;
        raw.receive(128)?;
        Ok(raw)
    }

    /// Connects and gets an ICResp, with these digests in use.
    ///
    /// # Errors
    /// Why there is none.
    pub fn negotiate(address: SocketAddr, header: bool, data: bool) -> Result<Self, PeerError> {
        let mut raw = Self::connect(address)?;
        raw.send(IcReq::new(0, 0, header, data).as_bytes())?;
        let icresp = raw.receive(128)?;
        assert_eq!(
            (icresp[0], icresp[11]),
            (1, u8::from(header) | u8::from(data) << 1)
        );
        raw.framing.header_digest = header;
        raw.framing.data_digest = data;
        Ok(raw)
    }

    /// Connects a queue of which the target says that all is well.
    ///
    /// # Errors
    /// Why it does not.
    pub fn establish(address: SocketAddr, wishes: &Wishes) -> Result<Self, PeerError> {
        let mut raw = Self::negotiate(address, wishes.header_digest, wishes.data_digest)?;
        let completion = raw.fabric_connect(&wishes.connect)?;
        if completion.status.is_success() {
            Ok(raw)
        } else {
            Err(PeerError::Refused(ConnectReject::from_completion(
                completion,
            )))
        }
    }

    /// Sends a Connect and reads its answer.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fabric_connect(&mut self, connect: &Connect) -> Result<Completion, PeerError> {
        let (sqe, data) = connect.to_wire(0);
        self.send(&self.capsule(sqe, data.as_bytes()))?;
        Ok(self.response()?.1)
    }

    /// How PDUs are framed on this connection.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// A command capsule with its data.
    ///
    /// # Panics
    /// If there is too much data for a PDU.
    pub fn capsule(&self, sqe: Sqe, data: &[u8]) -> Vec<u8> {
        let mut pdu = Vec::new();
        let length = u32::try_from(data.len()).expect("a PDU");
        self.framing.capsule_cmd(&mut pdu, sqe, length);
        self.append(&mut pdu, data);
        pdu
    }

    /// An H2CData PDU with its data; `tags` are command identifier and transfer tag.
    ///
    /// # Panics
    /// If there is too much data for a PDU.
    pub fn h2c_data(&self, tags: (u16, u16), offset: u32, data: &[u8], flags: u8) -> Vec<u8> {
        let mut pdu = Vec::new();
        let length = u32::try_from(data.len()).expect("a PDU");
        self.framing.h2c_data(&mut pdu, tags, offset, length, flags);
        self.append(&mut pdu, data);
        pdu
    }

    fn append(&self, pdu: &mut Vec<u8>, data: &[u8]) {
        pdu.extend_from_slice(data);
        if self.framing.data_digest && !data.is_empty() {
            append_data_digest(pdu, data);
        }
    }

    /// Reads a PDU whole.
    ///
    /// # Errors
    /// Why it does not come.
    pub fn pdu(&mut self) -> Result<Vec<u8>, PeerError> {
        let mut pdu = self.receive(8)?;
        let plen = u32::from_le_bytes(*pdu[4..].first_chunk().expect("8 bytes"));
        pdu.extend(self.receive(plen as usize - 8)?);
        Ok(pdu)
    }

    /// Reads a response capsule: whose it is, and what it says.
    ///
    /// # Errors
    /// Why it does not come.
    ///
    /// # Panics
    /// If something else comes.
    pub fn response(&mut self) -> Result<(u16, Completion), PeerError> {
        Ok(Self::read_response(&self.pdu()?))
    }

    /// What a response capsule says.
    ///
    /// # Panics
    /// If it is something else.
    pub fn read_response(pdu: &[u8]) -> (u16, Completion) {
        assert_eq!(pdu[0], 5, "no response: {pdu:02x?}");
        let word = |at: usize| u16::from_le_bytes([pdu[at], pdu[at + 1]]);
        let result = u64::from_le_bytes(*pdu[8..].first_chunk().expect("24 bytes"));
        let status = Status::from_wire(word(22));
        (word(20), Completion { status, result })
    }

    /// Reads an R2T: the tags that its data must carry, offset and length.
    ///
    /// # Errors
    /// Why it does not come.
    ///
    /// # Panics
    /// If something else comes.
    pub fn r2t(&mut self) -> Result<((u16, u16), u32, u32), PeerError> {
        let pdu = self.pdu()?;
        assert_eq!(pdu[0], 9, "no R2T: {pdu:02x?}");
        let word = |at: usize| u16::from_le_bytes([pdu[at], pdu[at + 1]]);
        let long = |at: usize| u32::from(word(at)) | u32::from(word(at + 2)) << 16;
        Ok(((word(8), word(10)), long(12), long(16)))
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes. That the target has closed meanwhile is no error here; what it said
    /// before is still to be read.
    ///
    /// # Errors
    /// The transport's, or a target that does not read.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        match self.stream.write_all(bytes).map_err(PeerError::from) {
            Err(PeerError::Closed) => Ok(()),
            other => other,
        }
    }

    /// Reads exactly `length` bytes.
    ///
    /// # Errors
    /// Why they do not come.
    pub fn receive(&mut self, length: usize) -> Result<Vec<u8>, PeerError> {
        let mut bytes = vec![0; length];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(PeerError::Closed),
            Err(error) => Err(error.into()),
        }
    }

    /// Says that nothing more comes, and reads until the target closes.
    ///
    /// # Errors
    /// A target that does not close.
    pub fn finish(&mut self) -> Result<Vec<u8>, PeerError> {
        // It may be closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.until_closed(PATIENCE)
    }

    /// Reads until the target closes, for at most `time`.
    ///
    /// # Errors
    /// A target that does not close.
    pub fn until_closed(&mut self, time: Duration) -> Result<Vec<u8>, PeerError> {
        self.stream.set_read_timeout(Some(time))?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match self.stream.read(&mut buffer).map_err(PeerError::from) {
                Ok(0) | Err(PeerError::Closed) => return Ok(bytes),
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads until the target closes; FES and FEI of the Terminate Connection Request that it sent
    /// last, behind `before` bytes of something else.
    ///
    /// # Errors
    /// A target that does not close.
    ///
    /// # Panics
    /// If there is no such thing.
    pub fn termination(&mut self, before: usize) -> Result<(u16, u32), PeerError> {
        let said = self.until_closed(PATIENCE)?;
        let pdu = said.get(before..).unwrap_or_default();
        assert!(
            pdu.len() >= 24 && pdu[0] == 3,
            "no termination: {said:02x?}"
        );
        let plen = u32::from_le_bytes(*pdu[4..].first_chunk().expect("8 bytes"));
        assert_eq!(plen as usize, pdu.len(), "something after the termination");
        let fes = u16::from_le_bytes(*pdu[8..].first_chunk().expect("24 bytes"));
        let fei = u32::from_le_bytes(*pdu[10..].first_chunk().expect("24 bytes"));
        Ok((fes, fei))
    }

    /// Closes with a reset instead of in order.
    ///
    /// # Errors
    /// The transport's.
    pub fn reset(self) -> Result<(), PeerError> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }
}
