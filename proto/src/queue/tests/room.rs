//! What a queue begins with the memory that it is allowed.

use super::super::share;
use super::target::{LAST, PLAIN, Target, capsule, h2c, read_sqe, solicited_write, write_sqe};
use crate::cqe::Completion;
use crate::pdu::Header;

const MIB: u32 = 1 << 20;

/// A target whose queue may hold no more than its share.
fn poor() -> Target {
    let mut target = Target::new(PLAIN);
    let entries = target.queue.parameters().entries;
    target.queue.allow(share(entries, 8192));
    target
}

#[test]
fn small_commands_are_served_from_the_share_alone() {
    let mut target = poor();
    for cid in 0..100 {
        let pdu = match cid % 2 {
            0 => capsule(PLAIN, &write_sqe(cid, 8192), &[7; 8192]),
            _ => capsule(PLAIN, &read_sqe(cid, 4096), &[]),
        };
        assert!(target.queue.has_room());
        target.feed(&pdu).unwrap();
        let tag = target.ready.pop().expect("it begins at once");
        match cid % 2 {
            0 => target.queue.complete(tag, Completion::SUCCESS),
            _ => target.queue.complete_read(tag, vec![0; 4096]),
        }
        target.queue.outbox().take();
    }
    let entries = target.queue.parameters().entries;
    assert!(target.queue.holds() < share(entries, 8192) / 4);
}

#[test]
fn a_read_waits_for_room_and_what_is_behind_it_does_not() {
    let mut target = poor();
    target
        .feed(&capsule(PLAIN, &read_sqe(1, MIB), &[]))
        .unwrap();
    assert!(target.ready.is_empty());
    target
        .feed(&capsule(PLAIN, &write_sqe(2, 512), &[1; 512]))
        .unwrap();
    let tag = target.ready.pop().expect("it passes");
    target.queue.complete(tag, Completion::SUCCESS);
    target.queue.outbox().take();
    let needs = target.queue.needs();
    target.queue.allow(needs - 1);
    assert_eq!(target.queue.next_ready(), None);
    target.queue.allow(needs);
    assert!(target.queue.next_ready().is_some());
    assert_eq!(target.queue.holds(), needs, "no more is promised");
}

#[test]
fn an_r2t_leaves_room_for_all_that_may_come_before_its_data() {
    let mut target = poor();
    target
        .feed(&capsule(PLAIN, &solicited_write(1, MIB), &[]))
        .unwrap();
    assert_eq!(target.answers(), [], "there is no room");
    let needs = target.queue.needs();
    target.queue.allow(needs);
    let tags = (1, target.r2t());
    assert!(target.queue.awaits_data());
    // As many as may be outstanding, and all of them wait.
    for cid in 2..9 {
        assert!(target.queue.has_room());
        target
            .feed(&capsule(PLAIN, &solicited_write(cid, MIB), &[]))
            .unwrap();
    }
    assert_eq!(target.answers(), []);
    for offset in (0..MIB).step_by(4096) {
        let last = if offset + 4096 == MIB { LAST } else { 0 };
        target.feed(&h2c(PLAIN, tags, offset, 4096, last)).unwrap();
    }
    assert!(!target.queue.awaits_data());
    let tag = target.ready.pop().expect("its data is here");
    target.queue.complete(tag, Completion::SUCCESS);
    // Its memory is the next one's.
    let answers = target.answers();
    assert!(matches!(answers[..], [Header::R2t(r2t), Header::CapsuleResp(_)] if r2t.cccid == 2));
    for cid in 3..9 {
        assert!(target.queue.abort(cid));
    }
    assert!(target.queue.holds() <= needs);
}
