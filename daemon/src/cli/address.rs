//! An address to listen on, as an operator writes it.
//!
//! Names are not looked up: a name that moves would move what is served. Interfaces are, because
//! a link-local address is none without.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use super::value::{ValueError, port};

/// An address to listen on; its port may be left to `-p` or `-P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress {
    ip: IpAddr,
    scope: u32,
    port: Option<u16>,
}

impl ListenAddress {
    /// The socket's address, with `port` where it has none of its own.
    pub fn at(self, port: u16) -> SocketAddr {
        let port = self.port.unwrap_or(port);
        match self.ip {
            IpAddr::V4(ip) => (ip, port).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.scope).into(),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ValueError;

    /// `ADDR`, `ADDR:PORT`, `[ADDR]` or `[ADDR]:PORT`; only an IPv6 address may have brackets, and
    /// it needs them before a port.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (ip, rest) = rest.split_once(']').ok_or(ValueError::NotAnAddress)?;
            let port = match rest.strip_prefix(':') {
                Some(text) => Some(port(text)?),
                None if rest.is_empty() => None,
                None => return Err(ValueError::NotAnAddress),
            };
            return ipv6(ip, port);
        }
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => ipv6(text, None),
            Some((ip, text)) => ipv4(ip, Some(port(text)?)),
            None => ipv4(text, None),
        }
    }
}

fn ipv4(text: &str, port: Option<u16>) -> Result<ListenAddress, ValueError> {
    let ip: IpAddr = text.parse().map_err(|_| ValueError::NotAnAddress)?;
    own(ListenAddress { ip, scope: 0, port })
}

fn ipv6(text: &str, port: Option<u16>) -> Result<ListenAddress, ValueError> {
    let (text, scope) = match text.split_once('%') {
        Some((text, interface)) => (text, interface_index(interface)?),
        None => (text, 0),
    };
    let ip: Ipv6Addr = text.parse().map_err(|_| ValueError::NotAnAddress)?;
    if ip.is_unicast_link_local() && scope == 0 {
        return Err(ValueError::NeedsInterface);
    }
    own(ListenAddress {
        ip: ip.to_canonical(),
        scope,
        port,
    })
}

fn own(address: ListenAddress) -> Result<ListenAddress, ValueError> {
    if address.ip.is_multicast() {
        Err(ValueError::Multicast)
    } else {
        Ok(address)
    }
}

fn interface_index(name: &str) -> Result<u32, ValueError> {
    let unknown = || ValueError::UnknownInterface(name.into());
    match name.parse() {
        Ok(0) => Err(unknown()),
        Ok(index) => Ok(index),
        Err(_) => nix::net::if_::if_nametoindex(name).map_err(|_| unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<String, ValueError> {
        text.parse::<ListenAddress>()
            .map(|address| address.at(4420).to_string())
    }

    #[test]
    fn addresses_with_and_without_ports() {
        let good = [
            ("192.0.2.1", "192.0.2.1:4420"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("::", "[::]:4420"),
            ("2001:db8::1", "[2001:db8::1]:4420"),
            ("[2001:db8::1]", "[2001:db8::1]:4420"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
            ("fe80::1%7", "[fe80::1%7]:4420"),
            ("[fe80::1%7]:1", "[fe80::1%7]:1"),
            ("::ffff:192.0.2.1", "192.0.2.1:4420"),
        ];
        for (text, socket) in good {
            assert_eq!(address(text).as_deref(), Ok(socket), "{text}");
        }
    }

    #[test]
    fn addresses_that_are_none() {
        for text in [
            "",
            "localhost",
            "192.0.2",
            "192.0.2.1%1",
            "[192.0.2.1]:1",
            "[::1",
            "[::1]1",
            "1::2::3",
        ] {
            assert_eq!(address(text), Err(ValueError::NotAnAddress), "{text}");
        }
        for text in ["192.0.2.1:", "192.0.2.1:x", "[::1]:65536", "[::1]:+1"] {
            assert_eq!(address(text), Err(ValueError::NotAPort), "{text}");
        }
        assert_eq!(address("fe80::1"), Err(ValueError::NeedsInterface));
        assert_eq!(address("224.0.0.1"), Err(ValueError::Multicast));
        assert_eq!(address("ff02::1%1"), Err(ValueError::Multicast));
        for interface in ["no-such-interface", "0", ""] {
            let unknown = Err(ValueError::UnknownInterface(interface.into()));
            assert_eq!(address(&format!("fe80::1%{interface}")), unknown);
        }
    }

    #[test]
    fn interfaces_go_by_name_or_number() {
        let interfaces = nix::net::if_::if_nameindex().unwrap();
        let Some(interface) = interfaces.iter().next() else {
            return;
        };
        let name = interface.name().to_str().unwrap();
        let expected = format!("[fe80::1%{}]:4420", interface.index());
        assert_eq!(address(&format!("fe80::1%{name}")), Ok(expected));
    }
}
