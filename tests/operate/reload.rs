//! Reloads, with hosts that are connected: what concerns them they see, and nothing else.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nvmf_proto::connect::ConnectReject;
use nvmfd::control::message::{Effect, FailureKind};
use nvmfd_tests::peer::{Host, HostOptions, PeerError, discover};

use crate::scene::{
    A, B, HEAD, Result, await_events, blocks, changed, host, name, namespaces, nqn, pattern,
    portal, read, serving, subsystem, subsystem_for, write,
};

#[test]
fn a_namespace_appears_under_a_live_host_and_another_goes() -> Result {
    let file = |text: &[(u32, &str)]| format!("{HEAD}{}", subsystem(A, text));
    let before = file(&[(1, "ram = \"8m\""), (3, "ram = \"8m\"")]);
    let target = serving(&before);
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    let request = await_events(&mut host)?;

    let after = file(&[(1, "ram = \"8m\""), (2, "ram = \"16m\"")]);
    let planned = target.plan(&after).unwrap();
    let done = target.reload(&after).unwrap();
    assert_eq!(planned, done, "the plan says what a reload does");
    assert!(done.steps.iter().all(|step| step.effect == Effect::Notice));
    assert_eq!(done.steps.len(), 2);

    assert_eq!(changed(&mut host, request)?, [2, 3]);
    assert_eq!(namespaces(&mut host)?, [1, 2]);
    assert_eq!(blocks(&mut host, 2)?, 32768);
    assert!(write(&mut host, 2, 8, pattern(2))?.is_success());
    assert_eq!(read(&mut host, 2, 8, 8192)?, Ok(pattern(2)));
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)), "it went on");
    assert!(read(&mut host, 3, 0, 8192)?.is_err(), "it is gone");
    Ok(())
}

#[test]
fn what_grows_is_told_and_keeps_its_contents() -> Result {
    let directory = tempfile::tempdir()?;
    let image = directory.path().join("image");
    fs::File::create(&image)?.set_len(4 << 20)?;
    let file = |ram: &str| {
        let path = format!("path = {:?}", image.display().to_string());
        format!("{HEAD}{}", subsystem(A, &[(1, &path), (2, ram)]))
    };
    let target = serving(&file("ram = \"4m\""));
    let mut host = host(target.io(), A, 1)?;
    for nsid in [1, 2] {
        assert!(write(&mut host, nsid, 16, pattern(7))?.is_success());
    }
    let request = await_events(&mut host)?;
    fs::OpenOptions::new()
        .write(true)
        .open(&image)?
        .set_len(8 << 20)?;
    let plan = target.reload(&file("ram = \"8m\"")).unwrap();
    let said: Vec<_> = plan.steps.iter().map(|step| step.what.clone()).collect();
    assert!(
        said.iter().any(|it| it.contains("namespace 1")),
        "the file has grown: {said:?}"
    );
    assert_eq!(changed(&mut host, request)?, [1, 2]);
    for nsid in [1, 2] {
        assert_eq!(blocks(&mut host, nsid)?, 16384);
        assert_eq!(read(&mut host, nsid, 16, 8192)?, Ok(pattern(7)));
        assert!(write(&mut host, nsid, 16384 - 16, pattern(8))?.is_success());
    }
    // And back: what is beyond the end is an error, and comes back as zeroes.
    let request = await_events(&mut host)?;
    target.reload(&file("ram = \"4m\"")).unwrap();
    assert_eq!(changed(&mut host, request)?, [2]);
    assert!(read(&mut host, 2, 16384 - 16, 8192)?.is_err());
    target.reload(&file("ram = \"8m\"")).unwrap();
    assert_eq!(read(&mut host, 2, 16384 - 16, 8192)?, Ok(vec![0; 8192]));
    assert_eq!(read(&mut host, 2, 16, 8192)?, Ok(pattern(7)));
    Ok(())
}

#[test]
fn a_namespace_that_becomes_read_only_and_back() -> Result {
    let directory = tempfile::tempdir()?;
    let image = directory.path().join("image");
    fs::File::create(&image)?.set_len(4 << 20)?;
    let file = |more: &str| {
        let path = format!("path = {:?}\n{more}", image.display().to_string());
        format!("{HEAD}{}", subsystem(A, &[(1, &path)]))
    };
    let target = serving(&file(""));
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    target.reload(&file("read-only = true")).unwrap();
    assert!(!write(&mut host, 1, 0, pattern(2))?.is_success());
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)));
    target.reload(&file("")).unwrap();
    assert!(write(&mut host, 1, 0, pattern(3))?.is_success());
    drop(target);

    let target = serving(&file("read-only = true"));
    let mut host = crate::scene::host(target.io(), A, 1)?;
    assert!(!write(&mut host, 1, 0, pattern(4))?.is_success());
    target.plan(&file("")).unwrap();
    target.reload(&file("")).unwrap();
    assert!(write(&mut host, 1, 0, pattern(5))?.is_success());
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(5)));
    Ok(())
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_says_everything_that_is_wrong() -> Result {
    let good = format!("{HEAD}{}", subsystem(A, &[(1, "ram = \"8m\"")]));
    let target = serving(&good);
    let mut host = host(target.io(), A, 1)?;
    let bad = good
        .replace("mode = \"user\"", "mode = \"usr\"")
        .replace("nsid = 1", "nsid = 0");
    let failure = target.reload(&bad).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Config);
    assert!(failure.text.contains("usr") && failure.text.contains("2 errors"));
    let status = nvmfd_tests::operator::status(&target.socket());
    assert!(status.reload_failed.is_some());
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    target.reload(&good).unwrap();
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)));
    Ok(())
}

#[test]
fn what_cannot_be_had_changes_nothing() -> Result {
    let good = format!("{HEAD}{}", subsystem(A, &[(1, "ram = \"8m\"")]));
    let target = serving(&good);
    let mut host = host(target.io(), A, 1)?;
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let busy = format!("listen = [\"127.0.0.1:0\", \"{}\"]", holder.local_addr()?);
    let more = subsystem(B, &[(1, "ram = \"8m\"")]);
    let busy = format!("{good}{more}").replacen(
        "name = \"front\"\nlisten = [\"127.0.0.1:0\"]",
        &format!("name = \"front\"\n{busy}"),
        1,
    );
    for refused in [target.plan(&busy), target.reload(&busy)] {
        let failure = refused.unwrap_err();
        assert_eq!(failure.kind, FailureKind::System);
        assert!(failure.text.contains("is in use"), "{}", failure.text);
    }
    let missing = format!("{good}{}", subsystem(B, &[(1, "path = \"/no/such/disk\"")]));
    let failure = target.reload(&missing).unwrap_err();
    assert!(failure.text.contains("/no/such/disk"), "{}", failure.text);
    let found = discover(target.discovery(), &HostOptions::default())?;
    assert!(found.iter().all(|entry| entry.subnqn != B));
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    Ok(())
}

#[test]
fn a_host_that_is_taken_off_the_list_stays_or_goes_as_the_file_says() -> Result {
    let file = |hosts: &[u32], more: &str| {
        let hosts: Vec<_> = hosts.iter().map(|&it| name(it)).collect();
        let list = format!("hosts = {hosts:?}\n{more}");
        let namespaces = [(1, "ram = \"8m\"")];
        format!("{HEAD}{}", subsystem_for(A, "user", &list, &namespaces))
    };
    let target = serving(&file(&[1, 2, 3], ""));
    let mut hosts = Vec::new();
    for number in 1..=3 {
        hosts.push(host(target.io(), A, number)?);
    }
    let refused = Host::connect(target.io(), &nqn(A), &HostOptions::named(9)).unwrap_err();
    assert!(matches!(refused, PeerError::Refused(reject) if reject == INVALID_HOST));

    target.reload(&file(&[2, 3], "")).unwrap();
    assert!(
        write(&mut hosts[0], 1, 0, pattern(1))?.is_success(),
        "stays"
    );
    let again = Host::connect(target.io(), &nqn(A), &HostOptions::named(1)).unwrap_err();
    assert!(matches!(again, PeerError::Refused(reject) if reject == INVALID_HOST));
    let shown = |number| -> Result<bool> {
        let found = discover(target.discovery(), &HostOptions::named(number))?;
        Ok(found.iter().any(|entry| entry.subnqn == A))
    };
    assert!(!shown(1)? && shown(2)?);

    let plan = target
        .reload(&file(&[3], "terminate-on-revoke = true"))
        .unwrap();
    assert!(plan.steps.iter().any(|it| it.effect == Effect::Disconnects));
    hosts[1].admin.await_end().unwrap_err();
    assert!(write(&mut hosts[2], 1, 0, pattern(3))?.is_success());
    target.says("may not use the subsystem any more");
    Ok(())
}

#[test]
fn subsystems_and_portals_come_and_go() -> Result {
    let one = format!("{HEAD}{}", subsystem(A, &[(1, "ram = \"8m\"")]));
    let target = serving(&one);
    let mut first = host(target.io(), A, 1)?;
    let back = "\n[[portal]]\nname = \"back\"\nlisten = [\"127.0.0.1:0\"]\n";
    let more = subsystem(B, &[(1, "ram = \"8m\"")]).replace("front", "back");
    let two = format!("{one}{back}{more}");
    target.reload(&two).unwrap();
    let address = portal(&target, "back").expect("a portal").address;
    let mut second = host(address, B, 2)?;
    let elsewhere = Host::connect(target.io(), &nqn(B), &HostOptions::named(3)).unwrap_err();
    assert!(
        matches!(elsewhere, PeerError::Refused(reject) if reject == ConnectReject::SUBNQN),
        "it is not served there: {elsewhere}"
    );
    assert!(write(&mut second, 1, 0, pattern(2))?.is_success());

    target.reload(&one).unwrap();
    second.admin.await_end().unwrap_err();
    assert!(TcpStream::connect(address).is_err(), "it is closed");
    assert!(write(&mut first, 1, 0, pattern(1))?.is_success());
    let found = discover(target.discovery(), &HostOptions::default())?;
    assert!(found.iter().all(|entry| entry.subnqn != B));
    Ok(())
}

#[test]
fn digests_can_be_required() -> Result {
    let file = |digest: &str| {
        let head = HEAD.replace("name = \"front\"", &format!("name = \"front\"\n{digest}"));
        format!("{head}{}", subsystem(A, &[(1, "ram = \"8m\"")]))
    };
    let target = serving(&file(""));
    let mut without = host(target.io(), A, 1)?;
    target.reload(&file("data-digest = \"require\"")).unwrap();
    assert!(
        write(&mut without, 1, 0, pattern(1))?.is_success(),
        "it stays"
    );
    let refused = Host::connect(target.io(), &nqn(A), &HostOptions::named(2)).unwrap_err();
    assert!(
        !matches!(refused, PeerError::Refused(_)),
        "terminated: {refused}"
    );
    let options = HostOptions {
        data_digest: true,
        ..HostOptions::named(3)
    };
    let mut with = Host::connect(target.io(), &nqn(A), &options)?;
    assert!(write(&mut with, 1, 0, pattern(3))?.is_success());
    Ok(())
}

fn image(directory: &Path, name: &str, bytes: u64) -> std::io::Result<String> {
    let path = directory.join(name);
    fs::File::create(&path)?.set_len(bytes)?;
    Ok(format!("path = {:?}", path.display().to_string()))
}

#[test]
fn a_file_that_was_emptied_changes_nothing() -> Result {
    let directory = tempfile::tempdir()?;
    let path = image(directory.path(), "image", 8 << 20)?;
    let list = [(1, "ram = \"8m\""), (2, path.as_str())];
    let text = format!("{HEAD}{}", subsystem(A, &list));
    let target = serving(&text);
    let worker = target.worker();
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    fs::File::create(directory.path().join("image"))?;
    let failure = target.reload(&text).unwrap_err();
    assert!(failure.text.contains("is empty"), "{}", failure.text);
    assert_eq!(target.worker(), worker);
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)));
    Ok(())
}

#[test]
fn what_one_subsystem_writes_others_show_in_any_order() -> Result {
    let directory = tempfile::tempdir()?;
    let path = image(directory.path(), "image", 8 << 20)?;
    let readable = format!("{path}\nread-only = true");
    let reader = subsystem(B, &[(1, &readable)]);
    let writer = subsystem(A, &[(1, &path)]);
    let target = serving(&format!("{HEAD}{reader}{writer}"));
    let mut first = host(target.io(), A, 1)?;
    let mut second = host(target.io(), B, 2)?;
    assert!(write(&mut first, 1, 0, pattern(1))?.is_success());
    assert_eq!(read(&mut second, 1, 0, 8192)?, Ok(pattern(1)));
    assert!(!write(&mut second, 1, 0, pattern(2))?.is_success());
    // The one goes and comes, the other never notices.
    let request = await_events(&mut second)?;
    target.reload(&format!("{HEAD}{reader}")).unwrap();
    first.admin.await_end().unwrap_err();
    let third = subsystem("nqn.2014-08.org.example:c", &[(1, &readable)]);
    target
        .reload(&format!("{HEAD}{third}{reader}{writer}"))
        .unwrap();
    let mut first = host(target.io(), A, 1)?;
    let mut third = host(target.io(), "nqn.2014-08.org.example:c", 3)?;
    assert!(write(&mut first, 1, 0, pattern(3))?.is_success());
    for reader in [&mut second, &mut third] {
        assert_eq!(read(reader, 1, 0, 8192)?, Ok(pattern(3)));
    }
    assert_eq!(namespaces(&mut second)?, [1]);
    let _ = request;
    Ok(())
}

#[test]
fn a_writer_comes_to_what_was_only_read() -> Result {
    let directory = tempfile::tempdir()?;
    let path = image(directory.path(), "image", 8 << 20)?;
    let reader = subsystem(B, &[(1, &format!("{path}\nread-only = true"))]);
    let target = serving(&format!("{HEAD}{reader}"));
    let mut second = host(target.io(), B, 2)?;
    let both = format!("{HEAD}{reader}{}", subsystem(A, &[(1, &path)]));
    target.reload(&both).unwrap();
    let mut first = host(target.io(), A, 1)?;
    assert!(write(&mut first, 1, 0, pattern(1))?.is_success());
    assert_eq!(read(&mut second, 1, 0, 8192)?, Ok(pattern(1)));
    Ok(())
}

#[test]
fn a_reload_that_fails_leaves_what_is_only_read_locked() -> Result {
    let directory = tempfile::tempdir()?;
    let path = image(directory.path(), "image", 8 << 20)?;
    let readable = format!("{path}\nread-only = true");
    let before = format!("{HEAD}{}", subsystem(A, &[(1, &readable)]));
    let target = serving(&before);
    let missing = [(1, path.as_str()), (2, "path = \"/no/such/disk\"")];
    let missing = format!("{HEAD}{}", subsystem(A, &missing));
    for failure in [target.plan(&missing), target.reload(&missing)] {
        assert!(failure.unwrap_err().text.contains("/no/such/disk"));
        let file = fs::File::open(directory.path().join("image"))?;
        assert!(
            Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err(),
            "anybody could write it"
        );
    }
    Ok(())
}

#[test]
fn a_file_that_took_another_s_name_is_served_by_a_reload() -> Result {
    let directory = tempfile::tempdir()?;
    let path = image(directory.path(), "image", 8 << 20)?;
    let text = format!("{HEAD}{}", subsystem(A, &[(1, &path)]));
    let target = serving(&text);
    let mut host = host(target.io(), A, 1)?;
    assert!(write(&mut host, 1, 0, pattern(1))?.is_success());
    let request = await_events(&mut host)?;
    image(directory.path(), "other", 16 << 20)?;
    fs::rename(
        directory.path().join("other"),
        directory.path().join("image"),
    )?;
    let plan = target.plan(&text).unwrap();
    assert!(plan.steps[0].what.contains("was replaced"), "{plan:?}");
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(pattern(1)), "not yet");
    assert_eq!(target.reload(&text).unwrap(), plan);
    assert_eq!(changed(&mut host, request)?, [1]);
    assert_eq!(blocks(&mut host, 1)?, (16 << 20) / 512);
    assert_eq!(read(&mut host, 1, 0, 8192)?, Ok(vec![0; 8192]));
    Ok(())
}

#[test]
fn a_wildcard_of_the_other_family_comes_and_goes() -> Result {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("NOT RUN: this machine has no IPv6");
        return Ok(());
    }
    // One that is free on all addresses of both.
    let port = TcpListener::bind("[::]:0")?.local_addr()?.port();
    let file = |wildcards: &str| {
        let listen = format!("name = \"front\"\nlisten = [{wildcards}]");
        let usual = "name = \"front\"\nlisten = [\"127.0.0.1:0\"]";
        let text = format!("{HEAD}{}", subsystem(A, &[(1, "ram = \"8m\"")]));
        text.replacen(usual, &listen, 1)
    };
    let four = format!("\"0.0.0.0:{port}\"");
    let both = format!("{four}, \"[::]:{port}\"");
    let target = serving(&file(&four));
    let mut first = host((Ipv4Addr::LOCALHOST, port).into(), A, 1)?;
    let six = (Ipv6Addr::LOCALHOST, port).into();
    assert!(TcpStream::connect(six).is_err());
    target.reload(&file(&both)).unwrap();
    let mut second = host(six, A, 2)?;
    target.reload(&file(&four)).unwrap();
    assert!(TcpStream::connect(six).is_err());
    for host in [&mut first, &mut second] {
        assert!(write(host, 1, 0, pattern(1))?.is_success());
    }
    Ok(())
}

/// Connect Invalid Host.
const INVALID_HOST: ConnectReject = ConnectReject::HOST;
