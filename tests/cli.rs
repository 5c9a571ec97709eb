//! The command line as an operator meets it: bad input gets one line that says what to do, an exit
//! status of its own, and leaves nothing behind; a signal ends a daemon in order.

#![forbid(unsafe_code)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd_tests::target::{Target, binary};

/// What the program says and how it ends; it must end by itself.
fn nvmfd(arguments: &[&str]) -> Output {
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{arguments:?} was accepted");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// The one line on standard error and the exit status.
fn refused(arguments: &[&str]) -> (String, i32) {
    let output = nvmfd(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.stdout.is_empty(),
        "{arguments:?} promised something before it failed"
    );
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    (text, output.status.code().unwrap())
}

/// Any port, loopback only.
const HERE: [&str; 9] = [
    "-d",
    "-p",
    "0",
    "-P",
    "0",
    "--listen",
    "127.0.0.1",
    "--discovery-listen",
    "127.0.0.1",
];

fn refused_device(device: &str) -> (String, i32) {
    refused(&[&HERE[..], &[device]].concat())
}

#[test]
fn wrong_devices_are_named_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, size: u64| {
        let path = directory.path().join(name);
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = directory.path().join("missing");
    let cases = [
        (missing.to_str().unwrap().to_owned(), 66, "no such file"),
        (path("empty", 0), 65, "is empty"),
        (path("odd", 1000), 65, "no multiple of 512"),
        (
            directory.path().to_str().unwrap().to_owned(),
            66,
            "is a directory",
        ),
        ("/dev/null".to_owned(), 66, "no disk"),
        ("ramdisk:0".to_owned(), 64, "ramdisk:0"),
        ("ramdisk:1000".to_owned(), 64, "512"),
        ("ramdisk:1x".to_owned(), 64, "1x"),
        ("ramdisk:".to_owned(), 64, "ramdisk"),
        ("ramdisk:99999999999t".to_owned(), 64, "99999999999t"),
    ];
    for (device, status, word) in cases {
        let (line, code) = refused_device(&device);
        assert_eq!(code, status, "{line}");
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn wrong_options_are_named_with_the_way_out() {
    let cases: [(&[&str], &str); 10] = [
        (&["-d", "-g"], "with a DEVICE only"),
        (&["-d", "-n", "vol0", "ramdisk:1m"], "vol0"),
        (
            &["-d", "-n", "nqn.2014-13.org:x", "ramdisk:1m"],
            "nqn.2014-13.org:x",
        ),
        (&["-d", "-p", "70000", "ramdisk:1m"], "70000"),
        (&["-d", "-H", "4095", "ramdisk:1m"], "4095"),
        (&["-d", "-H", "4098", "ramdisk:1m"], "4098"),
        (&["-d", "-t", "rdma", "ramdisk:1m"], "rdma"),
        (
            &["-d", "--listen", "everywhere", "ramdisk:1m"],
            "everywhere",
        ),
        (
            &["-d", "--no-such-option", "ramdisk:1m"],
            "--no-such-option",
        ),
        (&["-K", "lun:three"], "a LUN of CTL's is a number"),
    ];
    for (arguments, word) in cases {
        let (line, code) = refused(arguments);
        assert_eq!(code, 64, "{line}");
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn a_port_in_use_starts_nothing() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let mut arguments = HERE.to_vec();
    // The I/O port is free, the discovery port is not: neither may be left listening.
    arguments[4] = &port;
    let (line, code) = refused(&[&arguments[..], &["ramdisk:1m"]].concat());
    assert_eq!(code, 69, "{line}");
    assert!(line.contains(&port) && line.contains("-P"), "{line}");
}

#[test]
fn two_daemons_do_not_serve_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let image = image.to_str().unwrap();
    let holder = nvmfd_tests::target::Setup {
        devices: vec![image.into()],
        ..Default::default()
    };
    let _first = Target::with(&holder);
    let (line, code) = refused_device(image);
    assert_eq!(code, 69, "{line}");
    assert!(line.contains("served already"), "{line}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (argument, word) in [
        ("--help", "ramdisk"),
        ("--version", env!("CARGO_PKG_VERSION")),
    ] {
        let output = nvmfd(&[argument]);
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(String::from_utf8(output.stdout).unwrap().contains(word));
    }
}

#[test]
fn every_signal_that_means_the_end_ends_it_in_order() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut target = Target::start();
        let address = target.io();
        let status = target.end_with(signal);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(TcpListener::bind(address).is_ok(), "the port is free again");
    }
}

/// The daemon proper: forks, leaves its pid, refuses a second one, goes with its pid file.
#[test]
#[ignore = "needs root, for the pid file in /var/run"]
fn without_d_it_goes_into_the_background_and_leaves_its_pid() {
    const PID_FILE: &str = "/var/run/nvmfd.pid";
    let arguments: Vec<&str> = HERE[1..].iter().copied().chain(["ramdisk:1m"]).collect();
    let first = nvmfd(&arguments);
    let banner = String::from_utf8(first.stdout).unwrap();
    assert!(
        first.status.success() && banner.contains("nvmfd serves"),
        "{banner}"
    );
    let pid = read_pid(Path::new(PID_FILE));
    let (line, code) = refused(&arguments);
    assert_eq!(code, 69, "{line}");
    assert!(line.contains(&pid.to_string()), "{line}");
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new(PID_FILE).exists() {
        assert!(
            Instant::now() < deadline,
            "the pid file is removed at the end"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn read_pid(path: &Path) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            return pid;
        }
        assert!(Instant::now() < deadline, "the daemon writes its pid");
        std::thread::sleep(Duration::from_millis(10));
    }
}
