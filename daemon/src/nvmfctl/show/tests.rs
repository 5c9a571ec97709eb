//! Answers and their texts, to the letter.

#![forbid(unsafe_code)]

use super::*;
use crate::confinement::Confinement;
use crate::control::message::{Discovery, Failing, Namespace, Refusal, Step, Traffic, Worker};
use crate::engine::fault::Operation;
use crate::os::Fence;
use crate::worker::limits::Limit;

const NOW: u64 = 1_795_881_295;
const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:0c9a6ac5-3a5e-4bb0-8d36-5c83c65a3a4f";

fn a_status() -> Status {
    Status {
        release: "0.1.0".into(),
        pid: 812,
        started: NOW - 273_600,
        config: Some("/usr/local/etc/nvmfd.toml".into()),
        loaded: NOW - 60,
        reload_failed: None,
        worker: Worker {
            pid: Some(813),
            started: NOW - 125,
            restarts: 1,
            confinement: Confinement {
                fences: vec![Fence::SystemCallFilter, Fence::Landlock],
                lacks: Vec::new(),
                user: Some("nobody".into()),
            },
        },
        announcer: None,
        draining: false,
        log: "info".into(),
        refused: 12,
        negotiating: 2,
        limits: vec![
            LimitUse {
                limit: Limit::ConnectionsPerAddress,
                used: Some(17),
                most: 65_536,
                met: 0,
            },
            LimitUse {
                limit: Limit::Descriptors,
                used: None,
                most: 1_048_576,
                met: 3,
            },
        ],
        stalled: 1,
        memory: Level {
            held: 3 << 20,
            most: 1 << 30,
            met: 4,
            waiting: 0,
        },
        portals: vec![
            Portal {
                name: "front".into(),
                io: true,
                address: "[2001:db8::1]:4420".parse().unwrap(),
                portid: 1,
                header_digest: "allow".into(),
                data_digest: "require".into(),
                discovery_nqn: "nqn.2014-08.org.example:front".into(),
            },
            Portal {
                name: "discovery".into(),
                io: false,
                address: "0.0.0.0:8009".parse().unwrap(),
                portid: 10,
                header_digest: "off".into(),
                data_digest: "off".into(),
                discovery_nqn: "nqn.2014-08.org.example:disc".into(),
            },
        ],
        discovery: Discovery {
            nqn: "nqn.2014-08.org.example:disc".into(),
            show: Show::All,
            label: Some("rack 7".into()),
            referrals: vec![
                Referral {
                    address: "192.0.2.7:8009".parse().unwrap(),
                    nqn: DISCOVERY_NQN.into(),
                    hosts: None,
                    label: Some("rack 8".into()),
                },
                Referral {
                    address: "[2001:db8::7]:8009".parse().unwrap(),
                    nqn: "nqn.2014-08.org.example:far".into(),
                    hosts: Some(vec![HOST.into()]),
                    label: None,
                },
            ],
        },
        subsystems: vec![
            Subsystem {
                nqn: "nqn.2014-08.org.example:vol0".into(),
                mode: Mode::Kernel,
                serial: "5A1ED002AB5F".into(),
                label: Some("database volumes".into()),
                portals: vec!["front".into(), "back".into()],
                hosts: Some(vec![HOST.into(), "nqn.2014-08.org.example:b".into()]),
                namespaces: vec![
                    Namespace {
                        nsid: 1,
                        device: "/dev/zvol/tank/vol0".into(),
                        bytes: Some(1 << 40),
                        block_size: Some(4096),
                        uuid: Some("0c9a6ac5-3a5e-4bb0-8d36-5c83c65a3a4f".into()),
                        read_only: false,
                        failing: Vec::new(),
                    },
                    Namespace {
                        nsid: 20,
                        device: "lun:3".into(),
                        bytes: None,
                        block_size: None,
                        uuid: None,
                        read_only: true,
                        failing: Vec::new(),
                    },
                ],
                sessions: 1,
                traffic: Some(Traffic {
                    reads: 7,
                    writes: 12,
                    bytes_read: 3 << 30,
                    bytes_written: 512,
                }),
            },
            Subsystem {
                nqn: "nqn.2014-08.org.example:empty".into(),
                mode: Mode::User,
                serial: "X".into(),
                label: None,
                portals: vec![],
                hosts: None,
                namespaces: vec![],
                sessions: 0,
                traffic: None,
            },
        ],
    }
}

fn session(subsystem: &str, cntlid: u16, mode: Mode) -> Session {
    Session::named(mode, subsystem, cntlid, "nqn.2014-08.org.example:host1")
}

#[test]
fn a_status_tells_everything() {
    let expected = "\
nvmfd 0.1.0, process 812, for 3d 4h, since 2026-11-25 11:54:55Z
configuration: /usr/local/etc/nvmfd.toml, read 2026-11-28 15:53:55Z
worker: process 813, for 2m 5s, restarted 1 time
  confined by a system call filter and Landlock, as nobody
connections: 2 in negotiation, 12 refused
memory: 3 MiB of 1 GiB held for hosts; limit met 4 times, 1 queue closed that did not move
log: info

LIMIT                    USED       OF  MET
connections-per-address    17    65536    0
descriptors                 -  1048576    3

PORTAL     ADDRESS             SERVES      PORTID  HEADER DIGEST  DATA DIGEST
front      [2001:db8::1]:4420  subsystems       1  allow          require
discovery  0.0.0.0:8009        discovery       10  off            off

discovery
  by the name nqn.2014-08.org.example:disc
  on portal front by the name nqn.2014-08.org.example:front
  label: rack 7
  hosts are shown all portals
  REFERRAL            NQN                                   LABEL   HOSTS
  192.0.2.7:8009      nqn.2014-08.org.nvmexpress.discovery  rack 8  any
  [2001:db8::7]:8009  nqn.2014-08.org.example:far           -       nqn.2014-08.org.nvmexpress:uuid:0c9a6ac5-3a5e-4bb0-8d36-5c83c65a3a4f

nqn.2014-08.org.example:vol0
  kernel mode, 1 session, serial number 5A1ED002AB5F, portals: front, back
  label: database volumes
  3 GiB read, 512 B written, in 7 and 12 commands
  hosts that may use it:
    nqn.2014-08.org.nvmexpress:uuid:0c9a6ac5-3a5e-4bb0-8d36-5c83c65a3a4f
    nqn.2014-08.org.example:b
  NSID   SIZE  BLOCK  ACCESS       UUID                                  DEVICE
     1  1 TiB   4096  read, write  0c9a6ac5-3a5e-4bb0-8d36-5c83c65a3a4f  /dev/zvol/tank/vol0
    20      -      -  read         -                                     lun:3

nqn.2014-08.org.example:empty
  user mode, 0 sessions, serial number X, portals: none
  any host may use it
  no namespaces
";
    assert_eq!(status(&a_status(), NOW, Paint::Plain), expected);
}

#[test]
fn a_status_tells_of_trouble() {
    let troubled = Status {
        config: None,
        reload_failed: Some("nvmfd.toml:3:1: error: no\nnvmfd.toml: 1 error\n".into()),
        worker: Worker {
            pid: None,
            started: NOW,
            restarts: 7,
            confinement: Confinement::default(),
        },
        draining: true,
        portals: vec![],
        discovery: Discovery {
            nqn: DISCOVERY_NQN.into(),
            show: Show::Reachable,
            label: None,
            referrals: vec![],
        },
        subsystems: vec![],
        ..a_status()
    };
    let expected = "\
nvmfd 0.1.0, process 812, for 3d 4h, since 2026-11-25 11:54:55Z
configuration: none, all is from the command line
the last reload failed: nvmfd.toml:3:1: error: no
nvmfd.toml: 1 error
worker: none, the next one is about to start, restarted 7 times
draining: new controllers are refused until nvmfctl drain --end
connections: 2 in negotiation, 12 refused
memory: 3 MiB of 1 GiB held for hosts; limit met 4 times, 1 queue closed that did not move
log: info

LIMIT                    USED       OF  MET
connections-per-address    17    65536    0
descriptors                 -  1048576    3
";
    assert_eq!(status(&troubled, NOW, Paint::Plain), expected);
    let painted = status(&troubled, NOW, Paint::Colours);
    assert!(painted.contains("\x1b["), "{painted}");
}

#[test]
fn storage_that_fails_is_told_below_the_namespaces() {
    let mut troubled = a_status();
    let namespace = &mut troubled.subsystems[0].namespaces[0];
    namespace.failing = vec![Failing {
        operation: Operation::Write,
        commands: 1234,
        age: 273_600,
        error: "No space left on device (os error 28)".into(),
    }];
    let text = status(&troubled, NOW, Paint::Plain);
    let line = format!(
        "\n  writes of namespace {} fail, 1234 commands in 3d 4h: \
         No space left on device (os error 28)\n",
        troubled.subsystems[0].namespaces[0].nsid
    );
    assert!(text.contains(&line), "{text}");
}

#[test]
fn a_worker_that_is_not_confined_is_conspicuous() {
    let with = |fences: &[Fence], lacks: &[&str]| {
        let confinement = Confinement {
            fences: fences.to_vec(),
            lacks: lacks.iter().map(|&it| it.into()).collect(),
            user: None,
        };
        confinement_of(&confinement, Paint::Plain)
    };
    let lacks = ["Landlock: this kernel has none"];
    assert_eq!(
        with(&[Fence::SystemCallFilter], &lacks),
        "  confined by a system call filter; it lacks Landlock: this kernel has none"
    );
    assert_eq!(with(&[], &[]), "  NOT CONFINED");
    assert_eq!(
        with(&[Fence::Landlock], &["a system call filter: no\x1b[2J"]),
        "  NOT CONFINED; it lacks a system call filter: no\\u{1b}[2J"
    );
}

#[test]
fn sessions_stand_by_subsystem_and_what_is_unknown_is_a_dash() {
    let busy = Session {
        peer: "192.0.2.7:50000".parse().ok(),
        local: "192.0.2.1:4420".parse().ok(),
        io_queues: Some(16),
        header_digest: Some(true),
        data_digest: Some(false),
        kato: Some(5000),
        age: Some(3723),
        idle: Some(0),
        traffic: Some(Traffic {
            reads: 1_000_000,
            writes: 3,
            bytes_read: 4096 * 1_000_000,
            bytes_written: 12288,
        }),
        ..session("nqn.2014-08.org.example:b", 300, Mode::User)
    };
    let discovery = Session {
        hostnqn: "a\x1b[2J".into(),
        kato: Some(0),
        header_digest: Some(false),
        data_digest: Some(false),
        ..session("nqn.2014-08.org.nvmexpress.discovery", 2, Mode::Discovery)
    };
    let answer = Sessions {
        sessions: vec![
            discovery,
            busy,
            session("nqn.2014-08.org.example:a", 1, Mode::Kernel),
            session("nqn.2014-08.org.example:b", 4, Mode::User),
        ],
        missing: None,
    };
    let expected = "\
nqn.2014-08.org.example:a (kernel mode): 1 session
  CNTLID  PEER  LOCAL  QUEUES  DIGESTS  KATO  AGE  IDLE  READS  READ  WRITES  WRITTEN  HOST
       1  -     -           -  -           -    -     -      -     -       -        -  nqn.2014-08.org.example:host1

nqn.2014-08.org.example:b (user mode): 2 sessions
  CNTLID  PEER             LOCAL           QUEUES  DIGESTS  KATO    AGE  IDLE    READS     READ  WRITES  WRITTEN  HOST
       4  -                -                    -  -           -      -     -        -        -       -        -  nqn.2014-08.org.example:host1
     300  192.0.2.7:50000  192.0.2.1:4420      16  header     5s  1h 2m    0s  1000000  3.8 GiB       3   12 KiB  nqn.2014-08.org.example:host1

nqn.2014-08.org.nvmexpress.discovery (discovery mode): 1 session
  CNTLID  PEER  LOCAL  QUEUES  DIGESTS  KATO  AGE  IDLE  READS  READ  WRITES  WRITTEN  HOST
       2  -     -           -  none     none    -     -      -     -       -        -  a\\u{1b}[2J
";
    assert_eq!(sessions(&answer, Paint::Plain), expected);
}

#[test]
fn no_sessions_and_unknown_sessions_are_not_the_same() {
    let none = Sessions::default();
    assert_eq!(sessions(&none, Paint::Plain), "no sessions\n");
    let unknown = Sessions {
        missing: Some("the kernel did not answer".into()),
        ..none
    };
    assert_eq!(
        sessions(&unknown, Paint::Plain),
        "not all sessions are known: the kernel did not answer\n"
    );
}

fn two_refusals() -> Refusals {
    let early = Refusal {
        time: NOW - 60,
        peer: "[2001:db8::2]:1".parse().unwrap(),
        hostnqn: None,
        subsystem: None,
        qid: None,
        reason: "no whole Connect within 10 seconds".into(),
    };
    let late = Refusal {
        time: NOW,
        peer: "192.0.2.9:50001".parse().unwrap(),
        hostnqn: Some("nqn.2014-08.org.example:evil".into()),
        subsystem: Some("nqn.2014-08.org.example:vol0".into()),
        qid: Some(0),
        reason: "the host is not on the subsystem's list".into(),
    };
    Refusals {
        total: 17,
        last: vec![early, late],
    }
}

#[test]
fn refusals_say_why() {
    let expected = "\
TIME                  PEER             QUEUE  HOST                          SUBSYSTEM                     REASON
2026-11-28 15:53:55Z  [2001:db8::2]:1      -  -                             -                             no whole Connect within 10 seconds
2026-11-28 15:54:55Z  192.0.2.9:50001      0  nqn.2014-08.org.example:evil  nqn.2014-08.org.example:vol0  the host is not on the subsystem's list
17 connections refused since the worker started
";
    assert_eq!(refusals(&two_refusals(), None, Paint::Plain), expected);
    assert_eq!(refusals(&two_refusals(), Some(9), Paint::Plain), expected);
    let one = refusals(&two_refusals(), Some(1), Paint::Plain);
    assert!(one.contains("evil") && !one.contains("2001:db8"), "{one}");
    assert_eq!(
        refusals(&Refusals::default(), None, Paint::Plain),
        "0 connections refused since the worker started\n"
    );
}

#[test]
fn a_plan_says_what_hosts_notice() {
    let step = |what: &str, effect| Step {
        what: what.into(),
        effect,
    };
    let a_plan = Plan {
        steps: vec![
            step("listen on 192.0.2.1:4420", Effect::Nothing),
            step("add host b to vol0", Effect::NewConnections),
            step("add namespace 2 to vol0", Effect::Notice),
            step("remove host a from vol0", Effect::Disconnects),
            step("use 4 threads", Effect::NextStart),
        ],
        warnings: vec![],
    };
    let expected = "\
STEP  HOSTS                WHAT
   1  notice nothing       listen on 192.0.2.1:4420
   2  that connect later   add host b to vol0
   3  are told, and go on  add namespace 2 to vol0
   4  lose connections     remove host a from vol0
   5  at the next start    use 4 threads
";
    assert_eq!(plan(&a_plan, "", Paint::Plain), expected);
    let none = Plan::default();
    assert_eq!(
        plan(&none, "nothing would change", Paint::Plain),
        "nothing would change\n"
    );
}
