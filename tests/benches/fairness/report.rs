//! Figures, and how they are printed.

use crate::figures::median;
use crate::honest::Turn;

/// Three turns that followed each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    pub(crate) quiet: Turn,
    pub(crate) beside: Turn,
    /// Beside the same others of another program.
    pub(crate) control: Turn,
}

/// What all rounds of a case gave: medians, but for the Keep Alive, which is the slowest of all.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    others: String,
    depth: u16,
    quiet_p50: f64,
    quiet_p99: f64,
    p50: f64,
    p99: f64,
    /// Medians of the rounds' ratios.
    ratio_p50: f64,
    ratio_p99: f64,
    control_p50: f64,
    control_p99: f64,
    keep_alive: f64,
}

impl Row {
    pub(crate) fn new(others: &str, depth: u16, rounds: &[Turns]) -> Self {
        let of = |pick: fn(&Turns) -> f64| median(rounds.iter().map(pick).collect());
        let slowest = rounds.iter().map(|it| it.beside.keep_alive);
        Self {
            others: others.to_owned(),
            depth,
            quiet_p50: of(|it| it.quiet.p50),
            quiet_p99: of(|it| it.quiet.p99),
            p50: of(|it| it.beside.p50),
            p99: of(|it| it.beside.p99),
            ratio_p50: of(|it| it.beside.p50 / it.quiet.p50),
            ratio_p99: of(|it| it.beside.p99 / it.quiet.p99),
            control_p50: of(|it| it.control.p50 / it.quiet.p50),
            control_p99: of(|it| it.control.p99 / it.quiet.p99),
            keep_alive: slowest.fold(0.0, f64::max),
        }
    }
}

pub(crate) fn print_heading() {
    println!(
        "{:<22} {:>2}  {:>9} {:>9}  {:>9} {:>9}  {:>6} {:>6}  {:>6} {:>6}  {:>10}",
        "4 KiB reads beside",
        "QD",
        "quiet p50",
        "p99 µs",
        "p50",
        "p99 µs",
        "ratio",
        "p99",
        "other",
        "p99",
        "slowest KA"
    );
}

pub(crate) fn print_row(row: &Row) {
    println!(
        "{:<22} {:>2}  {:>9.1} {:>9.1}  {:>9.1} {:>9.1}  {:>5.2}x {:>5.2}x  {:>5.2}x {:>5.2}x  {:>8.1}ms",
        row.others,
        row.depth,
        row.quiet_p50,
        row.quiet_p99,
        row.p50,
        row.p99,
        row.ratio_p50,
        row.ratio_p99,
        row.control_p50,
        row.control_p99,
        row.keep_alive / 1000.0
    );
}

pub(crate) fn print_json(rows: &[Row]) {
    let objects: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "  {{\"others\": \"{}\", \"depth\": {}, \"quiet_p50_us\": {:.1}, \
                 \"quiet_p99_us\": {:.1}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \
                 \"ratio_p50\": {:.3}, \"ratio_p99\": {:.3}, \"control_p50\": {:.3}, \
                 \"control_p99\": {:.3}, \"keep_alive_us\": {:.1}}}",
                row.others,
                row.depth,
                row.quiet_p50,
                row.quiet_p99,
                row.p50,
                row.p99,
                row.ratio_p50,
                row.ratio_p99,
                row.control_p50,
                row.control_p99,
                row.keep_alive
            )
        })
        .collect();
    println!("[\n{}\n]", objects.join(",\n"));
}
