//! The grammar: each struct is a table of the file, each field a key, each type what its value may be.
//!
//! Only what a value may be by itself is said here; [`super::resolve`] says what must be there and
//! what goes together. A struct's name to serde is the header of its table, which messages use.

#![forbid(unsafe_code)]

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::amount::{
    BlockSize, ConnectionMemory, Controllers, Count, Lun, Maxh2cdata, Memory, Nsid, QueueEntries,
    Queues, Ram, Rate, Threads, Time,
};
use super::entry::Entry;
use super::model::{Destination, Digest, Mode, Show, SqFlowControl};
use super::word::{
    Address, CdcAddress, DiscoveryNqn, Eui64, HostNqn, Label, Level, NamespaceUuid, Nguid, Path,
    PortalName, ReferralAddress, Serial, ServiceNqn, SubsystemNqn, UserName,
};
use crate::confinement::Confine;

/// A list of anything.
pub(super) type List<T> = Entry<Vec<Entry<T>>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "the file", deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) discovery: Entry<Discovery>,
    pub(super) portal: List<Portal>,
    pub(super) subsystem: List<Subsystem>,
    pub(super) referral: List<Referral>,
    pub(super) limits: Entry<Limits>,
    pub(super) sandbox: Entry<Sandbox>,
    pub(super) log: Entry<Log>,
    pub(super) metrics: Entry<Metrics>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[discovery]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Discovery {
    pub(super) listen: List<Address>,
    pub(super) nqn: Entry<DiscoveryNqn>,
    pub(super) show: Entry<Show>,
    pub(super) label: Entry<Label>,
    pub(super) mdns: Entry<bool>,
    pub(super) register: List<CdcAddress>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[[portal]]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Portal {
    pub(super) name: Entry<PortalName>,
    pub(super) listen: List<Address>,
    pub(super) header_digest: Entry<Digest>,
    pub(super) data_digest: Entry<Digest>,
    pub(super) sq_flow_control: Entry<SqFlowControl>,
    pub(super) maxh2cdata: Entry<Maxh2cdata>,
    pub(super) discovery_nqn: Entry<DiscoveryNqn>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[[subsystem]]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Subsystem {
    pub(super) nqn: Entry<SubsystemNqn>,
    pub(super) mode: Entry<Mode>,
    /// Any text: only names that some portal has can be meant.
    pub(super) portals: List<String>,
    pub(super) hosts: List<HostNqn>,
    pub(super) allow_any_host: Entry<bool>,
    pub(super) terminate_on_revoke: Entry<bool>,
    pub(super) serial: Entry<Serial>,
    pub(super) label: Entry<Label>,
    pub(super) namespace: List<Namespace>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[[subsystem.namespace]]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Namespace {
    pub(super) nsid: Entry<Nsid>,
    pub(super) path: Entry<Path>,
    pub(super) ram: Entry<Ram>,
    pub(super) lun: Entry<Lun>,
    pub(super) read_only: Entry<bool>,
    pub(super) block_size: Entry<BlockSize>,
    pub(super) uuid: Entry<NamespaceUuid>,
    pub(super) nguid: Entry<Nguid>,
    pub(super) eui64: Entry<Eui64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[[referral]]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Referral {
    pub(super) address: Entry<ReferralAddress>,
    pub(super) nqn: Entry<ServiceNqn>,
    pub(super) hosts: List<HostNqn>,
    pub(super) label: Entry<Label>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[limits]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) threads: Entry<Threads>,
    pub(super) negotiation_time: Entry<Time>,
    pub(super) negotiations: Entry<Count>,
    pub(super) negotiations_per_address: Entry<Count>,
    pub(super) connections: Entry<Count>,
    pub(super) connections_per_address: Entry<Count>,
    pub(super) controllers: Entry<Controllers>,
    pub(super) controllers_per_host: Entry<Controllers>,
    pub(super) queues: Entry<Queues>,
    pub(super) queue_entries: Entry<QueueEntries>,
    pub(super) memory: Entry<Memory>,
    pub(super) memory_per_connection: Entry<ConnectionMemory>,
    pub(super) stall_time: Entry<Time>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[sandbox]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sandbox {
    pub(super) confine: Entry<Confine>,
    pub(super) user: Entry<UserName>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[log]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Entry<Level>,
    pub(super) destination: Entry<Destination>,
    pub(super) rate: Entry<Rate>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "[metrics]", rename_all = "kebab-case")]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) listen: List<Address>,
}

/// A table's header and its keys.
pub(super) type Table = (&'static str, &'static [&'static str]);

/// All tables, as the structs above have them.
pub(super) fn grammar() -> [Table; 10] {
    [
        table::<File>(),
        table::<Discovery>(),
        table::<Portal>(),
        table::<Subsystem>(),
        table::<Namespace>(),
        table::<Referral>(),
        table::<Limits>(),
        table::<Sandbox>(),
        table::<Log>(),
        table::<Metrics>(),
    ]
}

/// Asks a struct what it asks a deserializer for.
fn table<T: DeserializeOwned>() -> Table {
    match T::deserialize(Asked) {
        Err(Answer(name, fields)) => (name, fields),
        Ok(_) => unreachable!("nothing was given to deserialize"),
    }
}

struct Asked;

#[derive(Debug)]
struct Answer(&'static str, &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked {
    type Error = Answer;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Answer> {
        Err(Answer(name, fields))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer("", &[]))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl std::error::Error for Answer {}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl serde::de::Error for Answer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self("", &[])
    }
}
