//! Rates: what two looks at the sessions say of the time between them.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::control::message::{Mode, Session, Sessions, Traffic};

/// What is known at a look.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// Milliseconds since the look before; none at the first one.
    pub(super) elapsed_ms: Option<u64>,
    /// Each session, the busiest first.
    pub(super) sessions: Vec<Activity>,
    /// The sums of what is known of them.
    pub(super) total: Rate,
    /// Why some sessions are not among them, if so.
    pub(super) missing: Option<String>,
}

/// A session and what it does.
#[derive(Debug, Serialize)]
pub(super) struct Activity {
    pub(super) subsystem: String,
    pub(super) hostnqn: String,
    pub(super) cntlid: u16,
    pub(super) mode: Mode,
    pub(super) io_queues: Option<u32>,
    pub(super) idle: Option<u64>,
    /// None at the first look at a session, and where its mode has no figures.
    pub(super) rate: Option<Rate>,
}

/// Per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Rate {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
}

impl View {
    /// The sessions `now`, `elapsed` after those `before`; none before at the first look.
    pub(super) fn of(now: &Sessions, before: Option<(&Sessions, Duration)>) -> Self {
        let elapsed = before.map(|(_, elapsed)| elapsed);
        let known = before.map_or(&[][..], |(before, _)| &before.sessions);
        let known: HashMap<_, _> = known.iter().map(|it| (key(it), it)).collect();
        let activity = |session: &Session| {
            let before = known.get(&key(session)).copied();
            let rate = elapsed.and_then(|elapsed| Rate::of(session, before, elapsed));
            Activity {
                subsystem: session.subsystem.clone(),
                hostnqn: session.hostnqn.clone(),
                cntlid: session.cntlid,
                mode: session.mode,
                io_queues: session.io_queues,
                idle: session.idle,
                rate,
            }
        };
        let mut sessions: Vec<_> = now.sessions.iter().map(activity).collect();
        sessions.sort_by(|a, b| a.order().cmp(&b.order()));
        let rates = sessions.iter().filter_map(|it| it.rate);
        Self {
            elapsed_ms: elapsed.map(milliseconds),
            total: rates.fold(Rate::default(), Rate::plus),
            sessions,
            missing: now.missing.clone(),
        }
    }
}

impl Activity {
    /// By bytes, then commands; those that are alike keep their places from look to look.
    fn order(&self) -> impl Ord {
        let rate = self.rate.unwrap_or_default();
        let bytes = u128::from(rate.bytes_read) + u128::from(rate.bytes_written);
        let commands = u128::from(rate.reads) + u128::from(rate.writes);
        (
            Reverse((bytes, commands)),
            self.subsystem.clone(),
            self.hostnqn.clone(),
            self.cntlid,
        )
    }
}

impl Rate {
    /// A session that is younger than the look before has all its traffic from since then.
    fn of(now: &Session, before: Option<&Session>, elapsed: Duration) -> Option<Self> {
        let now_traffic = now.traffic?;
        let before = match before {
            Some(before) => before.traffic?,
            None if now.age? <= elapsed.as_secs() => Traffic::default(),
            None => return None,
        };
        let rate = |now: u64, before: u64| {
            // Less than before: another session with the same name.
            let moved = u128::from(now.checked_sub(before)?);
            let rate = moved * 1000 / u128::from(milliseconds(elapsed)).max(1);
            Some(u64::try_from(rate).unwrap_or(u64::MAX))
        };
        Some(Self {
            reads: rate(now_traffic.reads, before.reads)?,
            writes: rate(now_traffic.writes, before.writes)?,
            bytes_read: rate(now_traffic.bytes_read, before.bytes_read)?,
            bytes_written: rate(now_traffic.bytes_written, before.bytes_written)?,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            reads: self.reads.saturating_add(other.reads),
            writes: self.writes.saturating_add(other.writes),
            bytes_read: self.bytes_read.saturating_add(other.bytes_read),
            bytes_written: self.bytes_written.saturating_add(other.bytes_written),
        }
    }
}

fn key(session: &Session) -> (&str, Mode, u16, &str) {
    let Session {
        subsystem,
        mode,
        cntlid,
        hostnqn,
        ..
    } = session;
    (subsystem, *mode, *cntlid, hostnqn)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::session;
    use super::*;

    fn sessions(sessions: Vec<Session>) -> Sessions {
        Sessions {
            sessions,
            missing: None,
        }
    }

    const TWO_SECONDS: Duration = Duration::from_secs(2);

    #[test]
    fn a_rate_is_what_came_in_between() {
        let before = sessions(vec![session("a", 1, Some(100)), session("b", 1, Some(5))]);
        let now = sessions(vec![
            session("a", 1, Some(110)),
            session("b", 1, Some(2005)),
        ]);
        let view = View::of(&now, Some((&before, TWO_SECONDS)));
        let rates: Vec<_> = view
            .sessions
            .iter()
            .map(|it| (&*it.hostnqn, it.rate))
            .collect();
        let rate = |reads| {
            Some(Rate {
                reads,
                writes: reads * 2,
                bytes_read: reads * 4096,
                bytes_written: 0,
            })
        };
        assert_eq!(rates, [("b", rate(1000)), ("a", rate(5))]);
        assert_eq!(Some(view.total), rate(1005));
    }

    #[test]
    fn a_session_without_figures_has_no_rate() {
        let before = sessions(vec![session("a", 1, None)]);
        let view = View::of(&before, Some((&before, TWO_SECONDS)));
        assert_eq!(view.sessions[0].rate, None);
        assert_eq!(view.total, Rate::default());
    }

    #[test]
    fn the_first_look_has_no_rates() {
        let view = View::of(&sessions(vec![session("a", 1, Some(7))]), None);
        assert_eq!(view.sessions[0].rate, None);
        assert_eq!(view.elapsed_ms, None);
    }

    #[test]
    fn a_new_session_counts_from_its_beginning_and_an_unknown_one_from_now() {
        let mut young = session("young", 1, Some(10));
        young.age = Some(1);
        let mut old = session("old", 2, Some(10));
        old.age = Some(100);
        let view = View::of(
            &sessions(vec![old, young]),
            Some((&Sessions::default(), TWO_SECONDS)),
        );
        assert_eq!(view.sessions[0].rate.unwrap().reads, 5);
        assert_eq!(view.sessions[1].rate, None);
    }

    #[test]
    fn figures_that_run_backwards_and_no_time_at_all_are_no_trouble() {
        let before = sessions(vec![session("a", 1, Some(100))]);
        let now = sessions(vec![session("a", 1, Some(99))]);
        let view = View::of(&now, Some((&before, TWO_SECONDS)));
        assert_eq!(view.sessions[0].rate, None);
        let view = View::of(&before, Some((&before, Duration::ZERO)));
        assert_eq!(view.sessions[0].rate, Some(Rate::default()));
    }
}
