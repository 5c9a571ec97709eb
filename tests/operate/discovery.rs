//! Discovery while the file changes: who is told, what is seen, by which name it is asked.

use std::net::SocketAddr;
use std::time::Duration;

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::host::Payload;
use nvmf_proto::nqn::DISCOVERY_NQN;
use nvmf_proto::opcode::admin;
use nvmf_proto::sqe::Sqe;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{DiscoveryRecord, Host, HostOptions, PeerError, read_discovery_log};

use crate::scene::{
    A, B, HEAD, Result, await_events, host, name, nqn, portal, serving, subsystem, subsystem_for,
};

/// A host that stays connected to discovery, which it knows by this name.
pub(crate) fn looking(at: SocketAddr, by: &str, number: u32) -> Result<Host> {
    let options = HostOptions {
        kato: Duration::from_secs(60),
        ..HostOptions::named(number)
    };
    let mut host = Host::connect_admin(at, &nqn(by), &options)?;
    host.enable()?;
    Ok(host)
}

/// The notice that the log has changed, for which it has asked.
pub(crate) fn is_told(host: &mut Host, request: u16) -> Result {
    let event = host.admin.await_answer(request)?.completion;
    assert_eq!(event.result, 0x0070_f002, "a discovery log change notice");
    Ok(())
}

/// It has not been told of anything that was done before: messages to its connection come before the
/// answer to what it sends after them.
pub(crate) fn is_told_nothing(host: &mut Host) -> Result {
    assert!(host.keep_alive()?.status.is_success());
    let early = host.admin.ready_answer()?;
    assert!(early.is_none(), "{early:?}");
    Ok(())
}

/// The log's generation, and the subsystems and services that it names.
pub(crate) fn seen(host: &mut Host) -> Result<(u64, Vec<String>)> {
    let (generation, entries) = read_discovery_log(host)?;
    let names = entries.into_iter().skip(1).map(|entry| entry.subnqn);
    Ok((generation, names.collect()))
}

/// The discovery service's own entry.
fn myself(host: &mut Host) -> Result<DiscoveryRecord> {
    let (_, mut entries) = read_discovery_log(host)?;
    let myself = entries.swap_remove(0);
    assert_eq!(myself.subtype, 3);
    Ok(myself)
}

/// SUBNQN, as Identify Controller has it.
fn identified(host: &mut Host) -> Result<String> {
    let controller = host.identify(0x01, 0)?;
    let name = controller[768..1024].split(|&byte| byte == 0).next();
    Ok(String::from_utf8(name.unwrap_or_default().into())?)
}

/// The first bytes of a log that is asked for in this form (LSP).
fn asked(host: &mut Host, lsp: u32) -> Result<Vec<u8>> {
    let mut sqe = Sqe::new(admin::GET_LOG_PAGE, 0);
    sqe.cdw10 = (0x70 | lsp << 8 | (8192 / 4 - 1) << 16).into();
    let into = Vec::new();
    let answer = host
        .admin
        .run(sqe, Payload::ToHost { length: 8192, into })?;
    let status = answer.completion.status;
    assert!(status.is_success(), "{status}");
    Ok(answer.data)
}

const RAM: &[(u32, &str)] = &[(1, "ram = \"1m\"")];

fn only(number: u32) -> String {
    format!("hosts = [{:?}]", name(number))
}

fn is_refused(at: SocketAddr, by: &str) {
    let refused = looking(at, by, 9).map(drop).unwrap_err();
    let refused = refused.downcast_ref();
    assert!(
        matches!(refused, Some(PeerError::Refused(ConnectReject::SUBNQN))),
        "{refused:?}"
    );
}

#[test]
fn a_change_is_told_once_to_who_can_see_it_and_to_nobody_else() -> Result {
    let one = format!("{HEAD}{}", subsystem(A, RAM));
    let two = one.clone() + &subsystem_for(B, "user", &only(1), RAM);
    let target = serving(&one);
    let at = target.discovery();
    let (mut can, mut cannot) = (
        looking(at, DISCOVERY_NQN, 1)?,
        looking(at, DISCOVERY_NQN, 2)?,
    );
    let (before, names) = seen(&mut can)?;
    assert_eq!(names, [A]);
    assert_eq!(seen(&mut cannot)?, (before, names.clone()));
    await_events(&mut cannot)?;
    let mut told = await_events(&mut can)?;
    let steps = [(&two, vec![A.into(), B.into()]), (&one, vec![A.into()])];
    for (step, (file, expected)) in (1..).zip(steps) {
        target.reload(file).unwrap();
        is_told(&mut can, told)?;
        told = await_events(&mut can)?;
        assert_eq!(seen(&mut can)?, (before + step, expected));
        is_told_nothing(&mut can)?;
        is_told_nothing(&mut cannot)?;
        assert_eq!(seen(&mut cannot)?, (before, vec![A.into()]));
    }
    // What changes nothing that anybody sees moves nothing.
    target.reload(&one.replace("\"1m\"", "\"2m\"")).unwrap();
    is_told_nothing(&mut can)?;
    assert_eq!(seen(&mut can)?.0, before + 2);
    target.reload(&two).unwrap();
    is_told(&mut can, told)
}

#[test]
fn a_change_between_the_event_and_the_read_is_not_lost() -> Result {
    let one = format!("{HEAD}{}", subsystem(A, RAM));
    let target = serving(&one);
    let mut host = looking(target.discovery(), DISCOVERY_NQN, 1)?;
    let (generation, _) = seen(&mut host)?;
    let first = await_events(&mut host)?;
    let second = await_events(&mut host)?;
    target
        .reload(&format!("{one}{}", subsystem(B, RAM)))
        .unwrap();
    is_told(&mut host, first)?;
    // Before it looks, there is more: it sees both, and is told once.
    target
        .reload(&(one.clone() + &subsystem_for(B, "user", &only(2), RAM)))
        .unwrap();
    target
        .reload(&format!("{one}{}", subsystem(B, RAM)))
        .unwrap();
    is_told_nothing(&mut host)?;
    assert_eq!(seen(&mut host)?, (generation + 3, vec![A.into(), B.into()]));
    is_told_nothing(&mut host)?;
    // After it has looked it is told again.
    target.reload(&one).unwrap();
    is_told(&mut host, second)?;
    assert_eq!(seen(&mut host)?, (generation + 4, vec![A.into()]));
    Ok(())
}

#[test]
fn a_host_without_keep_alive_is_told_nothing_until_it_has_one() -> Result {
    let one = format!("{HEAD}{}", subsystem(A, RAM));
    let target = serving(&one);
    let mut host = Host::connect_admin(
        target.discovery(),
        &nqn(DISCOVERY_NQN),
        &HostOptions::named(1),
    )?;
    host.enable()?;
    seen(&mut host)?;
    let request = await_events(&mut host)?;
    target
        .reload(&format!("{one}{}", subsystem(B, RAM)))
        .unwrap();
    is_told_nothing(&mut host)?;
    let mut kato = Sqe::new(admin::SET_FEATURES, 0);
    (kato.cdw10, kato.cdw11) = (0x0f.into(), 60_000.into());
    assert!(host.admin.command(kato)?.status.is_success());
    is_told(&mut host, request)
}

#[test]
fn discovery_goes_by_its_own_names_and_the_well_known_one() -> Result {
    const ALL: &str = "nqn.2014-08.org.example:discovery";
    const BACK: &str = "nqn.2014-08.org.example:discovery-back";
    let back = format!(
        "\n[[portal]]\nname = \"back\"\nlisten = [\"127.0.0.1:0\"]\ndiscovery-nqn = {BACK:?}\n"
    );
    let served = subsystem(A, RAM).replace("[\"front\"]", "[\"front\", \"back\"]");
    let head = HEAD.replace("[discovery]", &format!("[discovery]\nnqn = {ALL:?}"));
    let target = serving(&format!("{head}{back}{served}"));
    let at = |name| portal(&target, name).expect("a portal").address;
    for (at, own, other) in [
        (target.discovery(), ALL, BACK),
        (at("front"), ALL, BACK),
        (at("back"), BACK, ALL),
    ] {
        for by in [DISCOVERY_NQN, own] {
            let mut host = looking(at, by, 1)?;
            assert_eq!(identified(&mut host)?, own);
            let myself = myself(&mut host)?;
            assert_eq!(myself.subnqn, own);
            let address: SocketAddr = format!("{}:{}", myself.traddr, myself.trsvcid).parse()?;
            assert_eq!(address, at);
        }
        is_refused(at, other);
    }
    let status = operator::status(&target.socket());
    assert_eq!(status.discovery.nqn, ALL);
    let names = status
        .portals
        .iter()
        .map(|it| (it.io, it.discovery_nqn.as_str()));
    assert_eq!(
        names.collect::<Vec<_>>(),
        [(true, ALL), (true, BACK), (false, ALL)]
    );
    Ok(())
}

#[test]
fn a_name_that_changes_costs_those_their_connection_who_used_it() -> Result {
    const OLD: &str = "nqn.2014-08.org.example:old";
    const NEW: &str = "nqn.2014-08.org.example:new";
    let file = |name: &str| {
        let head = HEAD.replace("[discovery]", &format!("[discovery]\nnqn = {name:?}"));
        format!("{head}{}", subsystem(A, RAM))
    };
    let target = serving(&file(OLD));
    let at = target.discovery();
    let mut stays = looking(at, DISCOVERY_NQN, 1)?;
    let mut goes = looking(at, OLD, 2)?;
    let (generation, _) = seen(&mut stays)?;
    let told = await_events(&mut stays)?;
    target.reload(&file(NEW)).unwrap();
    is_told(&mut stays, told)?;
    assert_eq!(seen(&mut stays)?.0, generation + 1);
    assert_eq!(myself(&mut stays)?.subnqn, NEW);
    assert_eq!(identified(&mut stays)?, NEW);
    goes.admin.await_end().unwrap_err();
    is_refused(at, OLD);
    assert_eq!(identified(&mut looking(at, NEW, 2)?)?, NEW);
    Ok(())
}

#[test]
fn hosts_are_referred_to_other_services_that_are_for_them() -> Result {
    const FAR: &str = "nqn.2014-08.org.example:far";
    let other = serving(&format!("{HEAD}{}", subsystem(B, RAM)));
    let near = other.discovery();
    let one = format!("{HEAD}{}", subsystem(A, RAM));
    let two = format!(
        "{one}\n[[referral]]\naddress = \"{near}\"\n\n\
         [[referral]]\naddress = \"192.0.2.7\"\nnqn = {FAR:?}\n{}\n",
        only(1)
    );
    let target = serving(&one);
    let at = target.discovery();
    let mut first = looking(at, DISCOVERY_NQN, 1)?;
    let mut second = looking(at, DISCOVERY_NQN, 2)?;
    let requests = [await_events(&mut first)?, await_events(&mut second)?];
    target.reload(&two).unwrap();
    is_told(&mut first, requests[0])?;
    is_told(&mut second, requests[1])?;
    assert_eq!(seen(&mut first)?.1, [A, DISCOVERY_NQN, FAR]);
    let (generation, entries) = read_discovery_log(&mut second)?;
    let [_, _, referral] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!((referral.subtype, referral.family), (1, 1));
    // It is followed: there is the other one's subsystem.
    let there: SocketAddr = format!("{}:{}", referral.traddr, referral.trsvcid).parse()?;
    let mut followed = looking(there, &referral.subnqn, 2)?;
    assert_eq!(seen(&mut followed)?.1, [B]);
    drop(host(other.io(), B, 2)?);

    let requests = [await_events(&mut first)?, await_events(&mut second)?];
    seen(&mut first)?;
    target
        .reload(&two.replace("192.0.2.7", "192.0.2.8"))
        .unwrap();
    is_told(&mut first, requests[0])?;
    is_told_nothing(&mut second)?;
    assert_eq!(seen(&mut second)?.0, generation);
    let status = operator::status(&target.socket()).discovery;
    let [to_all, to_one] = &status.referrals[..] else {
        panic!("{status:?}")
    };
    assert_eq!((to_all.address, &to_all.hosts), (near, &None));
    assert_eq!(to_one.hosts, Some(vec![name(1)]));
    Ok(())
}

#[test]
fn a_host_chooses_how_much_it_is_shown_and_in_which_form() -> Result {
    let front = HEAD.replace(
        "listen = [\"127.0.0.1:0\"]\nsq",
        "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nsq",
    );
    assert_ne!(front, HEAD);
    let labelled = |label: &str| {
        let file = format!("{front}{}", subsystem(A, RAM));
        file.replace("portals =", &format!("label = {label:?}\nportals ="))
    };
    let target = serving(&labelled("volumes"));
    let mut host = looking(target.io(), DISCOVERY_NQN, 1)?;
    let count = |log: &[u8]| u64::from_le_bytes(*log[8..].first_chunk().expect("a header"));
    let plain = asked(&mut host, 0)?;
    assert_eq!((count(&plain), plain[18]), (3, 0), "both, and the service");
    let all = asked(&mut host, 4)?;
    assert_eq!((count(&all), all[18]), (3, 4));
    let local = asked(&mut host, 2)?;
    assert_eq!((count(&local), local[18]), (2, 2), "its own alone");
    let port = target.io().port().to_string();
    assert!(local[1024 + 1024 + 32..].starts_with(port.as_bytes()));
    let has = |log: &[u8], text: &str| log.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(!has(&plain, "volumes"));
    let extended = asked(&mut host, 1)?;
    assert_eq!(extended[18], 1);
    assert!(has(&extended, "volumes"));
    let told = await_events(&mut host)?;
    target.reload(&labelled("backups")).unwrap();
    is_told(&mut host, told)?;
    assert!(has(&asked(&mut host, 1)?, "backups"));
    // Part of what there is was withheld from it: what it got is not called all.
    target
        .reload(&(labelled("backups") + &subsystem_for(B, "user", &only(2), RAM)))
        .unwrap();
    let all = asked(&mut host, 4)?;
    assert_eq!((count(&all), all[18]), (3, 0));
    Ok(())
}
