//! The metrics themselves: which families there are, and what each tells.
//!
//! Everything is read from the worker when somebody asks; there is no second copy. Labels are our
//! own words and names from the configuration, so that no peer can make a series. Each family stands
//! in nvmfd(8), too.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use tracing::error;

use crate::control::message::LimitUse;
use crate::worker::Shared;
use crate::worker::figures::{Figures, SubsystemFigures};
use crate::worker::lines::Lines;
use crate::worker::stats::Stats;
use crate::worker::stats::tally::{Label, Tally};

/// Renders the metrics of one worker.
#[derive(Debug)]
pub struct Exposition(Registry);

impl Exposition {
    /// Of this worker.
    pub fn new(shared: Arc<Shared>) -> Self {
        let mut registry = Registry::with_prefix("nvmfd");
        registry.register_collector(Box::new(Collected(shared)));
        Self(registry)
    }

    /// The metrics as they are now, in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if text::encode(&mut text, &self.0).is_err() {
            // A string takes all that is written to it.
            error!("metrics cannot be rendered");
        }
        text
    }
}

#[derive(Debug)]
struct Collected(Arc<Shared>);

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (stats, figures) = (&self.0.stats, self.0.figures());
        let limits = self.0.limits();
        let mut families = Families(encoder);
        families.daemon(stats)?;
        families.connections(stats, &figures)?;
        families.limits(&limits)?;
        families.log(&self.0.lines)?;
        families.handoffs(stats, &figures)?;
        families.associations(stats, &figures)?;
        families.io(&figures)
    }
}

/// Writes families, one after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn daemon(&mut self, stats: &Stats) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        self.family("build", "The release.", None, MetricType::Info)?
            .encode_info(&version)?;
        self.family(
            "start_time",
            "When the process that serves was started, since 1970 (UTC).",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?
        .encode_gauge(&stats.started)
    }

    fn connections(&mut self, stats: &Stats, figures: &Figures) -> fmt::Result {
        self.gauge(
            "connections",
            "Connections of hosts, in negotiation or served here.",
            None,
            figures.connections,
        )?;
        self.counter(
            "connections_accepted",
            "Connections that were accepted.",
            stats.connections(),
        )?;
        self.gauge(
            "negotiations_in_progress",
            "Connections that negotiate, wait for the kernel, or read why they are refused.",
            None,
            figures.negotiating,
        )?;
        self.tally(
            "negotiations",
            "Negotiations that ended.",
            "outcome",
            &stats.outcomes,
        )?;
        let mut family = self.family(
            "negotiation_duration",
            "From accepting a connection to the answer.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (outcome, took) in stats.durations() {
            took.encode(family.encode_family(&[("outcome", outcome)])?)?;
        }
        self.tally(
            "refusals",
            "Hosts that were refused.",
            "reason",
            &stats.refusals,
        )?;
        self.tally(
            "disconnects",
            "Queues served here that ended.",
            "reason",
            &stats.endings,
        )
    }

    fn limits(&mut self, limits: &[LimitUse]) -> fmt::Result {
        let help = "What there may be of something.";
        let mut family = self.family("limit", help, None, MetricType::Gauge)?;
        for it in limits {
            let labels = [("limit", it.limit.name())];
            family.encode_family(&labels)?.encode_gauge(&it.most)?;
        }
        let help = "How much of that is used.";
        let mut family = self.family("limit_used", help, None, MetricType::Gauge)?;
        for it in limits {
            let labels = [("limit", it.limit.name())];
            if let Some(used) = it.used {
                family.encode_family(&labels)?.encode_gauge(&used)?;
            }
        }
        let help = "How often there was no more.";
        let mut family = self.family("limit_met", help, None, MetricType::Counter)?;
        limits
            .iter()
            .try_for_each(|it| labelled(&mut family, &[("limit", it.limit.name())], it.met))
    }

    fn log(&mut self, lines: &Lines) -> fmt::Result {
        self.tally(
            "log_lines_left_out",
            "Log lines of hosts that were too many.",
            "kind",
            &lines.left_out,
        )
    }

    fn handoffs(&mut self, stats: &Stats, figures: &Figures) -> fmt::Result {
        self.tally(
            "handoffs",
            "Queues that the kernel was asked to take.",
            "result",
            &stats.handoffs,
        )?;
        self.gauge(
            "handoffs_waiting",
            "Queues that wait for the kernel to be asked.",
            None,
            figures.handoffs_waiting,
        )?;
        let family = self.family(
            "handoff_duration",
            "How long the kernel took to answer.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        stats.handoff_duration.encode(family)
    }

    fn associations(&mut self, stats: &Stats, figures: &Figures) -> fmt::Result {
        let mut family = self.family(
            "associations",
            "Controllers that serve a host here.",
            None,
            MetricType::Gauge,
        )?;
        let discovery = nvmf_proto::nqn::DISCOVERY_NQN;
        let ours = figures.subsystems.iter();
        let all = ours.map(|it| ("user", it.nqn.as_str(), it.associations));
        for (mode, nqn, count) in all.chain([("discovery", discovery, figures.discoverers)]) {
            let labels = [("mode", mode), ("subsystem", nqn)];
            family.encode_family(&labels)?.encode_gauge(&count)?;
        }
        let mut family = self.family(
            "io_queues",
            "I/O queues served here.",
            None,
            MetricType::Gauge,
        )?;
        for subsystem in &figures.subsystems {
            let labels = [("subsystem", subsystem.nqn.as_str())];
            family
                .encode_family(&labels)?
                .encode_gauge(&subsystem.io_queues)?;
        }
        self.counter(
            "discovery_log_reads",
            "Reads of discovery logs; a host needs two or three for the whole.",
            stats.discovery_reads(),
        )?;
        self.tally(
            "async_events",
            "Asynchronous events that hosts were told.",
            "event",
            &stats.events,
        )
    }

    fn io(&mut self, figures: &Figures) -> fmt::Result {
        let all = &figures.subsystems;
        self.by_subsystem("commands", "Commands of I/O queues.", None, all, |it| {
            vec![
                (Some(("operation", "read")), it.totals.reads),
                (Some(("operation", "write")), it.totals.writes),
                (Some(("operation", "other")), it.totals.others),
            ]
        })?;
        let bytes = Some(&Unit::Bytes);
        self.by_subsystem("io", "Bytes that hosts moved.", bytes, all, |it| {
            vec![
                (Some(("direction", "read")), it.totals.bytes_read),
                (Some(("direction", "write")), it.totals.bytes_written),
            ]
        })?;
        let help = "Commands that failed, of admin queues too.";
        self.by_subsystem("command_errors", help, None, all, |it| {
            vec![(None, it.totals.errors)]
        })?;
        let help = "Commands that failed for the medium's sake.";
        self.by_subsystem("media_errors", help, None, all, |it| {
            vec![(None, it.totals.media_errors)]
        })?;
        let mut family = self.family(
            "namespaces_failing",
            "Namespaces of which reads, writes or flushes fail.",
            None,
            MetricType::Gauge,
        )?;
        for subsystem in all {
            let labels = [("subsystem", subsystem.nqn.as_str())];
            family
                .encode_family(&labels)?
                .encode_gauge(&subsystem.failing)?;
        }
        self.gauge(
            "held",
            "Bytes held for hosts: data on its way, answers that they have not read, and connections.",
            bytes,
            figures.memory.held,
        )?;
        self.gauge(
            "held_limit",
            "Bytes that may be.",
            bytes,
            figures.memory.most,
        )?;
        self.gauge(
            "memory_waiting",
            "Connections that wait until there is memory for their commands.",
            None,
            figures.memory.waiting,
        )?;
        self.counter(
            "memory_limit_met",
            "Times that a connection had to wait for memory.",
            figures.memory.met,
        )?;
        self.gauge(
            "pool_jobs_waiting",
            "Commands and flushes that wait for a thread.",
            None,
            figures.jobs_waiting,
        )
    }

    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl TryInto<u64>,
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge)?
            .encode_gauge(&value.try_into().unwrap_or(u64::MAX))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        count(
            &mut self.family(name, help, None, MetricType::Counter)?,
            value,
        )
    }

    fn tally<L: Label>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        tally: &Tally<L>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, None, MetricType::Counter)?;
        tally
            .iter()
            .try_for_each(|(word, value)| labelled(&mut family, &[(label, word)], value))
    }

    /// A counter of each subsystem, or several that another label tells apart.
    fn by_subsystem(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        subsystems: &[SubsystemFigures],
        values: impl Fn(&SubsystemFigures) -> Vec<(Option<(&'static str, &'static str)>, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, unit, MetricType::Counter)?;
        for subsystem in subsystems {
            for (label, value) in values(subsystem) {
                let mut labels = vec![("subsystem", subsystem.nqn.as_str())];
                labels.extend(label);
                labelled(&mut family, &labels, value)?;
            }
        }
        Ok(())
    }
}

fn labelled(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> fmt::Result {
    count(&mut family.encode_family(labels)?, value)
}

fn count(metric: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}
