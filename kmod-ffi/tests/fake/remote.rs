//! The seam over a Unix socket, end to end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nvmf_kmod::fake::faults::{Fault, FaultKind, Verdict};
use nvmf_kmod::fake::remote::{RemoteKernel, serve};
use nvmf_kmod::fake::{ForeignLun, ForeignPort};
use nvmf_kmod::request::{NewPort, PortId, Socket};
use nvmf_kmod::{Ctl, Errno};
use tempfile::TempDir;

use super::support::{
    NVMF, SUBNQN, admin_connect, completion, connection, eventually, handoff, io_connect,
    is_closed, kernel,
};

/// Where the other process is told to listen.
const SOCKET: &str = "FAKE_KERNEL_SOCKET";

/// Not a test of its own: the other process of those below runs this.
#[test]
fn the_other_process() {
    if let Some(path) = std::env::var_os(SOCKET) {
        let (fake, _) = kernel();
        serve(&UnixListener::bind(path).unwrap(), &fake.unpatched()).unwrap();
    }
}

/// A kernel in another process.
struct Elsewhere {
    process: Child,
    path: PathBuf,
    _directory: TempDir,
}

impl Elsewhere {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("kernel");
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["remote::the_other_process", "--exact"])
            .env(SOCKET, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("it listens", || UnixStream::connect(&path).is_ok());
        Self {
            process,
            path,
            _directory: directory,
        }
    }

    fn connect(&self) -> (Arc<RemoteKernel>, Ctl) {
        connect(&self.path)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn connect(path: &Path) -> (Arc<RemoteKernel>, Ctl) {
    let remote = Arc::new(RemoteKernel::connect(path).unwrap());
    let kernel: Arc<dyn nvmf_kmod::Kernel> = Arc::clone(&remote) as _;
    (remote, Ctl::new(kernel))
}

fn online(ctl: &Ctl, subnqn: &str) -> PortId {
    let port = NewPort {
        subnqn: subnqn.parse().unwrap(),
        portid: 1,
        max_io_qsize: 1024,
        ioccsz: 16448,
        nn: 1024,
        serial: "S1".into(),
        options: Vec::new(),
    };
    let port = ctl.create_port(&port).unwrap();
    ctl.empty_map(port).unwrap();
    ctl.enable_port(port).unwrap();
    port
}

#[test]
fn a_socket_moves_to_the_other_process_and_the_host_does_not_notice() {
    let elsewhere = Elsewhere::start();
    let (remote, ctl) = elsewhere.connect();
    let port = online(&ctl, SUBNQN);
    let (mut host, mut ours) = connection();
    let number = ours.as_raw_fd();
    ctl.hand_off(&handoff(admin_connect()), &mut ours).unwrap();
    assert_eq!(completion(&mut host, false)[..2], [0, 0]);

    // What is left of it here can only be closed.
    assert_eq!(ours.as_raw_fd(), number);
    let mut dead = TcpStream::from(ours);
    dead.write_all(b"x").unwrap_err();
    dead.read_exact(&mut [0]).unwrap_err();
    drop(dead);

    // The association outlives everything that we have.
    let queues = format!("queues {} 0 1", port.0);
    assert_eq!(remote.control(&queues).unwrap(), "");
    drop((remote, ctl));
    let (remote, ctl) = elsewhere.connect();
    assert_eq!(ctl.sessions().unwrap().sessions.len(), 1);
    let (mut io, mut ours) = connection();
    ctl.hand_off(&handoff(io_connect(0, 1)), &mut ours).unwrap();
    completion(&mut io, false);
    let shown = remote.control("show").unwrap();
    assert!(shown.contains("queues [1]"), "{shown}");
    assert_eq!(remote.misuses().unwrap(), Vec::<String>::new());

    // The other process sees the end of the host.
    drop(host);
    eventually("it is missed", || {
        ctl.sessions().unwrap().sessions.is_empty()
    });
    assert!(is_closed(&mut io));
}

#[test]
fn a_refused_socket_stays_here() {
    let elsewhere = Elsewhere::start();
    let (_, ctl) = elsewhere.connect();
    let (mut host, mut ours) = connection();
    let error = ctl.hand_off(&handoff(admin_connect()), &mut ours);
    assert_eq!(error.unwrap_err().socket, Socket::Ours);
    let mut ours = TcpStream::from(ours);
    ours.write_all(b"ours").unwrap();
    drop(ours);
    let mut heard = Vec::new();
    host.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"ours");
}

#[test]
fn a_panic_in_the_other_process_is_told() {
    let elsewhere = Elsewhere::start();
    let (remote, ctl) = elsewhere.connect();
    online(&ctl, SUBNQN);
    assert_eq!(remote.panicked().unwrap(), None);
    let (_host, mut ours) = connection();
    let error = ctl.hand_off(&handoff(io_connect(5, 1)), &mut ours);
    let error = error.unwrap_err();
    assert_eq!(error.error.errno(), Some(Errno::EIO));
    assert_eq!(error.socket, Socket::Taken);
    assert!(remote.panicked().unwrap().unwrap().contains("page fault"));
    assert!(ctl.ports().is_err());
}

/// A kernel in this process, behind its socket.
fn near() -> (TempDir, Arc<RemoteKernel>, Ctl) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("kernel");
    let listener = UnixListener::bind(&path).unwrap();
    let (fake, _) = kernel();
    std::thread::spawn(move || serve(&listener, &fake));
    let (remote, ctl) = connect(&path);
    (directory, remote, ctl)
}

#[test]
fn a_request_that_sleeps_holds_up_no_other() {
    let (_directory, remote, ctl) = near();
    let first = online(&ctl, "a");
    online(&ctl, SUBNQN);
    let mut admin = admin_connect();
    admin.subnqn = "a".parse().unwrap();
    let (_host, mut ours) = connection();
    ctl.hand_off(&handoff(admin), &mut ours).unwrap();
    remote.control("hold").unwrap();

    let (done, is_done) = mpsc::channel();
    let sleeper = ctl.clone();
    let thread = std::thread::spawn(move || {
        sleeper.disable_port(first).unwrap();
        done.send(()).unwrap();
    });
    let (mut host, mut ours) = connection();
    ctl.hand_off(&handoff(admin_connect()), &mut ours).unwrap();
    completion(&mut host, false);
    assert!(is_done.recv_timeout(Duration::from_millis(20)).is_err());
    remote.control("release").unwrap();
    is_done.recv_timeout(Duration::from_secs(10)).unwrap();
    thread.join().unwrap();
    let ports = ctl.ports().unwrap().ports;
    assert!(!ports.iter().any(|it| it.id == first.0 && it.online));
}

#[test]
fn failures_can_be_ordered_from_afar() {
    let (_directory, remote, ctl) = near();
    online(&ctl, SUBNQN);
    let before = remote.requests().unwrap();
    let strike = |kind| {
        let code = Some(NVMF);
        remote
            .order(&Fault {
                code,
                skip: 0,
                kind,
            })
            .unwrap();
        let (host, mut ours) = connection();
        let error = ctl.hand_off(&handoff(admin_connect()), &mut ours);
        (error.unwrap_err(), host)
    };
    let refused = Verdict::new(1, "Failed to handoff admin queue: 22");
    let (error, _) = strike(FaultKind::Refuse(refused.clone()));
    assert_eq!(error.error.text(), Some(refused.text.as_str()));
    assert_eq!(error.socket, Socket::Ours);
    let (error, mut host) = strike(FaultKind::TakeAndRefuse(refused.clone()));
    assert_eq!(error.socket, Socket::Taken);
    assert!(is_closed(&mut host));
    let (error, _) = strike(FaultKind::TakeAndFail(Errno::EINTR));
    assert_eq!(error.error.errno(), Some(Errno::EINTR));
    let (error, mut host) = strike(FaultKind::RefuseAfter(refused));
    assert_eq!(error.socket, Socket::Taken);
    completion(&mut host, false);
    let (error, _) = strike(FaultKind::FailAfter(Errno::EINTR));
    assert_eq!(error.socket, Socket::Taken);
    let (error, _) = strike(FaultKind::Fail(Errno::ENOMEM));
    assert_eq!(error.error.errno(), Some(Errno::ENOMEM));
    let (error, _) = strike(FaultKind::CrashAfter);
    assert_eq!(error.socket, Socket::Taken);
    assert!(ctl.ports().is_err());
    remote.clear_faults().unwrap();
    ctl.ports().unwrap();
    let (_, _host) = strike(FaultKind::Crash);
    assert_eq!(remote.requests().unwrap(), before + 10);
}

#[test]
fn what_others_have_made_can_be_put_there_from_afar() {
    let (_directory, remote, ctl) = near();
    let lun = ForeignLun {
        backend: "ramdisk".into(),
        size: 1 << 20,
        blocksize: 4096,
        id: Some(9),
        serial: Some("S".into()),
        device_id: Some("D".into()),
        options: vec![("ctld_name".into(), "t,lun,0".into())],
    };
    assert_eq!(remote.add_lun(&lun).unwrap(), 9);
    let taken = remote.add_lun(&lun).unwrap_err();
    assert!(taken.to_string().contains("returned error 28"));
    let iscsi = ForeignPort::iscsi("iqn.2012-06.com.example:t", [(0, 9)]);
    assert_eq!(remote.add_port(&iscsi).unwrap(), 3);
    let options = [
        ("subnqn", SUBNQN),
        ("portid", "1"),
        ("ctld_transport_group_name", "tg0"),
    ];
    assert_eq!(remote.add_nvmf_port(&options, true).unwrap(), 4);

    let ports = ctl.ports().unwrap().ports;
    assert_eq!(ports[3].lun_map.as_ref().unwrap()[&0], 9);
    assert_eq!(ports[4].option("ctld_transport_group_name"), Some("tg0"));
    assert!(ports[4].online);
    let luns = ctl.luns().unwrap().luns;
    assert_eq!((luns[0].id, luns[0].blocksize), (9, 4096));
    assert_eq!(luns[0].option("ctld_name"), Some("t,lun,0"));
    let dump = remote.dump().unwrap();
    assert!(dump.ports.contains("<targ_port id=\"4\">") && dump.luns.contains("ctld_name"));
    assert_eq!(dump.sessions, "<ctlnvmflist>\n</ctlnvmflist>\n");

    ctl.remove_lun("ramdisk", nvmf_kmod::request::LunId(9))
        .unwrap();
    let misuses = remote.misuses().unwrap();
    assert!(misuses[0].contains("somebody else's"), "{misuses:?}");
    let nonsense = remote.control("sing").unwrap_err();
    assert!(nonsense.to_string().contains("does not understand"));
}

#[test]
fn nonsense_on_the_socket_costs_nobody_else_anything() {
    let elsewhere = Elsewhere::start();
    let (_, ctl) = elsewhere.connect();
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\x04\0\0\0rubb", b"\x01"] {
        let mut stream = UnixStream::connect(&elsewhere.path).unwrap();
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    ctl.ports().unwrap();
}

#[test]
fn a_kernel_that_is_gone_is_an_errno() {
    let elsewhere = Elsewhere::start();
    let (remote, ctl) = elsewhere.connect();
    ctl.ports().unwrap();
    drop(elsewhere);
    let error = ctl.ports().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EIO));
    remote.misuses().unwrap_err();
}
