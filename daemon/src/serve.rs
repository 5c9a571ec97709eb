//! From options to a daemon that serves, and to its end, in order.
//!
//! Everything that can fail is done before anything is promised: backends are opened, listeners
//! bound, the pid file locked; then the banner is printed, then the terminal left, and only then do
//! threads start. Whatever fails before leaves nothing behind.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nvmf_kmod::Ctl;
use tracing::{error, info, warn};

use crate::banner::{Banner, Served, own_addresses};
use crate::cli::Options;
use crate::config::model::{Access, Digest, Hosts, SqFlowControl};
use crate::engine::backend::{self, DeviceSpec};
use crate::engine::namespace::{Namespace, Namespaces};
use crate::error::{Service, StartupError};
use crate::identity::{self, HostIdentity, Origin};
use crate::kernel::KernelMode;
use crate::pidfile::{self, PidFile};
use crate::worker::Worker;
use crate::worker::snapshot::{Engine, Limits, Portal, PortalKind, Snapshot, Subsystem, offer};
use crate::{listen, log};

/// Serves until a signal ends it: SIGHUP, SIGINT, SIGQUIT or SIGTERM, as in FreeBSD's nvmfd.
///
/// # Errors
/// Whatever keeps it from starting; nothing is left half-started.
pub fn serve(options: &Options, host: &HostIdentity) -> Result<(), StartupError> {
    // The first lines may already be about devices.
    match options.foreground {
        true => log::to_stderr(options.log)?,
        false => log::to_syslog(options.log)?,
    }
    if host.origin == Origin::HostName {
        warn!("this machine has no identity of its own: names derive from its host name");
    }
    raise_descriptor_limit();
    let storage = Storage::open(options, host)?;
    let (portals, listeners) = bind_portals(options)?;
    let mut pidfile = match options.foreground {
        true => None,
        false => Some(PidFile::open(Path::new(pidfile::PATH))?),
    };
    let io = portals
        .iter()
        .filter(|portal| portal.kind == PortalKind::Io);
    let everywhere = io.map(|portal| portal.id).collect();
    let snapshot = Snapshot {
        generation: generation(),
        portals,
        subsystems: vec![Arc::new(Subsystem {
            nqn: options.nqn.clone(),
            serial: host.serial.clone(),
            portals: everywhere,
            hosts: Hosts::Any,
            engine: storage.engine(),
            terminate_on_revoke: false,
        })],
        limits: Limits::default(),
    };
    let served = export_and_serve(options, &storage, snapshot, listeners, &mut pidfile);
    if let Some(pidfile) = pidfile {
        if let Err(error) = &served {
            // Standard error may lead nowhere by now.
            error!("{}", error.report());
        }
        if let Err(error) = pidfile.remove() {
            warn!(%error, "cannot remove the pid file");
        }
    }
    served
}

/// Everything is open, bound and locked. Until the kernel has what it shall export a signal ends us at
/// once, for that can take as long as its hosts please; the next start goes on from there.
fn export_and_serve(
    options: &Options,
    storage: &Storage,
    snapshot: Snapshot,
    listeners: Listeners,
    pidfile: &mut Option<PidFile>,
) -> Result<(), StartupError> {
    let kernel = storage.kernel();
    let exported = kernel.map(KernelMode::export).transpose()?;
    let signals = block_signals()?;
    let served = storage
        .served()
        .and_then(|served| announce(served, &snapshot, options))
        .and_then(|()| pidfile.as_mut().map_or(Ok(()), leave_terminal))
        .and_then(|()| {
            let ctl = kernel.map(|kernel| kernel.ctl().clone());
            run(snapshot, listeners, options.threads.get(), ctl, &signals)
        });
    let (Some(kernel), Some(report)) = (kernel, exported) else {
        return served;
    };
    if let Err(error) = served {
        if report.goes_on() {
            // A start that fails is no reason to send an earlier daemon's hosts away.
            warn!("what an earlier daemon exported stays, and its hosts are served");
        } else if signals.thread_unblock().is_ok()
            && let Err(left) = kernel.withdraw()
        {
            error!("{}", left.report());
        }
        return Err(error);
    }
    kernel.withdraw()
}

type Listeners = Vec<(u16, TcpListener)>;

/// Where the bytes are.
enum Storage {
    /// With us.
    Userspace(Arc<Namespaces>),
    /// With the kernel.
    Kernel(KernelMode),
}

impl Storage {
    fn open(options: &Options, host: &HostIdentity) -> Result<Self, StartupError> {
        Ok(match options.kernel {
            false => Self::Userspace(Arc::new(open_namespaces(options)?)),
            true => Self::Kernel(KernelMode::open(options, host)?),
        })
    }

    fn engine(&self) -> Engine {
        match self {
            Self::Userspace(namespaces) => Engine::Userspace(Arc::clone(namespaces)),
            Self::Kernel(_) => Engine::Kernel,
        }
    }

    fn kernel(&self) -> Option<&KernelMode> {
        match self {
            Self::Userspace(_) => None,
            Self::Kernel(kernel) => Some(kernel),
        }
    }

    /// What hosts see.
    fn served(&self) -> Result<Vec<Served>, StartupError> {
        match self {
            Self::Userspace(namespaces) => {
                Ok(namespaces.load().iter().map(|it| served(it)).collect())
            }
            Self::Kernel(kernel) => kernel.served(),
        }
    }
}

fn served(namespace: &Namespace) -> Served {
    Served {
        nsid: namespace.nsid,
        device: match &namespace.device {
            DeviceSpec::Ram(_) => "RAM disk".into(),
            device @ (DeviceSpec::Path(_) | DeviceSpec::Lun(_)) => device.to_string(),
        },
        geometry: namespace.geometry,
        uuid: Some(namespace.ids.uuid),
    }
}

fn open_namespaces(options: &Options) -> Result<Namespaces, StartupError> {
    let ids = identity::namespaces(&options.nqn, &options.devices);
    let mut namespaces = Vec::new();
    for (nsid, (device, ids)) in (1..).zip(options.devices.iter().zip(ids)) {
        let backend = backend::open(device, Access::ReadWrite)?.backend();
        let namespace = Namespace::new(nsid, device.clone(), backend, ids);
        namespaces.push(Arc::new(namespace));
    }
    Ok(Namespaces::new(namespaces))
}

/// Binds all listeners, each with its portal's identifier.
fn bind_portals(options: &Options) -> Result<(Vec<Arc<Portal>>, Listeners), StartupError> {
    let mut portals = Vec::new();
    let mut listeners = Vec::new();
    let services = [
        (&options.listen, Service::Io, PortalKind::Io),
        (
            &options.discovery_listen,
            Service::Discovery,
            PortalKind::Discovery,
        ),
    ];
    for (wanted, service, kind) in services {
        for listener in listen::bind(wanted, service)? {
            let address = listener.local_addr().map_err(system("name a listener"))?;
            let id = u16::try_from(portals.len() + 1).unwrap_or(u16::MAX);
            portals.push(Arc::new(Portal {
                id,
                name: match kind {
                    PortalKind::Io => "io".into(),
                    PortalKind::Discovery => "discovery".into(),
                },
                kind,
                address,
                offer: offer(
                    digest(options.header_digest),
                    digest(options.data_digest),
                    options.maxh2cdata,
                    match options.optional_flow_control {
                        true => SqFlowControl::Optional,
                        false => SqFlowControl::Required,
                    },
                ),
            }));
            listeners.push((id, listener));
        }
    }
    Ok((portals, listeners))
}

/// What -G and -g say.
fn digest(allowed: bool) -> Digest {
    match allowed {
        true => Digest::Allow,
        false => Digest::Off,
    }
}

/// Prints what is served, and the lines to paste on a host.
fn announce(
    served: Vec<Served>,
    snapshot: &Snapshot,
    options: &Options,
) -> Result<(), StartupError> {
    let addresses = |kind| {
        let portals = snapshot
            .portals
            .iter()
            .filter(move |portal| portal.kind == kind);
        portals.map(|portal| portal.address).collect()
    };
    let banner = Banner {
        nqn: options.nqn.clone(),
        kernel: options.kernel,
        namespaces: served,
        listen: addresses(PortalKind::Io),
        discovery_listen: addresses(PortalKind::Discovery),
        own_addresses: own_addresses(),
        header_digest: options.header_digest,
        data_digest: options.data_digest,
        optional_flow_control: options.optional_flow_control,
    };
    let mut out = io::stdout().lock();
    write!(out, "{banner}")
        .and_then(|()| out.flush())
        .map_err(system("print what is served"))
}

/// Goes into the background and tells the pid file who is there now.
fn leave_terminal(pidfile: &mut PidFile) -> Result<(), StartupError> {
    pidfile::daemonize()?;
    pidfile.write()
}

/// The signals that end it, kept for the thread that waits for them: blocked before anybody can know
/// that there is somebody to signal, and before the first thread starts, which inherits it.
fn block_signals() -> Result<SigSet, StartupError> {
    let signals: SigSet = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
    ]
    .into_iter()
    .collect();
    signals
        .thread_block()
        .map_err(|errno| system("block signals")(errno.into()))?;
    Ok(signals)
}

fn run(
    snapshot: Snapshot,
    listeners: Listeners,
    reactors: usize,
    ctl: Option<Ctl>,
    signals: &SigSet,
) -> Result<(), StartupError> {
    for subsystem in &snapshot.subsystems {
        info!(
            subsystem = %subsystem.nqn,
            namespaces = subsystem.namespaces().map(|it| it.load().iter().count()),
            io = %addresses(&snapshot, PortalKind::Io),
            discovery = %addresses(&snapshot, PortalKind::Discovery),
            "serving"
        );
    }
    let worker = Worker::start(snapshot, listeners, reactors, ctl)
        .map_err(system("start the threads that serve"))?;
    let signal = signals
        .wait()
        .map_err(|errno| system("wait for signals")(errno.into()))?;
    info!(%signal, "stopping");
    let signals = *signals;
    std::thread::spawn(move || end_at_the_next(&signals));
    worker.stop();
    info!("stopped");
    Ok(())
}

/// A second signal does not wait for anything. The same one sent to a process and to its group, as
/// timeout(1) does, is not a second one.
fn end_at_the_next(signals: &SigSet) {
    let first = Instant::now();
    while signals.wait().is_ok() {
        if first.elapsed() > ECHO {
            std::process::exit(1);
        }
    }
}

/// The portals of a kind, for a log line.
fn addresses(snapshot: &Snapshot, kind: PortalKind) -> String {
    let portals = snapshot.portals.iter().filter(|portal| portal.kind == kind);
    portals
        .map(|portal| portal.address.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Every connection is a descriptor: take as many as the system gives.
fn raise_descriptor_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Not being given more is no reason not to start; the acceptor says when it runs out.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// A generation counter that also moves from one start to the next, whatever was served before.
fn generation() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}

/// Signals so close to the first are its echo.
const ECHO: Duration = Duration::from_millis(500);

fn system(what: &'static str) -> impl Fn(io::Error) -> StartupError {
    move |source| StartupError::System { what, source }
}
