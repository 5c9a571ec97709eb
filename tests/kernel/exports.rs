//! What the daemon makes of CTL: exported, adopted, withdrawn, and nothing else touched.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nvmf_kmod::fake::faults::{Fault, FaultKind, Verdict};
use nvmf_kmod::request::{NewLun, NewPort, PortId, Statistics, Storage};
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::{Host, HostOptions, discover};
use nvmfd_tests::program::{Profile, nvmfd_fake};
use nvmfd_tests::target::{NQN, Setup, Target};

use crate::scene::Result;

/// `CTL_LUN_REQ`, as the kernel numbers it on machines of 64 bits.
const CTL_LUN_REQ: u32 = 0xc168_e121;

fn setup(kernel: &Kernel, devices: &[&str]) -> Setup {
    Setup {
        kernel: Some(kernel.socket().to_owned()),
        devices: devices.iter().copied().map(String::from).collect(),
        ..Setup::default()
    }
}

/// A LUN that somebody else made.
fn foreign_lun(kernel: &Kernel, name: &str) -> u32 {
    let lun = NewLun {
        storage: Storage::Ramdisk { size: 16 << 20 },
        blocksize: 512,
        read_only: false,
        serial: name.into(),
        device_id: name.into(),
        eui: None,
        uuid: None,
        options: vec![("ctld_name".into(), name.into())],
    };
    kernel.ctl().create_lun(&lun).unwrap().0
}

fn lists(kernel: &Kernel) -> (usize, usize) {
    let ports = kernel.ctl().ports().unwrap().ports;
    let ours = ports.iter().filter(|port| port.frontend == "nvmf").count();
    (ours, kernel.ctl().luns().unwrap().luns.len())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[test]
fn a_host_discovers_connects_writes_and_reads_back() -> Result {
    let kernel = Kernel::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk");
    fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let mut target = Target::with(&setup(&kernel, &["ramdisk:64m", &file]));
    let options = HostOptions {
        header_digest: true,
        data_digest: true,
        io_queues: 4,
        ..HostOptions::default()
    };
    let found = discover(target.discovery(), &options)?;
    let record = found.iter().find(|it| it.subnqn == NQN).expect("an entry");
    assert_eq!(record.trsvcid, target.io().port().to_string());
    let mut host = Host::connect(target.io(), &target.nqn(), &options)?;
    let data = pattern(1 << 20);
    for queue in &mut host.io {
        assert!(queue.write(64, data.clone())?.is_success());
    }
    assert!(host.io[3].read(64, data.len())?.unwrap() == data);
    assert_eq!(host.io.len(), 4);
    target.says("handed over");
    assert_eq!(lists(&kernel), (1, 2));
    // An orderly stop sends the host away and leaves nothing.
    assert!(target.stop().success(), "{}", target.log());
    assert!(host.keep_alive().is_err());
    assert_eq!(lists(&kernel), (0, 0));
    kernel.is_well();
    Ok(())
}

#[test]
fn the_kernel_counts_what_hosts_read_and_write() -> Result {
    let kernel = Kernel::start();
    let mut target = Target::with(&setup(&kernel, &["ramdisk:64m"]));
    let port = kernel.ctl().ports().unwrap().ports.into_iter();
    let port = port.rev().find(|it| it.frontend == "nvmf").unwrap().id;
    let counted = || kernel.ctl().port_statistics().unwrap()[&PortId(port)];
    let expected = |hosts: u64| Statistics {
        reads: hosts,
        writes: 2 * hosts,
        bytes_read: hosts * 8192,
        bytes_written: hosts * 2 * 4096,
    };
    assert_eq!(counted(), expected(0));
    // What hosts did that are gone still counts.
    for before in 0..2 {
        let options = HostOptions {
            io_queues: 2,
            ..HostOptions::default()
        };
        let mut host = Host::connect(target.io(), &target.nqn(), &options)?;
        assert!(host.io[0].write(0, pattern(4096))?.is_success());
        assert!(host.io[1].write(8, pattern(4096))?.is_success());
        assert!(host.io[0].read(0, 8192)?.is_ok());
        assert!(host.io[0].flush()?.is_success());
        assert_eq!(counted(), expected(before + 1));
    }
    assert!(target.stop().success(), "{}", target.log());
    let left = kernel.ctl().port_statistics().unwrap();
    assert_eq!(left.into_keys().collect::<Vec<_>>(), [0, 1, 2].map(PortId));
    kernel.is_well();
    Ok(())
}

#[test]
fn io_goes_on_while_the_daemon_is_dead_and_its_successor_adopts() -> Result {
    let kernel = Kernel::start();
    let mut target = Target::with(&setup(&kernel, &["ramdisk:64m"]));
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::default())?;
    let data = pattern(100_352);
    assert!(host.io[0].write(8, data.clone())?.is_success());
    let before = kernel.ctl().ports().unwrap();
    target.end_with(Signal::SIGKILL);
    assert!(
        host.io[0].read(8, data.len())?.unwrap() == data,
        "no daemon"
    );
    let again = Target::with(&setup(&kernel, &["ramdisk:64m"]));
    assert_eq!(kernel.ctl().ports().unwrap(), before);
    again.says("adopted");
    assert!(
        host.io[0].read(8, data.len())?.unwrap() == data,
        "the old host"
    );
    let mut new = Host::connect(again.io(), &again.nqn(), &HostOptions::named(7))?;
    assert!(
        new.io[0].read(8, data.len())?.unwrap() == data,
        "a new host"
    );
    kernel.is_well();
    Ok(())
}

#[test]
fn a_signal_that_comes_to_the_group_too_does_not_cut_the_stop_short() {
    let kernel = Kernel::start();
    let mut target = Target::with(&setup(&kernel, &["ramdisk:64m"]));
    // As timeout(1) and shells do it.
    target.signal(Signal::SIGTERM);
    target.signal(Signal::SIGTERM);
    assert!(target.await_end().success(), "{}", target.log());
    assert_eq!(lists(&kernel), (0, 0), "{}", target.log());
}

#[test]
fn what_others_made_stays_as_it_is_and_may_be_exported_by_number() -> Result {
    let kernel = Kernel::start();
    let secret = foreign_lun(&kernel, "secret");
    let shared = foreign_lun(&kernel, "shared");
    let theirs = NewPort {
        subnqn: "nqn.2014-08.org.example:theirs".parse().unwrap(),
        portid: 9,
        max_io_qsize: 128,
        ioccsz: 16448,
        nn: 1024,
        serial: "theirs".into(),
        options: vec![("ctld_transport_group_name".into(), "tg0".into())],
    };
    kernel.ctl().create_port(&theirs).unwrap();
    let before = (kernel.ctl().ports().unwrap(), kernel.ctl().luns().unwrap());
    let lun = format!("lun:{shared}");
    let mut target = Target::with(&setup(&kernel, &[&lun]));
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::default())?;
    assert!(host.io[0].read(0, 512)?.is_ok());
    // CNS 02h, active namespaces: just the one.
    let active = host.identify(2, 0)?;
    assert_eq!((active[0], active[4]), (1, 0), "LUN {secret} is not shown");
    assert!(target.stop().success());
    let after = (kernel.ctl().ports().unwrap(), kernel.ctl().luns().unwrap());
    assert_eq!(after, before);
    kernel.is_well();
    Ok(())
}

#[test]
fn without_a_device_every_lun_is_exported_and_named_in_a_warning() -> Result {
    let kernel = Kernel::start();
    let first = foreign_lun(&kernel, "first");
    let second = foreign_lun(&kernel, "second");
    let target = Target::with(&setup(&kernel, &[]));
    target.says("every LUN of this machine is exported");
    for id in [first, second] {
        target.says(&format!("LUN {id}: ramdisk"));
    }
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::default())?;
    let active = host.identify(2, 0)?;
    let shown = [u32::from(active[0]), u32::from(active[4])];
    assert_eq!(shown, [first + 1, second + 1]);
    // Nothing else is done that the fake finds fault with.
    let misuses = kernel.fake().misuses();
    let without_map = |misuse: &String| misuse.contains("without a map");
    assert!(misuses.iter().all(without_map), "{misuses:?}");
    assert_eq!((misuses.len(), kernel.fake().panicked()), (1, None));
    Ok(())
}

/// A start that is to fail.
fn starting(kernel: &Kernel, arguments: &[&str]) -> Command {
    let mut command = Command::new(nvmfd_fake(Profile::AsThisTest).unwrap());
    command
        .args(["-K", "-d", "-p", "0", "-P", "0", "-n", NQN, "--ctl"])
        .arg(kernel.socket())
        .args(["--listen", "127.0.0.1", "--discovery-listen", "127.0.0.1"])
        .args(["--log", "error"])
        .args(arguments);
    command
}

/// The one line that a start ends with, and its exit status.
fn fails(kernel: &Kernel, arguments: &[&str]) -> (String, Option<i32>) {
    let output = starting(kernel, arguments).output().unwrap();
    assert!(output.stdout.is_empty());
    let line = String::from_utf8(output.stderr).unwrap();
    (line, output.status.code())
}

#[test]
fn a_start_that_fails_late_leaves_an_earlier_daemons_hosts_alone() -> Result {
    let kernel = Kernel::start();
    let late = |kernel: &Kernel| {
        // Where the banner finds no room.
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = starting(kernel, &["ramdisk:64m"]);
        let status = command.stdout(full).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(71));
    };
    late(&kernel);
    assert_eq!(lists(&kernel), (0, 0), "what it has made itself goes");
    let mut target = Target::with(&setup(&kernel, &["ramdisk:64m"]));
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::default())?;
    target.end_with(Signal::SIGKILL);
    late(&kernel);
    assert_eq!(lists(&kernel), (1, 1));
    assert!(host.io[0].read(0, 512)?.is_ok(), "nobody was sent away");
    // A slip of the pen costs nobody's disk either.
    let (line, _) = fails(&kernel, &["/no/such/disk"]);
    assert!(line.contains("no such file"), "{line}");
    assert!(host.io[0].read(0, 512)?.is_ok(), "the namespace is there");
    kernel.is_well();
    Ok(())
}

#[test]
fn what_cannot_be_exported_is_said_in_one_line_and_leaves_nothing() {
    let kernel = Kernel::start();
    let (line, code) = fails(&kernel, &["lun:7"]);
    assert!(
        line.starts_with("nvmfd: ") && line.contains("LUN 7"),
        "{line}"
    );
    assert_eq!((line.lines().count(), code), (1, Some(69)));
    let (line, code) = fails(&kernel, &["ramdisk:1m", "/no/such/disk"]);
    assert!(line.contains("/no/such/disk: no such file"), "{line}");
    assert_eq!((line.lines().count(), code), (1, Some(66)));
    kernel.order(&Fault {
        code: Some(CTL_LUN_REQ),
        skip: 1,
        kind: FaultKind::Refuse(Verdict::new(2, "LUN size < blocksize")),
    });
    let (line, code) = fails(&kernel, &["ramdisk:1m", "ramdisk:2m"]);
    assert!(line.contains("LUN size < blocksize"), "{line}");
    assert_eq!((line.lines().count(), code), (1, Some(69)));
    assert_eq!(lists(&kernel), (0, 0), "the first RAM disk was taken back");
    let theirs = NewPort {
        subnqn: NQN.parse().unwrap(),
        portid: 1,
        max_io_qsize: 1024,
        ioccsz: 16448,
        nn: 1024,
        serial: "theirs".into(),
        options: vec![("ctld_transport_group_name".into(), "tg0".into())],
    };
    kernel.ctl().create_port(&theirs).unwrap();
    let (line, code) = fails(&kernel, &["ramdisk:1m"]);
    assert!(line.contains("ctld") && line.contains("tg0"), "{line}");
    assert_eq!((line.lines().count(), code), (1, Some(69)));
    assert_eq!(lists(&kernel), (1, 0));
    kernel.is_well();
}

#[test]
fn without_freebsd_kernel_mode_says_so() {
    let program = nvmfd_tests::program::nvmfd(Profile::AsThisTest).unwrap();
    let output = Command::new(program)
        .args(["-K", "-d", "ramdisk:1m"])
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    if cfg!(target_os = "freebsd") {
        // Root outside a jail would get it.
        return;
    }
    assert!(
        line.contains("kernel mode needs FreeBSD 15.0 or later"),
        "{line}"
    );
    assert!(line.contains("leave -K out"), "{line}");
    assert_eq!(output.status.code(), Some(69));
}
