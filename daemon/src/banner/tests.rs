//! The text whole, and the ways to reach a daemon.

#![forbid(unsafe_code)]

use super::*;

fn banner(listen: &[&str], discovery_listen: &[&str], own: &[&str]) -> Banner {
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    Banner {
        nqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
        kernel: false,
        namespaces: Vec::new(),
        listen: addresses(listen),
        discovery_listen: addresses(discovery_listen),
        own_addresses: own.iter().map(|text| text.parse().unwrap()).collect(),
        header_digest: false,
        data_digest: false,
        optional_flow_control: false,
    }
}

fn commands(banner: &Banner) -> Vec<String> {
    let text = banner.to_string();
    let pasted = |line: &&str| line.starts_with("nvme ") || line.starts_with("nvmecontrol ");
    text.lines()
        .map(str::trim)
        .filter(pasted)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_whole_text() {
    let mut banner = banner(
        &["0.0.0.0:4420", "[::]:4420"],
        &["0.0.0.0:8009", "[::]:8009"],
        &["2001:db8::7", "192.0.2.7"],
    );
    banner.namespaces = vec![
        Served {
            nsid: 1,
            device: "RAM disk".into(),
            geometry: Geometry {
                blocks: 1 << 21,
                block_size: 512,
            },
            uuid: Some(Uuid::from_u128(1)),
        },
        Served {
            nsid: 2,
            device: "/dev/da0".into(),
            geometry: Geometry {
                blocks: 244_190_646,
                block_size: 4096,
            },
            uuid: Some(Uuid::from_u128(2)),
        },
    ];
    banner.header_digest = true;
    assert_eq!(
        banner.to_string(),
        "\
nvmfd serves nqn.2014-08.org.example:vol0
  namespace 1: RAM disk, 1 GiB, 2097152 blocks of 512 bytes, UUID 00000000-0000-0000-0000-000000000001
  namespace 2: /dev/da0, 931.5 GiB, 244190646 blocks of 4096 bytes, UUID 00000000-0000-0000-0000-000000000002
I/O on all addresses (IPv4 and IPv6), port 4420
Discovery on all addresses (IPv4 and IPv6), port 8009
Header digest offered, data digest off, SQ flow control required

On a host:
  Linux (modprobe nvme-tcp):
    nvme discover -t tcp -a 192.0.2.7 -s 8009
    nvme connect -t tcp -a 192.0.2.7 -s 4420 -n nqn.2014-08.org.example:vol0 -g
  FreeBSD (kldload nvmf nvmf_tcp):
    nvmecontrol discover 192.0.2.7:8009
    nvmecontrol connect -g 192.0.2.7:4420 nqn.2014-08.org.example:vol0

On this machine:
  Linux (modprobe nvme-tcp):
    nvme discover -t tcp -a 127.0.0.1 -s 8009
    nvme connect -t tcp -a 127.0.0.1 -s 4420 -n nqn.2014-08.org.example:vol0 -g
  FreeBSD (kldload nvmf nvmf_tcp):
    nvmecontrol discover 127.0.0.1:8009
    nvmecontrol connect -g 127.0.0.1:4420 nqn.2014-08.org.example:vol0
"
    );
}

#[test]
fn a_loopback_listener_is_for_this_machine() {
    let banner = banner(&["[::1]:4420"], &["[::1]:8009"], &["192.0.2.7"]);
    let text = banner.to_string();
    assert!(
        text.contains("I/O on [::1]:4420\nDiscovery on [::1]:8009\n"),
        "{text}"
    );
    assert!(
        text.contains("Other machines do not reach these addresses."),
        "{text}"
    );
    let lines = commands(&banner);
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0], "nvme discover -t tcp -a ::1 -s 8009");
    assert_eq!(
        lines[3],
        "nvmecontrol connect [::1]:4420 nqn.2014-08.org.example:vol0"
    );
}

#[test]
fn an_address_of_its_own_is_named_once() {
    let banner = banner(
        &["192.0.2.9:1"],
        &["192.0.2.8:2", "192.0.2.9:3"],
        &["192.0.2.7"],
    );
    let lines = commands(&banner);
    assert_eq!(lines.len(), 4, "{banner}");
    assert_eq!(lines[0], "nvme discover -t tcp -a 192.0.2.9 -s 3");
}

#[test]
fn a_machine_with_one_family() {
    let banner = banner(
        &["0.0.0.0:1", "[::]:1"],
        &["0.0.0.0:2", "[::]:2"],
        &["2001:db8::7"],
    );
    assert_eq!(
        commands(&banner)[0],
        "nvme discover -t tcp -a 2001:db8::7 -s 2"
    );
}

#[test]
fn discovery_elsewhere_is_found_or_replaced() {
    let other = banner(&["192.0.2.9:1"], &["192.0.2.8:2"], &[]);
    assert_eq!(
        commands(&other)[0],
        "nvme discover -t tcp -a 192.0.2.8 -s 2"
    );
    let none = banner(&["192.0.2.9:1"], &["127.0.0.1:2"], &[]);
    assert_eq!(commands(&none)[0], "nvme discover -t tcp -a 192.0.2.9 -s 1");
}

#[test]
fn a_link_local_address_takes_the_hosts_interface() {
    let banner = banner(&["[fe80::1%3]:1"], &["[fe80::1%3]:2"], &[]);
    let lines = commands(&banner);
    assert_eq!(lines[0], "nvme discover -t tcp -a fe80::1%INTERFACE -s 2");
    assert_eq!(lines[2], "nvmecontrol discover [fe80::1%INTERFACE]:2");
}

#[test]
fn listeners_in_words() {
    let of = |list: &[&str]| places(&banner(list, &[], &[]).listen);
    assert_eq!(of(&["0.0.0.0:1"]), "all IPv4 addresses, port 1");
    assert_eq!(of(&["[::]:1"]), "all IPv6 addresses, port 1");
    assert_eq!(
        of(&["0.0.0.0:1", "[::]:2", "192.0.2.1:3"]),
        "all IPv4 addresses, port 1; all IPv6 addresses, port 2; 192.0.2.1:3"
    );
}

#[test]
fn sizes_in_words() {
    let sizes = [
        (512, "512 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1 << 30, "1 GiB"),
        ((1 << 30) + 512, "1 GiB"),
        (1_000_204_886_016, "931.5 GiB"),
        (4 << 50, "4 PiB"),
        (u64::MAX, "16384 PiB"),
    ];
    for (bytes, text) in sizes {
        assert_eq!(words(bytes), text);
    }
}

#[test]
fn names_are_fit_for_a_shell() {
    assert_eq!(
        quoted("nqn.2014-08.org.example:vol_0"),
        "nqn.2014-08.org.example:vol_0"
    );
    assert_eq!(
        quoted("nqn.2014-08.org.example:a b$c"),
        "'nqn.2014-08.org.example:a b$c'"
    );
    assert_eq!(quoted("it's"), r"'it'\''s'");
}

#[test]
fn own_addresses_are_reachable_from_elsewhere() {
    for ip in own_addresses() {
        assert!(!ip.is_loopback() && !ip.is_unspecified(), "{ip}");
    }
}
