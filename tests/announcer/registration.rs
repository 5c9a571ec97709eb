//! Registered with a Centralized Discovery Controller, whatever it does.

use std::time::Duration;

use nvmfd_tests::operator;
use nvmfd_tests::target::Target;

use crate::cdc::{Cdc, Manners};
use crate::dim::{Entry, Task};
use crate::scene::{A, Result, announcer, file, registration, serving, until};

const B: &str = "nqn.2014-08.org.example:b";

/// What a CDC must know of a subsystem that `target` serves.
fn entry(target: &Target, nqn: &str) -> Entry {
    let portals = operator::status(&target.socket()).portals;
    let portal = portals.iter().find(|it| it.io).expect("a portal");
    Entry {
        nqn: nqn.into(),
        address: portal.address,
        portid: portal.portid,
        label: None,
    }
}

#[test]
fn what_is_served_is_registered_changed_by_a_reload_and_taken_back_at_the_end() -> Result {
    let cdc = Cdc::start(Manners::Good);
    let mut target = serving(&file(&cdc.key(), &[A]));
    assert_eq!(cdc.await_entries(1), [entry(&target, A)]);
    let (host, kato) = cdc.last_host();
    assert!(
        host.starts_with("nqn.2014-08.org.nvmexpress:uuid:"),
        "{host}"
    );
    assert_eq!(kato, Duration::from_secs(30));
    let first = &cdc.commands()[0];
    let [eid, ename, ever] = &first.entity;
    assert_eq!((first.task, eid), (Task::Register, &host));
    assert_eq!(Some(ename.as_str()), nix::unistd::gethostname()?.to_str());
    assert_eq!(ever, &format!("nvmfd {}", nvmfd::RELEASE));
    let known = until("it is told", || {
        Some(registration(&target)).filter(|it| it.entries == Some(1))
    });
    assert!(known.since.is_some() && known.error.is_none(), "{known:?}");

    let reload = |text: &str| target.reload(text).map_err(|failure| failure.text);
    reload(&file(&cdc.key(), &[A, B]))?;
    assert_eq!(cdc.await_entries(2), [entry(&target, A), entry(&target, B)]);
    reload(&file(&cdc.key(), &[B]))?;
    assert_eq!(cdc.await_entries(1), [entry(&target, B)]);
    // Only what has changed is told, over the same connection.
    let told: Vec<_> = cdc
        .commands()
        .iter()
        .map(|it| (it.task, it.entries.len()))
        .collect();
    let expected = [
        (Task::Register, 1),
        (Task::Register, 1),
        (Task::Deregister, 1),
    ];
    assert_eq!(told, expected);
    assert_eq!(cdc.connections(), 1);

    assert!(target.stop().success());
    assert!(cdc.entries().is_empty() && cdc.shutdowns() == 1);
    Ok(())
}

#[test]
fn names_and_labels_are_told_and_a_label_that_changes_replaces_the_other() -> Result {
    let cdc = Cdc::start(Manners::Good);
    let own = "nqn.2014-08.org.example:discovery";
    let discovery = format!("{}\nnqn = \"{own}\"", cdc.key());
    let labelled = |label: &str| {
        let label = format!("allow-any-host = true\nlabel = \"{label}\"");
        file(&discovery, &[A]).replace("allow-any-host = true", &label)
    };
    let target = serving(&labelled("rack 7"));
    let with = |label: &str| Entry {
        label: Some(label.into()),
        ..entry(&target, A)
    };
    assert_eq!(cdc.await_entries(1), [with("rack 7")]);
    assert_eq!(cdc.last_host().0, own);
    // The entries are the machine's, whatever the service is called.
    let eid = &cdc.commands()[0].entity[0];
    assert!(eid.starts_with("nqn.2014-08.org.nvmexpress:uuid:"), "{eid}");
    target.reload(&labelled("rack 8")).map_err(|it| it.text)?;
    until("the other label", || {
        (cdc.entries() == [with("rack 8")]).then_some(())
    });
    let tasks: Vec<Task> = cdc.commands().iter().map(|it| it.task).collect();
    assert_eq!(tasks, [Task::Register, Task::Register]);
    // By another name of ours: the old one takes its entries back.
    let renamed = labelled("rack 8").replace(own, "nqn.2014-08.org.example:other");
    target.reload(&renamed).map_err(|it| it.text)?;
    until("the other name", || {
        (cdc.last_host().0 == "nqn.2014-08.org.example:other").then_some(())
    });
    until("the entry", || {
        (cdc.entries() == [with("rack 8")] && cdc.shutdowns() == 1).then_some(())
    });
    Ok(())
}

#[test]
fn who_is_taken_out_of_the_file_is_left_in_order() -> Result {
    let (one, other) = (Cdc::start(Manners::Good), Cdc::start(Manners::Good));
    let both = format!("register = [\"{}\", \"{}\"]", one.address, other.address);
    let target = serving(&file(&both, &[A]));
    one.await_entries(1);
    other.await_entries(1);
    let plan = target
        .reload(&file(&other.key(), &[A]))
        .map_err(|it| it.text)?;
    let step = format!("deregister from {}", one.address);
    assert!(plan.steps.iter().any(|it| it.what == step), "{plan:?}");
    one.await_entries(0);
    until("a shutdown", || (one.shutdowns() == 1).then_some(()));
    assert_eq!(registration(&target).cdc, other.address);
    target.reload(&file("", &[A])).map_err(|it| it.text)?;
    other.await_entries(0);
    target.says("nothing is announced any more");
    assert_eq!(operator::status(&target.socket()).announcer, None);
    Ok(())
}

#[test]
fn who_is_left_and_wanted_again_knows_us_in_the_end() -> Result {
    let cdc = Cdc::start(Manners::Good);
    let (with, without) = (file(&cdc.key(), &[A]), file("mdns = true", &[A]));
    let target = serving(&with);
    cdc.await_entries(1);
    for _ in 0..5 {
        for text in [&without, &with] {
            target.reload(text).map_err(|it| it.text)?;
        }
    }
    // A command after the last reload, and what all of them come to.
    target
        .reload(&file(&cdc.key(), &[A, B]))
        .map_err(|it| it.text)?;
    cdc.await_entries(2);
    until("it is told", || {
        Some(registration(&target)).filter(|it| it.entries == Some(2))
    });
    assert_eq!(cdc.await_entries(2), [entry(&target, A), entry(&target, B)]);
    Ok(())
}

#[test]
fn many_subsystems_are_registered_in_as_many_commands_as_it_takes() -> Result {
    let names: Vec<String> = (0..40)
        .map(|n| format!("nqn.2014-08.org.example:s{n:02}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cdc = Cdc::start(Manners::Good);
    let target = serving(&file(&cdc.key(), &names));
    let expected: Vec<Entry> = names.iter().map(|nqn| entry(&target, nqn)).collect();
    assert_eq!(cdc.await_entries(40), expected);
    assert_eq!(cdc.commands().len(), 3, "14 entries fit 16 KiB");
    Ok(())
}

#[test]
fn a_cdc_that_refuses_is_asked_again_and_its_reason_told() -> Result {
    let cdc = Cdc::start(Manners::Refusing);
    let target = serving(&file(&cdc.key(), &[A]));
    let error = until("a refusal", || registration(&target).error);
    assert!(
        error.contains("insufficient discovery resources"),
        "{error}"
    );
    target.says("insufficient discovery resources");
    until("another attempt", || (cdc.connections() >= 2).then_some(()));
    cdc.behave(Manners::Good);
    cdc.await_entries(1);
    let fares = until("it is told", || {
        Some(registration(&target)).filter(|it| it.entries.is_some())
    });
    assert_eq!(fares.error, None);
    Ok(())
}

#[test]
fn whatever_a_cdc_does_the_daemon_serves_and_tries_again_with_pauses() -> Result {
    for manners in [Manners::Closing, Manners::Babbling] {
        let cdc = Cdc::start(manners);
        let mut target = serving(&file(&cdc.key(), &[A]));
        until("an error", || registration(&target).error);
        until("another attempt", || (cdc.connections() >= 2).then_some(()));
        // The first pause is a second, and the next one two.
        assert!(cdc.connections() <= 3, "{manners:?}");
        assert!(std::net::TcpStream::connect(target.io()).is_ok());
        assert!(announcer(&target).pid.is_some(), "{manners:?}");
        assert!(target.stop().success());
    }
    Ok(())
}

#[test]
fn a_silent_cdc_keeps_nobody_waiting() -> Result {
    let (silent, good) = (Cdc::start(Manners::Silent), Cdc::start(Manners::Good));
    let both = format!("register = [\"{}\", \"{}\"]", silent.address, good.address);
    let mut target = serving(&file(&both, &[A]));
    good.await_entries(1);
    target.reload(&file(&both, &[A, B])).map_err(|it| it.text)?;
    good.await_entries(2);
    let error = until("its silence is told", || {
        let registrations = announcer(&target).registrations;
        let silent = registrations
            .into_iter()
            .find(|it| it.cdc == silent.address);
        silent.expect("it is in the file").error
    });
    assert!(error.contains("does not answer"), "{error}");
    assert!(target.stop().success());
    assert!(good.entries().is_empty());
    Ok(())
}

#[test]
fn a_cdc_that_comes_later_or_again_knows_us() -> Result {
    let first = Cdc::start(Manners::Good);
    let address = first.address;
    drop(first);
    let target = serving(&file(&format!("register = [\"{address}\"]"), &[A]));
    until("an error", || registration(&target).error);
    let cdc = Cdc::start_at(address, Manners::Good);
    cdc.await_entries(1);
    // It loses its connections, and all that it knew.
    drop(cdc);
    until("the loss is noticed", || registration(&target).error);
    let cdc = Cdc::start_at(address, Manners::Good);
    assert_eq!(cdc.await_entries(1), [entry(&target, A)]);
    until("it is told", || registration(&target).entries);
    Ok(())
}
