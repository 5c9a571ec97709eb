//! What connections cost that do nothing.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::nvm;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, nvm_sqe};
use nvmfd_tests::target::Target;
use nvmfd_tests::usage::Usage;

/// Memory of one kind of connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) kind: &'static str,
    pub(crate) connections: usize,
    /// Resident memory for each, in KiB.
    pub(crate) resident: f64,
    /// The same with what is shared with other processes divided among them.
    pub(crate) proportional: f64,
}

/// Opens `connections` of each kind in turn, on a target of its own, and counts.
pub(crate) fn measure(connections: usize) -> Result<Vec<Cost>, PeerError> {
    raise_descriptor_limit();
    Ok(vec![
        cost(
            "discovery controllers that have read the log",
            connections,
            discovery,
        )?,
        cost("admin queues of enabled controllers", connections, admin)?,
        cost(
            "one admin and one I/O queue each, unused",
            connections,
            pairs,
        )?,
        cost(
            "the same after reads and writes of up to 128 KiB",
            connections,
            used_pairs,
        )?,
    ])
}

type Open = fn(&Target, usize) -> Result<Vec<Host>, PeerError>;

fn cost(kind: &'static str, connections: usize, open: Open) -> Result<Cost, PeerError> {
    let target = Target::start();
    // What is made once and not per connection is there before we count.
    drop(open(&target, 8)?);
    let before = settled(&target);
    eprint!("\r{connections} connections: {kind}  ");
    let hosts = open(&target, connections)?;
    let after = settled(&target);
    eprint!("\r{:90}\r", "");
    let opened: usize = hosts.iter().map(|host| 1 + host.io.len()).sum();
    let each = |before: u64, after: u64| {
        let kib = u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
        f64::from(kib) / f64::from(u32::try_from(opened).unwrap_or(u32::MAX))
    };
    Ok(Cost {
        kind,
        connections: opened,
        resident: each(before.resident, after.resident),
        proportional: each(before.proportional, after.proportional),
    })
}

fn settled(target: &Target) -> Usage {
    Usage::settled(target.worker()).expect("memory is counted in /proc, which only Linux has")
}

fn many(
    count: usize,
    mut open: impl FnMut(HostOptions) -> Result<Host, PeerError>,
) -> Result<Vec<Host>, PeerError> {
    (0..count)
        .map(|number| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            open(HostOptions {
                kato: Duration::from_secs(600),
                ..HostOptions::named(number)
            })
        })
        .collect()
}

fn discovery(target: &Target, count: usize) -> Result<Vec<Host>, PeerError> {
    many(count, |options| {
        let mut host = Host::connect_admin(target.discovery(), &Nqn::discovery(), &options)?;
        host.enable()?;
        host.log_page(0x70, 0, 4096)?.expect("the discovery log");
        Ok(host)
    })
}

fn admin(target: &Target, count: usize) -> Result<Vec<Host>, PeerError> {
    many(count, |options| {
        let options = HostOptions {
            io_queues: 0,
            ..options
        };
        let mut host = Host::connect(target.io(), &target.nqn(), &options)?;
        host.identify(0x01, 0)?;
        Ok(host)
    })
}

fn pairs(target: &Target, count: usize) -> Result<Vec<Host>, PeerError> {
    many(count.div_ceil(2), |options| {
        Host::connect(target.io(), &target.nqn(), &options)
    })
}

fn used_pairs(target: &Target, count: usize) -> Result<Vec<Host>, PeerError> {
    let mut hosts = pairs(target, count)?;
    for host in &mut hosts {
        for length in [4096, 131_072] {
            let written = host.io[0].write(0, vec![1; length])?;
            assert!(written.is_success());
            // A few at a time, as a file system does it.
            let payload = || Payload::ToHost {
                length: u32::try_from(length).unwrap_or(u32::MAX),
                into: Vec::new(),
            };
            let cids =
                [(); 8].map(|()| host.io[0].submit(nvm_sqe(nvm::READ, 0, length), payload()));
            for cid in cids {
                host.io[0].await_answer(cid?)?;
            }
        }
    }
    Ok(hosts)
}

fn raise_descriptor_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it is not enough, connecting says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
