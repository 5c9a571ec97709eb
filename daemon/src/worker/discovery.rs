//! Which entries a discovery log shows to whom.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use nvmf_proto::controller::discovery::{DiscoveryEntry, DiscoveryLog, Family, Subtype};
use nvmf_proto::nqn::Nqn;

use super::snapshot::{MAX_ADMIN_ENTRIES, Portal, PortalKind, Snapshot};

/// The log for a host that is connected to our address `local`: itself, then one entry for each
/// portal that can be reached from there and each subsystem.
pub fn log(snapshot: &Snapshot, local: SocketAddr) -> DiscoveryLog {
    let here = local.ip().to_canonical();
    let myself = entry(
        Subtype::CurrentDiscovery,
        here,
        local.port(),
        Nqn::discovery(),
        0,
    );
    let portals = snapshot
        .portals
        .iter()
        .filter(|portal| portal.kind == PortalKind::Io);
    let subsystems = portals.flat_map(|portal| {
        let address = reachable(portal, here);
        snapshot.subsystems.iter().filter_map(move |subsystem| {
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
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::namespace::Namespaces;
    use crate::worker::snapshot::{Engine, Subsystem, offer};

    fn shown(portals: &[(PortalKind, &str)], local: &str) -> Vec<String> {
        let portal = |(index, (kind, address)): (usize, &(PortalKind, &str))| Portal {
            id: u16::try_from(index).unwrap() + 1,
            kind: *kind,
            address: address.parse().unwrap(),
        };
        let subsystem = |nqn: &str| {
            Arc::new(Subsystem {
                nqn: nqn.parse().unwrap(),
                serial: "1".into(),
                engine: Engine::Userspace(Arc::new(Namespaces::default())),
            })
        };
        let snapshot = Snapshot {
            generation: 7,
            portals: portals.iter().enumerate().map(portal).collect(),
            subsystems: vec![subsystem("nqn.2014-08.org.example:a")],
            offer: offer(true, true, 4096, true),
        };
        let log = log(&snapshot, local.parse().unwrap());
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
}
