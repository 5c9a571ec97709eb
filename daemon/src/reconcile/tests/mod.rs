//! Reconciliation with the fake kernel: from wherever the machine is, through whatever fails, to what is
//! desired, and nothing of others has changed.

mod machine;
mod oracle;
mod stories;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use nvmf_kmod::Errno;
use nvmf_kmod::fake::faults::{FaultKind, Verdict};
use proptest::prelude::*;
use proptest::{collection, option, sample};

use super::{Desired, Exports, ReconcileError, observe, plan, reconcile};
use machine::{Deed, Machine, NAMES};
use wish::{LunWish, PortWish, Wish};

/// What happens between two looks at the machine: others do things, then a daemon starts or reloads, and
/// things fail.
#[derive(Debug, Clone)]
struct Episode {
    deeds: Vec<Deed>,
    /// None: the same as before.
    wish: Option<Wish>,
    faults: Vec<(u32, FaultKind)>,
}

fn namespaces(storages: usize) -> impl Strategy<Value = Option<BTreeMap<u32, LunWish>>> {
    let lun = prop_oneof![
        2 => (0..wish::EXISTING).prop_map(LunWish::Existing),
        5 => (0..storages, 0..5_usize)
            .prop_map(|(storage, identity)| LunWish::Ours(storage, identity)),
        5 => (0..storages).prop_map(|storage| LunWish::Ours(storage, 0)),
    ];
    option::weighted(0.85, collection::btree_map(1..5_u32, lun, 0..4))
}

fn port_wish(storages: usize) -> impl Strategy<Value = PortWish> {
    let options = prop_oneof![3 => Just(0), 1 => 0..6_usize];
    (0..3_usize, options, namespaces(storages)).prop_map(|(name, options, namespaces)| PortWish {
        name,
        options,
        namespaces,
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    let ports = collection::vec(port_wish(wish::BAD + 2), 0..4);
    ports.prop_map(|mut ports| {
        let mut names = BTreeSet::new();
        ports.retain(|port| names.insert(port.name));
        Wish(ports)
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    let map = || collection::vec((0..5_u32, 0..8_u32), 0..4);
    let others = prop_oneof![2 => Just(NAMES.len() - 1), 1 => 0..NAMES.len()];
    let state = option::weighted(0.8, map());
    prop_oneof![
        4 => (any::<bool>(), option::of(0..8_u32))
            .prop_map(|(ramdisk, id)| Deed::ForeignLun { ramdisk, id }),
        2 => map().prop_map(|map| Deed::ForeignPort { map }),
        1 => (0..NAMES.len(), map()).prop_map(|(name, map)| Deed::PeerPort { name, map }),
        1 => (others, any::<bool>(), map(), any::<bool>()).prop_map(|(name, ctld, map, online)| {
            Deed::NvmfPort { name, ctld, map, online }
        }),
        1 => (any::<bool>(), 0..6_usize, map())
            .prop_map(|(port, value, map)| Deed::Damage { port, value, map }),
        4 => (0..3_usize, 1..5_u32, 0..wish::BAD).prop_map(|(name, nsid, storage)| {
            Deed::OurLun { name, nsid, storage }
        }),
        2 => (0..3_usize, 1..5_u32, 0..3_usize)
            .prop_map(|(name, nsid, file)| Deed::Hollow { name, nsid, file }),
        6 => (port_wish(wish::BAD), state, any::<bool>())
            .prop_map(|(wish, map, online)| Deed::OurPort { wish, map, online }),
        2 => any::<usize>().prop_map(Deed::RemoveLun),
        1 => any::<usize>().prop_map(Deed::RemovePort),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(nth, on)| Deed::Switch(nth, on)),
        2 => (any::<usize>(), 0..5_u32, any::<usize>())
            .prop_map(|(nth, plun, lun)| Deed::Map(nth, plun, lun)),
        1 => (any::<usize>(), 0..5_u32).prop_map(|(nth, plun)| Deed::Unmap(nth, plun)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(port, drop)| Deed::Remap { port, drop }),
        1 => (1..3_usize, 8192..65536_u64).prop_map(|(file, bytes)| Deed::Resize { file, bytes }),
    ]
}

fn fault() -> impl Strategy<Value = FaultKind> {
    let errno = || sample::select(vec![Errno::EINTR, Errno::ENOMEM, Errno::ENXIO, Errno::EIO]);
    let verdict = || {
        let texts = [
            "Cannot copyout() the result.",
            "Result nvlist too large.",
            "SubNQN \"nqn.2014-08.org.example:a\" does not exist",
            "SubNQN \"nqn.2014-08.org.example:a\" already exists",
            "LUN 1 is not managed by the block backend",
            "",
        ];
        sample::select(texts.to_vec()).prop_map(|text| Verdict::new(2, text))
    };
    prop_oneof![
        errno().prop_map(FaultKind::Fail),
        errno().prop_map(FaultKind::FailAfter),
        verdict().prop_map(FaultKind::Refuse),
        verdict().prop_map(FaultKind::RefuseAfter),
        Just(FaultKind::Crash),
        Just(FaultKind::CrashAfter),
    ]
}

fn episode() -> impl Strategy<Value = Episode> {
    (
        collection::vec(deed(), 0..6),
        option::weighted(0.7, wish()),
        collection::vec((0..25_u32, fault()), 0..4),
    )
        .prop_map(|(deeds, wish, faults)| Episode {
            deeds,
            wish,
            faults,
        })
}

/// Starts or reloads a daemon, which nothing may let harm others.
fn run(machine: &Machine, desired: &Desired) -> Result<(), ReconcileError> {
    let (others, all) = (machine.others(), machine.all());
    let gaps = gaps(machine);
    let in_use = oracle::in_use(machine, desired);
    machine.changes.lock().unwrap().clear();
    let result = reconcile(&machine.daemon(), desired);
    assert_eq!(machine.others(), others, "others' things have changed");
    assert_eq!(machine.kernel.panicked(), None);
    let ports = machine.our_ports();
    let shows_all = |misuse: &str| {
        let Some(id) = misuse
            .strip_prefix("enabled port ")
            .and_then(|misuse| misuse.strip_suffix(" without a map: it shows every LUN"))
        else {
            return false;
        };
        // One that is taken back cannot be asked any more.
        let port = ports.iter().find(|port| port.id.to_string() == id);
        let nqn = port.and_then(|port| port.option("subnqn"));
        let mut wanted = desired
            .ports()
            .iter()
            .filter(|port| port.exports == Exports::Everything);
        wanted.any(|wanted| nqn.is_none_or(|nqn| nqn == wanted.nqn.as_str()))
    };
    let mut misuses = machine.misuses();
    // What an operator asks for with a bare -K; and a LUN that fell into another's map, and is taken
    // back, or that only the other machine of a pair has.
    misuses.retain(|misuse| !shows_all(misuse) && !gaps.contains(misuse));
    assert_eq!(misuses, [""; 0]);
    let still_in_use = oracle::in_use(machine, desired);
    for (namespace, instance) in in_use {
        assert_eq!(
            still_in_use.get(&namespace),
            Some(&instance),
            "{namespace:?}"
        );
    }
    if let Err(ReconcileError::Conflict(_)) = &result {
        assert_eq!(machine.all(), all, "a conflict changes nothing");
    }
    result.map(drop)
}

/// What the fake says when a LUN is removed that another's map had before there was one, or that the
/// other machine of a pair has.
fn gaps(machine: &Machine) -> BTreeSet<String> {
    let luns = machine.by_hand().luns().unwrap();
    let there: BTreeSet<u32> = luns.luns.iter().map(|lun| lun.id).collect();
    let gaps = machine.foreign_maps(false);
    let gaps = gaps.into_iter().filter(|(_, lun)| !there.contains(lun));
    gaps.chain(machine.foreign_maps(true))
        .map(|(port, lun)| format!("removed LUN {lun}, which port {port} still maps"))
        .collect()
}

/// Runs without failures: what is desired is reached at once, and then nothing is left to do.
fn settle(machine: &Machine, desired: &Desired) {
    machine.faults.clear();
    let conflicts = oracle::conflicts(machine, desired);
    let held = oracle::holds(machine, desired);
    match run(machine, desired) {
        Err(ReconcileError::Conflict(conflict)) => assert!(conflicts, "{conflict}"),
        Err(error) => panic!("{error:?}"),
        Ok(()) => {
            assert!(!conflicts, "a conflict was not seen");
            assert_eq!(oracle::holds(machine, desired), Ok(()));
            let observed = observe(&machine.by_hand()).unwrap();
            assert_eq!(plan(&observed, desired).unwrap().steps, []);
            let changes = machine.changes.lock().unwrap().clone();
            assert!(held.is_err() || changes.is_empty(), "{changes:x?}");
        }
    }
}

fn play(episodes: &[Episode]) {
    let machine = Machine::new();
    let mut wish = Wish::default();
    for episode in episodes {
        for deed in &episode.deeds {
            machine.perform(deed);
        }
        wish = episode.wish.clone().unwrap_or(wish);
        let desired = wish.desired(&machine);
        machine.order(&episode.faults);
        // Whatever comes of it: a daemon that failed is started again.
        let _ = run(&machine, &desired);
        machine.faults.clear();
        settle_partly(&machine, &desired);
    }
    settle(&machine, &wish.sober().desired(&machine));
    settle(&machine, &Desired::nothing());
}

/// Storage of no use makes a start fail; then nothing is left of what it made.
fn settle_partly(machine: &Machine, desired: &Desired) {
    let before = ours(machine);
    if let Err(ReconcileError::Apply(error)) = run(machine, desired) {
        assert!(error.left.is_empty(), "{error}");
        let new: Vec<_> = ours(machine).difference(&before).cloned().collect();
        assert_eq!(new, [""; 0], "{error}");
    }
}

/// Names of all ports and LUNs of ours.
fn ours(machine: &Machine) -> BTreeSet<String> {
    let ports = machine.our_ports();
    let luns = machine.our_luns();
    let ports = ports
        .iter()
        .map(|port| format!("{:?}", port.option("subnqn")));
    let luns = luns.into_iter().map(|mut lun| {
        // A file may be of another size by now.
        lun.size_blocks = 0;
        format!("{lun:?}")
    });
    ports.chain(luns).collect()
}

/// More of them can be had with `PROPTEST_CASES`.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_there_was_and_whatever_fails_the_end_is_what_is_desired(
        episodes in collection::vec(episode(), 1..4)
    ) {
        play(&episodes);
    }
}
