//! Everybody but the hosts: the operator who reloads, who asks discovery, and who means no good.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::admin;
use nvmf_proto::sqe::Sqe;
use nvmfd::control::message::FailureKind;
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Raw, try_read_discovery_log};
use nvmfd_tests::target::Target;

use crate::files::{Files, NQN};
use crate::tally::Tally;

/// A change of the discovery log.
const DISCOVERY_CHANGED: u64 = 0x0070_f002;

/// Reloads one file after the other, and now and then one with a mistake.
pub(crate) fn operator(target: &Target, files: &Files, mut chance: Rng, tally: &Tally) {
    while !tally.is_over() {
        let text = files.any(&mut chance);
        if chance.u8(..6) == 0 {
            let wrong = text.replace("allow-any-host = true", "allow-any-host = 1");
            match target.reload(&wrong) {
                Err(failure) if failure.kind == FailureKind::Config => {
                    tally.counts.refused_reloads.one();
                }
                other => tally.fault(format!("a file with a mistake: {other:?}")),
            }
        }
        match target.reload(&text) {
            Ok(_) => tally.counts.reloads.one(),
            Err(failure) => tally.fault(format!("a reload: {failure:?}\n{text}")),
        }
        pause(Duration::from_millis(chance.u64(1000..4000)), tally);
    }
}

/// Stays connected to discovery for a while, and reads the log when told that it has changed.
pub(crate) fn onlooker(address: SocketAddr, number: u32, mut chance: Rng, tally: &Tally) {
    let options = HostOptions {
        kato: Duration::from_secs(60),
        io_queues: 0,
        ..HostOptions::named(number)
    };
    while !tally.is_over() {
        let until = Instant::now() + Duration::from_millis(chance.u64(..20_000));
        if let Err(why) = look_on(address, &options, until, tally) {
            tally.fault(format!("discovery by host {number}: {why}"));
        }
    }
}

fn look_on(
    address: SocketAddr,
    options: &HostOptions,
    until: Instant,
    tally: &Tally,
) -> Result<(), PeerError> {
    let mut host = Host::connect_admin(address, &Nqn::discovery(), options)?;
    host.enable()?;
    let mut last = 0;
    loop {
        let request = Sqe::new(admin::ASYNC_EVENT_REQUEST, 0);
        let awaited = host.admin.submit(request, Payload::None)?;
        let generation = read_log(&mut host, tally)?;
        if generation < last {
            tally.fault(format!("generation {generation} after {last}"));
        }
        last = generation;
        while host.admin.is_silent_for(Duration::from_millis(500))? {
            if Instant::now() > until || tally.is_over() {
                return Ok(());
            }
            host.keep_alive()?;
        }
        let event = host.admin.await_answer(awaited)?.completion;
        if event.result != DISCOVERY_CHANGED {
            tally.fault(format!("an event that nobody awaits: {event:?}"));
        }
        tally.counts.changes.one();
    }
}

/// Reads the log until nobody changes it meanwhile; its generation.
fn read_log(host: &mut Host, tally: &Tally) -> Result<u64, PeerError> {
    loop {
        if let Some((generation, records)) = try_read_discovery_log(host)? {
            if !records.iter().any(|it| it.subnqn == NQN) {
                tally.fault(format!("the log does not name {NQN}: {records:?}"));
            }
            tally.counts.logs.one();
            return Ok(generation);
        }
    }
}

/// Connects and says what no host would say, or nothing, or stops in the middle of it.
pub(crate) fn stranger(address: SocketAddr, mut chance: Rng, tally: &Tally) {
    let mut silent = Vec::new();
    while !tally.is_over() {
        if let Err(why) = intrude(address, &mut chance, &mut silent) {
            tally.fault(format!("a stranger cannot even connect: {why}"));
        }
        tally.counts.strangers.one();
        pause(Duration::from_millis(chance.u64(..200)), tally);
    }
}

fn intrude(address: SocketAddr, chance: &mut Rng, silent: &mut Vec<Raw>) -> Result<(), PeerError> {
    let mut raw = Raw::connect(address)?;
    match chance.u8(..4) {
        0 => {
            let bytes: Vec<u8> = (0..128).map(|_| chance.u8(..)).collect();
            raw.send(&bytes)?;
        }
        1 => {
            let icreq = nvmf_proto::pdu::IcReq::new(0, 0, chance.bool(), chance.bool());
            let bytes = zerocopy::IntoBytes::as_bytes(&icreq);
            raw.send(&bytes[..chance.usize(..=bytes.len())])?;
        }
        2 => return raw.reset(),
        _ => {
            silent.push(raw);
            if silent.len() > 20 {
                silent.clear();
            }
        }
    }
    Ok(())
}

/// Waits, but not beyond the end.
fn pause(time: Duration, tally: &Tally) {
    let until = Instant::now() + time;
    while !tally.is_over() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        sleep(left.min(Duration::from_millis(100)));
    }
}
