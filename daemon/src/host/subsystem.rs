//! Which subsystem is meant, and what to say when it is not there.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::status::Status;

use super::cli::{Reach, Subsystem};
use super::controller::{self, Controller};
use super::discovery::Offers;
use super::error::{HostError, QueueError};
use super::options::HostOptions;
use super::place::{DISCOVERY_PORT, IO_PORT};
use super::printable::Printable;
use super::stop::Stop;

/// Connects to the subsystem that is named, or else to the only one that is there, and does the
/// work.
///
/// # Errors
/// The first thing that went wrong, with a hint where one helps.
pub fn with<T>(
    subsystem: &Subsystem,
    stop: &Stop,
    work: impl FnOnce(&Controller) -> Result<T, HostError>,
) -> Result<T, HostError> {
    let Subsystem { reach, nqn } = subsystem;
    let options = HostOptions::new(reach)?;
    let addresses = reach.target.resolve(IO_PORT)?;
    let subnqn = match nqn {
        Some(nqn) => nqn.clone(),
        None => only_one(reach, &addresses, &options, stop)?,
    };
    let work = |controller: &Controller| {
        say_what_is_missing(&options, controller);
        work(controller)
    };
    let result = controller::with(&addresses, &subnqn, &options, stop, work);
    let help = |address, source: &QueueError| hint(source, address, &options, stop);
    result.map_err(|error| error.with_hint(help))
}

/// The target may do without what was asked for; whoever asked should know.
fn say_what_is_missing(options: &HostOptions, controller: &Controller) {
    let settled = controller.settled();
    let wishes = [
        (
            options.header_digest && !settled.header_digest,
            "header digests",
        ),
        (options.data_digest && !settled.data_digest, "data digests"),
        (
            !options.sq_flow_control && settled.sq_flow_control,
            "doing without SQ flow control",
        ),
    ];
    for (_, what) in wishes.iter().filter(|(missing, _)| *missing) {
        eprintln!("nvmfctl: the target does not offer {what}");
    }
}

/// Asks for the subsystems where the target is, and at the discovery port if nobody tells there.
fn only_one(
    reach: &Reach,
    addresses: &[SocketAddr],
    options: &HostOptions,
    stop: &Stop,
) -> Result<Nqn, HostError> {
    let discovery = Nqn::discovery();
    let offers = match Offers::at(addresses, &discovery, options, stop) {
        Ok(offers) => offers,
        Err(error @ (HostError::Unreachable { .. } | HostError::Stopped)) => return Err(error),
        Err(here) => {
            let place = reach.target.at(DISCOVERY_PORT);
            let there = place.resolve(DISCOVERY_PORT)?;
            let offers = Offers::at(&there, &discovery, options, stop);
            offers.map_err(|there| HostError::Choice {
                message: format!(
                    "name the subsystem with -n: {} does not tell which there are ({}), nor does \
                     {place} ({})",
                    reach.target,
                    here.report(),
                    there.report()
                ),
            })?
        }
    };
    let mut here: Vec<&Printable> = Vec::new();
    for &address in addresses {
        here.extend(offers.subsystems_at(address));
    }
    here.sort();
    here.dedup();
    if let [name] = here.as_slice() {
        return name
            .as_sent()
            .parse()
            .map_err(|_| HostError::nonsense(format!("its only subsystem is called \"{name}\"")));
    }
    let message = match (here.as_slice(), offers.subsystems().as_slice()) {
        ([], []) => format!(
            "{} offers no subsystem to {}",
            reach.target, options.hostnqn
        ),
        ([], all) => format!(
            "name the subsystem with -n: discovery names none at {}, but elsewhere {}",
            reach.target,
            listed(all)
        ),
        (here, _) => format!("name the subsystem with -n: there are {}", listed(here)),
    };
    Err(HostError::Choice { message })
}

/// What helps against the end of a queue, if anything does.
fn hint(
    error: &QueueError,
    address: SocketAddr,
    options: &HostOptions,
    stop: &Stop,
) -> Option<String> {
    let QueueError::Refused(reject) = error else {
        return None;
    };
    if reject.status.is(ConnectReject::SUBNQN.status)
        && reject.field() == ConnectReject::SUBNQN.field()
    {
        let offers = Offers::at(&[address], &Nqn::discovery(), options, stop).ok()?;
        return Some(match offers.subsystems().as_slice() {
            [] => format!("it offers no subsystem to {}", options.hostnqn),
            names => format!("there is {}", listed(names)),
        });
    }
    if reject.status.is(Status::CONNECT_INVALID_HOST) {
        let host = &options.hostnqn;
        return Some(format!(
            "the target must allow {host}, or choose another with --hostnqn"
        ));
    }
    if reject.status.is(Status::AUTHENTICATION_REQUIRED) {
        return Some("which this host does not have".into());
    }
    None
}

/// Names for a sentence, and not at length.
fn listed(names: &[&Printable]) -> String {
    let some = names.iter().take(LISTED_MAX);
    let mut text = some
        .map(|name| name.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", names.len() - LISTED_MAX));
    }
    text
}

/// Subsystems that a message names at most.
const LISTED_MAX: usize = 10;
