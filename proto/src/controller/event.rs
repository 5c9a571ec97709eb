//! Asynchronous events (Base 2.0 §5.2): requests that wait, and notices that wait for requests.
//!
//! A notice is sent once and then masked until its log page is read with Retain Asynchronous Event
//! clear. What changes in between is not lost: it stands in the log page when the host reads it, or
//! is announced afterwards.

use std::collections::{BTreeSet, VecDeque};

use super::Kind;
use crate::cqe::Completion;
use crate::status::Status;

/// Event requests and notices of one controller.
#[derive(Debug)]
pub(super) struct Events {
    /// Asynchronous Event Configuration (feature 0Bh), supported bits only.
    configuration: u32,
    default: u32,
    supported: u32,
    /// The caller's names of the requests that wait, oldest first.
    requests: VecDeque<u32>,
    namespaces: Notice,
    discovery: Notice,
    /// NSIDs that changed since the list was read.
    changed: BTreeSet<u32>,
    /// More changed than the list holds.
    overflowed: bool,
}

#[derive(Debug, Default)]
struct Notice {
    pending: bool,
    masked: bool,
}

impl Events {
    /// Notices are on until the host says otherwise, as with Linux and SPDK.
    pub(super) fn new(kind: Kind) -> Self {
        let (default, supported) = match kind {
            Kind::Io => (NAMESPACE_NOTICES, NAMESPACE_NOTICES | CRITICAL_WARNINGS),
            Kind::Discovery => (DISCOVERY_NOTICES, DISCOVERY_NOTICES),
        };
        Self {
            configuration: default,
            default,
            supported,
            requests: VecDeque::new(),
            namespaces: Notice::default(),
            discovery: Notice::default(),
            changed: BTreeSet::new(),
            overflowed: false,
        }
    }

    /// Feature 0Bh.
    pub(super) fn configuration(&self) -> u32 {
        self.configuration
    }

    /// The default of feature 0Bh.
    pub(super) fn default_configuration(&self) -> u32 {
        self.default
    }

    /// Sets feature 0Bh. Notices that do not exist here stay off.
    pub(super) fn configure(&mut self, configuration: u32) {
        self.configuration = configuration & self.supported;
        self.namespaces.pending &= configuration & NAMESPACE_NOTICES != 0;
        self.discovery.pending &= configuration & DISCOVERY_NOTICES != 0;
    }

    /// Takes an event request in.
    ///
    /// # Errors
    /// Asynchronous Event Request Limit Exceeded when [`AERL`] + 1 wait already.
    pub(super) fn hold(&mut self, tag: u32) -> Result<(), Status> {
        if self.requests.len() > AERL.into() {
            return Err(Status::AER_LIMIT_EXCEEDED.dnr());
        }
        self.requests.push_back(tag);
        Ok(())
    }

    /// Forgets a request that waits; whether there was one.
    pub(super) fn abort(&mut self, tag: u32) -> bool {
        let before = self.requests.len();
        self.requests.retain(|&held| held != tag);
        self.requests.len() != before
    }

    /// The next request to complete now, if there is an event for it.
    pub(super) fn next(&mut self) -> Option<(u32, Completion)> {
        let &tag = self.requests.front()?;
        let result = if self.namespaces.fire() {
            NAMESPACES_CHANGED
        } else if self.discovery.fire() {
            DISCOVERY_CHANGED
        } else {
            return None;
        };
        self.requests.pop_front();
        Some((tag, Completion::success(result)))
    }

    /// These namespaces came, went or changed.
    pub(super) fn namespaces_changed(&mut self, nsids: impl IntoIterator<Item = u32>) {
        let mut any = false;
        for nsid in nsids {
            any = true;
            if !self.overflowed {
                self.changed.insert(nsid);
            }
        }
        if self.changed.len() > CHANGED_LIST_ENTRIES {
            self.changed.clear();
            self.overflowed = true;
        }
        self.namespaces.pending |= any && self.configuration & NAMESPACE_NOTICES != 0;
    }

    /// The discovery log that this host sees has changed.
    pub(super) fn discovery_changed(&mut self) {
        self.discovery.pending |= self.configuration & DISCOVERY_NOTICES != 0;
    }

    /// The Changed Namespace List (log page 04h), ascending.
    pub(super) fn changed_namespaces(&self) -> impl Iterator<Item = u32> {
        let overflow = self.overflowed.then_some(u32::MAX);
        overflow.into_iter().chain(self.changed.iter().copied())
    }

    /// The Changed Namespace List was read to be cleared.
    pub(super) fn namespaces_read(&mut self) {
        self.changed.clear();
        self.overflowed = false;
        self.namespaces = Notice::default();
    }

    /// Part of the discovery log was read to clear the event. Only the header tells a host which
    /// generation it has seen; without it a change that is still to be announced stays so.
    pub(super) fn discovery_read(&mut self, with_header: bool) {
        self.discovery.masked = false;
        self.discovery.pending &= !with_header;
    }

    /// Forgets everything at a Controller Reset; the requests that waited end without an answer
    /// (Base 2.0 §3.7.2).
    pub(super) fn reset(&mut self) -> Vec<u32> {
        self.configuration = self.default;
        self.namespaces_read();
        self.discovery = Notice::default();
        self.requests.drain(..).collect()
    }
}

impl Notice {
    /// Whether it is to be sent now; if so, it counts as sent.
    fn fire(&mut self) -> bool {
        let fires = self.pending && !self.masked;
        if fires {
            *self = Self {
                pending: false,
                masked: true,
            };
        }
        fires
    }
}

/// Event requests that may wait at a time, 0's based (Identify AERL).
pub(super) const AERL: u8 = 3;

/// Entries of the Changed Namespace List.
pub(super) const CHANGED_LIST_ENTRIES: usize = 1024;

/// Namespace Attribute Notices, in features and in OAES.
pub(super) const NAMESPACE_NOTICES: u32 = 1 << 8;

/// Discovery Log Page Change Notices, in features and in OAES.
pub(super) const DISCOVERY_NOTICES: u32 = 1 << 31;

/// Critical warnings of the SMART log, which we let a host enable and never raise.
const CRITICAL_WARNINGS: u32 = 0x1f;

/// Dword 0: type 2 (notice), information 00h, log page 04h.
const NAMESPACES_CHANGED: u64 = 0x0004_0002;

/// Dword 0: type 2 (notice), information F0h, log page 70h.
const DISCOVERY_CHANGED: u64 = 0x0070_f002;

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(events: &Events) -> Vec<u32> {
        events.changed_namespaces().collect()
    }

    #[test]
    fn four_requests_wait_and_the_fifth_is_refused() {
        let mut events = Events::new(Kind::Io);
        for tag in 0..4 {
            assert_eq!(events.hold(tag), Ok(()));
        }
        assert_eq!(events.hold(4), Err(Status::AER_LIMIT_EXCEEDED.dnr()));
        assert!(events.abort(2) && !events.abort(2));
        assert_eq!(events.hold(4), Ok(()));
        assert_eq!(events.reset(), [0, 1, 3, 4]);
        assert_eq!(events.next(), None);
    }

    #[test]
    fn an_event_waits_for_a_request() {
        let mut events = Events::new(Kind::Io);
        events.namespaces_changed([7]);
        assert_eq!(events.next(), None);
        events.hold(1).unwrap();
        assert_eq!(events.next(), Some((1, Completion::success(0x0004_0002))));
        assert_eq!(events.next(), None);
    }

    #[test]
    fn a_notice_is_masked_until_its_log_is_read() {
        let mut events = Events::new(Kind::Io);
        for tag in 0..4 {
            events.hold(tag).unwrap();
        }
        events.namespaces_changed([3]);
        assert_eq!(events.next().map(|(tag, _)| tag), Some(0));
        events.namespaces_changed([1, 2]);
        assert_eq!(events.next(), None, "masked");
        assert_eq!(changed(&events), [1, 2, 3], "but not lost");
        events.namespaces_read();
        assert_eq!(events.next(), None, "the host has seen them all");
        events.namespaces_changed([9]);
        assert_eq!(events.next().map(|(tag, _)| tag), Some(1));
        assert_eq!(changed(&events), [9]);
    }

    #[test]
    fn a_discovery_change_between_event_and_read_is_not_lost() {
        let mut events = Events::new(Kind::Discovery);
        for tag in 0..4 {
            events.hold(tag).unwrap();
        }
        events.discovery_changed();
        assert_eq!(events.next(), Some((0, Completion::success(0x0070_f002))));
        // The host reads the header, then the log changes, then it reads the entries.
        events.discovery_read(true);
        events.discovery_changed();
        events.discovery_read(false);
        assert_eq!(events.next().map(|(tag, _)| tag), Some(1));
        // Masked; a change before the header is read needs no event of its own.
        events.discovery_changed();
        assert_eq!(events.next(), None);
        events.discovery_read(true);
        assert_eq!(events.next(), None);
    }

    #[test]
    fn too_many_changes_become_one_that_says_so() {
        let mut events = Events::new(Kind::Io);
        events.namespaces_changed(1..=1024);
        assert_eq!(changed(&events).len(), 1024);
        events.namespaces_changed([2000]);
        assert_eq!(changed(&events), [u32::MAX]);
        events.namespaces_changed([2001]);
        assert_eq!(changed(&events), [u32::MAX]);
        events.namespaces_read();
        assert_eq!(changed(&events), [0; 0]);
    }

    #[test]
    fn a_host_that_wants_no_notice_gets_none() {
        let mut events = Events::new(Kind::Io);
        events.hold(0).unwrap();
        events.namespaces_changed([1]);
        events.configure(0);
        events.namespaces_changed([2]);
        assert_eq!(events.next(), None);
        assert_eq!(changed(&events), [1, 2], "the log page tells all the same");
        events.configure(u32::MAX);
        assert_eq!(
            events.configuration(),
            0x11f,
            "what does not exist stays off"
        );
    }
}
