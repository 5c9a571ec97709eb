//! The real program on loopback: started, asked for its ports, ended.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmf_proto::nqn::Nqn;
use nvmfd::control::message::{Answer, Failure, Plan, Request};
use tempfile::TempDir;

use crate::operator;
use crate::program::{Profile, nvmfd, nvmfd_fake};
use crate::usage::Usage;

/// Name of the subsystem that targets serve unless told otherwise.
pub const NQN: &str = "nqn.2014-08.org.example:vol0";

/// Where it answers operators, and what it serves if a file says it: in its directory.
const SOCKET: &str = "ctl";
const CONFIG: &str = "nvmfd.toml";

/// What a target may take to start, or to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration file that serves [`NQN`] to every host, in user mode: its only namespace has these
/// keys of storage, and `more` is what follows.
pub fn configuration(storage: &str, more: &str) -> String {
    format!(
        r#"
[discovery]
listen = ["127.0.0.1:0"]

[[portal]]
name = "front"
listen = ["127.0.0.1:0"]

[[subsystem]]
nqn = "{NQN}"
mode = "user"
portals = ["front"]
allow-any-host = true

[[subsystem.namespace]]
nsid = 1
{storage}

{more}
"#
    )
}

/// How to start a target. What is not said is like FreeBSD's `nvmfd -d -F -g -G ramdisk:64m`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where to listen, for I/O and for discovery.
    pub addresses: Vec<IpAddr>,
    /// What to serve.
    pub devices: Vec<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// The text of a configuration file, which says instead where to listen and what to serve.
    pub config: Option<String>,
    /// Descriptors that it may have, if not as many as this test.
    pub descriptors: Option<u32>,
    /// The kernel that is to serve, by its socket; none: it serves itself.
    pub kernel: Option<PathBuf>,
    /// What the environment has besides.
    pub environment: Vec<(String, String)>,
    /// A program, with its arguments, that starts it.
    pub starter: Vec<String>,
    /// The program that tests alone have: with what `worker/attempts.rs` tries.
    pub with_attempts: bool,
    /// Slow but honest about memory: the C library (glibc) keeps little of what the program gives
    /// back, so that what is resident is what is held.
    pub lean: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            devices: vec!["ramdisk:64m".into()],
            arguments: ["-F", "-g", "-G"].map(String::from).to_vec(),
            config: None,
            descriptors: None,
            kernel: None,
            environment: Vec::new(),
            starter: Vec::new(),
            with_attempts: false,
            lean: false,
        }
    }
}

/// A running nvmfd. It is killed when this goes; its log is shown if a test failed.
#[derive(Debug)]
pub struct Target {
    child: Child,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
    io: Vec<SocketAddr>,
    discovery: Vec<SocketAddr>,
    directory: TempDir,
}

impl Target {
    /// Starts one with a RAM disk of 64 MiB, all digests, on 127.0.0.1.
    pub fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// Starts one.
    ///
    /// # Panics
    /// If it does not serve soon.
    pub fn with(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let program = match setup.kernel.is_some() || setup.with_attempts {
            false => binary(),
            true => binary_on_fake(),
        };
        let mut command = match (setup.descriptors, setup.starter.as_slice()) {
            (None, []) => Command::new(program),
            (None, [starter, arguments @ ..]) => {
                let mut command = Command::new(starter);
                command.args(arguments).arg(program);
                command
            }
            (Some(limit), _) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(program);
                shell
            }
        };
        if let Some(socket) = &setup.kernel {
            command.arg("--ctl").arg(socket);
            if setup.config.is_none() {
                command.arg("-K");
            }
        }
        command
            .arg("-d")
            .arg("--socket")
            .arg(directory.path().join(SOCKET));
        match &setup.config {
            Some(text) => {
                let file = directory.path().join(CONFIG);
                std::fs::write(&file, text).expect("a file can be written");
                command.arg("-f").arg(file);
            }
            None => {
                command.args(["-p", "0", "-P", "0", "-n", NQN]);
                for address in &setup.addresses {
                    let address = address.to_string();
                    command.args(["--listen", &address, "--discovery-listen", &address]);
                }
                command.args(&setup.arguments).args(&setup.devices);
            }
        }
        command.envs(setup.environment.iter().cloned());
        if setup.lean {
            for threshold in ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"] {
                command.env(threshold, "131072");
            }
            command.env("MALLOC_ARENA_MAX", "1");
        }
        command.current_dir(directory.path());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nvmfd can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let log_reader = child
            .stderr
            .take()
            .map(|stderr| keep(stderr, Arc::clone(&log)));
        let lines = child.stdout.take().map(banner).expect("its output");
        let mut target = Self {
            child,
            log,
            log_reader,
            io: Vec::new(),
            discovery: Vec::new(),
            directory,
        };
        target.read_banner(&lines);
        target
    }

    fn read_banner(&mut self, lines: &Receiver<String>) {
        let deadline = Instant::now() + PATIENCE;
        while self.io.is_empty() || self.discovery.is_empty() {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let addresses = addresses(&line);
                    match line.split(' ').next() {
                        Some("I/O") => self.io.extend(addresses),
                        Some("Discovery") => self.discovery.extend(addresses),
                        _ => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("nvmfd does not say where it listens"),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait();
                    panic!("nvmfd did not start: {status:?}\n{}", self.log());
                }
            }
        }
    }

    /// Where hosts connect; the first address of the set-up.
    pub fn io(&self) -> SocketAddr {
        self.io[0]
    }

    /// Where hosts ask what there is.
    pub fn discovery(&self) -> SocketAddr {
        self.discovery[0]
    }

    /// Name of the subsystem.
    pub fn nqn(&self) -> Nqn {
        NQN.parse().expect("a name")
    }

    /// A directory that goes when the target does.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the system counts now for its worker, which has all that peers can make it hold; `None`
    /// where there is no /proc.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.worker())
    }

    /// Its process, the monitor.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process that meets the hosts.
    ///
    /// # Panics
    /// If there is none, or the daemon does not say.
    pub fn worker(&self) -> u32 {
        let status = operator::status(&self.socket());
        status.worker.pid.expect("a worker")
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    /// The configuration file that it serves, if it was started with one.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join(CONFIG)
    }

    /// What it answers to an operator.
    pub fn ask(&self, request: Request) -> Answer {
        operator::ask(&self.socket(), request)
    }

    /// Gives it another configuration and has it read that.
    ///
    /// # Errors
    /// What keeps it from serving it.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn reload(&self, config: &str) -> Result<Plan, Failure> {
        std::fs::write(self.config(), config).expect("a file");
        operator::planned(self.ask(Request::Reload))
    }

    /// What a reload with this configuration would do.
    ///
    /// # Errors
    /// What would keep it from serving it.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn plan(&self, config: &str) -> Result<Plan, Failure> {
        let (name, text) = ("plan".into(), config.into());
        operator::planned(self.ask(Request::Plan { name, text }))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Waits until it has logged `text`.
    ///
    /// # Panics
    /// If it does not soon.
    pub fn says(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "nvmfd does not say {text:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Panics
    /// If it does not end soon.
    pub fn stop(&mut self) -> ExitStatus {
        self.end_with(Signal::SIGTERM)
    }

    /// Sends it a signal that means the end and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end soon.
    pub fn end_with(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.await_end()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it does not end soon.
    pub fn await_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nvmfd does not end");
    }

    /// Sends it a signal and waits for nothing.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process identifier");
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.log_reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- nvmfd's log\n{}---", self.log());
        }
    }
}

/// The program, built once, as this test was: with or without optimisation.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| nvmfd(Profile::AsThisTest).expect("nvmfd can be built"))
}

/// The program whose kernel can be the fake, likewise.
fn binary_on_fake() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| nvmfd_fake(Profile::AsThisTest).expect("nvmfd-fake can be built"))
}

/// Addresses that a line of the banner names; "all addresses" are reached at loopback's.
fn addresses(line: &str) -> Vec<SocketAddr> {
    let words = line.split([' ', ',']);
    let mut found: Vec<SocketAddr> = words.filter_map(|word| word.parse().ok()).collect();
    if let Some((_, port)) = line.split_once("port ")
        && let Ok(port) = port.parse()
    {
        found.push((Ipv4Addr::LOCALHOST, port).into());
    }
    found
}

/// Passes a banner on, line by line, for as long as anybody listens.
fn banner(stdout: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Read to the end even when nobody listens, so that nvmfd is never stopped by it.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn keep(stderr: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().expect("the log");
            log.push_str(&line);
            log.push('\n');
        }
    })
}
