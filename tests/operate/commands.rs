//! What an operator asks and orders, on the control socket.

use nvmf_proto::connect::ConnectReject;
use nvmfd::control::message::{Answer, FailureKind, Mode, Request, Whose};
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, PeerError};
use nvmfd_tests::target::Target;

use crate::scene::{
    A, HEAD, Result, host, name, nqn, pattern, serving, subsystem, subsystem_for, write,
};

fn one() -> String {
    format!("{HEAD}{}", subsystem(A, &[(1, "ram = \"8m\"")]))
}

#[test]
fn status_tells_what_is_served() -> Result {
    let target = serving(&one());
    let _host = host(target.io(), A, 1)?;
    let status = operator::status(&target.socket());
    assert_eq!(status.pid, target.pid());
    assert_eq!(status.config, Some(target.directory().join("nvmfd.toml")));
    let [subsystem] = &status.subsystems[..] else {
        panic!("{status:?}")
    };
    assert_eq!((subsystem.nqn.as_str(), subsystem.mode), (A, Mode::User));
    assert_eq!((subsystem.sessions, &subsystem.hosts), (1, &None));
    let [namespace] = &subsystem.namespaces[..] else {
        panic!("{subsystem:?}")
    };
    assert_eq!((namespace.nsid, namespace.bytes), (1, Some(8 << 20)));
    let io = status.portals.iter().find(|portal| portal.io);
    assert_eq!(io.expect("a portal").address, target.io());
    Ok(())
}

#[test]
fn sessions_tell_who_is_connected_and_what_they_move() -> Result {
    let target = serving(&one());
    let mut host = host(target.io(), A, 7)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    let Answer::Sessions(sessions) = target.ask(Request::Sessions) else {
        panic!("no sessions")
    };
    assert_eq!(sessions.missing, None);
    let [session] = &sessions.sessions[..] else {
        panic!("{sessions:?}")
    };
    assert_eq!((session.mode, session.subsystem.as_str()), (Mode::User, A));
    assert_eq!(session.hostnqn, name(7));
    assert_eq!(session.cntlid, host.admin.cntlid());
    assert_eq!(session.peer, Some(host.admin.local_addr()?));
    assert_eq!(session.io_queues, Some(1));
    assert_eq!(session.header_digest, Some(false));
    let traffic = session.traffic.expect("traffic");
    assert_eq!((traffic.writes, traffic.bytes_written), (1, 8192));
    Ok(())
}

#[test]
fn refusals_tell_why_in_words() -> Result {
    let hosts = format!("hosts = [{:?}]", name(1));
    let text = subsystem_for(A, "user", &hosts, &[(1, "ram = \"8m\"")]);
    let target = serving(&format!("{HEAD}{text}"));
    for number in [2, 3] {
        Host::connect(target.io(), &nqn(A), &HostOptions::named(number)).unwrap_err();
    }
    let Answer::Refusals(refusals) = target.ask(Request::Refusals) else {
        panic!("no refusals")
    };
    assert_eq!(refusals.total, 2);
    let last = refusals.last.last().expect("one");
    assert_eq!(last.hostnqn, Some(name(3)));
    assert_eq!(last.subsystem.as_deref(), Some(A));
    assert!(last.reason.contains("host"), "{}", last.reason);
    Ok(())
}

#[test]
fn sessions_end_when_an_operator_says_so() -> Result {
    let target = serving(&one());
    let mut hosts = Vec::new();
    for number in 1..=3 {
        hosts.push(host(target.io(), A, number)?);
    }
    let terminate = |whose| target.ask(Request::Terminate { whose });
    assert_eq!(terminate(Whose::Host(name(1))), Answer::Terminated(1));
    hosts[0].admin.await_end().unwrap_err();
    let cntlid = hosts[1].admin.cntlid();
    assert_eq!(terminate(Whose::Cntlid(cntlid)), Answer::Terminated(1));
    hosts[1].admin.await_end().unwrap_err();
    assert!(write(&mut hosts[2], 1, 0, pattern(1))?.is_success());
    let nobody = terminate(Whose::Host(name(99)));
    assert!(matches!(nobody, Answer::Failed(it) if it.kind == FailureKind::NotFound));
    target.says("operator");
    Ok(())
}

#[test]
fn draining_lets_those_stay_that_are_there() -> Result {
    let target = serving(&one());
    let mut there = host(target.io(), A, 1)?;
    assert_eq!(target.ask(Request::Drain { on: true }), Answer::Done);
    let refused = Host::connect(target.io(), &nqn(A), &HostOptions::named(2)).unwrap_err();
    assert!(
        matches!(refused, PeerError::Refused(reject) if reject == ConnectReject::BUSY),
        "{refused}"
    );
    assert!(write(&mut there, 1, 0, pattern(1))?.is_success());
    assert!(operator::status(&target.socket()).draining);
    assert_eq!(target.ask(Request::Drain { on: false }), Answer::Done);
    host(target.io(), A, 2)?;
    Ok(())
}

#[test]
fn the_log_becomes_more_or_less_while_it_runs() -> Result {
    let target = serving(&one());
    let level = |level: &str| {
        target.ask(Request::Log {
            level: level.into(),
        })
    };
    assert_eq!(level("error"), Answer::Done);
    drop(host(target.io(), A, 77)?);
    assert_eq!(level("info"), Answer::Done);
    drop(host(target.io(), A, 78)?);
    target.says(&name(78));
    assert!(!target.log().contains(&format!("{} ", name(77))));
    assert!(matches!(level("loud"), Answer::Failed(_)));
    Ok(())
}

#[test]
fn a_daemon_without_a_file_says_that_it_has_none() {
    let target = Target::start();
    let answer = target.ask(Request::Reload);
    assert!(matches!(answer, Answer::Failed(it) if it.kind == FailureKind::NoConfig));
}

#[test]
fn leaving_ends_it_in_order() -> Result {
    let mut target = serving(&one());
    let mut host = host(target.io(), A, 1)?;
    assert_eq!(target.ask(Request::Leave), Answer::Done);
    assert!(target.await_end().success());
    host.admin.await_end().unwrap_err();
    assert!(!target.socket().exists(), "the socket is gone");
    Ok(())
}
