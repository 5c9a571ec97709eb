//! A subsystem: its name, its portals, who may use it.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use nvmf_kmod::request::is_listable;
use nvmf_proto::nqn::Nqn;
use toml::Spanned;

use super::super::model::{Hosts, Mode, Namespaces, Subsystem};
use super::super::nearest::suggestion;
use super::super::problem::{Span, quoted};
use super::super::raw::{self, List};
use super::super::word::{HOST_EXAMPLE, HostNqn};
use super::Resolver;
use super::conflict::first_of;
use super::namespace::Namespace;

impl<'r> Resolver<'r> {
    /// The subsystem that is the file's `index`th.
    pub(super) fn subsystem(
        &mut self,
        index: usize,
        table: &'r Spanned<raw::Subsystem>,
    ) -> Option<Subsystem> {
        let (header, subsystem) = (table.span(), table.get_ref());
        let mode = subsystem.mode.given().copied();
        self.required(&subsystem.nqn, &header, SUBSYSTEM, NQN_EXAMPLE);
        self.required(&subsystem.mode, &header, SUBSYSTEM, MODE_EXAMPLE);
        self.required(&subsystem.portals, &header, SUBSYSTEM, PORTALS_EXAMPLE);
        if let Some(nqn) = subsystem.nqn.spanned() {
            self.subsystem_name(&nqn.get_ref().0, nqn.span(), mode);
        }
        let portals = self.portals_of(subsystem);
        let hosts = self.hosts(subsystem, &header, mode);
        self.serial(subsystem, mode);
        let namespaces = self.namespaces(index, table, mode);
        Some(Subsystem {
            nqn: subsystem.nqn.given()?.0.clone(),
            portals,
            hosts: hosts?,
            terminate_on_revoke: subsystem.terminate_on_revoke.or(false),
            serial: subsystem.serial.given().map(|serial| serial.0.clone()),
            label: subsystem.label.given().map(|label| label.0.clone()),
            namespaces: namespaces?,
        })
    }

    fn subsystem_name(&mut self, nqn: &Nqn, span: Span, mode: Option<Mode>) {
        self.conflicts.subsystem(nqn, span.clone(), self.findings);
        if mode == Some(Mode::Kernel) && !is_keepable(nqn.as_str()) {
            let what = "the kernel's lists cannot hold this name";
            self.findings.error(span, what, KEEPABLE_HINT);
        }
    }

    /// The places of its portals.
    fn portals_of(&mut self, subsystem: &'r raw::Subsystem) -> BTreeSet<usize> {
        if subsystem.portals.is_empty_list() {
            let what = "the subsystem is served nowhere";
            let hint = "name at least one portal, or remove the subsystem";
            self.findings.error(subsystem.portals.span(), what, hint);
        }
        let mut portals = BTreeSet::new();
        for name in subsystem.portals.items() {
            let (span, name) = (name.span(), name.get_ref().as_str());
            let Some(&portal) = self.names.portals.get(name) else {
                self.no_such_portal(name, span);
                continue;
            };
            self.used.insert(name);
            if !portals.insert(portal) {
                let what = format!("portal {name:?} is listed twice");
                self.findings.error(span, what, "name it once");
            }
        }
        portals
    }

    fn no_such_portal(&mut self, name: &str, span: Span) {
        // It may be the one whose name could not be read.
        if !self.names.all_portals {
            return;
        }
        let names: Vec<_> = self.names.portals.keys().copied().collect();
        let hint = match names.is_empty() {
            true => format!("[[portal]], name = {name:?} and listen = [...] make one"),
            false => suggestion(name, "the portals are", names),
        };
        let what = format!("there is no portal {}", quoted(name));
        self.findings.error(span, what, hint);
    }

    fn hosts(
        &mut self,
        subsystem: &raw::Subsystem,
        header: &Span,
        mode: Option<Mode>,
    ) -> Option<Hosts> {
        let any = &subsystem.allow_any_host;
        match (subsystem.hosts.is_absent(), any.given()) {
            (true, Some(true)) => return Some(Hosts::Any),
            (true, None) if !any.is_absent() => return None,
            (true, _) => {
                let what =
                    "no host may use the subsystem: it has neither hosts nor allow-any-host = true";
                let hint = format!("list names in hosts, {HOST_EXAMPLE}");
                let place = any.span().unwrap_or_else(|| header.clone());
                self.findings.missing(place, what, hint);
            }
            (false, Some(true)) => {
                let what = "hosts says who may use the subsystem, and this says everybody";
                let hint = "keep one of them";
                self.findings.error(any.span(), what, hint);
            }
            (false, Some(false) | None) => {}
        }
        if subsystem.hosts.is_empty_list() {
            let what = "no host may use the subsystem";
            let hint = format!("list at least one, {HOST_EXAMPLE}");
            self.findings.error(subsystem.hosts.span(), what, hint);
        }
        let hosts = self.host_list(&subsystem.hosts, mode);
        (!hosts.is_empty()).then_some(Hosts::Listed(hosts))
    }

    /// The hosts of a list, each of them once.
    pub(super) fn host_list(&mut self, list: &List<HostNqn>, mode: Option<Mode>) -> BTreeSet<Nqn> {
        let mut seen = BTreeMap::new();
        for host in list.items() {
            let (span, host) = (host.span(), &host.get_ref().0);
            if let Some(first) = first_of(&mut seen, host.clone(), &span) {
                let line = self.findings.line(first);
                let what = format!("the host is listed already, in line {line}");
                self.findings.error(span, what, "name it once");
            } else {
                self.host(host, span, mode);
            }
        }
        seen.into_keys().collect()
    }

    fn host(&mut self, host: &Nqn, span: Span, mode: Option<Mode>) {
        let graphic = host.as_str().bytes().all(|byte| byte.is_ascii_graphic());
        if mode == Some(Mode::Kernel) && !(graphic && is_listable(host.as_str())) {
            let what = "a host of this name is refused in kernel mode, whose lists cannot hold it";
            let hint = "give the host a name of printable ASCII without blanks and < > & \" '";
            self.findings.error(span, what, hint);
        } else if self.names.subsystems.contains(host) {
            let what = "this is the name of a subsystem, not of a host";
            self.findings.warning(span, what, HOST_EXAMPLE);
        } else if host.clone().require_form().is_err() {
            let what = format!("{} does not have the form of an NQN", quoted(host.as_str()));
            let hint = format!("a host must have exactly this name; most are {HOST_EXAMPLE}");
            self.findings.warning(span, what, hint);
        }
    }

    fn serial(&mut self, subsystem: &raw::Subsystem, mode: Option<Mode>) {
        if let Some(serial) = subsystem.serial.given()
            && mode == Some(Mode::Kernel)
            && !is_keepable(&serial.0)
        {
            let what = "the kernel's lists cannot hold this serial number";
            let span = subsystem.serial.span();
            self.findings.error(span, what, KEEPABLE_HINT);
        }
    }

    fn namespaces(
        &mut self,
        index: usize,
        table: &'r Spanned<raw::Subsystem>,
        mode: Option<Mode>,
    ) -> Option<Namespaces> {
        let list = &table.get_ref().namespace;
        if list.items().next().is_none() && list.is_whole() && !self.findings.is_incomplete() {
            let what = "the subsystem has no namespace, so that its hosts see no storage";
            let hint =
                "[[subsystem.namespace]], nsid = 1 and path = \"/dev/zvol/tank/vol0\" make one";
            self.findings.warning(table.span(), what, hint);
        }
        let mut numbers = BTreeMap::new();
        let (mut kernel, mut user) = (BTreeMap::new(), BTreeMap::new());
        for table in list.items() {
            if let Some(nsid) = table.get_ref().nsid.spanned()
                && let Some(first) = first_of(&mut numbers, nsid.get_ref().0, &nsid.span())
            {
                let line = self.findings.line(first);
                let what = format!(
                    "namespace {} is there already, in line {line}",
                    nsid.get_ref().0
                );
                let hint = "give each namespace of a subsystem a number of its own";
                self.findings.error(nsid.span(), what, hint);
            }
            match self.namespace(index, table, mode) {
                Some((nsid, Namespace::Kernel(lun))) => drop(kernel.insert(nsid, lun)),
                Some((nsid, Namespace::User(disk))) => drop(user.insert(nsid, disk)),
                None => {}
            }
        }
        Some(match mode? {
            Mode::Kernel => Namespaces::Kernel(kernel),
            Mode::User => Namespaces::User(user),
        })
    }
}

/// Whether text comes back from the kernel's lists as it was: they know no markup, and their reader
/// trims.
pub(super) fn is_keepable(text: &str) -> bool {
    is_listable(text) && text.trim() == text
}

/// What to do about text that does not.
pub(super) const KEEPABLE_HINT: &str =
    "use none of < > & \" ' and no blank at its ends, or mode = \"user\"";

const SUBSYSTEM: &str = "[[subsystem]]";
const NQN_EXAMPLE: &str = "nqn = \"nqn.2014-08.org.example:vol0\"";
const PORTALS_EXAMPLE: &str = "portals = [\"front\"]";
const MODE_EXAMPLE: &str = "mode = \"user\", or mode = \"kernel\" on FreeBSD";
