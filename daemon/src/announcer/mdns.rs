//! Our service in multicast DNS (RFC 6762, RFC 6763, TP 8009), by a responder of our own.
//!
//! The crate probes, answers, announces and says goodbye; here stands what is announced on which
//! interface. A system that has a responder already (Avahi, mDNSResponder) keeps it: both share the
//! port, and our names are our own.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mdns_sd::{DaemonEvent, IfKind, IfPredicate, Receiver, ServiceDaemon, ServiceInfo};
use tracing::{info, warn};

use super::instance::{Instance, Local, Place, instances};
use super::news::News;
use crate::ipc::announcement::Service;
use crate::log::{Quota, told};

/// A responder, and what it announces.
pub struct Responder {
    daemon: ServiceDaemon,
    machine: String,
    /// By full name.
    instances: BTreeMap<String, Instance>,
    /// Where any of them is bound, which decides the interfaces that we are on at all.
    places: Arc<Mutex<BTreeSet<Place>>>,
    progress: Arc<Progress>,
}

/// What came of it.
#[derive(Debug)]
struct Progress {
    /// What is wanted, by full name, and whether it was announced.
    names: Mutex<BTreeMap<String, bool>>,
    /// The full name by which we know an instance that had to take another one.
    renamed: Mutex<BTreeMap<String, String>>,
    news: News,
}

impl Responder {
    /// Starts one that announces nothing yet.
    ///
    /// # Errors
    /// The system's.
    pub fn start(news: News) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        let places: Arc<Mutex<BTreeSet<Place>>> = Arc::default();
        // The crate's own default is every interface, loopback included.
        daemon.disable_interface(IfKind::All)?;
        let progress = Arc::new(Progress {
            names: Mutex::default(),
            renamed: Mutex::default(),
            news,
        });
        let (events, watching) = (daemon.monitor()?, Arc::clone(&progress));
        let thread = thread::Builder::new().name("mdns-events".into());
        let spawned = thread.spawn(move || watching.watch(&events));
        spawned.map_err(|error| mdns_sd::Error::Msg(error.to_string()))?;
        let machine = nix::unistd::gethostname().unwrap_or_default();
        Ok(Self {
            daemon,
            machine: machine.to_string_lossy().into_owned(),
            instances: BTreeMap::new(),
            places,
            progress,
        })
    }

    /// Announces these services, and takes back what is not among them.
    ///
    /// # Errors
    /// The crate's.
    pub fn announce(&mut self, services: &[Service]) -> mdns_sd::Result<()> {
        let wanted: BTreeMap<String, Instance> = instances(services, &self.machine)
            .into_iter()
            .map(|instance| (full_name(&instance), instance))
            .collect();
        let gone: Vec<String> = self.instances.keys().cloned().collect();
        for name in gone.iter().filter(|name| !wanted.contains_key(*name)) {
            self.take_back(name)?;
        }
        *lock(&self.places) = wanted.values().flat_map(|it| it.places.clone()).collect();
        let places = Arc::clone(&self.places);
        self.daemon.enable_interface(at_any_of(move |local| {
            lock(&places).iter().any(|place| place.is_at(local))
        }))?;
        for (name, instance) in wanted {
            if self.instances.get(&name) != Some(&instance) {
                lock(&self.progress.names).insert(name.clone(), false);
                // What is announced by this name already is replaced, without a goodbye.
                self.daemon.register(info_of(&instance)?)?;
                self.instances.insert(name, instance);
            }
        }
        self.progress.tell(None);
        Ok(())
    }

    /// Says goodbye to everything.
    pub fn stop(mut self) {
        let names: Vec<String> = self.instances.keys().cloned().collect();
        for name in names {
            // There is nobody left to be told.
            let _ = self.take_back(&name);
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_timeout(GOODBYE_TIME);
        }
    }

    fn take_back(&mut self, name: &str) -> mdns_sd::Result<()> {
        lock(&self.progress.names).remove(name);
        self.instances.remove(name);
        let done = self.daemon.unregister(name)?;
        // It is on its way; how it fares there nobody knows.
        let _ = done.recv_timeout(GOODBYE_TIME);
        info!(service = name, "no longer announced by multicast DNS");
        Ok(())
    }
}

impl Progress {
    /// Follows what the responder says of itself.
    fn watch(&self, events: &Receiver<DaemonEvent>) {
        while let Ok(event) = events.recv() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
            match event {
                DaemonEvent::Announce(name, addresses) => self.announced(&name, &addresses),
                DaemonEvent::NameChange(change) => {
                    let (from, to) = (change.original.clone(), change.new_name.clone());
                    if from.ends_with(SERVICE) {
                        lock(&self.renamed).insert(to, from);
                    }
                    if let Some(suppressed) = CHANGES.admit(Instant::now()) {
                        let suppressed = told(suppressed);
                        let (from, to) = (change.original, change.new_name);
                        warn!(
                            suppressed,
                            ?from,
                            ?to,
                            "another machine has our name in multicast DNS"
                        );
                    }
                }
                DaemonEvent::Error(error) => self.failed(&error),
                _ => {}
            }
        }
    }

    fn announced(&self, name: &str, addresses: &str) {
        {
            let renamed = lock(&self.renamed);
            let known = renamed.get(name).map_or(name, String::as_str);
            let mut names = lock(&self.names);
            match names.get_mut(known) {
                Some(announced) if !*announced => *announced = true,
                Some(_) | None => return,
            }
        }
        info!(service = name, on = addresses, "announced by multicast DNS");
        self.tell(None);
    }

    fn failed(&self, error: &mdns_sd::Error) {
        if let Some(suppressed) = FAILURES.admit(Instant::now()) {
            let suppressed = told(suppressed);
            warn!(suppressed, reason = %error, "multicast DNS");
            self.tell(Some(error.to_string()));
        }
    }

    fn tell(&self, error: Option<String>) {
        let announced = lock(&self.names).values().filter(|&&it| it).count();
        self.news.mdns(announced, error);
    }
}

fn full_name(instance: &Instance) -> String {
    format!("{}.{SERVICE}", instance.name)
}

/// The instance as the crate takes it. Its addresses are the interfaces', as they come and go.
fn info_of(instance: &Instance) -> mdns_sd::Result<ServiceInfo> {
    // TP 8009: the transport and the discovery subsystem's name. Keys have no case.
    let txt = [("p", "tcp"), ("nqn", instance.nqn.as_str())];
    let host = format!("{}.local.", instance.host);
    let none: &[std::net::IpAddr] = &[];
    let info = ServiceInfo::new(
        SERVICE,
        &instance.name,
        &host,
        none,
        instance.port,
        &txt[..],
    )?;
    let mut info = info.enable_addr_auto();
    let places = instance.places.clone();
    info.set_interfaces(vec![at_any_of(move |local| {
        places.iter().any(|place| place.is_at(local))
    })]);
    Ok(info)
}

/// The interfaces, or rather their addresses, of which `is_ours` says so.
fn at_any_of(is_ours: impl Fn(Local<'_>) -> bool + Send + Sync + 'static) -> IfKind {
    IfKind::Predicate(IfPredicate::new(move |it| {
        is_ours(Local {
            interface: &it.name,
            index: it.index.unwrap_or(0),
            address: it.ip(),
        })
    }))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A discovery service over TCP, on this link.
const SERVICE: &str = "_nvme-disc._tcp.local.";

/// What a goodbye may take to be sent.
const GOODBYE_TIME: Duration = Duration::from_millis(500);

/// What others on the link can cause at will.
static CHANGES: Quota = Quota::new(4, Duration::from_secs(60));
static FAILURES: Quota = Quota::new(4, Duration::from_secs(60));
