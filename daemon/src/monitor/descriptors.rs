//! How many descriptors the daemon may have open. Every connection is one, so this bounds its hosts.

#![forbid(unsafe_code)]

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use super::resources::Resources;
use super::supply::threads;
use crate::config::Config;
use crate::worker::snapshot::Limits;

/// Takes as many as the system gives. The worker inherits them.
pub(super) fn raise_limit() {
    // Not being given more is no reason not to start; the acceptor says when it runs out.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// How much peers can hold by this configuration, which needs these resources.
pub(super) fn limits(config: &Config, resources: &Resources) -> Limits {
    let descriptors = descriptors().unwrap_or(usize::MAX);
    let room = room(descriptors, our_own(config, resources));
    Limits {
        descriptors,
        ..Limits::of(&config.limits, &config.log, room)
    }
}

/// Says how many there are, and whether that is little.
pub(super) fn tell(config: &Config, resources: &Resources) {
    let Some(descriptors) = descriptors() else {
        return;
    };
    match few(config, resources) {
        Some(few) => warn!(descriptors, "{few}"),
        None => info!(descriptors, "as many may be open, one for each connection"),
    }
}

/// That there are few, if so: for as many connections as the operator wants, or for as many as may be in
/// negotiation while nobody is connected yet.
pub(super) fn few(config: &Config, resources: &Resources) -> Option<String> {
    let room = room(descriptors()?, our_own(config, resources));
    let (wanted, what) = match config.limits.connections {
        Some(connections) => (connections, "connections"),
        None => (config.limits.negotiations, "negotiations"),
    };
    (room < wanted.get()).then(|| {
        format!(
            "few descriptors, and every connection takes one: there is room for {room}, and \
             {wanted} {what} are allowed; raise the limit of descriptors, or allow fewer {what}"
        )
    })
}

fn descriptors() -> Option<usize> {
    // FreeBSD: kern.maxfilesperproc cuts what is asked for, and nothing fails.
    let (granted, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(usize::try_from(granted).unwrap_or(usize::MAX))
}

/// What is left of `descriptors` for connections. Where there are hardly any, half of them: then a
/// configuration that has much of its own does with less to spare.
fn room(descriptors: usize, our_own: usize) -> usize {
    let left = descriptors.saturating_sub(our_own);
    left.max(descriptors / 2).max(1)
}

/// What the worker has open that is no connection, and twice: a reload opens the next before it closes
/// the last.
fn our_own(config: &Config, resources: &Resources) -> usize {
    let storage = resources.storage.iter().count();
    let listeners = resources.portals.len() + resources.metrics.len();
    OTHERS + 2 * (threads(config) + storage + listeners)
}

/// The log, polls, readers of metrics, connections that are about to be closed.
const OTHERS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_what_else_is_open() {
        assert_eq!(room(65_536, 140), 65_396);
        assert_eq!(room(200, 140), 100);
        assert_eq!(room(80, 140), 40);
        assert_eq!(room(1, 140), 1);
    }
}
