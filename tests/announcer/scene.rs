//! What the stories share: files that daemons serve, and what they say of it.

use std::time::{Duration, Instant};

use nvmfd::control::message::{Announcer, Registration};
use nvmfd_tests::operator;
use nvmfd_tests::target::{Setup, Target};

/// What a story ends with.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The subsystem that all files have.
pub(crate) const A: &str = "nqn.2014-08.org.example:a";

/// A file with these lines in its table of discovery, which listens at any port of 127.0.0.1, and with
/// subsystems of these names on one portal.
pub(crate) fn file(discovery: &str, subsystems: &[&str]) -> String {
    let head = format!(
        "[discovery]\nlisten = [\"127.0.0.1:0\"]\n{discovery}\n\n\
         [[portal]]\nname = \"front\"\nlisten = [\"127.0.0.1:0\"]\n"
    );
    let subsystem = |nqn: &&str| {
        format!(
            "\n[[subsystem]]\nnqn = \"{nqn}\"\nmode = \"user\"\nportals = [\"front\"]\n\
             allow-any-host = true\n\n[[subsystem.namespace]]\nnsid = 1\nram = \"1m\"\n"
        )
    };
    head + &subsystems.iter().map(subsystem).collect::<String>()
}

/// A daemon that serves a file.
pub(crate) fn serving(config: &str) -> Target {
    Target::with(&Setup {
        config: Some(config.into()),
        ..Setup::default()
    })
}

/// What a daemon says of its announcer, which it must have.
pub(crate) fn announcer(target: &Target) -> Announcer {
    let status = operator::status(&target.socket());
    status.announcer.expect("something is announced")
}

/// What it says of its only registration.
pub(crate) fn registration(target: &Target) -> Registration {
    let mut registrations = announcer(target).registrations;
    assert_eq!(registrations.len(), 1);
    registrations.remove(0)
}

/// Waits until something is so.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "it does not come to pass: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What anything may take, on a machine that has much to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
