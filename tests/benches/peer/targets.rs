//! The two targets: each with a RAM disk of the same size, one thread, on the same core.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd_tests::target::{NQN, Setup, Target};
use tempfile::TempDir;

/// Bytes of the RAM disks, in MiB.
const DISK: u64 = 256;

/// The core that targets have.
pub(crate) const CORE: &str = "0";

/// What a load needs to know of a target.
pub(crate) trait Measured {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// The process whose time on the core is counted.
    fn pid(&self) -> u32;
    /// Lets it run, or not: who polls would be in the other's way.
    fn run(&self, running: bool) -> Result<(), String>;
}

/// nvmfd, as an administrator would start it, but for the number of threads.
#[derive(Debug)]
pub(crate) struct Nvmfd(Target);

impl Nvmfd {
    /// Starts it; spinning that long before it sleeps, if that is given.
    pub(crate) fn start(busy_poll: Option<&str>) -> Self {
        let mut arguments: Vec<String> = ["-F", "-g", "-G", "--threads", "1"]
            .map(String::from)
            .to_vec();
        if let Some(time) = busy_poll {
            arguments.extend(["--busy-poll".into(), time.into()]);
        }
        Self(Target::with(&Setup {
            devices: vec![format!("ramdisk:{DISK}m")],
            arguments,
            starter: ["taskset", "-c", CORE].map(String::from).to_vec(),
            ..Setup::default()
        }))
    }
}

impl Measured for Nvmfd {
    fn address(&self) -> SocketAddr {
        self.0.io()
    }

    fn pid(&self) -> u32 {
        self.0.worker()
    }

    fn run(&self, _running: bool) -> Result<(), String> {
        // It sleeps by itself.
        Ok(())
    }
}

/// SPDK's nvmf_tgt.
#[derive(Debug)]
pub(crate) struct Spdk {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Spdk {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(spdk: &Path) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = free_port()?;
        let config = directory.path().join("nvmf_tgt.json");
        std::fs::write(&config, configuration(port)).map_err(|error| error.to_string())?;
        let log = std::fs::File::create(directory.path().join("log"))
            .map_err(|error| error.to_string())?;
        let child = Command::new(spdk.join("build/bin/nvmf_tgt"))
            .args(["-m", "0x1", "--no-huge", "-s", "1024", "-c"])
            .arg(&config)
            .arg("-r")
            .arg(directory.path().join("rpc"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("nvmf_tgt: {error}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut target = Self {
            child,
            address,
            _directory: directory,
        };
        target.wait_until_it_listens()?;
        Ok(target)
    }

    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(self.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(self._directory.path().join("log"));
                return Err(format!("nvmf_tgt: {status}: {}", log.unwrap_or_default()));
            }
            if Instant::now() > deadline {
                return Err("nvmf_tgt does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Measured for Spdk {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn run(&self, running: bool) -> Result<(), String> {
        let signal = if running {
            Signal::SIGCONT
        } else {
            Signal::SIGSTOP
        };
        let pid = i32::try_from(self.child.id()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), signal).map_err(|error| error.to_string())
    }
}

impl Drop for Spdk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}

/// What SPDK's target serves, in its own form, as its defaults have it.
fn configuration(port: u16) -> String {
    let blocks = DISK * 2048;
    serde_json::json!({"subsystems": [
        {"subsystem": "bdev", "config": [
            {"method": "bdev_malloc_create",
             "params": {"name": "m0", "num_blocks": blocks, "block_size": 512}},
        ]},
        {"subsystem": "nvmf", "config": [
            {"method": "nvmf_create_transport",
             "params": {"trtype": "TCP"}},
            {"method": "nvmf_create_subsystem",
             "params": {"nqn": NQN, "allow_any_host": true, "serial_number": "SPDK0"}},
            {"method": "nvmf_subsystem_add_ns",
             "params": {"nqn": NQN, "namespace": {"bdev_name": "m0"}}},
            {"method": "nvmf_subsystem_add_listener",
             "params": {"nqn": NQN, "listen_address":
                {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1",
                 "trsvcid": port.to_string()}}},
        ]},
    ]})
    .to_string()
}
