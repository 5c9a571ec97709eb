//! What is announced, put together from its pieces.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use nvmf_proto::nqn::Nqn;

use crate::ipc::announcement::{Entity, Portal, Service, Subsystem};
use crate::ipc::channel::nonsense;

/// Everything that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The host that connects to a CDC.
    pub hostnqn: Nqn,
    /// Its Host Identifier.
    pub hostid: [u8; 16],
    /// Whose the entries are: a name that is made of a UUID.
    pub eid: Nqn,
    /// Where discovery is to be found by multicast DNS.
    pub services: Vec<Service>,
    /// The CDCs to register with.
    pub cdcs: Vec<SocketAddr>,
    /// Where subsystems are served.
    portals: Vec<Portal>,
    /// The subsystems.
    subsystems: Vec<Served>,
}

/// A subsystem, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Served {
    nqn: Nqn,
    label: Option<String>,
    portals: Vec<u16>,
}

/// A subsystem at a portal, as a CDC is told of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub subnqn: Nqn,
    /// Where it is.
    pub address: SocketAddr,
    /// PORTID.
    pub portid: u16,
    /// What the subsystem is called.
    pub label: Option<String>,
}

impl Entry {
    /// What a CDC knows it by.
    pub fn key(&self) -> (&Nqn, SocketAddr) {
        (&self.subnqn, self.address)
    }
}

impl Announcement {
    /// The first piece.
    ///
    /// # Errors
    /// What no monitor says.
    pub fn new(entity: &Entity) -> io::Result<Self> {
        Ok(Self {
            hostnqn: entity.hostnqn.parse().map_err(nonsense)?,
            hostid: entity.hostid,
            eid: entity.eid.parse().map_err(nonsense)?,
            services: Vec::new(),
            cdcs: Vec::new(),
            portals: Vec::new(),
            subsystems: Vec::new(),
        })
    }

    /// A portal.
    pub fn portal(&mut self, portal: Portal) {
        self.portals.push(portal);
    }

    /// A subsystem.
    ///
    /// # Errors
    /// What no monitor says.
    pub fn subsystem(&mut self, subsystem: Subsystem) -> io::Result<()> {
        self.subsystems.push(Served {
            nqn: subsystem.nqn.parse().map_err(nonsense)?,
            label: subsystem.label,
            portals: subsystem.portals,
        });
        Ok(())
    }

    /// Whether both are of the same entity, so that a CDC can be told the difference.
    pub fn is_of(&self, other: &Self) -> bool {
        let us = |it: &Self| (it.hostnqn.clone(), it.hostid, it.eid.clone());
        us(self) == us(other)
    }

    /// What a CDC is told that we reach from our address `here`: each subsystem at each of its portals
    /// that others can reach.
    pub fn entries(&self, here: IpAddr) -> BTreeSet<Entry> {
        let here = here.to_canonical();
        let of_subsystem = |it: &Served| {
            let portals = self.portals.iter();
            let portals = portals.filter(|portal| it.portals.contains(&portal.id));
            let entries = portals.filter_map(|portal| {
                Some(Entry {
                    subnqn: it.nqn.clone(),
                    address: SocketAddr::new(reachable(portal, here)?, portal.address.port()),
                    portid: portal.id,
                    label: it.label.clone(),
                })
            });
            entries.collect::<Vec<_>>()
        };
        self.subsystems.iter().flat_map(of_subsystem).collect()
    }
}

/// A portal's address as the CDC's hosts can use it, by the rules of our own discovery log: a wildcard
/// is the address by which we reach the CDC, if it is of the same family; loopback and link-local
/// addresses are told only to a CDC that is there itself.
fn reachable(portal: &Portal, here: IpAddr) -> Option<IpAddr> {
    let address = portal.address.ip().to_canonical();
    if address.is_unspecified() {
        (address.is_ipv4() == here.is_ipv4()).then_some(here)
    } else if address.is_loopback() {
        here.is_loopback().then_some(address)
    } else if is_link_local(address) {
        (address == here).then_some(address)
    } else {
        Some(address)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(portals: &[&str]) -> Announcement {
        let mut announcement = Announcement::new(&Entity {
            hostnqn: "nqn.2014-08.org.example:us".into(),
            hostid: [1; 16],
            eid: "nqn.2014-08.org.nvmexpress:uuid:6f1ed002-ab5f-4f7c-9a4f-1ba2d0a4c0b1".into(),
        })
        .unwrap();
        for (id, address) in (1..).zip(portals) {
            let address = address.parse().unwrap();
            announcement.portal(Portal { id, address });
        }
        let subsystem = |name: &str, portals: &[u16]| Subsystem {
            nqn: format!("nqn.2014-08.org.example:{name}"),
            label: None,
            portals: portals.to_vec(),
        };
        announcement.subsystem(subsystem("a", &[1, 2])).unwrap();
        announcement.subsystem(subsystem("b", &[2, 3])).unwrap();
        announcement
    }

    fn told(portals: &[&str], here: &str) -> Vec<String> {
        let entries = announcement(portals).entries(here.parse().unwrap());
        let text =
            |it: Entry| format!("{} {} {}", &it.subnqn.as_str()[24..], it.address, it.portid);
        entries.into_iter().map(text).collect()
    }

    #[test]
    fn each_subsystem_is_told_at_each_of_its_portals() {
        let portals = ["192.0.2.1:4420", "[2001:db8::1]:4420", "192.0.2.2:4421"];
        let all = [
            "a 192.0.2.1:4420 1",
            "a [2001:db8::1]:4420 2",
            "b 192.0.2.2:4421 3",
            "b [2001:db8::1]:4420 2",
        ];
        assert_eq!(told(&portals, "192.0.2.1"), all);
    }

    #[test]
    fn wildcards_and_loopback_are_told_as_a_cdc_can_use_them() {
        let portals = ["0.0.0.0:4420", "127.0.0.1:4421", "[::]:4420"];
        assert_eq!(told(&portals, "192.0.2.1"), ["a 192.0.2.1:4420 1"]);
        assert_eq!(told(&portals, "::ffff:192.0.2.1"), ["a 192.0.2.1:4420 1"]);
        assert_eq!(told(&portals, "2001:db8::1"), ["b [2001:db8::1]:4420 3"]);
        let near = [
            "a 127.0.0.1:4420 1",
            "a 127.0.0.1:4421 2",
            "b 127.0.0.1:4421 2",
        ];
        assert_eq!(told(&portals, "127.0.0.1"), near);
    }

    #[test]
    fn a_link_local_portal_is_told_to_who_is_reached_from_it_without_our_scope() {
        let portals = ["[fe80::1%7]:4420", "192.0.2.1:4420", "192.0.2.1:4421"];
        assert_eq!(told(&portals, "fe80::1")[1], "a [fe80::1]:4420 1");
        assert!(
            told(&portals, "fe80::2")
                .iter()
                .all(|it| !it.contains("fe80"))
        );
    }
}
