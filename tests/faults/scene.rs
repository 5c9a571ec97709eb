//! Where the stories happen: a target with a healthy host on it, and its books.

use std::error::Error;
use std::net::SocketAddr;

use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::nqn::Nqn;
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::peer::{Host, HostOptions, PeerError};
use nvmfd_tests::target::{NQN, Setup, Target};

use crate::books::Books;
use crate::healthy::Healthy;
use crate::reloads::Reloads;

/// What a story ends with.
pub(crate) type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Who executes the commands of the hosts that a target has let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The program itself.
    User,
    /// FreeBSD's kernel, played: it has no remedy for CVE-2026-4652 and panics where a real one would.
    Kernel,
}

/// What the file says when nobody is at it; `storage` is that of the only namespace.
pub(crate) fn config(mode: Mode, storage: &str) -> String {
    let mode = match mode {
        Mode::User => "user",
        Mode::Kernel => "kernel",
    };
    format!(
        r#"
[discovery]
listen = ["127.0.0.1:0"]

[[portal]]
name = "front"
listen = ["127.0.0.1:0"]
sq-flow-control = "optional"

[[subsystem]]
nqn = "{NQN}"
mode = "{mode}"
portals = ["front"]
allow-any-host = true

[[subsystem.namespace]]
nsid = 1
{storage}
"#
    )
}

/// Memory, as the file says it.
pub(crate) const MEMORY: &str = "ram = \"64m\"";

/// A target, who is on it, and what it holds.
pub(crate) struct Scene {
    /// The program.
    pub(crate) target: Target,
    config: String,
    healthy: Healthy,
    before: Books,
    ended_well: bool,
    /// In kernel mode. It ends after the target.
    kernel: Option<Kernel>,
}

impl Scene {
    pub(crate) fn new(mode: Mode) -> Result<Self> {
        match mode {
            Mode::User => Self::with(config(mode, MEMORY)),
            Mode::Kernel => Self::on(Kernel::start()),
        }
    }

    /// In kernel mode on this kernel.
    pub(crate) fn on(kernel: Kernel) -> Result<Self> {
        Self::start(Some(kernel), config(Mode::Kernel, MEMORY), Vec::new())
    }

    /// With this file, in user mode.
    pub(crate) fn with(config: String) -> Result<Self> {
        Self::start(None, config, Vec::new())
    }

    /// The same, with variables of the environment besides.
    pub(crate) fn in_environment(
        config: String,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        Self::start(None, config, environment)
    }

    fn start(
        kernel: Option<Kernel>,
        config: String,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let target = Target::with(&Setup {
            config: Some(config.clone()),
            kernel: kernel.as_ref().map(|it| it.socket().to_owned()),
            environment,
            lean: true,
            ..Setup::default()
        });
        let healthy = Healthy::connect(target.io(), &target.nqn())?;
        // One comes, reloads are tried and it goes before the books are opened, so that what is made
        // once is there.
        drop(Host::connect(
            target.io(),
            &target.nqn(),
            &HostOptions::default(),
        )?);
        Reloads::of(&target, &config).end();
        let before = Books::settled(&target, kernel.as_ref());
        Ok(Self {
            target,
            config,
            healthy,
            before,
            ended_well: false,
            kernel,
        })
    }

    pub(crate) fn io(&self) -> SocketAddr {
        self.target.io()
    }

    pub(crate) fn nqn(&self) -> Nqn {
        self.target.nqn()
    }

    /// Reloads, until it is ended.
    pub(crate) fn reloads(&self) -> Reloads {
        Reloads::of(&self.target, &self.config)
    }

    /// What an admin queue of host `number` is asked for with.
    pub(crate) fn admin(&self, number: u32) -> Wishes {
        HostOptions::named(number).admin(&self.nqn())
    }

    /// A host that may have I/O queues and has none, and how to ask for the first.
    pub(crate) fn without_queue(&self, number: u32) -> Result<(Host, Wishes), PeerError> {
        let options = HostOptions {
            io_queues: 0,
            ..HostOptions::named(number)
        };
        let mut host = Host::connect(self.io(), &self.nqn(), &options)?;
        host.set_queues(4)?;
        let wishes = options.io(&self.nqn(), host.admin.cntlid(), 1, 16_384);
        Ok((host, wishes))
    }

    /// Beside it all the healthy host is served, and one that comes is.
    pub(crate) fn goes_on(&mut self) -> Result {
        self.healthy.goes_on()?;
        let options = HostOptions::named(998);
        let mut new = Host::connect(self.io(), &self.nqn(), &options)?;
        assert!(new.io[0].read(0, 4096)?.is_ok());
        Ok(())
    }

    /// What was held for the story is given back, and nobody was hurt.
    pub(crate) fn ends_well(mut self) -> Result {
        self.balances()?;
        self.healthy.leave()?;
        assert!(self.target.stop().success());
        self.ended_well = true;
        Ok(())
    }

    /// What is held now may be held at the end: a disk in memory has become larger.
    pub(crate) fn opens_new_books(&mut self) {
        self.before = Books::settled(&self.target, self.kernel.as_ref());
    }

    /// The same, and there is another chapter.
    pub(crate) fn balances(&mut self) -> Result {
        self.goes_on()?;
        assert!(self.target.is_running());
        self.before.balance(&self.target, self.kernel.as_ref());
        self.healthy.goes_on()?;
        if let Some(kernel) = &self.kernel {
            kernel.is_well();
        }
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A panic shows it anyway, an error does not.
        if !self.ended_well && !std::thread::panicking() {
            eprintln!("--- nvmfd's log\n{}---", self.target.log());
        }
    }
}
