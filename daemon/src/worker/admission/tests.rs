//! Who comes in, and who makes room.

#![forbid(unsafe_code)]

use super::*;

fn limits() -> Limits {
    Limits {
        negotiations: 200,
        negotiations_per_address: 50,
        ..Limits::default()
    }
}

/// So few that a test can have them all.
fn three() -> Limits {
    Limits {
        connections: 3,
        ..limits()
    }
}

/// One that may come in.
fn enter(admission: &Admission, address: IpAddr, limits: &Limits) -> Admitted {
    admission.enter(address, 7, limits).unwrap()
}

fn v4(n: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + n).to_be_bytes())
}

#[test]
fn at_a_limit_the_oldest_of_the_same_source_makes_room() {
    let admission = Admission::default();
    let v4: IpAddr = "192.0.2.1".parse().unwrap();
    let other = enter(&admission, "192.0.2.2".parse().unwrap(), &limits());
    let places: Vec<_> = (0..limits().negotiations_per_address)
        .map(|_| enter(&admission, v4, &limits()))
        .collect();
    assert!(places.iter().all(|it| it.evicted.is_empty()));
    let mapped = "::ffff:192.0.2.1".parse().unwrap();
    let new = enter(&admission, mapped, &limits());
    assert_eq!(
        new.evicted,
        [Evicted {
            id: places[0].place.id(),
            reactor: 7,
            limit: Limit::NegotiationsPerAddress,
        }]
    );
    assert_eq!(admission.pending(), limits().negotiations_per_address + 1);
    assert_eq!(admission.crowd().connections, 52, "it is not closed yet");
    drop((places, other));
    assert_eq!(
        admission.pending(),
        1,
        "an evicted place is not given back twice"
    );
    drop(new);
    assert_eq!(admission.crowd(), Crowd::default());
}

#[test]
fn addresses_of_one_ipv6_network_count_together() {
    let admission = Admission::default();
    let address = |n: usize| format!("2001:db8::{n:x}").parse().unwrap();
    let elsewhere = "2001:db8:0:1::1".parse().unwrap();
    let _places: Vec<_> = (0..limits().negotiations_per_address)
        .map(|n| enter(&admission, address(n), &limits()))
        .collect();
    let new = enter(&admission, address(9999), &limits());
    assert_eq!(new.evicted.len(), 1);
    let other = enter(&admission, elsewhere, &limits());
    assert!(other.evicted.is_empty());
    let fewer = Limits {
        connections_per_address: limits().negotiations_per_address,
        ..limits()
    };
    let new = enter(&admission, address(1234), &fewer);
    assert_eq!(new.evicted[0].limit, Limit::ConnectionsPerAddress);
    let other = enter(&admission, elsewhere, &fewer);
    assert!(other.evicted.is_empty());
}

#[test]
fn a_source_has_so_many_connections_and_its_silent_ones_make_room_for_its_hosts() {
    let admission = Admission::default();
    let limits = Limits {
        connections_per_address: 3,
        ..limits()
    };
    let served = enter(&admission, v4(1), &limits);
    drop(served.place);
    let silent: Vec<_> = (0..2).map(|_| enter(&admission, v4(1), &limits)).collect();
    let hosts: Vec<_> = (0..2).map(|_| enter(&admission, v4(1), &limits)).collect();
    let made_room = hosts.iter().flat_map(|it| &it.evicted).map(|it| it.id);
    assert!(made_room.eq(silent.iter().map(|it| it.place.id())));
    let seats: Vec<_> = hosts.into_iter().map(|it| it.seat).collect();
    let refused = admission.enter(v4(1), 0, &limits).unwrap_err();
    assert_eq!(refused, Limit::ConnectionsPerAddress, "three are served");
    assert!(admission.enter(v4(2), 0, &limits).is_ok());
    drop((seats, silent, served.seat));
    assert_eq!(admission.crowd(), Crowd::default());
}

#[test]
fn the_total_is_bounded_whatever_the_addresses() {
    let admission = Admission::default();
    let places: Vec<_> = (0..200)
        .map(|n| enter(&admission, v4(n), &limits()))
        .collect();
    let new = enter(&admission, v4(0xffff), &limits());
    assert_eq!(new.evicted.len(), 1);
    assert_eq!(new.evicted[0].id, places[0].place.id());
    assert_eq!(new.evicted[0].limit, Limit::Negotiations);
}

#[test]
fn a_lowered_limit_holds_from_the_next_connection_on() {
    let admission = Admission::default();
    let places: Vec<_> = (0..100)
        .map(|n| enter(&admission, v4(n), &limits()))
        .collect();
    let lower = Limits {
        negotiations: 10,
        ..limits()
    };
    let new = enter(&admission, v4(200), &lower);
    assert_eq!((new.evicted.len(), admission.pending()), (91, 10));
    assert!(new.place.is_held());
    assert!(!places[90].place.is_held() && places[91].place.is_held());
}

#[test]
fn where_connections_are_short_those_that_are_served_stay() {
    let admission = Admission::default();
    let served: Vec<_> = (0..2)
        .map(|n| enter(&admission, v4(n), &three()).seat)
        .collect();
    let silent = enter(&admission, v4(2), &three());
    let host = enter(&admission, v4(3), &three());
    assert_eq!(host.evicted.len(), 1);
    assert_eq!(host.evicted[0].id, silent.place.id());
    assert_eq!(host.evicted[0].limit, Limit::Connections);
    drop(silent);
    let Admitted { place, seat, .. } = host;
    drop(place);
    let refused = admission.enter(v4(4), 0, &three()).unwrap_err();
    assert_eq!(refused, Limit::Connections, "three are served");
    drop(seat);
    assert!(admission.enter(v4(4), 0, &three()).is_ok());
    drop(served);
    assert_eq!(admission.crowd(), Crowd::default());
}

#[test]
fn where_connections_are_short_a_flood_makes_room_for_itself_first() {
    let admission = Admission::default();
    let host = enter(&admission, v4(1), &three());
    let _flood: Vec<_> = (0..20)
        .map(|_| enter(&admission, v4(2), &three()))
        .collect();
    assert!(host.place.is_held());
}

#[test]
fn those_that_leave_slowly_are_not_without_bound() {
    let admission = Admission::default();
    // As if a reactor closed nothing.
    let flood: Vec<_> = (0..1000)
        .filter_map(|n| admission.enter(v4(n), 0, &three()).ok())
        .collect();
    assert_eq!(flood.len(), 3 + LEAVING_MAX);
    drop(flood);
    assert!(admission.enter(v4(1), 0, &three()).is_ok());
}

#[test]
fn who_was_served_in_the_moment_it_was_to_make_room_leaves_nothing_behind() {
    let admission = Admission::default();
    let mut served = Vec::new();
    for n in 0..200 {
        let Ok(Admitted { place, seat, .. }) = admission.enter(v4(n), 7, &three()) else {
            break;
        };
        let next = admission.enter(v4(1000 + n), 7, &three());
        // Its reactor served it before it heard.
        place.served();
        served.push(seat);
        drop(next);
    }
    assert!(served.len() <= 4, "{}", served.len());
    drop(served);
    assert_eq!(admission.crowd(), Crowd::default());
    assert!(admission.enter(v4(1), 7, &three()).is_ok());
}
