//! Who may use what changes, and the operator has a word.

use std::time::Duration;

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::nqn::Nqn;
use nvmfd::control::message::{Mode, Whose};
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, discover};

use crate::stage::{
    DISCOVERY_CHANGED, NQN, Result, Stage, Wish, discovery, event, listen, only, ram,
    was_told_nothing,
};

fn refusal<T>(result: Result<T>) -> ConnectReject {
    match result {
        Err(PeerError::Refused(reject)) => reject,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was served"),
    }
}

fn ended(host: &mut Host) -> bool {
    let mut queues = host.io.iter_mut().chain([&mut host.admin]);
    queues.all(|queue| match queue.await_end() {
        Err(PeerError::Closed) => true,
        Err(PeerError::Io(error)) => error.kind() == std::io::ErrorKind::ConnectionReset,
        Err(other) => panic!("{other}"),
    })
}

#[test]
fn a_host_that_is_taken_off_the_list_keeps_what_it_has_and_gets_nothing_new() -> Result {
    let mut stage = Stage::start();
    let (first, second) = (HostOptions::named(1), HostOptions::named(2));
    let mut host = stage.connect(&first)?;
    stage.subsystem().hosts = only(&second);
    stage.apply();
    assert!(host.io[0].write(0, vec![1; 512])?.is_success());
    assert_eq!(refusal(host.connect_io(2)), ConnectReject::HOST);
    assert_eq!(refusal(stage.connect(&first)), ConnectReject::HOST);
    assert!(stage.connect(&second).is_ok());
    let seen = |options| Ok::<_, PeerError>(discover(stage.address(2), options)?.len());
    assert_eq!((seen(&first)?, seen(&second)?), (1, 2));
    let refusals = stage.worker().refusals();
    assert_eq!((refusals.total, refusals.last.len()), (2, 2));
    let last = &refusals.last[1];
    assert_eq!(last.hostnqn.as_deref(), Some(first.hostnqn.as_str()));
    assert_eq!((last.subsystem.as_deref(), last.qid), (Some(NQN), Some(0)));
    assert!(last.reason.contains("invalid host"), "{}", last.reason);
    Ok(())
}

#[test]
fn a_host_that_is_taken_off_the_list_is_sent_away_where_that_is_wanted() -> Result {
    let mut stage = Stage::start();
    let (first, second) = (HostOptions::named(1), HostOptions::named(2));
    let mut gone = stage.connect(&first)?;
    let mut stays = stage.connect(&second)?;
    stage.subsystem().terminate_on_revoke = true;
    stage.subsystem().hosts = only(&second);
    stage.apply();
    assert!(ended(&mut gone));
    assert!(stays.io[0].write(0, vec![1; 512])?.is_success());
    Ok(())
}

#[test]
fn a_subsystem_that_goes_takes_its_hosts_along_and_another_of_its_name_is_another() -> Result {
    let mut stage = Stage::start();
    let options = HostOptions::default();
    let mut host = stage.connect(&options)?;
    let mut looking = discovery(&stage, &options)?;
    let told = listen(&mut looking)?;
    stage.subsystem().engine = Wish::user([ram(1, 1 << 20)]);
    stage.apply();
    assert!(ended(&mut host));
    was_told_nothing(&mut looking)?;
    let mut host = stage.connect(&options)?;
    let removed = stage.subsystems.remove(0);
    stage.apply();
    assert!(ended(&mut host));
    assert_eq!(event(&mut looking, told)?, DISCOVERY_CHANGED);
    assert_eq!(refusal(stage.connect(&options)), ConnectReject::SUBNQN);
    drop(removed);
    Ok(())
}

#[test]
fn only_hosts_that_see_something_new_are_told_of_it() -> Result {
    let mut stage = Stage::start();
    let (first, second) = (HostOptions::named(1), HostOptions::named(2));
    stage.subsystem().hosts = only(&first);
    stage.apply();
    let (mut one, mut two) = (discovery(&stage, &first)?, discovery(&stage, &second)?);
    let (told_one, told_two) = (listen(&mut one)?, listen(&mut two)?);
    stage.subsystem().terminate_on_revoke = true;
    stage.apply();
    was_told_nothing(&mut one)?;
    was_told_nothing(&mut two)?;
    stage.subsystem().hosts = nvmfd::config::model::Hosts::Any;
    stage.apply();
    assert_eq!(event(&mut two, told_two)?, DISCOVERY_CHANGED);
    was_told_nothing(&mut one)?;
    stage.subsystems.clear();
    stage.apply();
    assert_eq!(event(&mut one, told_one)?, DISCOVERY_CHANGED);
    Ok(())
}

#[test]
fn while_draining_no_host_is_new_and_none_loses_anything() -> Result {
    let stage = Stage::start();
    let without_queues = HostOptions {
        io_queues: 0,
        ..HostOptions::named(1)
    };
    let host = stage.connect(&without_queues)?;
    stage.worker().drain(true);
    let second = HostOptions::named(2);
    assert_eq!(refusal(stage.connect(&second)), ConnectReject::BUSY);
    assert_eq!(discover(stage.address(2), &second)?.len(), 2);
    let mut queue = host.connect_io(1)?;
    assert!(queue.write(0, vec![1; 512])?.is_success());
    stage.worker().drain(false);
    assert!(stage.connect(&second).is_ok());
    Ok(())
}

#[test]
fn an_operator_sees_who_is_connected_and_ends_whom_he_wants() -> Result {
    let stage = Stage::start();
    let options = HostOptions {
        header_digest: true,
        io_queues: 2,
        kato: Duration::from_secs(30),
        ..HostOptions::named(1)
    };
    let mut one = stage.connect(&options)?;
    let mut two = stage.connect(&HostOptions::named(2))?;
    let mut looking = discovery(&stage, &HostOptions::named(2))?;
    assert!(one.io[1].write(0, vec![1; 1024])?.is_success());
    let sessions = stage.worker().sessions();
    let modes: Vec<_> = sessions.iter().map(|it| it.mode).collect();
    assert_eq!(modes, [Mode::User, Mode::User, Mode::Discovery]);
    let session = &sessions[0];
    assert_eq!(session.cntlid, one.admin.cntlid());
    assert_eq!(session.subsystem, NQN);
    assert_eq!(session.hostnqn, options.hostnqn.as_str());
    assert_eq!(
        session.hostid.as_deref(),
        Some("22000000010000000000000000000001")
    );
    assert_eq!(session.peer, one.admin.local_addr().ok());
    assert_eq!(session.local, Some(stage.address(1)));
    assert_eq!(session.io_queues, Some(2));
    let digests = (session.header_digest, session.data_digest);
    assert_eq!(digests, (Some(true), Some(false)));
    assert_eq!(session.kato, Some(30_000));
    assert!(session.idle <= session.age && session.age.is_some());
    let traffic = session.traffic.expect("it is known");
    assert_eq!((traffic.writes, traffic.bytes_written), (1, 1024));
    assert_eq!(sessions[2].subsystem, Nqn::discovery().as_str());

    let worker = stage.worker();
    assert_eq!(worker.terminate(&Whose::Cntlid(one.admin.cntlid())), 1);
    assert!(ended(&mut one));
    assert!(two.io[0].write(0, vec![1; 512])?.is_success());
    let name = HostOptions::named(2).hostnqn.to_string();
    assert_eq!(worker.terminate(&Whose::Host(name.clone())), 2);
    assert!(ended(&mut two) && ended(&mut looking));
    let deadline = std::time::Instant::now() + PATIENCE;
    while !worker.sessions().is_empty() {
        assert!(std::time::Instant::now() < deadline, "sessions stay");
        std::thread::yield_now();
    }
    assert_eq!(worker.terminate(&Whose::Host(name)), 0);
    Ok(())
}
