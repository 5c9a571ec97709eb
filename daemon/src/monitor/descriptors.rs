//! How many descriptors the daemon may have open. Every connection is one, so this bounds its hosts.

#![forbid(unsafe_code)]

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

/// Takes as many as the system gives. The worker inherits them.
pub(super) fn raise_limit() {
    // Not being given more is no reason not to start; the acceptor says when it runs out.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Says how many there are, and whether that is little: when so many connections are in negotiation,
/// and nobody is connected yet, there must be some left.
pub(super) fn tell(negotiations: usize) {
    // FreeBSD: kern.maxfilesperproc cuts what is asked for, and nothing fails.
    let Ok((granted, _)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let descriptors = usize::try_from(granted).unwrap_or(usize::MAX);
    if descriptors < negotiations.saturating_add(OUR_OWN) {
        warn!(
            descriptors,
            negotiations,
            "few descriptors, and every connection takes one: raise their limit, or allow fewer \
             negotiations"
        );
    } else {
        info!(descriptors, "as many may be open, one for each connection");
    }
}

/// What is not a connection: listeners, storage, polls, the log.
const OUR_OWN: usize = 128;
