//! Figures, and how they are printed.

use std::time::Duration;

use nvmfd_tests::peer::PeerError;

use crate::figures::{median, percentile};
use crate::idle::Cost;
use crate::load::Case;

/// What one round gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// Commands a second.
    pub(crate) iops: f64,
    /// Latency that half of the commands did not exceed, in microseconds.
    pub(crate) p50: f64,
    /// Latency that 99 of 100 did not exceed.
    pub(crate) p99: f64,
}

impl Round {
    /// From the latencies of all commands of a round, in nanoseconds.
    pub(crate) fn new(mut latencies: Vec<u64>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        let commands = u32::try_from(latencies.len()).unwrap_or(u32::MAX);
        Self {
            iops: f64::from(commands) / elapsed.as_secs_f64(),
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
        }
    }
}

/// A round of the program and the round of the bare connection beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) program: Round,
    pub(crate) bare: Round,
}

/// What all rounds of a case gave: medians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    case: Case,
    iops: f64,
    mib: f64,
    p50: f64,
    p99: f64,
    bare_iops: f64,
    bare_p50: f64,
    /// Median of the rounds' shares.
    share: f64,
}

impl Row {
    pub(crate) fn new(case: Case, rounds: &[Measured]) -> Self {
        let of = |pick: fn(&Measured) -> f64| median(rounds.iter().map(pick).collect());
        let iops = of(|it| it.program.iops);
        Self {
            case,
            iops,
            mib: iops * f64::from(case.length) / f64::from(1 << 20),
            p50: of(|it| it.program.p50),
            p99: of(|it| it.program.p99),
            bare_iops: of(|it| it.bare.iops),
            bare_p50: of(|it| it.bare.p50),
            share: of(|it| it.program.iops / it.bare.iops),
        }
    }
}

pub(crate) fn print_heading() {
    println!(
        "{:<40} {:>9} {:>8} {:>8} {:>8}   {:>9} {:>8}   {:>6}",
        "", "IOPS", "MiB/s", "p50 µs", "p99 µs", "bare IOPS", "p50 µs", "share"
    );
}

pub(crate) fn print_row(row: &Row) {
    println!(
        "{:<40} {:>9.0} {:>8.0} {:>8.1} {:>8.1}   {:>9.0} {:>8.1}   {:>5.1}%",
        row.case.to_string(),
        row.iops,
        row.mib,
        row.p50,
        row.p99,
        row.bare_iops,
        row.bare_p50,
        row.share * 100.0
    );
}

pub(crate) fn print_json(rows: &[Row]) {
    let objects: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "  {{\"case\": \"{}\", \"iops\": {:.0}, \"mib_per_second\": {:.1}, \
                 \"p50_us\": {:.1}, \"p99_us\": {:.1}, \"bare_iops\": {:.0}, \
                 \"bare_p50_us\": {:.1}, \"share\": {:.4}}}",
                row.case,
                row.iops,
                row.mib,
                row.p50,
                row.p99,
                row.bare_iops,
                row.bare_p50,
                row.share
            )
        })
        .collect();
    println!("[\n{}\n]", objects.join(",\n"));
}

pub(crate) fn print_idle(costs: &[Cost], json: bool) -> Result<(), PeerError> {
    if json {
        let objects: Vec<String> = costs
            .iter()
            .map(|cost| {
                format!(
                    "  {{\"connections\": {}, \"kind\": \"{}\", \"resident_kib\": {:.2}, \
                     \"proportional_kib\": {:.2}}}",
                    cost.connections, cost.kind, cost.resident, cost.proportional
                )
            })
            .collect();
        println!("[\n{}\n]", objects.join(",\n"));
        return Ok(());
    }
    println!("memory of the program per idle connection, in KiB");
    println!("{:<58} {:>11} {:>9} {:>9}", "", "connections", "RSS", "PSS");
    for cost in costs {
        println!(
            "{:<58} {:>11} {:>9.2} {:>9.2}",
            cost.kind, cost.connections, cost.resident, cost.proportional
        );
    }
    Ok(())
}
