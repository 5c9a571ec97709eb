//! Which entries a discovery log shows to whom.
//!
//! The hosts' lists are [`super::route`]'s and the same for a Connect: what is shown can be connected
//! to. Which portals are told of is decided here. What is shown is compared and counted as it stands
//! in the snapshot, and written out only to be sent.

#![forbid(unsafe_code)]

mod written;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nvmf_proto::controller::discovery::{
    DiscoveryEntry, DiscoveryLog, DiscoveryScope, EFLAGS_EPCSD, Family, Subtype,
};
use nvmf_proto::nqn::Nqn;

use super::route::{discovery_name, is_served};
use super::served::Served;
use super::snapshot::{MAX_ADMIN_ENTRIES, Portal, PortalKind, Snapshot};
use super::views::View;
use crate::config::model::Show;

pub(super) use written::Written;

/// The log for a host that came by our address `local` to this portal.
pub fn log(
    served: &Served,
    (local, portal): (SocketAddr, u16),
    host: &Nqn,
    scope: DiscoveryScope,
) -> Arc<DiscoveryLog> {
    loop {
        let snapshot = served.load();
        let place = (local, portal);
        // Whoever supersedes a snapshot puts the next one in its place before it lets go of the lock.
        let Some((view, generation)) = snapshot.views.look(place, host, snapshot.generation) else {
            continue;
        };
        let written = &snapshot.views.written;
        if let Some(log) = written.find(&view, scope, generation) {
            return log;
        }
        let log = Arc::new(DiscoveryLog {
            generation,
            scope: DiscoveryScope {
                all: scope.all && nothing_withheld(&snapshot, &view),
                ..scope
            },
            entries: shown(&snapshot, &view, scope).map(Shown::entry).collect(),
        });
        written.keep(view, scope, &log);
        return log;
    }
}

/// Whether the hosts of a view see something else in one snapshot than in the other, in any scope.
pub(super) fn differs(old: &Snapshot, new: &Snapshot, view: &View) -> bool {
    SCOPES
        .into_iter()
        .any(|scope| !shown(old, view, scope).eq(shown(new, view, scope)))
}

/// What the hosts of a view are shown: the service itself, then each subsystem that they may use at
/// each portal that they are told of, then other services.
fn shown<'a>(
    snapshot: &'a Snapshot,
    view: &'a View,
    scope: DiscoveryScope,
) -> impl Iterator<Item = Shown<'a>> {
    let here = view.local;
    let myself = Shown {
        subtype: Subtype::CurrentDiscovery,
        address: here.ip(),
        port: here.port(),
        subnqn: discovery_name(snapshot, view.portal),
        portid: view.portal,
        label: snapshot.discovery.label.as_deref(),
    };
    let visible = snapshot.views.subsystems(view);
    let portals = portals(snapshot, view, scope);
    let subsystems = portals.into_iter().flat_map(move |(portal, address)| {
        let subsystems = visible.clone().into_iter();
        let subsystems = subsystems.filter_map(|place| snapshot.subsystems.get(place));
        let here = subsystems.filter(move |subsystem| is_served(subsystem, portal));
        here.map(move |subsystem| Shown {
            subtype: Subtype::Nvm,
            address,
            port: portal.address.port(),
            subnqn: &subsystem.nqn,
            portid: portal.id,
            label: subsystem.label.as_deref(),
        })
    });
    // They are no entries of a port, so that the scope does not concern them.
    let referrals = snapshot.referrals.iter().filter(move |referral| {
        let reachable = !referral.address.ip().is_loopback() || here.ip().is_loopback();
        reachable && view.is_allowed(&referral.hosts)
    });
    let referrals = referrals.map(|referral| Shown {
        subtype: Subtype::Referral,
        address: referral.address.ip(),
        port: referral.address.port(),
        subnqn: &referral.nqn,
        portid: 0,
        label: referral.label.as_deref(),
    });
    std::iter::once(myself).chain(subsystems).chain(referrals)
}

/// The portals that the hosts of a view are told of, each with its address as they can use it.
fn portals<'a>(
    snapshot: &'a Snapshot,
    view: &View,
    scope: DiscoveryScope,
) -> Vec<(&'a Portal, IpAddr)> {
    let here = view.local;
    let all = snapshot.portals.iter().map(|portal| &**portal);
    let all = all.filter(|portal| portal.kind == PortalKind::Io);
    let at_hand = all
        .clone()
        .filter(|portal| is_here(portal.address, here))
        .map(|portal| (portal, here.ip()));
    if scope.port_local {
        // Who asks where nothing but discovery is answered means this address. stafd of nvme-stas
        // asks so, and always with this scope.
        return match snapshot.portal(view.portal).map(|asked| asked.kind) {
            Some(PortalKind::Io) => at_hand.filter(|(it, _)| it.id == view.portal).collect(),
            Some(PortalKind::Discovery) => at_hand.collect(),
            None => Vec::new(),
        };
    }
    let everywhere = scope.all || snapshot.discovery.show == Show::All;
    if !everywhere && at_hand.clone().next().is_some() {
        return at_hand.collect();
    }
    all.filter_map(|portal| Some((portal, reachable(portal, here)?)))
        .collect()
}

/// Whether what listens on `address` is reached by our address `here`, but for its port.
fn is_here(address: SocketAddr, here: SocketAddr) -> bool {
    let ip = address.ip();
    let same_link = match (address, here) {
        (SocketAddr::V6(address), SocketAddr::V6(here)) if is_link_local(ip) => {
            address.scope_id() == here.scope_id()
        }
        (SocketAddr::V4(_) | SocketAddr::V6(_), _) => true,
    };
    if ip.is_unspecified() {
        ip.is_ipv4() == here.is_ipv4()
    } else {
        ip == here.ip() && same_link
    }
}

/// A portal's address as hosts can use it that came by our address `here`: a wildcard is that, if it
/// is of the same family; loopback is of no use to others, and what is local to a link to none.
fn reachable(portal: &Portal, here: SocketAddr) -> Option<IpAddr> {
    let address = portal.address.ip();
    if is_here(portal.address, here) {
        Some(here.ip())
    } else if address.is_unspecified() || is_link_local(address) {
        None
    } else {
        (!address.is_loopback() || here.ip().is_loopback()).then_some(address)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Whether no list keeps anything from the hosts of a view.
fn nothing_withheld(snapshot: &Snapshot, view: &View) -> bool {
    snapshot.views.subsystems(view).len() == snapshot.subsystems.len()
        && snapshot
            .referrals
            .iter()
            .all(|referral| view.is_allowed(&referral.hosts))
}

/// What an entry says.
#[derive(Debug, PartialEq, Eq)]
struct Shown<'a> {
    subtype: Subtype,
    address: IpAddr,
    port: u16,
    subnqn: &'a Nqn,
    portid: u16,
    label: Option<&'a str>,
}

impl Shown<'_> {
    fn entry(self) -> DiscoveryEntry {
        let (eflags, asqsz) = match self.subtype {
            Subtype::CurrentDiscovery => (EFLAGS_EPCSD, MAX_ADMIN_ENTRIES),
            Subtype::Nvm => (0, MAX_ADMIN_ENTRIES),
            // What it can do is for it to say.
            Subtype::Referral => (0, LEAST_ADMIN_ENTRIES),
        };
        DiscoveryEntry {
            subtype: self.subtype,
            family: match self.address {
                IpAddr::V4(_) => Family::V4,
                IpAddr::V6(_) => Family::V6,
            },
            // Without a scope: a number of our interface means nothing to the host.
            traddr: self.address.to_string(),
            trsvcid: self.port.to_string(),
            subnqn: self.subnqn.clone(),
            portid: self.portid,
            asqsz: u16::try_from(asqsz).unwrap_or(u16::MAX),
            // Linux: nvme-cli before 2.4 stumbles over "not required" where there is no TLS.
            treq: 0,
            eflags,
            sectype: 0,
            label: self.label.map(Into::into),
        }
    }
}

/// Every scope that shows anything else than the others.
const SCOPES: [DiscoveryScope; 3] = [
    DiscoveryScope {
        port_local: false,
        all: false,
    },
    DiscoveryScope {
        port_local: false,
        all: true,
    },
    DiscoveryScope {
        port_local: true,
        all: false,
    },
];

/// Entries that every admin queue may have (Base 2.1, ASQSZ).
const LEAST_ADMIN_ENTRIES: u32 = 32;

#[cfg(test)]
mod tests;
