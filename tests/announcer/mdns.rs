//! Found by multicast DNS, from the first announcement to the goodbye.

use std::net::{Ipv4Addr, TcpListener};

use nvmfd_tests::operator;
use nvmfd_tests::target::Target;

use crate::link::Link;
use crate::scene::{A, Result, announcer, file, serving, until};

/// Where discovery is answered now.
fn port(target: &Target) -> u16 {
    let portals = operator::status(&target.socket()).portals;
    let discovery = portals.into_iter().find(|portal| !portal.io);
    discovery.expect("a listener of discovery").address.port()
}

#[test]
fn discovery_is_found_at_its_port_and_address_until_the_daemon_ends() -> Result {
    let mut link = Link::listen()?;
    let mut target = serving(&file("mdns = true", &[A]));
    let found = link.find(port(&target))?;
    // TP 8009: the transport and the name to connect to.
    let text = [
        ("p", "tcp"),
        ("nqn", "nqn.2014-08.org.nvmexpress.discovery"),
    ];
    let text = text.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    assert_eq!(found.text, text.into());
    assert_eq!(found.addresses, [Ipv4Addr::LOCALHOST].into());
    assert_ne!(
        found.host.split('.').next(),
        nix::unistd::gethostname()?.to_str(),
        "the machine's own name is its responder's"
    );
    until("it is told to be announced", || {
        let mdns = announcer(&target).mdns.expect("it is asked for");
        (mdns.announced == 1 && mdns.error.is_none()).then_some(())
    });
    assert!(target.stop().success());
    link.misses(&found.instance)
}

#[test]
fn a_reload_announces_what_is_there_now() -> Result {
    let mut link = Link::listen()?;
    let first = file("mdns = true", &[A]);
    let target = serving(&first);
    let before = link.find(port(&target))?;
    // Another port: what was there is gone.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let elsewhere = first.replacen("127.0.0.1:0", &free.to_string(), 1);
    target.reload(&elsewhere).map_err(|failure| failure.text)?;
    let after = link.find(free.port())?;
    assert_eq!(after.text, before.text);
    link.misses(&before.instance)?;
    // No listener of its own: the portal answers, and is announced.
    let alone = first.replacen("[\"127.0.0.1:0\"]", "[]", 1);
    target.reload(&alone).map_err(|failure| failure.text)?;
    let portals = operator::status(&target.socket()).portals;
    assert_eq!(portals.len(), 1);
    let portal = link.find(portals[0].address.port())?;
    link.misses(&after.instance)?;
    // Not asked for any more: a goodbye, and the process ends.
    let plan = target
        .reload(&file("", &[A]))
        .map_err(|failure| failure.text)?;
    let step = "no longer announce discovery by multicast DNS";
    assert!(plan.steps.iter().any(|it| it.what == step), "{plan:?}");
    link.misses(&portal.instance)?;
    assert_eq!(operator::status(&target.socket()).announcer, None);
    target.says("nothing is announced any more");
    Ok(())
}

#[test]
fn a_name_of_its_own_is_announced_and_a_reload_changes_it() -> Result {
    let named = |name: &str| file(&format!("mdns = true\nnqn = \"{name}\""), &[A]);
    let [first, second] = ["one", "two"].map(|name| format!("nqn.2014-08.org.example:{name}"));
    let mut link = Link::listen()?;
    let target = serving(&named(&first));
    let nqn = |name: &str| ("nqn".to_owned(), Some(name.to_owned()));
    let before = link.find(port(&target))?;
    assert!(before.text.contains(&nqn(&first)), "{before:?}");
    target
        .reload(&named(&second))
        .map_err(|failure| failure.text)?;
    let after = until("the other name", || {
        let found = link.find(port(&target)).ok()?;
        link.forget_texts();
        found.text.contains(&nqn(&second)).then_some(found)
    });
    assert_eq!(after.instance, before.instance);
    Ok(())
}

#[test]
fn two_daemons_of_one_machine_are_both_found() -> Result {
    let mut link = Link::listen()?;
    let one = serving(&file("mdns = true", &[A]));
    let first = link.find(port(&one))?;
    let other = serving(&file("mdns = true", &[A]));
    let second = link.find(port(&other))?;
    assert_ne!(first.instance, second.instance);
    assert_eq!(second.addresses, [Ipv4Addr::LOCALHOST].into());
    Ok(())
}
