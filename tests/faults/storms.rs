//! Resets by the thousand, from several sides at once, at any moment of a handshake.

use std::net::SocketAddr;
use std::thread;

use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::PeerError;

use crate::chance::{Chance, number};
use crate::openings::Opening;
use crate::scene::{Mode, Result, Scene};

/// Threads that reset.
const SIDES: u64 = 4;

fn resets_come_from_all_sides(mut scene: Scene) -> Result {
    let chance = Chance::new();
    let reloads = scene.reloads();
    let (host, io) = scene.without_queue(1)?;
    let mut openings = Vec::new();
    for digests in [false, true] {
        for mut wishes in [scene.admin(2), io.clone()] {
            (wishes.header_digest, wishes.data_digest) = (digests, digests);
            openings.push(Opening::new(&wishes));
        }
    }
    let places = [scene.io(), scene.io(), scene.io(), scene.target.discovery()];
    thread::scope(|scope| {
        let sides: Vec<_> = (0..SIDES)
            .map(|side| {
                let mut chance = chance.branch(side);
                let openings = &openings;
                scope.spawn(move || storm(&mut chance, openings, &places))
            })
            .collect();
        for side in sides {
            side.join().expect("no panic")?;
        }
        Ok::<_, PeerError>(())
    })?;
    scene.goes_on()?;
    // Some of its queues were established, and lost: that ends it, if it does not go before.
    drop(host);
    assert!(reloads.end() > 0);
    scene.ends_well()
}

fn storm(
    chance: &mut Chance,
    openings: &[Opening],
    places: &[SocketAddr],
) -> std::result::Result<(), PeerError> {
    for _ in 0..number(400, 10_000) {
        let opening = &openings[chance.below(openings.len())];
        let length = match chance.below(4) {
            // The whole of it, which makes controllers that are reset at once.
            0 => opening.len(),
            _ => chance.below(opening.len()),
        };
        opening.blurted(chance.one_of(places), length)?.reset()?;
    }
    Ok(())
}

#[test]
fn a_storm_of_resets_passes() -> Result {
    resets_come_from_all_sides(Scene::new(Mode::User)?)
}

#[test]
fn a_storm_of_resets_passes_in_kernel_mode() -> Result {
    // A controller that ends while its queues are on their way is a gap that only the kernel can close.
    resets_come_from_all_sides(Scene::on(Kernel::patched())?)
}
