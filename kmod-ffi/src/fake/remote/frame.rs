//! Frames: a length (32 bits, little endian), then a packed list; perhaps with a descriptor.

#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::nv::{MAX_PACKED_SIZE, Nvlist};

/// Sends a list, and a descriptor with it.
pub(super) fn send(
    mut stream: &UnixStream,
    list: &Nvlist,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let packed = list.pack().map_err(invalid)?;
    let length = u32::try_from(packed.len()).map_err(invalid)?;
    let frame = [&length.to_le_bytes()[..], &packed].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let pieces = [IoSlice::new(&frame)];
    let flags = SendFlags::NOSIGNAL;
    let sent = loop {
        match rustix::net::sendmsg(stream.as_fd(), &pieces, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            sent => break sent?,
        }
    };
    stream.write_all(&frame[sent..])
}

/// Receives a list and the descriptor that came with it. `None`: the other side has closed.
pub(super) fn receive(mut stream: &UnixStream) -> io::Result<Option<(Nvlist, Option<OwnedFd>)>> {
    let mut header = [0; 4];
    let mut descriptor = None;
    let mut filled = 0;
    while filled < header.len() {
        match receive_some(stream, &mut header[filled..], &mut descriptor)? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let length = usize::try_from(u32::from_le_bytes(header)).map_err(invalid)?;
    if length > MAX_PACKED_SIZE {
        return Err(invalid(format!("a frame of {length} bytes")));
    }
    let mut packed = vec![0; length];
    stream.read_exact(&mut packed)?;
    let list = Nvlist::unpack(&packed, 0).map_err(invalid)?;
    Ok(Some((list, descriptor)))
}

fn receive_some(
    stream: &UnixStream,
    into: &mut [u8],
    descriptor: &mut Option<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut pieces = [IoSliceMut::new(into)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match rustix::net::recvmsg(stream.as_fd(), &mut pieces, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            // One at the most is sent; more are closed.
            *descriptor = descriptors.into_iter().next();
        }
    }
    Ok(received.bytes)
}

/// A frame that makes no sense.
pub(super) fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
