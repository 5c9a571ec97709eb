//! What the kernel can be asked for, and what is refused before.

use super::*;

fn nqn(text: &str) -> Nqn {
    text.parse().unwrap()
}

fn port() -> DesiredPort {
    DesiredPort {
        nqn: nqn("nqn.2014-08.org.example:a"),
        portid: 1,
        serial: "HI:1".into(),
        max_io_qsize: 1024,
        ioccsz: 16448,
        nn: 1024,
        exports: Exports::Everything,
    }
}

fn lun() -> OurLun {
    let ids = NamespaceIds::new(&port().nqn, b"/dev/zvol/tank/vol0");
    let path = "/dev/zvol/tank/vol0".into();
    OurLun::identified(Storage::Block { path }, &ids)
}

fn with(nsid: u32, lun: OurLun) -> DesiredPort {
    DesiredPort {
        exports: Exports::Namespaces([(nsid, DesiredLun::Ours(lun))].into()),
        ..port()
    }
}

fn refusal(ports: &[DesiredPort]) -> String {
    let refused = Desired::new(ports.to_vec(), Limits::default());
    refused.unwrap_err().to_string()
}

/// A change, and what the refusal says of it.
type Change<T> = (fn(&mut T), &'static str);

/// Refusals of ports that differ by one thing each.
fn refuses(changes: &[Change<DesiredPort>]) {
    for (change, words) in changes {
        let mut port = port();
        change(&mut port);
        let refusal = refusal(&[port]);
        assert!(refusal.contains(words), "{refusal:?} lacks {words:?}");
    }
}

/// Refusals of LUNs that differ by one thing each.
fn refuses_lun(changes: &[Change<OurLun>]) {
    for (change, words) in changes {
        let mut lun = lun();
        change(&mut lun);
        let refusal = refusal(&[with(1, lun)]);
        assert!(
            refusal.starts_with("namespace 1 of nqn.2014-08.org.example:a: "),
            "{refusal:?}"
        );
        assert!(refusal.contains(words), "{refusal:?} lacks {words:?}");
    }
}

#[test]
fn what_is_well_made_is_taken() {
    let second = DesiredPort {
        nqn: nqn("nqn.2014-08.org.example:b"),
        ..with(1024, lun())
    };
    let memory = OurLun {
        storage: Storage::Ramdisk { size: 1024 },
        eui: Some("0123456789ABCDEF".into()),
        ..lun()
    };
    let third = DesiredPort {
        nqn: nqn("nqn.2014-08.org.example:c"),
        ..with(1, memory)
    };
    let desired = Desired::new(vec![port(), second, third], Limits::default()).unwrap();
    assert_eq!(desired.ports().len(), 3);
    assert!(Desired::nothing().ports().is_empty());
}

#[test]
fn sizes_that_the_kernel_refuses_or_cuts_are_refused_here() {
    refuses(&[
        (|port| port.max_io_qsize = 1, "largest I/O queue is 1"),
        (
            |port| port.max_io_qsize = 65536,
            "largest I/O queue is 65536",
        ),
        (|port| port.ioccsz = 48, "I/O command capsule is 48 bytes"),
        (
            |port| port.ioccsz = 16449,
            "I/O command capsule is 16449 bytes",
        ),
        (|port| port.nn = 0, "highest NSID is 0"),
        (
            |port| port.serial = String::new(),
            "serial number \"\" has not",
        ),
        (
            |port| port.serial = "x".repeat(21),
            "has not 1 to 20 characters",
        ),
        (
            |port| port.serial = "é".into(),
            "is not all printable ASCII",
        ),
        (
            |port| port.serial = " x".into(),
            "begins or ends with a blank",
        ),
    ]);
}

#[test]
fn names_that_the_lists_cannot_show_are_refused() {
    for name in ["nqn.<b>", "nqn.a&b", "nqn.\"", "nqn.'", "nqn.>"] {
        let port = DesiredPort {
            nqn: nqn(name),
            ..port()
        };
        assert!(refusal(&[port]).contains("which the kernel cannot list"));
    }
    refuses(&[
        (
            |port| port.nqn = nqn(" nqn.a"),
            "begins or ends with a blank",
        ),
        (
            |port| port.serial = "a<b".into(),
            "which the kernel cannot list",
        ),
    ]);
}

#[test]
fn a_name_is_there_once() {
    assert_eq!(
        refusal(&[port(), with(1, lun())]),
        "nqn.2014-08.org.example:a: name is there twice"
    );
}

#[test]
fn nsids_end_where_the_port_or_its_map_does() {
    for nsid in [0, 1025, u32::MAX] {
        let refusal = refusal(&[with(nsid, lun())]);
        assert!(refusal.ends_with("NSID is not 1 to 1024"), "{refusal}");
    }
    let few = DesiredPort {
        nn: 16,
        ..with(17, lun())
    };
    assert!(refusal(&[few]).ends_with("NSID is not 1 to 16"));
    let short = Desired::new(vec![with(9, lun())], Limits { lun_map_size: 8 });
    assert!(
        short
            .unwrap_err()
            .to_string()
            .ends_with("NSID is not 1 to 8")
    );
}

#[test]
fn a_lun_that_would_not_be_what_was_asked_for_is_refused() {
    refuses_lun(&[
        (
            |lun| lun.serial = "x".repeat(17),
            "has not 1 to 16 characters",
        ),
        (
            |lun| lun.serial = String::new(),
            "has not 1 to 16 characters",
        ),
        (
            |lun| lun.device_id = "x".repeat(65),
            "has not 1 to 64 characters",
        ),
        (
            |lun| lun.device_id = "x ".into(),
            "begins or ends with a blank",
        ),
        (
            |lun| lun.eui = Some("0123".into()),
            "not 16 or 32 hexadecimal digits",
        ),
        (
            |lun| lun.eui = Some("x".repeat(16)),
            "not 16 or 32 hexadecimal digits",
        ),
        (|lun| lun.blocksize = 256, "block size is 256"),
        (|lun| lun.blocksize = 1000, "block size is 1000"),
        (
            |lun| lun.bytes = Some(1023),
            "file has 1023 bytes, less than two blocks",
        ),
    ]);
}

#[test]
fn paths_are_absolute_and_listable() {
    for (path, words) in [
        ("disk.img", "is not absolute"),
        ("", "is not absolute"),
        ("/a<b", "which the kernel cannot list"),
        ("/a\nb", "which the kernel cannot list"),
        ("/a ", "begins or ends with a blank"),
        (
            &format!("/{}", "x".repeat(1023)),
            "is longer than 1023 bytes",
        ),
    ] {
        let storage = Storage::Block { path: path.into() };
        let refusal = refusal(&[with(1, OurLun { storage, ..lun() })]);
        assert!(refusal.contains(words), "{refusal:?} lacks {words:?}");
    }
}

#[test]
fn a_ram_disk_has_whole_blocks_and_more_than_one() {
    for size in [0, 512, 1000, 1025] {
        let storage = Storage::Ramdisk { size };
        let refusal = refusal(&[with(1, OurLun { storage, ..lun() })]);
        assert!(
            refusal.contains("not two or more blocks of 512"),
            "{refusal}"
        );
    }
}

#[test]
fn hosts_find_a_lun_again_by_the_identifiers_of_the_namespace() {
    let ids = NamespaceIds::new(&port().nqn, b"/dev/zvol/tank/vol0");
    let key = port().key(1);
    let new = lun().new_lun(&key);
    assert_eq!(new.uuid, Some(ids.uuid.to_string()));
    assert_eq!(
        new.eui,
        Some(Uuid::from_bytes(ids.nguid).simple().to_string())
    );
    assert_eq!(new.serial.len(), 16);
    assert_eq!(new.device_id, format!("nvmfd {}", ids.uuid));
    assert_eq!(new.options, [(marker::LUN.to_owned(), key.mark())]);
}
