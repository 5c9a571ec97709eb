//! Counts results and prints them as they come.

use std::process::ExitCode;
use std::time::Instant;

use crate::options::{Boot, Which};

pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    started: Instant,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            passed: 0,
            failed: 0,
            skipped: 0,
            started: Instant::now(),
        }
    }
}

impl Tally {
    /// See [`Tally::to_arg`].
    pub(crate) fn parse(arg: &str) -> Option<Self> {
        let (failed, skipped) = arg.split_once(',')?;
        let (failed, skipped) = (failed.parse().ok()?, skipped.parse().ok()?);
        Some(Self {
            failed,
            skipped,
            ..Self::default()
        })
    }

    /// What was counted before the namespaces, where nothing can have passed yet.
    pub(crate) fn to_arg(&self) -> String {
        format!("{},{}", self.failed, self.skipped)
    }

    pub(crate) fn passed(&mut self, who: &str, what: &str) {
        self.passed += 1;
        self.line(who, "ok     ", what);
    }

    pub(crate) fn failed(&mut self, who: &str, why: &str) {
        self.failed += 1;
        self.line(who, "FAILED ", why);
    }

    pub(crate) fn skipped(&mut self, who: &str, why: &str) {
        self.skipped += 1;
        self.line(who, "SKIPPED", why);
    }

    pub(crate) fn failures(&self) -> usize {
        self.failed
    }

    pub(crate) fn note(&self, who: &str, text: &str) {
        self.line(who, "       ", text);
    }

    fn line(&self, who: &str, result: &str, text: &str) {
        println!(
            "{:6.1}s {who:<7} {result} {text}",
            self.started.elapsed().as_secs_f32()
        );
    }

    /// The closing line and the exit status: what was skipped is not passed (75, EX_TEMPFAIL), unless
    /// the target is another, which need not offer everything.
    pub(crate) fn finish(&self, boots: &[Boot]) -> ExitCode {
        let Self {
            passed,
            failed,
            skipped,
            ..
        } = self;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        let another = boots.iter().all(|boot| boot.target == Which::Nvmet);
        match (failed, skipped, another) {
            (0, 0, _) | (0, _, true) => ExitCode::SUCCESS,
            (0, _, false) => ExitCode::from(75),
            _ => ExitCode::FAILURE,
        }
    }
}
