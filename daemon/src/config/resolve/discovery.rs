//! Discovery: where it is answered, by which names, and which other services hosts are told of.

#![forbid(unsafe_code)]

use nvmf_proto::nqn::Nqn;
use toml::Spanned;

use super::super::entry::Entry;
use super::super::model::{DISCOVERY_PORT, Discovery, Hosts, Referral, Show};
use super::super::raw::{self, List};
use super::super::word::{Address, DiscoveryNqn, HOST_EXAMPLE, SERVICE_EXAMPLE};
use super::conflict::Listener;
use super::{Resolver, listen_on};
use crate::cli::Listen;

impl Resolver<'_> {
    /// What `[discovery]` says, or what holds without it.
    pub(super) fn discovery(&mut self, file: &raw::File) -> Discovery {
        let table = file.discovery.given();
        let listen = table.map(|it| &it.listen);
        let listen = self.discovery_listen(listen, file.discovery.is_refused());
        let Some(table) = table else {
            return Discovery::at(listen);
        };
        Discovery {
            listen,
            nqn: self.discovery_name(&table.nqn),
            show: table.show.or(Show::Reachable),
            label: table.label.given().map(|label| label.0.clone()),
        }
    }

    fn discovery_listen(&mut self, list: Option<&List<Address>>, refused: bool) -> Listen {
        let listen = list.filter(|listen| !listen.is_absent());
        if listen.is_some() || refused {
            let addresses = listen.map(|it| self.listeners(it, DISCOVERY_PORT, "discovery"));
            return listen_on(addresses.unwrap_or_default());
        }
        let everywhere = Listen::Everywhere {
            port: DISCOVERY_PORT,
        };
        for address in everywhere.addresses() {
            self.conflicts.listener(Listener {
                span: None,
                address,
                owner: "discovery".into(),
            });
        }
        everywhere
    }

    /// A name of ours, by which hosts must be able to tell discovery from storage.
    pub(super) fn discovery_name(&mut self, name: &Entry<DiscoveryNqn>) -> Option<Nqn> {
        let nqn = &name.given()?.0;
        if self.names.subsystems.contains(nqn) {
            let what = "a subsystem has this name, and discovery cannot have it too";
            let hint = format!("choose another, {SERVICE_EXAMPLE}");
            self.findings.error(name.span(), what, hint);
        }
        Some(nqn.clone())
    }

    /// Another discovery service.
    pub(super) fn referral(&mut self, table: &Spanned<raw::Referral>) -> Option<Referral> {
        let referral = table.get_ref();
        self.required(
            &referral.address,
            &table.span(),
            "[[referral]]",
            ADDRESS_EXAMPLE,
        );
        if let Some(nqn) = referral.nqn.given()
            && self.names.subsystems.contains(&nqn.0)
        {
            let what = "this is the name of a subsystem, not of a discovery service";
            let hint = format!("{SERVICE_EXAMPLE}; or leave it out for the well-known name");
            self.findings.error(referral.nqn.span(), what, hint);
        }
        if referral.hosts.is_empty_list() {
            let what = "no host is told of the referral";
            let hint = format!("list at least one, {HOST_EXAMPLE}; or leave hosts out for all");
            self.findings.error(referral.hosts.span(), what, hint);
        }
        let hosts = match referral.hosts.is_absent() {
            true => Hosts::Any,
            false => Hosts::Listed(self.host_list(&referral.hosts, None)),
        };
        let address = referral.address.spanned()?;
        let nqn = match referral.nqn.given() {
            Some(nqn) => nqn.0.clone(),
            None => Nqn::discovery(),
        };
        let (span, address) = (address.span(), address.get_ref().0);
        self.conflicts.referral(address, &nqn, span, self.findings);
        Some(Referral {
            address,
            nqn,
            hosts,
            label: referral.label.given().map(|label| label.0.clone()),
        })
    }
}

const ADDRESS_EXAMPLE: &str = "address = \"192.0.2.7:8009\"";
