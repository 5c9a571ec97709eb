//! What nvmfctl makes of answers, without a daemon.

#![forbid(unsafe_code)]

use super::*;
use crate::control::message::{Failure, FailureKind};

const PLAIN: Form = Form {
    json: true,
    paint: Paint::Plain,
};

fn sessions(modes: &[Mode], missing: Option<&str>) -> Sessions {
    let session = |&mode: &Mode| crate::control::message::Session {
        mode,
        ..top::tests::session("nqn.2014-08.org.example:host1", 1, None)
    };
    Sessions {
        sessions: modes.iter().map(session).collect(),
        missing: missing.map(String::from),
    }
}

#[test]
fn a_drain_waits_for_all_but_discovery() {
    let mut looks = vec![
        sessions(&[Mode::Discovery], None),
        // One that nobody could count may be there.
        sessions(&[Mode::Discovery], Some("the kernel did not answer")),
        sessions(&[Mode::User, Mode::Discovery], None),
        sessions(&[Mode::Kernel, Mode::User], None),
    ];
    let ask = || Ok(looks.pop().expect("it has waited long enough"));
    wait_for_the_last(ask, Duration::ZERO, PLAIN).unwrap();
    assert!(looks.is_empty(), "{looks:?}");
}

#[test]
fn a_drain_whose_daemon_ends_is_told_so() {
    let ask = || Err(CtlError::Ended);
    let error = wait_for_the_last(ask, Duration::ZERO, PLAIN).unwrap_err();
    assert_eq!(error.exit(), 69);
}

#[test]
fn each_kind_of_failure_has_its_status() {
    let cases = [
        (FailureKind::Request, 64),
        (FailureKind::Config, 65),
        (FailureKind::NoConfig, 69),
        (FailureKind::System, 71),
        (FailureKind::NotFound, 1),
        (FailureKind::Busy, 75),
    ];
    for (kind, status) in cases {
        let text = "a: 1\nb\x1b[31m\n".into();
        let error = CtlError::Refused(Failure { kind, text });
        assert_eq!(error.exit(), status, "{kind:?}");
        assert_eq!(error.report(), "nvmfctl: a: 1\nb\\u{1b}[31m\n");
    }
}
