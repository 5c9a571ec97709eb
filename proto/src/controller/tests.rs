use std::collections::BTreeMap;

use proptest::prelude::*;
use zerocopy::FromBytes;

use super::discovery::tests::log;
use super::*;
use crate::nvm::Geometry;
use crate::opcode::{self, admin, fabrics};

mod discovery;
mod freebsd_host;

pub(super) fn config(kind: Kind) -> Config {
    Config {
        kind,
        cntlid: 5,
        subnqn: "nqn.2014-08.org.example:vol0".parse().unwrap(),
        serial: "0123456789".into(),
        model: "nvmfd".into(),
        firmware: "0.1.0".into(),
        hostid: [7; 16],
        max_io_entries: 128,
        max_admin_entries: 32,
        max_io_queues: 8,
        max_transfer: 1 << 20,
        in_capsule: 8192,
        kato: Duration::from_secs(120),
    }
}

/// A namespace of 1 MiB in blocks of 512 bytes.
pub(super) fn namespace() -> NamespaceInfo {
    NamespaceInfo {
        geometry: Geometry {
            blocks: 2048,
            block_size: 512,
        },
        nguid: [1; 16],
        eui64: [2; 8],
        uuid: [3; 16],
        volatile_cache: true,
        zeroes_after_deallocate: true,
        can_deallocate: true,
        preferred_bytes: 4096,
        shared: true,
        read_only: false,
    }
}

#[derive(Debug, Default)]
struct Set(BTreeMap<u32, NamespaceInfo>);

impl Namespaces for Set {
    fn get(&self, nsid: u32) -> Option<NamespaceInfo> {
        self.0.get(&nsid).copied()
    }

    fn next_active(&self, after: u32) -> Option<u32> {
        self.0
            .range(after.checked_add(1)?..)
            .next()
            .map(|(&nsid, _)| nsid)
    }

    fn highest(&self) -> u32 {
        1024
    }
}

/// A controller with all that a caller has around it.
pub(super) struct Bench {
    pub(super) controller: Controller,
    namespaces: Set,
    pub(super) errors: ErrorLog,
    pub(super) io: IoStatistics,
    pub(super) discovery: DiscoveryLog,
    pub(super) now: Instant,
}

impl Bench {
    /// A controller that is enabled; namespaces 1 and 3 if it is one for I/O.
    pub(super) fn new(kind: Kind) -> Self {
        let mut bench = Self::disabled(kind);
        assert_eq!(bench.write_cc(ENABLE), Ok(Some(Effect::Enabled)));
        bench
    }

    /// As [`Self::new`], with another KATO of Connect.
    fn with_kato(kind: Kind, kato: Duration) -> Self {
        let mut bench = Self::disabled(kind);
        let config = Config {
            kato,
            ..config(kind)
        };
        bench.controller = Controller::new(config, bench.now);
        assert_eq!(bench.write_cc(ENABLE), Ok(Some(Effect::Enabled)));
        bench
    }

    fn disabled(kind: Kind) -> Self {
        let now = Instant::now();
        let mut namespaces = Set::default();
        if kind == Kind::Io {
            namespaces.0.extend([(1, namespace()), (3, namespace())]);
        }
        Self {
            controller: Controller::new(config(kind), now),
            namespaces,
            errors: ErrorLog::new(),
            io: IoStatistics::default(),
            discovery: log(3),
            now,
        }
    }

    pub(super) fn set_namespaces(
        &mut self,
        namespaces: impl IntoIterator<Item = (u32, NamespaceInfo)>,
    ) {
        self.namespaces.0 = namespaces.into_iter().collect();
    }

    pub(super) fn write_cc(&mut self, value: u32) -> Result<Option<Effect>, Status> {
        let mut sqe = Sqe::fabrics(fabrics::PROPERTY_SET, 1);
        sqe.cdw11 = 0x14.into();
        sqe.cdw12 = value.into();
        self.controller.property_set(&sqe, self.now)
    }

    /// Parses and executes; data must be what was announced.
    pub(super) fn run(&mut self, sqe: &Sqe) -> Outcome {
        let command = match self.controller.parse(sqe) {
            Ok(command) => command,
            Err(status) => return Outcome::Done(status.into()),
        };
        let env = Environment {
            namespaces: &self.namespaces,
            errors: &self.errors,
            io: self.io,
            discovery: &self.discovery,
        };
        let tag = u32::from(sqe.cid.get());
        let outcome = self.controller.execute(tag, &command, &env, self.now);
        match (&outcome, command.data()) {
            (Outcome::Data(data), Data::ToHost(length)) => assert_eq!(data.len(), length as usize),
            (Outcome::Data(_), data) => panic!("{data:?} was announced"),
            (Outcome::Done(completion), Data::ToHost(_)) => {
                assert!(!completion.status.is_success(), "data was announced");
            }
            _ => {}
        }
        outcome
    }

    pub(super) fn data(&mut self, sqe: &Sqe) -> Vec<u8> {
        let outcome = self.run(sqe);
        let Outcome::Data(data) = outcome else {
            panic!("{outcome:?}")
        };
        data
    }

    pub(super) fn completion(&mut self, sqe: &Sqe) -> Completion {
        let outcome = self.run(sqe);
        let Outcome::Done(completion) = outcome else {
            panic!("{outcome:?}")
        };
        completion
    }

    pub(super) fn status(&mut self, sqe: &Sqe) -> Status {
        self.completion(sqe).status
    }

    /// Whether it succeeds, with or without data.
    pub(super) fn succeeds(&mut self, sqe: &Sqe) -> bool {
        let outcome = self.run(sqe);
        matches!(&outcome, Outcome::Data(_))
            || matches!(&outcome, Outcome::Done(completion) if completion.status.is_success())
    }
}

pub(super) const ENABLE: u32 = 0x0046_0001;

fn async_event_request(cid: u16) -> Sqe {
    Sqe::new(admin::ASYNC_EVENT_REQUEST, cid)
}

/// Get Log Page of `length` bytes, the event retained or not.
pub(super) fn log_sqe(lid: u8, offset: u64, length: u64, retain: bool) -> Sqe {
    let numd = u32::try_from(length / 4 - 1).unwrap();
    let mut sqe = Sqe::new(admin::GET_LOG_PAGE, 1);
    sqe.nsid = BROADCAST_NSID.into();
    sqe.cdw10 = (u32::from(lid) | u32::from(retain) << 15 | numd << 16).into();
    sqe.cdw11 = (numd >> 16).into();
    sqe.cdw12 = u32::try_from(offset & 0xffff_ffff).unwrap().into();
    sqe.cdw13 = u32::try_from(offset >> 32).unwrap().into();
    sqe
}

#[test]
fn a_disabled_controller_takes_only_fabrics_commands() {
    let mut bench = Bench::disabled(Kind::Io);
    let keep_alive = Sqe::new(admin::KEEP_ALIVE, 1);
    assert_eq!(
        bench.status(&keep_alive),
        Status::COMMAND_SEQUENCE_ERROR.dnr()
    );
    bench.write_cc(ENABLE).unwrap();
    assert_eq!(bench.status(&keep_alive), Status::SUCCESS);
    bench.write_cc(ENABLE | 1 << 14).unwrap();
    assert_eq!(
        bench.status(&keep_alive),
        Status::COMMAND_SEQUENCE_ERROR.dnr()
    );
}

#[test]
fn fused_admin_commands_are_refused() {
    let mut bench = Bench::new(Kind::Io);
    for fuse in 1..4 {
        let mut sqe = Sqe::new(admin::KEEP_ALIVE, 1);
        sqe.flags |= fuse;
        assert_eq!(bench.status(&sqe), Status::INVALID_FIELD.dnr());
    }
}

#[test]
fn abort_is_for_the_caller_to_carry_out() {
    let mut bench = Bench::new(Kind::Io);
    let mut sqe = Sqe::new(admin::ABORT, 1);
    sqe.cdw10 = 0x1234_0002.into();
    assert_eq!(
        bench.run(&sqe),
        Outcome::Abort {
            sqid: 2,
            cid: 0x1234
        }
    );
}

#[test]
fn an_event_request_is_answered_when_a_namespace_changes() {
    let mut bench = Bench::new(Kind::Io);
    for cid in 10..14 {
        assert_eq!(bench.run(&async_event_request(cid)), Outcome::Held);
    }
    assert_eq!(
        bench.status(&async_event_request(14)),
        Status::AER_LIMIT_EXCEEDED.dnr()
    );
    assert!(bench.controller.abort_event_request(10));
    assert_eq!(bench.controller.next_event(), None);
    bench.controller.namespaces_changed([3]);
    assert_eq!(
        bench.controller.next_event(),
        Some((11, Completion::success(0x0004_0002)))
    );
    bench.controller.namespaces_changed([1]);
    assert_eq!(bench.controller.next_event(), None, "masked");

    // The host looks twice, in pieces; only the last read clears.
    assert_eq!(bench.data(&log_sqe(4, 0, 4, true)), [1, 0, 0, 0]);
    assert_eq!(
        bench.data(&log_sqe(4, 4, 8, true)),
        [3, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(bench.controller.next_event(), None);
    assert_eq!(
        bench.data(&log_sqe(4, 0, 4096, false))[..8],
        [1, 0, 0, 0, 3, 0, 0, 0]
    );
    assert_eq!(bench.data(&log_sqe(4, 0, 4096, false))[..8], [0; 8]);
    bench.controller.namespaces_changed([1]);
    assert_eq!(bench.controller.next_event().map(|(tag, _)| tag), Some(12));
}

#[test]
fn a_reset_forgets_what_the_host_had_set_up() {
    let mut bench = Bench::new(Kind::Io);
    bench.run(&async_event_request(1));
    bench.run(&async_event_request(2));
    bench.controller.namespaces_changed([1]);
    bench.controller.io_queue_created();
    assert_eq!(
        bench.write_cc(ENABLE & !1),
        Ok(Some(Effect::Reset {
            forgotten: vec![1, 2]
        }))
    );
    assert_eq!(bench.controller.next_event(), None);
    assert!(!bench.controller.is_ready());
    assert_eq!(bench.write_cc(ENABLE), Ok(Some(Effect::Enabled)));
    assert_eq!(bench.controller.io_queues_granted(), 8);
    bench.run(&async_event_request(3));
    assert_eq!(
        bench.controller.next_event(),
        None,
        "changes before the reset are moot"
    );
}

#[test]
fn a_host_that_falls_silent_is_given_up() {
    let mut bench = Bench::new(Kind::Io);
    let start = bench.now;
    assert_eq!(
        bench.controller.deadline(),
        Some(start + Duration::from_secs(120))
    );
    bench.now = start + Duration::from_secs(100);
    bench.run(&Sqe::new(admin::KEEP_ALIVE, 1));
    assert!(
        !bench
            .controller
            .expired(start + Duration::from_secs(120), false)
    );
    assert!(
        !bench
            .controller
            .expired(start + Duration::from_secs(220), true),
        "I/O elsewhere"
    );
    assert!(
        bench
            .controller
            .expired(start + Duration::from_secs(340), false)
    );
    assert!(!bench.controller.is_ready());
    let mut csts = Sqe::fabrics(fabrics::PROPERTY_GET, 1);
    csts.cdw11 = 0x1c.into();
    assert_eq!(
        bench.controller.property_get(&csts),
        Ok(0b11),
        "RDY and CFS"
    );
}

#[test]
fn keep_alive_stops_when_shutdown_starts() {
    let mut bench = Bench::new(Kind::Io);
    let mut kato = Sqe::new(admin::SET_FEATURES, 1);
    kato.cdw10 = 0x0f.into();
    kato.cdw11 = 5000.into();
    assert_eq!(bench.status(&kato), Status::SUCCESS);
    assert_eq!(
        bench.controller.deadline(),
        Some(bench.now + Duration::from_secs(5))
    );
    assert_eq!(bench.write_cc(ENABLE | 1 << 14), Ok(Some(Effect::Shutdown)));
    assert_eq!(
        bench.controller.deadline(),
        Some(bench.now + Duration::from_secs(120))
    );
    bench.controller.shutdown_complete();
    let mut csts = Sqe::fabrics(fabrics::PROPERTY_GET, 1);
    csts.cdw11 = 0x1c.into();
    assert_eq!(bench.controller.property_get(&csts), Ok(0b1001));
}

fn any_sqe() -> impl Strategy<Value = Sqe> {
    let opcodes = [
        admin::GET_LOG_PAGE,
        admin::IDENTIFY,
        admin::ABORT,
        admin::SET_FEATURES,
        admin::GET_FEATURES,
        admin::ASYNC_EVENT_REQUEST,
        admin::KEEP_ALIVE,
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 64);
    // Mostly known commands with small numbers, so that more than the first check is met.
    (bytes, 0_usize..10, any::<bool>()).prop_map(move |(bytes, opcode, small)| {
        let mut sqe = Sqe::read_from_bytes(&bytes).unwrap();
        if let Some(&known) = opcodes.get(opcode) {
            sqe.opcode = known;
            sqe.flags &= !0b11;
        }
        if small {
            sqe.cdw10 = (sqe.cdw10.get() & 0x00ff_001f).into();
            sqe.cdw11 = (sqe.cdw11.get() & 0x0f).into();
            sqe.cdw12 = (sqe.cdw12.get() & 0x0fff).into();
            sqe.cdw13 = 0.into();
            sqe.cdw14 = 0.into();
            sqe.nsid = (sqe.nsid.get() & 3).into();
        }
        sqe
    })
}

proptest! {
    #[test]
    fn garbage_never_panics_and_always_ends(
        commands in proptest::collection::vec((any_sqe(), any::<bool>()), 1..40),
        discovery in any::<bool>(),
    ) {
        let kind = if discovery { Kind::Discovery } else { Kind::Io };
        let mut bench = Bench::new(kind);
        let mut held = 0;
        for (sqe, as_property) in commands {
            if as_property {
                let mut property = sqe;
                property.opcode = opcode::FABRICS;
                let _ = bench.controller.property_get(&property);
                if let Ok(Some(Effect::Reset { forgotten })) =
                    bench.controller.property_set(&property, bench.now)
                {
                    prop_assert_eq!(forgotten.len(), held);
                    held = 0;
                }
                continue;
            }
            bench.now += Duration::from_millis(1);
            if bench.run(&sqe) == Outcome::Held {
                held += 1;
                prop_assert!(held <= 4);
            }
            bench.controller.namespaces_changed([sqe.nsid.get()]);
            while bench.controller.next_event().is_some() {
                held -= 1;
            }
        }
    }

    #[test]
    fn no_value_of_cc_breaks_the_machine(values in proptest::collection::vec(any::<u32>(), 1..50)) {
        let mut bench = Bench::disabled(Kind::Io);
        for value in values {
            // The fields that matter most often have sensible values.
            let value = value & 0x0046_c001;
            let _ = bench.write_cc(value);
            bench.controller.shutdown_complete();
            bench.write_cc(0).unwrap();
            prop_assert_eq!(bench.write_cc(ENABLE), Ok(Some(Effect::Enabled)));
            prop_assert!(bench.controller.is_ready());
            bench.write_cc(ENABLE & !1).unwrap();
        }
    }
}
