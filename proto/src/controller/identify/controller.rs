//! Identify Controller (CNS 01h; Base 2.0 §5.17.2.1) and the NVM command set's limits (CNS 06h; NVM
//! 1.0 §4.1.5.4).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::event::{AERL, DISCOVERY_NOTICES, NAMESPACE_NOTICES};
use super::super::keep_alive::KAS;
use super::super::log_page::ERROR_ENTRIES;
use super::super::namespace::any_volatile_cache;
use super::super::registers::VERSION;
use super::super::{Config, Controller, Environment, Kind};
use super::field;
use crate::nqn::NQN_FIELD_SIZE;
use crate::nvm;

/// Identify Controller. Fields that are always 0 here are gathered in `zero_*`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyController {
    /// PCI vendor and subsystem vendor: none over fabrics.
    pub zero_0: [u8; 4],
    /// Serial number, padded with spaces.
    pub sn: [u8; 20],
    /// Model number, padded with spaces.
    pub mn: [u8; 40],
    /// Firmware revision, padded with spaces.
    pub fr: [u8; 8],
    /// Recommended arbitration burst, IEEE OUI: none.
    pub zero_72: [u8; 4],
    /// Multi-path and sharing: bit 0 more ports, bit 1 more controllers.
    pub cmic: u8,
    /// Maximum data transfer size, as a power of two of 4096 bytes.
    pub mdts: u8,
    /// Controller identifier.
    pub cntlid: U16,
    /// Version.
    pub ver: U32,
    /// RTD3 latencies: not reported.
    pub zero_84: [u8; 8],
    /// Optional asynchronous events.
    pub oaes: U32,
    /// Controller attributes: bit 0 128-bit host identifiers, bit 6 traffic based keep alive.
    pub ctratt: U32,
    /// Read recovery levels and reserved.
    pub zero_100: [u8; 11],
    /// Controller type: 1 I/O, 2 discovery.
    pub cntrltype: u8,
    /// FRU identifier, retry delays, management interface.
    pub zero_112: [u8; 144],
    /// Optional admin commands: none.
    pub oacs: U16,
    /// Commands that Abort may be waiting for, 0's based.
    pub acl: u8,
    /// Asynchronous event requests that may wait, 0's based.
    pub aerl: u8,
    /// Firmware: bit 0 slot 1 is read-only, bits 3:1 slots.
    pub frmw: u8,
    /// Log pages: bit 1 effects, bit 2 extended offsets, bit 5 supported pages.
    pub lpa: u8,
    /// Error log entries, 0's based.
    pub elpe: u8,
    /// Power states, vendor commands, temperatures, capacities, self-test.
    pub zero_263: [u8; 57],
    /// Keep alive granularity in units of 100 ms.
    pub kas: U16,
    /// Thermal management, sanitize, sets, ANA, persistent events, domains.
    pub zero_322: [u8; 190],
    /// Submission queue entry size, as powers of two: bits 3:0 minimum, 7:4 maximum.
    pub sqes: u8,
    /// Completion queue entry size, likewise.
    pub cqes: u8,
    /// Outstanding commands of a queue at most.
    pub maxcmd: U16,
    /// Highest NSID that can be active.
    pub nn: U32,
    /// Optional NVM commands.
    pub oncs: U16,
    /// Fused operations: bit 0 Compare and Write.
    pub fuses: U16,
    /// Format attributes.
    pub zero_524: u8,
    /// Volatile write cache: bit 0 present, bits 2:1 Flush of all namespaces.
    pub vwc: u8,
    /// Atomic write units: one block; vendor commands; write protection.
    pub zero_526: [u8; 8],
    /// Copy descriptor formats: bit 0 format 0. (Byte 532, ACWU: one block.)
    pub ocfs: U16,
    /// SGLs: bits 1:0 supported, bit 20 offset addresses, bit 21 transport descriptors.
    pub sgls: U32,
    /// Attachment limits and reserved.
    pub zero_540: [u8; 228],
    /// Name of the subsystem.
    pub subnqn: [u8; NQN_FIELD_SIZE],
    /// Reserved.
    pub zero_1024: [u8; 768],
    /// I/O queues' command capsule, in units of 16 bytes.
    pub ioccsz: U32,
    /// I/O queues' response capsule, in units of 16 bytes.
    pub iorcsz: U32,
    /// Offset of data in a capsule: directly after the entry.
    pub icdoff: U16,
    /// Fabrics attributes: bit 0 clear: controllers are dynamic.
    pub fcatt: u8,
    /// SGL descriptors in a capsule at most.
    pub msdbd: u8,
    /// Optional Fabrics commands: none.
    pub ofcs: U16,
    /// Discovery controller type: 1 direct.
    pub dctype: u8,
    /// Reserved, power states, vendor.
    pub zero_1807: [u8; 2289],
}

const _: () = assert!(size_of::<IdentifyController>() == 4096);

/// Limits of the NVM command set.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NvmController {
    /// Verify size limit, as a power of two of 4096 bytes.
    pub vsl: u8,
    /// Write Zeroes size limit, likewise.
    pub wzsl: u8,
    /// Write Uncorrectable size limit, likewise.
    pub wusl: u8,
    /// Dataset Management ranges; 0 for no limit beyond the command's 256.
    pub dmrl: u8,
    /// Dataset Management blocks of a range; 0 for no limit.
    pub dmrsl: U32,
    /// Dataset Management blocks of a command; 0 for no limit.
    pub dmsl: U64,
    /// Reserved.
    pub reserved: [u8; 4080],
}

const _: () = assert!(size_of::<NvmController>() == 4096);

impl Controller {
    pub(super) fn controller_data(&self, env: &Environment<'_>) -> IdentifyController {
        let config = &self.config;
        let mut data = IdentifyController::new_zeroed();
        data.sn = field(&config.serial, b' ');
        data.mn = field(&config.model, b' ');
        data.fr = field(&config.firmware, b' ');
        data.mdts = page_power(config.max_transfer.into());
        data.cntlid = config.cntlid.into();
        data.ver = VERSION.into();
        data.aerl = AERL;
        data.elpe = ERROR_ENTRIES - 1;
        data.kas = KAS.into();
        data.sgls = (SGLS_SUPPORTED | SGLS_OFFSET | SGLS_TRANSPORT).into();
        data.subnqn = config.subnqn.to_field();
        data.msdbd = 1;
        match config.kind {
            Kind::Io => io_fields(&mut data, config, env),
            Kind::Discovery => {
                data.cntrltype = 2;
                data.oaes = DISCOVERY_NOTICES.into();
                data.ctratt = CTRATT_TBKAS.into();
                data.lpa = LPA_EFFECTS | LPA_EXTENDED | LPA_SUPPORTED_PAGES;
                data.maxcmd = entries(config.max_admin_entries).into();
                data.dctype = 1;
            }
        }
        data
    }
}

impl NvmController {
    pub(super) fn of(config: &Config) -> Self {
        let mut data = Self::new_zeroed();
        data.vsl = page_power(config.max_transfer.into());
        data.wzsl = page_power(nvm::WRITE_ZEROES_MAX_BYTES);
        data
    }
}

fn io_fields(data: &mut IdentifyController, config: &Config, env: &Environment<'_>) {
    data.cntrltype = 1;
    data.cmic = CMIC_PORTS | CMIC_CONTROLLERS;
    data.oaes = NAMESPACE_NOTICES.into();
    data.ctratt = (CTRATT_HOSTID_128 | CTRATT_TBKAS).into();
    data.acl = ACL;
    data.frmw = FRMW_ONE_READ_ONLY_SLOT;
    data.lpa = LPA_EFFECTS | LPA_EXTENDED | LPA_SUPPORTED_PAGES;
    data.sqes = 0x66;
    data.cqes = 0x44;
    data.maxcmd = entries(config.max_io_entries).into();
    data.nn = env.namespaces.highest().into();
    data.oncs = ONCS.into();
    data.fuses = FUSES_COMPARE_AND_WRITE.into();
    data.vwc = VWC_FLUSH_ONE | u8::from(any_volatile_cache(env.namespaces));
    data.ocfs = OCFS_FORMAT_0.into();
    data.ioccsz = ((64 + config.in_capsule) / 16).into();
    data.iorcsz = 1.into();
}

/// `bytes` as a power of two of 4096 bytes; never 0, which would mean no limit.
fn page_power(bytes: u64) -> u8 {
    let power = (bytes / 4096).checked_ilog2().unwrap_or_default();
    u8::try_from(power.max(1)).unwrap_or(u8::MAX)
}

fn entries(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

const CMIC_PORTS: u8 = 1;
const CMIC_CONTROLLERS: u8 = 1 << 1;
const CTRATT_HOSTID_128: u32 = 1;
const CTRATT_TBKAS: u32 = 1 << 6;
/// Four commands, as the specification recommends (0's based).
const ACL: u8 = 3;
const FRMW_ONE_READ_ONLY_SLOT: u8 = 1 | 1 << 1;
const LPA_EFFECTS: u8 = 1 << 1;
const LPA_EXTENDED: u8 = 1 << 2;
const LPA_SUPPORTED_PAGES: u8 = 1 << 5;
/// Bit 0 Compare, 2 Dataset Management, 3 Write Zeroes, 4 Select in Get Features, 7 Verify, 8 Copy.
const ONCS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8;
const FUSES_COMPARE_AND_WRITE: u16 = 1;
/// Flush takes one namespace, not NSID FFFFFFFFh, as with FreeBSD's kernel.
const VWC_FLUSH_ONE: u8 = 0b10 << 1;
const OCFS_FORMAT_0: u16 = 1;
const SGLS_SUPPORTED: u32 = 0b01;
const SGLS_OFFSET: u32 = 1 << 20;
const SGLS_TRANSPORT: u32 = 1 << 21;
