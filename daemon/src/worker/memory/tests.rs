//! What is drawn, who waits, who is served.

use crossbeam_channel::Receiver;

use super::*;

const MIB: u64 = 1 << 20;

/// Memory of 64 MiB, with one reactor that only keeps its messages.
struct Scene {
    memory: Arc<Memory>,
    messages: Receiver<Message>,
    now: Instant,
    connections: usize,
    _poll: mio::Poll,
}

impl Scene {
    fn new() -> Self {
        let poll = mio::Poll::new().unwrap();
        let (handle, messages) = ReactorHandle::new(poll.registry()).unwrap();
        let limits = Limits {
            memory: 64 * MIB,
            memory_per_connection: 8 * MIB,
            ..Limits::default()
        };
        Self {
            memory: Arc::new(Memory::new(&limits, vec![handle].into())),
            messages,
            now: Instant::now(),
            connections: 0,
            _poll: poll,
        }
    }

    fn try_connect(&mut self, share: u64) -> Option<Funds> {
        self.connections += 1;
        let id = ConnectionId {
            reactor: 0,
            token: self.connections,
            generation: 1,
        };
        Funds::new(&self.memory, id, share)
    }

    fn connect(&mut self) -> Funds {
        self.try_connect(MIB / 64).expect("there is room")
    }

    /// Connections that have all that there is for data.
    fn fill(&mut self) -> Vec<Funds> {
        let mut all = Vec::new();
        for bytes in [8 * MIB, MIB, MIB / 32] {
            loop {
                let mut funds = self.connect();
                funds.settle(0, bytes, self.now);
                if funds.ticket.is_some() {
                    break;
                }
                funds.settle(bytes, bytes, self.now);
                all.push(funds);
            }
        }
        all
    }

    fn granted(&self) -> Option<(usize, u64)> {
        match self.messages.try_recv() {
            Ok(Message::Granted(id, bytes)) => Some((id.token, bytes)),
            _ => None,
        }
    }
}

#[test]
fn what_is_held_is_what_connections_have_and_never_more_than_may_be() {
    let mut scene = Scene::new();
    let all = scene.fill();
    let level = scene.memory.level();
    assert!((40 * MIB..=64 * MIB).contains(&level.held), "{level:?}");
    assert_eq!(level.held, all.iter().map(Funds::allowed).sum::<u64>());
    assert_eq!((level.met, level.waiting), (3, 0));
    drop(all);
    assert_eq!(scene.memory.level().held, 0);
}

#[test]
fn what_is_given_back_is_the_first_one_s_in_line_and_nobody_passes() {
    let mut scene = Scene::new();
    let mut all = scene.fill();
    let (mut first, mut second, mut late) = (scene.connect(), scene.connect(), scene.connect());
    first.settle(0, 4 * MIB, scene.now);
    second.settle(0, 2 * MIB, scene.now);
    assert_eq!(scene.memory.level().waiting, 2);
    // Enough for the second, and not for the first.
    all[0].settle(5 * MIB, 5 * MIB, scene.now);
    late.settle(0, MIB / 32, scene.now);
    assert_eq!((scene.granted(), scene.memory.level().waiting), (None, 3));
    all[1].settle(0, 0, scene.now);
    let granted: Vec<_> = std::iter::from_fn(|| scene.granted()).collect();
    let (share, ids) = (MIB / 64, [&first, &second, &late].map(|it| it.id.token));
    assert_eq!(granted.len(), 3);
    assert_eq!(granted[0], (ids[0], 4 * MIB - share));
    first.granted(granted[0].1);
    first.settle(4 * MIB, 4 * MIB, scene.now);
    assert_eq!(first.ticket, None);
    second.granted(granted[1].1);
    late.granted(granted[2].1);
    drop((first, second, late, all));
    assert_eq!(scene.memory.level().held, 0);
}

#[test]
fn who_waits_holds_no_more_than_it_uses_and_who_leaves_makes_way() {
    let mut scene = Scene::new();
    let mut all = scene.fill();
    // It uses half of what it has, and needs more than that.
    all[0].settle(4 * MIB, 8 * MIB, scene.now);
    let mut waiting = scene.connect();
    waiting.settle(0, 8 * MIB, scene.now);
    all[0].settle(MIB, 6 * MIB, scene.now);
    assert_eq!(scene.granted(), None, "it has all that it needs");
    let mut next = scene.connect();
    next.settle(0, 2 * MIB, scene.now);
    all[0].settle(MIB, 4 * MIB, scene.now);
    assert_eq!(scene.granted(), None, "too little for the first in line");
    drop(waiting);
    assert_eq!(scene.granted().map(|(token, _)| token), Some(next.id.token));
    assert_eq!(scene.memory.level().waiting, 0);
}

#[test]
fn connections_find_room_for_their_shares_when_data_has_all_else() {
    let mut scene = Scene::new();
    let all = scene.fill();
    let mut shares: Vec<_> = (0..64).map(|_| scene.try_connect(MIB / 16)).collect();
    assert!(shares.iter().all(Option::is_some));
    assert!(scene.memory.level().held <= 64 * MIB);
    // Without data there is more for them, and never all.
    drop(all);
    while shares.last().is_some_and(Option::is_some) {
        shares.push(scene.try_connect(MIB));
    }
    let held = scene.memory.level().held;
    assert!((40 * MIB..=48 * MIB).contains(&held), "{held}");
    let mut funds = shares.pop().flatten();
    assert!(funds.is_none());
    funds = shares.swap_remove(0);
    let mut funds = funds.expect("one of them");
    funds.settle(0, 7 * MIB, scene.now);
    assert!(funds.has_drawn(), "some is left for data");
}

#[test]
fn patience_shrinks_while_others_wait() {
    let mut scene = Scene::new();
    let all = scene.fill();
    let after = |seconds| scene.now + Duration::from_secs(seconds);
    assert_eq!(scene.memory.patience(after(9)), None);
    let mut waiting = Funds::new(&scene.memory, all[0].id, 0).expect("there is room");
    waiting.settle(0, MIB, scene.now);
    let patience = |seconds| {
        let patience = scene.memory.patience(after(seconds));
        patience.map(|it| it.as_secs())
    };
    assert_eq!(
        [0, 1, 2, 3].map(patience),
        [None, Some(30), Some(15), Some(7)]
    );
    assert_eq!([10, 1000].map(patience), [Some(2), Some(2)]);
    drop(waiting);
    assert_eq!(patience(10), None);
}

#[test]
fn while_somebody_waits_little_is_read_that_nobody_could_serve() {
    let mut scene = Scene::new();
    assert!(scene.memory.read() > SMALL_READ);
    let mut waits = scene.connect();
    let all = scene.fill();
    // What is left is too little for it, and is not for others to read into.
    waits.settle(0, 8 * MIB, scene.now);
    assert_eq!(scene.memory.read(), SMALL_READ);
    drop(all);
    assert!(scene.granted().is_some());
    assert!(scene.memory.read() > SMALL_READ);
}

#[test]
fn a_lowered_ceiling_leaves_room_for_data_beside_all_shares() {
    let mut scene = Scene::new();
    let _all: Vec<_> = std::iter::from_fn(|| scene.try_connect(MIB)).collect();
    let lower = Limits {
        memory: 16 * MIB,
        memory_per_connection: 2 * MIB,
        ..Limits::default()
    };
    scene.memory.limit(&lower);
    let mut busy = _all.into_iter().next().unwrap();
    busy.settle(0, MIB + MIB / 2, scene.now);
    assert!(busy.ticket.is_none(), "{:?}", scene.memory.level());
}
