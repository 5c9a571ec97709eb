//! What there is only so much of: who is refused at a bound and what they get, that those who are there do
//! not notice, and that others get in when there is room again.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nvmf_proto::connect::ConnectReject;
use nvmfd::control::message::LimitUse;
use nvmfd::worker::limits::Limit;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, Raw, property};
use nvmfd_tests::target::{Setup, Target};

use crate::scene::{A, HEAD, Result, host, nqn, pattern, read, serving, setup, subsystem, write};

/// A subsystem, and lines of the table that the stories are about.
fn limited(limits: &str) -> String {
    let disk = subsystem(A, &[(1, "ram = \"16m\"")]);
    format!("{HEAD}{disk}\n[limits]\n{limits}\n")
}

/// What an operator is told of a limit.
fn told(target: &Target, limit: Limit) -> LimitUse {
    let told = operator::status(&target.socket()).limits;
    let told = told.into_iter().find(|it| it.limit == limit);
    told.expect("every limit is told of")
}

/// Waits until so much of a limit is used.
fn await_used(target: &Target, limit: Limit, used: u64) {
    let deadline = Instant::now() + PATIENCE;
    while told(target, limit).used != Some(used) {
        let now = told(target, limit);
        assert!(Instant::now() < deadline, "{now:?} instead of {used}");
        std::thread::yield_now();
    }
}

/// A host that works.
fn works(host: &mut Host) -> Result {
    assert!(write(host, 1, 8, pattern(1))?.is_success());
    assert_eq!(read(host, 1, 8, 8192)?, Ok(pattern(1)));
    Ok(())
}

/// Whether the target closes a connection that has said nothing, well before its time is over.
fn is_closed(raw: &Raw) -> bool {
    matches!(raw.stream().read(&mut [0]), Ok(0) | Err(_))
}

fn refused(outcome: std::result::Result<Host, PeerError>) -> ConnectReject {
    match outcome {
        Err(PeerError::Refused(reject)) => reject,
        other => panic!("{other:?}"),
    }
}

#[test]
fn where_connections_are_short_silent_ones_make_room_and_those_served_stay() -> Result {
    let config = limited("connections = 6\nconnections-per-address = 6");
    let target = serving(&config);
    let mut first = host(target.io(), A, 1)?;
    let mut second = host(target.io(), A, 2)?;
    let elsewhere: IpAddr = "127.0.0.2".parse()?;
    let silent = [
        Raw::negotiate_from(elsewhere, target.io())?,
        Raw::negotiate_from(elsewhere, target.io())?,
    ];
    await_used(&target, Limit::Connections, 6);
    assert_eq!(told(&target, Limit::Connections).met, 0);
    // A host is served all the same.
    let mut third = host(target.io(), A, 3)?;
    assert!(silent.iter().all(is_closed));
    await_used(&target, Limit::Connections, 6);
    assert_eq!(told(&target, Limit::Connections).met, 2);
    // All are served now, and one more is not: it learns so at once.
    assert!(Raw::negotiate_from(elsewhere, target.io()).is_err());
    target.says("the limit connections is reached");
    assert_eq!(told(&target, Limit::Connections).met, 3);
    for host in [&mut first, &mut second, &mut third] {
        works(host)?;
    }
    drop(second);
    await_used(&target, Limit::Connections, 4);
    works(&mut host(target.io(), A, 4)?)?;
    // Fewer from now on: nobody is sent away, and nobody new comes.
    target
        .reload(&limited("connections = 3"))
        .expect("a good file");
    await_used(&target, Limit::Connections, 4);
    assert!(Raw::negotiate_from(elsewhere, target.io()).is_err());
    assert_eq!(told(&target, Limit::Connections).met, 4);
    for host in [&mut first, &mut third] {
        works(host)?;
    }
    target.reload(&config).expect("a good file");
    works(&mut host(target.io(), A, 5)?)
}

#[test]
fn an_address_has_so_many_connections_and_others_have_theirs() -> Result {
    let target = serving(&limited("connections-per-address = 3"));
    let silent = Raw::connect(target.io())?;
    await_used(&target, Limit::Connections, 1);
    let mut here = host(target.io(), A, 1)?;
    let admin = Host::connect_admin(target.io(), &nqn(A), &HostOptions::named(2))?;
    assert!(is_closed(&silent), "it made room");
    // All three are served.
    assert!(is_closed(&Raw::connect(target.io())?));
    target.says("the limit connections-per-address is reached");
    let known = told(&target, Limit::ConnectionsPerAddress);
    assert_eq!((known.used, known.most, known.met), (Some(3), 3, 2));
    let elsewhere: IpAddr = "127.0.0.2".parse()?;
    drop(Raw::negotiate_from(elsewhere, target.io())?);
    works(&mut here)?;
    drop(admin);
    await_used(&target, Limit::Connections, 2);
    Host::connect_admin(target.io(), &nqn(A), &HostOptions::named(2))?;
    Ok(())
}

#[test]
fn hosts_beyond_the_limits_of_controllers_are_told_that_all_are_busy() -> Result {
    let target = serving(&limited("controllers = 3\ncontrollers-per-host = 2"));
    let at = target.io();
    let mut first = host(at, A, 1)?;
    let second = host(at, A, 1)?;
    let third = Host::connect(at, &nqn(A), &HostOptions::named(1));
    assert_eq!(refused(third), ConnectReject::BUSY);
    target.says("the limit controllers-per-host is reached");
    let other = host(at, A, 2)?;
    let fourth = Host::connect(at, &nqn(A), &HostOptions::named(3));
    assert_eq!(refused(fourth), ConnectReject::BUSY);
    // Discovery's are controllers, too.
    let discovery = nvmf_proto::nqn::Nqn::discovery();
    let asks = Host::connect_admin(target.discovery(), &discovery, &HostOptions::named(3));
    assert_eq!(refused(asks), ConnectReject::BUSY);
    for (limit, used, met) in [
        (Limit::Controllers, 3, 2),
        (Limit::ControllersPerHost, 2, 1),
    ] {
        let known = told(&target, limit);
        assert_eq!((known.used, known.met), (Some(used), met), "{limit:?}");
    }
    works(&mut first)?;
    drop(second);
    await_used(&target, Limit::Controllers, 2);
    works(&mut host(at, A, 3)?)?;
    // A lower limit sends nobody away.
    target
        .reload(&limited("controllers = 1"))
        .expect("a good file");
    works(&mut first)?;
    let fifth = Host::connect(at, &nqn(A), &HostOptions::named(4));
    assert_eq!(refused(fifth), ConnectReject::BUSY);
    drop(other);
    Ok(())
}

#[test]
fn a_controller_has_the_queues_that_it_was_told_of() -> Result {
    let target = serving(&limited("queues = 2\nqueue-entries = 32"));
    let options = |io_entries| HostOptions {
        io_queues: 0,
        io_entries,
        ..HostOptions::named(1)
    };
    let entries = |host: &mut Host| -> Result<u64> {
        // MQES is 0's based.
        Ok((host.property(property::CAP)? & 0xffff) + 1)
    };
    let mut before = Host::connect(target.io(), &nqn(A), &options(32))?;
    assert_eq!(entries(&mut before)?, 32);
    assert_eq!(before.set_queues(8)?, 2);
    let _first = before.connect_io(1)?;
    let mut greedy = Host::connect(target.io(), &nqn(A), &options(64))?;
    greedy.set_queues(1)?;
    let too_large = greedy.connect_io(1);
    assert!(matches!(
        too_large,
        Err(PeerError::Refused(ConnectReject::SQSIZE))
    ));
    assert!(matches!(
        before.connect_io(3),
        Err(PeerError::Refused(ConnectReject::QID))
    ));
    for (limit, used, most, met) in [(Limit::Queues, 1, 2, 1), (Limit::QueueEntries, 32, 32, 1)] {
        let known = told(&target, limit);
        assert_eq!((known.used, known.most, known.met), (Some(used), most, met));
    }
    let fewer = limited("queues = 1\nqueue-entries = 16");
    target.reload(&fewer).expect("a good file");
    let _second = before.connect_io(2)?;
    let mut after = Host::connect(target.io(), &nqn(A), &options(16))?;
    assert_eq!((entries(&mut after)?, after.set_queues(8)?), (16, 1));
    Ok(())
}

#[test]
fn without_descriptors_hosts_wait_and_get_in_when_others_leave() -> Result {
    // An operator who allows more than there is.
    let config = limited("connections = 500");
    let target = Target::with(&Setup {
        descriptors: Some(80),
        ..setup(&config, None)
    });
    target.says("few descriptors, and every connection takes one");
    let mut there = host(target.io(), A, 1)?;
    let mut crowd = Vec::new();
    while crowd.len() < 100 {
        crowd.push(Raw::connect(target.io())?);
    }
    target.says("every descriptor is taken, and hosts wait");
    works(&mut there)?;
    assert_eq!(told(&target, Limit::Descriptors).met, 1);
    assert_eq!(told(&target, Limit::Descriptors).most, 80);
    let spent = processor_time(&target);
    // One that waits is served once some of the crowd have gone.
    let at = target.io();
    let waits = std::thread::spawn(move || connect_late(at));
    std::thread::sleep(BUSY);
    works(&mut there)?;
    if let (Some(before), Some(now)) = (spent, processor_time(&target)) {
        assert!(now - before < BUSY / 2, "it is busy with waiting");
    }
    assert!(!waits.is_finished());
    drop(crowd);
    waits.join().expect("no panic")?;
    target.says("connections are taken in again");
    let lines = target.log();
    assert_eq!(lines.matches("every descriptor is taken").count(), 1);
    works(&mut there)?;
    // Whoever allows more is told at once.
    let more = limited("connections = 600");
    let plan = target.plan(&more).expect("a good file");
    assert!(plan.warnings[0].starts_with("few descriptors"), "{plan:?}");
    Ok(())
}

/// A host that has its work done; it may wait for it.
fn connect_late(at: SocketAddr) -> std::result::Result<(), PeerError> {
    let mut late = Host::connect(at, &nqn(A), &HostOptions::named(2))?;
    assert!(late.io[0].write(8, pattern(2))?.is_success());
    Ok(())
}

/// How long an acceptor that spun would be seen to.
const BUSY: Duration = Duration::from_millis(1500);

/// What the worker has used of a processor; `None` where there is no /proc.
fn processor_time(target: &Target) -> Option<Duration> {
    let path = format!("/proc/{}/stat", target.worker());
    let stat = std::fs::read_to_string(path).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).take(2);
    let mut next = || ticks.next()?.parse::<u64>().ok();
    // A tick is 10 ms, whatever the kernel's own clock has.
    Some(Duration::from_millis(10 * (next()? + next()?)))
}

#[test]
fn a_flood_of_refusals_fills_no_log() -> Result {
    let target = serving(&format!("{}\n[log]\nrate = 1\n", limited("")));
    let mut there = host(target.io(), A, 1)?;
    for _ in 0..300 {
        let mut raw = Raw::connect(target.io())?;
        raw.send(&[0xff; 128])?;
        raw.termination(0)?;
    }
    target.says("more lines of hosts were left out");
    let log = target.log();
    // Forty at once, and one for each second that the flood took.
    let lines = log.lines().filter(|it| it.contains("refused peer")).count();
    assert!((40..80).contains(&lines), "{lines} lines");
    let left_out: usize = log
        .lines()
        .filter_map(|line| {
            line.split_once(" more lines of hosts")?
                .0
                .rsplit(' ')
                .next()
        })
        .map(|count| count.parse::<usize>().expect("a number"))
        .sum();
    assert_eq!(lines + left_out, 300);
    // Another kind is told of as ever.
    drop(host(target.io(), A, 77)?);
    target.says("host=nqn.2014-08.org.example:host77");
    works(&mut there)
}

#[test]
fn a_host_without_a_keep_alive_timer_is_asked_by_tcp_whether_it_is_there() -> Result {
    let target = serving(&limited(""));
    let host = host(target.io(), A, 1)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Some(timers) = timers(target.io()) else {
            eprintln!("SKIPPED: this system has no /proc to look for the timers of connections in");
            return Ok(());
        };
        assert_eq!(timers.len(), 2, "an admin queue and an I/O queue");
        if timers.iter().all(|it| it.starts_with(KEEPALIVE)) {
            break;
        }
        // An acknowledgement is still to come.
        assert!(Instant::now() < deadline, "{timers:?}");
        std::thread::yield_now();
    }
    drop(host);
    Ok(())
}

/// What the kernel waits for on the connections that are there at this address, and for how long.
fn timers(at: SocketAddr) -> Option<Vec<String>> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    // Local address, remote address, state, queues, timer.
    let port = format!(":{:04X}", at.port());
    let rows = table.lines().map(|it| it.split_whitespace().collect());
    let ours = rows.filter(|row: &Vec<_>| row[1].ends_with(&port) && row[3] == ESTABLISHED);
    Some(ours.map(|row| row[5].to_owned()).collect())
}

/// What /proc/net/tcp calls a connection that is there, and one whose peer will be asked.
const ESTABLISHED: &str = "01";
const KEEPALIVE: &str = "02:";
