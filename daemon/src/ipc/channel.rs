//! The channel itself: a pair of sockets that keep messages whole and pass descriptors.

#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the longest message. Half of what FreeBSD lets such a socket hold by default
/// (`net.local.seqpacket.maxseqpacket`), so that one always fits.
pub const MESSAGE_MAX: usize = 32 * 1024;

/// What the other side may take to make room for a message.
const SEND_TIME: Duration = Duration::from_secs(10);

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends. Neither survives exec(2) unless it is passed on.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self::of(ours)?, theirs))
    }

    /// The end that a process was started with.
    ///
    /// # Errors
    /// The system's, when the descriptor is no such socket.
    pub fn of(descriptor: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&descriptor, Timeout::Send, Some(SEND_TIME))?;
        Ok(Self(descriptor))
    }

    /// Another handle of the same end, for a thread that receives.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Ends it for all who have either end: whoever waits to receive is woken.
    pub fn shut_down(&self) {
        // It may have ended already.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }

    /// Sends a message, and a descriptor with it, which stays the sender's too.
    ///
    /// # Errors
    /// A message that is too long, an end that is gone, or one that makes no room for too long.
    pub fn send<M: Serialize>(
        &self,
        message: &M,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MESSAGE_MAX {
            let length = bytes.len();
            return Err(nonsense(format!("a message of {length} bytes")));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let pieces = [IoSlice::new(&bytes)];
        loop {
            match rustix::net::sendmsg(&self.0, &pieces, &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                // A message goes whole or not at all.
                sent => return sent.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// Waits for a message, and the descriptor that came with it. `None`: the other end is gone.
    ///
    /// # Errors
    /// The system's, or a message that makes no sense.
    pub fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Option<OwnedFd>)>> {
        let mut buffer = vec![0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut pieces = [IoSliceMut::new(&mut buffer)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.0, &mut pieces, &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                received => break received?,
            }
        };
        let mut descriptor = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                // One at the most is sent; more are closed.
                descriptor = descriptors.into_iter().next();
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        if received
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(nonsense("a message that is too long"));
        }
        let bytes = buffer.get(..received.bytes).unwrap_or_default();
        let message = serde_json::from_slice(bytes)?;
        Ok(Some((message, descriptor)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What no good other side sends.
pub fn nonsense(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn a_message_brings_its_descriptor() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::of(theirs).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"here").unwrap();
        ours.send(&("first", 1), Some(file.as_fd())).unwrap();
        ours.send(&("second", 2), None).unwrap();
        let (message, descriptor) = theirs.receive::<(String, u32)>().unwrap().unwrap();
        assert_eq!(message, ("first".into(), 1));
        let mut same = File::from(descriptor.unwrap());
        let mut text = String::new();
        same.rewind().unwrap();
        same.read_to_string(&mut text).unwrap();
        assert_eq!(text, "here");
        let (message, descriptor) = theirs.receive::<(String, u32)>().unwrap().unwrap();
        assert_eq!(message, ("second".into(), 2));
        assert!(descriptor.is_none());
    }

    #[test]
    fn nonsense_is_an_error_and_the_end_is_none() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::of(theirs).unwrap();
        ours.send(&"text", None).unwrap();
        assert!(theirs.receive::<u32>().is_err());
        let long = "x".repeat(MESSAGE_MAX);
        assert!(ours.send(&long, None).is_err());
        let pieces = [IoSlice::new(&[b' '; 2 * MESSAGE_MAX])];
        let mut control = SendAncillaryBuffer::default();
        rustix::net::sendmsg(&ours.0, &pieces, &mut control, SendFlags::empty()).unwrap();
        assert!(theirs.receive::<u32>().is_err(), "cut off");
        drop(ours);
        assert!(theirs.receive::<u32>().unwrap().is_none());
        assert!(theirs.send(&1, None).is_err());
    }
}
