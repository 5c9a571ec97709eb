//! What an operator sees of it, and has to say.

use std::process::Command;

use nvmfd::control::message::Effect;
use nvmfd::os::Fence;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions};
use nvmfd_tests::target::{Setup, Target, binary, configuration};

use crate::scene::{Result, poorer, told};

fn confinement(target: &Target) -> nvmfd::confinement::Confinement {
    operator::status(&target.socket()).worker.confinement
}

fn with(arguments: &[&str]) -> Setup {
    Setup {
        arguments: arguments.iter().map(|&it| it.into()).collect(),
        ..Setup::default()
    }
}

/// As on a kernel without it; nothing where that cannot be played.
fn without(what: &str, arguments: &[&str]) -> Result<Option<Setup>> {
    let starter = poorer(what)?;
    Ok(starter.map(|starter| Setup {
        starter,
        ..with(arguments)
    }))
}

fn serves(target: &Target) -> Result {
    let host = Host::connect(target.io(), &target.nqn(), &HostOptions::named(1));
    host?.keep_alive()?;
    Ok(())
}

#[test]
fn what_confines_the_worker_is_logged_and_shown() {
    let target = Target::start();
    target.says("the worker is confined");
    let confinement = confinement(&target);
    assert!(confinement.is_confined(), "{confinement:?}");
    assert_eq!(confinement.user.is_some(), nix::unistd::geteuid().is_root());
    let worker = target.worker();
    if let Some(seccomp) = told(worker, "Seccomp") {
        assert_eq!(seccomp, "2", "a filter");
        assert_eq!(told(worker, "NoNewPrivs").as_deref(), Some("1"));
        assert_eq!(
            told(target.pid(), "Seccomp").as_deref(),
            Some("0"),
            "the monitor"
        );
    }
}

#[test]
fn a_worker_that_root_starts_is_nobody_and_has_no_group_and_no_privilege() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("NOT RUN: becoming another user, which needs root");
        return;
    }
    let target = Target::start();
    assert_eq!(confinement(&target).user.as_deref(), Some("nobody"));
    let worker = target.worker();
    let Some(users) = told(worker, "Uid") else {
        eprintln!("NOT RUN: who the worker is to the system: there is no /proc");
        return;
    };
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
    let nobody = nobody.map_or((65534, 65534), |it| (it.uid.as_raw(), it.gid.as_raw()));
    let four_times = |id: u32| [(); 4].map(|()| id.to_string()).join("\t");
    assert_eq!(users, four_times(nobody.0));
    assert_eq!(told(worker, "Gid"), Some(four_times(nobody.1)));
    assert_eq!(told(worker, "Groups"), Some(nobody.1.to_string()));
    for kind in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(
            told(worker, kind).as_deref(),
            Some("0000000000000000"),
            "{kind}"
        );
    }
}

#[test]
fn what_is_switched_off_is_off_and_said() -> Result {
    let target = Target::with(&with(&["--confine", "off", "--user", "root"]));
    target.says("the worker is not confined");
    let confinement = confinement(&target);
    assert!(confinement.fences.is_empty() && confinement.user.is_none());
    assert!(matches!(
        told(target.worker(), "Seccomp").as_deref(),
        None | Some("0")
    ));
    serves(&target)
}

#[test]
fn the_file_says_it_and_the_next_start_heeds_it() {
    let file = |sandbox: &str| configuration("ram = \"8m\"", &format!("[sandbox]\n{sandbox}"));
    let setup = Setup {
        config: Some(file("confine = \"off\"\nuser = \"root\"\n")),
        ..Setup::default()
    };
    let target = Target::with(&setup);
    assert!(!confinement(&target).is_confined());
    let plan = target.reload(&file("")).unwrap();
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|it| (it.what.as_str(), it.effect))
        .collect();
    assert_eq!(steps, [("confine the worker otherwise", Effect::NextStart)]);
    assert!(!confinement(&target).is_confined());
}

#[test]
fn a_user_who_is_not_there_is_no_one_to_be() -> Result {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("NOT RUN: becoming another user, which needs root");
        return Ok(());
    }
    let mut command = Command::new(binary());
    command.args(["-d", "--user", "no-such-user", "ramdisk:1m"]);
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(67));
    let told = String::from_utf8(output.stderr)?;
    assert!(told.contains("there is no user no-such-user"), "{told}");
    Ok(())
}

#[test]
fn without_a_filter_it_does_not_serve_unless_it_is_told_to() -> Result {
    let Some(setup) = without("seccomp", &[])? else {
        return Ok(());
    };
    let mut command = Command::new(&setup.starter[0]);
    command.arg("seccomp").arg(binary());
    let output = command
        .args(["-d", "-p", "0", "-P", "0", "ramdisk:1m"])
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(71), "{said}");
    assert!(said.contains("the worker cannot be confined"), "{said}");
    assert!(said.contains("--confine if-possible"), "{said}");

    let Some(setup) = without("seccomp", &["--confine", "if-possible"])? else {
        return Ok(());
    };
    let target = Target::with(&setup);
    target.says("NOT confined");
    let confinement = confinement(&target);
    assert!(!confinement.is_confined() && !confinement.lacks.is_empty());
    serves(&target)
}

#[test]
fn without_landlock_it_serves_and_says_so() -> Result {
    let Some(setup) = without("landlock", &[])? else {
        return Ok(());
    };
    let target = Target::with(&setup);
    target.says("confined by less than it should be");
    let confinement = confinement(&target);
    assert_eq!(confinement.fences, [Fence::SystemCallFilter]);
    assert!(
        confinement.lacks[0].starts_with("Landlock: "),
        "{confinement:?}"
    );
    serves(&target)
}
