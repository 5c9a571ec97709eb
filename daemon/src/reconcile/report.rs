//! What a reconciliation came to, for the log and whoever asked for it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use nvmf_kmod::request::LunId;
use nvmf_proto::nqn::Nqn;

use super::conflict::Note;
use super::marker::NamespaceKey;
use super::plan::Plan;
use super::step::{LunFault, Step};

/// What became of each thing of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// By thing.
    pub outcomes: BTreeMap<Subject, Outcome>,
    /// What an operator should know.
    pub notes: Vec<Note>,
}

/// Something of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The port of a subsystem.
    Port(Nqn),
    /// The LUN of a namespace.
    Namespace(NamespaceKey),
    /// A LUN that serves no namespace.
    Lun(LunId),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was there and right.
    Adopted,
    /// It is new.
    Made,
    /// It was there, and was changed.
    Changed,
    /// It was there, was removed, and made anew.
    Remade,
    /// It is gone.
    Removed,
}

impl Report {
    /// Adds what a plan that was carried out has done.
    pub(super) fn add(&mut self, plan: &Plan) {
        for nqn in &plan.adopted_ports {
            self.put(Subject::Port(nqn.clone()), Outcome::Adopted);
        }
        for key in &plan.adopted_luns {
            self.put(Subject::Namespace(key.clone()), Outcome::Adopted);
        }
        for step in &plan.steps {
            let (subject, outcome) = of_step(step);
            self.put(subject, outcome);
        }
    }

    /// Whether a port of an earlier daemon's goes on: its hosts may be at work.
    pub fn goes_on(&self) -> bool {
        self.outcomes.iter().any(|(subject, outcome)| {
            matches!(subject, Subject::Port(_))
                && matches!(outcome, Outcome::Adopted | Outcome::Changed)
        })
    }

    fn put(&mut self, subject: Subject, outcome: Outcome) {
        let before = self.outcomes.get(&subject).copied();
        let outcome = match (before, outcome) {
            (Some(Outcome::Removed), Outcome::Made) => Outcome::Remade,
            (
                Some(before @ (Outcome::Made | Outcome::Remade)),
                Outcome::Adopted | Outcome::Changed,
            ) => before,
            (Some(Outcome::Changed), Outcome::Adopted) => Outcome::Changed,
            (_, outcome) => outcome,
        };
        self.outcomes.insert(subject, outcome);
    }

    /// How many subjects that `of` picks came to this.
    fn count(&self, of: fn(&Subject) -> bool, outcome: Outcome) -> usize {
        let mut outcomes = self.outcomes.iter().collect::<Vec<_>>();
        outcomes.retain(|(subject, result)| of(subject) && **result == outcome);
        outcomes.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_port = |subject: &Subject| matches!(subject, Subject::Port(_));
        let is_lun = |subject: &Subject| !matches!(subject, Subject::Port(_));
        for (place, (name, of)) in [("ports", is_port as fn(&Subject) -> bool), ("LUNs", is_lun)]
            .into_iter()
            .enumerate()
        {
            let counts = [
                (Outcome::Adopted, "adopted"),
                (Outcome::Made, "made"),
                (Outcome::Changed, "changed"),
                (Outcome::Remade, "made anew"),
                (Outcome::Removed, "removed"),
            ]
            .map(|(outcome, word)| (self.count(of, outcome), word));
            let some = counts.iter().filter(|(count, _)| *count > 0);
            let some: Vec<_> = some
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            let text = if some.is_empty() {
                "none".into()
            } else {
                some.join(", ")
            };
            write!(f, "{}{name}: {text}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

fn of_step(step: &Step) -> (Subject, Outcome) {
    let changed = |nqn: &Nqn| (Subject::Port(nqn.clone()), Outcome::Changed);
    match step {
        Step::RemovePort { port, .. } => (Subject::Port(port.nqn.clone()), Outcome::Removed),
        Step::CreatePort(port) => (Subject::Port(port.subnqn.clone()), Outcome::Made),
        Step::Disable(port)
        | Step::EmptyMap(port)
        | Step::DropMap(port)
        | Step::Unmap { port, .. }
        | Step::Map { port, .. }
        | Step::Enable(port) => changed(&port.nqn),
        Step::RemoveLun { id, key, why, .. } => match (key, why) {
            (None, _) | (_, LunFault::Surplus) => (Subject::Lun(*id), Outcome::Removed),
            (Some(key), LunFault::Unwanted | LunFault::Differs(_)) => {
                (Subject::Namespace(key.clone()), Outcome::Removed)
            }
        },
        Step::CreateLun { key, .. } => (Subject::Namespace(key.clone()), Outcome::Made),
        Step::ModifyLun { key, .. } => (Subject::Namespace(key.clone()), Outcome::Changed),
    }
}
