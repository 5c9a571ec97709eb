use std::mem::offset_of;

use proptest::prelude::*;

use super::super::identify::field;
use super::record::{AttributeHead, ExtensionHead, Header, Record};
use super::*;
use EntryFormat::{Basic, Extended};

/// A log of this many NVM subsystems' ports, without labels.
pub(crate) fn log(entries: u16) -> DiscoveryLog {
    DiscoveryLog {
        generation: 7,
        scope: DiscoveryScope::default(),
        entries: (1..=entries).map(entry).collect(),
    }
}

pub(crate) fn entry(portid: u16) -> DiscoveryEntry {
    DiscoveryEntry {
        subtype: Subtype::Nvm,
        family: Family::V4,
        traddr: "192.0.2.1".into(),
        trsvcid: "4420".into(),
        subnqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
        portid,
        asqsz: 32,
        treq: 4,
        eflags: 0,
        sectype: 0,
        label: None,
    }
}

fn labelled(label: &str) -> DiscoveryEntry {
    DiscoveryEntry {
        label: Some(label.into()),
        ..entry(1)
    }
}

/// All of it.
fn whole(log: &DiscoveryLog, format: EntryFormat) -> Vec<u8> {
    let size = u32::try_from(log.size(format)).unwrap();
    log.read(format, 0, size).unwrap()
}

/// What follows the first 1024 bytes of an extended entry.
fn extension(entry: &DiscoveryEntry) -> Vec<u8> {
    let bytes = entry.to_bytes(Extended);
    assert_eq!(bytes.len() as u64, entry.size(Extended));
    assert_eq!(bytes[..1024], entry.to_bytes(Basic));
    bytes[1024..].to_vec()
}

#[test]
fn fields_stand_where_the_specification_puts_them() {
    assert_eq!(offset_of!(Header, numrec), 8);
    assert_eq!(offset_of!(Header, recfmt), 16);
    assert_eq!(offset_of!(Header, dlpf), 18);
    assert_eq!(offset_of!(Header, tdlpl), 20);
    assert_eq!(offset_of!(Record, portid), 4);
    assert_eq!(offset_of!(Record, cntlid), 6);
    assert_eq!(offset_of!(Record, asqsz), 8);
    assert_eq!(offset_of!(Record, eflags), 10);
    assert_eq!(offset_of!(Record, trsvcid), 32);
    assert_eq!(offset_of!(Record, subnqn), 256);
    assert_eq!(offset_of!(Record, traddr), 512);
    assert_eq!(offset_of!(Record, sectype), 768);
    // libnvme: tel, numexat and exat of struct nvmf_ext_die; struct nvmf_ext_attr.
    let extension = size_of::<Record>();
    assert_eq!(extension + offset_of!(ExtensionHead, tel), 1024);
    assert_eq!(extension + offset_of!(ExtensionHead, numexat), 1028);
    assert_eq!(extension + size_of::<ExtensionHead>(), 1032);
    assert_eq!(offset_of!(AttributeHead, exatlen), 2);
}

#[test]
fn an_entry_is_what_hosts_expect() {
    let bytes = log(1).read(Basic, RECORD_SIZE, 1024).unwrap();
    assert_eq!(bytes[..12], [3, 1, 2, 4, 1, 0, 0xff, 0xff, 32, 0, 0, 0]);
    assert_eq!(bytes[32..64], field::<32>("4420", 0));
    assert_eq!(
        &bytes[512..522],
        b"192.0.2.1\0",
        "NUL, not spaces: see FreeBSD's host"
    );
}

#[test]
fn entry_flags_are_the_specifications() {
    let eflags = EFLAGS_DUPRETINFO | EFLAGS_EPCSD | EFLAGS_NCC;
    let flagged = DiscoveryEntry { eflags, ..entry(1) };
    assert_eq!(flagged.to_bytes(Basic)[10..12], [0b111, 0]);
    assert_eq!((EFLAGS_DUPRETINFO, EFLAGS_EPCSD, EFLAGS_NCC), (1, 2, 4));
}

#[test]
fn a_label_follows_an_extended_entry() {
    #[rustfmt::skip]
    let expected = [
        0x14, 4, 0, 0, // TEL 1044
        1, 0, // NUMEXAT
        0, 0,
        2, 0, // EXATTYPE: admin label, ASCII
        8, 0, // EXATLEN
        b'r', b'a', b'c', b'k', b' ', b'7', 0, 0,
    ];
    assert_eq!(extension(&labelled("rack 7")), expected);
}

#[test]
fn an_extended_entry_may_have_no_attribute() {
    let expected = [8, 4, 0, 0, 0, 0, 0, 0];
    assert_eq!(extension(&entry(1)), expected);
    assert_eq!(extension(&labelled("")), expected, "an empty label is none");
}

#[test]
fn labels_beyond_ascii_are_marked_as_such() {
    let bytes = extension(&labelled("Gestell ä"));
    assert_eq!(bytes[8..12], [3, 0, 12, 0]);
    assert_eq!(&bytes[12..], "Gestell ä\0\0".as_bytes());
}

#[test]
fn labels_are_cut_at_a_character_and_cleaned() {
    for (label, length, shown) in [
        ("x".repeat(256), 256, "x".repeat(256)),
        ("x".repeat(257), 256, "x".repeat(256)),
        (
            format!("{}ä", "x".repeat(255)),
            256,
            format!("{}\0", "x".repeat(255)),
        ),
        (
            format!("{}ä", "x".repeat(254)),
            256,
            format!("{}ä", "x".repeat(254)),
        ),
        ("a\u{1b}[31m\u{85}".into(), 8, "a?[31m?\0".into()),
    ] {
        let bytes = extension(&labelled(&label));
        assert_eq!(bytes[10..12], u16::to_le_bytes(length), "{label:?}");
        assert_eq!(&bytes[12..], shown.as_bytes(), "{label:?}");
    }
}

#[test]
fn libnvme_reads_twenty_bytes_first() {
    for format in [Basic, Extended] {
        let bytes = log(3).read(format, 0, 20).unwrap();
        assert_eq!(
            bytes[..18],
            [7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }
}

#[test]
fn the_header_says_what_was_applied_and_how_long_the_log_is() {
    let mut log = log(2);
    log.entries[1].label = Some("rack 7".into());
    let says = |log: &DiscoveryLog, format| {
        let header = log.read(format, 16, 8).unwrap();
        let tdlpl = u32::from_le_bytes(header[4..].try_into().unwrap());
        assert_eq!(header[..2], [0, 0], "RECFMT");
        assert_eq!(u64::from(tdlpl), log.size(format));
        (header[2], tdlpl)
    };
    assert_eq!(says(&log, Basic), (0b000, 3072));
    assert_eq!(says(&log, Extended), (0b001, 1024 + 1032 + 1044));
    log.scope.port_local = true;
    assert_eq!(says(&log, Basic).0, 0b010);
    log.scope.all = true;
    assert_eq!(says(&log, Extended).0, 0b111);
}

#[test]
fn cve_2026_64320_nothing_is_read_beyond_the_log() {
    let mut log = log(2);
    log.entries[0].label = Some("rack 7".into());
    for (format, size) in [(Basic, 3072), (Extended, 3100)] {
        assert_eq!(log.size(format), size);
        assert_eq!(log.read(format, size, 8), Ok(vec![0; 8]));
        assert_eq!(log.read(format, size - 4, 8), Ok(vec![0; 8]));
        for offset in [size + 4, u64::from(u32::MAX), u64::MAX - 3] {
            let refused = Err(Status::INVALID_FIELD.dnr());
            assert_eq!(log.read(format, offset, 4), refused);
        }
    }
}

#[test]
fn over_long_texts_are_cut() {
    let mut log = log(1);
    log.entries[0].trsvcid = "9".repeat(100);
    assert_eq!(log.read(Basic, 1024, 1024).unwrap()[64], 0);
}

proptest! {
    #[test]
    fn any_split_of_reads_reassembles_to_the_log(
        labels in proptest::collection::vec(proptest::option::of("\\PC{0,300}"), 0..5),
        format in prop_oneof![Just(Basic), Just(Extended)],
        pieces in proptest::collection::vec(1_u32..600, 1..20),
    ) {
        let mut log = log(0);
        log.entries = labels.into_iter().map(|label| DiscoveryEntry { label, ..entry(1) }).collect();
        let whole = whole(&log, format);
        prop_assert_eq!(whole.len() % 4, 0);
        let records = log.entries.iter().flat_map(|entry| entry.to_bytes(format));
        prop_assert_eq!(&whole[1024..], records.collect::<Vec<_>>());
        let mut read = Vec::new();
        for piece in pieces.iter().cycle() {
            if read.len() >= whole.len() {
                break;
            }
            read.extend(log.read(format, read.len() as u64, piece * 4).unwrap());
        }
        prop_assert_eq!(&read[..whole.len()], &whole);
        prop_assert!(read[whole.len()..].iter().all(|&byte| byte == 0));
    }
}
