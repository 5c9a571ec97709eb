//! What the daemon prints when it serves: what, where, and the lines to paste on a host.
//!
//! The text is made from one value, so that it can be tested whole; only [`own_addresses`] asks
//! the system.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use nvmf_proto::nqn::Nqn;
use uuid::Uuid;

use crate::engine::backend::Geometry;

/// What there is to say. Its text has several lines and ends with a newline.
#[derive(Debug, Clone)]
pub struct Banner {
    /// The subsystem's name.
    pub nqn: Nqn,
    /// FreeBSD's kernel executes its hosts' commands.
    pub kernel: bool,
    /// What it holds.
    pub namespaces: Vec<Served>,
    /// Where hosts connect, as bound: with the ports that the kernel chose.
    pub listen: Vec<SocketAddr>,
    /// Where they ask what there is, likewise.
    pub discovery_listen: Vec<SocketAddr>,
    /// By which addresses other machines reach this one ([`own_addresses`]).
    pub own_addresses: Vec<IpAddr>,
    /// Header digests are offered.
    pub header_digest: bool,
    /// Data digests are offered.
    pub data_digest: bool,
    /// Hosts may switch SQ flow control off.
    pub optional_flow_control: bool,
}

/// A namespace in the banner.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its number.
    pub nsid: u32,
    /// What it is made of, in words.
    pub device: String,
    /// How large it is.
    pub geometry: Geometry,
    /// By what hosts find it again, if it has one.
    pub uuid: Option<Uuid>,
}

/// What there is to say of everything that is served: the whole text of the only subsystem, or of
/// each of several what and where.
#[derive(Debug, Clone)]
pub struct Banners(pub Vec<Banner>);

impl fmt::Display for Banners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => writeln!(f, "nvmfd serves no subsystem"),
            [only] => only.fmt(f),
            several => several.iter().try_for_each(|banner| banner.what(f)),
        }
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what(f)?;
        let [here, elsewhere] = [Side::Here, Side::Elsewhere].map(|side| self.target(side));
        match elsewhere {
            Some(target) => self.commands(f, "On a host:", target)?,
            None => writeln!(f, "\nOther machines do not reach these addresses.")?,
        }
        match here {
            Some(target) if here != elsewhere => self.commands(f, "On this machine:", target),
            _ => Ok(()),
        }
    }
}

impl Banner {
    /// What is served, and where.
    fn what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = if self.kernel { ", from the kernel" } else { "" };
        writeln!(f, "nvmfd serves {}{kernel}", self.nqn)?;
        for namespace in &self.namespaces {
            writeln!(f, "  {namespace}")?;
        }
        writeln!(f, "I/O on {}", places(&self.listen))?;
        writeln!(f, "Discovery on {}", places(&self.discovery_listen))?;
        let [header, data] = [self.header_digest, self.data_digest]
            .map(|offered| if offered { "offered" } else { "off" });
        let flow_control = if self.optional_flow_control {
            "optional"
        } else {
            "required"
        };
        write!(f, "Header digest {header}, data digest {data}, ")?;
        writeln!(f, "SQ flow control {flow_control}")
    }
}

/// From where a host connects.
#[derive(Clone, Copy)]
enum Side {
    Here,
    Elsewhere,
}

/// Addresses that lead to the daemon: I/O and discovery.
type Target = (SocketAddr, SocketAddr);

impl Banner {
    fn target(&self, side: Side) -> Option<Target> {
        let reach = |address: &SocketAddr| self.reach(*address, side);
        let io = self.listen.iter().find_map(reach)?;
        // By the same address, else by another, else where I/O is: that answers, too.
        let found = |wanted: &dyn Fn(&SocketAddr) -> bool| {
            self.discovery_listen.iter().filter_map(reach).find(wanted)
        };
        let discovery = found(&|address| address.ip() == io.ip()).or_else(|| found(&|_| true));
        let discovery = discovery.unwrap_or(io);
        Some((io, discovery))
    }

    /// The address by which a listener is reached, if it is.
    fn reach(&self, listener: SocketAddr, side: Side) -> Option<SocketAddr> {
        let with = |ip: IpAddr| Some(SocketAddr::new(ip, listener.port()));
        let of_its_family = |ip: &&IpAddr| ip.is_ipv4() == listener.is_ipv4();
        match side {
            Side::Here if listener.ip().is_unspecified() => with(match listener {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            }),
            Side::Here => Some(listener),
            Side::Elsewhere if listener.ip().is_unspecified() => self
                .own_addresses
                .iter()
                .find(of_its_family)
                .copied()
                .and_then(with),
            Side::Elsewhere => Some(listener).filter(|listener| !listener.ip().is_loopback()),
        }
    }

    fn commands(&self, f: &mut fmt::Formatter<'_>, title: &str, target: Target) -> fmt::Result {
        let (io, discovery) = target;
        let nqn = quoted(self.nqn.as_str());
        let header = if self.header_digest { " -g" } else { "" };
        let data = if self.data_digest { " -G" } else { "" };
        let digests = format!("{header}{data}");
        let (io_host, discovery_host) = (host(io), host(discovery));
        writeln!(f, "\n{title}")?;
        writeln!(f, "  Linux (modprobe nvme-tcp):")?;
        writeln!(
            f,
            "    nvme discover -t tcp -a {discovery_host} -s {}",
            discovery.port()
        )?;
        writeln!(
            f,
            "    nvme connect -t tcp -a {io_host} -s {} -n {nqn}{digests}",
            io.port()
        )?;
        writeln!(f, "  FreeBSD (kldload nvmf nvmf_tcp):")?;
        writeln!(f, "    nvmecontrol discover {}", host_and_port(discovery))?;
        writeln!(
            f,
            "    nvmecontrol connect{digests} {} {nqn}",
            host_and_port(io)
        )
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Geometry { blocks, block_size } = self.geometry;
        let size = words(blocks.saturating_mul(block_size.into()));
        write!(f, "namespace {}: {}, {size}, ", self.nsid, self.device)?;
        write!(f, "{blocks} blocks of {block_size} bytes")?;
        match self.uuid {
            Some(uuid) => write!(f, ", UUID {uuid}"),
            None => Ok(()),
        }
    }
}

/// Addresses by which other machines reach this one: of interfaces that are up, no loopback and
/// no link-local ones, in the system's order.
pub fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let up = interfaces.filter(|interface| {
        let flags = interface.flags;
        flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    up.filter_map(|interface| address_of(&interface.address?))
        .collect()
}

fn address_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip());
    let v6 = address.as_sockaddr_in6().map(|address| address.ip());
    match (v4, v6) {
        (Some(ip), _) if !ip.is_link_local() => Some(ip.into()),
        (_, Some(ip)) if !ip.is_unicast_link_local() => Some(ip.into()),
        _ => None,
    }
}

/// Listeners in words: wildcards say what they are.
fn places(listeners: &[SocketAddr]) -> String {
    let wild = |v4| {
        let is = move |a: &&SocketAddr| a.ip().is_unspecified() && a.is_ipv4() == v4;
        listeners.iter().find(is).map(SocketAddr::port)
    };
    let mut places: Vec<String> = match (wild(true), wild(false)) {
        (Some(v4), Some(v6)) if v4 == v6 => {
            vec![format!("all addresses (IPv4 and IPv6), port {v4}")]
        }
        (v4, v6) => {
            let name = |family, port| format!("all {family} addresses, port {port}");
            let v4 = v4.map(|port| name("IPv4", port));
            v4.into_iter()
                .chain(v6.map(|port| name("IPv6", port)))
                .collect()
        }
    };
    let rest = listeners
        .iter()
        .filter(|address| !address.ip().is_unspecified());
    places.extend(rest.map(ToString::to_string));
    places.join("; ")
}

/// An address without its port. A link-local one takes the host's interface, not ours.
fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => format!("{}%INTERFACE", v6.ip()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address.ip().to_string(),
    }
}

fn host_and_port(address: SocketAddr) -> String {
    let (host, port) = (host(address), address.port());
    if address.is_ipv4() {
        format!("{host}:{port}")
    } else {
        format!("[{host}]:{port}")
    }
}

/// Bytes in the largest binary unit, rounded to a tenth.
fn words(bytes: u64) -> String {
    let units = [
        (50, "PiB"),
        (40, "TiB"),
        (30, "GiB"),
        (20, "MiB"),
        (10, "KiB"),
    ];
    let Some((shift, unit)) = units.into_iter().find(|&(shift, _)| bytes >> shift != 0) else {
        return format!("{bytes} bytes");
    };
    let tenths = (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift;
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

/// Fit to be pasted into a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:-_+@%/".contains(c);
    if text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
