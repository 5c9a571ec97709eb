//! The lists as the kernel prints them, and as it would print what others put there.

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
