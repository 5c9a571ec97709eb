//! CNTLIDs: there are 65,519, and whatever hosts do each of them can be had again.

use std::collections::BTreeSet;
use std::thread;

use nvmf_proto::connect::CNTLID_MAX;
use nvmfd_tests::peer::{PeerError, Raw};

use crate::chance::Chance;
use crate::openings::{ENDINGS, IC, Opening, end};
use crate::scene::{Mode, Result, Scene};

/// Threads that ask.
const SIDES: usize = 2;

/// What asks for one, and its answer's CNTLID.
fn ask(scene: &Scene, opening: &Opening) -> std::result::Result<u16, PeerError> {
    let mut raw = opening.blurted(scene.io(), opening.len())?;
    raw.receive(IC)?;
    let (_, completion) = raw.response()?;
    assert!(completion.status.is_success(), "{}", completion.status);
    // So that no port waits for packets that are late.
    raw.reset()?;
    let [low, high, ..] = completion.result.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}

#[test]
fn every_cntlid_can_be_had_again() -> Result {
    let mut scene = Scene::new(Mode::User)?;
    let mut chance = Chance::new();
    let admin = Opening::new(&scene.admin(1));
    // Queues and controllers that go in each order and way there is.
    for _ in 0..100 {
        let (host, wishes) = scene.without_queue(2)?;
        let cntlid = host.admin.cntlid();
        let raw = Raw::establish(scene.io(), &wishes)?;
        match chance.below(3) {
            0 => drop(end(raw, chance.one_of(&ENDINGS))?),
            1 => {
                drop(host);
                drop(raw);
            }
            _ => {
                let io = Opening::new(&wishes);
                let late = io.blurted(scene.io(), io.len())?;
                drop(host);
                drop((late, raw));
            }
        }
        assert_ne!(ask(&scene, &admin)?, cntlid);
    }
    scene.balances()?;
    // The numbers are given in turn: one round, in which the healthy host's is left out, has them all.
    let wanted = usize::from(CNTLID_MAX) - 1;
    let shared = &scene;
    let got = thread::scope(|scope| {
        let sides: Vec<_> = (0..SIDES)
            .map(|side| {
                let admin = &admin;
                let share = (wanted + side) / SIDES;
                scope.spawn(move || (0..share).map(|_| ask(shared, admin)).collect())
            })
            .collect();
        let mut got = BTreeSet::new();
        for side in sides {
            let numbers: Result<Vec<u16>, PeerError> = side.join().expect("no panic");
            got.extend(numbers?);
        }
        Ok::<_, PeerError>(got)
    })?;
    assert_eq!(got.len(), wanted, "some are not given any more");
    scene.ends_well()
}
