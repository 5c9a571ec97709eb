//! `CTL_PORT_LIST`, `CTL_LUN_LIST` and `CTL_NVMF` of type `LIST` with raw bytes.

use nvmf_kmod::Errno;
use nvmf_kmod::fake::ForeignPort;

use super::support::{
    ALL, ENABLE_PORT, Ended, LUN_LIST, NVMF, PORT_LIST, Raw, kernel, make_port, make_ramdisk, map,
    switch,
};

/// A request for a list into `space` bytes.
fn list(code: u32, space: u32) -> Raw {
    let bytes = usize::try_from(space).unwrap();
    if code == NVMF {
        Raw::new(NVMF).u32(0, 1).u32(8, space).output(16, bytes)
    } else {
        Raw::new(code).u32(32, space).output(40, bytes)
    }
}

fn filled(raw: &Raw) -> u32 {
    raw.read_u32(if raw.code == NVMF { 24 } else { 48 })
}

#[test]
fn ports_are_listed_as_ctl_prints_them() {
    let (fake, _) = kernel();
    let target = "iqn.2012-06.com.example:target0";
    fake.add_port(ForeignPort::iscsi(target, [(0, 0)])).unwrap();
    make_ramdisk(&fake, "a");
    let port = make_port(
        &fake,
        "nqn.2026-01.org.example:a&b",
        &[("owner", "me"), ("empty", "")],
    );
    map(&fake, port, ALL, 0).unwrap();
    map(&fake, port, 4, 0).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    let own = |id, name, kind, online| {
        format!(
            "<targ_port id=\"{id}\">\n\t<frontend_type>{name}</frontend_type>\n\
             \t<port_type>{kind}</port_type>\n\t<online>{online}</online>\n\
             \t<port_name>{name}</port_name>\n\t<physical_port>0</physical_port>\n\
             \t<virtual_port>0</virtual_port>\n</targ_port>\n"
        )
    };
    let iscsi = "<targ_port id=\"3\">\n\t<frontend_type>iscsi</frontend_type>\n\
        \t<port_type>16</port_type>\n\t<online>YES</online>\n\t<port_name>iscsi</port_name>\n\
        \t<physical_port>257</physical_port>\n\t<virtual_port>1</virtual_port>\n\
        \t<target>iqn.2012-06.com.example:target0</target>\n\
        \t<port>iqn.2012-06.com.example:target0,t,0x0101</port>\n\
        \t<cfiscsi_target>iqn.2012-06.com.example:target0</cfiscsi_target>\n\
        \t<ctld_portal_group_name>pg0</ctld_portal_group_name>\n\
        \t<cfiscsi_portal_group_tag>257</cfiscsi_portal_group_tag>\n\
        \t<lun_map>on</lun_map>\n\t<lun id=\"0\">0</lun>\n</targ_port>\n";
    let nvmf = "<targ_port id=\"4\">\n\t<frontend_type>nvmf</frontend_type>\n\
        \t<port_type>128</port_type>\n\t<online>YES</online>\n\t<port_name>nvmf</port_name>\n\
        \t<physical_port>1</physical_port>\n\t<virtual_port>0</virtual_port>\n\
        \t<subnqn>nqn.2026-01.org.example:a&b</subnqn>\n\t<portid>1</portid>\n\
        \t<owner>me</owner>\n\t<empty></empty>\n\
        \t<lun_map>on</lun_map>\n\t<lun id=\"4\">0</lun>\n</targ_port>\n";
    let xml = [
        "<ctlportlist>\n",
        &own(0, "camsim", 2, "NO"),
        &own(1, "ioctl", 4, "YES"),
        &own(2, "tpc", 8, "YES"),
        iscsi,
        nvmf,
        "</ctlportlist>\n",
    ]
    .concat();
    assert_eq!(fake.port_list(), xml);
    let mut raw = list(PORT_LIST, 8192);
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(1, ""));
    assert_eq!(raw.written(), (xml.clone() + "\0").as_bytes());
    assert_eq!(usize::try_from(filled(&raw)), Ok(xml.len() + 1));
}

#[test]
fn an_option_that_is_no_string_is_an_empty_element() {
    let (fake, _) = kernel();
    let options = super::support::strings(&[("subnqn", "a"), ("portid", "1")]).bool("flag", true);
    super::support::port_request(0, &options)
        .send(&fake)
        .unwrap();
    assert!(fake.port_list().contains("\t<flag></flag>\n"));
}

#[test]
fn a_list_fits_with_its_nul_or_not_at_all() {
    let (fake, _) = kernel();
    let lengths = [
        (PORT_LIST, fake.port_list().len() + 1, 2),
        (LUN_LIST, 28, 2),
        (NVMF, 30, 2),
    ];
    for (code, length, too_small) in lengths {
        let length = u32::try_from(length).unwrap();
        let mut raw = list(code, length - 1);
        raw.send(&fake).unwrap();
        let why = format!("Out of space, {} bytes is too small", length - 1);
        assert_eq!(raw.ended(), Ended::new(too_small, why));
        assert_eq!((filled(&raw), raw.written().len()), (0, 0));
        let mut raw = list(code, length);
        raw.send(&fake).unwrap();
        assert_eq!(raw.ended().text, "");
        assert_eq!(filled(&raw), length);
        assert_eq!(raw.written().last(), Some(&0));
    }
    assert_eq!(fake.session_list(), "<ctlnvmflist>\n</ctlnvmflist>\n");
    assert_eq!(fake.lun_list(), "<ctllunlist>\n</ctllunlist>\n");
    assert!(fake.misuses().is_empty());
}

#[test]
fn a_bad_address_is_an_errno_of_ctls_lists_and_a_text_of_nvmfts() {
    let (fake, _) = kernel();
    for code in [PORT_LIST, LUN_LIST] {
        let mut raw = Raw::new(code).u32(32, 4096).u64(40, 0xdead_0000);
        assert_eq!(raw.send(&fake), Err(Errno::EFAULT));
        assert_eq!(raw.ended(), Ended::new(0, ""));
    }
    let mut raw = Raw::new(NVMF).u32(0, 1).u32(8, 4096).u64(16, 0xdead_0000);
    raw.send(&fake).unwrap();
    let why = "Failed to copyout session list: 14";
    assert_eq!(raw.ended(), Ended::new(1, why));
}

#[test]
fn lists_of_impossible_lengths_are_panics() {
    for code in [PORT_LIST, LUN_LIST, NVMF] {
        for space in [0, 1, 0x8000_0000_u32, u32::MAX] {
            let (fake, _) = kernel();
            let mut raw = list(code, 2);
            raw = raw.u32(if code == NVMF { 8 } else { 32 }, space);
            assert_eq!(raw.send(&fake), Err(Errno::EIO), "{code:#x} {space}");
            assert!(fake.panicked().is_some());
        }
        // A release has no assertion, and nothing fits.
        let release = kernel().0.without_invariants();
        let mut raw = list(code, 2).u32(if code == NVMF { 8 } else { 32 }, 1);
        raw.send(&release).unwrap();
        assert_eq!(raw.ended().status, 2);
    }
}

#[test]
fn nvmft_says_what_it_is_not_asked_for() {
    let (fake, _) = kernel();
    let mut raw = Raw::new(NVMF).u32(0, 3);
    raw.send(&fake).unwrap();
    let why = "Invalid NVMeoF request type 3";
    assert_eq!(raw.ended(), Ended::new(1, why));
    let fake = kernel().0.without("nvmft");
    for kind in 0..4 {
        let mut raw = Raw::new(NVMF).u32(0, kind);
        raw.send(&fake).unwrap();
        let why = "Frontend \"nvmf\" not found.";
        assert_eq!(raw.ended(), Ended::new(1, why));
    }
}
