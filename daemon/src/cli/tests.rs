//! Whole command lines: the first ones are FreeBSD nvmfd's own.

#![forbid(unsafe_code)]

use super::*;
use crate::engine::backend::ram::RamSize;
use crate::os::MachineId;

fn host() -> HostIdentity {
    let uuid = "4c4c4544-0033-3610-8052-b4c04f4d3132".into();
    HostIdentity::from_machine_id(&MachineId::Public { uuid, hostid: 7 })
}

fn run(line: &str) -> Result<Invocation, StartupError> {
    parse(
        ["nvmfd"].into_iter().chain(line.split_whitespace()),
        &host(),
    )
}

fn options(line: &str) -> Options {
    match run(line) {
        Ok(Invocation::Serve(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    let error = run(line).map(drop).expect_err(line);
    assert_eq!(error.exit() as u8, 64);
    let report = error.report();
    assert!(!report.contains('\n'), "{report}");
    report
}

fn gibibyte() -> DeviceSpec {
    DeviceSpec::Ram(RamSize::from_bytes(1 << 30).unwrap())
}

#[test]
fn freebsd_lines_mean_what_they_mean_there() {
    let o = options("-dFGg -H 64k -n nqn.2014-08.org.example:a -P 1 -p 2 -t tcp ramdisk:1g a/b");
    assert!(o.foreground && o.optional_flow_control && o.header_digest && o.data_digest);
    assert_eq!(o.maxh2cdata, 65536);
    assert_eq!(o.nqn.as_str(), "nqn.2014-08.org.example:a");
    assert_eq!(o.listen, Listen::Everywhere { port: 2 });
    assert_eq!(o.discovery_listen, Listen::Everywhere { port: 1 });
    assert_eq!(o.devices, [gibibyte(), DeviceSpec::Path("a/b".into())]);
}

#[test]
fn freebsd_defaults() {
    let o = options("ramdisk:1g");
    assert!(!o.foreground && !o.optional_flow_control && !o.header_digest && !o.data_digest);
    assert_eq!(o.maxh2cdata, 256 << 10);
    assert_eq!(
        o.nqn.as_str(),
        "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0033-3610-8052-b4c04f4d3132"
    );
    assert_eq!(o.listen, Listen::Everywhere { port: 0 });
    assert_eq!(o.discovery_listen, Listen::Everywhere { port: 8009 });
    assert_eq!((o.log, o.threads, o.config), (None, None, None));
    let addresses = o.discovery_listen.addresses();
    assert_eq!(
        addresses,
        [
            "0.0.0.0:8009".parse().unwrap(),
            "[::]:8009".parse().unwrap()
        ]
    );
}

#[test]
fn every_option_has_a_long_form() {
    let short =
        options("-d -F -g -G -H 4k -n nqn.2014-08.org.example:a -p 1 -P 2 -t tcp ramdisk:1g");
    let long = options(
        "--foreground --optional-flow-control --header-digest --data-digest --maxh2cdata=4k \
         --nqn=nqn.2014-08.org.example:a --port=1 --discovery-port=2 --transport=tcp ramdisk:1g",
    );
    assert_eq!(short, long);
}

#[test]
fn the_last_one_counts_but_addresses_add_up() {
    let o = options("-p 1 -p 2 -g -g --listen ::1 --listen 127.0.0.1:3 ramdisk:1g");
    assert!(o.header_digest);
    let at = vec!["[::1]:2".parse().unwrap(), "127.0.0.1:3".parse().unwrap()];
    assert_eq!(o.listen, Listen::At(at));
    let o = options("--discovery-listen 127.0.0.1 --threads 3 --log trace ramdisk:1g");
    assert_eq!(
        o.discovery_listen.addresses(),
        ["127.0.0.1:8009".parse().unwrap()]
    );
    assert_eq!(o.threads.unwrap().get(), 3);
    assert_eq!(o.log, Some(LevelFilter::TRACE));
}

#[test]
fn every_bad_value_is_named_with_the_way_out() {
    let cases = [
        (
            "-g",
            "--header-digest is of use with a DEVICE only; name one, or leave it to the file of -f",
        ),
        (
            "-f a.toml -p 1",
            "--port cannot be given with -f; the file says what is served",
        ),
        (
            "-f a.toml -K",
            "--kernel cannot be given with -f; the file says what is served",
        ),
        (
            "-f a.toml ramdisk:1g",
            "a DEVICE cannot be given with -f; the file says what is served",
        ),
        (
            "--check --modules",
            "the argument '--check' cannot be used with '--modules'",
        ),
        (
            "ramdisk:1x",
            "'ramdisk:1x' for '[DEVICE]...': 'x' is no unit of size; use K, M, G, T or P",
        ),
        (
            "ramdisk:-0",
            "'ramdisk:-0' for '[DEVICE]...': a size is a number",
        ),
        (
            "ramdisk:0",
            "'ramdisk:0' for '[DEVICE]...': a RAM disk needs a size above 0",
        ),
        ("ramdisk:513", "must be a multiple of 512; use 1024"),
        ("ramdisk:99999999999999999999", "larger than any size"),
        (
            "-H 4095 a",
            "'4095' for '--maxh2cdata <SIZE>': hosts need at least 4096",
        ),
        (
            "-H 4097 a",
            "'4097' for '--maxh2cdata <SIZE>': it must be a multiple of 4",
        ),
        (
            "-n vol0 a",
            "'vol0' for '--nqn <NQN>': the name is not of the form nqn.yyyy-mm",
        ),
        (
            "-p 65536 a",
            "'65536' for '--port <PORT>': a port is a number from 0 to 65535",
        ),
        (
            "-P x a",
            "'x' for '--discovery-port <PORT>': a port is a number",
        ),
        (
            "-t rdma a",
            "'rdma' for '--transport <NAME>': tcp is the only transport",
        ),
        (
            "--listen localhost a",
            "'localhost' for '--listen <ADDR>': not an IP address",
        ),
        (
            "--listen fe80::1 a",
            "needs its interface, as in fe80::1%em0",
        ),
        (
            "--threads 0 a",
            "'0' for '--threads <N>': the number of threads is from 1 to 1024",
        ),
        (
            "--log loud a",
            "'loud' for '--log <LEVEL>': the levels are error, warn",
        ),
        ("--wrong a", "unexpected argument '--wrong' found"),
        ("lun:3", "lun:3 is the kernel's to serve; add -K"),
        ("-K lun:3 lun:3", "lun:3 is given twice; name it once"),
        (
            "a -p",
            "a value is required for '--port <PORT>' but none was supplied",
        ),
        ("a b a", "a is given twice; name it once"),
        (
            "-p 8009 a",
            "0.0.0.0:8009 is to be listened on twice; choose other ports with -p and -P",
        ),
        (
            "--listen 127.0.0.1:8009 a",
            "0.0.0.0:8009 is to be listened on twice",
        ),
        (
            "-p 1 --listen ::1 --listen [::1]:1 a",
            "[::1]:1 is to be listened on twice",
        ),
    ];
    for (line, words) in cases {
        let report = refusal(line);
        assert!(report.contains(words), "{line}: {report}");
        assert!(
            report.ends_with("(nvmfd --help lists the options)"),
            "{report}"
        );
    }
}

#[test]
fn without_a_device_a_file_says_what_is_served() {
    let o = options("");
    assert_eq!(o.config, Some(CONFIG.into()));
    let o = options("-d -f a.toml --log debug --socket s --pid-file p");
    assert_eq!(o.config, Some("a.toml".into()));
    assert!(o.foreground && o.devices.is_empty());
    assert_eq!(o.log, Some(LevelFilter::DEBUG));
    assert_eq!((o.socket, o.pid_file), (Some("s".into()), "p".into()));
    for (line, check) in [("--check -f a.toml", true), ("--modules", false)] {
        match run(line) {
            Ok(Invocation::Check(_)) => assert!(check),
            Ok(Invocation::Modules(_)) => assert!(!check),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_command_line_stands_for_a_configuration() {
    use crate::config::model::{Digest, Hosts, KernelLun, Medium, Namespaces};

    let config = options("-g -F -p 4420 ramdisk:1g a/b ramdisk:1g").given();
    let [portal] = &config.portals[..] else {
        panic!("{config:?}")
    };
    assert_eq!(portal.listen, Listen::Everywhere { port: 4420 });
    assert_eq!(portal.header_digest, Digest::Allow);
    assert_eq!(portal.data_digest, Digest::Off);
    let [subsystem] = &config.subsystems[..] else {
        panic!("{config:?}")
    };
    assert_eq!(subsystem.hosts, Hosts::Any);
    let Namespaces::User(disks) = &subsystem.namespaces else {
        panic!("{subsystem:?}")
    };
    assert_eq!(disks.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(disks[&2].medium, Medium::Path("a/b".into()));
    // RAM disks of one size are two.
    assert_ne!(disks[&1].ids, disks[&3].ids);
    let config = options("-K lun:3 ramdisk:1g").given();
    let Namespaces::Kernel(luns) = &config.subsystems[0].namespaces else {
        panic!("{config:?}")
    };
    assert!(matches!(luns[&1], KernelLun::Existing(id) if id.0 == 3));
    assert!(matches!(luns[&2], KernelLun::Ours { .. }));
    let config = options("-K").given();
    assert_eq!(config.subsystems[0].namespaces, Namespaces::EveryLun);
}

#[test]
fn ports_that_do_not_meet_are_no_collision() {
    options("-p 4420 --listen 127.0.0.1 -P 4420 --discovery-listen 127.0.0.2 a");
    options("-p 4420 --listen 127.0.0.1 -P 4420 --discovery-listen ::1 a");
    options("-p 0 -P 0 a");
}

#[test]
fn what_was_given_cannot_break_the_line() {
    let error = parse(["nvmfd", "-p", "1\n\n2\x1b[31m", "a"], &host())
        .map(drop)
        .unwrap_err();
    let report = error.report();
    assert!(!report.contains(char::is_control), "{report}");
}

#[test]
fn help_and_version_end_well() {
    for (line, words) in [
        ("--help", "Usage: nvmfd [-d] [-f FILE]"),
        ("-V", "nvmfd 0."),
    ] {
        match run(line) {
            Ok(Invocation::Print(text)) => assert!(text.contains(words), "{text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}
