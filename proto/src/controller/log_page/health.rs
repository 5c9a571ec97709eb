//! SMART / Health Information (02h; Base 2.0 §5.16.1.3) and Firmware Slot Information (03h;
//! §5.16.1.4).

use std::time::Duration;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::identify::field;

/// What the caller has counted for a controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoStatistics {
    /// Bytes that hosts have read.
    pub bytes_read: u64,
    /// Bytes that hosts have written.
    pub bytes_written: u64,
    /// Read, Compare and Verify commands.
    pub reads: u64,
    /// Write commands of all kinds.
    pub writes: u64,
    /// Errors of the medium.
    pub media_errors: u64,
    /// Time that the counters have been running.
    pub uptime: Duration,
}

/// The health log page. 128-bit counters are pairs of which the high half stays 0.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HealthInformation {
    /// Critical warnings: none.
    pub critical_warning: u8,
    /// Composite temperature in Kelvin: 0, we have no thermometer.
    pub temperature: U16,
    /// Available spare in percent.
    pub available_spare: u8,
    /// Threshold of the available spare in percent.
    pub available_spare_threshold: u8,
    /// Endurance used in percent.
    pub percentage_used: u8,
    /// Endurance groups, reserved.
    pub reserved_6: [u8; 26],
    /// Thousands of 512 bytes read, rounded up.
    pub data_units_read: [U64; 2],
    /// Thousands of 512 bytes written, rounded up.
    pub data_units_written: [U64; 2],
    /// Read commands.
    pub host_reads: [U64; 2],
    /// Write commands.
    pub host_writes: [U64; 2],
    /// Minutes busy: not counted.
    pub busy_minutes: [U64; 2],
    /// Power cycles.
    pub power_cycles: [U64; 2],
    /// Hours up.
    pub power_on_hours: [U64; 2],
    /// Shutdowns without notice: not counted.
    pub unsafe_shutdowns: [U64; 2],
    /// Errors of the medium.
    pub media_errors: [U64; 2],
    /// Entries that the error log ever had.
    pub error_entries: [U64; 2],
    /// Minutes too warm, much too warm.
    pub temperature_minutes: [U32; 2],
    /// Sensors, thermal management, reserved.
    pub reserved_200: [u8; 312],
}

const _: () = assert!(size_of::<HealthInformation>() == 512);

impl HealthInformation {
    pub(super) fn of(statistics: &IoStatistics, errors: u64) -> Self {
        let wide = |value: u64| [value.into(), 0.into()];
        let mut health = Self::new_zeroed();
        health.available_spare = 100;
        health.data_units_read = wide(statistics.bytes_read.div_ceil(DATA_UNIT));
        health.data_units_written = wide(statistics.bytes_written.div_ceil(DATA_UNIT));
        health.host_reads = wide(statistics.reads);
        health.host_writes = wide(statistics.writes);
        health.power_cycles = wide(1);
        health.power_on_hours = wide(statistics.uptime.as_secs() / 3600);
        health.media_errors = wide(statistics.media_errors);
        health.error_entries = wide(errors);
        health
    }
}

/// Firmware slots: the first is active and the only one.
pub(super) fn firmware_slots(revision: &str) -> Vec<u8> {
    let mut slots = FirmwareSlots::new_zeroed();
    slots.active = 1;
    slots.revision_1 = field(revision, b' ');
    slots.as_bytes().to_vec()
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FirmwareSlots {
    active: u8,
    reserved_1: [u8; 7],
    revision_1: [u8; 8],
    reserved_16: [u8; 496],
}

const _: () = assert!(size_of::<FirmwareSlots>() == 512);

/// Bytes of a data unit.
const DATA_UNIT: u64 = 512 * 1000;
