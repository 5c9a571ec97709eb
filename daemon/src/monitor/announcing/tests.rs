//! Announcers that were taken over: whatever they say, the monitor goes on.

use std::thread;

use crossbeam_channel::bounded;

use super::*;
use crate::ipc::Channel;
use crate::ipc::announcement::{Entity, Service};

const CDC: &str = "192.0.2.9:8009";

fn cdc() -> SocketAddr {
    CDC.parse().unwrap()
}

fn wanted() -> Announced {
    let entity = Entity {
        hostnqn: "nqn.2014-08.org.example:us".into(),
        hostid: [1; 16],
        eid: "nqn.2014-08.org.example:us".into(),
    };
    let service = Service {
        address: "192.0.2.1:8009".parse().unwrap(),
        nqn: "nqn.2014-08.org.nvmexpress.discovery".into(),
    };
    Announced::for_tests(entity, vec![service], vec![cdc()])
}

/// One whose announcer does as `plays` says with its end of the channel, in a process that is none.
fn announcing(plays: impl FnOnce(Channel) + Send + 'static) -> Announcing {
    let (ours, theirs) = Channel::pair().unwrap();
    let theirs = Channel::of(theirs).unwrap();
    thread::spawn(move || plays(theirs));
    let (_, ended) = bounded(1);
    let order = Order {
        confine: Confine::Required,
        user: None,
    };
    let mut announcing = Announcing::new(Destination::Stderr, &order);
    announcing.wanted = Some(wanted());
    announcing.cdcs.insert(cdc(), Fare::default());
    let process = Subprocess::of(ours, u32::MAX, ended).unwrap();
    announcing.running = Some(Running {
        confinement: Confinement::default(),
        delivery: Delivery::over(process.channel().unwrap()),
        process,
        stage: Stage::Starting,
        deadline: Some(Instant::now() + START_TIME),
        allowance: Quota::new(ALLOWED, ALLOWED_TIME),
    });
    announcing
}

/// One that is there, listens to everything, and says nothing.
fn told() -> Announcing {
    let mut it = announcing(|channel| while let Ok(Some(_)) = channel.receive::<ToAnnouncer>() {});
    it.hear(Some(hello(crate::RELEASE)));
    it.hear(Some(confined()));
    assert_eq!(it.running.as_ref().unwrap().stage, Stage::Told);
    it
}

fn hello(release: &str) -> FromAnnouncer {
    let release = release.into();
    FromAnnouncer::Hello { release }
}

fn confined() -> FromAnnouncer {
    FromAnnouncer::Confined(Confinement {
        user: Some("nobody".into()),
        ..Confinement::default()
    })
}

fn fares(address: SocketAddr, entries: Option<u32>, error: Option<&str>) -> FromAnnouncer {
    FromAnnouncer::Cdc {
        address,
        entries,
        error: error.map(Into::into),
    }
}

#[test]
fn one_that_is_there_is_told_everything_in_pieces() {
    let (sender, receiver) = bounded(16);
    let mut it = announcing(move |channel| {
        while let Ok(Some((message, _))) = channel.receive::<ToAnnouncer>() {
            sender.send(format!("{message:?}")).unwrap();
        }
    });
    it.hear(Some(hello(crate::RELEASE)));
    let first = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(
        first.starts_with("Confine") && first.contains("IfPossible"),
        "{first}"
    );
    it.hear(Some(confined()));
    let pieces = ["Log", "Begin", "Service", "Cdc", "Commit"];
    for piece in pieces {
        let message = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(message.starts_with(piece), "{message}");
    }
    it.stop();
    let last = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(last, "Stop");
}

#[test]
fn what_it_says_is_what_operators_are_told() {
    let mut it = told();
    it.hear(Some(FromAnnouncer::Mdns {
        announced: 1,
        error: None,
    }));
    it.hear(Some(fares(cdc(), None, Some("no\x1b[2J"))));
    let status = it.status().unwrap();
    assert_eq!(status.confinement.user.as_deref(), Some("nobody"));
    let mdns = status.mdns.unwrap();
    assert_eq!((mdns.announced, mdns.error), (1, None));
    let error = status.registrations[0].error.clone().unwrap();
    assert!(error.is_ascii() && !error.contains('\x1b'), "{error}");
    it.hear(Some(fares(cdc(), Some(12), None)));
    let registration = it.status().unwrap().registrations.remove(0);
    assert_eq!((registration.entries, registration.error), (Some(12), None));
    let since = registration.since;
    it.hear(Some(fares(cdc(), Some(13), None)));
    assert_eq!(it.status().unwrap().registrations[0].since, since);
    // Of another nobody has asked, or not any more.
    it.hear(Some(fares("192.0.2.1:1".parse().unwrap(), Some(1), None)));
    assert_eq!(it.status().unwrap().registrations.len(), 1);
}

#[test]
fn a_mad_one_is_given_up_and_started_again_later() {
    let long = "x".repeat(TEXT_MAX + 1);
    let mad: [&dyn Fn(&mut Announcing); 6] = [
        &|it| it.hear(Some(confined())),
        &|it| it.hear(Some(hello(crate::RELEASE))),
        &|it| it.hear(Some(fares(cdc(), None, Some(&long)))),
        &|it| {
            it.hear(Some(FromAnnouncer::Mdns {
                announced: 0,
                error: Some(long.clone()),
            }));
        },
        &|it| {
            for _ in 0..10_000 {
                it.hear(Some(fares(cdc(), Some(1), None)));
            }
        },
        &|it| it.hear(None),
    ];
    for (case, does) in mad.iter().enumerate() {
        let mut it = told();
        does(&mut it);
        assert!(it.running.is_none(), "{case}");
        assert!(it.restarts.due.is_some(), "{case}");
        let status = it.status().unwrap();
        assert_eq!((status.pid, status.registrations[0].entries), (None, None));
    }
}

#[test]
fn one_that_is_late_or_of_another_release_is_given_up() {
    let mut late = announcing(|channel| drop(channel.receive::<ToAnnouncer>()));
    late.running.as_mut().unwrap().deadline = Some(Instant::now());
    late.is_due();
    assert!(late.running.is_none() && late.restarts.due.is_some());
    let mut other = announcing(|channel| drop(channel.receive::<ToAnnouncer>()));
    other.hear(Some(hello("0.0.0")));
    assert!(other.running.is_none() && other.restarts.due.is_some());
}

#[test]
fn nothing_is_said_of_one_that_is_not_wanted() {
    let mut it = told();
    it.announce(None, LevelFilter::INFO);
    assert_eq!(it.status(), None);
    let running = it.running.as_ref().unwrap();
    assert!(running.stage == Stage::Leaving && running.deadline.is_some());
    // Its last words before it has heard.
    it.hear(Some(fares(cdc(), Some(1), None)));
    it.has_ended(None);
    assert!(it.running.is_none() && it.restarts.due.is_none());
}

#[test]
fn one_that_does_not_listen_keeps_nobody_waiting() {
    let (ends, ended) = bounded::<()>(0);
    let mut deaf = announcing(move |_channel| {
        let _ = ended.recv();
    });
    let begun = Instant::now();
    deaf.hear(Some(hello(crate::RELEASE)));
    deaf.hear(Some(confined()));
    for port in 1..2000 {
        let mut wanted = wanted();
        wanted.services[0].address.set_port(port);
        deaf.announce(Some(wanted), LevelFilter::INFO);
    }
    deaf.stop();
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(ends);
}

#[test]
fn one_that_is_gone_is_given_up_when_that_shows() {
    let mut gone = announcing(drop);
    gone.hear(Some(hello(crate::RELEASE)));
    let said = gone.said().recv().ok();
    gone.hear(said);
    assert!(gone.running.is_none() && gone.restarts.due.is_some());
}
