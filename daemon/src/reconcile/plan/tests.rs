//! Stories: what was observed, what is wanted, and the steps between, as the log tells them.

use std::collections::BTreeMap;

use nvmf_kmod::request::{LunId, Storage};
use nvmf_kmod::xml::{Damage, Damaged, ListedLun, ListedPort, Luns, Ports};

use super::*;
use crate::reconcile::desired::Limits;

/// A machine's CTL, as its lists would tell.
#[derive(Clone, Default)]
struct World {
    ports: Vec<ListedPort>,
    luns: Vec<ListedLun>,
    damaged_ports: Vec<Damaged>,
    damaged_luns: Vec<Damaged>,
}

const ONLINE: bool = true;
const OFFLINE: bool = false;

impl World {
    fn observed(&self) -> Observed {
        Observed::new(
            Ports {
                ports: self.ports.clone(),
                damaged: self.damaged_ports.clone(),
            },
            Luns {
                luns: self.luns.clone(),
                damaged: self.damaged_luns.clone(),
            },
        )
    }

    /// A port of ours, made for `wanted`.
    fn port(self, id: u32, wanted: &DesiredPort, online: bool, map: Option<&[(u32, u32)]>) -> Self {
        let arguments = wanted.new_port().arguments();
        let options = arguments
            .iter()
            .filter_map(|(key, _)| Some((key.to_owned(), arguments.get_string(key)?.to_owned())));
        self.any_port(id, "nvmf", &options.collect::<Vec<_>>(), online, map)
    }

    fn foreign(
        self,
        id: u32,
        frontend: &str,
        options: &[(&str, &str)],
        map: &[(u32, u32)],
    ) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let options: Vec<_> = options.iter().map(own).collect();
        self.any_port(id, frontend, &options, ONLINE, Some(map))
    }

    fn any_port(
        mut self,
        id: u32,
        frontend: &str,
        options: &[(String, String)],
        online: bool,
        map: Option<&[(u32, u32)]>,
    ) -> Self {
        self.ports.push(ListedPort {
            id,
            frontend: frontend.into(),
            port_type: None,
            online,
            name: frontend.into(),
            physical_port: None,
            options: options.to_vec(),
            lun_map: map.map(|map| map.iter().copied().collect()),
        });
        self
    }

    /// A LUN of ours, made for a namespace of port `a`.
    fn lun(mut self, id: u32, nsid: u32, made_for: &OurLun) -> Self {
        let new = made_for.new_lun(&port("a", &[]).key(nsid));
        let arguments = new.arguments();
        let options = arguments
            .iter()
            .filter_map(|(key, _)| Some((key.to_owned(), arguments.get_string(key)?.to_owned())));
        let size = match new.storage {
            Storage::Block { .. } => 1 << 20,
            Storage::Ramdisk { size } => size,
        };
        self.luns.push(ListedLun {
            id,
            backend: new.storage.backend().into(),
            lun_type: 0,
            size_blocks: size / 512,
            blocksize: 512,
            serial_number: new.serial.clone(),
            device_id: new.device_id.clone(),
            options: options.collect(),
        });
        self
    }

    fn foreign_lun(mut self, id: u32) -> Self {
        self = self.lun(id, 1, &file("/iscsi"));
        let lun = self.luns.last_mut().unwrap();
        lun.options.retain(|(key, _)| key == "file");
        self
    }

    fn last_lun(mut self, change: impl FnOnce(&mut ListedLun)) -> Self {
        change(self.luns.last_mut().unwrap());
        self
    }
}

fn file(path: &str) -> OurLun {
    OurLun {
        storage: Storage::Block { path: path.into() },
        bytes: None,
        blocksize: 0,
        read_only: false,
        serial: "S1".into(),
        device_id: "D1".into(),
        eui: Some("0123456789abcdef".into()),
        uuid: None,
    }
}

fn memory(size: u64) -> OurLun {
    OurLun {
        storage: Storage::Ramdisk { size },
        ..file("/")
    }
}

fn port(name: &str, luns: &[(u32, DesiredLun)]) -> DesiredPort {
    DesiredPort {
        nqn: format!("nqn.2014-08.org.example:{name}").parse().unwrap(),
        portid: 1,
        serial: "SERIAL".into(),
        max_io_qsize: 1024,
        ioccsz: 16448,
        nn: 1024,
        exports: Exports::Namespaces(luns.iter().cloned().collect()),
    }
}

fn ours(path: &str) -> DesiredLun {
    DesiredLun::Ours(file(path))
}

fn existing(id: u32) -> DesiredLun {
    DesiredLun::Existing(LunId(id))
}

fn everything() -> DesiredPort {
    DesiredPort {
        exports: Exports::Everything,
        ..port("a", &[])
    }
}

fn desired(ports: &[DesiredPort]) -> Desired {
    Desired::new(ports.to_vec(), Limits::default()).unwrap()
}

fn planned(world: &World, ports: &[DesiredPort]) -> Plan {
    plan(&world.observed(), &desired(ports)).unwrap()
}

/// The steps, without the names' long beginning.
fn steps(world: &World, ports: &[DesiredPort]) -> Vec<String> {
    let steps = planned(world, ports).steps;
    steps.iter().map(|step| short(&step.to_string())).collect()
}

fn short(text: &str) -> String {
    text.replace("nqn.2014-08.org.example:", "")
}

fn conflict(world: &World, ports: &[DesiredPort]) -> String {
    let conflict = plan(&world.observed(), &desired(ports)).unwrap_err();
    short(&conflict.to_string())
}

fn notes(world: &World, ports: &[DesiredPort]) -> Vec<String> {
    let notes = planned(world, ports).notes;
    notes.iter().map(|note| short(&note.to_string())).collect()
}

const NOTHING: [&str; 0] = [];

/// What differs then, and how to make it differ.
type Change<T> = (&'static str, fn(&mut T));

#[test]
fn a_first_start_makes_luns_then_ports_and_lets_hosts_in_last() {
    let world = World::default().foreign_lun(0);
    let wanted = port("a", &[(1, ours("/a")), (5, existing(0))]);
    assert_eq!(
        steps(&world, &[wanted]),
        [
            "make a LUN of /a for namespace 1 of a",
            "make a port for a",
            "hide every LUN from the port of a",
            "map namespace 1 of the port of a to its LUN",
            "map namespace 5 of the port of a to LUN 0",
            "enable the port of a",
        ]
    );
}

#[test]
fn a_port_that_exports_everything_gets_no_map() {
    assert_eq!(
        steps(&World::default(), &[everything()]),
        ["make a port for a", "enable the port of a"]
    );
}

#[test]
fn what_is_right_is_left_alone() {
    let wanted = port("a", &[(1, ours("/a")), (5, existing(0))]);
    let world = World::default().foreign_lun(0).lun(3, 1, &file("/a")).port(
        2,
        &wanted,
        ONLINE,
        Some(&[(0, 3), (4, 0)]),
    );
    let plan = planned(&world, std::slice::from_ref(&wanted));
    assert_eq!(plan.steps, []);
    assert_eq!(plan.adopted_ports, std::slice::from_ref(&wanted.nqn));
    assert_eq!(plan.adopted_luns, [wanted.key(1)]);
    let world = World::default().port(2, &everything(), ONLINE, None);
    assert_eq!(steps(&world, &[everything()]), NOTHING);
}

#[test]
fn a_stop_removes_ports_then_luns_and_nothing_of_others() {
    let world = World::default()
        .foreign_lun(0)
        .lun(3, 1, &file("/a"))
        .port(2, &port("a", &[]), ONLINE, Some(&[(0, 3)]))
        .port(4, &port("b", &[]), OFFLINE, None)
        .foreign(
            5,
            "nvmf",
            &[("subnqn", "nqn.2014-08.org.example:c")],
            &[(0, 0)],
        );
    assert_eq!(
        steps(&world, &[]),
        [
            "remove port 2 (a): not wanted any more; waiting until its hosts are gone",
            "remove port 4 (b): not wanted any more",
            "remove LUN 3 (namespace 1 of a): not wanted any more; waiting until nothing uses it",
        ]
    );
}

#[test]
fn namespaces_change_online_one_by_one_and_unmapped_before_mapped() {
    let world = World::default()
        .foreign_lun(0)
        .foreign_lun(1)
        .lun(3, 2, &file("/a"))
        .port(
            2,
            &port("a", &[]),
            ONLINE,
            Some(&[(0, 0), (1, 3), (6, 1), (9, 77)]),
        );
    let wanted = port("a", &[(1, existing(1)), (2, ours("/a")), (4, ours("/b"))]);
    assert_eq!(
        steps(&world, &[wanted]),
        [
            "unmap namespace 1 of port 2 (a) from LUN 0",
            "unmap namespace 7 of port 2 (a) from LUN 1",
            "unmap namespace 10 of port 2 (a) from LUN 77",
            "make a LUN of /b for namespace 4 of a",
            "map namespace 1 of port 2 (a) to LUN 1",
            "map namespace 4 of port 2 (a) to its LUN",
        ]
    );
}

#[test]
fn a_crash_between_creation_and_map_is_made_good_offline() {
    let wanted = port("a", &[(1, existing(0))]);
    let world = World::default()
        .foreign_lun(0)
        .port(2, &wanted, OFFLINE, None);
    assert_eq!(
        steps(&world, std::slice::from_ref(&wanted)),
        [
            "hide every LUN from port 2 (a)",
            "map namespace 1 of port 2 (a) to LUN 0",
            "enable port 2 (a)",
        ]
    );
    let world = World::default()
        .foreign_lun(0)
        .port(2, &wanted, OFFLINE, Some(&[(0, 0)]));
    assert_eq!(steps(&world, &[wanted]), ["enable port 2 (a)"]);
}

#[test]
fn a_port_that_showed_everything_goes_offline_to_get_its_map() {
    let wanted = port("a", &[(1, existing(0))]);
    let world = World::default()
        .foreign_lun(0)
        .port(2, &wanted, ONLINE, None);
    assert_eq!(
        steps(&world, &[wanted]),
        [
            "disable port 2 (a): its map can change only while it is offline; \
             waiting until its hosts are gone",
            "hide every LUN from port 2 (a)",
            "map namespace 1 of port 2 (a) to LUN 0",
            "enable port 2 (a)",
        ]
    );
}

#[test]
fn a_port_that_is_to_show_everything_goes_offline_to_lose_its_map() {
    let world =
        World::default()
            .lun(0, 1, &file("/a"))
            .port(2, &everything(), ONLINE, Some(&[(0, 0)]));
    assert_eq!(
        steps(&world, &[everything()]),
        [
            "disable port 2 (a): its map can change only while it is offline; \
             waiting until its hosts are gone",
            "show every LUN to port 2 (a)",
            "remove LUN 0 (namespace 1 of a): not wanted any more; waiting until nothing uses it",
            "enable port 2 (a)",
        ]
    );
}

#[test]
fn a_port_with_other_kernel_options_is_made_anew_and_its_luns_stay() {
    let wanted = port("a", &[(1, ours("/a"))]);
    let world = World::default().lun(3, 1, &file("/a"));
    let changes: [Change<DesiredPort>; 5] = [
        ("portid", |port| port.portid = 2),
        ("max_io_qsize", |port| port.max_io_qsize = 128),
        ("ioccsz", |port| port.ioccsz = 8256),
        ("nn", |port| port.nn = 16),
        ("serial", |port| port.serial = "OTHER".into()),
    ];
    for (option, change) in changes {
        let mut was = wanted.clone();
        change(&mut was);
        let world = world.clone().port(2, &was, ONLINE, Some(&[(0, 3)]));
        let removal = format!(
            "remove port 2 (a): made anew with other {option}; waiting until its hosts are gone"
        );
        assert_eq!(
            steps(&world, std::slice::from_ref(&wanted)),
            [
                &removal,
                "make a port for a",
                "hide every LUN from the port of a",
                "map namespace 1 of the port of a to LUN 3",
                "enable the port of a",
            ]
        );
    }
}

#[test]
fn a_kernel_option_that_we_do_not_set_is_a_difference_too() {
    let wanted = everything();
    let mut world = World::default().port(2, &wanted, ONLINE, None);
    let options = &mut world.ports[0].options;
    options.push(("enable_timeout".into(), "500".into()));
    assert!(steps(&world, &[wanted])[0].contains("made anew with other enable_timeout"));
}

#[test]
fn a_lun_that_is_another_is_unmapped_removed_and_made_anew() {
    let wanted = port("a", &[(1, ours("/a"))]);
    let changes: [Change<ListedLun>; 8] = [
        ("backend", |lun| lun.backend = "ramdisk".into()),
        ("medium", |lun| lun.size_blocks = 0),
        ("file", |lun| lun.options[0].1 = "/b".into()),
        ("serial number", |lun| lun.serial_number = "S2".into()),
        ("device identifier", |lun| lun.device_id = "D2".into()),
        ("EUI64 or NGUID", |lun| {
            lun.options.retain(|(key, _)| key != "eui")
        }),
        ("UUID", |lun| lun.options.push(("uuid".into(), "x".into()))),
        ("file", |lun| lun.options.retain(|(key, _)| key != "file")),
    ];
    for (what, change) in changes {
        let world = World::default()
            .lun(3, 1, &file("/a"))
            .last_lun(change)
            .port(2, &wanted, ONLINE, Some(&[(0, 3)]));
        let removal = format!(
            "remove LUN 3 (namespace 1 of a): made anew with other {what}; \
             waiting until nothing uses it"
        );
        assert_eq!(
            steps(&world, std::slice::from_ref(&wanted)),
            [
                "unmap namespace 1 of port 2 (a) from LUN 3",
                &removal,
                "make a LUN of /a for namespace 1 of a",
                "map namespace 1 of port 2 (a) to its LUN",
            ]
        );
    }
}

#[test]
fn the_block_size_counts_when_it_is_asked_for() {
    let mut lun = file("/a");
    let world = World::default().lun(3, 1, &lun);
    lun.blocksize = 4096;
    let other = steps(&world, &[port("a", &[(1, DesiredLun::Ours(lun.clone()))])]);
    assert!(
        other[0].contains("made anew with other block size"),
        "{other:?}"
    );
    lun.blocksize = 512;
    let same = steps(&world, &[port("a", &[(1, DesiredLun::Ours(lun))])]);
    assert_eq!(same[0], "make a port for a");
}

#[test]
fn a_ram_disk_of_another_size_is_made_anew() {
    let world = World::default().lun(3, 1, &memory(1 << 20));
    let wanted = port("a", &[(1, DesiredLun::Ours(memory(2 << 20)))]);
    let steps = steps(&world, &[wanted]);
    assert!(steps[0].contains("made anew with other size"), "{steps:?}");
    assert_eq!(
        steps[1],
        "make a LUN of 2097152 bytes of memory for namespace 1 of a"
    );
}

#[test]
fn a_file_that_has_grown_is_looked_at_again_under_its_hosts() {
    let mut lun = file("/a");
    let world = World::default().lun(3, 1, &lun);
    let port = |lun: &OurLun| port("a", &[(1, DesiredLun::Ours(lun.clone()))]);
    let world = world.port(2, &port(&lun), ONLINE, Some(&[(0, 3)]));
    // Half a block more is none.
    lun.bytes = Some((1 << 20) + 256);
    assert_eq!(steps(&world, &[port(&lun)]), NOTHING);
    lun.bytes = Some(2 << 20);
    assert_eq!(
        steps(&world, &[port(&lun)]),
        ["modify LUN 3 (namespace 1 of a): its size has changed"]
    );
}

#[test]
fn a_lun_with_other_options_is_modified_under_its_hosts() {
    let wanted = port("a", &[(1, ours("/a"))]);
    let world = World::default()
        .lun(3, 1, &file("/a"))
        .last_lun(|lun| lun.options.retain(|(key, _)| key != "unmap"))
        .port(2, &wanted, ONLINE, Some(&[(0, 3)]));
    assert_eq!(
        steps(&world, &[wanted]),
        ["modify LUN 3 (namespace 1 of a): its options have changed"]
    );
}

#[test]
fn of_luns_with_one_mark_the_one_that_hosts_use_stays() {
    let wanted = port("a", &[(1, ours("/a"))]);
    let world = World::default()
        .lun(3, 1, &file("/a"))
        .lun(4, 1, &file("/a"))
        .lun(5, 1, &file("/b"))
        .port(2, &wanted, ONLINE, Some(&[(0, 4)]));
    assert_eq!(
        steps(&world, &[wanted]),
        [3, 5].map(|id| format!(
            "remove LUN {id} (namespace 1 of a): another has its place; \
             waiting until nothing uses it"
        ))
    );
}

#[test]
fn a_lun_with_a_mark_that_makes_no_sense_is_removed() {
    let world = World::default()
        .lun(3, 1, &file("/a"))
        .last_lun(|lun| lun.options.last_mut().unwrap().1 = "01 x".into());
    assert_eq!(
        steps(&world, &[]),
        [
            "remove LUN 3 (an unreadable mark of ours): not wanted any more; \
          waiting until nothing uses it"
        ]
    );
}

#[test]
fn a_lun_of_ours_that_others_show_stays_and_is_told() {
    let world = World::default()
        .lun(3, 1, &file("/a"))
        .foreign(7, "iscsi", &[], &[(0, 3)]);
    assert_eq!(steps(&world, &[]), NOTHING);
    let in_use = "LUN 3 (namespace 1 of a) is not wanted any more and stays, because others use it: \
                  iscsi port 7";
    assert_eq!(notes(&world, &[]), [in_use]);
    let wanted = port("a", &[(1, ours("/b"))]);
    assert_eq!(
        steps(&world, std::slice::from_ref(&wanted))[0],
        "make a LUN of /b for namespace 1 of a"
    );
    assert_eq!(notes(&world, &[wanted]), [in_use]);
    let wanted = port("a", &[(1, ours("/a"))]);
    assert_eq!(notes(&world, &[wanted]), NOTHING);
}

#[test]
fn the_other_machine_of_a_pair_does_not_count() {
    let world = World::default().lun(3, 1, &file("/a")).foreign(
        7,
        "ha",
        &[("subnqn", "nqn.2014-08.org.example:b")],
        &[(0, 3)],
    );
    let steps = steps(&world, &[port("b", &[])]);
    assert!(steps[0].starts_with("remove LUN 3"), "{steps:?}");
    assert_eq!(steps[1], "make a port for b");
}

#[test]
fn a_name_that_others_have_is_a_conflict() {
    let named = ("subnqn", "nqn.2014-08.org.example:a");
    let group = ("ctld_transport_group_name", "tg0");
    let world = World::default().foreign(3, "nvmf", &[named, group], &[]);
    assert_eq!(
        conflict(&world, &[port("b", &[]), port("a", &[])]),
        "a is served already by port 3, which ctld made (transport group \"tg0\"); \
         stop ctld or choose another name"
    );
    let world = World::default().foreign(3, "nvmf", &[named], &[]);
    assert_eq!(
        conflict(&world, &[port("a", &[])]),
        "a is served already by port 3, which another program made; \
         stop that or choose another name"
    );
    assert_eq!(steps(&world, &[]), NOTHING);
}

#[test]
fn a_lun_that_is_not_there_is_a_conflict() {
    assert_eq!(
        conflict(&World::default(), &[port("a", &[(4, existing(9))])]),
        "namespace 4 of a shall show LUN 9, which does not exist; see ctladm devlist"
    );
}

#[test]
fn a_lun_of_ours_is_not_had_by_its_number() {
    let world = World::default().lun(9, 1, &file("/a"));
    assert_eq!(
        conflict(&world, &[port("a", &[(1, ours("/a")), (4, existing(9))])]),
        "namespace 4 of a shall show LUN 9, which nvmfd itself has made for namespace 1 of a; \
         name what it is made of instead"
    );
}

#[test]
fn a_port_that_cannot_be_read_might_have_the_name() {
    let damaged = Damaged {
        id: Some(6),
        reason: Damage::Markup,
    };
    let world = World {
        damaged_ports: vec![damaged],
        ..World::default()
    };
    assert_eq!(
        conflict(&world, &[port("a", &[])]),
        "a is perhaps served already by a port that cannot be read (id 6: markup that the kernel \
         does not print); see ctladm portlist -v, and remove it"
    );
    // Names are unique: what has it for certain is not among the others.
    let world = world.port(2, &everything(), ONLINE, None);
    assert_eq!(steps(&world, &[everything()]), NOTHING);
    assert_eq!(
        notes(&world, &[everything()]),
        ["left alone: a port that cannot be read (id 6: markup that the kernel does not print)"]
    );
}

#[test]
fn a_port_that_cannot_be_read_might_show_a_lun() {
    let damaged = Damaged {
        id: None,
        reason: Damage::Outside,
    };
    let mut world =
        World::default()
            .lun(3, 1, &file("/a"))
            .port(2, &port("a", &[]), ONLINE, Some(&[(0, 3)]));
    world.damaged_ports.push(damaged);
    assert_eq!(
        steps(&world, &[]),
        ["remove port 2 (a): not wanted any more; waiting until its hosts are gone"]
    );
    assert_eq!(
        notes(&world, &[])[1],
        "LUN 3 (namespace 1 of a) is not wanted any more and stays, because a port that cannot be \
         read may use it"
    );
}

#[test]
fn a_lun_that_cannot_be_read_is_there_all_the_same() {
    let damaged = Damaged {
        id: Some(9),
        reason: Damage::Markup,
    };
    let world = World {
        damaged_luns: vec![damaged],
        ..World::default()
    };
    let steps = steps(&world, &[port("a", &[(1, existing(9))])]);
    assert_eq!(steps[2], "map namespace 1 of the port of a to LUN 9");
}

#[test]
fn a_map_of_others_with_a_gap_is_told_before_a_lun_may_fall_into_it() {
    let world = World::default().foreign(7, "iscsi", &[], &[(0, 3)]);
    assert_eq!(
        notes(&world, &[port("a", &[(1, ours("/a"))])]),
        [
            "iscsi port 7 maps LUN 3, which does not exist: a new LUN may get that number and be seen \
          there"
        ]
    );
    assert_eq!(notes(&world, &[port("a", &[])]), NOTHING);
}

#[test]
fn ports_and_luns_without_our_mark_are_never_named_in_a_step() {
    let mut world = World::default().foreign_lun(0).foreign(
        1,
        "nvmf",
        &[("subnqn", "nqn.2014-08.org.example:x")],
        &[(0, 0)],
    );
    // Our mark on another front end's port is not ours.
    world = world.foreign(2, "iscsi", &[(crate::reconcile::marker::PORT, "x")], &[]);
    // Nor is a port that cannot be named.
    world = world.foreign(3, "nvmf", &[(crate::reconcile::marker::PORT, "x")], &[]);
    assert_eq!(steps(&world, &[]), NOTHING);
}

#[test]
fn maps_by_nsid_leave_out_what_has_no_nsid() {
    let map = BTreeMap::from([(0, 7), (u32::MAX - 1, 8), (u32::MAX, 9)]);
    let mut world = World::default().port(2, &port("a", &[]), ONLINE, Some(&[]));
    world.ports[0].lun_map = Some(map);
    let seen = &world.observed().ports[0];
    assert_eq!(seen.map, Some(BTreeMap::from([(1, LunId(7))])));
}
