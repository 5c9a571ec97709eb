//! The instances of our service in DNS-SD: their names, and who is told which address.
//!
//! Pure. One instance is a port and a discovery name at some addresses, for an SRV record has one port
//! and a TXT record one name.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::config::model::DISCOVERY_PORT;
use crate::ipc::announcement::Service;

/// An instance of `_nvme-disc._tcp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What people see.
    pub name: String,
    /// The name of its addresses, without the domain. It is not the machine's own: whoever else answers
    /// for that, a responder of the system's, has all of its addresses, and would take ours for another
    /// machine's claim to it.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// The name of the discovery subsystem.
    pub nqn: String,
    /// Where it is bound: addresses, or all of a family.
    pub places: BTreeSet<Place>,
}

/// Where something is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    address: IpAddr,
    /// The interface of a link-local address, else 0.
    scope: u32,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// The interface's name.
    pub interface: &'a str,
    /// Its number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
}

impl Place {
    fn of(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        Self {
            address: address.ip(),
            scope,
        }
    }

    /// Whether what is bound here is to be found at `local`: at its very address, or at every address
    /// of its family but those of loopback.
    pub fn is_at(&self, local: Local<'_>) -> bool {
        if self.address.is_unspecified() {
            return self.address.is_ipv4() == local.address.is_ipv4() && !is_loopback(local);
        }
        self.address == local.address && [0, local.index].contains(&self.scope)
    }
}

/// Whether this is the machine's way to itself. FreeBSD: lo0 has a link-local address too.
fn is_loopback(local: Local<'_>) -> bool {
    let number = local.interface.strip_prefix("lo");
    let named = number.is_some_and(|number| number.bytes().all(|it| it.is_ascii_digit()));
    local.address.is_loopback() || named
}

/// The instances that announce `services` of the machine that is called `machine`. At the usual port
/// one is called like the machine; others have their port in their names, and a number where that is
/// not enough. So an instance keeps its name whatever else is announced, and two daemons of one machine
/// have names of their own.
pub fn instances(services: &[Service], machine: &str) -> Vec<Instance> {
    let mut groups: BTreeMap<(u16, &str), BTreeSet<Place>> = BTreeMap::new();
    for service in services {
        let group = (service.address.port(), service.nqn.as_str());
        let places = groups.entry(group).or_default();
        places.insert(Place::of(service.address));
    }
    let label = label(machine);
    let mut of_port: BTreeMap<u16, u32> = BTreeMap::new();
    let instance = |((port, nqn), places): ((u16, &str), BTreeSet<Place>)| {
        let number = of_port.entry(port).or_default();
        *number += 1;
        let distinction = match (port, *number) {
            (DISCOVERY_PORT, 1) => String::new(),
            (port, 1) => format!("-{port}"),
            (port, number) => format!("-{port}-{number}"),
        };
        Instance {
            name: format!("{label}{distinction}"),
            host: format!("{label}-nvmfd{distinction}"),
            port,
            nqn: nqn.into(),
            places,
        }
    };
    groups.into_iter().map(instance).collect()
}

/// The first label of a machine's name, fit for a host's name that something is appended to. In lower
/// case, in which mdns-sd tells of it.
fn label(machine: &str) -> String {
    let first = machine.split('.').next().unwrap_or_default();
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let label: String = first.chars().filter(|&c| fit(c)).take(LABEL_MAX).collect();
    let label = label.to_ascii_lowercase();
    let label = label.trim_matches('-');
    match label {
        "" => "nvmf".into(),
        label => label.into(),
    }
}

/// A label has at most 63 bytes, and ours, with `-nvmfd-65535-65535` behind it, as many.
const LABEL_MAX: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;

    const WELL_KNOWN: &str = "nqn.2014-08.org.nvmexpress.discovery";

    fn service(address: &str, nqn: &str) -> Service {
        Service {
            address: address.parse().unwrap(),
            nqn: nqn.into(),
        }
    }

    fn local<'a>(interface: &'a str, index: u32, address: &str) -> Local<'a> {
        Local {
            interface,
            index,
            address: address.parse().unwrap(),
        }
    }

    fn is_at(bound: &str, local: Local<'_>) -> bool {
        Place::of(bound.parse().unwrap()).is_at(local)
    }

    #[test]
    fn all_addresses_of_a_port_and_name_are_one_instance() {
        let services = [
            service("0.0.0.0:8009", WELL_KNOWN),
            service("[::]:8009", WELL_KNOWN),
        ];
        let found = instances(&services, "store1.example.org");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].port), ("store1", 8009));
        assert_eq!(found[0].host, "store1-nvmfd");
        assert_eq!(found[0].places.len(), 2);
    }

    #[test]
    fn several_instances_have_names_of_their_own() {
        let services = [
            service("192.0.2.1:8009", WELL_KNOWN),
            service("192.0.2.2:8009", "nqn.2014-08.org.example:two"),
            service("192.0.2.1:8010", WELL_KNOWN),
        ];
        let found = instances(&services, "store1");
        let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["store1", "store1-8009-2", "store1-8010"]);
        let hosts: BTreeSet<_> = found.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(hosts.len(), 3, "none has another's addresses");
    }

    #[test]
    fn odd_machine_names_make_labels() {
        for (name, expected) in [
            ("", "nvmf"),
            ("-", "nvmf"),
            ("a b.c", "ab"),
            ("Größe", "gre"),
        ] {
            assert_eq!(label(name), expected);
        }
        let long = instances(
            &[
                service("0.0.0.0:1", WELL_KNOWN),
                service("0.0.0.0:65535", WELL_KNOWN),
            ],
            &"x".repeat(300),
        );
        assert!(long.iter().all(|it| it.host.len() <= 63));
    }

    #[test]
    fn an_address_is_announced_where_it_is_and_nowhere_else() {
        assert!(is_at("192.0.2.1:8009", local("em0", 1, "192.0.2.1")));
        assert!(!is_at("192.0.2.1:8009", local("em1", 2, "192.0.2.2")));
        assert!(is_at("127.0.0.1:8009", local("lo0", 3, "127.0.0.1")));
        assert!(is_at("[fe80::1%2]:8009", local("em1", 2, "fe80::1")));
        assert!(!is_at("[fe80::1%2]:8009", local("em0", 1, "fe80::1")));
    }

    #[test]
    fn a_wildcard_is_everywhere_but_on_loopback() {
        assert!(is_at("0.0.0.0:8009", local("em0", 1, "192.0.2.1")));
        assert!(is_at("[::]:8009", local("lowpan0", 1, "2001:db8::1")));
        assert!(!is_at("0.0.0.0:8009", local("em0", 1, "2001:db8::1")));
        assert!(!is_at("0.0.0.0:8009", local("lo", 3, "127.0.0.1")));
        assert!(!is_at("[::]:8009", local("lo0", 3, "fe80::1")));
        assert!(!is_at("0.0.0.0:8009", local("lo", 3, "10.0.0.1")));
    }
}
