//! Figures, and how they are printed.

use std::time::Duration;

use crate::figures::median;

/// What a crowd of hosts cost.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) hosts: usize,
    /// What it took until all of them had read the log and waited.
    pub(crate) connected: Duration,
    /// KiB of resident memory for each, when all wait for the first time.
    pub(crate) idle_memory: f64,
    /// The same after all changes.
    pub(crate) memory_after: f64,
    /// Share of a core while nothing happens.
    pub(crate) silent: f64,
    /// Share of a core while nothing but Keep Alives comes.
    pub(crate) alive: f64,
    pub(crate) changes: Vec<Change>,
}

/// A reload, since it was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// The first host was told.
    pub(crate) first: Duration,
    /// The last was.
    pub(crate) last: Duration,
    /// The operator had the answer.
    pub(crate) answered: Duration,
    /// Since the last was told: every host had read its log.
    pub(crate) read: Duration,
}

impl Figures {
    /// Of all changes, in milliseconds: the median, and the longest.
    fn times(&self, of: impl Fn(&Change) -> Duration) -> [f64; 2] {
        let times: Vec<f64> = self.changes.iter().map(|it| ms(of(it))).collect();
        let longest = times.iter().copied().fold(0.0, f64::max);
        [median(times), longest]
    }
}

pub(crate) fn print(figures: &Figures) {
    let Figures {
        hosts,
        connected,
        idle_memory,
        memory_after,
        silent,
        alive,
        ..
    } = figures;
    println!("{hosts} persistent discovery controllers");
    println!(
        "  connected and waiting after       {:9.0} ms",
        ms(*connected)
    );
    println!("  memory for each, idle             {idle_memory:9.2} KiB");
    println!("  memory for each, after changes    {memory_after:9.2} KiB");
    println!(
        "  of a core, nothing due            {:9.3} %",
        silent * 100.0
    );
    println!(
        "  of a core, Keep Alives            {:9.3} %",
        alive * 100.0
    );
    println!("  after the reload was asked for       median   longest");
    let line = |what, [median, longest]: [f64; 2]| {
        println!("    {what:<30} {median:9.1} {longest:9.1} ms");
    };
    line("the first host is told", figures.times(|it| it.first));
    line("the last host is told", figures.times(|it| it.last));
    line("the operator is answered", figures.times(|it| it.answered));
    line(
        "from the first to the last",
        figures.times(|it| it.last - it.first),
    );
    line("then: all have read the log", figures.times(|it| it.read));
}

pub(crate) fn print_json(all: &[Figures]) {
    let objects: Vec<String> = all
        .iter()
        .map(|it| {
            let [first, _] = it.times(|it| it.first);
            let [last, longest] = it.times(|it| it.last);
            let [spread, _] = it.times(|it| it.last - it.first);
            let [read, _] = it.times(|it| it.read);
            format!(
                "  {{\"hosts\": {}, \"connected_ms\": {:.0}, \"idle_kib\": {:.2}, \
                 \"after_kib\": {:.2}, \"silent_core\": {:.5}, \"alive_core\": {:.5}, \
                 \"first_told_ms\": {first:.1}, \"last_told_ms\": {last:.1}, \
                 \"last_told_longest_ms\": {longest:.1}, \"first_to_last_ms\": {spread:.1}, \
                 \"read_ms\": {read:.1}}}",
                it.hosts,
                ms(it.connected),
                it.idle_memory,
                it.memory_after,
                it.silent,
                it.alive
            )
        })
        .collect();
    println!("[\n{}\n]", objects.join(",\n"));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
