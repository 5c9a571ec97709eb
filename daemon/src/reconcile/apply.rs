//! A plan's steps, taken in order; what they made is taken back when one fails.
//!
//! A failure that the kernel reports after the work is done is none: whatever creates or removes is
//! judged by what the kernel lists afterwards. What was there before is never taken back: what a plan
//! has removed stays removed, and the next plan goes on from there.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

use nvmf_kmod::request::{LunId, NewLun, NewPort, PortId};
use nvmf_kmod::{Ctl, Errno, KernelError};
use nvmf_proto::nqn::Nqn;
use tracing::{info, warn};

use super::marker::NamespaceKey;
use super::observe::{Fitness, SeenLun, SeenPort};
use super::step::{LunRef, PortRef, Step, lun_text};

/// What the steps have made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Numbers of the ports.
    pub ports: BTreeMap<Nqn, PortId>,
    /// Numbers of the LUNs.
    pub luns: BTreeMap<NamespaceKey, LunId>,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ApplyError {
    /// Which.
    pub step: Box<Step>,
    /// Why.
    pub source: KernelError,
    /// What the steps before it had made and was taken back.
    pub taken_back: Vec<String>,
    /// What they had made and could not be taken back, and why not.
    pub left: Vec<(String, Option<KernelError>)>,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.step)?;
        if !self.taken_back.is_empty() {
            write!(f, "; taken back: {}", self.taken_back.join(", "))?;
        }
        for (what, why) in &self.left {
            match why {
                Some(why) => write!(f, "; left behind: {what} ({why})")?,
                None => write!(f, "; left behind: {what}")?,
            }
        }
        Ok(())
    }
}

/// Takes the steps, each with a line in the log.
///
/// # Errors
/// The first that fails. What those before it have made is taken back, as far as the kernel allows.
pub fn apply(ctl: &Ctl, steps: &[Step]) -> Result<Applied, ApplyError> {
    let mut run = Run {
        ctl,
        applied: Applied::default(),
        disabled: Vec::new(),
        undo: Vec::new(),
    };
    for step in steps {
        info!("{step}");
        if let Err(source) = run.take(step) {
            let (taken_back, left) = run.take_back();
            return Err(ApplyError {
                step: Box::new(step.clone()),
                source,
                taken_back,
                left,
            });
        }
    }
    Ok(run.applied)
}

/// How to take something back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Undo {
    /// A port that was made.
    RemovePort(PortRef),
    /// A LUN that was made.
    RemoveLun {
        id: LunId,
        key: NamespaceKey,
        backend: String,
    },
    /// A namespace of a port that was there before.
    Unmap { port: PortRef, nsid: u32 },
    /// A port that was there before, offline.
    Disable(PortRef),
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemovePort(port) => port.fmt(f),
            Self::RemoveLun { id, key, .. } => f.write_str(&lun_text(*id, Some(key))),
            Self::Unmap { port, nsid } => write!(f, "namespace {nsid} of {port}"),
            Self::Disable(port) => write!(f, "hosts' access to {port}"),
        }
    }
}

struct Run<'a> {
    ctl: &'a Ctl,
    applied: Applied,
    /// Ports that were online before.
    disabled: Vec<Nqn>,
    undo: Vec<Undo>,
}

impl Run<'_> {
    fn take(&mut self, step: &Step) -> Result<(), KernelError> {
        let ctl = self.ctl;
        match step {
            Step::RemovePort { port, .. } => remove_port(ctl, port),
            Step::Disable(port) => {
                self.disabled.push(port.nqn.clone());
                ctl.disable_port(self.port(port)?)
            }
            Step::EmptyMap(port) => ctl.empty_map(self.port(port)?),
            Step::DropMap(port) => ctl.drop_map(self.port(port)?),
            Step::Unmap { port, nsid, .. } => ctl.unmap(self.port(port)?, *nsid),
            Step::RemoveLun {
                id, key, backend, ..
            } => remove_lun(ctl, *id, key.as_ref(), backend),
            Step::CreateLun { key, lun } => {
                let id = create_lun(ctl, lun)?;
                self.applied.luns.insert(key.clone(), id);
                self.undo.push(Undo::RemoveLun {
                    id,
                    key: key.clone(),
                    backend: lun.storage.backend().into(),
                });
                Ok(())
            }
            Step::ModifyLun { id, lun, .. } => ctl.modify_lun(*id, lun),
            Step::CreatePort(port) => {
                let id = create_port(ctl, port)?;
                self.applied.ports.insert(port.subnqn.clone(), id);
                self.undo.push(Undo::RemovePort(PortRef {
                    nqn: port.subnqn.clone(),
                    id: Some(id),
                }));
                Ok(())
            }
            Step::Map { port, nsid, lun } => {
                // Before it is done: it may be done and reported failed, and taking back what was not
                // done does nothing.
                if let (Some(_), port) = (port.id, port.clone()) {
                    self.undo.push(Undo::Unmap { port, nsid: *nsid });
                }
                ctl.map(self.port(port)?, *nsid, self.lun(lun)?)
            }
            Step::Enable(port) => {
                if port.id.is_some() && !self.disabled.contains(&port.nqn) {
                    self.undo.push(Undo::Disable(port.clone()));
                }
                ctl.enable_port(self.port(port)?)
            }
        }
    }

    fn port(&self, port: &PortRef) -> Result<PortId, KernelError> {
        port.id
            .or_else(|| self.applied.ports.get(&port.nqn).copied())
            .ok_or_else(|| unmade(port))
    }

    fn lun(&self, lun: &LunRef) -> Result<LunId, KernelError> {
        match lun {
            LunRef::There(id) => Ok(*id),
            LunRef::Made(key) => self
                .applied
                .luns
                .get(key)
                .copied()
                .ok_or_else(|| unmade(key)),
        }
    }

    /// Takes back in reverse. A LUN stays while a map may still have it: the kernel would keep the
    /// entry, and show the next LUN of that number.
    fn take_back(self) -> (Vec<String>, Vec<(String, Option<KernelError>)>) {
        let (mut taken_back, mut left) = (Vec::new(), Vec::new());
        for undo in self.undo.iter().rev() {
            let result = match undo {
                Undo::RemovePort(port) => remove_port(self.ctl, port),
                Undo::Unmap { port, nsid } => {
                    self.port(port).and_then(|port| self.ctl.unmap(port, *nsid))
                }
                Undo::Disable(port) => self.port(port).and_then(|port| self.ctl.disable_port(port)),
                Undo::RemoveLun { .. } if !left.is_empty() => {
                    left.push((undo.to_string(), None));
                    continue;
                }
                Undo::RemoveLun { id, key, backend } => {
                    remove_lun(self.ctl, *id, Some(key), backend)
                }
            };
            match result {
                Ok(()) => {
                    info!("took back: {undo}");
                    taken_back.push(undo.to_string());
                }
                Err(error) => {
                    warn!(%error, "cannot take back: {undo}");
                    left.push((undo.to_string(), Some(error)));
                }
            }
        }
        (taken_back, left)
    }
}

/// A step came before the one that makes what it needs: no plan of ours.
fn unmade(what: impl fmt::Display) -> KernelError {
    KernelError::Unaskable {
        what: format!("use {what}"),
        why: "no step has made it".into(),
    }
}

/// Makes a port, or finds it made though the kernel said that it failed: its answer comes after the
/// work, and can fail by itself.
fn create_port(ctl: &Ctl, port: &NewPort) -> Result<PortId, KernelError> {
    ctl.create_port(port).or_else(|error| {
        let fresh = |seen: &SeenPort| {
            let untouched = !seen.online && seen.map.is_none();
            seen.nqn == port.subnqn && untouched && seen.differences(port).is_empty()
        };
        let listed = match &error {
            KernelError::Unaskable { .. } => return Err(error),
            KernelError::Ioctl { .. }
            | KernelError::Refused { .. }
            | KernelError::Answer { .. } => ctl.ports().map_or(Vec::new(), |ports| ports.ports),
        };
        let mut seen = listed.iter().filter_map(SeenPort::of);
        match seen.find(fresh) {
            Some(seen) => {
                warn!(%error, port = %seen.id, "the port is there all the same");
                Ok(seen.id)
            }
            None => Err(error),
        }
    })
}

/// Makes a LUN, or finds it made though the kernel said that it failed.
fn create_lun(ctl: &Ctl, lun: &NewLun) -> Result<LunId, KernelError> {
    ctl.create_lun(lun).or_else(|error| {
        let listed = match &error {
            KernelError::Unaskable { .. } => return Err(error),
            KernelError::Ioctl { .. }
            | KernelError::Refused { .. }
            | KernelError::Answer { .. } => ctl.luns().map_or(Vec::new(), |luns| luns.luns),
        };
        // Had there been one before, nobody would have made another.
        let mut seen = listed.into_iter().filter_map(|lun| SeenLun::of(lun).ok());
        match seen.find(|seen| seen.fitness(lun, None) == Fitness::Right) {
            Some(seen) => {
                warn!(%error, lun = %seen.id, "the LUN is there all the same");
                Ok(seen.id)
            }
            None => Err(error),
        }
    })
}

/// Removes a port, or finds it gone.
fn remove_port(ctl: &Ctl, port: &PortRef) -> Result<(), KernelError> {
    ctl.remove_port(&port.nqn).or_else(|error| {
        let Ok(listed) = ctl.ports() else {
            return Err(error);
        };
        let there = listed.ports.iter().filter_map(SeenPort::of);
        let is_it =
            |seen: &SeenPort| seen.nqn == port.nqn && port.id.is_none_or(|id| id == seen.id);
        match there.filter(is_it).count() {
            0 => Ok(()),
            _ => Err(error),
        }
    })
}

/// Removes a LUN, or finds it gone. The kernel waits for its last user, and a signal ends the wait, not
/// the removal.
fn remove_lun(
    ctl: &Ctl,
    id: LunId,
    key: Option<&NamespaceKey>,
    backend: &str,
) -> Result<(), KernelError> {
    for tries_left in (0..REMOVAL_TRIES).rev() {
        let Err(error) = ctl.remove_lun(backend, id) else {
            break;
        };
        // Whoever has the number now may be somebody else.
        let Ok(listed) = ctl.luns() else {
            return Err(error);
        };
        let mut there = listed
            .luns
            .into_iter()
            .filter_map(|lun| SeenLun::of(lun).ok());
        if !there.any(|seen| seen.id == id && seen.key.as_ref() == key) {
            break;
        }
        let going = error
            .text()
            .is_some_and(|text| text.contains(" is not managed by "));
        if tries_left == 0 || !(going || error.errno() == Some(Errno::EINTR)) {
            return Err(error);
        }
        if going {
            thread::sleep(REMOVAL_PAUSE);
        }
    }
    Ok(())
}

/// How often a removal that was interrupted is asked for.
const REMOVAL_TRIES: u32 = 10;

/// How long a LUN that is being removed is given before the next look.
const REMOVAL_PAUSE: Duration = if cfg!(test) {
    Duration::ZERO
} else {
    Duration::from_millis(100)
};
