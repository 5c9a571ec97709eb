//! Who a host is and what it asks of a connection: the command line's wishes, resolved.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nvmf_proto::connect::{CNTLID_DYNAMIC, Connect};
use nvmf_proto::handshake::host::Wishes;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::queue::ADMIN_IN_CAPSULE;
use uuid::Uuid;

use super::cli::Reach;
use super::error::HostError;
use super::line::Patience;
use crate::identity::HostIdentity;

/// Who a host is and what it asks for.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Its name.
    pub hostnqn: Nqn,
    /// Its identifier.
    pub hostid: [u8; 16],
    /// Whether to ask for header digests.
    pub header_digest: bool,
    /// Whether to ask for data digests.
    pub data_digest: bool,
    /// Whether to keep SQ flow control.
    pub sq_flow_control: bool,
    /// Keep Alive Timeout; zero for none.
    pub kato: Duration,
    /// How long the target may take.
    pub patience: Patience,
}

impl HostOptions {
    /// What the command line says, and the system where it says nothing.
    ///
    /// # Errors
    /// A file of the system's with something else in it than a name or an identifier.
    pub fn new(reach: &Reach) -> Result<Self, HostError> {
        let machine = HostIdentity::of_this_machine();
        let (hostnqn, hostid) = match (&reach.hostnqn, reach.hostid) {
            (Some(nqn), Some(id)) => (nqn.clone(), id),
            // The files' identifier is that of the files' host.
            (Some(nqn), None) => (nqn.clone(), uuid_of(nqn).unwrap_or(machine.uuid)),
            (None, id) => {
                let nqn = written(HOSTNQN)?.unwrap_or_else(|| machine.subsystem_nqn());
                let id = match id {
                    Some(id) => id,
                    None => written(HOSTID)?
                        .or_else(|| uuid_of(&nqn))
                        .unwrap_or(machine.uuid),
                };
                (nqn, id)
            }
        };
        Ok(Self {
            hostnqn,
            hostid: hostid.into_bytes(),
            header_digest: reach.header_digest,
            data_digest: reach.data_digest,
            sq_flow_control: !reach.no_flow_control,
            kato: reach.kato,
            patience: Patience::new(reach.timeout),
        })
    }

    /// What an admin queue to `subnqn` is asked for with.
    pub fn admin(&self, subnqn: &Nqn) -> Wishes {
        Wishes {
            hpda: 0,
            max_r2ts: 1,
            header_digest: self.header_digest,
            data_digest: self.data_digest,
            in_capsule: ADMIN_IN_CAPSULE,
            connect: Connect {
                qid: 0,
                entries: ADMIN_ENTRIES,
                sq_flow_control: self.sq_flow_control,
                kato: self.kato,
                hostid: self.hostid,
                cntlid: CNTLID_DYNAMIC,
                subnqn: subnqn.clone(),
                hostnqn: self.hostnqn.clone(),
            },
        }
    }
}

/// What a file of the system's says, if it is there.
fn written<T: std::str::FromStr>(path: &str) -> Result<Option<T>, HostError> {
    let path = Path::new(path);
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(HostError::file("read", path, error)),
    };
    let unusable = || {
        let (nqn, id) = ("--hostnqn", "--hostid");
        let path = path.display();
        HostError::unfit(format!(
            "{path} does not hold what it should; use {nqn} and {id}"
        ))
    };
    text.trim().parse().map(Some).map_err(|_| unusable())
}

/// The UUID that a name of NVM Express's own form is made of.
fn uuid_of(nqn: &Nqn) -> Option<Uuid> {
    let (_, uuid) = nqn.as_str().rsplit_once(":uuid:")?;
    uuid.parse().ok().filter(|uuid: &Uuid| !uuid.is_nil())
}

/// Where Linux keeps a host's name, and libnvme on other systems.
const HOSTNQN: &str = "/etc/nvme/hostnqn";

/// Where it keeps its identifier.
const HOSTID: &str = "/etc/nvme/hostid";

/// Entries of an admin queue: what every target has.
const ADMIN_ENTRIES: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_made_of_a_uuid_says_the_identifier() {
        let uuid = "4c4c4544-0033-3610-8052-b4c04f4d3132";
        let nqn = format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}")
            .parse()
            .unwrap();
        assert_eq!(uuid_of(&nqn), Some(uuid.parse().unwrap()));
        for other in [
            "nqn.2014-08.org.example:host",
            "nqn.2014-08.org.nvmexpress:uuid:x",
        ] {
            assert_eq!(uuid_of(&other.parse().unwrap()), None);
        }
        // Targets refuse an identifier of zeroes.
        let nil = format!("nqn.2014-08.org.nvmexpress:uuid:{}", Uuid::nil());
        assert_eq!(uuid_of(&nil.parse().unwrap()), None);
    }

    #[test]
    fn files_hold_a_name_or_nothing_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hostnqn");
        let text = path.to_str().unwrap();
        assert!(written::<Nqn>(text).unwrap().is_none());
        fs::write(&path, "nqn.2014-08.org.example:host\n").unwrap();
        let nqn: Nqn = written(text).unwrap().unwrap();
        assert_eq!(nqn.as_str(), "nqn.2014-08.org.example:host");
        fs::write(&path, "\n").unwrap();
        let error = written::<Nqn>(text).unwrap_err();
        assert!(error.report().contains("--hostnqn"), "{}", error.report());
    }
}
