//! The lists as the kernel prints them, and as it would print what others put there.

mod properties;

use super::*;

/// A LUN as `CTL_LUN_LIST` prints it.
fn print_lun(lun: &ListedLun) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('>', "&gt;")
            .replace('<', "&lt;")
    };
    format!(
        "<lun id=\"{}\">\n\t<backend_type>{}</backend_type>\n\t<lun_type>{}</lun_type>\n\
         \t<size>{}</size>\n\t<blocksize>{}</blocksize>\n\
         \t<serial_number>{}</serial_number>\n\t<device_id>{}</device_id>\n{}</lun>\n",
        lun.id,
        lun.backend,
        lun.lun_type,
        lun.size_blocks,
        lun.blocksize,
        escape(&lun.serial_number),
        escape(&lun.device_id),
        print_options(&lun.options)
    )
}

fn print_options(options: &[(String, String)]) -> String {
    let print = |(name, value): &(String, String)| format!("\t<{name}>{value}</{name}>\n");
    options.iter().map(print).collect()
}

/// A port as `CTL_PORT_LIST` prints it, `virtual_port` being the first of its options.
fn print_port(port: &ListedPort) -> String {
    let mut text = format!(
        "<targ_port id=\"{}\">\n\t<frontend_type>{}</frontend_type>\n\
         \t<port_type>{}</port_type>\n\t<online>{}</online>\n\t<port_name>{}</port_name>\n\
         \t<physical_port>{}</physical_port>\n{}",
        port.id,
        port.frontend,
        port.port_type.unwrap(),
        if port.online { "YES" } else { "NO" },
        port.name,
        port.physical_port.unwrap(),
        print_options(&port.options)
    );
    if let Some(map) = &port.lun_map {
        text += "\t<lun_map>on</lun_map>\n";
        for (plun, lun) in map {
            text += &format!("\t<lun id=\"{plun}\">{lun}</lun>\n");
        }
    }
    text + "</targ_port>\n"
}

/// An association as `nvmft_list()` prints it.
fn print_session(session: &ListedSession) -> String {
    format!(
        "<connection id=\"{}\"><hostnqn>{}</hostnqn><subnqn>{}</subnqn><trtype>{}</trtype>\
         </connection>\n",
        session.cntlid, session.hostnqn, session.subnqn, session.trtype
    )
}

fn list(root: &str, objects: impl IntoIterator<Item = String>) -> Vec<u8> {
    let objects: String = objects.into_iter().collect();
    format!("<{root}>\n{objects}</{root}>\n\0").into_bytes()
}

fn lun_list(all: &[ListedLun]) -> Vec<u8> {
    list("ctllunlist", all.iter().map(print_lun))
}

fn port_list(all: &[ListedPort]) -> Vec<u8> {
    list("ctlportlist", all.iter().map(print_port))
}

fn session_list(all: &[ListedSession]) -> Vec<u8> {
    list("ctlnvmflist", all.iter().map(print_session))
}

fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
    pairs.iter().map(owned).collect()
}

/// A LUN with one option.
fn lun(id: u32, key: &str, value: &str) -> ListedLun {
    ListedLun {
        id,
        backend: "block".into(),
        lun_type: 0,
        size_blocks: 1 << 33,
        blocksize: 512,
        serial_number: "MYSERIAL0000".into(),
        device_id: "a<b>&c".into(),
        options: options(&[("num_threads", "14"), (key, value)]),
    }
}

/// A port of ours with one option more.
fn port(id: u32, key: &str, value: &str) -> ListedPort {
    ListedPort {
        id,
        frontend: "nvmf".into(),
        port_type: Some(128),
        online: true,
        name: "nvmf".into(),
        physical_port: Some(1),
        options: options(&[
            ("virtual_port", "0"),
            ("subnqn", "nqn.2026-01.org.example:disk0"),
            ("portid", "1"),
            (key, value),
        ]),
        lun_map: Some([(0, 7), (5, 1023)].into()),
    }
}

fn session(cntlid: u16, hostnqn: &str) -> ListedSession {
    ListedSession {
        cntlid,
        hostnqn: hostnqn.into(),
        subnqn: "nqn.2026-01.org.example:disk0".into(),
        trtype: 3,
    }
}

fn damaged(id: impl Into<Option<u32>>, reason: Damage) -> Damaged {
    let id = id.into();
    Damaged { id, reason }
}

#[test]
fn the_kernels_list_of_luns_is_read() {
    let text = b"<ctllunlist>\n<lun id=\"3\">\n\t<backend_type>ramdisk</backend_type>\n\
        \t<lun_type>0</lun_type>\n\t<size>131072</size>\n\t<blocksize>512</blocksize>\n\
        \t<serial_number>A&amp;B&lt;C&gt;</serial_number>\n\t<device_id>MYDEVID0003</device_id>\n\
        \t<capacity>67108864</capacity>\n\t<ctld_name></ctld_name>\n</lun>\n</ctllunlist>\n\0";
    let found = luns(text).unwrap();
    assert_eq!(found.damaged, []);
    let [lun] = &*found.luns else {
        panic!("{found:?}")
    };
    assert_eq!((lun.id, lun.lun_type, &*lun.backend), (3, 0, "ramdisk"));
    assert_eq!((lun.size_blocks, lun.blocksize), (131_072, 512));
    assert_eq!(lun.serial_number, "A&B<C>");
    assert_eq!(lun.device_id, "MYDEVID0003");
    assert_eq!(lun.option("capacity"), Some("67108864"));
    assert_eq!(lun.option("ctld_name"), Some(""));
    assert_eq!(lun.option("size"), None);
}

#[test]
fn the_kernels_list_of_ports_is_read() {
    let text = b"<ctlportlist>\n<targ_port id=\"0\">\n\t<frontend_type>camsim</frontend_type>\n\
        \t<port_type>8</port_type>\n\t<online>NO</online>\n\t<port_name>camsim</port_name>\n\
        \t<physical_port>0</physical_port>\n\t<virtual_port>0</virtual_port>\n\
        \t<target>naa.50000001</target>\n\t<port>naa.50000002</port>\n</targ_port>\n\
        <targ_port id=\"3\">\n\t<frontend_type>nvmf</frontend_type>\n\t<port_type>128</port_type>\n\
        \t<online>YES</online>\n\t<port_name>nvmf</port_name>\n\
        \t<physical_port>1</physical_port>\n\t<virtual_port>0</virtual_port>\n\
        \t<subnqn>nqn.2026-01.org.example:disk0</subnqn>\n\t<portid>1</portid>\n\
        \t<lun_map>on</lun_map>\n\t<lun id=\"0\">7</lun>\n\t<lun id=\"1\">8</lun>\n\
        \t<initiator id=\"0\">iqn.1994-09.org.example:a</initiator>\n</targ_port>\n\
        </ctlportlist>\n\0";
    let found = ports(text).unwrap();
    assert_eq!(found.damaged, []);
    let [sim, ours] = &*found.ports else {
        panic!("{found:?}")
    };
    assert_eq!((sim.id, sim.port_type, sim.online), (0, Some(8), false));
    assert_eq!(sim.option("target"), Some("naa.50000001"));
    assert_eq!(sim.lun_map, None);
    assert_eq!((ours.id, &*ours.frontend, &*ours.name), (3, "nvmf", "nvmf"));
    assert_eq!((ours.online, ours.physical_port), (true, Some(1)));
    let subnqn = "nqn.2026-01.org.example:disk0";
    let expected = options(&[("virtual_port", "0"), ("subnqn", subnqn), ("portid", "1")]);
    assert_eq!(ours.options, expected);
    assert_eq!(ours.lun_map, Some([(0, 7), (1, 8)].into()));
}

#[test]
fn the_kernels_list_of_associations_is_read() {
    let text =
        b"<ctlnvmflist>\n<connection id=\"5\"><hostnqn>nqn.2014-08.org.example:host</hostnqn>\
        <subnqn>nqn.2026-01.org.example:disk0</subnqn><trtype>3</trtype></connection>\n\
        </ctlnvmflist>\n\0";
    let found = sessions(text).unwrap();
    assert_eq!(found.damaged, []);
    assert_eq!(found.sessions, [session(5, "nqn.2014-08.org.example:host")]);
}

#[test]
fn empty_lists_are_read_with_and_without_the_final_nul() {
    assert_eq!(session_list(&[]).len(), 30);
    for text in [session_list(&[]), session_list(&[])[..29].to_vec()] {
        assert_eq!(sessions(&text).unwrap().sessions, []);
    }
    assert_eq!(luns(&lun_list(&[])).unwrap().luns, []);
    assert_eq!(ports(&port_list(&[])).unwrap().ports, []);
}

#[test]
fn what_is_no_whole_list_is_an_error() {
    let text = lun_list(&[lun(0, "file", "/dev/da0")]);
    assert_eq!(ports(&text), Err(XmlError::Begin("ctlportlist")));
    assert_eq!(sessions(&text), Err(XmlError::Begin("ctlnvmflist")));
    for length in 0..text.len() - 1 {
        assert!(luns(&text[..length]).is_err(), "{length}");
    }
    assert_eq!(luns(b""), Err(XmlError::Begin("ctllunlist")));
    assert_eq!(luns(b"<ctllunlist>\n"), Err(XmlError::End("ctllunlist")));
    let no_line = b"<ctllunlist>\nx</ctllunlist>\n";
    assert_eq!(luns(no_line), Err(XmlError::End("ctllunlist")));
    let size = MAX_LIST_SIZE + 1;
    assert_eq!(luns(&vec![b' '; size]), Err(XmlError::TooLarge(size)));
}

#[test]
fn what_stands_behind_the_nul_is_not_read() {
    let one = lun_list(&[lun(0, "file", "/dev/da0")]);
    let two = lun_list(&[lun(1, "file", "/dev/da1")]);
    assert_eq!(luns(&[&*one, &two].concat()), luns(&one));
}

#[test]
fn strange_values_that_are_no_markup_are_kept_as_they_are() {
    for value in [
        "",
        "a & b",
        "&lt;",
        "&",
        "&#0;",
        "a>b",
        "]]>",
        "\"'",
        "é",
        "two\nlines",
        "\r\n\t ",
    ] {
        let all = [lun(0, "file", value)];
        assert_eq!(luns(&lun_list(&all)).unwrap().luns, all);
        let all = [port(0, "key", value)];
        assert_eq!(ports(&port_list(&all)).unwrap().ports, all);
    }
}

#[test]
fn an_object_that_cannot_be_read_is_reported_and_hides_no_other() {
    for value in [
        "<",
        "a<b",
        "<b/>",
        "<b>",
        "</file>",
        "<!-- -->",
        "<!--",
        "<![CDATA[x]]>",
        "<?xml?>",
        "<!DOCTYPE lun>",
        "<lun id=\"7\">",
        "x\n<lun id=\"7\">\nx",
        "x</key>\n<targ_port id=\"7\">\n\t<key>x",
    ] {
        let others = [lun(0, "file", "/dev/da0"), lun(2, "file", "/dev/da2")];
        let all = [others[0].clone(), lun(1, "file", value), others[1].clone()];
        let found = luns(&lun_list(&all)).unwrap();
        assert_eq!(found.luns, others, "{value}");
        assert_eq!(found.damaged, [damaged(1, Damage::Markup)], "{value}");

        let others = [port(0, "key", "x"), port(2, "key", "x")];
        let all = [others[0].clone(), port(1, "key", value), others[1].clone()];
        let found = ports(&port_list(&all)).unwrap();
        assert_eq!(found.ports, others, "{value}");
        assert_eq!(found.damaged, [damaged(1, Damage::Markup)], "{value}");
    }
}

#[test]
fn a_lun_that_is_not_utf8_is_reported_and_hides_no_other() {
    let all = [lun(0, "file", "/dev/da0"), lun(1, "file", "/dev/?")];
    let mut text = lun_list(&all);
    let at = text.iter().position(|&byte| byte == b'?').unwrap();
    text[at] = 0xff;
    let found = luns(&text).unwrap();
    assert_eq!(found.luns, all[..1]);
    assert_eq!(found.damaged, [damaged(1, Damage::NotUtf8)]);
}

#[test]
fn strange_names_of_options_are_not_mistaken_for_others() {
    for name in [
        "",
        " file",
        "file ",
        "file x",
        "file id=\"1\"",
        "file\tx",
        "file\n",
        "a\"b",
        "a'b",
        "a&b",
        "a>b",
        "a<b",
        "/file",
        "!file",
        "?file",
        "!--",
        "file/",
        "lun id=\"9\"",
    ] {
        let all = [lun(0, name, "x"), lun(1, "file", "x")];
        let found = luns(&lun_list(&all)).unwrap();
        assert_eq!(found.luns, all[1..], "{name}");
        assert_eq!(found.damaged, [damaged(0, Damage::Markup)], "{name}");
    }
    for name in ["a/b", "a=b", "é", "0", "-", "xml", "a:b:c"] {
        let all = [lun(0, name, "x")];
        assert_eq!(luns(&lun_list(&all)).unwrap().luns, all, "{name}");
    }
}

#[test]
fn an_option_named_like_an_element_of_the_kernel_replaces_none() {
    for name in ["backend_type", "size", "serial_number", "num_threads"] {
        let all = [lun(0, name, "77")];
        assert_eq!(luns(&lun_list(&all)).unwrap().luns, all);
    }
    for name in [
        "frontend_type",
        "online",
        "virtual_port",
        "physical_port",
        "lun",
    ] {
        let all = [port(0, name, "77")];
        assert_eq!(ports(&port_list(&all)).unwrap().ports, all);
    }
}

#[test]
fn a_forged_object_of_an_id_that_exists_counts_as_little_as_the_true_one() {
    let forged = print_lun(&lun(2, "file", "/dev/forged"));
    let value = format!(
        "x</file>\n</lun>\n{}",
        forged.trim_end_matches("</file>\n</lun>\n")
    );
    let all = [
        lun(1, "file", &value),
        lun(2, "file", "/dev/da2"),
        lun(3, "file", "/dev/da3"),
    ];
    let found = luns(&lun_list(&all)).unwrap();
    // Nobody can see what value LUN 1 has: the text is the same as that of two LUNs.
    assert_eq!(found.luns, [lun(1, "file", "x"), all[2].clone()]);
    assert_eq!(found.damaged, [damaged(2, Damage::Repeated)]);
}

#[test]
fn a_forgery_that_leaves_text_over_is_reported() {
    let all = [
        lun(1, "file", "x</file>\n</lun>\nrubbish\n"),
        lun(2, "file", "/dev/da2"),
    ];
    let found = luns(&lun_list(&all)).unwrap();
    assert_eq!(found.luns, [lun(1, "file", "x"), all[1].clone()]);
    assert_eq!(found.damaged, [damaged(None, Damage::Outside)]);

    let all = [
        lun(1, "file", "x\n</lun>\n<lun id=\"7\">"),
        lun(2, "file", "/dev/da2"),
    ];
    let found = luns(&lun_list(&all)).unwrap();
    assert_eq!(found.luns, all[1..]);
    let outside = [damaged(1, Damage::Markup), damaged(None, Damage::Outside)];
    assert_eq!(found.damaged, outside);
}

#[test]
fn the_end_of_the_list_cannot_be_forged() {
    let all = [
        lun(1, "file", "x\n</ctllunlist>\n"),
        lun(2, "file", "/dev/da2"),
    ];
    let found = luns(&lun_list(&all)).unwrap();
    assert_eq!(found.luns, all[1..]);
    assert_eq!(found.damaged, [damaged(1, Damage::Markup)]);
    let text = b"<ctllunlist>\n<lun id=\"1\">\n</ctllunlist>\n";
    assert_eq!(luns(text).unwrap().damaged, [damaged(1, Damage::Unended)]);
}

#[test]
fn numbers_are_the_kernels_or_damage() {
    let good = print_lun(&lun(1, "file", "x"));
    for (from, to, damage) in [
        (">512<", "><", Damage::Text("blocksize")),
        (">512<", ">+512<", Damage::Text("blocksize")),
        (">512<", ">0512<", Damage::Text("blocksize")),
        (">512<", "> 512<", Damage::Text("blocksize")),
        (">512<", ">4294967808<", Damage::Text("blocksize")),
        (
            ">8589934592<",
            ">18446744073709551616<",
            Damage::Text("size"),
        ),
        (">0</lun_type>", ">-1</lun_type>", Damage::Text("lun_type")),
        ("&amp;", "&", Damage::Text("device_id")),
        ("&amp;", "&x;", Damage::Text("device_id")),
        ("\t<size>", "\t<site>", Damage::Markup),
        ("lun_type>", "lun_kind>", Damage::Missing("lun_type")),
    ] {
        let text = list("ctllunlist", [good.replace(from, to)]);
        assert_eq!(luns(&text).unwrap().damaged, [damaged(1, damage)], "{to}");
    }
    for id in ["", "01", "+1", "-1", "4294967296", "1 ", "x"] {
        let text = list(
            "ctllunlist",
            [good.replace("id=\"1\"", &format!("id=\"{id}\""))],
        );
        let found = luns(&text).unwrap();
        assert_eq!(found.luns, []);
        assert_eq!(found.damaged, [damaged(None, Damage::Outside)], "{id}");
    }
    let good = print_port(&port(1, "key", "x"));
    for (from, to, damage) in [
        ("YES", "yes", Damage::Text("online")),
        (">128<", ">x<", Damage::Text("port_type")),
        (">1</phys", ">1.0</phys", Damage::Text("physical_port")),
        (">7<", ">-7<", Damage::Text("lun")),
        ("\t<lun_map>on</lun_map>\n", "", Damage::LunMap),
        ("<lun_map>on", "<lun_map>off", Damage::LunMap),
        ("<lun id=\"5\">", "<lun id=\"0\">", Damage::LunMap),
        ("<lun id=\"5\">", "<lun id=\"05\">", Damage::Markup),
        ("<lun id=\"5\">", "<lun ID=\"5\">", Damage::Markup),
    ] {
        let text = list("ctlportlist", [good.replace(from, to)]);
        assert_eq!(ports(&text).unwrap().damaged, [damaged(1, damage)], "{to}");
    }
    let negative = list("ctlportlist", [good.replace(">1</phys", ">-1</phys")]);
    assert_eq!(ports(&negative).unwrap().ports[0].physical_port, Some(-1));
}

#[test]
fn an_option_cannot_forge_a_lun_map() {
    // Before other options, and before the true map.
    for forged in ["on</lun_map>\n\t<x>", "on"] {
        let mut forging = port(1, "lun_map", forged);
        forging.options.push(("last".into(), "x".into()));
        for lun_map in [None, forging.lun_map.clone()] {
            forging.lun_map = lun_map;
            let found = ports(&port_list(&[forging.clone()])).unwrap();
            assert_eq!(found.ports, []);
        }
    }
    let after = port(1, "key", "x</key>\n\t<lun id=\"0\">9</lun>\n\t<key>x");
    let found = ports(&port_list(&[after])).unwrap();
    assert_eq!(found.damaged, [damaged(1, Damage::LunMap)]);
}

#[test]
fn names_of_initiators_damage_no_port() {
    let ours = port(1, "key", "x");
    let initiators = "\t<initiator id=\"0\"><</initiator>\n\
        \t<initiator id=\"1\">x</initiator>\n\t<lun id=\"9\">9</lun>\n\
        \t<initiator id=\"2\">\u{1}</initiator>\n</targ_port>\n";
    let text = |initiators: &str| {
        let port = print_port(&ours).replace("</targ_port>\n", initiators);
        list("ctlportlist", [port])
    };
    let one_line = initiators.replace("\n\t<lun id=\"9\">9</lun>", "");
    assert_eq!(ports(&text(&one_line)).unwrap().ports[0], ours);
    // With a line end, a name from afar shows.
    let found = ports(&text(initiators)).unwrap();
    assert_eq!(found.damaged, [damaged(1, Damage::Markup)]);
}

#[test]
fn associations_count_only_if_nothing_is_strange() {
    let long = "n".repeat(224);
    let names = [
        ("", Damage::Text("hostnqn")),
        (&*long, Damage::Text("hostnqn")),
        ("nqn\u{7f}", Damage::Text("hostnqn")),
        ("nqn\u{85}", Damage::Text("hostnqn")),
        ("nqn\r", Damage::Text("hostnqn")),
        ("a&b", Damage::Markup),
        ("a&amp;b", Damage::Markup),
        ("a>b", Damage::Markup),
        ("a\"b", Damage::Markup),
        ("a'b", Damage::Markup),
        ("a<b", Damage::Markup),
        ("<b/>", Damage::Markup),
        ("x</hostnqn><hostnqn>y", Damage::Markup),
        (
            "x</hostnqn><subnqn>y</subnqn><trtype>3</trtype></connection>",
            Damage::Markup,
        ),
    ];
    for (name, reason) in names {
        let others = [session(4, "nqn.a"), session(6, "nqn.b")];
        let all = [others[0].clone(), session(5, name), others[1].clone()];
        let found = sessions(&session_list(&all)).unwrap();
        assert_eq!(found.sessions, others, "{name}");
        assert_eq!(found.damaged, [damaged(5, reason)], "{name}");
    }
    let good = print_session(&session(5, "nqn.a"));
    for (from, to) in [
        ("<conn", " <conn"),
        ("<conn", "\t<conn"),
        ("id=\"5\"", "id='5'"),
        ("id=\"5\"", "id=\"05\""),
        ("id=\"5\"", "id=\"65536\""),
        ("id=\"5\"", "id=\"-1\""),
        (">3<", ">03<"),
        (">3<", ">-3<"),
        (">3<", "><"),
        ("<trtype>3</trtype>", ""),
        ("trtype", "trtypes"),
        ("</connection>", "</connection> "),
        ("</connection>", "</connection><connection id=\"6\">"),
        ("</subnqn>", "</subnqn >"),
        ("</subnqn>", "</subnqn>x"),
    ] {
        let found = sessions(&list("ctlnvmflist", [good.replace(from, to)])).unwrap();
        assert_eq!(found.sessions, [], "{to}");
        assert_eq!(found.damaged.len(), 1, "{to}");
    }
    let mut text = session_list(&[session(5, "nqn.?")]);
    let at = text.iter().position(|&byte| byte == b'?').unwrap();
    text[at] = 0xff;
    assert_eq!(
        sessions(&text).unwrap().damaged,
        [damaged(None, Damage::NotUtf8)]
    );
}

#[test]
fn an_association_listed_twice_does_not_count() {
    let mut other_subsystem = session(5, "nqn.a");
    other_subsystem.subnqn += "1";
    let all = [
        session(5, "nqn.a"),
        session(5, "nqn.b"),
        other_subsystem,
        session(6, "nqn.a"),
    ];
    let found = sessions(&session_list(&all)).unwrap();
    assert_eq!(found.sessions, all[2..]);
    assert_eq!(found.damaged, [damaged(5, Damage::Repeated)]);
}

#[test]
fn what_is_damaged_is_told_in_one_line() {
    let text = damaged(5, Damage::Text("hostnqn")).to_string();
    assert_eq!(text, "id 5: the text of <hostnqn> makes no sense");
    assert_eq!(
        damaged(None, Damage::Outside).to_string(),
        "text outside of all objects"
    );
}
