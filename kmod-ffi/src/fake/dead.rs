//! A caller's socket that is taken over: what is left to the caller is a number that can be closed.
//!
//! FreeBSD gives the caller's file operations that always fail (badfileops), so that the number stays
//! allocated, read(2), write(2) and getsockopt(2) fail, and close(2) works. Here the number is made to
//! name `/dev/null`, opened with `O_PATH`: of such a file Linux and FreeBSD alike allow neither
//! I/O nor socket options, and no polling either. Duplicates of the descriptor stay alive, other than
//! on FreeBSD, where all of them die: who keeps one goes wrong there and not here.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::net::{SocketType, ipproto, sockopt};

/// What a descriptor can be made to name; to be had as long as there are paths.
pub(super) fn nothing() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/dev/null", flags, Mode::empty())?)
}

/// Takes the file behind a descriptor away: it names `nothing` from now on.
pub(super) fn kill(descriptor: &mut OwnedFd, nothing: impl AsFd) -> io::Result<()> {
    // The flag is the number's, and stays as it was.
    let close_on_exec = rustix::io::fcntl_getfd(&*descriptor)?.contains(FdFlags::CLOEXEC);
    rustix::io::dup2(nothing, descriptor)?;
    if close_on_exec {
        rustix::io::fcntl_setfd(&*descriptor, FdFlags::CLOEXEC)?;
    }
    Ok(())
}

/// Whether the transport can use it: a stream of TCP, over IPv4 or IPv6.
pub(super) fn is_tcp(descriptor: impl AsFd) -> bool {
    let descriptor = descriptor.as_fd();
    sockopt::socket_type(descriptor).is_ok_and(|it| it == SocketType::STREAM)
        && sockopt::socket_protocol(descriptor).is_ok_and(|it| it == Some(ipproto::TCP))
}

/// Whether it is, or was until its host gave up, a connection. The kernel does not ask.
pub(super) fn is_connection(descriptor: impl AsFd) -> bool {
    let descriptor = descriptor.as_fd();
    let listens = sockopt::socket_acceptconn(descriptor).unwrap_or(true);
    let is_bound = rustix::net::getsockname(descriptor)
        .ok()
        .and_then(|address| std::net::SocketAddr::try_from(address).ok())
        .is_some_and(|address| address.port() != 0);
    is_bound && !listens
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_killed_descriptor_keeps_its_number_and_can_only_be_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut host = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut kept = listener.accept().unwrap().0;
        let mut descriptor = OwnedFd::from(kept.try_clone().unwrap());
        assert!(is_tcp(&descriptor) && is_connection(&descriptor));

        let number = descriptor.as_raw_fd();
        kill(&mut descriptor, nothing().unwrap()).unwrap();
        assert_eq!(descriptor.as_raw_fd(), number);
        assert!(!is_tcp(&descriptor) && !is_connection(&descriptor));
        let flags = rustix::io::fcntl_getfd(&descriptor).unwrap();
        assert!(flags.contains(FdFlags::CLOEXEC));
        let mut dead = TcpStream::from(descriptor);
        dead.write_all(b"x").unwrap_err();
        dead.read_exact(&mut [0]).unwrap_err();
        dead.peer_addr().unwrap_err();
        dead.set_nonblocking(true).unwrap_err();
        drop(dead);

        kept.write_all(b"alive").unwrap();
        let mut got = [0; 5];
        host.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"alive");
    }

    #[test]
    fn a_socket_that_never_was_connected_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_tcp(&listener) && !is_connection(&listener));
        let (ours, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!is_tcp(&ours));
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(!is_tcp(&udp));
    }
}
