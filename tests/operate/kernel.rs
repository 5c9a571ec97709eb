//! Reloads and upgrades in kernel mode, over the fake kernel: what its hosts do goes on.

use std::fs;

use nvmf_proto::nqn::DISCOVERY_NQN;
use nvmfd::control::message::{Answer, Effect, Mode, Request, Whose};
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::{Host, HostOptions};
use nvmfd_tests::target::Target;

use crate::discovery::{is_told, is_told_nothing, looking, seen};
use crate::scene::{
    A, B, HEAD, Result, await_events, blocks, changed, host, name, namespaces, nqn, pattern, read,
    setup, subsystem, subsystem_for, write,
};

fn in_kernel(nqn: &str, namespaces: &[(u32, &str)]) -> String {
    subsystem_for(nqn, "kernel", "allow-any-host = true", namespaces)
}

fn serving(kernel: &Kernel, config: &str) -> Target {
    Target::with(&setup(config, Some(kernel.socket().to_owned())))
}

fn ours(kernel: &Kernel) -> (usize, usize) {
    let ports = kernel.ctl().ports().unwrap().ports;
    let ports = ports.iter().filter(|port| port.frontend == "nvmf").count();
    (ports, kernel.ctl().luns().unwrap().luns.len())
}

/// The namespaces of its only port. The fake's hosts see them when the port is enabled.
fn mapped(kernel: &Kernel) -> Vec<u32> {
    let ports = kernel.ctl().ports().unwrap().ports;
    let mut maps = ports.into_iter().filter_map(|port| port.lun_map);
    let map = maps.next().expect("a map");
    map.keys().map(|plun| plun + 1).collect()
}

#[test]
fn a_namespace_comes_and_goes_and_io_goes_on() -> Result {
    let kernel = Kernel::start();
    let file = |list: &[(u32, &str)]| format!("{HEAD}{}", in_kernel(A, list));
    let target = serving(&kernel, &file(&[(1, "ram = \"8m\"")]));
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    let after = file(&[(1, "ram = \"8m\""), (2, "ram = \"16m\"")]);
    let planned = target.plan(&after).unwrap();
    assert_eq!(ours(&kernel), (1, 1), "a plan changes nothing");
    let done = target.reload(&after).unwrap();
    assert_eq!(planned, done, "the plan says what a reload does");
    assert!(done.steps.iter().all(|it| it.effect <= Effect::Notice));
    assert_eq!(ours(&kernel), (1, 2));
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)));
    target.reload(&file(&[(1, "ram = \"8m\"")])).unwrap();
    assert_eq!(ours(&kernel), (1, 1));
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)));
    assert!(
        target
            .reload(&file(&[(1, "ram = \"8m\"")]))
            .unwrap()
            .steps
            .is_empty()
    );
    kernel.is_well();
    Ok(())
}

#[test]
fn discovery_shows_the_kernel_s_subsystems_to_their_hosts_and_tells_them_of_changes() -> Result {
    let kernel = Kernel::start();
    let ram = &[(1, "ram = \"8m\"")];
    let one = format!("{HEAD}{}", in_kernel(A, ram));
    let list = format!("hosts = [{:?}]", name(1));
    let two = one.clone() + &subsystem_for(B, "kernel", &list, ram);
    let target = serving(&kernel, &one);
    let at = target.discovery();
    let mut can = looking(at, DISCOVERY_NQN, 1)?;
    let mut cannot = looking(at, DISCOVERY_NQN, 2)?;
    let (generation, names) = seen(&mut can)?;
    assert_eq!(names, [A]);
    let told = await_events(&mut can)?;
    await_events(&mut cannot)?;
    target.reload(&two).unwrap();
    is_told(&mut can, told)?;
    assert_eq!(seen(&mut can)?, (generation + 1, vec![A.into(), B.into()]));
    is_told_nothing(&mut cannot)?;
    assert_eq!(seen(&mut cannot)?, (generation, vec![A.into()]));
    // Whoever is told finds it served.
    let mut host = host(target.io(), B, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    let told = await_events(&mut can)?;
    target.reload(&one).unwrap();
    is_told(&mut can, told)?;
    assert_eq!(seen(&mut can)?, (generation + 2, vec![A.into()]));
    is_told_nothing(&mut cannot)?;
    kernel.is_well();
    Ok(())
}

#[test]
fn a_file_that_has_grown_is_larger_to_hosts_that_look_and_nobody_is_told() -> Result {
    let kernel = Kernel::start();
    let directory = tempfile::tempdir()?;
    let image = directory.path().join("image");
    fs::File::create(&image)?.set_len(4 << 20)?;
    let path = format!("path = {:?}", image.display().to_string());
    let text = format!("{HEAD}{}", in_kernel(A, &[(1, &path)]));
    let target = serving(&kernel, &text);
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 16, pattern(7))?.is_success());
    let file = fs::OpenOptions::new().write(true).open(&image)?;
    file.set_len(8 << 20)?;
    let plan = target.reload(&text).unwrap();
    let effects: Vec<_> = plan.steps.iter().map(|it| it.effect).collect();
    assert_eq!(effects, [Effect::NewConnections], "{plan:?}");
    assert_eq!(blocks(&mut host, 1)?, 16384);
    assert!(write(&mut host, 1, 16384 - 16, pattern(8))?.is_success());
    assert_eq!(read(&mut host, 1, 16, 8192)?, Ok(pattern(7)));
    assert_eq!(ours(&kernel), (1, 1));
    kernel.is_well();
    Ok(())
}

#[test]
fn a_subsystem_in_the_kernel_comes_beside_one_in_user_mode() -> Result {
    let kernel = Kernel::start();
    let user = format!("{HEAD}{}", subsystem(A, &[(1, "ram = \"8m\"")]));
    let both = format!("{user}{}", in_kernel(B, &[(1, "ram = \"8m\"")]));
    let mut target = serving(&kernel, &user);
    let mut first = host(target.io(), A, 1)?;
    let request = await_events(&mut first)?;
    target.reload(&both).unwrap();
    let mut second = host(target.io(), B, 2)?;
    assert!(write(&mut second, 1, 0, pattern(2))?.is_success());
    assert!(write(&mut first, 1, 0, pattern(1))?.is_success());
    let Answer::Sessions(sessions) = target.ask(Request::Sessions) else {
        panic!("no sessions")
    };
    let modes: Vec<_> = sessions.sessions.iter().map(|it| it.mode).collect();
    assert_eq!(modes, [Mode::User, Mode::Kernel]);
    let traffic = sessions.sessions[1].traffic.expect("the kernel counts");
    assert_eq!((traffic.writes, traffic.bytes_written), (1, 8192));
    let status = nvmfd_tests::operator::status(&target.socket());
    let counted: Vec<_> = status.subsystems.iter().map(|it| it.traffic).collect();
    assert_eq!(counted, [None, Some(traffic)]);
    // The other way round: A moves into the kernel, B out of it.
    let swapped = format!(
        "{HEAD}{}{}",
        in_kernel(A, &[(1, "ram = \"8m\"")]),
        subsystem(B, &[(1, "ram = \"8m\"")])
    );
    let plan = target.reload(&swapped).unwrap();
    assert!(plan.steps.iter().any(|it| it.effect == Effect::Disconnects));
    first.admin.await_answer(request).unwrap_err();
    second.keep_alive().unwrap_err();
    let mut first = host(target.io(), A, 1)?;
    let mut second = host(target.io(), B, 2)?;
    assert!(write(&mut first, 1, 0, pattern(3))?.is_success());
    assert!(write(&mut second, 1, 0, pattern(4))?.is_success());
    assert_eq!(namespaces(&mut second)?, [1]);
    assert!(target.stop().success(), "{}", target.log());
    assert_eq!(ours(&kernel), (0, 0));
    kernel.is_well();
    Ok(())
}

#[test]
fn an_upgrade_leaves_every_association_running_and_exports_nothing_twice() -> Result {
    let kernel = Kernel::start();
    let directory = tempfile::tempdir()?;
    let image = directory.path().join("image");
    fs::File::create(&image)?.set_len(8 << 20)?;
    let path = format!("path = {:?}", image.display().to_string());
    let text = format!("{HEAD}{}", in_kernel(A, &[(1, &path), (2, "ram = \"8m\"")]));
    let mut old = serving(&kernel, &text);
    let mut host = host(old.io(), A, 1)?;
    assert!(write(&mut host, 2, 0, pattern(5))?.is_success());
    assert_eq!(old.ask(Request::Leave), Answer::Done);
    assert!(old.await_end().success(), "{}", old.log());
    assert_eq!(ours(&kernel), (1, 2), "what the kernel serves stays");
    assert_eq!(read(&mut host, 2, 0, 8192)?, Ok(pattern(5)), "no daemon");
    let new = serving(&kernel, &text);
    new.says("adopted");
    assert_eq!(ours(&kernel), (1, 2));
    assert_eq!(read(&mut host, 2, 0, 8192)?, Ok(pattern(5)));
    let mut another = crate::scene::host(new.io(), A, 2)?;
    assert_eq!(read(&mut another, 2, 0, 8192)?, Ok(pattern(5)));
    kernel.is_well();
    Ok(())
}

#[test]
fn a_worker_that_dies_is_no_matter_to_the_kernel_s_hosts() -> Result {
    let kernel = Kernel::start();
    let text = format!("{HEAD}{}", in_kernel(A, &[(1, "ram = \"8m\"")]));
    let target = serving(&kernel, &text);
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(5))?.is_success());
    let worker = target.worker();
    let process = nix::unistd::Pid::from_raw(i32::try_from(worker)?);
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL)?;
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(5)));
    target.says("started again");
    let mut another = crate::scene::host(target.io(), A, 2)?;
    assert_eq!(read(&mut another, 1, 0, 8192)?, Ok(pattern(5)));
    kernel.is_well();
    Ok(())
}

#[test]
fn the_kernel_s_hosts_are_held_to_the_list_and_sent_away_by_name() -> Result {
    let kernel = Kernel::start();
    let file = |hosts: &[u32]| {
        let hosts: Vec<_> = hosts.iter().map(|&it| name(it)).collect();
        let lines = format!("hosts = {hosts:?}\nterminate-on-revoke = true");
        let list = [(1, "ram = \"8m\"")];
        format!("{HEAD}{}", subsystem_for(A, "kernel", &lines, &list))
    };
    let target = serving(&kernel, &file(&[1, 2, 3]));
    let mut hosts = Vec::new();
    for number in 1..=3 {
        hosts.push(host(target.io(), A, number)?);
    }
    Host::connect(target.io(), &nqn(A), &HostOptions::named(4)).unwrap_err();
    target.reload(&file(&[2, 3])).unwrap();
    hosts[0].admin.await_end().unwrap_err();
    let whose = Whose::Host(name(2));
    assert_eq!(
        target.ask(Request::Terminate { whose }),
        Answer::Terminated(1)
    );
    hosts[1].admin.await_end().unwrap_err();
    assert!(write(&mut hosts[2], 1, 0, pattern(1))?.is_success());
    kernel.is_well();
    Ok(())
}

#[test]
fn a_reload_that_the_kernel_refuses_goes_back() -> Result {
    use nvmf_kmod::Errno;
    use nvmf_kmod::fake::faults::{Fault, FaultKind};

    let kernel = Kernel::start();
    let file = |list: &[(u32, &str)]| format!("{HEAD}{}", in_kernel(A, list));
    let before = file(&[(1, "ram = \"8m\"")]);
    let target = serving(&kernel, &before);
    let mut host = host(target.io(), A, 1)?;
    let after = file(&[(1, "ram = \"8m\""), (2, "ram = \"16m\"")]);
    kernel.order(&Fault {
        code: Some(CTL_LUN_REQ),
        skip: 0,
        kind: FaultKind::Fail(Errno::ENOMEM),
    });
    let failure = target.reload(&after).unwrap_err();
    assert!(failure.text.contains("memory"), "{}", failure.text);
    assert_eq!(ours(&kernel), (1, 1));
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    // The next one finds the kernel as it was.
    let request = await_events(&mut host)?;
    target.reload(&after).unwrap();
    assert_eq!(ours(&kernel), (1, 2));
    assert_eq!(changed(&mut host, request)?, [2]);
    kernel.is_well();
    Ok(())
}

#[test]
fn what_the_file_of_the_next_daemon_does_not_ask_for_is_removed() -> Result {
    let kernel = Kernel::start();
    let text = format!("{HEAD}{}", in_kernel(A, &[(1, "ram = \"8m\"")]));
    let mut old = serving(&kernel, &text);
    let mut gone = host(old.io(), A, 1)?;
    assert_eq!(old.ask(Request::Leave), Answer::Done);
    assert!(old.await_end().success(), "{}", old.log());
    assert_eq!(ours(&kernel), (1, 1));
    let user = format!("{HEAD}{}", subsystem(B, &[(1, "ram = \"8m\"")]));
    let new = serving(&kernel, &user);
    assert_eq!(ours(&kernel), (0, 0), "{}", new.log());
    gone.admin.await_end().unwrap_err();
    let mut host = host(new.io(), B, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    kernel.is_well();
    Ok(())
}

#[test]
fn a_reload_that_fails_after_it_has_removed_things_goes_back() -> Result {
    use nvmf_kmod::Errno;
    use nvmf_kmod::fake::faults::{Fault, FaultKind};

    let kernel = Kernel::start();
    let file = |list: &[(u32, &str)]| format!("{HEAD}{}", in_kernel(A, list));
    let before = file(&[(1, "ram = \"8m\""), (2, "ram = \"8m\"")]);
    let target = serving(&kernel, &before);
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    // The second of its LUN requests: one namespace has gone by then, or one has come.
    kernel.order(&Fault {
        code: Some(CTL_LUN_REQ),
        skip: 1,
        kind: FaultKind::Fail(Errno::ENOMEM),
    });
    let after = file(&[
        (1, "ram = \"8m\""),
        (3, "ram = \"4m\""),
        (4, "ram = \"4m\""),
    ]);
    target.reload(&after).unwrap_err();
    assert_eq!(ours(&kernel), (1, 2));
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)));
    // Nothing is held any more.
    let mut another = crate::scene::host(target.io(), A, 2)?;
    assert_eq!(read(&mut another, 1, 0, 8192)?, Ok(pattern(1)));
    assert_eq!(mapped(&kernel), [1, 2]);
    target.reload(&after).unwrap();
    assert_eq!(mapped(&kernel), [1, 3, 4]);
    kernel.is_well();
    Ok(())
}

/// `CTL_LUN_REQ`, as the kernel numbers it on machines of 64 bits.
const CTL_LUN_REQ: u32 = 0xc168_e121;
