//! Figures, and how they are printed. Times are in microseconds.

use std::time::Duration;

use crate::asker::{Ask, Took};
use crate::clients::{Case, Round, Sample};
use crate::figures::{median, percentile};
use crate::machine::Spent;

/// What one round gave.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Connections a second.
    rate: f64,
    /// From connect(2) to the hand-off: what half, and 99 of 100, did not exceed.
    handed: [f64; 2],
    /// From connect(2) to the answer, likewise.
    answered: [f64; 2],
    /// On the core, for each connection: all threads, then those of [`THREADS`].
    processor: Option<[f64; 4]>,
    /// How often threads were given the core, for each connection.
    turns: Option<f64>,
    /// The kernel was asked, for each connection.
    requests: f64,
}

/// The daemon's threads that connections meet, by their names.
const THREADS: [&str; 3] = ["accept", "reactor", "handoff"];

impl Figures {
    pub(crate) fn new(round: &Round, spent: Option<&Spent>, requests: u64) -> Self {
        let count = float(round.samples.len() as u64);
        let latencies = |of: fn(&Sample) -> Option<u64>| {
            let mut all: Vec<u64> = round.samples.iter().filter_map(of).collect();
            all.sort_unstable();
            [50, 99].map(|percent| percentile(&all, percent))
        };
        let on = |spent: &Spent, name| spent.on(name).time.as_secs_f64() * 1e6 / count;
        Self {
            rate: count / round.elapsed.as_secs_f64(),
            handed: latencies(|it| it.handed),
            answered: latencies(|it| Some(it.answered)),
            processor: spent.map(|spent| {
                let [accept, reactor, handoff] = THREADS.map(|name| on(spent, name));
                [on(spent, ""), accept, reactor, handoff]
            }),
            turns: spent.map(|spent| float(spent.on("").turns) / count),
            requests: float(requests) / count,
        }
    }
}

/// A round of the program and what was measured beside it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) program: Figures,
    pub(crate) bare: Figures,
    pub(crate) asked: Vec<(Ask, Took)>,
}

impl Measured {
    /// What the daemon's core did for each connection, without what a fake kernel makes it do.
    fn ours(&self) -> Option<f64> {
        let mut ours = self.program.processor?[0];
        for (ask, took) in &self.asked {
            let processor = microseconds(took.processor);
            match ask {
                Ask::Nothing => {}
                Ask::HandOff | Ask::List => ours -= processor,
                // Part of the other two, and what any kernel is asked with.
                Ask::Pack | Ask::Read => ours += processor,
            }
        }
        Some(ours)
    }
}

/// All rounds of a case.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) rounds: Vec<Measured>,
    /// Cores that other programs had meanwhile.
    pub(crate) others: Option<f64>,
}

impl Row {
    fn of(&self, pick: impl Fn(&Measured) -> f64) -> f64 {
        median(self.rounds.iter().map(pick).collect())
    }

    /// How much the daemon hands over of what the bare program takes: median, least, most.
    fn share(&self) -> [f64; 3] {
        let share = |it: &Measured| it.program.rate / it.bare.rate * 100.0;
        let all = || self.rounds.iter().map(share);
        [
            self.of(share),
            all().fold(f64::INFINITY, f64::min),
            all().fold(0.0, f64::max),
        ]
    }
}

pub(crate) fn print_heading() {
    println!(
        "{:<28} {:>8} {:>17} {:>17}  {:>8} {:>17}  {:>6}",
        "", "per", "accept to", "accept to", "bare:", "accept to", "share"
    );
    println!(
        "{:<28} {:>8} {:>17} {:>17}  {:>8} {:>17}  {:>6}",
        "", "second", "hand-off 50, 99%", "answer 50, 99%", "", "answer 50, 99%", "of bare"
    );
}

pub(crate) fn print_row(row: &Row) {
    let [share, least, most] = row.share();
    println!(
        "{:<28} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0}  {:>8.0} {:>8.0} {:>8.0}  {:>5.1}% \
         ({least:.1} to {most:.1})",
        row.case.to_string(),
        row.of(|it| it.program.rate),
        row.of(|it| it.program.handed[0]),
        row.of(|it| it.program.handed[1]),
        row.of(|it| it.program.answered[0]),
        row.of(|it| it.program.answered[1]),
        row.of(|it| it.bare.rate),
        row.of(|it| it.bare.answered[0]),
        row.of(|it| it.bare.answered[1]),
        share
    );
}

pub(crate) fn print_processor(rows: &[Row]) {
    println!("\nthe daemon's core, for each connection: µs (\"ours\": without what the fake is to");
    println!("blame for), turns of threads, requests; how busy it was; cores that others had");
    let [accept, reactor, handoff] = THREADS;
    println!(
        "{:<28} {:>7} {:>7} {accept:>7} {reactor:>7} {handoff:>7} {:>6} {:>8} {:>6}  {:>7} {:>6}",
        "", "all", "ours", "turns", "requests", "busy", "bare µs", "others",
    );
    for row in rows {
        let of =
            |pick: fn(&Figures) -> Option<f64>| row.of(|it| pick(&it.program).unwrap_or(f64::NAN));
        println!(
            "{:<28} {:>7.1} {:>7.1} {:>7.1} {:>7.1} {:>7.1} {:>6.1} {:>8.1} {:>5.0}%  \
             {:>7.1} {:>6.2}",
            row.case.to_string(),
            of(|it| it.processor.map(|it| it[0])),
            row.of(|it| it.ours().unwrap_or(f64::NAN)),
            of(|it| it.processor.map(|it| it[1])),
            of(|it| it.processor.map(|it| it[2])),
            of(|it| it.processor.map(|it| it[3])),
            of(|it| it.turns),
            of(|it| Some(it.requests)),
            of(|it| Some(it.processor?[0] * it.rate / 1e4)),
            row.of(|it| it.bare.processor.map_or(f64::NAN, |it| it[0])),
            row.others.unwrap_or(f64::NAN),
        );
    }
}

/// What was asked alone, with the number of associations where it matters.
pub(crate) fn print_requests(rows: &[Row]) {
    let mut kinds: Vec<(Ask, u16)> = Vec::new();
    let kind = |row: &Row, ask| match ask {
        Ask::List | Ask::Read => (ask, row.case.listed),
        Ask::Nothing | Ask::HandOff | Ask::Pack => (ask, 0),
    };
    let mut took: Vec<Vec<Took>> = Vec::new();
    for row in rows {
        for &(ask, it) in row.rounds.iter().flat_map(|it| &it.asked) {
            let kind = kind(row, ask);
            let at = kinds.iter().position(|it| *it == kind);
            let at = at.unwrap_or_else(|| {
                kinds.push(kind);
                took.push(Vec::new());
                kinds.len() - 1
            });
            took[at].push(it);
        }
    }
    println!("\nrequests alone, over the fake kernel's socket from the daemon's core");
    println!("{:<44} {:>10} {:>16}", "", "µs", "µs on the core");
    for ((ask, listed), took) in kinds.into_iter().zip(took) {
        let what = match ask {
            Ask::Nothing => "one that does nothing".into(),
            Ask::HandOff => "a hand-off".into(),
            Ask::Pack => "  its arguments packed, without asking".into(),
            Ask::List => format!("the list of {listed}, read"),
            Ask::Read => "  reading it, without asking".to_owned(),
        };
        let of = |pick: fn(&Took) -> Duration| {
            median(took.iter().map(|it| microseconds(pick(it))).collect())
        };
        let (wall, processor) = (of(|it| it.wall), of(|it| it.processor));
        println!("{what:<44} {wall:>10.1} {processor:>16.1}");
    }
}

/// Rows as JSON; what is not known is null.
pub(crate) fn print_json(rows: &[Row]) {
    let number = |figure: f64| {
        if figure.is_finite() {
            format!("{figure:.2}")
        } else {
            "null".into()
        }
    };
    let objects: Vec<String> = rows
        .iter()
        .map(|row| {
            let processor = |it: &Figures| it.processor.map_or(f64::NAN, |it| it[0]);
            let figures = [
                ("per_second", row.of(|it| it.program.rate)),
                ("handed_p50_us", row.of(|it| it.program.handed[0])),
                ("handed_p99_us", row.of(|it| it.program.handed[1])),
                ("answered_p50_us", row.of(|it| it.program.answered[0])),
                ("answered_p99_us", row.of(|it| it.program.answered[1])),
                ("processor_us", row.of(|it| processor(&it.program))),
                ("ours_us", row.of(|it| it.ours().unwrap_or(f64::NAN))),
                ("requests", row.of(|it| it.program.requests)),
                ("bare_per_second", row.of(|it| it.bare.rate)),
                ("bare_answered_p50_us", row.of(|it| it.bare.answered[0])),
                ("bare_processor_us", row.of(|it| processor(&it.bare))),
                ("share_percent", row.share()[0]),
                ("others_cores", row.others.unwrap_or(f64::NAN)),
            ];
            let figures = figures.map(|(name, it)| format!("\"{name}\": {}", number(it)));
            format!("  {{\"case\": \"{}\", {}}}", row.case, figures.join(", "))
        })
        .collect();
    println!("[\n{}\n]", objects.join(",\n"));
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Counts are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn float(count: u64) -> f64 {
    count as f64
}
