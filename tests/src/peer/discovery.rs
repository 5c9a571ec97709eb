//! Discovery as libnvme does it.

use std::net::SocketAddr;

use nvmf_proto::nqn::Nqn;

use super::{Host, HostOptions, PeerError};

/// An entry of a discovery log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryRecord {
    /// What is there: 2 an NVM subsystem, 3 the discovery subsystem that was asked.
    pub subtype: u8,
    /// Where: 1 IPv4, 2 IPv6.
    pub family: u8,
    /// Address.
    pub traddr: String,
    /// Port.
    pub trsvcid: String,
    /// Name of the subsystem.
    pub subnqn: String,
}

/// A discovery log: its generation (GENCTR) and its entries.
pub type DiscoveryLog = (u64, Vec<DiscoveryRecord>);

/// Reads a whole discovery log as libnvme does: 20 bytes of header, the entries in pieces of 4 KiB,
/// the header again to see that nothing has changed.
///
/// # Errors
/// Whatever keeps the target from telling.
///
/// # Panics
/// If the target refuses a read, or the log changes under it.
pub fn discover(
    address: SocketAddr,
    options: &HostOptions,
) -> Result<Vec<DiscoveryRecord>, PeerError> {
    let mut host = Host::connect_admin(address, &Nqn::discovery(), options)?;
    host.enable()?;
    Ok(read_discovery_log(&mut host)?.1)
}

/// Reads the whole log on a connection that stays, likewise.
///
/// # Errors
/// Whatever keeps the target from telling.
///
/// # Panics
/// If the target refuses a read, or the log changes under it.
pub fn read_discovery_log(host: &mut Host) -> Result<DiscoveryLog, PeerError> {
    let log = try_read_discovery_log(host)?;
    Ok(log.expect("the log changed while it was read"))
}

/// The same where others may change it at any moment: none if they did, and it is to be read again.
///
/// # Errors
/// Whatever keeps the target from telling.
///
/// # Panics
/// If the target refuses a read.
pub fn try_read_discovery_log(host: &mut Host) -> Result<Option<DiscoveryLog>, PeerError> {
    let mut read = |offset, length| -> Result<Vec<u8>, PeerError> {
        let part = host.log_page(0x70, offset, length)?;
        Ok(part.expect("the discovery log can be read"))
    };
    let header = read(0, 20)?;
    let generation = u64::from_le_bytes(*header.first_chunk().expect("20 bytes"));
    let records = u64::from_le_bytes(*header[8..].first_chunk().expect("20 bytes"));
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < records * 1024 {
        let left = records * 1024 - bytes.len() as u64;
        let length = u32::try_from(left.min(4096)).expect("at most 4096");
        bytes.extend(read(1024 + bytes.len() as u64, length)?);
    }
    if read(0, 20)? != header {
        return Ok(None);
    }
    let records = bytes.chunks_exact(1024).map(DiscoveryRecord::read);
    Ok(Some((generation, records.collect())))
}

impl DiscoveryRecord {
    fn read(entry: &[u8]) -> Self {
        let text = |range: std::ops::Range<usize>| {
            let text = String::from_utf8_lossy(&entry[range]);
            text.trim_end_matches(['\0', ' ']).to_owned()
        };
        assert_eq!(entry[0], 3, "TCP");
        Self {
            subtype: entry[2],
            family: entry[1],
            traddr: text(512..768),
            trsvcid: text(32..64),
            subnqn: text(256..512),
        }
    }
}
