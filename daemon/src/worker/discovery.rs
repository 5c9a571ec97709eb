//! Which entries a discovery log shows to whom.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use nvmf_proto::controller::discovery::{
    DiscoveryEntry, DiscoveryLog, DiscoveryScope, Family, Subtype,
};
use nvmf_proto::nqn::Nqn;

use super::route::is_served;
use super::snapshot::{MAX_ADMIN_ENTRIES, Portal, Snapshot};

/// The log for a host that is connected to our address `local`: itself, then one entry for each
/// portal that can be reached from there and each subsystem that this host may use there.
pub fn log(snapshot: &Snapshot, local: SocketAddr, host: &Nqn) -> DiscoveryLog {
    let here = local.ip().to_canonical();
    let myself = entry(
        Subtype::CurrentDiscovery,
        here,
        local.port(),
        Nqn::discovery(),
        0,
    );
    let subsystems = snapshot.portals.iter().flat_map(|portal| {
        let address = reachable(portal, here);
        let shown = snapshot
            .subsystems
            .iter()
            .filter(|subsystem| is_served(subsystem, portal) && subsystem.hosts.allow(host));
        shown.filter_map(move |subsystem| {
            let port = portal.address.port();
            Some(entry(
                Subtype::Nvm,
                address?,
                port,
                subsystem.nqn.clone(),
                portal.id,
            ))
        })
    });
    DiscoveryLog {
        generation: snapshot.generation,
        scope: DiscoveryScope::default(),
        entries: std::iter::once(myself).chain(subsystems).collect(),
    }
}

/// The portal's address as the asking host can use it. A wildcard is the address that the host
/// used, if it is of the same family; loopback is of no use to others.
fn reachable(portal: &Portal, here: IpAddr) -> Option<IpAddr> {
    let address = portal.address.ip();
    if address.is_unspecified() {
        (address.is_ipv4() == here.is_ipv4()).then_some(here)
    } else if address.is_loopback() {
        here.is_loopback().then_some(address)
    } else {
        Some(address)
    }
}

fn entry(subtype: Subtype, address: IpAddr, port: u16, subnqn: Nqn, portid: u16) -> DiscoveryEntry {
    DiscoveryEntry {
        subtype,
        family: if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        },
        traddr: address.to_string(),
        trsvcid: port.to_string(),
        subnqn,
        portid,
        asqsz: u16::try_from(MAX_ADMIN_ENTRIES).unwrap_or(u16::MAX),
        // Linux: nvme-cli before 2.4 stumbles over "not required" where there is no TLS.
        treq: 0,
        eflags: 0,
        sectype: 0,
        label: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Hosts;
    use crate::worker::snapshot::PortalKind;
    use crate::worker::snapshot::tests::{portal, snapshot, subsystem};

    const HOST: &str = "nqn.2014-08.org.example:host";

    fn shown(portals: &[(PortalKind, &str)], local: &str) -> Vec<String> {
        let portals = (1..)
            .zip(portals)
            .map(|(id, &(kind, address))| portal(id, kind, address));
        let everywhere = subsystem("nqn.2014-08.org.example:a", 1..=9);
        let snapshot = snapshot(portals, [everywhere]);
        let log = log(&snapshot, local.parse().unwrap(), &HOST.parse().unwrap());
        assert_eq!(log.generation, 7);
        assert_eq!(log.entries[0].subtype, Subtype::CurrentDiscovery);
        let place = |entry: &DiscoveryEntry| format!("{} {}", entry.traddr, entry.trsvcid);
        log.entries.iter().map(place).collect()
    }

    #[test]
    fn a_wildcard_is_shown_as_the_address_that_the_host_used() {
        let portals = [
            (PortalKind::Io, "0.0.0.0:4420"),
            (PortalKind::Io, "[::]:4420"),
            (PortalKind::Discovery, "0.0.0.0:8009"),
        ];
        assert_eq!(
            shown(&portals, "192.0.2.1:8009"),
            ["192.0.2.1 8009", "192.0.2.1 4420"]
        );
        assert_eq!(
            shown(&portals, "[2001:db8::1]:8009"),
            ["2001:db8::1 8009", "2001:db8::1 4420"]
        );
    }

    #[test]
    fn every_portal_that_can_be_reached_has_its_entry() {
        let portals = [
            (PortalKind::Io, "127.0.0.1:4420"),
            (PortalKind::Io, "192.0.2.1:4420"),
            (PortalKind::Io, "[2001:db8::1]:4421"),
        ];
        let far = ["192.0.2.1 8009", "192.0.2.1 4420", "2001:db8::1 4421"];
        assert_eq!(shown(&portals, "192.0.2.1:8009"), far);
        let near = [
            "127.0.0.1 8009",
            "127.0.0.1 4420",
            "192.0.2.1 4420",
            "2001:db8::1 4421",
        ];
        assert_eq!(shown(&portals, "127.0.0.1:8009"), near);
    }

    #[test]
    fn a_host_sees_what_it_may_use_where_that_is_served() {
        let named = |name: &str, portals: &[u16], host: Option<&str>| {
            let nqn = format!("nqn.2014-08.org.example:{name}");
            let mut subsystem = subsystem(&nqn, portals.iter().copied());
            if let Some(host) = host {
                subsystem.hosts = Hosts::Listed([host.parse().unwrap()].into());
            }
            subsystem
        };
        let other = "nqn.2014-08.org.example:other";
        let portals = [
            portal(4, PortalKind::Io, "192.0.2.1:4420"),
            portal(7, PortalKind::Io, "192.0.2.1:4421"),
            portal(9, PortalKind::Discovery, "192.0.2.1:8009"),
        ];
        let subsystems = [
            named("any", &[4, 7], None),
            named("mine", &[7], Some(HOST)),
            named("others", &[4, 7], Some(other)),
        ];
        let snapshot = snapshot(portals, subsystems);
        let seen = |host: &str| {
            let local = "192.0.2.1:8009".parse().unwrap();
            let log = log(&snapshot, local, &host.parse().unwrap());
            let entries = log.entries.into_iter().skip(1);
            let text = |it: DiscoveryEntry| format!("{} {}", it.portid, &it.subnqn.as_str()[24..]);
            entries.map(text).collect::<Vec<_>>()
        };
        assert_eq!(seen(HOST), ["4 any", "7 any", "7 mine"]);
        assert_eq!(seen(other), ["4 any", "4 others", "7 any", "7 others"]);
    }
}
