//! The daemon's answers as people read them: each a text of whole lines.
//!
//! Names are never cut. What a peer has chosen goes through a [`Cell`] or [`printable`].

#![forbid(unsafe_code)]

mod announcer;

use nvmf_proto::nqn::DISCOVERY_NQN;

use super::amount::{bytes, counted, milliseconds, moment, seconds};
use super::printable::{lines, printable};
use super::table::{Cell, Paint, Side, Table, Tone};
use crate::config::model::Show;
use crate::confinement::Confinement;
use crate::control::message::{
    Effect, LimitUse, Mode, Plan, Portal, Referral, Refusals, Session, Sessions, Status, Subsystem,
};
use crate::worker::memory::Level;
use crate::worker::stats::tally::Label;

/// How the daemon is, and what it serves, at `now` in seconds since 1970.
pub(super) fn status(status: &Status, now: u64, paint: Paint) -> String {
    let ago = |time: u64| seconds(now.saturating_sub(time));
    let mut text = vec![
        paint.tone(
            &format!(
                "nvmfd {}, process {}, for {}, since {}",
                printable(&status.release),
                status.pid,
                ago(status.started),
                moment(status.started)
            ),
            Tone::Head,
        ),
        match &status.config {
            Some(path) => format!(
                "configuration: {}, read {}",
                printable(&path.to_string_lossy()),
                moment(status.loaded)
            ),
            None => "configuration: none, all is from the command line".into(),
        },
    ];
    if let Some(why) = &status.reload_failed {
        let failed = format!("the last reload failed: {}", lines(why));
        text.push(paint.tone(&failed, Tone::Bad));
    }
    let worker = &status.worker;
    let restarts = match worker.restarts {
        0 => String::new(),
        n => format!(", restarted {}", counted(n, "time")),
    };
    text.push(match worker.pid {
        Some(pid) => format!(
            "worker: process {pid}, for {}{restarts}",
            ago(worker.started)
        ),
        None => paint.tone(
            &format!("worker: none, the next one is about to start{restarts}"),
            Tone::Bad,
        ),
    });
    if worker.pid.is_some() {
        text.push(confinement_of(&worker.confinement, paint));
    }
    if let Some(it) = &status.announcer {
        text.extend(announcer::announcer(it, now, paint));
    }
    if status.draining {
        let draining = "draining: new controllers are refused until nvmfctl drain --end";
        text.push(paint.tone(draining, Tone::Notable));
    }
    text.push(format!(
        "connections: {} in negotiation, {} refused",
        status.negotiating, status.refused
    ));
    text.push(memory(&status.memory, status.stalled, paint));
    text.push(format!("log: {}", printable(&status.log)));
    if !status.limits.is_empty() {
        text.push(String::new());
        text.extend(limits(&status.limits).lines("", paint));
    }
    if !status.portals.is_empty() {
        text.push(String::new());
        text.extend(portals(&status.portals).lines("", paint));
    }
    text.extend(discovery(status, paint));
    for served in &status.subsystems {
        text.push(String::new());
        text.extend(subsystem(served, paint));
    }
    whole(&text)
}

/// What hosts make the worker hold, and what came of it.
fn memory(level: &Level, stalled: u64, paint: Paint) -> String {
    let text = format!(
        "memory: {} of {} held for hosts; limit met {}, {} closed that did not move",
        bytes(level.held),
        bytes(level.most),
        counted(level.met, "time"),
        counted(stalled, "queue"),
    );
    match level.waiting {
        0 => text,
        waiting => paint.tone(&format!("{text}; {waiting} waiting now"), Tone::Notable),
    }
}

/// What keeps a process in, and what should and does not.
fn confinement_of(confinement: &Confinement, paint: Paint) -> String {
    let fences: Vec<_> = confinement.fences.iter().map(|it| it.to_string()).collect();
    let user = match &confinement.user {
        Some(user) => format!(", as {}", printable(user)),
        None => String::new(),
    };
    let lacks = match confinement.lacks.as_slice() {
        [] => String::new(),
        lacks => format!("; it lacks {}", printable(&lacks.join("; "))),
    };
    match confinement.is_confined() {
        true => {
            let by = fences.join(" and ");
            format!("  confined by {by}{user}{lacks}")
        }
        false => paint.tone(&format!("  NOT CONFINED{user}{lacks}"), Tone::Bad),
    }
}

fn limits(limits: &[LimitUse]) -> Table {
    let mut table = Table::new(&[
        ("LIMIT", Side::Left),
        ("USED", Side::Right),
        ("OF", Side::Right),
        ("MET", Side::Right),
    ]);
    for limit in limits {
        let tone = match limit.met {
            0 => Tone::Plain,
            _ => Tone::Notable,
        };
        table.row([
            limit.limit.name().into(),
            Cell::maybe(limit.used),
            limit.most.to_string().into(),
            Cell::toned(&limit.met.to_string(), tone),
        ]);
    }
    table
}

fn portals(portals: &[Portal]) -> Table {
    let mut table = Table::new(&[
        ("PORTAL", Side::Left),
        ("ADDRESS", Side::Left),
        ("SERVES", Side::Left),
        ("PORTID", Side::Right),
        ("HEADER DIGEST", Side::Left),
        ("DATA DIGEST", Side::Left),
    ]);
    for portal in portals {
        let serves = if portal.io { "subsystems" } else { "discovery" };
        table.row([
            portal.name.as_str().into(),
            portal.address.to_string().into(),
            serves.into(),
            portal.portid.to_string().into(),
            portal.header_digest.as_str().into(),
            portal.data_digest.as_str().into(),
        ]);
    }
    table
}

/// How discovery is answered, as far as there is anything to say.
fn discovery(status: &Status, paint: Paint) -> Vec<String> {
    let discovery = &status.discovery;
    let mut text = Vec::new();
    if discovery.nqn != DISCOVERY_NQN {
        text.push(format!("  by the name {}", printable(&discovery.nqn)));
    }
    let mut own: Vec<_> = status.portals.iter().collect();
    own.retain(|portal| portal.discovery_nqn != discovery.nqn);
    own.dedup_by_key(|portal| (portal.name.as_str(), portal.discovery_nqn.as_str()));
    text.extend(own.into_iter().map(|portal| {
        let (name, nqn) = (printable(&portal.name), printable(&portal.discovery_nqn));
        format!("  on portal {name} by the name {nqn}")
    }));
    if let Some(label) = &discovery.label {
        text.push(format!("  label: {}", printable(label)));
    }
    match discovery.show {
        Show::Reachable => {}
        Show::All => text.push("  hosts are shown all portals".into()),
    }
    if !discovery.referrals.is_empty() {
        text.extend(referrals(&discovery.referrals).lines("  ", paint));
    }
    if text.is_empty() {
        return text;
    }
    [String::new(), paint.tone("discovery", Tone::Head)]
        .into_iter()
        .chain(text)
        .collect()
}

fn referrals(referrals: &[Referral]) -> Table {
    let mut table = Table::new(&[
        ("REFERRAL", Side::Left),
        ("NQN", Side::Left),
        ("LABEL", Side::Left),
        ("HOSTS", Side::Left),
    ]);
    for referral in referrals {
        let hosts = referral.hosts.as_ref().map(|hosts| hosts.join(", "));
        table.row([
            referral.address.to_string().into(),
            referral.nqn.as_str().into(),
            Cell::maybe(referral.label.as_deref()),
            hosts.unwrap_or_else(|| "any".into()).as_str().into(),
        ]);
    }
    table
}

fn subsystem(subsystem: &Subsystem, paint: Paint) -> Vec<String> {
    let mut text = vec![
        paint.tone(&printable(&subsystem.nqn), Tone::Head),
        format!(
            "  {} mode, {}, serial number {}, portals: {}",
            mode(subsystem.mode),
            counted(subsystem.sessions, "session"),
            printable(&subsystem.serial),
            match subsystem.portals.as_slice() {
                [] => "none".into(),
                portals => printable(&portals.join(", ")),
            }
        ),
    ];
    if let Some(label) = &subsystem.label {
        text.push(format!("  label: {}", printable(label)));
    }
    if let Some(traffic) = &subsystem.traffic {
        text.push(format!(
            "  {} read, {} written, in {} and {} commands",
            bytes(traffic.bytes_read),
            bytes(traffic.bytes_written),
            traffic.reads,
            traffic.writes,
        ));
    }
    match subsystem.hosts.as_deref() {
        None => text.push("  any host may use it".into()),
        Some([]) => text.push("  no host may use it".into()),
        Some(hosts) => {
            text.push("  hosts that may use it:".into());
            text.extend(hosts.iter().map(|host| format!("    {}", printable(host))));
        }
    }
    if subsystem.namespaces.is_empty() {
        text.push("  no namespaces".into());
        return text;
    }
    let mut table = Table::new(&[
        ("NSID", Side::Right),
        ("SIZE", Side::Right),
        ("BLOCK", Side::Right),
        ("ACCESS", Side::Left),
        ("UUID", Side::Left),
        ("DEVICE", Side::Left),
    ]);
    for namespace in &subsystem.namespaces {
        let access = if namespace.read_only {
            "read"
        } else {
            "read, write"
        };
        table.row([
            namespace.nsid.to_string().into(),
            Cell::maybe(namespace.bytes.map(bytes)),
            Cell::maybe(namespace.block_size),
            access.into(),
            Cell::maybe(namespace.uuid.as_deref()),
            namespace.device.as_str().into(),
        ]);
    }
    text.extend(table.lines("  ", paint));
    for namespace in &subsystem.namespaces {
        text.extend(namespace.failing.iter().map(|it| {
            let fails = format!(
                "  {} of namespace {} fail, {} in {}: {}",
                it.operation,
                namespace.nsid,
                counted(it.commands, "command"),
                seconds(it.age),
                printable(&it.error)
            );
            paint.tone(&fails, Tone::Bad)
        }));
    }
    text
}

/// Who is connected, by subsystem.
pub(super) fn sessions(sessions: &Sessions, paint: Paint) -> String {
    let mut text = Vec::new();
    let mut all: Vec<&Session> = sessions.sessions.iter().collect();
    all.sort_by_key(|it| (&it.subsystem, it.mode, &it.hostnqn, it.cntlid));
    for group in all.chunk_by(|a, b| (&a.subsystem, a.mode) == (&b.subsystem, b.mode)) {
        let Some(first) = group.first() else {
            continue;
        };
        let number = u64::try_from(group.len()).unwrap_or(u64::MAX);
        let head = format!(
            "{} ({} mode): {}",
            printable(&first.subsystem),
            mode(first.mode),
            counted(number, "session")
        );
        text.push(paint.tone(&head, Tone::Head));
        text.extend(table_of_sessions(group).lines("  ", paint));
        text.push(String::new());
    }
    text.pop();
    if let Some(why) = &sessions.missing {
        let missing = format!("not all sessions are known: {}", printable(why));
        text.push(paint.tone(&missing, Tone::Bad));
    } else if text.is_empty() {
        text.push("no sessions".into());
    }
    whole(&text)
}

fn table_of_sessions(sessions: &[&Session]) -> Table {
    let mut table = Table::new(&[
        ("CNTLID", Side::Right),
        ("PEER", Side::Left),
        ("LOCAL", Side::Left),
        ("QUEUES", Side::Right),
        ("DIGESTS", Side::Left),
        ("KATO", Side::Right),
        ("AGE", Side::Right),
        ("IDLE", Side::Right),
        ("READS", Side::Right),
        ("READ", Side::Right),
        ("WRITES", Side::Right),
        ("WRITTEN", Side::Right),
        ("HOST", Side::Left),
    ]);
    for session in sessions {
        let traffic = session.traffic;
        table.row([
            session.cntlid.to_string().into(),
            Cell::maybe(session.peer),
            Cell::maybe(session.local),
            Cell::maybe(session.io_queues),
            digests(session),
            match session.kato {
                Some(0) => "none".into(),
                kato => Cell::maybe(kato.map(|kato| milliseconds(kato.into()))),
            },
            Cell::maybe(session.age.map(seconds)),
            Cell::maybe(session.idle.map(seconds)),
            Cell::maybe(traffic.map(|it| it.reads)),
            Cell::maybe(traffic.map(|it| bytes(it.bytes_read))),
            Cell::maybe(traffic.map(|it| it.writes)),
            Cell::maybe(traffic.map(|it| bytes(it.bytes_written))),
            session.hostnqn.as_str().into(),
        ]);
    }
    table
}

fn digests(session: &Session) -> Cell {
    match (session.header_digest, session.data_digest) {
        (None, None) => "-".into(),
        (Some(true), Some(true)) => "both".into(),
        (Some(true), _) => "header".into(),
        (_, Some(true)) => "data".into(),
        (_, _) => "none".into(),
    }
}

/// The last refusals, at most `count` of them, oldest first.
pub(super) fn refusals(refusals: &Refusals, count: Option<usize>, paint: Paint) -> String {
    let shown = last(refusals, count);
    let mut table = Table::new(&[
        ("TIME", Side::Left),
        ("PEER", Side::Left),
        ("QUEUE", Side::Right),
        ("HOST", Side::Left),
        ("SUBSYSTEM", Side::Left),
        ("REASON", Side::Left),
    ]);
    for refusal in shown {
        table.row([
            moment(refusal.time).into(),
            refusal.peer.to_string().into(),
            Cell::maybe(refusal.qid),
            Cell::maybe(refusal.hostnqn.as_deref()),
            Cell::maybe(refusal.subsystem.as_deref()),
            refusal.reason.as_str().into(),
        ]);
    }
    let mut text = match shown {
        [] => Vec::new(),
        _ => table.lines("", paint),
    };
    let number = u64::try_from(shown.len()).unwrap_or(u64::MAX);
    if number != refusals.total || number == 0 {
        let total = counted(refusals.total, "connection");
        text.push(format!("{total} refused since the worker started"));
    }
    whole(&text)
}

/// The last `count` of the refusals that the daemon told.
pub(super) fn last(
    refusals: &Refusals,
    count: Option<usize>,
) -> &[crate::control::message::Refusal] {
    let known = refusals.last.len();
    &refusals.last[known - count.unwrap_or(known).min(known)..]
}

/// The steps of a plan, or `nothing` if it has none. Its warnings are not among them.
pub(super) fn plan(plan: &Plan, nothing: &str, paint: Paint) -> String {
    if plan.steps.is_empty() {
        return whole(&[nothing.into()]);
    }
    let mut table = Table::new(&[
        ("STEP", Side::Right),
        ("HOSTS", Side::Left),
        ("WHAT", Side::Left),
    ]);
    for (index, step) in plan.steps.iter().enumerate() {
        let (words, tone) = effect(step.effect);
        table.row([
            (index + 1).to_string().into(),
            Cell::toned(words, tone),
            step.what.as_str().into(),
        ]);
    }
    whole(&table.lines("", paint))
}

fn effect(effect: Effect) -> (&'static str, Tone) {
    match effect {
        Effect::Nothing => ("notice nothing", Tone::Plain),
        Effect::NewConnections => ("that connect later", Tone::Plain),
        Effect::Notice => ("are told, and go on", Tone::Notable),
        Effect::Disconnects => ("lose connections", Tone::Bad),
        Effect::NextStart => ("at the next start", Tone::Notable),
    }
}

/// As it is called.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Kernel => "kernel",
        Mode::User => "user",
        Mode::Discovery => "discovery",
    }
}

/// Lines, each with its end.
fn whole(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
