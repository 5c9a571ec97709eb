//! Start, reload and stop in one: CTL comes to hold exactly what is desired of ours, and nothing else
//! of it changes.
//!
//! [`observe()`] reads what there is, [`plan()`] decides, [`apply()`] acts; [`reconcile`] does all three
//! and looks again. There is no memory of what was done before: a daemon that crashed at any point, or
//! was replaced, finds what it made by its marks ([`marker`]) and goes on from there. A stop is a
//! reconciliation with [`Desired::nothing`].
//!
//! It may sleep, for as long as hosts please: never on a thread that serves.

#![forbid(unsafe_code)]

mod apply;
mod conflict;
mod desired;
mod inventory;
pub mod marker;
mod observe;
mod plan;
mod report;
mod step;

use std::collections::BTreeMap;
use std::time::Duration;

use nvmf_kmod::{Ctl, KernelError};
use tracing::{info, warn};

pub use apply::{Applied, ApplyError, apply};
pub use conflict::{Conflict, Note};
pub use desired::{Desired, DesiredLun, DesiredPort, Exports, Invalid, Limits, OurLun};
pub use inventory::{LunThere, Maker, everything};
pub use marker::NamespaceKey;
pub use observe::{Fitness, ForeignPort, Observed, Owner, SeenLun, SeenPort, Stale, observe};
pub use plan::{Plan, plan};
pub use report::{Outcome, Report, Subject};
pub use step::{LunFault, LunRef, PortFault, PortRef, Step};

/// Why CTL does not hold what is desired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// The kernel does not tell what there is.
    #[error("cannot see what the kernel serves")]
    Observe(#[source] KernelError),
    /// Others have what is wanted. Nothing was changed.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// A step failed. Another reconciliation goes on from there.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Everything that was asked succeeded, again and again, and this is still to be done.
    #[error("the kernel did all that it was asked to, and still there is to do: {step}")]
    Unsettled {
        /// The first of the steps.
        step: Box<Step>,
    },
}

/// Makes CTL hold what is desired.
///
/// # Errors
/// [`ReconcileError`]; what has been done until then stays, except what [`apply()`] takes back.
pub fn reconcile(ctl: &Ctl, desired: &Desired) -> Result<Report, ReconcileError> {
    let mut report = Report::default();
    for _ in 0..ROUNDS {
        let plan = look(ctl, desired)?;
        report.add(&plan);
        if plan.steps.is_empty() {
            return Ok(finished(report, plan));
        }
        apply(ctl, &plan.steps)?;
    }
    let mut plan = look(ctl, desired)?;
    // The kernel has looked at the storage and sees what it sees: no reason not to serve.
    plan.steps.retain(|step| {
        let size = matches!(
            step,
            Step::ModifyLun {
                why: Stale::Size,
                ..
            }
        );
        if size {
            warn!("still to do: {step}");
        }
        !size
    });
    match plan.steps.first() {
        None => Ok(finished(report, plan)),
        Some(step) => Err(unsettled(step)),
    }
}

/// Takes everything of ours out of CTL, as much of it as goes: what cannot be removed does not keep the
/// rest, but for the LUNs of a port whose hosts may still use them.
///
/// # Errors
/// The last thing that failed, if anything of ours is left in the end.
pub fn withdraw(ctl: &Ctl) -> Result<Report, ReconcileError> {
    let nothing = Desired::nothing();
    let mut report = Report::default();
    let mut failure = None;
    for round in 0..WITHDRAWALS {
        if round > 0 {
            std::thread::sleep(PAUSE);
        }
        match see(ctl, &nothing) {
            Ok((_, plan)) if plan.steps.is_empty() => return Ok(finished(report, plan)),
            Ok((observed, plan)) => {
                report.add(&plan);
                failure = remove(ctl, &observed, &plan.steps).err().or(failure);
            }
            Err(error) => failure = Some(error),
        }
    }
    match (look(ctl, &nothing)?, failure) {
        (plan, _) if plan.steps.is_empty() => Ok(finished(report, plan)),
        (_, Some(failure)) => Err(failure),
        (plan, None) => Err(unsettled(&plan.steps[0])),
    }
}

/// Takes the steps of a removal, and goes on where one fails. LUNs that a port shows which stays, stay.
fn remove(ctl: &Ctl, observed: &Observed, steps: &[Step]) -> Result<(), ReconcileError> {
    let mut result = Ok(());
    let mut staying: Vec<&SeenPort> = Vec::new();
    for step in steps {
        let shows = |port: &&SeenPort, id| {
            let mut shown = port.map.iter().flat_map(BTreeMap::values);
            port.map.is_none() || shown.any(|shown| shown == id)
        };
        if let Step::RemoveLun { id, .. } = step
            && staying.iter().any(|port| shows(port, id))
        {
            continue;
        }
        if let Err(error) = apply(ctl, std::slice::from_ref(step)) {
            if let Step::RemovePort { port, .. } = step {
                staying.extend(observed.ports.iter().filter(|seen| seen.nqn == port.nqn));
            }
            result = Err(error.into());
        }
    }
    result
}

fn unsettled(step: &Step) -> ReconcileError {
    ReconcileError::Unsettled {
        step: Box::new(step.clone()),
    }
}

fn look(ctl: &Ctl, desired: &Desired) -> Result<Plan, ReconcileError> {
    see(ctl, desired).map(|(_, plan)| plan)
}

fn see(ctl: &Ctl, desired: &Desired) -> Result<(Observed, Plan), ReconcileError> {
    let observed = observe(ctl).map_err(ReconcileError::Observe)?;
    let plan = plan(&observed, desired)?;
    Ok((observed, plan))
}

fn finished(mut report: Report, plan: Plan) -> Report {
    report.notes = plan.notes;
    for note in &report.notes {
        warn!("{note}");
    }
    info!("kernel: {report}");
    report
}

/// How often the kernel is asked to do what is left to do. Once is enough unless somebody else changes
/// things at the same time: switching a port on gives no answer, so only the next look tells.
const ROUNDS: usize = 3;

/// How often a stop tries to remove what is ours, and how long it waits between.
const WITHDRAWALS: usize = 5;
const PAUSE: Duration = if cfg!(test) {
    Duration::ZERO
} else {
    Duration::from_millis(200)
};

#[cfg(test)]
mod tests;
