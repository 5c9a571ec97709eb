//! Values that are one word: names, addresses, paths and identifiers.
//!
//! Each type is what a key's value may be by itself, read by serde and refused with an example.
//! Sizes, times and numbers are in [`super::amount`].

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use nvmf_proto::controller::discovery::LABEL_MAX_BYTES;
use nvmf_proto::nqn::Nqn;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

use super::entry::Refusal;
use super::model::DISCOVERY_PORT;
use super::problem::quoted;
use crate::cli::address::ListenAddress;
use crate::cli::value::ValueError;

/// An address to listen on, with a port or without.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address(ListenAddress);

impl Address {
    /// With `port`, if it has none of its own.
    pub(super) fn at(self, port: u16) -> SocketAddr {
        self.0.at(port)
    }

    /// With its own port.
    pub(super) fn with_own_port(self) -> Option<SocketAddr> {
        let [one, other] = [1, 2].map(|port| self.0.at(port));
        (one == other).then_some(one)
    }
}

impl TryFrom<String> for Address {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let no_address = |error: ValueError| {
            let hint = if error == ValueError::NotAnAddress {
                "an IP address and a port, as in \"192.0.2.1:4420\", \"[2001:db8::1]:4420\" or \
                 \"[fe80::1%em0]:4420\""
                    .into()
            } else {
                error.to_string()
            };
            let what = format!("{} is nothing to listen on", quoted(&text));
            Refusal::new(what, hint)
        };
        text.parse().map(Self).map_err(no_address)
    }
}

/// Where a Centralized Discovery Controller is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct CdcAddress(pub(super) SocketAddr);

impl TryFrom<String> for CdcAddress {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let refused = |what: &str| {
            let what = format!("{} {what}", quoted(&text));
            Refusal::new(what, "as in \"192.0.2.9:8009\" or \"[2001:db8::9]:8009\"")
        };
        let address = match text.parse::<ListenAddress>() {
            Ok(address) => address.at(DISCOVERY_PORT),
            Err(ValueError::Multicast) => {
                return Err(refused(
                    "is a multicast address, where nobody can be connected to",
                ));
            }
            Err(ValueError::NotAnAddress) => {
                return Err(refused("is no address of a discovery controller"));
            }
            Err(error) => {
                let what = format!("{} is no address of a discovery controller", quoted(&text));
                return Err(Refusal::new(what, error.to_string()));
            }
        };
        if address.ip().is_unspecified() || address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
            Err(refused(
                "is no single address, so that nobody can be connected to",
            ))
        } else if address.port() == 0 {
            Err(refused("has port 0, where nobody listens"))
        } else {
            Ok(Self(address))
        }
    }
}

/// What portals are called.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PortalName(pub(super) String);

impl TryFrom<String> for PortalName {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text));
        }
        Err(Refusal::new(
            format!("{} is no name for a portal", quoted(&text)),
            "1 to 64 letters, digits, hyphens, dots or underscores, as in \"front\"",
        ))
    }
}

/// The name of a subsystem.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct SubsystemNqn(pub(super) Nqn);

impl TryFrom<String> for SubsystemNqn {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        const EXAMPLE: &str = "as in \"nqn.2014-08.org.example:vol0\"";
        match text.parse::<Nqn>().and_then(Nqn::require_form) {
            Ok(nqn) if nqn.is_discovery() => Err(Refusal::new(
                "that is the name of all discovery controllers",
                format!("choose another, {EXAMPLE}"),
            )),
            Ok(nqn) => Ok(Self(nqn)),
            Err(error) => Err(Refusal::new(
                format!("{} is no NQN: {error}", quoted(&text)),
                EXAMPLE,
            )),
        }
    }
}

/// The own name of our discovery service.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct DiscoveryNqn(pub(super) Nqn);

impl TryFrom<String> for DiscoveryNqn {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let ServiceNqn(nqn) = ServiceNqn::try_from(text)?;
        if nqn.is_discovery() {
            return Err(Refusal::new(
                "that is the name of all discovery controllers, which works in any case",
                format!("choose another, {SERVICE_EXAMPLE}, or leave the key out"),
            ));
        }
        Ok(Self(nqn))
    }
}

/// The name of a discovery service, the well-known one or its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ServiceNqn(pub(super) Nqn);

impl TryFrom<String> for ServiceNqn {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let nqn = text.parse::<Nqn>().and_then(Nqn::require_form);
        nqn.map(Self).map_err(|error| {
            let what = format!("{} is no NQN: {error}", quoted(&text));
            Refusal::new(what, SERVICE_EXAMPLE)
        })
    }
}

/// Where another discovery service is, as all hosts can use it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ReferralAddress(pub(super) SocketAddr);

impl TryFrom<String> for ReferralAddress {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let refused = |what: &str| {
            let what = format!("{} {what}", quoted(&text));
            Refusal::new(what, "as in \"192.0.2.7:8009\" or \"[2001:db8::7]:8009\"")
        };
        const LINK_LOCAL: &str =
            "is a link-local address, which a host can only use on its own link";
        let address = match text.parse::<ListenAddress>() {
            Ok(address) => address.at(DISCOVERY_PORT),
            Err(ValueError::Multicast) => {
                return Err(refused("is a multicast address, where no service is"));
            }
            Err(ValueError::NeedsInterface) => return Err(refused(LINK_LOCAL)),
            Err(_) => return Err(refused("is no address of a discovery service")),
        };
        let link_local = match address {
            SocketAddr::V4(address) => address.ip().is_link_local(),
            SocketAddr::V6(address) => address.ip().is_unicast_link_local(),
        };
        let broadcast = address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.ip().is_unspecified() || broadcast {
            Err(refused("is no single address, so that no host can use it"))
        } else if link_local {
            Err(refused(LINK_LOCAL))
        } else if address.port() == 0 {
            Err(refused("has port 0, where no service is"))
        } else {
            Ok(Self(address))
        }
    }
}

/// What something is called, for people.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Label(pub(super) String);

impl TryFrom<String> for Label {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        // The log pads with blanks, so that nobody could tell them from the label's own.
        let sound = !text.chars().any(char::is_control) && text.trim() == text;
        if (1..=LABEL_MAX_BYTES).contains(&text.len()) && sound {
            return Ok(Self(text));
        }
        Err(Refusal::new(
            format!("{} is no label", quoted(&text)),
            format!(
                "1 to {LABEL_MAX_BYTES} bytes without control characters and blanks around them, as in \
                 \"rack 7\""
            ),
        ))
    }
}

/// The name of a host, which need not have the form that the specification asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct HostNqn(pub(super) Nqn);

impl TryFrom<String> for HostNqn {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        if text == "*" {
            return Err(Refusal::new(
                "\"*\" is no host, and hosts are compared as they are",
                "to let in every host: allow-any-host = true instead of hosts",
            ));
        }
        text.parse().map(Self).map_err(|error| {
            let what = format!("{} is no NQN: {error}", quoted(&text));
            Refusal::new(what, HOST_EXAMPLE)
        })
    }
}

/// A serial number.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Serial(pub(super) String);

impl TryFrom<String> for Serial {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        // Identify pads with blanks, so that nobody could tell them from the number's own.
        if (1..=20).contains(&text.len()) && printable && text.trim() == text {
            return Ok(Self(text));
        }
        Err(Refusal::new(
            format!("{} is no serial number", quoted(&text)),
            "1 to 20 characters of printable ASCII without blanks around them, as in \"VOL0-0001\"",
        ))
    }
}

/// A file or disk.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Path(pub(super) PathBuf);

impl TryFrom<String> for Path {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        const EXAMPLE: &str = "as in \"/dev/zvol/tank/vol0\" or \"/var/vols/vol0.img\"";
        if text.contains('\0') {
            return Err(Refusal::new(
                format!("{} is no path", quoted(&text)),
                EXAMPLE,
            ));
        }
        // The daemon's working directory is not the operator's.
        if !text.starts_with('/') {
            return Err(Refusal::new(
                format!("{} is not an absolute path", quoted(&text)),
                format!("begin it with /, {EXAMPLE}"),
            ));
        }
        Ok(Self(text.into()))
    }
}

/// The name of a user.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct UserName(pub(super) String);

impl TryFrom<String> for UserName {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b":/,\"'".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text));
        }
        Err(Refusal::new(
            format!("{} is no name of a user", quoted(&text)),
            "as in \"nobody\", or one that you have made for it",
        ))
    }
}

/// The least severe lines that are logged.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// A UUID that is some.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct NamespaceUuid(pub(super) Uuid);

impl TryFrom<String> for NamespaceUuid {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        match Uuid::try_parse(&text) {
            Ok(uuid) if !uuid.is_nil() => Ok(Self(uuid)),
            _ => Err(Refusal::new(
                format!("{} is no UUID", quoted(&text)),
                "uuidgen makes one, as in \"6f1ed002-ab5f-4f7c-9a4f-1ba2d0a4c0b1\"",
            )),
        }
    }
}

/// An NGUID that is some.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Nguid(pub(super) [u8; 16]);

impl TryFrom<String> for Nguid {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        hexadecimal(&text).map(Self).ok_or_else(|| {
            Refusal::new(
                format!("{} is no NGUID", quoted(&text)),
                "32 hexadecimal digits, not all 0, as in \"5a1ed002ab5f4f7c021ba2d0a4c0b12e\"",
            )
        })
    }
}

/// An EUI64 that is some.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Eui64(pub(super) [u8; 8]);

impl TryFrom<String> for Eui64 {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        hexadecimal(&text).map(Self).ok_or_else(|| {
            Refusal::new(
                format!("{} is no EUI64", quoted(&text)),
                "16 hexadecimal digits, not all 0, as in \"021ba2d0a4c0b12e\"",
            )
        })
    }
}

/// What the own name of a discovery service looks like.
pub(super) const SERVICE_EXAMPLE: &str = "as in \"nqn.2014-08.org.example:discovery\"";

/// What a host's name looks like, and where it is found.
pub(super) const HOST_EXAMPLE: &str =
    "as in \"nqn.2014-08.org.example:host1\"; a Linux host's is in its /etc/nvme/hostnqn";

/// So many bytes in hexadecimal digits, not all of them zero.
fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    (bytes != [0; N]).then_some(bytes)
}
