//! The kernel's lists: whatever stands in the second of three objects, the others stay as they are
//! unless the text has a line end and pretends to be the kernel's.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use nvmf_kmod::xml::{luns, ports, sessions};

fuzz_target!(|data: &[u8]| {
    let _ = (luns(data), ports(data), sessions(data));
    if data.contains(&0) {
        return;
    }
    let tame = !data.contains(&b'\n');

    let lun = |id: u32, value: &[u8]| {
        let begin = format!(
            "<lun id=\"{id}\">\n\t<backend_type>block</backend_type>\n\t<lun_type>0</lun_type>\n\
             \t<size>8</size>\n\t<blocksize>512</blocksize>\n\t<serial_number>s</serial_number>\n\
             \t<device_id>d</device_id>\n\t<file>"
        );
        [begin.as_bytes(), value, b"</file>\n</lun>\n"].concat()
    };
    let all = [lun(0, b"a"), lun(1, data), lun(2, b"b")].concat();
    let found = luns(&list("ctllunlist", &all)).expect("the list as a whole is good");
    if tame {
        let [first, .., last] = &*found.luns else {
            panic!("{found:?}");
        };
        assert_eq!((first.id, first.option("file")), (0, Some("a")));
        assert_eq!((last.id, last.option("file")), (2, Some("b")));
        assert_eq!(found.luns.len() + found.damaged.len(), 3);
    }

    let port = |id: u32, value: &[u8]| {
        let begin = format!(
            "<targ_port id=\"{id}\">\n\t<frontend_type>nvmf</frontend_type>\n\
             \t<port_type>128</port_type>\n\t<online>YES</online>\n\t<port_name>nvmf</port_name>\n\
             \t<physical_port>1</physical_port>\n\t<virtual_port>0</virtual_port>\n\t<subnqn>"
        );
        let end = b"</subnqn>\n\t<lun_map>on</lun_map>\n\t<lun id=\"0\">7</lun>\n</targ_port>\n";
        [begin.as_bytes(), value, end].concat()
    };
    let all = [port(0, b"a"), port(1, data), port(2, b"b")].concat();
    let found = ports(&list("ctlportlist", &all)).expect("the list as a whole is good");
    if tame {
        assert_eq!(found.ports.len() + found.damaged.len(), 3);
        for port in &found.ports {
            assert_eq!(port.lun_map, Some([(0, 7)].into()));
        }
    }

    let session = |cntlid: u16, hostnqn: &[u8]| {
        let begin = format!("<connection id=\"{cntlid}\"><hostnqn>");
        let end = b"</hostnqn><subnqn>nqn.s</subnqn><trtype>3</trtype></connection>\n";
        [begin.as_bytes(), hostnqn, end].concat()
    };
    let all = [session(0, b"nqn.a"), session(1, data), session(2, b"nqn.b")].concat();
    let found = sessions(&list("ctlnvmflist", &all)).expect("the list as a whole is good");
    if tame {
        assert_eq!(found.sessions.len() + found.damaged.len(), 3);
        for session in &found.sessions {
            let name = [&b"nqn.a"[..], data, b"nqn.b"][usize::from(session.cntlid)];
            assert_eq!(session.hostnqn.as_bytes(), name);
            assert_eq!(session.subnqn, "nqn.s");
        }
    }
});

fn list(root: &str, objects: &[u8]) -> Vec<u8> {
    let (begin, end) = (format!("<{root}>\n"), format!("</{root}>\n\0"));
    [begin.as_bytes(), objects, end.as_bytes()].concat()
}
