//! `identify`: a controller and its namespaces.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;

use indicatif::BinaryBytes;
use serde::Serialize;

use crate::host::cli::Identify;
use crate::host::controller::{Controller, Settled};
use crate::host::disk;
use crate::host::error::HostError;
use crate::host::facts::{Active, ControllerFacts, NamespaceFacts};
use crate::host::report::Form;
use crate::host::stop::Stop;
use crate::host::subsystem;

pub(in super::super) fn run(asked: &Identify, form: Form, stop: &Stop) -> Result<(), HostError> {
    let shown = subsystem::with(&asked.subsystem, stop, |it| identify(it, asked.nsid))?;
    form.show(&shown)
}

fn identify(controller: &Controller, nsid: Option<u32>) -> Result<Shown, HostError> {
    let facts = ControllerFacts::of(controller)?;
    let mut more = false;
    let mut namespaces = Vec::new();
    match nsid {
        Some(_) => namespaces.push(disk::namespace(controller, nsid)?),
        None if facts.kind == "discovery" => {}
        None => {
            let active = Active::of(controller)?;
            more = active.more;
            for nsid in active.nsids {
                // One that went since the list was made is not there.
                namespaces.extend(NamespaceFacts::of(controller, nsid)?);
            }
        }
    }
    Ok(Shown {
        address: controller.address(),
        connection: controller.settled(),
        controller: facts,
        namespaces,
        more_namespaces: more,
    })
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    address: SocketAddr,
    connection: Settled,
    controller: ControllerFacts,
    namespaces: Vec<NamespaceFacts>,
    more_namespaces: bool,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.controller;
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<15} {value}");
        line("subsystem", &it.subnqn)?;
        line("address", &self.address)?;
        line("controller", &format!("{}, {}", it.cntlid, it.kind))?;
        line("model", &it.model)?;
        line("serial number", &it.serial)?;
        line("firmware", &it.firmware)?;
        line("NVMe version", &it.version)?;
        let limit = it.max_transfer.map(|bytes| BinaryBytes(bytes).to_string());
        line(
            "largest command",
            &limit.unwrap_or_else(|| "no limit".into()),
        )?;
        line("in a capsule", &BinaryBytes(it.in_capsule.into()))?;
        line("largest queue", &format!("{} entries", it.max_entries))?;
        line("volatile cache", &yes(it.volatile_cache))?;
        let flow_control = match self.connection.sq_flow_control {
            true => "flow control",
            false => "no flow control",
        };
        let digests = self.connection.digests();
        line("this connection", &format!("{digests}, {flow_control}"))?;
        if self.namespaces.is_empty() {
            return line("namespaces", &"none for this host");
        }
        writeln!(f)?;
        let heads = ["NSID", "SIZE", "BYTES", "BLOCK", "UUID"];
        let [nsid, size, bytes, block, uuid] = heads;
        writeln!(f, "{nsid:>6}  {size:>12}  {bytes:>20}  {block:>6}  {uuid}")?;
        for it in &self.namespaces {
            let (nsid, bytes, block) = (it.nsid, it.bytes, it.block_size);
            let size = BinaryBytes(bytes).to_string();
            let uuid = it.uuid.as_deref().unwrap_or("-");
            write!(f, "{nsid:>6}  {size:>12}  {bytes:>20}  {block:>6}  {uuid}")?;
            match it.metadata {
                0 => {}
                bytes => write!(f, "  {bytes} bytes of metadata a block")?,
            }
            writeln!(f, "{}", if it.read_only { "  read-only" } else { "" })?;
        }
        if self.more_namespaces {
            writeln!(f, "and more")?;
        }
        Ok(())
    }
}

impl Settled {
    fn digests(self) -> &'static str {
        match (self.header_digest, self.data_digest) {
            (false, false) => "no digests",
            (true, false) => "header digests",
            (false, true) => "data digests",
            (true, true) => "header and data digests",
        }
    }
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
