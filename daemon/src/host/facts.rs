//! What a controller says of itself and of its namespaces, as far as anybody asks.
//!
//! Numbers that later work relies on, sizes above all, are checked here, once.

#![forbid(unsafe_code)]

use nvmf_proto::status::Status;
use serde::Serialize;
use uuid::Uuid;

use super::controller::Controller;
use super::error::HostError;
use super::page::Page;
use super::printable::Printable;

/// A controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ControllerFacts {
    /// Name of its subsystem.
    pub subnqn: Printable,
    /// Its identifier.
    pub cntlid: u16,
    /// What it is: `io`, `discovery`, `administrative`, or a number in words.
    pub kind: String,
    /// Model.
    pub model: Printable,
    /// Serial number.
    pub serial: Printable,
    /// Firmware.
    pub firmware: Printable,
    /// Version of NVMe.
    pub version: String,
    /// Bytes that one command can move; `None`: any number.
    pub max_transfer: Option<u64>,
    /// Bytes of data in a command capsule of an I/O queue.
    pub in_capsule: u32,
    /// Entries of the largest I/O queue.
    pub max_entries: u32,
    /// The largest NSID.
    pub max_nsid: u32,
    /// Whether it caches writes.
    pub volatile_cache: bool,
    /// Units of the Keep Alive Timeout in milliseconds; 0: it has none.
    pub keep_alive_ms: u32,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NamespaceFacts {
    /// Its number.
    pub nsid: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks.
    pub blocks: u64,
    /// Size.
    pub bytes: u64,
    /// Bytes of metadata with each block.
    pub metadata: u16,
    /// Whether it refuses to be written.
    pub read_only: bool,
    /// UUID, if it has one.
    pub uuid: Option<String>,
    /// NGUID, if it has one.
    pub nguid: Option<String>,
    /// EUI64, if it has one.
    pub eui64: Option<String>,
}

/// The namespaces that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// Their numbers, ascending.
    pub nsids: Vec<u32>,
    /// Whether there are more than anybody reads.
    pub more: bool,
}

impl ControllerFacts {
    /// Asks a controller.
    ///
    /// # Errors
    /// Why it does not tell.
    pub fn of(controller: &Controller) -> Result<Self, HostError> {
        let bytes = controller.identify(CNS_CONTROLLER, 0)?;
        Ok(Self::read(Page(&bytes), controller))
    }

    fn read(page: Page<'_>, controller: &Controller) -> Self {
        let vs = controller.version();
        Self {
            subnqn: page.text::<256>(768),
            cntlid: page.u16(78),
            kind: match page.u8(111) {
                1 => "io".into(),
                2 => "discovery".into(),
                3 => "administrative".into(),
                0 => "not reported".into(),
                other => format!("reserved {other}"),
            },
            model: page.text::<40>(24),
            serial: page.text::<20>(4),
            firmware: page.text::<8>(64),
            version: format!("{}.{}.{}", vs >> 16, vs >> 8 & 0xff, vs & 0xff),
            max_transfer: max_transfer(page.u8(77), controller.page_size()),
            in_capsule: page.u32(1792).saturating_mul(16).saturating_sub(64),
            max_entries: controller.max_entries(),
            max_nsid: page.u32(516),
            volatile_cache: page.u8(525) & 1 != 0,
            keep_alive_ms: u32::from(page.u16(320)) * 100,
        }
    }
}

/// MDTS: a power of two of pages, 0 for no limit.
fn max_transfer(mdts: u8, page_size: u64) -> Option<u64> {
    match mdts {
        0 => None,
        mdts => page_size.checked_shl(mdts.into()).filter(|it| *it != 0),
    }
}

impl NamespaceFacts {
    /// Asks for a namespace; `None` if there is none of that number.
    ///
    /// # Errors
    /// Why the controller does not tell, or that its answer cannot be.
    pub fn of(controller: &Controller, nsid: u32) -> Result<Option<Self>, HostError> {
        let bytes = match controller.identify(CNS_NAMESPACE, nsid) {
            Err(HostError::Command { status, .. }) if status.is(Status::INVALID_NAMESPACE) => {
                return Ok(None);
            }
            bytes => bytes?,
        };
        let Some(mut facts) = Self::read(Page(&bytes), nsid)? else {
            return Ok(None);
        };
        // Older targets have no such list, and nothing depends on it.
        if let Ok(list) = controller.identify(CNS_DESCRIPTORS, nsid) {
            facts.uuid = uuid_in(&list).map(|uuid| uuid.to_string());
        }
        Ok(Some(facts))
    }

    fn read(page: Page<'_>, nsid: u32) -> Result<Option<Self>, HostError> {
        let blocks = page.u64(0);
        if blocks == 0 {
            return Ok(None);
        }
        let flbas = page.u8(26);
        // Bits 6:5 are the upper ones of the index where there are more than 16 formats.
        let upper = if page.u8(25) > 15 {
            flbas >> 5 & 0b11
        } else {
            0
        };
        let format = page.u32(128 + usize::from(flbas & 0xf | upper << 4) * 4);
        let power = format >> 16 & 0xff;
        if !(9..=20).contains(&power) {
            let what = format!("namespace {nsid} has blocks of 2^{power} bytes");
            return Err(HostError::nonsense(what));
        }
        let Some(bytes) = blocks.checked_mul(1 << power) else {
            let what = format!("namespace {nsid} has {blocks} blocks of 2^{power} bytes");
            return Err(HostError::nonsense(what));
        };
        Ok(Some(Self {
            nsid,
            block_size: 1 << power,
            blocks,
            bytes,
            metadata: Page(&format.to_le_bytes()).u16(0),
            read_only: page.u8(99) & 1 != 0,
            uuid: None,
            nguid: identifier(&page.bytes::<16>(104)),
            eui64: identifier(&page.bytes::<8>(120)),
        }))
    }
}

impl Active {
    /// Asks a controller.
    ///
    /// # Errors
    /// Why it does not tell, or that its list never ends.
    pub fn of(controller: &Controller) -> Result<Self, HostError> {
        let mut nsids = Vec::new();
        loop {
            let after = nsids.last().copied().unwrap_or(0);
            let list = controller.identify(CNS_ACTIVE, after)?;
            let more = Self::take(&list, &mut nsids)?;
            if !more || nsids.len() >= ACTIVE_MAX {
                return Ok(Self { nsids, more });
            }
        }
    }

    /// Takes a page of the list in; whether there may be more.
    fn take(list: &[u8], nsids: &mut Vec<u32>) -> Result<bool, HostError> {
        for nsid in list.chunks_exact(4).map(|bytes| Page(bytes).u32(0)) {
            if nsid == 0 {
                return Ok(false);
            }
            if nsids.last().is_some_and(|last| *last >= nsid) {
                let what = format!("namespace {nsid} stands too late in the list of namespaces");
                return Err(HostError::nonsense(what));
            }
            nsids.push(nsid);
        }
        Ok(true)
    }

    /// The one that is meant where none is named: 1, or the only one.
    ///
    /// # Errors
    /// [`HostError::Choice`].
    pub fn default(&self) -> Result<u32, HostError> {
        match self.nsids.as_slice() {
            [only] => Ok(*only),
            all if all.contains(&1) => Ok(1),
            [] => Err(HostError::Choice {
                message: "the subsystem has no namespace for this host".into(),
            }),
            _ => Err(HostError::Choice {
                message: format!("choose one with --namespace: {}", self.listed()),
            }),
        }
    }

    /// What is there, for a sentence.
    pub fn listed(&self) -> String {
        let some = self.nsids.iter().take(LISTED_MAX);
        let mut text = some.map(u32::to_string).collect::<Vec<_>>().join(", ");
        if self.more || self.nsids.len() > LISTED_MAX {
            text.push_str(", …");
        }
        if text.is_empty() {
            text.push_str("none");
        }
        text
    }
}

/// An identifier in hexadecimal, unless it is all zero: not set.
fn identifier(bytes: &[u8]) -> Option<String> {
    let set = bytes.iter().any(|byte| *byte != 0);
    set.then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The UUID in a list of namespace identification descriptors (Base 2.0 §5.17.2.3).
fn uuid_in(list: &[u8]) -> Option<Uuid> {
    let mut rest = list;
    loop {
        let (header, behind) = rest.split_first_chunk::<4>()?;
        let [kind, length, ..] = *header;
        if length == 0 {
            return None;
        }
        if (kind, length) == (NIDT_UUID, 16) {
            let uuid = Uuid::from_slice(behind.get(..16)?).ok();
            // Some targets list one and have none.
            return uuid.filter(|uuid| !uuid.is_nil());
        }
        rest = behind.get(usize::from(length)..)?;
    }
}

const CNS_NAMESPACE: u8 = 0x00;
const CNS_CONTROLLER: u8 = 0x01;
const CNS_ACTIVE: u8 = 0x02;
const CNS_DESCRIPTORS: u8 = 0x03;
const NIDT_UUID: u8 = 3;

/// Namespaces that are read at most: four pages of them, more than anybody looks at.
const ACTIVE_MAX: usize = 4096;

/// Namespaces that a message names at most.
const LISTED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(change: impl FnOnce(&mut [u8])) -> Result<Option<NamespaceFacts>, String> {
        let mut page = vec![0; 4096];
        page[..8].copy_from_slice(&1000_u64.to_le_bytes());
        page[130] = 12;
        change(&mut page);
        NamespaceFacts::read(Page(&page), 5).map_err(|error| error.report())
    }

    #[test]
    fn a_namespace_is_as_large_as_its_format_says() {
        let facts = namespace(|_| ()).unwrap().unwrap();
        assert_eq!(
            (facts.block_size, facts.bytes, facts.metadata),
            (4096, 4_096_000, 0)
        );
        let with_metadata = |page: &mut [u8]| {
            page[26] = 1;
            page[132..136].copy_from_slice(&[8, 0, 9, 0]);
        };
        let facts = namespace(with_metadata).unwrap().unwrap();
        assert_eq!((facts.block_size, facts.metadata), (512, 8));
        let many_formats = |page: &mut [u8]| {
            (page[25], page[26]) = (40, 0b010_0001);
            page[128 + 17 * 4 + 2] = 9;
        };
        assert_eq!(namespace(many_formats).unwrap().unwrap().block_size, 512);
        assert_eq!(namespace(|page| page[..8].fill(0)), Ok(None));
    }

    #[test]
    fn impossible_sizes_are_called_so() {
        for power in [0, 8, 21, 64, 255] {
            let error = namespace(|page| page[130] = power).unwrap_err();
            assert!(error.contains(&format!("2^{power} bytes")), "{error}");
        }
        let error = namespace(|page| page[..8].fill(0xff)).unwrap_err();
        assert!(error.contains("makes no sense"), "{error}");
        assert_eq!(max_transfer(0, 4096), None);
        assert_eq!(max_transfer(5, 4096), Some(131_072));
        assert_eq!(max_transfer(255, 1 << 27), None);
    }

    #[test]
    fn a_list_of_namespaces_ascends_and_ends() {
        let page = |nsids: &[u32]| -> Vec<u8> {
            let mut page: Vec<_> = nsids.iter().flat_map(|it| it.to_le_bytes()).collect();
            page.resize(4096, 0);
            page
        };
        let mut nsids = Vec::new();
        assert!(!Active::take(&page(&[2, 7]), &mut nsids).unwrap());
        assert_eq!(nsids, [2, 7]);
        assert!(Active::take(&page(&[7]), &mut nsids).is_err());
        let full: Vec<u32> = (8..1032).collect();
        assert!(Active::take(&page(&full), &mut nsids).unwrap());
        let active = |nsids: &[u32]| Active {
            nsids: nsids.into(),
            more: false,
        };
        assert_eq!(active(&[3]).default().unwrap(), 3);
        assert_eq!(active(&[1, 3]).default().unwrap(), 1);
        let error = active(&[2, 3]).default().unwrap_err();
        assert_eq!(error.report(), "choose one with --namespace: 2, 3");
        assert!(active(&[]).default().is_err());
    }

    #[test]
    fn descriptors_are_walked_as_far_as_they_go() {
        let uuid = Uuid::from_u128(7);
        let list = [&[1, 8, 0, 0][..], &[9; 8], &[3, 16, 0, 0], uuid.as_bytes()].concat();
        assert_eq!(uuid_in(&list), Some(uuid));
        for cut in 0..list.len() {
            assert_eq!(uuid_in(&list[..cut]), None);
        }
        assert_eq!(uuid_in(&[0; 4096]), None);
        assert_eq!(uuid_in(&[&[3, 16, 0, 0][..], &[0; 32]].concat()), None);
        assert_eq!(uuid_in(&[255; 4096]), None);
    }
}
