//! A controller, of discovery or of I/O: admin commands and property accesses, of any bytes, while what is
//! served changes and time passes.
//!
//! Data is as long as was announced, a log's parts are parts of its whole, an event request ends once or is
//! forgotten, and no notice comes twice for one reading.

#![no_main]
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvmf_proto::controller::discovery::{
    DiscoveryEntry, DiscoveryLog, DiscoveryScope, EntryFormat, Family, Subtype,
};
use nvmf_proto::controller::{
    AdminCommand, Config, Controller, Effect, Environment, ErrorLog, IoStatistics, Kind,
    NamespaceInfo, Namespaces, Outcome,
};
use nvmf_proto::nvm::Geometry;
use nvmf_proto::sqe::{Data, Sqe};
use zerocopy::FromBytes;

#[derive(Debug, Arbitrary)]
struct Story {
    discovery: bool,
    kato: u16,
    events: Vec<Event>,
}

#[derive(Debug, Arbitrary)]
enum Event {
    /// An admin command, of any bytes.
    Admin([u8; 64]),
    /// One that may make sense: opcode, NSID, dwords 10 to 14.
    Sensible {
        opcode: u8,
        nsid: u8,
        dwords: [u32; 5],
    },
    /// A property is written: offset, value.
    Property([u8; 64]),
    /// CC is written.
    Enable(u32),
    /// So many milliseconds pass.
    Later(u16),
    /// Namespaces change.
    Namespaces(Vec<u8>),
    /// The discovery log is another.
    Log { entries: u8, label: u16 },
    /// An event request is aborted.
    AbortRequest(u32),
}

#[derive(Default)]
struct Set(BTreeMap<u32, NamespaceInfo>);

impl Namespaces for Set {
    fn get(&self, nsid: u32) -> Option<NamespaceInfo> {
        self.0.get(&nsid).copied()
    }

    fn next_active(&self, after: u32) -> Option<u32> {
        let mut above = self.0.range(after.checked_add(1)?..);
        above.next().map(|(&nsid, _)| nsid)
    }

    fn highest(&self) -> u32 {
        1024
    }
}

fn namespace() -> NamespaceInfo {
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

fn entry(at: u16, label: u16) -> DiscoveryEntry {
    DiscoveryEntry {
        subtype: match at % 3 {
            0 => Subtype::Nvm,
            1 => Subtype::Referral,
            _ => Subtype::CurrentDiscovery,
        },
        family: Family::V4,
        traddr: "192.0.2.1".into(),
        trsvcid: at.to_string(),
        subnqn: "nqn.2014-08.org.example:vol0".parse().expect("a name"),
        portid: at,
        asqsz: 32,
        treq: 0,
        eflags: 0,
        sectype: 0,
        label: (label != 0).then(|| "x".repeat(usize::from(label.wrapping_add(at)) % 600)),
    }
}

struct World {
    kind: Kind,
    controller: Controller,
    namespaces: Set,
    errors: ErrorLog,
    log: DiscoveryLog,
    now: Instant,
    tag: u32,
    held: BTreeSet<u32>,
}

impl World {
    fn new(story: &Story) -> Self {
        let kind = if story.discovery {
            Kind::Discovery
        } else {
            Kind::Io
        };
        let now = Instant::now();
        let config = Config {
            kind,
            cntlid: 5,
            subnqn: "nqn.2014-08.org.example:vol0".parse().expect("a name"),
            serial: "0123456789".into(),
            model: "nvmfd".into(),
            firmware: "0.1.0".into(),
            hostid: [7; 16],
            max_io_entries: 128,
            max_admin_entries: 32,
            max_io_queues: 8,
            max_transfer: 1 << 16,
            in_capsule: 8192,
            kato: Duration::from_millis(story.kato.into()),
        };
        Self {
            kind,
            controller: Controller::new(config, now),
            namespaces: Set::default(),
            errors: ErrorLog::new(),
            log: DiscoveryLog::default(),
            now,
            tag: 0,
            held: BTreeSet::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Admin(bytes) => self.admin(&bytes),
            Event::Sensible {
                opcode,
                nsid,
                dwords,
            } => {
                let mut bytes = [0; 64];
                bytes[0] = [0x02, 0x06, 0x09, 0x0a, 0x0c, 0x18, 0x08][usize::from(opcode) % 7];
                bytes[1] = 0x40;
                bytes[4] = nsid;
                for (at, dword) in dwords.iter().enumerate() {
                    bytes[40 + 4 * at..44 + 4 * at].copy_from_slice(&dword.to_le_bytes());
                }
                self.admin(&bytes);
            }
            Event::Property(bytes) => {
                let sqe = Sqe::read_from_bytes(&bytes).expect("64 bytes");
                let _ = self.controller.property_get(&sqe);
                self.property(&sqe);
            }
            Event::Enable(value) => {
                let mut bytes = [0; 64];
                bytes[44] = 0x14;
                bytes[48..52].copy_from_slice(&value.to_le_bytes());
                self.property(&Sqe::read_from_bytes(&bytes).expect("64 bytes"));
            }
            Event::Later(milliseconds) => {
                self.now += Duration::from_millis(milliseconds.into());
                let due = self.controller.deadline().is_some_and(|it| it <= self.now);
                let expired = self.controller.expired(self.now, false);
                assert_eq!(expired, due, "its deadline says when to look");
            }
            Event::Namespaces(nsids) => {
                let nsids: Vec<u32> = nsids
                    .into_iter()
                    .map(u32::from)
                    .filter(|&it| it > 0)
                    .collect();
                if self.kind == Kind::Io {
                    self.namespaces.0 = nsids.iter().map(|&nsid| (nsid, namespace())).collect();
                    self.controller.namespaces_changed(nsids);
                }
            }
            Event::Log { entries, label } => {
                self.log.generation += 1;
                self.log.entries = (0..entries % 20)
                    .map(|at| entry(at.into(), label))
                    .collect();
                if self.kind == Kind::Discovery {
                    self.controller.discovery_changed();
                }
            }
            Event::AbortRequest(tag) => {
                let tag = tag % self.tag.max(1);
                let aborted = self.controller.abort_event_request(tag);
                assert_eq!(aborted, self.held.remove(&tag));
            }
        }
        self.notices();
    }

    fn notices(&mut self) {
        let mut sent = 0;
        while let Some((tag, completion)) = self.controller.next_event() {
            assert!(self.held.remove(&tag), "a request that does not wait");
            assert!(completion.status.is_success());
            sent += 1;
        }
        assert!(sent <= 2, "one of each kind at the most");
    }

    fn property(&mut self, sqe: &Sqe) {
        match self.controller.property_set(sqe, self.now) {
            Ok(Some(Effect::Reset { forgotten })) => {
                let forgotten: BTreeSet<u32> = forgotten.into_iter().collect();
                assert_eq!(std::mem::take(&mut self.held), forgotten);
                assert!(!self.controller.is_ready());
            }
            Ok(Some(Effect::Enabled)) => assert!(self.controller.is_ready()),
            Ok(Some(Effect::Shutdown)) => {
                self.controller.shutdown_complete();
                assert!(!self.controller.is_ready());
            }
            Ok(None) | Err(_) => {}
        }
    }

    fn admin(&mut self, bytes: &[u8; 64]) {
        let sqe = Sqe::read_from_bytes(bytes).expect("64 bytes");
        let command = match self.controller.parse(&sqe) {
            Ok(command) => command,
            Err(status) => {
                assert!(!status.is_success());
                return self.errors.record(0, sqe.cid.get(), status, Some(&sqe));
            }
        };
        self.log.scope = match command {
            AdminCommand::GetLogPage(read) => read.scope,
            _ => DiscoveryScope::default(),
        };
        let data = command.data();
        let env = Environment {
            namespaces: &self.namespaces,
            errors: &self.errors,
            io: IoStatistics::default(),
            discovery: &self.log,
        };
        self.tag += 1;
        match self.controller.execute(self.tag, &command, &env, self.now) {
            Outcome::Data(bytes) => {
                assert_eq!(data, Data::ToHost(u32::try_from(bytes.len()).unwrap()));
                self.is_part_of_the_log(&command, &bytes);
            }
            Outcome::Held => {
                assert!(self.held.insert(self.tag));
                assert!(self.held.len() <= 4, "AERL is 3");
            }
            Outcome::Done(_) | Outcome::Abort { .. } => {}
        }
    }

    fn is_part_of_the_log(&self, command: &AdminCommand, part: &[u8]) {
        let AdminCommand::GetLogPage(read) = command else {
            return;
        };
        if read.page != nvmf_proto::controller::log_page::LogPage::Discovery {
            return;
        }
        let format = match read.extended {
            true => EntryFormat::Extended,
            false => EntryFormat::Basic,
        };
        let size = u32::try_from(self.log.size(format)).unwrap();
        let whole = self
            .log
            .read(format, 0, size)
            .expect("the log has a beginning");
        let rest = &whole[usize::try_from(read.offset).unwrap()..];
        let (here, beyond) = part.split_at(part.len().min(rest.len()));
        assert_eq!(here, &rest[..here.len()]);
        assert!(beyond.iter().all(|&byte| byte == 0));
    }
}

fuzz_target!(|story: Story| {
    let mut world = World::new(&story);
    for event in story.events {
        world.happens(event);
    }
});
