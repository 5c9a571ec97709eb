//! How announcing fares, in lines.

#![forbid(unsafe_code)]

use super::super::amount::{counted, seconds};
use super::super::printable::printable;
use super::super::table::{Paint, Tone};
use super::confinement_of;
use crate::control::message::{Announcer, Registration};

/// The process, multicast DNS, and each Centralized Discovery Controller.
pub(super) fn announcer(announcer: &Announcer, now: u64, paint: Paint) -> Vec<String> {
    let restarts = match announcer.restarts {
        0 => String::new(),
        n => format!(", restarted {}", counted(n, "time")),
    };
    let mut lines = vec![match announcer.pid {
        Some(pid) => format!(
            "announcer: process {pid}, for {}{restarts}",
            seconds(now.saturating_sub(announcer.started))
        ),
        None => paint.tone(
            &format!("announcer: none, the next one is about to start{restarts}"),
            Tone::Bad,
        ),
    }];
    if announcer.pid.is_some() {
        lines.push(confinement_of(&announcer.confinement, paint));
    }
    if let Some(mdns) = &announcer.mdns {
        let announced = match mdns.announced {
            0 => paint.tone("multicast DNS: not announced yet", Tone::Notable),
            n => format!("multicast DNS: {} announced", counted(n.into(), "service")),
        };
        lines.push(announced);
        if let Some(error) = &mdns.error {
            let error = format!("multicast DNS: {}", printable(error));
            lines.push(paint.tone(&error, Tone::Bad));
        }
    }
    let registrations = announcer.registrations.iter();
    lines.extend(registrations.map(|it| registration(it, now, paint)));
    lines
}

fn registration(registration: &Registration, now: u64, paint: Paint) -> String {
    let cdc = registration.cdc;
    match (
        registration.entries,
        registration.since,
        &registration.error,
    ) {
        (Some(entries), since, _) => format!(
            "registered with {cdc}: {}, for {}",
            entries_of(entries),
            seconds(now.saturating_sub(since.unwrap_or(now)))
        ),
        (None, _, Some(error)) => {
            let text = format!("not registered with {cdc}: {}", printable(error));
            paint.tone(&text, Tone::Bad)
        }
        (None, _, None) => paint.tone(&format!("not registered with {cdc} yet"), Tone::Notable),
    }
}

fn entries_of(entries: u32) -> String {
    match entries {
        1 => "1 entry".into(),
        n => format!("{n} entries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confinement::Confinement;
    use crate::control::message::Mdns;
    use crate::os::Fence;

    const NOW: u64 = 1_795_881_295;

    fn said(it: &Announcer) -> Vec<String> {
        announcer(it, NOW, Paint::Plain)
    }

    #[test]
    fn what_is_announced_is_said_in_a_line_each() {
        let cdc = |address: &str, entries, error: Option<&str>| Registration {
            cdc: address.parse().unwrap(),
            entries,
            since: entries.map(|_| NOW - 90),
            error: error.map(Into::into),
        };
        let all = Announcer {
            pid: Some(12),
            started: NOW - 125,
            restarts: 0,
            confinement: Confinement {
                fences: vec![Fence::SystemCallFilter],
                user: Some("nobody".into()),
                lacks: vec![],
            },
            mdns: Some(Mdns {
                announced: 2,
                error: None,
            }),
            registrations: vec![
                cdc("192.0.2.9:8009", Some(12), None),
                cdc("192.0.2.10:8009", Some(1), None),
                cdc("[2001:db8::9]:8009", None, Some("nobody listens\x1b")),
                cdc("192.0.2.11:8009", None, None),
            ],
        };
        let expected = [
            "announcer: process 12, for 2m 5s",
            "  confined by a system call filter, as nobody",
            "multicast DNS: 2 services announced",
            "registered with 192.0.2.9:8009: 12 entries, for 1m 30s",
            "registered with 192.0.2.10:8009: 1 entry, for 1m 30s",
            "not registered with [2001:db8::9]:8009: nobody listens\\u{1b}",
            "not registered with 192.0.2.11:8009 yet",
        ];
        assert_eq!(said(&all), expected);
    }

    #[test]
    fn trouble_is_said() {
        let troubled = Announcer {
            pid: None,
            started: 0,
            restarts: 3,
            confinement: Confinement::default(),
            mdns: Some(Mdns {
                announced: 0,
                error: Some("no socket".into()),
            }),
            registrations: vec![],
        };
        let expected = [
            "announcer: none, the next one is about to start, restarted 3 times",
            "multicast DNS: not announced yet",
            "multicast DNS: no socket",
        ];
        assert_eq!(said(&troubled), expected);
    }
}
