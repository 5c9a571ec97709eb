//! Hosts that go at each byte of their handshake, in each way there is, while the file is reloaded.

use crate::openings::{ENDINGS, Opening, Readers, end};
use crate::scene::{Mode, Result, Scene};

fn an_admin_queue_ends_at_each_byte(mode: Mode) -> Result {
    let mut scene = Scene::new(mode)?;
    let reloads = scene.reloads();
    let opening = Opening::new(&scene.admin(1));
    let mut readers = Readers::default();
    for length in 0..=opening.len() {
        for ending in ENDINGS {
            let raw = opening.sent(scene.io(), length)?;
            readers.take(end(raw, ending)?)?;
        }
    }
    readers.are_closed()?;
    scene.goes_on()?;
    assert!(reloads.end() > 0);
    scene.ends_well()
}

fn an_io_queue_ends_at_each_byte(mode: Mode) -> Result {
    let mut scene = Scene::new(mode)?;
    let reloads = scene.reloads();
    let (host, mut wishes) = scene.without_queue(1)?;
    (wishes.header_digest, wishes.data_digest) = (true, true);
    let mut readers = Readers::default();
    let most = Opening::new(&wishes).len();
    for length in 0..=most {
        for (qid, ending) in (1..).zip(ENDINGS) {
            // A queue each, because the last byte makes it one.
            wishes.connect.qid = qid;
            let raw = Opening::new(&wishes).sent(scene.io(), length)?;
            readers.take(end(raw, ending)?)?;
        }
    }
    readers.are_closed()?;
    scene.goes_on()?;
    drop(host);
    assert!(reloads.end() > 0);
    scene.ends_well()
}

#[test]
fn an_admin_queue_that_ends_at_any_byte_of_its_handshake_leaves_nothing() -> Result {
    an_admin_queue_ends_at_each_byte(Mode::User)
}

#[test]
fn an_io_queue_that_ends_at_any_byte_of_its_handshake_leaves_nothing() -> Result {
    an_io_queue_ends_at_each_byte(Mode::User)
}

#[test]
fn an_admin_queue_that_ends_on_its_way_to_the_kernel_leaves_nothing() -> Result {
    an_admin_queue_ends_at_each_byte(Mode::Kernel)
}

#[test]
fn an_io_queue_that_ends_on_its_way_to_the_kernel_leaves_nothing() -> Result {
    an_io_queue_ends_at_each_byte(Mode::Kernel)
}
