//! `CTL_LUN_MAP` with raw bytes, and what hosts see of it.

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{Bookkeeper, FakeKernel, Limits};
use nvmf_kmod::nv::Nvlist;

use super::support::{
    ALL, DISABLE_PORT, ENABLE_PORT, Ended, SUBNQN, kernel, lun_request, make_port, make_ramdisk,
    map, online_port, switch,
};

/// The namespaces that hosts of a port can reach, with their LUNs.
fn namespaces(books: &Bookkeeper, port: u32) -> Vec<(u32, u32)> {
    let view = books.port(port).unwrap();
    let namespaces = view.namespaces.iter();
    namespaces.map(|(&nsid, lun)| (nsid, lun.id)).collect()
}

fn remove_lun(kernel: &FakeKernel, lun: u32) {
    let mut raw = lun_request("ramdisk", 1, &Nvlist::new()).u32(40, lun);
    raw.send(kernel).unwrap();
    assert_eq!(raw.ended(), Ended::new(1, ""));
}

#[test]
fn a_namespace_is_one_more_than_its_lun_at_the_port() {
    let (fake, books) = kernel();
    let luns = ["a", "b", "c"].map(|name| make_ramdisk(&fake, name));
    assert_eq!(luns, [0, 1, 2]);
    let port = make_port(&fake, SUBNQN, &[]);
    map(&fake, port, ALL, 0).unwrap();
    map(&fake, port, 0, 2).unwrap();
    map(&fake, port, 7, 0).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert_eq!(namespaces(&books, port), [(1, 2), (8, 0)]);
    map(&fake, port, 3, 1).unwrap();
    map(&fake, port, 0, ALL).unwrap();
    assert_eq!(namespaces(&books, port), [(4, 1), (8, 0)]);
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

#[test]
fn a_map_says_by_errno_what_is_not_there() {
    let limits = Limits {
        lun_map: 4,
        ..Limits::default()
    };
    let fake = kernel().0.with_limits(limits);
    let port = make_port(&fake, SUBNQN, &[]);
    let lun = make_ramdisk(&fake, "a");
    assert_eq!(map(&fake, 77, ALL, 0), Err(Errno::ENXIO));
    assert_eq!(map(&fake, 77, 0, lun), Err(Errno::ENXIO));
    assert_eq!(map(&fake, 77, 0, ALL), Err(Errno::ENXIO));
    assert_eq!(map(&fake, port, 0, 77), Err(Errno::ENXIO));
    assert_eq!(map(&fake, port, 4, lun), Err(Errno::EINVAL));
    assert_eq!(map(&fake, port, 3, lun), Ok(()));
    // What is not mapped is unmapped already.
    assert_eq!(map(&fake, port, 0, ALL), Ok(()));
    assert_eq!(map(&fake, port, 99, ALL), Ok(()));
}

#[test]
fn a_port_without_a_map_shows_every_lun_iscsis_too() {
    let (fake, books) = kernel();
    make_ramdisk(&fake, "a");
    let port = make_port(&fake, SUBNQN, &[]);
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert_eq!(namespaces(&books, port), [(1, 0)]);
    make_ramdisk(&fake, "b");
    assert_eq!(namespaces(&books, port), [(1, 0), (2, 1)]);
    remove_lun(&fake, 0);
    assert_eq!(namespaces(&books, port), [(2, 1)]);
    assert!(fake.misuses()[0].contains("without a map"));
}

#[test]
fn a_dropped_map_shows_everything_and_an_empty_one_nothing() {
    let (fake, books) = kernel();
    make_ramdisk(&fake, "a");
    let port = make_port(&fake, SUBNQN, &[]);
    map(&fake, port, ALL, 0).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert_eq!(namespaces(&books, port), []);
    switch(&fake, DISABLE_PORT, port).unwrap();
    map(&fake, port, ALL, ALL).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert_eq!(namespaces(&books, port), [(1, 0)]);
    assert!(!fake.port_list().contains("lun_map"));
}

#[test]
fn beyond_nn_a_mapping_is_taken_and_shows_nothing() {
    let (fake, books) = kernel();
    let lun = make_ramdisk(&fake, "a");
    let port = make_port(&fake, SUBNQN, &[("nn", "4")]);
    map(&fake, port, ALL, 0).unwrap();
    map(&fake, port, 3, lun).unwrap();
    assert!(fake.misuses().is_empty());
    map(&fake, port, 4, lun).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert_eq!(namespaces(&books, port), [(4, lun)]);
    assert!(fake.port_list().contains("\t<lun id=\"4\">0</lun>\n"));
    assert!(fake.misuses()[0].contains("highest NSID"));
}

#[test]
fn emptying_the_map_of_an_online_port_leaves_namespaces_without_luns() {
    let (fake, books) = kernel();
    let lun = make_ramdisk(&fake, "a");
    let port = make_port(&fake, SUBNQN, &[]);
    map(&fake, port, ALL, 0).unwrap();
    map(&fake, port, 0, lun).unwrap();
    map(&fake, port, 5, lun).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    map(&fake, port, ALL, 0).unwrap();
    assert_eq!(namespaces(&books, port), []);
    assert!(fake.misuses()[0].contains("emptied the map"));
    // NSID 6 is still listed: it survives, and the LUN that is mapped there later is not news.
    switch(&fake, DISABLE_PORT, port).unwrap();
    let other = make_ramdisk(&fake, "b");
    map(&fake, port, 5, other).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert_eq!(namespaces(&books, port), [(6, other)]);
}

#[test]
fn another_lun_at_the_same_place_is_reported_unless_the_place_was_freed() {
    let (fake, books) = kernel();
    let [a, b] = ["a", "b"].map(|name| make_ramdisk(&fake, name));
    let port = online_port(&fake, SUBNQN);
    map(&fake, port, 0, a).unwrap();
    map(&fake, port, 0, a).unwrap();
    assert!(fake.misuses().is_empty());
    map(&fake, port, 0, b).unwrap();
    assert_eq!(namespaces(&books, port), [(1, b)]);
    assert!(fake.misuses()[0].contains("hosts are not told"));
}

#[test]
fn a_lun_that_is_removed_while_mapped_gives_its_place_to_the_next_of_its_number() {
    let (fake, books) = kernel();
    let lun = make_ramdisk(&fake, "a");
    let port = online_port(&fake, SUBNQN);
    map(&fake, port, 0, lun).unwrap();
    let before = books.port(port).unwrap().namespaces[&1].instance;
    remove_lun(&fake, lun);
    assert_eq!(namespaces(&books, port), []);
    assert!(fake.misuses()[0].contains("still maps"));
    assert_eq!(make_ramdisk(&fake, "b"), lun);
    let after = books.port(port).unwrap().namespaces[&1].instance;
    assert_ne!(before, after);
}

#[test]
fn the_first_mapping_gives_a_port_its_map() {
    let (fake, books) = kernel();
    let [_, b] = ["a", "b"].map(|name| make_ramdisk(&fake, name));
    let port = make_port(&fake, SUBNQN, &[]);
    map(&fake, port, 0, b).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert_eq!(namespaces(&books, port), [(1, b)]);
    assert!(fake.misuses().is_empty());
}
