//! Listening sockets: bound all together, or not at all, and opened to peers in a step of its own.

#![forbid(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::cli::Listen;
use crate::error::{Service, StartupError};

/// Connections that may wait to be accepted; systems cut it to their own limit.
const BACKLOG: i32 = 1024;

/// How often to look for a port that is free in both families.
const ATTEMPTS: usize = 16;

/// A listener, and the address that was asked for.
pub type Bound = (SocketAddr, TcpListener);

/// Binds everything that `listen` names.
///
/// # Errors
/// The first address that cannot be bound; those before it are let go.
pub fn bind(listen: &Listen, service: Service) -> Result<Vec<Bound>, StartupError> {
    match listen {
        Listen::At(addresses) => addresses
            .iter()
            .map(|&address| match bind_one(address) {
                Ok(listener) => Ok((address, listener)),
                Err(error) => Err(StartupError::listening(address, service, error)),
            })
            .collect(),
        Listen::Everywhere { port } => everywhere(listen, *port, service),
    }
}

/// All addresses of both families, on one port. A machine without IPv6 has the other one only.
fn everywhere(listen: &Listen, port: u16, service: Service) -> Result<Vec<Bound>, StartupError> {
    let mut attempt = 1;
    loop {
        match try_everywhere(listen) {
            Ok(listeners) => return Ok(listeners),
            // The kernel's choice for one family may be taken in the other.
            Err((_, error)) if port == 0 && attempt < ATTEMPTS && in_use(&error) => attempt += 1,
            Err((address, error)) => {
                return Err(StartupError::listening(address, service, error));
            }
        }
    }
}

/// Those of everywhere that are missing, on the port of the one that is there. The machine may lack
/// their family.
///
/// # Errors
/// The first address that cannot be bound.
pub fn bind_beside(
    there: SocketAddr,
    missing: &[SocketAddr],
    service: Service,
) -> Result<Vec<Bound>, StartupError> {
    let mut bound = Vec::new();
    for &wanted in missing {
        let mut address = wanted;
        address.set_port(there.port());
        match bind_one(address) {
            Ok(listener) => bound.push((wanted, listener)),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(StartupError::listening(address, service, error)),
        }
    }
    Ok(bound)
}

fn try_everywhere(listen: &Listen) -> Result<Vec<Bound>, (SocketAddr, io::Error)> {
    let mut bound: Vec<Bound> = Vec::new();
    let mut absent = None;
    for wanted in listen.addresses() {
        let mut address = wanted;
        if let Some(first) = bound.first().and_then(|(_, it)| it.local_addr().ok()) {
            address.set_port(first.port());
        }
        match bind_one(address) {
            Ok(listener) => bound.push((wanted, listener)),
            Err(error) if is_absent(&error) => absent = Some((address, error)),
            Err(error) => return Err((address, error)),
        }
    }
    match absent {
        Some(failure) if bound.is_empty() => Err(failure),
        _ => Ok(bound),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the last connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Lets peers connect. Harmless when they may already.
///
/// # Errors
/// The system's; somebody else may have been faster.
pub fn open(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

fn in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Whether the machine lacks the address family altogether.
fn is_absent(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let absent = [
        Errno::EAFNOSUPPORT,
        Errno::EPROTONOSUPPORT,
        Errno::EADDRNOTAVAIL,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| absent.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_serves_both_families() {
        let listen = Listen::Everywhere { port: 0 };
        let bound = bind(&listen, Service::Io).unwrap();
        let ports: Vec<u16> = bound
            .iter()
            .map(|(_, it)| it.local_addr().unwrap().port())
            .collect();
        assert!(ports.iter().all(|&port| port == ports[0] && port != 0));
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let refused = bind(&Listen::At(vec![address]), Service::Io).unwrap_err();
        assert!(
            matches!(refused, StartupError::AddressInUse { .. }),
            "{refused}"
        );
    }
}
