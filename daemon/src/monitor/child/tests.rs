//! Workers that were taken over: whatever they say, the monitor goes on.

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;

use crossbeam_channel::bounded;

use super::*;
use crate::control::message::Mode;
use crate::ipc::Channel;

/// A worker that does as `plays` says with its end of the channel, in a process that is none.
fn worker(plays: impl FnOnce(Channel) + Send + 'static) -> Child {
    let (ours, theirs) = Channel::pair().unwrap();
    let theirs = Channel::of(theirs).unwrap();
    thread::spawn(move || plays(theirs));
    let (_, ended) = bounded(1);
    Child::of(Subprocess::of(ours, u32::MAX, ended).unwrap())
}

/// One that says this again and again, whatever it is asked, until nobody listens.
fn babbler(message: impl Fn() -> ToMonitor + Send + 'static) -> Child {
    worker(move |channel| while channel.send(&message(), None).is_ok() {})
}

fn session(hostnqn: &str) -> Session {
    Session::named(Mode::User, "nqn.2014-08.org.example:a", 1, hostnqn)
}

fn sessions(part: Vec<Session>) -> ToMonitor {
    ToMonitor::Sessions { part, more: true }
}

#[test]
fn a_list_without_an_end_ends() {
    let empty = babbler(|| sessions(Vec::new()));
    assert!(matches!(empty.sessions(), Err(Lost::Nonsense)));
    let many = babbler(|| sessions(vec![session("nqn.2014-08.org.example:h"); PART_MAX]));
    assert!(matches!(many.sessions(), Err(Lost::Nonsense)));
    let refusals = babbler(|| ToMonitor::Refusals {
        total: 0,
        part: Vec::new(),
        more: true,
    });
    assert!(matches!(refusals.refusals(), Err(Lost::Nonsense)));
}

#[test]
fn what_is_longer_than_names_get_is_nonsense() {
    let long = babbler(|| sessions(vec![session(&"h".repeat(NQN_MAX + 1))]));
    assert!(matches!(long.sessions(), Err(Lost::Nonsense)));
    let crowd = babbler(|| sessions(vec![session("nqn.2014-08.org.example:h"); PART_MAX + 1]));
    assert!(matches!(crowd.sessions(), Err(Lost::Nonsense)));
}

#[test]
fn another_answer_is_nonsense() {
    let held = babbler(|| ToMonitor::Held);
    assert!(matches!(held.counts(), Err(Lost::Nonsense)));
    assert!(matches!(held.commit(), Err(Lost::Nonsense)));
    assert!(held.hold_handoffs().is_ok());
    let refused = babbler(|| ToMonitor::Committed(Err("\x1b[2J".repeat(1 << 10))));
    let Err(Lost::Refused(why)) = refused.commit() else {
        panic!("it says no")
    };
    assert!(why.is_ascii() && !why.contains('\x1b'));
}

#[test]
fn an_end_without_a_word_is_the_end() {
    let gone = worker(drop);
    assert!(matches!(gone.counts(), Err(Lost::Gone)));
}

#[test]
fn a_descriptor_that_was_not_asked_for_is_closed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let child = worker(move |channel| {
        let counts = ToMonitor::Counts {
            negotiating: 0,
            refused: 0,
            stalled: 0,
            memory: Level::default(),
        };
        channel.send(&counts, Some(writer.as_fd())).unwrap();
        drop(writer);
        let _ = channel.receive::<ToWorker>();
    });
    assert_eq!(child.counts().unwrap(), Counts::default());
    let mut nothing = Vec::new();
    // Read to its end, which does not come while anybody has the other end.
    std::io::Read::read_to_end(
        &mut File::from(std::os::fd::OwnedFd::from(reader)),
        &mut nothing,
    )
    .unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn who_is_given_up_finds_nobody() {
    let (sender, stopped) = bounded(1);
    let child = worker(move |channel| {
        // Its first word is never read: it waits until it is given up.
        let _ = channel.receive::<ToWorker>();
        let _ = sender.send(channel.send(&ToMonitor::Held, None).is_err());
    });
    let answers = child.answers().clone();
    drop(child);
    assert!(stopped.recv_timeout(Duration::from_secs(10)).unwrap());
    let end = answers.recv_timeout(Duration::from_secs(10));
    assert!(
        matches!(end, Err(RecvTimeoutError::Disconnected)),
        "the thread has ended"
    );
}
