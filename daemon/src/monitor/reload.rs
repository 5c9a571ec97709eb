//! A reload: read, acquire, plan, apply. Until everything that the file asks for is there, nothing
//! has changed; what cannot be had is said, and what is served goes on.

#![forbid(unsafe_code)]

use std::time::SystemTime;

use tracing::{error, info, warn};

use super::Monitor;
use super::changes::changes;
use super::child::Lost;
use super::descriptors;
use super::kernel::{self, OpenKernel};
use super::resources::Resources;
use super::supply::Supply;
use crate::config::{self, Config, Loaded, Problems};
use crate::control::message::{Effect, Failure, FailureKind, Plan, Step};
use crate::error::chain;
use crate::ipc::ToWorker;
use crate::reconcile::{self, Desired, Step as KernelStep};

/// A configuration that could be served at once.
pub(super) struct Next {
    config: Config,
    resources: Resources,
    desired: Desired,
    /// Whether the kernel has to change anything.
    kernel: bool,
    plan: Plan,
}

impl Monitor<'_> {
    /// Reads the configuration file again and serves what it says.
    pub(super) fn reload(&mut self) -> Result<Plan, Failure> {
        let reloaded = self.try_reload();
        if reloaded.is_err() {
            self.resources.storage.lock_again();
        }
        self.reload_failed = reloaded.as_ref().err().map(|failure| failure.text.clone());
        reloaded
    }

    /// The same, where only the log can tell.
    pub(super) fn reload_by_signal(&mut self) {
        if let Err(failure) = self.reload() {
            for line in failure.text.lines().filter(|line| !line.trim().is_empty()) {
                error!("{line}");
            }
            error!("reload failed; what was served is served on");
        }
    }

    fn try_reload(&mut self) -> Result<Plan, Failure> {
        let Some(path) = &self.options.config else {
            return Err(Failure {
                kind: FailureKind::NoConfig,
                text: "nvmfd was started from its command line and has no file to read again; \
                       start it with -f FILE"
                    .into(),
            });
        };
        let loaded = config::load(path).map_err(|problems| bad(&problems))?;
        match self.next(loaded) {
            Ok(next) => self.apply(next),
            Err(failure) => {
                self.let_kernel_go();
                Err(failure)
            }
        }
    }

    /// Closes CTL again, if it was opened for a configuration that is not served.
    fn let_kernel_go(&mut self) {
        let needed = self.config.subsystems.iter().any(kernel::is_kernel);
        if !needed && !self.worker_has_kernel {
            // Another daemon may serve kernel mode.
            self.kernel = None;
        }
    }

    /// What a reload of this text would do.
    pub(super) fn plan(&mut self, name: &str, text: &str) -> Result<Plan, Failure> {
        let loaded = config::parse(text, name).map_err(|problems| bad(&problems))?;
        let planned = self.next(loaded).map(|next| next.plan);
        self.resources.storage.lock_again();
        self.let_kernel_go();
        planned
    }

    /// Acquires everything that a configuration needs, and plans the way there.
    fn next(&mut self, loaded: Loaded) -> Result<Next, Failure> {
        let Loaded { config, warnings } = loaded;
        let (before, numbers) = (&self.resources, &mut self.numbers);
        let resources =
            Resources::acquire(&config, before, numbers).map_err(|error| system(&error))?;
        let desired = kernel::desired(&config, self.host).map_err(|error| system(&error))?;
        let mut plan = Plan {
            steps: changes(&self.config, &config),
            warnings: warnings.iter().map(|it| one_line(&warnings, it)).collect(),
        };
        plan.steps
            .extend(resources.storage.changed(&before.storage));
        if config.limits != self.config.limits {
            plan.warnings.extend(descriptors::few(&config, &resources));
        }
        let mut kernel = false;
        if !desired.ports().is_empty() || self.kernel.is_some() {
            let ctl = &self.open_kernel().map_err(|error| system(&error))?.ctl;
            let observed = reconcile::observe(ctl);
            let observed = observed.map_err(|error| system(&error))?;
            let planned = reconcile::plan(&observed, &desired).map_err(|error| system(&error))?;
            kernel = !planned.steps.is_empty();
            plan.steps.extend(planned.steps.iter().map(step));
            plan.warnings
                .extend(planned.notes.iter().map(ToString::to_string));
        }
        Ok(Next {
            config,
            resources,
            desired,
            kernel,
            plan,
        })
    }

    fn apply(&mut self, next: Next) -> Result<Plan, Failure> {
        next.resources
            .listen_all()
            .map_err(|error| system(&error))?;
        if next.kernel {
            self.change_the_kernel(&next.desired)?;
        }
        let Next {
            config,
            resources,
            mut plan,
            ..
        } = next;
        for warning in &plan.warnings {
            warn!("{warning}");
        }
        for step in &plan.steps {
            info!("reload: {}", step.what);
        }
        let level = config.log.level;
        let kernel_came = self.kernel.is_some() && !self.worker_has_kernel;
        let before = std::mem::replace(&mut self.resources, resources);
        self.config = config;
        self.generation += 1;
        self.loaded = SystemTime::now();
        if self.options.log.is_none() {
            self.verbosity.set(level);
        }
        if let Err(lost) = self.tell_worker(&before, kernel_came) {
            let text = format!("{}; another is started, and serves this file", chain(&lost));
            plan.warnings.push(text);
        }
        if next.kernel {
            // Those that waited are judged by what is served now.
            let _ = self.ask(|worker| worker.tell(&ToWorker::ResumeHandoffs, None));
        }
        if let Some(kernel) = &self.kernel {
            kernel.revoke(&self.config);
        }
        self.announce_what_is_served();
        info!("reloaded");
        Ok(plan)
    }

    /// Makes the kernel export what is desired, while nothing is handed over to it. Connects wait.
    fn change_the_kernel(&mut self, desired: &Desired) -> Result<(), Failure> {
        if self.worker_has_kernel {
            // A worker that is lost hands nothing over either.
            let _ = self.ask(super::child::Child::hold_handoffs);
        }
        let ctl = match self.open_kernel() {
            Ok(kernel) => kernel.ctl.clone(),
            Err(error) => return Err(system(&error)),
        };
        let Err(error) = reconcile::reconcile(&ctl, desired) else {
            return Ok(());
        };
        let failure = system(&error);
        // What the steps that succeeded have changed goes back.
        let back = kernel::desired(&self.config, self.host).map_err(|error| error.report());
        let back = back.and_then(|old| {
            let gone_back = reconcile::reconcile(&ctl, &old);
            gone_back.map_err(|error| chain(&error))
        });
        if let Err(reason) = back {
            error!(%reason, "the kernel does not serve all that it did before the reload");
        }
        let _ = self.ask(|worker| worker.tell(&ToWorker::ResumeHandoffs, None));
        Err(failure)
    }

    /// Has the worker serve what is served now. One that is gone will, when it is started again.
    fn tell_worker(&mut self, before: &Resources, kernel_came: bool) -> Result<(), Lost> {
        let Some(worker) = &self.worker else {
            return Ok(());
        };
        let log = ToWorker::Log {
            level: self.verbosity.get().to_string(),
            destination: self.destination,
        };
        let supply = Supply {
            config: &self.config,
            resources: &self.resources,
            generation: self.generation,
            host: self.host,
            has: before,
        };
        let device = self.kernel.as_ref().and_then(OpenKernel::for_worker);
        let told = worker
            .tell(&log, None)
            .and_then(|()| match kernel_came {
                true => worker.tell(&ToWorker::Kernel, device),
                false => Ok(()),
            })
            .and_then(|()| supply.give(worker));
        self.worker_has_kernel |= kernel_came;
        // Started again, it is given everything anew.
        told.inspect_err(|lost| self.worker_lost(lost))
    }
}

/// A step of the kernel's, and what its hosts notice.
fn step(step: &KernelStep) -> Step {
    let effect = match step {
        KernelStep::RemovePort { online: true, .. } | KernelStep::Disable(_) => Effect::Disconnects,
        KernelStep::RemovePort { online: false, .. }
        | KernelStep::EmptyMap(_)
        | KernelStep::DropMap(_)
        | KernelStep::RemoveLun { .. }
        | KernelStep::CreateLun { .. }
        | KernelStep::CreatePort(_)
        | KernelStep::Enable(_) => Effect::Nothing,
        // FreeBSD BUG: ctl_lun_capacity_changed() tells SCSI's hosts, and NVMe's nothing.
        KernelStep::ModifyLun { .. } => Effect::NewConnections,
        KernelStep::Map { .. } | KernelStep::Unmap { .. } => Effect::Notice,
    };
    Step {
        what: format!("kernel: {step}"),
        effect,
    }
}

fn one_line(problems: &Problems, problem: &config::Problem) -> String {
    let place = problem.place.as_ref();
    let place = place.map(|place| format!(":{}:{}", place.line, place.column));
    format!(
        "{}{}: {} ({})",
        problems.name(),
        place.unwrap_or_default(),
        problem.what,
        problem.hint
    )
}

fn bad(problems: &Problems) -> Failure {
    Failure {
        kind: FailureKind::Config,
        text: problems.to_string(),
    }
}

fn system(error: &dyn std::error::Error) -> Failure {
    Failure {
        kind: FailureKind::System,
        text: chain(error),
    }
}
