//! Where a target is: an address or a name, with a port or without.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use super::error::HostError;
use crate::cli::value::{ValueError, port};

/// Port of discovery controllers.
pub const DISCOVERY_PORT: u16 = 8009;

/// Port of subsystems.
pub const IO_PORT: u16 = 4420;

/// A target's place as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: String,
    port: Option<u16>,
}

impl Place {
    /// The port, if one is given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Every address that it has, with `default` where no port is given.
    ///
    /// # Errors
    /// [`HostError::Resolve`].
    pub fn resolve(&self, default: u16) -> Result<Vec<SocketAddr>, HostError> {
        let failed = |source| HostError::Resolve {
            host: self.host.clone(),
            source,
        };
        let port = self.port.unwrap_or(default);
        let found = (self.host.as_str(), port).to_socket_addrs();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found.map_err(failed)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(failed(std::io::ErrorKind::NotFound.into()));
        }
        Ok(addresses)
    }

    /// The same place at another port, as it would be typed.
    pub fn at(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port: Some(port),
        }
    }
}

impl FromStr for Place {
    type Err = ValueError;

    /// `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`; an IPv6 address needs the brackets
    /// before a port.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (host, port_text) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(ValueError::NotAPlace)?;
                match rest.strip_prefix(':') {
                    None if !rest.is_empty() => return Err(ValueError::NotAPlace),
                    port => (host, port),
                }
            }
            None => match text.split_once(':') {
                Some((host, rest)) if !rest.contains(':') => (host, Some(rest)),
                _ => (text, None),
            },
        };
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '/';
        if host.is_empty() || host.contains(odd) {
            return Err(ValueError::NotAPlace);
        }
        let port = port_text.map(port).transpose()?;
        if port == Some(0) {
            return Err(ValueError::NotAPort);
        }
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':') && self.port.is_some();
        match brackets {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_with_and_without_ports() {
        let good = [
            ("192.0.2.1", "192.0.2.1:4420"),
            ("192.0.2.1:8009", "192.0.2.1:8009"),
            ("::1", "[::1]:4420"),
            ("[::1]", "[::1]:4420"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ];
        for (text, address) in good {
            let place: Place = text.parse().unwrap();
            let addresses = place.resolve(IO_PORT).unwrap();
            assert_eq!(addresses, [address.parse().unwrap()], "{text}");
            let again: Place = place.to_string().parse().unwrap();
            assert_eq!(again, place, "{text}");
        }
        let name: Place = "localhost:7".parse().unwrap();
        let addresses = name.resolve(IO_PORT).unwrap();
        assert!(
            addresses
                .iter()
                .all(|it| it.ip().is_loopback() && it.port() == 7)
        );
        assert_eq!(name.at(8009).to_string(), "localhost:8009");
    }

    #[test]
    fn places_that_are_none() {
        for text in [
            "", ":4420", "[::1", "[::1]x", "a b", "a\n", "[]:1", "/dev/x",
        ] {
            assert_eq!(text.parse::<Place>(), Err(ValueError::NotAPlace), "{text}");
        }
        for text in ["a:", "a:x", "a:0", "[::1]:65536"] {
            assert_eq!(text.parse::<Place>(), Err(ValueError::NotAPort), "{text}");
        }
    }

    #[test]
    fn a_name_that_nobody_knows_is_told() {
        let error = Place::from_str("no-such-host.invalid").unwrap().resolve(1);
        let report = error.unwrap_err().report();
        let said = "no-such-host.invalid has no address that is known here: ";
        assert!(report.starts_with(said), "{report}");
    }
}
