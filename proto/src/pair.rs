//! A host and a controller in memory, and between them a network that cuts bytes as it likes.

use std::time::Duration;

use crate::connect::{CNTLID_DYNAMIC, Connect, Limits};
use crate::handshake::host::{Established, Progress as HostProgress, Wishes};
use crate::handshake::{DigestOffer, Handshake, Offer, Progress, QueueLimits, host};
use crate::host::{Queue as HostQueue, Step as HostStep};
use crate::pdu::{CommonHeader, PduType, flags};
use crate::queue::{ADMIN_IN_CAPSULE, Queue, Step};
use zerocopy::FromBytes;

pub(crate) const OFFER: Offer = Offer {
    header_digest: DigestOffer::Allow,
    data_digest: DigestOffer::Allow,
    maxh2cdata: 128 * 1024,
    limits: Limits {
        max_admin_entries: 4096,
        max_io_entries: 1024,
        sq_flow_control_optional: true,
    },
};

pub(crate) const QUEUE_LIMITS: QueueLimits = QueueLimits {
    in_capsule: ADMIN_IN_CAPSULE,
    max_transfer: 1 << 20,
};

/// What an undemanding host asks for: an admin queue of 32 entries, no digests.
pub(crate) fn wishes() -> Wishes {
    Wishes {
        hpda: 0,
        max_r2ts: 1,
        header_digest: false,
        data_digest: false,
        in_capsule: ADMIN_IN_CAPSULE,
        connect: Connect {
            qid: 0,
            entries: 32,
            sq_flow_control: true,
            kato: Duration::from_secs(120),
            hostid: [7; 16],
            cntlid: CNTLID_DYNAMIC,
            subnqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
            hostnqn: "nqn.2014-08.org.example:host".parse().unwrap(),
        },
    }
}

/// How the network cuts what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Everything that is there, at once.
    Whole,
    /// One byte after the other.
    Bytes,
    /// Anything from a byte to 100,000.
    Random,
    /// Never more than the receiver wants.
    Wanted,
}

/// Small and repeatable: the same seed, the same story.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound.max(1)
    }
}

/// One direction of the network.
#[derive(Debug)]
pub(crate) struct Wire {
    cut: Cut,
    rng: Rng,
    bytes: Vec<u8>,
    carried: usize,
}

impl Wire {
    pub(crate) fn new(cut: Cut, seed: u64) -> Self {
        Self {
            cut,
            rng: Rng::new(seed),
            bytes: Vec::new(),
            carried: 0,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.carried == self.bytes.len()
    }

    /// The next piece for a receiver that wants `wants` bytes.
    pub(crate) fn chunk(&mut self, wants: usize) -> Vec<u8> {
        let most = match self.cut {
            Cut::Whole => usize::MAX,
            Cut::Bytes => 1,
            Cut::Random => {
                let scale = [16, 300, 5_000, 100_000][self.rng.below(4)];
                1 + self.rng.below(scale)
            }
            Cut::Wanted => wants,
        };
        let end = self.bytes.len().min(self.carried.saturating_add(most));
        let chunk = self.bytes[self.carried..end].to_vec();
        self.carried = end;
        if self.is_empty() {
            self.bytes.clear();
            self.carried = 0;
        }
        chunk
    }
}

/// A queue that was connected by a handshake of both halves.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) host: HostQueue,
    pub(crate) controller: Queue,
    up: Wire,
    down: Wire,
}

impl Pair {
    pub(crate) fn connect(wishes: Wishes, offer: Offer, cut: Cut, seed: u64) -> Self {
        let (mut up, mut down) = (Wire::new(cut, seed), Wire::new(cut, seed.rotate_left(9)));
        let mut host = host::Handshake::new(wishes);
        let mut negotiating = Handshake::new(offer);
        let mut controller = loop {
            up.send(&host.outbox().take());
            let chunk = up.chunk(negotiating.wants());
            let mut input = chunk.as_slice();
            match negotiating.next(&mut input).unwrap() {
                Progress::NeedMore => {}
                Progress::Connect(request) => {
                    // The host says nothing more before its Connect is answered.
                    assert!(input.is_empty() && up.is_empty());
                    down.send(&negotiating.outbox().take());
                    break request.accept(5, QUEUE_LIMITS);
                }
                Progress::Refused(reject) => panic!("{reject}"),
                Progress::Terminated { .. } => panic!("the host terminates"),
            }
            down.send(&negotiating.outbox().take());
            let chunk = down.chunk(host.wants());
            let progress = host.next(&mut chunk.as_slice()).unwrap();
            assert!(matches!(progress, HostProgress::NeedMore));
        };
        loop {
            down.send(&controller.outbox().take());
            let chunk = down.chunk(host.wants());
            match host.next(&mut chunk.as_slice()).unwrap() {
                HostProgress::NeedMore => {}
                HostProgress::Established(established) => {
                    assert!(down.is_empty());
                    let Established { queue, cntlid, .. } = *established;
                    assert_eq!(cntlid, 5);
                    return Self {
                        host: queue,
                        controller,
                        up,
                        down,
                    };
                }
                HostProgress::Refused(reject) => panic!("{reject}"),
                HostProgress::Terminated { .. } => panic!("the controller terminates"),
            }
        }
    }

    /// Carries a chunk to the controller, after `meddle` had its way with what the host sends.
    pub(crate) fn carry_up(
        &mut self,
        mut meddle: impl FnMut(&mut [u8]),
        mut serve: impl FnMut(&mut Queue, Step),
    ) {
        let mut sent = self.host.outbox().take();
        meddle(&mut sent);
        self.up.send(&sent);
        let chunk = self.up.chunk(self.controller.wants());
        let mut input = chunk.as_slice();
        while let Some(step) = self.controller.next(&mut input).unwrap() {
            serve(&mut self.controller, step);
        }
        assert!(input.is_empty());
    }

    /// Carries a chunk to the host, after `meddle` had its way with what the controller sends.
    pub(crate) fn carry_down(
        &mut self,
        mut meddle: impl FnMut(&mut [u8]),
        mut note: impl FnMut(HostStep),
    ) {
        let mut sent = self.controller.outbox().take();
        meddle(&mut sent);
        self.down.send(&sent);
        let chunk = self.down.chunk(self.host.wants());
        let mut input = chunk.as_slice();
        while let Some(step) = self.host.next(&mut input).unwrap() {
            note(step);
        }
        assert!(input.is_empty());
    }

    /// Whether nothing is on its way in either direction.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let unsent = self.host.outbox().is_empty() && self.controller.outbox().is_empty();
        unsent && self.up.is_empty() && self.down.is_empty()
    }
}

/// Spoils the data digest of every PDU among `pdus` for which `choose` says so; it is told the
/// command's identifier.
pub(crate) fn spoil_data_digests(pdus: &mut [u8], mut choose: impl FnMut(u16) -> bool) {
    let mut rest = pdus;
    while !rest.is_empty() {
        let (common, _) = CommonHeader::read_from_prefix(rest).unwrap();
        let (pdu, behind) = rest.split_at_mut(common.plen.get() as usize);
        let cid_at = match PduType::from_wire(common.pdu_type) {
            Some(PduType::CapsuleCmd) => 10,
            _ => 8,
        };
        let cid = u16::from_le_bytes([pdu[cid_at], pdu[cid_at + 1]]);
        if common.flags & flags::DATA_DIGEST != 0 && choose(cid) {
            *pdu.last_mut().unwrap() ^= 0x80;
        }
        rest = behind;
    }
}
