//! Who is shown what, as a table; and that it can be used.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use nvmf_proto::connect::Connect;

use super::*;
use crate::config::model::{Hosts, Referral};
use crate::worker::route::{Route, route};
use crate::worker::snapshot::Subsystem;
use crate::worker::snapshot::tests::{portal, snapshot, subsystem};
use crate::worker::views::Views;

const HOST: &str = "nqn.2014-08.org.example:host";
const OTHER: &str = "nqn.2014-08.org.example:other";
const NOBODY: &str = "nqn.2014-08.org.example:nobody";

const DEFAULT: DiscoveryScope = SCOPES[0];
const ALL: DiscoveryScope = SCOPES[1];
const LOCAL: DiscoveryScope = SCOPES[2];

fn only(host: &str) -> Hosts {
    Hosts::Listed([host.parse().unwrap()].into())
}

fn named(name: &str, portals: &[u16], hosts: Hosts) -> Subsystem {
    let nqn = format!("nqn.2014-08.org.example:{name}");
    let mut subsystem = subsystem(&nqn, portals.iter().copied());
    subsystem.hosts = hosts;
    subsystem
}

/// The log of a host that came by `local` to a portal.
fn entries(
    snapshot: &Snapshot,
    (local, portal): (&str, u16),
    host: &str,
    scope: DiscoveryScope,
) -> Vec<DiscoveryEntry> {
    let place = (local.parse().unwrap(), portal);
    let (view, _) = snapshot
        .views
        .look(place, &host.parse().unwrap(), 7)
        .unwrap();
    shown(snapshot, &view, scope).map(Shown::entry).collect()
}

/// Its subsystems' addresses and ports.
fn places(
    snapshot: &Snapshot,
    place: (&str, u16),
    host: &str,
    scope: DiscoveryScope,
) -> Vec<String> {
    let entries = entries(snapshot, place, host, scope);
    assert_eq!(entries[0].subtype, Subtype::CurrentDiscovery);
    let nvm = entries.iter().filter(|it| it.subtype == Subtype::Nvm);
    nvm.map(|it| format!("{} {}", it.traddr, it.trsvcid))
        .collect()
}

/// Portals by number from 1, and one subsystem on all of them.
fn scene(portals: &[(PortalKind, &str)]) -> Snapshot {
    let portals = (1..).zip(portals);
    let portals = portals.map(|(id, &(kind, address))| portal(id, kind, address));
    snapshot(portals, [named("a", &[1, 2, 3, 4, 5, 6, 7], Hosts::Any)])
}

#[test]
fn a_host_is_told_of_the_portals_at_the_address_where_it_asks() {
    use PortalKind::{Discovery, Io};
    let scene = scene(&[
        (Io, "192.0.2.1:4420"),
        (Io, "192.0.2.1:4421"),
        (Io, "198.51.100.1:4420"),
        (Io, "[2001:db8::1]:4420"),
        (Io, "127.0.0.1:4420"),
        (Io, "[fe80::1%3]:4420"),
        (Discovery, "0.0.0.0:8009"),
        (Discovery, "[::]:8009"),
    ]);
    let everything = [
        "192.0.2.1 4420",
        "192.0.2.1 4421",
        "198.51.100.1 4420",
        "2001:db8::1 4420",
    ];
    let near = [&everything[..], &["127.0.0.1 4420"]].concat();
    let linked = [&everything[..], &["fe80::1 4420"]].concat();
    type Case<'a> = (&'a str, u16, DiscoveryScope, &'a [&'a str]);
    let cases: [Case<'_>; 18] = [
        // The same address, whichever the port; to whom asks a portal for its own, that.
        ("192.0.2.1:8009", 7, DEFAULT, &everything[..2]),
        ("192.0.2.1:4421", 2, DEFAULT, &everything[..2]),
        ("192.0.2.1:4421", 2, LOCAL, &everything[1..2]),
        ("192.0.2.1:4421", 2, ALL, &everything),
        // Where nothing but discovery is answered, the address counts.
        ("192.0.2.1:8009", 7, LOCAL, &everything[..2]),
        ("198.51.100.1:8009", 7, LOCAL, &everything[2..3]),
        ("[::ffff:192.0.2.1]:8009", 7, DEFAULT, &everything[..2]),
        ("[2001:db8::1]:8009", 8, DEFAULT, &everything[3..]),
        ("[2001:db8::1]:8009", 8, ALL, &everything),
        // An address for discovery alone: everything that has one of its own.
        ("203.0.113.9:8009", 7, DEFAULT, &everything),
        ("203.0.113.9:8009", 7, LOCAL, &[]),
        // Loopback is of use to this machine alone.
        ("127.0.0.1:8009", 7, DEFAULT, &["127.0.0.1 4420"]),
        ("127.0.0.1:8009", 7, ALL, &near),
        ("[::1]:8009", 8, DEFAULT, &near),
        // A link-local address is one on its own link, and has no scope for others.
        ("[fe80::1%3]:8009", 8, DEFAULT, &["fe80::1 4420"]),
        ("[fe80::1%3]:8009", 8, ALL, &linked),
        ("[fe80::1%4]:8009", 8, DEFAULT, &everything),
        // The portal is gone.
        ("192.0.2.1:4420", 9, LOCAL, &[]),
    ];
    for (local, portal, scope, expected) in cases {
        let seen = places(&scene, (local, portal), HOST, scope);
        assert_eq!(seen, expected, "{local} {portal} {scope:?}");
    }
}

#[test]
fn a_wildcard_is_shown_as_the_address_that_the_host_used() {
    use PortalKind::{Discovery, Io};
    let scene = scene(&[
        (Io, "0.0.0.0:4420"),
        (Io, "[::]:4420"),
        (Discovery, "0.0.0.0:8009"),
        (Io, "198.51.100.1:4421"),
    ]);
    let seen = |local, scope| places(&scene, (local, 3), HOST, scope);
    assert_eq!(seen("192.0.2.1:8009", DEFAULT), ["192.0.2.1 4420"]);
    assert_eq!(seen("[2001:db8::1]:8009", DEFAULT), ["2001:db8::1 4420"]);
    assert_eq!(seen("[fe80::7%2]:8009", DEFAULT), ["fe80::7 4420"]);
    let both = ["198.51.100.1 4420", "198.51.100.1 4421"];
    assert_eq!(seen("198.51.100.1:8009", DEFAULT), both);
    // Of the other family nobody knows which address the host could use.
    let all = ["2001:db8::1 4420", "198.51.100.1 4421"];
    assert_eq!(seen("[2001:db8::1]:8009", ALL), all);
}

#[test]
fn a_setting_widens_what_every_host_is_told_of() {
    use PortalKind::Io;
    let mut scene = scene(&[(Io, "192.0.2.1:4420"), (Io, "198.51.100.1:4420")]);
    let seen = |scene: &Snapshot, scope| places(scene, ("192.0.2.1:4420", 1), HOST, scope);
    assert_eq!(seen(&scene, DEFAULT), ["192.0.2.1 4420"]);
    scene.discovery.show = Show::All;
    let all = ["192.0.2.1 4420", "198.51.100.1 4420"];
    assert_eq!(seen(&scene, DEFAULT), all);
    assert_eq!(seen(&scene, LOCAL), all[..1]);
}

#[test]
fn a_host_sees_what_it_may_use_and_can_use_what_it_sees() {
    let portals = [
        portal(4, PortalKind::Io, "192.0.2.1:4420"),
        portal(7, PortalKind::Io, "192.0.2.1:4421"),
        portal(9, PortalKind::Discovery, "192.0.2.1:8009"),
    ];
    let subsystems = [
        named("any", &[4, 7], Hosts::Any),
        named("mine", &[7], only(HOST)),
        named("others", &[4, 7], only(OTHER)),
        named("nowhere", &[], Hosts::Any),
    ];
    let snapshot = snapshot(portals, subsystems);
    let seen = |host: &str| {
        let entries = entries(&snapshot, ("192.0.2.1:8009", 9), host, ALL);
        let text = |it: DiscoveryEntry| format!("{} {}", it.portid, &it.subnqn.as_str()[24..]);
        entries.into_iter().skip(1).map(text).collect::<Vec<_>>()
    };
    assert_eq!(seen(HOST), ["4 any", "7 any", "7 mine"]);
    assert_eq!(seen(OTHER), ["4 any", "4 others", "7 any", "7 others"]);
    assert_eq!(seen(NOBODY), ["4 any", "7 any"]);
    for host in [HOST, OTHER, NOBODY] {
        let shown = seen(host);
        for portal in &snapshot.portals {
            for subsystem in &snapshot.subsystems {
                let judged = route(&snapshot, portal, &connect(&subsystem.nqn, host), false);
                let entry = format!("{} {}", portal.id, &subsystem.nqn.as_str()[24..]);
                let allowed = matches!(judged, Route::Userspace(_));
                assert_eq!(allowed, shown.contains(&entry), "{host} {entry}");
            }
        }
    }
}

fn connect(subnqn: &Nqn, host: &str) -> Connect {
    Connect {
        qid: 0,
        entries: 32,
        sq_flow_control: true,
        kato: Duration::ZERO,
        hostid: [1; 16],
        cntlid: 0xffff,
        subnqn: subnqn.clone(),
        hostnqn: host.parse().unwrap(),
    }
}

#[test]
fn the_service_names_itself_as_it_is_called_at_the_portal() {
    let nqn = |name: &str| -> Nqn { format!("nqn.2014-08.org.example:{name}").parse().unwrap() };
    let mut portals = [
        portal(1, PortalKind::Io, "192.0.2.1:4420"),
        portal(2, PortalKind::Io, "192.0.2.1:4421"),
    ];
    portals[0].discovery_nqn = nqn("front");
    portals[1].discovery_nqn = nqn("disc");
    let mut scene = snapshot(portals, [named("a", &[1], Hosts::Any)]);
    scene.discovery.nqn = nqn("disc");
    scene.discovery.label = Some("rack 7".into());
    for (local, portal, name) in [
        ("192.0.2.1:4420", 1, "front"),
        ("192.0.2.1:4421", 2, "disc"),
        ("192.0.2.1:4422", 3, "disc"),
    ] {
        let myself = entries(&scene, (local, portal), HOST, DEFAULT).swap_remove(0);
        assert_eq!(myself.subtype, Subtype::CurrentDiscovery);
        assert_eq!(format!("{}:{}", myself.traddr, myself.trsvcid), local);
        assert_eq!((myself.subnqn, myself.portid), (nqn(name), portal));
        assert_eq!(myself.eflags, EFLAGS_EPCSD);
        assert_eq!(myself.label.as_deref(), Some("rack 7"));
    }
}

#[test]
fn referrals_are_for_their_hosts_and_leave_the_machine() {
    let referral = |address: &str, hosts| Referral {
        address: address.parse().unwrap(),
        nqn: Nqn::discovery(),
        hosts,
        label: Some("elsewhere".into()),
    };
    let mut scene = scene(&[(PortalKind::Io, "192.0.2.1:4420")]);
    scene.referrals = vec![
        referral("192.0.2.7:8009", Hosts::Any),
        referral("[2001:db8::7]:8010", only(HOST)),
        referral("127.0.0.1:8011", Hosts::Any),
    ];
    scene.views = Views::of(&scene);
    let seen = |local: &str, host: &str, scope| {
        let entries = entries(&scene, (local, 1), host, scope);
        let referrals = entries
            .into_iter()
            .filter(|it| it.subtype == Subtype::Referral);
        referrals.map(|it| it.trsvcid).collect::<Vec<_>>()
    };
    for scope in [DEFAULT, ALL, LOCAL] {
        assert_eq!(seen("192.0.2.1:4420", HOST, scope), ["8009", "8010"]);
        assert_eq!(seen("192.0.2.1:4420", OTHER, scope), ["8009"]);
        assert_eq!(seen("127.0.0.1:4420", OTHER, scope), ["8009", "8011"]);
    }
    let entry = entries(&scene, ("192.0.2.1:4420", 1), HOST, DEFAULT).swap_remove(2);
    assert_eq!((entry.traddr.as_str(), entry.eflags), ("192.0.2.7", 0));
    assert_eq!(entry.label.as_deref(), Some("elsewhere"));
}

#[test]
fn a_log_is_whole_only_for_whom_nothing_is_withheld_from() {
    let portals = || [portal(1, PortalKind::Io, "192.0.2.1:4420")];
    let asked = DiscoveryScope {
        port_local: true,
        all: true,
    };
    let got = |snapshot: Snapshot, host: &str| {
        let served = Served::new(snapshot);
        let place = ("192.0.2.1:4420".parse().unwrap(), 1);
        log(&served, place, &host.parse().unwrap(), asked).scope
    };
    let withheld = || snapshot(portals(), [named("a", &[1], only(HOST))]);
    assert_eq!(got(withheld(), HOST), asked);
    assert_eq!(got(withheld(), OTHER), LOCAL);
    assert_eq!(got(snapshot(portals(), []), OTHER), asked);
}

#[test]
fn a_log_is_written_out_once_for_all_hosts_of_a_view_and_all_its_pieces() {
    let portals = [portal(1, PortalKind::Io, "192.0.2.1:4420")];
    let subsystems = [named("a", &[1], Hosts::Any), named("b", &[1], only(HOST))];
    let served = Served::new(snapshot(portals, subsystems));
    let place = ("192.0.2.1:4420".parse().unwrap(), 1);
    let read = |host: &str, scope| log(&served, place, &host.parse().unwrap(), scope);
    let first = read(OTHER, DEFAULT);
    assert!(Arc::ptr_eq(&first, &read(NOBODY, DEFAULT)));
    let others = [read(HOST, DEFAULT), read(OTHER, LOCAL)];
    assert_eq!(others.each_ref().map(|it| it.entries.len()), [3, 2]);
    assert!(others.iter().all(|other| !Arc::ptr_eq(other, &first)));
    assert!(Arc::ptr_eq(&first, &read(OTHER, DEFAULT)));
}
