//! What good files mean.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use nvmf_kmod::request::LunId;
use nvmf_proto::nqn::Nqn;
use nvmfd::cli::Listen;
use nvmfd::config::Config;
use nvmfd::config::model::{
    Access, Announce, Confine, Destination, Digest, Discovery, Disk, Hosts, Ids, KernelLun, Limits,
    Log, Medium, Namespaces, Portal, Referral, Sandbox, Show, SqFlowControl, Subsystem,
};
use nvmfd::engine::backend::ram::RamSize;
use tracing::level_filters::LevelFilter;

use super::{clean, corpus, read};

fn good(name: &str) -> Config {
    let name = format!("good/{name}.toml");
    let mut files = corpus("good").into_iter();
    let (_, path) = files.find(|(its, _)| *its == name).expect(&name);
    clean(&read(&path), &name)
}

fn nqn(name: &str) -> Nqn {
    format!("nqn.2014-08.org.example:{name}").parse().unwrap()
}

fn at<const N: usize>(addresses: [&str; N]) -> Listen {
    Listen::At(addresses.map(|address| address.parse().unwrap()).into())
}

fn ram(bytes: u64) -> Medium {
    Medium::Ram(RamSize::from_bytes(bytes).unwrap())
}

fn disk(medium: Medium) -> Disk {
    Disk {
        medium,
        access: Access::ReadWrite,
        ids: Ids::default(),
    }
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

#[test]
fn what_is_left_out_has_its_default() {
    let smallest = Config {
        discovery: Discovery::at(Listen::Everywhere { port: 8009 }),
        portals: vec![Portal {
            name: "front".into(),
            listen: at(["127.0.0.1:4420"]),
            header_digest: Digest::Allow,
            data_digest: Digest::Allow,
            sq_flow_control: SqFlowControl::Required,
            maxh2cdata: 256 << 10,
            discovery_nqn: None,
        }],
        subsystems: vec![Subsystem {
            nqn: nqn("vol0"),
            portals: BTreeSet::from([0]),
            hosts: Hosts::Any,
            terminate_on_revoke: false,
            serial: None,
            label: None,
            namespaces: Namespaces::User(BTreeMap::from([(1, disk(ram(64 << 20)))])),
        }],
        referrals: Vec::new(),
        announce: Announce::default(),
        limits: Limits {
            threads: None,
            negotiation_time: Duration::from_secs(10),
            negotiations: count(2048),
            negotiations_per_address: count(512),
            connections: None,
            connections_per_address: None,
            controllers: count(65_519),
            controllers_per_host: count(1024),
            queues: 1024,
            queue_entries: 1024,
            memory: 1 << 30,
            memory_per_connection: 4 << 20,
            stall_time: Duration::from_secs(60),
        },
        sandbox: Sandbox {
            confine: Confine::Required,
            user: None,
        },
        log: Log {
            level: LevelFilter::INFO,
            destination: None,
            rate: 5,
        },
        metrics: Vec::new(),
    };
    assert_eq!(good("smallest"), smallest);
    assert_eq!(good("defaults"), smallest);
}

#[test]
fn every_key_arrives() {
    let config = good("every-key");
    let discovery = Discovery {
        listen: at(["127.0.0.1:8010", "127.0.0.1:8011"]),
        nqn: Some(nqn("discovery")),
        show: Show::All,
        label: Some("rack 7".into()),
    };
    assert_eq!(config.discovery, discovery);
    let announce = Announce {
        mdns: true,
        register: ["192.0.2.9:8009", "[2001:db8::9]:8010"]
            .map(|address| address.parse().unwrap())
            .into(),
    };
    assert_eq!(config.announce, announce);
    let [front, back] = &config.portals[..] else {
        panic!("{:?}", config.portals);
    };
    let expected = Portal {
        name: "front".into(),
        listen: at(["127.0.0.1:4420", "127.0.0.1:0"]),
        header_digest: Digest::Require,
        data_digest: Digest::Off,
        sq_flow_control: SqFlowControl::Optional,
        maxh2cdata: 1 << 20,
        discovery_nqn: Some(nqn("front")),
    };
    assert_eq!(*front, expected);
    assert_eq!(back.name, "back-2.storage_net");
    assert_eq!(back.listen, Listen::Everywhere { port: 4421 });
    let uuid = "6f1ed002-ab5f-4f7c-9a4f-1ba2d0a4c0b1";
    let host = format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}");
    let image = Disk {
        medium: Medium::Path("/var/vols/no-such-image".into()),
        access: Access::ReadOnly,
        ids: Ids {
            uuid: Some(uuid.parse().unwrap()),
            nguid: Some(0x5a1e_d002_ab5f_4f7c_021b_a2d0_a4c0_b12e_u128.to_be_bytes()),
            eui64: Some(0x021b_a2d0_a4c0_b12e_u64.to_be_bytes()),
        },
    };
    let subsystem = Subsystem {
        nqn: nqn("vol0"),
        portals: BTreeSet::from([0, 1]),
        hosts: Hosts::Listed([host.parse().unwrap(), nqn("host2")].into()),
        terminate_on_revoke: true,
        serial: Some("VOL0 0001".into()),
        label: Some("Datenbänke".into()),
        namespaces: Namespaces::User([(1024, image), (2, disk(ram(1536)))].into()),
    };
    assert_eq!(config.subsystems, [subsystem]);
    let near = Referral {
        address: "192.0.2.7:8009".parse().unwrap(),
        nqn: Nqn::discovery(),
        hosts: Hosts::Any,
        label: None,
    };
    let far = Referral {
        address: "[2001:db8::7]:4420".parse().unwrap(),
        nqn: nqn("rack8"),
        hosts: Hosts::Listed([nqn("host2")].into()),
        label: Some("rack 8".into()),
    };
    assert_eq!(config.referrals, [near, far]);
    let limits = Limits {
        threads: Some(count(3)),
        negotiation_time: Duration::from_millis(500),
        negotiations: count(100),
        negotiations_per_address: count(10),
        connections: Some(count(1000)),
        connections_per_address: Some(count(500)),
        controllers: count(200),
        controllers_per_host: count(20),
        queues: 16,
        queue_entries: 128,
        memory: 256 << 20,
        memory_per_connection: 8 << 20,
        stall_time: Duration::from_secs(120),
    };
    assert_eq!(config.limits, limits);
    let sandbox = Sandbox {
        confine: Confine::IfPossible,
        user: Some("_nvmfd".into()),
    };
    assert_eq!(config.sandbox, sandbox);
    let log = Log {
        level: LevelFilter::DEBUG,
        destination: Some(Destination::Stderr),
        rate: 50,
    };
    assert_eq!(config.log, log);
    assert_eq!(config.metrics, ["127.0.0.1:9420".parse().unwrap()]);
}

#[test]
fn kernel_mode_has_luns() {
    let config = good("kernel");
    let zvol = |access, ids| Disk {
        medium: Medium::Path("/dev/zvol/no-such-pool/vol0".into()),
        access,
        ids,
    };
    let eui64 = Ids {
        eui64: Some(0x021b_a2d0_a4c0_b12e_u64.to_be_bytes()),
        ..Ids::default()
    };
    let nguid = Ids {
        nguid: Some(0x5a1e_d002_ab5f_4f7c_021b_a2d0_a4c0_b12e_u128.to_be_bytes()),
        ..Ids::default()
    };
    let ours = |disk, block_size| KernelLun::Ours { disk, block_size };
    let existing = KernelLun::Existing(LunId(3));
    let memory = Disk {
        ids: nguid,
        ..disk(ram(1 << 30))
    };
    let written = BTreeMap::from([
        (1, ours(zvol(Access::ReadWrite, eui64), Some(4096))),
        (2, existing.clone()),
        (3, ours(memory, None)),
    ]);
    // Paths are equal by their components, as the reader's spelling shows.
    let read = BTreeMap::from([
        (1, ours(zvol(Access::ReadOnly, Ids::default()), None)),
        (2, existing),
    ]);
    let namespaces: Vec<_> = config
        .subsystems
        .into_iter()
        .map(|it| it.namespaces)
        .collect();
    let expected = [Namespaces::Kernel(written), Namespaces::Kernel(read)];
    assert_eq!(namespaces, expected);
}

#[test]
fn it_does_not_matter_how_toml_is_written() {
    let config = good("spelt-otherwise");
    let smallest = good("smallest");
    assert_eq!(config.discovery.listen, Listen::At(Vec::new()));
    assert_eq!(config.portals, smallest.portals);
    assert_eq!(config.subsystems, smallest.subsystems);
    assert_eq!(config.limits.negotiations, count(32));
    assert_eq!(config.limits.negotiations_per_address, count(32));
    assert_eq!(config.limits.threads, Some(count(10)));
}

#[test]
fn the_design_s_sketch_is_good() {
    let config = good("sketch");
    assert_eq!(config.discovery.listen, at(["[::]:8009"]));
    assert_eq!(config.portals[0].listen, Listen::Everywhere { port: 4420 });
}
