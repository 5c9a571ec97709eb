//! What holds for any names and values, and for all bytes.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// Pieces of which texts are made that try to be more than texts.
const PIECES: &[&str] = &[
    "<",
    ">",
    "&",
    "\"",
    "'",
    "/",
    "</",
    "!",
    "--",
    "?",
    "[CDATA[",
    "]]>",
    "amp;",
    "#",
    "id=",
    "0",
    "7",
    " ",
    "\t",
    "\r",
    "\n",
    "é",
    "\u{feff}",
    "lun",
    "targ_port",
    "file",
    "key",
    "connection",
    "hostnqn",
    "<lun id=\"7\">",
    "</lun>",
    "</file>",
    "<file>",
    "<key>",
    "</key>",
    "initiator",
    "\n\t",
    "\n</targ_port>\n",
    "</hostnqn>",
    "</ctllunlist>",
    "lun_map",
    "on",
    "nqn.",
];

/// A text of such pieces, without some.
fn hostile(without: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec(proptest::sample::select(PIECES), 0..12).prop_map(move |pieces| {
        let without = without.iter();
        without.fold(pieces.concat(), |text, piece| text.replace(piece, "z"))
    })
}

/// A text that neither XML nor the kernel gives a meaning.
fn plain() -> impl Strategy<Value = String> {
    "[^<\0]{0,20}"
}

fn any_options() -> impl Strategy<Value = Vec<(String, String)>> {
    vec(("x[a-z_0-9.]{0,5}", plain()), 0..5)
}

prop_compose! {
    fn any_lun()(
        id: u32,
        (backend, serial_number, device_id) in (plain(), "[^\0]{0,16}", "[^\0]{0,64}"),
        (lun_type, size_blocks, blocksize) in any::<(u32, u64, u32)>(),
        options in any_options(),
    ) -> ListedLun {
        ListedLun {
            id, backend, lun_type, size_blocks, blocksize, serial_number, device_id, options,
        }
    }
}

prop_compose! {
    fn any_port()(
        (id, port_type, online, physical_port) in any::<(u32, u32, bool, i32)>(),
        (frontend, name, options) in (plain(), plain(), any_options()),
        lun_map in proptest::option::of(btree_map(any::<u32>(), any::<u32>(), 0..5)),
    ) -> ListedPort {
        ListedPort {
            id, frontend, port_type: Some(port_type), online, name,
            physical_port: Some(physical_port), options, lun_map,
        }
    }
}

prop_compose! {
    fn any_session()(
        (cntlid, trtype) in any::<(u16, u32)>(),
        hostnqn in "[^<>&\"'\\pC]{1,50}",
        subnqn in "[a-z.:]{1,223}",
    ) -> ListedSession {
        ListedSession { cntlid, hostnqn, subnqn, trtype }
    }
}

/// Two LUNs and a third between them; the two must be there, the third must be there as it is, or
/// be called damaged.
fn assert_harmless(third: &ListedLun) {
    let (first, last) = (lun(0, "file", "/dev/da0"), lun(2, "file", "/dev/da2"));
    let found = luns(&lun_list(&[first.clone(), third.clone(), last.clone()])).unwrap();
    if found.damaged.is_empty() {
        assert_eq!(found.luns, [first, third.clone(), last]);
    } else {
        assert_eq!(found.luns, [first, last]);
        assert_eq!(found.damaged[0].id, Some(third.id));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn luns_are_read_as_they_are(
        all in btree_map(any::<u32>(), any_lun(), 0..5),
    ) {
        let all: Vec<_> = all.into_iter().map(|(id, lun)| ListedLun { id, ..lun }).collect();
        let found = luns(&lun_list(&all)).unwrap();
        prop_assert_eq!(found, Luns { luns: all, damaged: vec![] });
    }

    #[test]
    fn ports_are_read_as_they_are(
        all in btree_map(any::<u32>(), any_port(), 0..5),
    ) {
        let all: Vec<_> = all.into_iter().map(|(id, port)| ListedPort { id, ..port }).collect();
        let found = ports(&port_list(&all)).unwrap();
        prop_assert_eq!(found, Ports { ports: all, damaged: vec![] });
    }

    #[test]
    fn associations_are_read_as_they_are(
        all in btree_map(any::<u16>(), any_session(), 0..5),
    ) {
        let all: Vec<_> = all
            .into_iter()
            .map(|(cntlid, session)| ListedSession { cntlid, ..session })
            .collect();
        let found = sessions(&session_list(&all)).unwrap();
        prop_assert_eq!(found, Sessions { sessions: all, damaged: vec![] });
    }

    #[test]
    fn a_value_without_closing_tags_can_pretend_nothing(value in hostile(&["</"])) {
        assert_harmless(&lun(1, "file", &value));
    }

    #[test]
    fn a_value_without_line_ends_can_pretend_nothing_beyond_its_line(
        value in hostile(&["\n", "</file>"]),
    ) {
        assert_harmless(&lun(1, "file", &value));
    }

    #[test]
    fn a_name_without_line_ends_can_pretend_nothing(
        name in hostile(&["\n"]),
        value in hostile(&["\n", "</"]),
    ) {
        assert_harmless(&lun(1, &name, &value));
    }

    #[test]
    fn a_host_whose_name_has_no_line_end_harms_itself_at_most(
        name in hostile(&["\n"]),
        tail in "[^\n\0]{0,10}",
    ) {
        let (first, last) = (session(4, "nqn.a"), session(6, "nqn.b"));
        let third = session(5, &(name + &tail));
        let all = [first.clone(), third.clone(), last.clone()];
        let found = sessions(&session_list(&all)).unwrap();
        if found.damaged.is_empty() {
            prop_assert_eq!(found.sessions, all);
        } else {
            prop_assert_eq!(found.sessions, [first, last]);
            prop_assert_eq!(found.damaged[0].id, Some(5));
        }
    }

    #[test]
    fn no_bytes_panic(
        root in proptest::sample::select(&["ctllunlist", "ctlportlist", "ctlnvmflist"][..]),
        pieces in vec(proptest::sample::select(PIECES), 0..50),
        bytes in vec(any::<u8>(), 0..100),
        at: proptest::sample::Index,
    ) {
        let mut inner = pieces.concat().into_bytes();
        let at = at.index(inner.len() + 1);
        inner.splice(at..at, bytes);
        let text = [b"<", root.as_bytes(), b">\n", &inner, b"\n</", root.as_bytes(), b">\n"];
        for text in [text.concat(), inner] {
            let _ = (luns(&text), ports(&text), sessions(&text));
        }
    }

    #[test]
    fn a_damaged_byte_damages_one_object_or_two(
        at: proptest::sample::Index,
        byte in 1..=255_u8,
    ) {
        let all: Vec<_> = (0..5).map(|id| lun(id, "file", "/dev/da0")).collect();
        let mut text = lun_list(&all);
        let end = text.len() - "\n</ctllunlist>\n\0".len();
        let at = "<ctllunlist>\n".len() + at.index(end - "<ctllunlist>\n".len());
        text[at] = byte;
        let found = luns(&text).unwrap();
        let intact = found.luns.iter().filter(|lun| all.contains(lun)).count();
        prop_assert!(intact >= 3, "{found:?}");
    }
}
