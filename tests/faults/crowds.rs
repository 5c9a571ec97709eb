//! Three hundred at once who stop half way, at each stage of a handshake.

use nvmfd_tests::peer::{PeerError, Raw};

use crate::chance::Chance;
use crate::openings::{ENDINGS, IC, Opening, end};
use crate::scene::{Mode, Result, Scene};

/// Peers of each stage.
const CROWD: u32 = 300;

/// A connection that got so far.
type Half = fn(&Scene, u32, &Opening) -> Result<Raw, PeerError>;

/// The stages, and how to get there. The opening is an I/O queue's.
const STAGES: [(&str, Half); 7] = [
    ("connected", |scene, _, io| io.sent(scene.io(), 0)),
    ("half an ICReq", |scene, _, io| io.sent(scene.io(), IC / 2)),
    ("an ICResp unread", |scene, _, io| io.sent(scene.io(), IC)),
    ("half a Connect", |scene, number, _| {
        let admin = Opening::new(&scene.admin(number));
        admin.sent(scene.io(), (IC + admin.len()) / 2)
    }),
    ("a Connect's answer unread", |scene, number, _| {
        let admin = Opening::new(&scene.admin(number));
        admin.sent(scene.io(), admin.len())
    }),
    ("half an I/O queue's Connect", |scene, _, io| {
        io.sent(scene.io(), (IC + io.len()) / 2)
    }),
    ("half of it, at the discovery service", |scene, _, io| {
        io.sent(scene.target.discovery(), (IC + io.len()) / 2)
    }),
];

fn three_hundred_stop_half_way(mode: Mode) -> Result {
    let mut scene = Scene::new(mode)?;
    let mut chance = Chance::new();
    let reloads = scene.reloads();
    let (host, wishes) = scene.without_queue(1)?;
    let io = Opening::new(&wishes);
    for (stage, half) in STAGES {
        println!("stage: {stage}");
        let crowd = (0..CROWD)
            .map(|number| half(&scene, 1000 + number, &io))
            .collect::<Result<Vec<_>, _>>()?;
        scene.goes_on()?;
        for raw in crowd {
            // Nobody waits to be told.
            drop(end(raw, chance.one_of(&ENDINGS))?);
        }
        scene.goes_on()?;
    }
    drop(host);
    assert!(reloads.end() > 0);
    scene.ends_well()
}

#[test]
fn three_hundred_at_each_stage_keep_nobody_out() -> Result {
    three_hundred_stop_half_way(Mode::User)
}

#[test]
fn three_hundred_at_each_stage_keep_nobody_out_of_the_kernel() -> Result {
    three_hundred_stop_half_way(Mode::Kernel)
}
