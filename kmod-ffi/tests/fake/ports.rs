//! `CTL_PORT_REQ`, `CTL_ENABLE_PORT` and `CTL_DISABLE_PORT` with raw bytes.

use std::sync::mpsc;
use std::time::Duration;

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{FakeKernel, Limits};
use nvmf_kmod::nv::Nvlist;

use super::support::{
    ALL, DISABLE_PORT, ENABLE_PORT, Ended, INPUT, PORT_REQ, Raw, SUBNQN, admin_connect, connection,
    eventually, handoff, kernel, make_port, map, online_port, port_request, strings, switch,
};

/// How making a port with these options beside its name and number ends.
fn made_with(more: &[(&str, &str)]) -> Ended {
    let base = strings(&[("subnqn", SUBNQN), ("portid", "1")]);
    let options = more
        .iter()
        .fold(base, |list, (key, value)| list.string(*key, value));
    let mut raw = port_request(0, &options);
    raw.send(&kernel().0).unwrap();
    raw.ended()
}

#[test]
fn each_option_of_a_port_is_held_to_its_range() {
    let queue = "Invalid maximum I/O queue size";
    let timeout = "Invalid enable timeout";
    let command = "Invalid Command Capsule size";
    let response = "Invalid Response Capsule size";
    let nn = "Invalid number of namespaces";
    let cases: &[(&str, &str, &str)] = &[
        ("max_io_qsize", "1", queue),
        ("max_io_qsize", "2", ""),
        ("max_io_qsize", "65536", ""),
        ("max_io_qsize", "65537", queue),
        ("max_io_qsize", "", queue),
        ("max_io_qsize", "12k", queue),
        // Octal: 8 is less than 10, and 1.
        ("max_io_qsize", "010", ""),
        ("max_io_qsize", "01", queue),
        ("max_io_qsize", "08", queue),
        ("max_io_qsize", "0x10", ""),
        ("max_io_qsize", " +16", ""),
        ("max_io_qsize", "-1", queue),
        ("max_io_qsize", "-18446744073709551600", ""),
        ("enable_timeout", "0", ""),
        ("enable_timeout", "499", timeout),
        ("enable_timeout", "127500", ""),
        ("enable_timeout", "128000", timeout),
        ("ioccsz", "63", command),
        ("ioccsz", "64", ""),
        ("ioccsz", "72", command),
        ("ioccsz", "4294967296", ""),
        ("iorcsz", "15", response),
        ("iorcsz", "16", ""),
        ("iorcsz", "24", response),
        ("nn", "0", nn),
        ("nn", "1", ""),
        ("nn", "4294967295", ""),
        ("nn", "4294967296", nn),
        ("nn", "99999999999999999999", nn),
        ("serial", "", ""),
        ("ctld_transport_group_name", "tg0", ""),
    ];
    for (key, value, why) in cases {
        let expected = Ended::new(if why.is_empty() { 1 } else { 2 }, *why);
        assert_eq!(made_with(&[(key, value)]), expected, "{key}={value}");
    }
}

#[test]
fn a_port_needs_a_name_and_a_number() {
    let long = "x".repeat(223);
    let too_long = "x".repeat(224);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "Missing required argument"),
        (&[("subnqn", "")], "Missing required argument"),
        (&[("portid", "1")], "Missing required argument"),
        (&[("subnqn", ""), ("portid", "x")], "Invalid SubNQN"),
        (&[("subnqn", &too_long), ("portid", "1")], "Invalid SubNQN"),
        (&[("subnqn", &long), ("portid", "1")], ""),
        (
            &[("subnqn", SUBNQN), ("portid", "65536")],
            "Invalid port ID",
        ),
        (&[("subnqn", SUBNQN), ("portid", "")], "Invalid port ID"),
        (&[("subnqn", SUBNQN), ("portid", "65535")], ""),
        (&[("subnqn", SUBNQN), ("portid", "0")], ""),
    ];
    for (options, why) in cases {
        let mut raw = port_request(0, &strings(options));
        raw.send(&kernel().0).unwrap();
        assert_eq!(raw.ended().text, *why, "{options:?}");
    }
}

#[test]
fn of_several_wrong_options_the_first_of_the_kernels_order_is_named() {
    let wrong = [
        ("nn", "0", "Invalid number of namespaces"),
        ("iorcsz", "1", "Invalid Response Capsule size"),
        ("ioccsz", "1", "Invalid Command Capsule size"),
        ("enable_timeout", "1", "Invalid enable timeout"),
        ("max_io_qsize", "1", "Invalid maximum I/O queue size"),
    ];
    let (fake, _) = kernel();
    make_port(&fake, SUBNQN, &[]);
    for count in 1..=wrong.len() {
        let options = wrong[..count].iter().fold(
            strings(&[("subnqn", SUBNQN), ("portid", "1")]),
            |list, (key, value, _)| list.string(*key, value),
        );
        let mut raw = port_request(0, &options);
        raw.send(&fake).unwrap();
        // That the name is taken would come after all of them.
        assert_eq!(raw.ended().text, wrong[count - 1].2);
    }
}

#[test]
fn an_option_that_is_no_string_counts_as_absent() {
    let (fake, books) = kernel();
    let options = strings(&[("subnqn", SUBNQN), ("portid", "1")]).number("max_io_qsize", 1);
    let mut raw = port_request(0, &options);
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(1, ""));
    map(&fake, 3, ALL, 0).unwrap();
    switch(&fake, ENABLE_PORT, 3).unwrap();
    assert_eq!(books.port(3).unwrap().max_io_qsize, 1024);
    assert_eq!(
        fake.misuses(),
        ["option \"max_io_qsize\" is no string".to_owned()]
    );

    let required = Nvlist::new().string("subnqn", "other").number("portid", 1);
    let mut raw = port_request(0, &required);
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(2, "Missing required argument"));
}

#[test]
fn a_port_has_the_kernels_defaults() {
    let (fake, books) = kernel();
    let port = online_port(&fake, SUBNQN);
    let view = books.port(port).unwrap();
    assert_eq!((view.id, view.portid, view.subnqn.as_str()), (3, 1, SUBNQN));
    assert_eq!((view.max_io_qsize, view.enable_timeout), (1024, 15));
    assert_eq!((view.ioccsz, view.iorcsz, view.nn), (16448, 16, 1024));
    assert_eq!(view.serial, "HI:123456789");
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

#[test]
fn sizes_of_capsules_are_kept_as_32_bits_and_serial_numbers_as_20_characters() {
    let (fake, books) = kernel();
    let more = [
        ("ioccsz", "4294967312"),
        ("serial", "0123456789012345678901"),
    ];
    let port = make_port(&fake, SUBNQN, &more);
    map(&fake, port, ALL, 0).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    let view = books.port(port).unwrap();
    assert_eq!((view.ioccsz, view.serial.len()), (16, 20));
    assert_eq!(fake.misuses().len(), 1);
}

#[test]
fn there_is_one_port_for_a_name_whoever_made_it_and_case_counts() {
    let (fake, _) = kernel();
    let ctlds = [
        ("subnqn", SUBNQN),
        ("portid", "1"),
        ("ctld_transport_group_name", "tg0"),
    ];
    fake.add_nvmf_port(&ctlds, true).unwrap();
    let mut raw = port_request(0, &strings(&[("subnqn", SUBNQN), ("portid", "9")]));
    raw.send(&fake).unwrap();
    let why = format!("SubNQN \"{SUBNQN}\" already exists");
    assert_eq!(raw.ended(), Ended::new(2, why));
    assert_eq!(make_port(&fake, &SUBNQN.to_uppercase(), &[]), 4);
}

#[test]
fn a_long_name_costs_the_text_its_tail() {
    let (fake, _) = kernel();
    for length in [135, 136, 150, 151, 223] {
        let name = "n".repeat(length);
        make_port(&fake, &name, &[]);
        let mut raw = port_request(0, &strings(&[("subnqn", &name), ("portid", "1")]));
        raw.send(&fake).unwrap();
        let whole = format!("SubNQN \"{name}\" already exists");
        let text = raw.ended().text;
        assert_eq!(text, whole[..whole.len().min(159)]);
        assert_eq!(text.ends_with("exists"), length == 135);
        assert_eq!(text.matches('"').count(), if length < 151 { 2 } else { 1 });
    }
}

#[test]
fn numbers_of_ports_are_the_lowest_that_are_free() {
    let (fake, _) = kernel();
    let names = ["a", "b", "c"];
    let ids: Vec<u32> = names.iter().map(|it| make_port(&fake, it, &[])).collect();
    assert_eq!(ids, [3, 4, 5]);
    let mut remove = port_request(1, &strings(&[("subnqn", "b")]));
    remove.send(&fake).unwrap();
    assert_eq!(make_port(&fake, "d", &[]), 4);

    let limits = Limits {
        ports: 4,
        ..Limits::default()
    };
    let fake = kernel().0.with_limits(limits);
    make_port(&fake, "a", &[]);
    let mut raw = port_request(0, &strings(&[("subnqn", "b"), ("portid", "1")]));
    raw.send(&fake).unwrap();
    let why = "Failed to register CTL port with error 16";
    assert_eq!(raw.ended(), Ended::new(2, why));
}

#[test]
fn the_answer_is_copied_when_there_is_a_place_for_it_after_the_port_was_made() {
    let options = strings(&[("subnqn", SUBNQN), ("portid", "1")]);
    let exists = |fake: &FakeKernel| fake.port_list().contains(SUBNQN);

    let (fake, _) = kernel();
    let mut raw = port_request(0, &options).output(64, 54).u64(80, 54);
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(1, ""));
    assert_eq!((raw.read_u64(80), raw.written().len()), (54, 54));

    // Nobody asked for it.
    let (fake, _) = kernel();
    let mut raw = port_request(0, &options);
    raw.send(&fake).unwrap();
    assert_eq!((raw.ended().status, raw.read_u64(80)), (1, 0));

    let (fake, _) = kernel();
    let mut raw = port_request(0, &options).output(64, 53).u64(80, 53);
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(2, "Result nvlist too large."));
    assert_eq!((raw.read_u64(80), raw.written().len()), (53, 0));
    assert!(exists(&fake));

    // Too short, whatever its length says.
    let (fake, _) = kernel();
    let mut raw = port_request(0, &options).output(64, 53).u64(80, 54);
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(2, "Cannot copyout() the result."));
    assert!(exists(&fake));
}

#[test]
fn refusals_and_removals_leave_the_place_for_an_answer_alone() {
    let (fake, _) = kernel();
    make_port(&fake, SUBNQN, &[]);
    for (kind, status) in [(0, 2), (1, 1), (1, 2)] {
        let options = match kind {
            0 => strings(&[("subnqn", SUBNQN), ("portid", "1")]),
            _ => strings(&[("subnqn", SUBNQN)]),
        };
        let mut raw = port_request(kind, &options).output(64, 99).u64(80, 99);
        raw.send(&fake).unwrap();
        assert_eq!(raw.ended().status, status);
        assert_eq!((raw.read_u64(80), raw.written().len()), (99, 0));
    }
}

#[test]
fn a_port_is_removed_by_name_or_number_and_not_by_both() {
    let gone = "SubNQN \"gone\" does not exist";
    let cases: &[(Nvlist, &str)] = &[
        (Nvlist::new(), "Missing required argument"),
        (
            strings(&[("subnqn", SUBNQN), ("port_id", "3")]),
            "Ambiguous port removal request",
        ),
        (strings(&[("port_id", "x")]), "Invalid CTL port ID"),
        (strings(&[("port_id", "")]), "Invalid CTL port ID"),
        (strings(&[("subnqn", "gone")]), gone),
        (
            strings(&[("port_id", "0")]),
            "CTL port 0 is not a NVMF port",
        ),
        (
            strings(&[("port_id", "99")]),
            "CTL port 99 is not a NVMF port",
        ),
        // A number beside a name is passed over.
        (strings(&[("subnqn", SUBNQN)]).number("port_id", 0), ""),
        (strings(&[("port_id", "3")]), ""),
        // Only 32 bits of it are compared.
        (strings(&[("port_id", "4294967299")]), ""),
    ];
    for (options, why) in cases {
        let (fake, _) = kernel();
        make_port(&fake, SUBNQN, &[]);
        let mut raw = port_request(1, options);
        raw.send(&fake).unwrap();
        let status = if why.is_empty() { 1 } else { 2 };
        assert_eq!(raw.ended(), Ended::new(status, *why), "{options:?}");
        assert_eq!(fake.port_list().contains(SUBNQN), status == 2);
    }
}

#[test]
fn other_kinds_of_port_requests_do_not_exist() {
    let (fake, _) = kernel();
    for kind in [2, 3] {
        let mut raw = port_request(kind, &Nvlist::new());
        raw.send(&fake).unwrap();
        let why = format!("Unsupported request type {kind}");
        assert_eq!(raw.ended(), Ended::new(2, why));
    }
}

#[test]
fn removing_a_port_by_an_impossible_name_is_a_panic_where_assertions_are() {
    for name in [String::new(), "x".repeat(224)] {
        let options = strings(&[("subnqn", &name)]);
        let (fake, _) = kernel();
        assert_eq!(port_request(1, &options).send(&fake), Err(Errno::EIO));
        assert!(fake.panicked().unwrap().contains("invalid nqn"));
        // Nothing works any more.
        assert_eq!(switch(&fake, ENABLE_PORT, 3), Err(Errno::EIO));

        let release = kernel().0.without_invariants();
        let mut raw = port_request(1, &options);
        raw.send(&release).unwrap();
        assert!(raw.ended().text.starts_with("SubNQN \""));
        assert_eq!((raw.ended().status, release.panicked()), (2, None));
    }
}

#[test]
fn arguments_are_judged_before_what_they_are_for() {
    let raw = || Raw::new(PORT_REQ).bytes(0, b"nvmf").u32(32, 2);
    let unpackable = "Cannot unpack args nvlist.";
    let mut flagged = Nvlist::with_flags(1).pack().unwrap();
    let cases: &mut [(Raw, &str)] = &mut [
        (raw().u64(40, INPUT).u64(56, 1 << 20), "Cannot copyin args."),
        (raw().u64(40, INPUT).u64(56, (1 << 20) + 1), "Too big args."),
        (raw().u64(40, INPUT).u64(56, u64::MAX), "Too big args."),
        (raw().input(40, 56, b""), unpackable),
        (raw().input(40, 56, b"rubbish"), unpackable),
        (raw().input(40, 56, &flagged), unpackable),
        // No arguments at all are an empty list.
        (raw(), "Unsupported request type 2"),
    ];
    for (raw, why) in cases {
        let (fake, _) = kernel();
        raw.send(&fake).unwrap();
        assert_eq!(raw.ended(), Ended::new(2, *why));
    }

    // Front ends come first of all.
    flagged[0] = 0;
    let mut raw = Raw::new(PORT_REQ)
        .bytes(0, b"fibre")
        .input(40, 56, &flagged);
    raw.send(&kernel().0).unwrap();
    assert_eq!(raw.ended(), Ended::new(2, "Frontend \"fibre\" not found."));
}

#[test]
fn without_its_module_there_is_no_front_end() {
    let fake = kernel().0.without("nvmft");
    let mut raw = port_request(0, &strings(&[("subnqn", SUBNQN), ("portid", "1")]));
    raw.send(&fake).unwrap();
    assert_eq!(raw.ended(), Ended::new(2, "Frontend \"nvmf\" not found."));
}

#[test]
fn a_front_end_that_takes_no_requests_is_an_errno() {
    let (fake, _) = kernel();
    let mut raw = Raw::new(PORT_REQ).bytes(0, b"tpc");
    assert_eq!(raw.send(&fake), Err(Errno::ENODEV));
    assert_eq!(raw.ended(), Ended::new(0, ""), "nothing is copied back");
    let mut unknown = Raw::new(0xc100_e1ff);
    assert_eq!(unknown.send(&fake), Err(Errno::ENOTTY));
}

#[test]
fn a_packed_descriptor_is_a_panic() {
    // A pair `a` of type 6, as libnv's reader would see it.
    let mut packed = Nvlist::new().number("a", 1).pack().unwrap();
    for kind in [6, 12] {
        packed[19] = kind;
        let (fake, _) = kernel();
        let mut raw = Raw::new(PORT_REQ).bytes(0, b"nvmf").input(40, 56, &packed);
        assert_eq!(raw.send(&fake), Err(Errno::EIO));
        assert!(fake.panicked().unwrap().contains("Invalid type"));
    }
}

#[test]
fn switching_a_port_that_is_not_there_says_nothing() {
    let (fake, _) = kernel();
    assert_eq!(switch(&fake, ENABLE_PORT, 77), Ok(()));
    assert_eq!(switch(&fake, DISABLE_PORT, 77), Ok(()));
    assert!(fake.misuses().is_empty());
}

#[test]
fn enabling_and_disabling_again_says_nothing_either() {
    let (fake, books) = kernel();
    let port = online_port(&fake, SUBNQN);
    switch(&fake, ENABLE_PORT, port).unwrap();
    assert!(books.port(port).is_some());
    switch(&fake, DISABLE_PORT, port).unwrap();
    switch(&fake, DISABLE_PORT, port).unwrap();
    assert!(books.port(port).is_none());
    assert!(fake.port_list().contains("<online>NO</online>"));
}

#[test]
fn a_type_switches_every_port_of_that_type_and_is_reported() {
    let (fake, books) = kernel();
    let ports = ["a", "b"].map(|name| make_port(&fake, name, &[]));
    Raw::new(ENABLE_PORT)
        .u32(0, 0x80)
        .u32(68, 77)
        .send(&fake)
        .unwrap();
    for port in ports {
        assert!(books.port(port).is_some());
    }
    let misuses = fake.misuses();
    assert!(
        misuses[0].contains("every port of type 0x80"),
        "{misuses:?}"
    );
}

#[test]
fn a_port_that_is_being_removed_has_given_its_name_free() {
    let (fake, books) = kernel();
    let port = online_port(&fake, SUBNQN);
    let (host, mut ours) = connection();
    let ctl = nvmf_kmod::Ctl::new(std::sync::Arc::new(fake.clone()));
    ctl.hand_off(&handoff(admin_connect()), &mut ours).unwrap();
    books.hold_teardown(true);

    let (done, is_done) = mpsc::channel();
    let remover = fake.clone();
    let thread = std::thread::spawn(move || {
        let mut raw = port_request(1, &strings(&[("subnqn", SUBNQN)]));
        raw.send(&remover).unwrap();
        done.send(raw.ended()).unwrap();
    });
    // It sleeps until the controller is gone; CTL lists the port as online meanwhile.
    eventually("the port is offline for hosts", || {
        books.port(port).is_none()
    });
    assert!(is_done.recv_timeout(Duration::from_millis(20)).is_err());
    assert!(
        fake.port_list()
            .contains("<online>YES</online>\n\t<port_name>nvmf")
    );
    assert_eq!(make_port(&fake, SUBNQN, &[]), port + 1);

    books.hold_teardown(false);
    assert_eq!(
        is_done.recv_timeout(Duration::from_secs(10)).unwrap(),
        Ended::new(1, "")
    );
    thread.join().unwrap();
    assert!(!fake.port_list().contains(&format!("id=\"{port}\"")));
    drop(host);
}

#[test]
fn bytes_that_should_be_zero_are_reported_and_taken() {
    // Pointers of the kernel's own, padding, what the kernel answers, an unused part of a union.
    for at in [36, 48, 72, 88, 92, 252] {
        let (fake, _) = kernel();
        let options = strings(&[("subnqn", SUBNQN), ("portid", "1")]);
        let mut raw = port_request(0, &options).bytes(at, &[1]);
        raw.send(&fake).unwrap();
        assert_eq!(raw.ended().status, 1, "{at}");
        let misuses = fake.misuses();
        assert!(
            misuses[0].starts_with(&format!("byte {at} ")),
            "{misuses:?}"
        );
    }
    let (fake, _) = kernel();
    let mut entry = Raw::new(ENABLE_PORT).u32(68, 77).bytes(4, b"nvmf");
    entry.send(&fake).unwrap();
    assert_eq!(fake.misuses().len(), 1);
}

#[test]
fn foreign_ports_that_are_touched_are_reported() {
    let (fake, _) = kernel();
    let options = [("subnqn", SUBNQN), ("portid", "1")];
    let port = fake.add_nvmf_port(&options, false).unwrap();
    switch(&fake, ENABLE_PORT, port).unwrap();
    map(&fake, port, ALL, 0).unwrap();
    let mut remove = port_request(1, &strings(&[("subnqn", SUBNQN)]));
    remove.send(&fake).unwrap();
    let misuses = fake.misuses();
    let foreign = misuses.iter().filter(|it| it.contains("somebody else's"));
    assert_eq!(foreign.count(), 3, "{misuses:?}");
}

#[test]
fn numbers_that_are_not_plain_and_names_that_break_the_lists_are_reported() {
    for (key, value) in [
        ("nn", "010"),
        ("nn", "0x10"),
        ("nn", " 16"),
        ("owner", "a<b"),
        ("ow&ner", "a"),
        ("owner", "a\nb"),
    ] {
        let (fake, _) = kernel();
        make_port(&fake, SUBNQN, &[(key, value)]);
        assert_eq!(fake.misuses().len(), 1, "{key}={value}");
    }
}
