//! The Keep Alive Timer (Base 2.0 §3.9), traffic based: any command of any queue restarts it.
//!
//! Three cases: a KATO that the host asked for; none, which on an I/O controller means no timer and
//! on a discovery controller two minutes without a command; and a controller that was reset or shut
//! down, whose association is preserved for two minutes at least (Base 2.0 §3.3.2).

use std::time::{Duration, Instant};

use super::Kind;

/// The timer of one controller.
#[derive(Debug)]
pub(super) struct KeepAlive {
    kind: Kind,
    /// As asked in Connect, rounded: the default.
    connected: Duration,
    /// In force, rounded up to [`KAS`]; zero for none.
    kato: Duration,
    /// The controller is disabled or shut down.
    preserved: bool,
    deadline: Option<Instant>,
}

impl KeepAlive {
    /// The timer as it starts when Connect completes.
    pub(super) fn new(kind: Kind, kato: Duration, now: Instant) -> Self {
        let kato = rounded(kato);
        let mut timer = Self {
            kind,
            connected: kato,
            kato,
            preserved: false,
            deadline: None,
        };
        timer.restart(now);
        timer
    }

    /// Sets another timeout (Set Features 0Fh) and restarts the timer.
    pub(super) fn set(&mut self, kato: Duration, now: Instant) {
        self.kato = rounded(kato);
        self.restart(now);
    }

    /// A command arrived.
    pub(super) fn restart(&mut self, now: Instant) {
        self.deadline = self.timeout().map(|timeout| now + timeout);
    }

    /// The controller was reset or its shutdown started: KATO counts no more.
    pub(super) fn preserve(&mut self, now: Instant) {
        self.preserved = true;
        self.restart(now);
    }

    /// The controller was enabled: KATO counts (again).
    pub(super) fn resume(&mut self, now: Instant) {
        self.preserved = false;
        self.restart(now);
    }

    /// When to look next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the host is gone, said once. Commands that this timer was not told of count as well.
    pub(super) fn expired(&mut self, now: Instant, traffic_elsewhere: bool) -> bool {
        match self.deadline {
            Some(deadline) if deadline <= now => {
                if traffic_elsewhere {
                    self.restart(now);
                } else {
                    self.deadline = None;
                }
                !traffic_elsewhere
            }
            _ => false,
        }
    }

    /// KATO in force, as the feature reports it: milliseconds.
    pub(super) fn kato(&self) -> u32 {
        milliseconds(self.kato)
    }

    /// KATO of Connect, as the feature reports its default: milliseconds.
    pub(super) fn default_kato(&self) -> u32 {
        milliseconds(self.connected)
    }

    fn timeout(&self) -> Option<Duration> {
        if self.preserved {
            Some(self.kato.max(ASSOCIATION_PRESERVED))
        } else if !self.kato.is_zero() {
            Some(self.kato)
        } else {
            match self.kind {
                Kind::Io => None,
                Kind::Discovery => Some(DISCOVERY_IDLE),
            }
        }
    }
}

/// `kato` rounded up to the granularity that Identify reports.
fn rounded(kato: Duration) -> Duration {
    let granularity = u128::from(KAS) * 100;
    let units = kato.as_millis().div_ceil(granularity);
    Duration::from_millis(u64::try_from(units * granularity).unwrap_or(u64::MAX))
}

fn milliseconds(kato: Duration) -> u32 {
    u32::try_from(kato.as_millis()).unwrap_or(u32::MAX)
}

/// Granularity of the timer in units of 100 ms, as Identify reports it (KAS): one second.
pub(super) const KAS: u16 = 10;

/// How long a discovery controller without KATO waits for a command, as SPDK and Linux do.
const DISCOVERY_IDLE: Duration = Duration::from_secs(120);

/// How long a disabled controller keeps its association (Base 2.0 §3.3.2: at least two minutes).
const ASSOCIATION_PRESERVED: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_silent_host_expires_after_its_kato_rounded_up() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Kind::Io, Duration::from_millis(4001), start);
        assert_eq!(timer.kato(), 5000);
        assert_eq!(timer.deadline(), Some(start + seconds(5)));
        assert!(!timer.expired(start + seconds(4), false));
        assert!(timer.expired(start + seconds(5), false));
        assert_eq!(timer.deadline(), None);
    }

    #[test]
    fn any_command_keeps_the_host_alive() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Kind::Io, seconds(5), start);
        timer.restart(start + seconds(4));
        assert!(!timer.expired(start + seconds(6), false));
        // An I/O queue on another thread had traffic: the timer starts anew.
        assert!(!timer.expired(start + seconds(9), true));
        assert!(!timer.expired(start + seconds(13), false));
        assert!(timer.expired(start + seconds(14), false));
    }

    #[test]
    fn without_kato_only_discovery_controllers_expire() {
        let start = Instant::now();
        let mut io = KeepAlive::new(Kind::Io, Duration::ZERO, start);
        assert_eq!(io.deadline(), None);
        assert!(!io.expired(start + seconds(100_000), false));
        let discovery = KeepAlive::new(Kind::Discovery, Duration::ZERO, start);
        assert_eq!(discovery.deadline(), Some(start + seconds(120)));
    }

    #[test]
    fn a_disabled_controller_is_preserved_for_two_minutes() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Kind::Io, seconds(5), start);
        timer.preserve(start + seconds(1));
        assert_eq!(timer.deadline(), Some(start + seconds(121)));
        timer.resume(start + seconds(60));
        assert_eq!(timer.deadline(), Some(start + seconds(65)));
        timer.set(Duration::ZERO, start + seconds(61));
        assert_eq!(timer.deadline(), None);
        assert_eq!((timer.kato(), timer.default_kato()), (0, 5000));
    }
}
