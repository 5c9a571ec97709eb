//! Numbers move with what is seen, and with nothing else.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use nvmf_proto::controller::discovery::{DiscoveryEntry, DiscoveryScope};
use proptest::prelude::*;

use super::*;
use crate::config::model::{Referral, Show};
use crate::worker::served::Served;
use crate::worker::snapshot::PortalKind;
use crate::worker::snapshot::tests::{portal, snapshot, subsystem};

fn host(number: usize) -> Nqn {
    format!("nqn.2014-08.org.example:host{number}")
        .parse()
        .unwrap()
}

/// Where hosts come in: our address, and the portal.
const PLACES: [(&str, u16); 4] = [
    ("192.0.2.1:4420", 1),
    ("192.0.2.1:8009", 3),
    ("198.51.100.1:8009", 3),
    ("[2001:db8::1]:4420", 2),
];

fn place(number: usize) -> (SocketAddr, u16) {
    let (local, portal) = PLACES[number];
    (local.parse().unwrap(), portal)
}

/// As many hosts as there are names in lists, and one that none has.
const HOSTS: usize = 4;

/// A configuration, in bits.
#[derive(Debug, Clone)]
struct Wish {
    /// Which portals there are.
    portals: u8,
    /// Each subsystem's portals, and its hosts; no bit of those: any.
    subsystems: Vec<(u8, u8)>,
    /// The hosts of each referral, likewise.
    referrals: Vec<u8>,
    all: bool,
    label: Option<u8>,
    name: Option<u8>,
}

fn wish() -> impl Strategy<Value = Wish> {
    let bits = || 0_u8..8;
    (
        0_u8..16,
        prop::collection::vec((bits(), bits()), 0..4),
        prop::collection::vec(bits(), 0..3),
        any::<bool>(),
        prop::option::weighted(0.2, 0_u8..2),
        prop::option::weighted(0.2, 0_u8..2),
    )
        .prop_map(|(portals, subsystems, referrals, all, label, name)| Wish {
            portals,
            subsystems,
            referrals,
            all,
            label,
            name,
        })
}

impl Wish {
    fn snapshot(&self, generation: u64) -> Snapshot {
        let hosts = |bits: u8| match bits {
            0 => Hosts::Any,
            _ => {
                let listed = (0..HOSTS - 1).filter(|it| bits & (1 << it) != 0);
                Hosts::Listed(listed.map(host).collect())
            }
        };
        let all = [
            (1, PortalKind::Io, "192.0.2.1:4420"),
            (2, PortalKind::Io, "[::]:4420"),
            (3, PortalKind::Discovery, "0.0.0.0:8009"),
            (4, PortalKind::Io, "127.0.0.1:4420"),
        ];
        let portals = all
            .into_iter()
            .filter(|(id, ..)| self.portals >> (id - 1) & 1 != 0);
        let portals = portals.map(|(id, kind, address)| portal(id, kind, address));
        let subsystems = self.subsystems.iter().enumerate();
        let subsystems = subsystems.map(|(number, &(portals, listed))| {
            let nqn = format!("nqn.2014-08.org.example:vol{number}");
            let portals = (1..=4).filter(|it| portals >> (it - 1) & 1 != 0);
            let mut subsystem = subsystem(&nqn, portals);
            subsystem.hosts = hosts(listed);
            subsystem
        });
        let mut snapshot = snapshot(portals, subsystems);
        snapshot.generation = generation;
        snapshot.discovery.show = match self.all {
            true => Show::All,
            false => Show::Reachable,
        };
        snapshot.discovery.label = self.label.map(|it| format!("label {it}"));
        if let Some(name) = self.name {
            snapshot.discovery.nqn = format!("nqn.2014-08.org.example:disc{name}")
                .parse()
                .unwrap();
        }
        snapshot.referrals = (0..)
            .zip(&self.referrals)
            .map(|(number, &bits)| Referral {
                address: ([192, 0, 2, 100 + number], 8009).into(),
                nqn: Nqn::discovery(),
                hosts: hosts(bits),
                label: None,
            })
            .collect();
        snapshot.views = Views::of(&snapshot);
        snapshot
    }
}

/// What a host reads: the number, and the entries in every form.
fn read(served: &Served, place: (SocketAddr, u16), host: &Nqn) -> (u64, Vec<Vec<DiscoveryEntry>>) {
    let forms = [(false, false), (false, true), (true, false), (true, true)];
    let logs = forms.map(|(port_local, all)| {
        let scope = DiscoveryScope { port_local, all };
        discovery::log(served, place, host, scope)
    });
    let generation = logs[0].generation;
    assert!(logs.iter().all(|log| log.generation == generation));
    (generation, logs.map(|log| log.entries.clone()).into())
}

/// Serves another snapshot, as [`crate::worker::Worker::apply`] does; who of `connected` is told.
fn serve(served: &Served, next: Snapshot, connected: &[((SocketAddr, u16), Nqn)]) -> Vec<bool> {
    let (old, new) = (served.load_full(), Arc::new(next));
    let mut moves = Moves::between(&old, &new);
    let views = connected
        .iter()
        .map(|(place, host)| moves.view(*place, host));
    let views: Vec<_> = views.collect();
    served.replace(&mut moves, &new, &views);
    views.iter().map(|view| moves.moved(view)).collect()
}

#[derive(Debug)]
struct Seen {
    number: u64,
    content: Vec<Vec<DiscoveryEntry>>,
    /// What each number has meant.
    history: BTreeMap<u64, Vec<Vec<DiscoveryEntry>>>,
}

proptest! {
    #[test]
    fn a_number_moves_exactly_when_what_is_seen_does(
        first in wish(),
        steps in prop::collection::vec((wish(), any::<bool>(), any::<u16>()), 1..12),
        stays in any::<u16>(),
        forgetful in any::<bool>(),
    ) {
        let all: Vec<_> = (0..PLACES.len())
            .flat_map(|at| (0..HOSTS).map(move |number| (place(at), host(number))))
            .collect();
        let connected: Vec<_> = all.iter().enumerate()
            .filter(|(bit, _)| stays >> bit & 1 != 0)
            .map(|(_, it)| it.clone())
            .collect();
        let served = Served::new(first.snapshot(100));
        let mut seen: HashMap<_, Seen> = HashMap::new();
        for (generation, (wish, same, readers)) in (100..).zip(steps) {
            for (bit, (place, host)) in all.iter().enumerate() {
                let is_connected = connected.contains(&(*place, host.clone()));
                if !is_connected && readers >> bit & 1 == 0 {
                    continue;
                }
                let (number, content) = read(&served, *place, host);
                prop_assert!(number <= generation);
                let seen = seen.entry((*place, host.clone())).or_insert_with(|| Seen {
                    number,
                    content: content.clone(),
                    history: BTreeMap::new(),
                });
                if is_connected && !forgetful {
                    let step = u64::from(seen.content != content);
                    prop_assert_eq!(number, seen.number + step, "{:?} {}", place, host);
                }
                let meant = seen.history.entry(number).or_insert_with(|| content.clone());
                prop_assert_eq!(&*meant, &content, "{} means something else", number);
                prop_assert!(number >= seen.number);
                (seen.number, seen.content) = (number, content);
            }
            if forgetful && readers & 1 == 0 {
                served.load().views.lock().forget();
            }
            let next = match same {
                true => served.load_full(),
                false => Arc::new(wish.snapshot(0)),
            };
            let next = Snapshot {
                generation: generation + 1,
                portals: next.portals.clone(),
                subsystems: next.subsystems.clone(),
                discovery: next.discovery.clone(),
                referrals: next.referrals.clone(),
                limits: next.limits,
                views: Views::of(&next),
            };
            let told = serve(&served, next, &connected);
            for ((place, host), told) in connected.iter().zip(told) {
                let before = &seen[&(*place, host.clone())].content;
                let scopes = discovery_of(&served, *place, host);
                prop_assert_eq!(told, *before != scopes, "{:?} {}", place, host);
            }
        }
    }
}

/// What a host would read now, without its number being given.
fn discovery_of(served: &Served, place: (SocketAddr, u16), host: &Nqn) -> Vec<Vec<DiscoveryEntry>> {
    let snapshot = served.load();
    let mut copy = Snapshot {
        generation: 0,
        portals: snapshot.portals.clone(),
        subsystems: snapshot.subsystems.clone(),
        discovery: snapshot.discovery.clone(),
        referrals: snapshot.referrals.clone(),
        limits: snapshot.limits,
        views: Views::default(),
    };
    copy.views = Views::of(&copy);
    read(&Served::new(copy), place, host).1
}

fn plain(portals: u8, subsystems: &[(u8, u8)]) -> Wish {
    Wish {
        portals,
        subsystems: subsystems.to_vec(),
        referrals: Vec::new(),
        all: false,
        label: None,
        name: None,
    }
}

#[test]
fn who_cannot_see_a_change_keeps_its_number() {
    let served = Served::new(plain(0b101, &[(1, 0)]).snapshot(5));
    let at = place(1);
    let number = |host: &Nqn| read(&served, at, host).0;
    assert_eq!([number(&host(0)), number(&host(3))], [5, 5]);
    let connected = [(at, host(0)), (at, host(3))];
    // The second subsystem is for the first host alone, which no list has named before.
    let next = plain(0b101, &[(1, 0), (1, 1)]).snapshot(6);
    assert_eq!(serve(&served, next, &connected), [true, false]);
    assert_eq!([number(&host(0)), number(&host(3))], [6, 5]);
    // It is for nobody any more: the number that others have means something else.
    let next = plain(0b101, &[(1, 0)]).snapshot(7);
    assert_eq!(serve(&served, next, &connected), [true, false]);
    assert_eq!([number(&host(0)), number(&host(3))], [7, 5]);
    assert_eq!(number(&host(1)), 5, "and it is still theirs");
}

#[test]
fn a_host_that_had_numbers_of_its_own_is_remembered_when_they_are_not() {
    let served = Served::new(plain(0b101, &[(1, 0), (1, 1)]).snapshot(5));
    let at = place(1);
    let number = |host: &Nqn| read(&served, at, host).0;
    assert_eq!(number(&host(0)), 5, "of both");
    served.load().views.lock().forget();
    assert_eq!(number(&host(3)), 5, "of one");
    let next = plain(0b101, &[(1, 0)]).snapshot(6);
    serve(&served, next, &[(at, host(0)), (at, host(3))]);
    assert_eq!([number(&host(0)), number(&host(3))], [6, 5]);
}

#[test]
fn a_snapshot_that_is_superseded_is_not_asked_any_more() {
    let served = Served::new(plain(0b101, &[(1, 0)]).snapshot(5));
    let (at, host) = (place(1), host(3));
    let stale = served.load_full();
    serve(&served, plain(0b101, &[]).snapshot(6), &[]);
    assert!(stale.views.look(at, &host, stale.generation).is_none());
    assert_eq!(read(&served, at, &host).0, 6);
}

#[test]
fn readers_and_changes_that_meet_agree_on_every_number() {
    const CHANGES: u64 = 200;
    let served = Served::new(plain(0b101, &[(1, 0)]).snapshot(1));
    let begun = read(&served, place(1), &host(3)).0;
    let histories: Vec<BTreeMap<u64, usize>> = std::thread::scope(|scope| {
        let readers = (0..3).map(|_| {
            scope.spawn(|| {
                let mut history = BTreeMap::new();
                loop {
                    let log =
                        discovery::log(&served, place(1), &host(3), DiscoveryScope::default());
                    let before = history.insert(log.generation, log.entries.len());
                    assert!(before.is_none_or(|before| before == log.entries.len()));
                    if log.generation == begun + CHANGES {
                        return history;
                    }
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        for generation in 2..2 + CHANGES {
            let count = usize::try_from(generation % 2).unwrap();
            let next = plain(0b101, &vec![(1, 0); count]).snapshot(generation);
            serve(&served, next, &[]);
        }
        readers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for history in histories {
        let odd = |(number, entries): (&u64, &usize)| (number % 2 == 1) == (*entries == 2);
        assert!(history.iter().all(odd), "{history:?}");
    }
}

#[test]
fn ten_thousand_hosts_of_one_view_are_one_comparison() {
    let old = plain(0b101, &[(1, 1)]).snapshot(1);
    let new = plain(0b101, &[(1, 1), (1, 0)]).snapshot(2);
    let mut moves = Moves::between(&old, &new);
    for number in 1000..11_000 {
        let view = moves.view(place(1), &host(number));
        assert!(moves.moved(&view));
    }
    assert_eq!(moves.known.len(), 1);
}

#[test]
fn names_that_peers_invent_make_no_views() {
    let served = Served::new(plain(0b101, &[(1, 1)]).snapshot(1));
    for number in 0..1000 {
        read(&served, place(1), &host(number));
    }
    let local = "[fe80::1%3]:8009".parse().unwrap();
    read(&served, (local, 3), &host(9));
    let views = served.load().views.known();
    assert_eq!(views.len(), 3, "{views:?}");
}

#[test]
fn a_full_table_begins_anew() {
    let served = Served::new(plain(0b101, &[(1, 0)]).snapshot(7));
    let (at, host) = (place(0), host(3));
    assert_eq!(read(&served, at, &host).0, 7);
    serve(&served, plain(0b101, &[]).snapshot(8), &[]);
    serve(&served, plain(0b101, &[]).snapshot(9), &[]);
    assert_eq!(read(&served, at, &host).0, 8);
    for port in 0..=u16::MAX {
        let place = (([192, 0, 2, 1], port).into(), 3);
        served.load().views.look(place, &host, 9);
    }
    assert!(served.load().views.known().len() < VIEWS_MAX);
    assert_eq!(read(&served, at, &host).0, 9, "and no number comes again");
}
