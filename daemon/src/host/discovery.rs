//! The discovery log as a host reads it: its header, its entries in pieces, its header again.
//!
//! How many entries there are is the target's word, so it is bounded; what an entry says is text of
//! the target's, so it is [`Printable`].

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use nvmf_proto::controller::discovery::RECORD_SIZE;
use nvmf_proto::nqn::Nqn;
use serde::{Serialize, Serializer};

use super::controller::{self, Controller};
use super::error::HostError;
use super::options::HostOptions;
use super::page::Page;
use super::printable::Printable;
use super::stop::Stop;

/// What a target offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offers {
    /// Generation counter: differs whenever the entries do.
    pub generation: u64,
    /// What there is.
    pub entries: Vec<Offer>,
}

/// One way to one subsystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offer {
    /// What is found there: `referral`, `nvm`, `current-discovery`, or a number.
    #[serde(serialize_with = "named_subtype")]
    pub subtype: u8,
    /// What carries it there: `rdma`, `fc`, `tcp`, `loop`, or a number.
    #[serde(serialize_with = "named_transport")]
    pub transport: u8,
    /// Kind of address: `ipv4`, `ipv6`, `ib`, `fc`, or a number.
    #[serde(serialize_with = "named_family")]
    pub family: u8,
    /// Address.
    pub traddr: Printable,
    /// Port.
    pub trsvcid: Printable,
    /// Name of the subsystem.
    pub subnqn: Printable,
    /// Port identifier.
    pub portid: u16,
    /// Controller; FFFFh: made as hosts connect.
    pub cntlid: u16,
    /// Entries that an admin queue may have.
    pub asqsz: u16,
    /// Transport requirements.
    pub treq: u8,
    /// Flags.
    pub eflags: u16,
    /// Security of the port, for TCP: 0 none, 2 TLS 1.3.
    pub sectype: u8,
}

impl Offers {
    /// Asks the discovery subsystem `subnqn`.
    ///
    /// # Errors
    /// Why it does not tell.
    pub fn at(
        addresses: &[SocketAddr],
        subnqn: &Nqn,
        options: &HostOptions,
        stop: &Stop,
    ) -> Result<Self, HostError> {
        controller::with(addresses, subnqn, options, stop, Self::read)
    }

    fn read(controller: &Controller) -> Result<Self, HostError> {
        for _ in 0..ATTEMPTS {
            let header = Header::read(controller)?;
            let mut entries = Vec::new();
            while (entries.len() as u64) < header.entries {
                let left = header.entries - entries.len() as u64;
                let count = left.min(PIECE_ENTRIES);
                let offset = (entries.len() as u64 + 1) * RECORD_SIZE;
                let length = u32::try_from(count * RECORD_SIZE).unwrap_or(u32::MAX);
                let piece = controller.log_page(LID_DISCOVERY, offset, length)?;
                let records = piece.chunks_exact(RECORD_BYTES);
                entries.extend(records.map(|record| Offer::read(Page(record))));
            }
            if Header::read(controller)? == header {
                let generation = header.generation;
                return Ok(Self {
                    generation,
                    entries,
                });
            }
        }
        let what = format!("its discovery log changed {ATTEMPTS} times while it was read");
        Err(HostError::nonsense(what))
    }

    /// Names of NVM subsystems, each once.
    pub fn subsystems(&self) -> Vec<&Printable> {
        let mut names: Vec<_> = self.entries.iter().filter(|it| it.is_nvm()).collect();
        names.sort_by(|a, b| a.subnqn.cmp(&b.subnqn));
        names.dedup_by(|a, b| a.subnqn == b.subnqn);
        names.into_iter().map(|it| &it.subnqn).collect()
    }

    /// Names of NVM subsystems that can be reached at `address`, each once.
    pub fn subsystems_at(&self, address: SocketAddr) -> Vec<&Printable> {
        let mut names = self.subsystems();
        let here = |name: &Printable| {
            let mut offers = self.entries.iter();
            offers.any(|it| it.is_nvm() && it.subnqn == *name && it.is_at(address))
        };
        names.retain(|name| here(name));
        names
    }
}

/// The part of the log's header that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    generation: u64,
    entries: u64,
}

impl Header {
    fn read(controller: &Controller) -> Result<Self, HostError> {
        let bytes = controller.log_page(LID_DISCOVERY, 0, HEADER_BYTES)?;
        Self::parse(Page(&bytes))
    }

    fn parse(page: Page<'_>) -> Result<Self, HostError> {
        let (entries, recfmt) = (page.u64(8), page.u16(16));
        if recfmt != 0 {
            let what = format!("its discovery log has entries of format {recfmt}");
            return Err(HostError::nonsense(what));
        }
        if entries > ENTRIES_MAX {
            let what = format!("its discovery log promises {entries} entries");
            return Err(HostError::nonsense(what));
        }
        let generation = page.u64(0);
        Ok(Self {
            generation,
            entries,
        })
    }
}

impl Offer {
    fn read(page: Page<'_>) -> Self {
        Self {
            transport: page.u8(0),
            family: page.u8(1),
            subtype: page.u8(2),
            treq: page.u8(3),
            portid: page.u16(4),
            cntlid: page.u16(6),
            asqsz: page.u16(8),
            eflags: page.u16(10),
            trsvcid: page.text::<32>(32),
            subnqn: page.text::<256>(256),
            traddr: page.text::<256>(512),
            sectype: page.u8(768),
        }
    }

    fn is_nvm(&self) -> bool {
        (self.transport, self.subtype) == (TCP, NVM)
    }

    /// Whether it leads to `address`.
    fn is_at(&self, address: SocketAddr) -> bool {
        let ip: Result<IpAddr, _> = self.traddr.as_sent().parse();
        let port: Result<u16, _> = self.trsvcid.as_sent().parse();
        let same = |ip: IpAddr| ip.to_canonical() == address.ip().to_canonical();
        ip.is_ok_and(same) && port == Ok(address.port())
    }
}

/// Words for SUBTYPE.
pub fn subtype(number: u8) -> String {
    word(number, &["", "referral", "nvm", "current-discovery"])
}

/// Words for TRTYPE.
pub fn transport(number: u8) -> String {
    match number {
        254 => "loop".into(),
        number => word(number, &["pcie", "rdma", "fc", "tcp"]),
    }
}

/// Words for ADRFAM.
pub fn family(number: u8) -> String {
    match number {
        254 => "loop".into(),
        number => word(number, &["pcie", "ipv4", "ipv6", "ib", "fc"]),
    }
}

fn word(number: u8, words: &[&str]) -> String {
    let word = words.get(usize::from(number)).filter(|it| !it.is_empty());
    word.map_or_else(|| number.to_string(), |word| (*word).into())
}

fn named_subtype<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&subtype(*number))
}

fn named_transport<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&transport(*number))
}

fn named_family<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&family(*number))
}

/// NVMe/TCP (TRTYPE).
const TCP: u8 = 3;

/// An NVM subsystem (SUBTYPE).
const NVM: u8 = 2;

const LID_DISCOVERY: u8 = 0x70;

/// A record of its own, as FreeBSD's host reads it: 20 bytes would do, but not for every target.
const HEADER_BYTES: u32 = 1024;

/// Entries that are asked for at once: 4 KiB, which every target can move.
const PIECE_ENTRIES: u64 = 4;

/// Entries that are read at most: 64 MiB of them, far more than any fabric has.
const ENTRIES_MAX: u64 = 65_536;

/// How often a log may change while it is read.
const ATTEMPTS: u32 = 10;

const RECORD_BYTES: usize = 1024;
const _: () = assert!(RECORD_BYTES as u64 == RECORD_SIZE);

#[cfg(test)]
mod tests {
    use super::*;

    fn record(traddr: &str, trsvcid: &str, fill: u8) -> Vec<u8> {
        let mut record = vec![0; RECORD_BYTES];
        record[..3].copy_from_slice(&[3, 1, 2]);
        for (range, text) in [(32..64, trsvcid), (256..512, "nqn.a"), (512..768, traddr)] {
            record[range.clone()].fill(fill);
            record[range.start..range.start + text.len()].copy_from_slice(text.as_bytes());
        }
        record
    }

    #[test]
    fn entries_may_be_filled_with_blanks_or_nuls() {
        for fill in [0, b' '] {
            let offer = Offer::read(Page(&record("192.0.2.1", "4420", fill)));
            assert_eq!(offer.subnqn.as_sent(), "nqn.a");
            assert!(offer.is_nvm() && offer.is_at("192.0.2.1:4420".parse().unwrap()));
            assert!(!offer.is_at("192.0.2.1:4421".parse().unwrap()));
        }
        let garbage = Offer::read(Page(&[0xff; RECORD_BYTES]));
        assert!(!garbage.is_nvm() && !garbage.is_at("192.0.2.1:4420".parse().unwrap()));
        assert_eq!(subtype(garbage.subtype), "255");
    }

    #[test]
    fn a_log_is_as_long_as_anybody_would_read() {
        let header = |entries: u64, recfmt: u16| {
            let mut bytes = [7_u64.to_le_bytes(), entries.to_le_bytes()].concat();
            bytes.extend(u32::from(recfmt).to_le_bytes());
            Header::parse(Page(&bytes)).map_err(|error| error.report())
        };
        assert_eq!(header(65_536, 0).unwrap().entries, 65_536);
        assert!(
            header(u64::MAX, 0)
                .unwrap_err()
                .contains("promises 18446744073709551615")
        );
        assert!(header(1, 1).unwrap_err().contains("format 1"));
    }

    #[test]
    fn subsystems_are_named_once_and_where_they_are() {
        let offer = |nqn: &str, traddr: &str| Offer {
            subnqn: nqn.into(),
            ..Offer::read(Page(&record(traddr, "4420", 0)))
        };
        let offers = Offers {
            generation: 1,
            entries: vec![
                offer("b", "::1"),
                offer("a", "192.0.2.1"),
                offer("b", "192.0.2.1"),
            ],
        };
        let named = |names: Vec<&Printable>| -> Vec<String> {
            names.iter().map(|name| name.to_string()).collect()
        };
        assert_eq!(named(offers.subsystems()), ["a", "b"]);
        assert_eq!(
            named(offers.subsystems_at("[::1]:4420".parse().unwrap())),
            ["b"]
        );
        let mapped = "[::ffff:192.0.2.1]:4420".parse().unwrap();
        assert_eq!(named(offers.subsystems_at(mapped)), ["a", "b"]);
    }
}
