//! Rows, and how they are printed.

use crate::Pair;
use crate::case::Case;
use crate::client::Round;
use crate::figures::median;
use crate::machine::Facts;

/// What all rounds of a case gave.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) case: Case,
    /// Medians: nvmfd's, SPDK's.
    pub(crate) nvmfd: Round,
    pub(crate) spdk: Round,
    /// nvmfd's commands a second as a multiple of SPDK's: least, median, most of all rounds.
    pub(crate) ratio: [f64; 3],
    /// The same of the latency at 99 of 100, and of the time on the core for a command: medians.
    pub(crate) p99: f64,
    pub(crate) cost: f64,
}

impl Row {
    pub(crate) fn new(case: Case, rounds: &[Pair]) -> Self {
        let all = |pick: &dyn Fn(&Pair) -> f64| -> Vec<f64> { rounds.iter().map(pick).collect() };
        let medians = |of: fn(&Pair) -> Round| Round {
            iops: median(all(&|it| of(it).iops)),
            p50: median(all(&|it| of(it).p50)),
            p99: median(all(&|it| of(it).p99)),
            cost: median(all(&|it| of(it).cost)),
        };
        let ratios = all(&|(mine, its)| mine.iops / its.iops);
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        Self {
            case,
            nvmfd: medians(|it| it.0),
            spdk: medians(|it| it.1),
            ratio: [least, median(ratios), most],
            p99: median(all(&|(mine, its)| mine.p99 / its.p99)),
            cost: median(all(&|(mine, its)| mine.cost / its.cost)),
        }
    }
}

pub(crate) fn print_heading() {
    println!(
        "{:<30} {:>9} {:>9}   {:>5} {:>13}   {:>7} {:>7} {:>5}   {:>6} {:>6} {:>5}",
        "",
        "IOPS",
        "SPDK",
        "ratio",
        "(min–max)",
        "p99 µs",
        "SPDK",
        "ratio",
        "CPU µs",
        "SPDK",
        "ratio"
    );
}

pub(crate) fn print_row(row: &Row) {
    let [least, middle, most] = row.ratio;
    println!(
        "{:<30} {:>9.0} {:>9.0}   {middle:>5.2} {:>13}   {:>7.1} {:>7.1} {:>5.2}   {:>6.2} {:>6.2} {:>5.2}",
        row.case.to_string(),
        row.nvmfd.iops,
        row.spdk.iops,
        format!("({least:.2}–{most:.2})"),
        row.nvmfd.p99,
        row.spdk.p99,
        row.p99,
        row.nvmfd.cost,
        row.spdk.cost,
        row.cost,
    );
}

pub(crate) fn json(facts: &Facts, rows: &[Row]) -> String {
    let round = |it: &Round| {
        serde_json::json!({
            "iops": it.iops.round(), "p50_us": it.p50, "p99_us": it.p99, "cpu_us_per_command": it.cost,
        })
    };
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let [least, middle, most] = row.ratio;
            serde_json::json!({
                "case": row.case.to_string(),
                "nvmfd": round(&row.nvmfd),
                "spdk": round(&row.spdk),
                "iops_ratio": {"min": least, "median": middle, "max": most},
                "p99_ratio": row.p99,
                "cpu_ratio": row.cost,
            })
        })
        .collect();
    let machine = serde_json::json!({
        "processor": facts.processor, "cores": facts.cores, "kernel": facts.kernel,
        "congestion_control": facts.congestion_control,
    });
    let whole = serde_json::json!({"machine": machine, "rows": rows});
    format!("{whole:#}\n")
}
