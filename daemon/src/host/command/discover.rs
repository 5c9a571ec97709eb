//! `discover`: what a target offers, and where.

#![forbid(unsafe_code)]

use std::fmt;

use nvmf_proto::nqn::Nqn;
use serde::Serialize;

use crate::host::cli::Discover;
use crate::host::discovery::{Offers, family, subtype, transport};
use crate::host::error::HostError;
use crate::host::options::HostOptions;
use crate::host::place::{DISCOVERY_PORT, IO_PORT};
use crate::host::report::Form;
use crate::host::stop::Stop;

pub(in super::super) fn run(asked: &Discover, form: Form, stop: &Stop) -> Result<(), HostError> {
    let target = &asked.reach.target;
    let options = HostOptions::new(&asked.reach)?;
    let addresses = target.resolve(DISCOVERY_PORT)?;
    let subnqn = asked.nqn.clone().unwrap_or_else(Nqn::discovery);
    match Offers::at(&addresses, &subnqn, &options, stop) {
        Ok(offers) => form.show(&Shown {
            offers,
            hostnqn: options.hostnqn,
        }),
        Err(error @ HostError::Unreachable { .. }) if target.port().is_none() => {
            // The port was our guess.
            let other = target.at(IO_PORT);
            let done = format!("no discovery at the standard port; try {other}");
            let source = Box::new(error);
            Err(HostError::Partly { done, source })
        }
        Err(error) => Err(error),
    }
}

/// A log, for people a table.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown {
    offers: Offers,
    /// Whom it was shown to.
    #[serde(skip)]
    hostnqn: Nqn,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offers {
            generation,
            entries,
        } = &self.offers;
        let noun = match entries.len() {
            1 => "entry",
            _ => "entries",
        };
        writeln!(f, "{} {noun}, generation {generation}", entries.len())?;
        if entries.is_empty() {
            return self.nothing_to_use(f);
        }
        let heads = ["SUBTYPE", "TRANSPORT", "ADDRESS", "PORT", "SUBSYSTEM"].map(String::from);
        let rows = entries.iter().map(|it| {
            let carried = format!("{}/{}", transport(it.transport), family(it.family));
            let (address, port) = (it.traddr.to_string(), it.trsvcid.to_string());
            [
                subtype(it.subtype),
                carried,
                address,
                port,
                it.subnqn.to_string(),
            ]
        });
        let rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for row in &rows {
            let cells = row.iter().zip(widths);
            let line: Vec<_> = cells
                .map(|(text, width)| format!("{text:width$}"))
                .collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        match entries.iter().all(|it| it.subtype == ITSELF) {
            true => self.nothing_to_use(f),
            false => Ok(()),
        }
    }
}

impl Shown {
    /// Who is not on a list sees as much as where there is nothing.
    fn nothing_to_use(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.hostnqn;
        writeln!(
            f,
            "nothing is offered to {host}; another host (--hostnqn) may be shown more"
        )
    }
}

/// SUBTYPE of the discovery controller that is asked.
const ITSELF: u8 = 3;
