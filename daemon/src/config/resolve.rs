//! From the tables of a file to a configuration: what must be there, and what goes together.
//!
//! Every check runs, whatever another one found. What was refused before is reported neither again
//! nor as missing. Discovery, subsystems and namespaces have files of their own; what must not be twice in the
//! whole file is [`conflict`]'s. What comes out lacks whatever was reported: it is for those only
//! who see that nothing was.

#![forbid(unsafe_code)]

mod announce;
mod conflict;
mod discovery;
mod namespace;
mod subsystem;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use nvmf_proto::nqn::Nqn;
use toml::Spanned;

use super::amount::{Controllers, Count, Maxh2cdata};
use super::entry::Entry;
use super::model::{
    Config, Digest, IO_PORT, Limits, Log, MAXH2CDATA, Portal, Sandbox, SqFlowControl,
};
use super::problem::{Findings, Span};
use super::raw::{self, List};
use super::word::Address;
use crate::cli::Listen;
use conflict::{Conflicts, Listener};

/// What the file means.
pub(super) fn resolve(file: &raw::File, findings: &mut Findings) -> Config {
    let mut resolver = Resolver {
        names: Names::of(file, findings),
        used: BTreeSet::new(),
        conflicts: Conflicts::default(),
        findings,
    };
    let discovery = resolver.discovery(file);
    let portals = file.portal.items();
    let portals = portals
        .filter_map(|portal| resolver.portal(portal))
        .collect();
    let subsystems = file.subsystem.items().enumerate();
    let subsystems = subsystems
        .filter_map(|(index, subsystem)| resolver.subsystem(index, subsystem))
        .collect();
    let referrals = file.referral.items();
    let referrals = referrals
        .filter_map(|referral| resolver.referral(referral))
        .collect();
    resolver.unused(file);
    let config = Config {
        discovery,
        portals,
        subsystems,
        referrals,
        announce: resolver.announce(file),
        limits: resolver.limits(file),
        sandbox: sandbox(file),
        log: log(file),
        metrics: resolver.metrics(file),
    };
    resolver.conflicts.between_listeners(resolver.findings);
    resolver.conflicts.of_cdcs(resolver.findings);
    config
}

/// The work, and what it knows of the whole file.
struct Resolver<'r> {
    names: Names<'r>,
    /// Portals that some subsystem has.
    used: BTreeSet<&'r str>,
    conflicts: Conflicts,
    findings: &'r mut Findings,
}

/// What other tables may refer to.
struct Names<'r> {
    /// The place of each portal.
    portals: BTreeMap<&'r str, usize>,
    /// Whether no portal's name is unknown.
    all_portals: bool,
    subsystems: BTreeSet<&'r Nqn>,
}

impl<'r> Names<'r> {
    fn of(file: &'r raw::File, findings: &Findings) -> Self {
        let mut portals = BTreeMap::new();
        let mut all_portals = file.portal.is_whole() && !findings.is_incomplete();
        for (index, portal) in file.portal.items().enumerate() {
            match portal.get_ref().name.given() {
                Some(name) => drop(portals.entry(name.0.as_str()).or_insert(index)),
                None => all_portals = false,
            }
        }
        let subsystems = file.subsystem.items();
        let nqn = |it: &'r Spanned<raw::Subsystem>| it.get_ref().nqn.given();
        Self {
            portals,
            all_portals,
            subsystems: subsystems.filter_map(nqn).map(|nqn| &nqn.0).collect(),
        }
    }
}

impl<'r> Resolver<'r> {
    fn portal(&mut self, table: &'r Spanned<raw::Portal>) -> Option<Portal> {
        let portal = table.get_ref();
        let name = portal.name.given().map(|name| name.0.as_str());
        self.required(&portal.name, &table.span(), PORTAL, "name = \"front\"");
        self.required(&portal.listen, &table.span(), PORTAL, LISTEN_EXAMPLE);
        if let (Some(name), Some(span)) = (name, portal.name.span()) {
            self.conflicts.portal(name, span, self.findings);
        }
        if portal.listen.is_empty_list() {
            let hint = "name at least one address, or remove the portal";
            let what = "the portal listens nowhere";
            self.findings.error(portal.listen.span(), what, hint);
        }
        let owner = match name {
            Some(name) => format!("portal {name:?}"),
            None => "another portal".into(),
        };
        let addresses = self.listeners(&portal.listen, IO_PORT, &owner);
        Some(Portal {
            name: name?.into(),
            listen: listen_on(addresses),
            header_digest: portal.header_digest.or(Digest::Allow),
            data_digest: portal.data_digest.or(Digest::Allow),
            sq_flow_control: portal.sq_flow_control.or(SqFlowControl::Required),
            maxh2cdata: portal.maxh2cdata.or(Maxh2cdata(MAXH2CDATA)).0,
            discovery_nqn: self.discovery_name(&portal.discovery_nqn),
        })
    }

    /// Says that a key is missing without which its table has no meaning.
    fn required<T>(&mut self, entry: &Entry<T>, table: &Span, header: &str, example: &str) {
        if entry.is_absent() {
            let key = example.split(' ').next().unwrap_or_default();
            let what = format!("{header} has no {key}");
            let hint = format!("say which, as in {example}");
            self.findings.missing(table.clone(), what, hint);
        }
    }

    /// The addresses of a list, which nothing else may listen on.
    fn listeners(&mut self, list: &List<Address>, port: u16, owner: &str) -> Vec<SocketAddr> {
        let listener = |address: &Spanned<Address>| {
            let span = address.span();
            let address = address.get_ref().at(port);
            self.conflicts.listener(Listener {
                span: Some(span),
                address,
                owner: owner.into(),
            });
            address
        };
        list.items().map(listener).collect()
    }

    fn metrics(&mut self, file: &raw::File) -> Vec<SocketAddr> {
        let Some(metrics) = file.metrics.given() else {
            return Vec::new();
        };
        for address in metrics.listen.items() {
            let Some(socket) = address.get_ref().with_own_port() else {
                let hint = "there is no usual one; name one, as in \"127.0.0.1:9420\"";
                let what = "the address has no port";
                self.findings.error(address.span(), what, hint);
                continue;
            };
            if !socket.ip().is_loopback() {
                let what = "whoever reaches this address can read who uses what";
                let hint =
                    "a loopback address keeps counters on this machine, as in \"127.0.0.1:9420\"";
                self.findings.warning(address.span(), what, hint);
            }
        }
        self.listeners(&metrics.listen, 0, "metrics")
    }

    fn limits(&mut self, file: &raw::File) -> Limits {
        let Some(limits) = file.limits.given() else {
            return Limits::default();
        };
        let default = Limits::default();
        let value = |count: &Entry<Count>| count.given().map(|count| count.0);
        let negotiations = value(&limits.negotiations).unwrap_or(default.negotiations);
        let per_address = value(&limits.negotiations_per_address)
            .unwrap_or(default.negotiations_per_address.min(negotiations));
        if per_address > negotiations {
            let what =
                format!("{per_address} from one address are more than {negotiations} in all");
            let hint = "lower it, or raise negotiations";
            let span = limits.negotiations_per_address.span();
            self.findings.error(span, what, hint);
        }
        let connections = value(&limits.connections);
        let from_one = value(&limits.connections_per_address);
        if let (Some(all), Some(from_one)) = (connections, from_one)
            && from_one > all
        {
            let what = format!("{from_one} from one address are more than {all} in all");
            let span = limits.connections_per_address.span();
            self.findings
                .error(span, what, "lower it, or raise connections");
        }
        let value = |count: &Entry<Controllers>| count.given().map(|count| count.0);
        let controllers = value(&limits.controllers).unwrap_or(default.controllers);
        let per_host = value(&limits.controllers_per_host)
            .unwrap_or(default.controllers_per_host.min(controllers));
        if per_host > controllers {
            let what = format!("{per_host} of one host are more than {controllers} in all");
            let span = limits.controllers_per_host.span();
            self.findings
                .error(span, what, "lower it, or raise controllers");
        }
        let entries = limits.queue_entries.given();
        let memory = limits.memory.given().map_or(default.memory, |it| it.0);
        let per_connection = limits.memory_per_connection.given();
        let per_connection =
            per_connection.map_or(default.memory_per_connection.min(memory / 8), |it| it.0);
        if per_connection > memory / 8 {
            let what = "one connection could have more than an eighth of all memory";
            let hint = "lower it, or raise memory";
            let span = limits.memory_per_connection.span();
            self.findings.error(span, what, hint);
        }
        let time = limits.negotiation_time.given();
        let stall_time = limits.stall_time.given();
        Limits {
            threads: limits.threads.given().map(|threads| threads.0),
            negotiation_time: time.map_or(default.negotiation_time, |time| time.0),
            negotiations,
            negotiations_per_address: per_address,
            connections,
            connections_per_address: from_one,
            controllers,
            controllers_per_host: per_host,
            queues: limits.queues.given().map_or(default.queues, |it| it.0),
            queue_entries: entries.map_or(default.queue_entries, |it| it.0),
            memory,
            memory_per_connection: per_connection,
            stall_time: stall_time.map_or(default.stall_time, |time| time.0),
        }
    }

    /// Says what is there for nothing.
    fn unused(&mut self, file: &'r raw::File) {
        if self.findings.is_incomplete() || !file.subsystem.is_whole() {
            return;
        }
        let mut subsystems = file.subsystem.items().peekable();
        if subsystems.peek().is_none() {
            let hint = "a [[subsystem]] is what hosts connect to; nvmfd.toml(5) has examples";
            self.findings.warning(None, "nothing is served", hint);
        }
        if !subsystems.all(|it| it.get_ref().portals.is_whole()) {
            return;
        }
        for portal in file.portal.items() {
            let Some(name) = portal.get_ref().name.spanned() else {
                continue;
            };
            if !self.used.contains(name.get_ref().0.as_str()) {
                let what = "no subsystem has this portal, so that it answers discovery alone";
                let hint = format!(
                    "add it to some portals = [{:?}], or remove it",
                    name.get_ref().0
                );
                self.findings.warning(name.span(), what, hint);
            }
        }
    }
}

fn sandbox(file: &raw::File) -> Sandbox {
    let default = Sandbox::default();
    let Some(sandbox) = file.sandbox.given() else {
        return default;
    };
    Sandbox {
        confine: sandbox.confine.given().copied().unwrap_or(default.confine),
        user: sandbox.user.given().map(|user| user.0.clone()),
    }
}

fn log(file: &raw::File) -> Log {
    let default = Log::default();
    let Some(log) = file.log.given() else {
        return default;
    };
    Log {
        level: log.level.given().map_or(default.level, |&it| it.into()),
        destination: log.destination.given().copied(),
        rate: log.rate.given().map_or(default.rate, |it| it.0),
    }
}

/// Both wildcards of one port are everywhere, where the machine may lack a family.
fn listen_on(addresses: Vec<SocketAddr>) -> Listen {
    if let [one, other] = addresses[..]
        && one.port() == other.port()
        && one.ip().is_unspecified()
        && other.ip().is_unspecified()
        && one.is_ipv4() != other.is_ipv4()
    {
        return Listen::Everywhere { port: one.port() };
    }
    Listen::At(addresses)
}

const PORTAL: &str = "[[portal]]";

const LISTEN_EXAMPLE: &str = "listen = [\"0.0.0.0:4420\", \"[::]:4420\"]";
