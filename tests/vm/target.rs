//! The daemon under test as a process: started, restarted, killed, and asked whether it serves.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, io};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd::control::message::{Answer, Request};
use nvmfd_tests::operator;
use tempfile::TempDir;

use crate::config::Config;
use crate::kernel::Kernel;
use crate::{child, probe};

/// The variables that say where the programs are.
pub(crate) const NVMFD: &str = "NVMFD";
pub(crate) const NVMFD_FAKE: &str = "NVMFD_FAKE";

/// Not a loopback address: a guest that read one in the discovery log would talk to itself.
pub(crate) const ADDRESS: &str = "10.99.0.1";
/// In a network namespace of our own the well-known ports are free.
pub(crate) const PORT: u16 = 4420;
pub(crate) const DISCOVERY_PORT: u16 = 8009;
pub(crate) const NQN: &str = "nqn.2014-08.org.example:linux-host";
/// The second subsystem, where there are two, and discovery's own name, where it has one.
pub(crate) const SECOND_NQN: &str = "nqn.2014-08.org.example:second";
pub(crate) const UNIQUE_DISCOVERY_NQN: &str = "nqn.2014-08.org.example:discovery";
/// The other daemon, which the first one refers to.
pub(crate) const OTHER_ADDRESS: &str = "10.99.0.2";
pub(crate) const OTHER_NQN: &str = "nqn.2014-08.org.example:other";

const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";
const LOG: &str = "nvmfd.log";
const NAMESPACE_SIZE: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Target {
    process: Child,
    run: PathBuf,
    /// In kernel mode, which outlives the process.
    kernel: Option<Kernel>,
    /// What it serves from a file; nothing: what its command line says.
    config: Option<Config>,
    left: Left,
    /// Another daemon, in user mode; it has nothing to do with the first.
    other: Option<Child>,
    /// Holds the control socket: paths of sockets must be short.
    directory: TempDir,
}

/// What a daemon in kernel mode has left to the next.
#[derive(Clone, Copy)]
enum Left {
    Nothing,
    Exports,
}

impl Target {
    /// Starts the daemon with a RAM disk and a fresh file in `run`.
    pub(crate) fn start(run: &Path) -> Result<Self, String> {
        Self::begin(run, None)
    }

    /// The same, with a kernel of its own to hand queues to.
    pub(crate) fn start_in_kernel_mode(run: &Path) -> Result<Self, String> {
        Self::begin(run, Some(Kernel::start(run)?))
    }

    fn begin(run: &Path, kernel: Option<Kernel>) -> Result<Self, String> {
        let file = run.join("namespace");
        let fresh = File::create(&file).and_then(|file| file.set_len(NAMESPACE_SIZE));
        fresh.map_err(|error| format!("{}: {error}", file.display()))?;
        // Logs are appended to, so that a restart does not hide what came before.
        fs::write(run.join(LOG), "").map_err(|error| format!("{LOG}: {error}"))?;
        let failed = |error: io::Error| format!("nvmfd: {error}");
        let directory = tempfile::tempdir().map_err(failed)?;
        let socket = socket(&directory);
        let process = spawn(run, &socket, kernel.as_ref(), None).map_err(failed)?;
        let mut target = Self {
            process,
            run: run.to_owned(),
            kernel,
            config: None,
            left: Left::Nothing,
            other: None,
            directory,
        };
        target.wait_until_serving()?;
        Ok(target)
    }

    /// Ends it and starts one that serves what a file says, on fresh storage.
    pub(crate) fn serve(&mut self, config: Config) -> Result<(), String> {
        self.stop()?;
        config.make_storage(&self.run)?;
        config.write(&self.run, self.kernel.is_some())?;
        self.config = Some(config);
        self.start_again()
    }

    /// Has it serve what another file says; there must be something to change.
    pub(crate) fn reload(&mut self, config: Config) -> Result<(), String> {
        config.write(&self.run, self.kernel.is_some())?;
        let answer = self.ask(Request::Reload)?;
        let Answer::Plan(plan) = &answer else {
            return Err(format!("the reload: {answer:?}"));
        };
        if plan.steps.is_empty() {
            return Err("the reload changed nothing".into());
        }
        self.config = Some(config);
        Ok(())
    }

    /// Has it leave what the kernel serves to the next, as an upgrade does.
    pub(crate) fn leave(&mut self) -> Result<(), String> {
        let answer = self.ask(Request::Leave)?;
        if answer != Answer::Done {
            return Err(format!("asked to leave: {answer:?}"));
        }
        let status = self.await_end("it was asked to leave")?;
        self.left = Left::Exports;
        match status.success() {
            true => Ok(()),
            false => Err(format!("nvmfd ended with {status}, asked to leave")),
        }
    }

    /// Ends the process of its that meets the hosts, as a fault there would.
    pub(crate) fn kill_worker(&self) -> Result<(), String> {
        let Answer::Status(status) = self.ask(Request::Status)? else {
            return Err("nvmfd does not say how it is".into());
        };
        let worker = status.worker.pid.ok_or("nvmfd has no worker")?;
        signal(worker, Signal::SIGKILL)
    }

    /// Starts another daemon, at [`OTHER_ADDRESS`], with a RAM disk.
    pub(crate) fn start_other(&mut self) -> Result<(), String> {
        let mut command = self.other_command()?;
        let process = command.spawn();
        self.other = Some(process.map_err(|error| format!("the other nvmfd: {error}"))?);
        let deadline = Instant::now() + PATIENCE;
        while let Err(why) = probe::connect(OTHER_ADDRESS, PORT, OTHER_NQN) {
            if Instant::now() > deadline {
                return Err(format!("the other nvmfd: {why}"));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn other_command(&self) -> Result<Command, String> {
        let program = program(self.kernel.as_ref());
        let log = File::create(self.run.join("other.log")).map_err(|error| error.to_string())?;
        let mut command = child(program);
        command
            .args(["-d", "-p", &PORT.to_string()])
            .args(["-P", &DISCOVERY_PORT.to_string(), "-n", OTHER_NQN])
            .args(["--listen", OTHER_ADDRESS])
            .args(["--discovery-listen", OTHER_ADDRESS])
            .arg("--socket")
            .arg(self.directory.path().join("other.sock"))
            .arg("ramdisk:16m")
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log);
        Ok(command)
    }

    /// Ends it.
    pub(crate) fn stop_other(&mut self) -> Result<(), String> {
        let mut other = self.other.take().ok_or("there is no other nvmfd")?;
        send(&other, Signal::SIGTERM)?;
        match other.wait() {
            Ok(status) if status.success() => Ok(()),
            ended => Err(format!("the other nvmfd: {ended:?}")),
        }
    }

    fn ask(&self, request: Request) -> Result<Answer, String> {
        operator::try_ask(&socket(&self.directory), request)
            .map_err(|error| format!("nvmfd does not answer: {error}"))
    }

    /// As an operator does it. In kernel mode nothing may be left behind.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        let status = self.end(Signal::SIGTERM)?;
        if !status.success() {
            return Err(format!("nvmfd ended with {status} at SIGTERM"));
        }
        self.left = Left::Nothing;
        self.kernel.as_ref().map_or(Ok(()), Kernel::holds_nothing)
    }

    /// As a crash does it.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.end(Signal::SIGKILL)?;
        self.left = Left::Exports;
        Ok(())
    }

    /// After its end. In kernel mode it must make what is not there, and change nothing of what is.
    pub(crate) fn start_again(&mut self) -> Result<(), String> {
        let before = self.log().len();
        let (socket, kernel) = (socket(&self.directory), self.kernel.as_ref());
        self.process = spawn(&self.run, &socket, kernel, self.config)
            .map_err(|error| format!("nvmfd: {error}"))?;
        self.wait_until_serving()?;
        if self.kernel.is_none() {
            return Ok(());
        }
        let luns = self.config.map_or(2, Config::luns);
        let done = match self.left {
            Left::Nothing => format!("kernel: ports: 1 made; LUNs: {luns} made"),
            Left::Exports => format!("kernel: ports: 1 adopted; LUNs: {luns} adopted"),
        };
        let log = self.log();
        match log[before..].lines().any(|line| line.ends_with(&done)) {
            true => Ok(()),
            false => Err(format!("nvmfd does not say \"{done}\": {}", &log[before..])),
        }
    }

    /// Still the same process, and it lets a new host connect on both ports.
    pub(crate) fn serves(&mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.process.try_wait() {
            return Err(format!("nvmfd has ended with {status}"));
        }
        probe::connect(ADDRESS, PORT, NQN)?;
        probe::connect(ADDRESS, DISCOVERY_PORT, DISCOVERY_NQN)
    }

    /// Waits for the daemon to close every connection of a host that has fallen silent.
    pub(crate) fn forgets_silent_host(&self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        loop {
            match probe::open_connections(PORT)? {
                0 => return Ok(()),
                open if Instant::now() > deadline => {
                    return Err(format!("{open} connections still open after {limit:?}"));
                }
                _ => sleep(Duration::from_millis(200)),
            }
        }
    }

    /// The kernel that queues are handed to.
    pub(crate) fn kernel(&mut self) -> Option<&mut Kernel> {
        self.kernel.as_mut()
    }

    /// The last lines of each log.
    pub(crate) fn log_tails(&self) -> Vec<(&'static str, String)> {
        let mut tails = vec![("nvmfd", self.log_tail())];
        tails.extend(
            self.kernel
                .iter()
                .map(|it| ("the fake kernel", it.log_tail())),
        );
        tails
    }

    fn log_tail(&self) -> String {
        tail(&self.run.join(LOG), 30)
    }

    fn log(&self) -> String {
        let log = fs::read(self.run.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn wait_until_serving(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.serves() {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() > deadline || self.has_ended() => {
                    return Err(format!("{why}\n{}", self.log_tail()));
                }
                Err(_) => sleep(Duration::from_millis(50)),
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_)))
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus, String> {
        if self.has_ended() {
            return Err("nvmfd has ended already".into());
        }
        send(&self.process, signal)?;
        self.await_end(signal.as_str())
    }

    fn await_end(&mut self, after: &str) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.process.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => sleep(Duration::from_millis(20)),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("nvmfd still runs {PATIENCE:?} after {after}"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(other) = &mut self.other {
            let _ = other.kill();
            let _ = other.wait();
        }
    }
}

/// The daemon that is tested, with a kernel or without.
fn program(kernel: Option<&Kernel>) -> OsString {
    let variable = kernel.map_or(NVMFD, |_| NVMFD_FAKE);
    env::var_os(variable).expect("the part outside the namespaces sets it")
}

fn spawn(
    run: &Path,
    socket: &Path,
    kernel: Option<&Kernel>,
    config: Option<Config>,
) -> io::Result<Child> {
    let program = program(kernel);
    let log = File::options().append(true).open(run.join(LOG))?;
    let mut command = child(program);
    command.arg("-d").arg("--socket").arg(socket);
    if let Some(kernel) = kernel {
        command.arg("--ctl").arg(kernel.socket());
    }
    match config {
        Some(_) => {
            command.arg("-f").arg(Config::path(run));
        }
        None => {
            command
                .args(kernel.map(|_| "-K"))
                .args(["-F", "-g", "-G"])
                .args(["-p", &PORT.to_string()])
                .args(["-P", &DISCOVERY_PORT.to_string()])
                .args(["-n", NQN])
                .args(["--listen", ADDRESS])
                .args(["--discovery-listen", ADDRESS])
                .arg("ramdisk:64m")
                .arg(run.join("namespace"));
        }
    }
    command.stdout(log.try_clone()?).stderr(log).spawn()
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("nvmfd.sock")
}

pub(crate) fn send(process: &Child, to_send: Signal) -> Result<(), String> {
    signal(process.id(), to_send)
}

fn signal(process: u32, signal: Signal) -> Result<(), String> {
    let pid = i32::try_from(process).map_err(|error| error.to_string())?;
    kill(Pid::from_raw(pid), signal).map_err(|error| format!("{signal}: {error}"))
}

/// The last lines of a log.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
