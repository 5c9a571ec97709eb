//! The properties of a controller and the CC/CSTS state machine (Base 2.0 §3.1.3, §3.6; Property
//! Get and Set: §6.5, §6.6).
//!
//! What the registers cannot say belongs elsewhere: [`super::Controller`] turns a [`Transition`]
//! into what has to be done. A value that cannot be had is refused with Invalid Field and changes
//! nothing, as FreeBSD's kernel does it: a host learns of its mistake at once, where CSTS.CFS would
//! leave it to wait for CAP.TO.

use super::{Config, Kind};
use crate::sqe::Sqe;
use crate::status::Status;

/// CAP, CC and CSTS of one controller.
#[derive(Debug)]
pub(super) struct Registers {
    kind: Kind,
    cap: u64,
    cc: u32,
    csts: u32,
}

/// What a write to CC set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    /// CC.EN 0 → 1: ready.
    Enabled,
    /// CC.EN 1 → 0: Controller Reset.
    Reset,
    /// CC.SHN asks for a shutdown, normal or abrupt.
    Shutdown,
}

impl Registers {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            kind: config.kind,
            cap: capabilities(config),
            cc: 0,
            csts: 0,
        }
    }

    /// Whether commands other than Fabrics ones may be executed.
    pub(super) fn is_ready(&self) -> bool {
        self.csts & (CSTS_RDY | CSTS_CFS | CSTS_SHST) == CSTS_RDY
    }

    /// Gives the controller up for good (CSTS.CFS).
    pub(super) fn set_fatal(&mut self) {
        self.csts |= CSTS_CFS;
    }

    /// Reports a shutdown complete, if one was under way.
    pub(super) fn shutdown_complete(&mut self) {
        if self.csts & CSTS_SHST == SHST_OCCURRING {
            self.csts = self.csts & !CSTS_SHST | SHST_COMPLETE;
        }
    }

    /// Executes Property Get.
    ///
    /// # Errors
    /// Invalid Field for anything but a property that exists, read whole.
    pub(super) fn read(&self, sqe: &Sqe) -> Result<u64, Status> {
        match (sqe.cdw11.get(), width(sqe)?) {
            (CAP, 8) => Ok(self.cap),
            (VS, 4) => Ok(VERSION.into()),
            (CC, 4) => Ok(self.cc.into()),
            (CSTS, 4) => Ok(self.csts.into()),
            (CRTO, 4) => Ok(READY_TIMEOUT.into()),
            _ => Err(Status::INVALID_FIELD.dnr()),
        }
    }

    /// Executes Property Set. CC is the only property that can be written.
    ///
    /// # Errors
    /// Invalid Field, with nothing changed.
    pub(super) fn write(&mut self, sqe: &Sqe) -> Result<Option<Transition>, Status> {
        match (sqe.cdw11.get(), width(sqe)?) {
            (CC, 4) => self.write_cc(sqe.cdw12.get() & CC_WRITABLE),
            _ => Err(Status::INVALID_FIELD.dnr()),
        }
    }

    fn write_cc(&mut self, new: u32) -> Result<Option<Transition>, Status> {
        let old = self.cc;
        let frozen = old & new & CC_EN != 0 && (old ^ new) & (CC_CSS | CC_MPS | CC_AMS) != 0;
        if frozen || !self.is_possible(new) {
            return Err(Status::INVALID_FIELD.dnr());
        }
        self.cc = new;
        let shutdown = new & CC_SHN != 0 && (old ^ new) & CC_SHN != 0;
        if old & CC_EN != 0 && new & CC_EN == 0 {
            // A host that asks for both at once would wait for SHST: after the reset nothing is
            // left to shut down.
            self.csts = if shutdown { SHST_COMPLETE } else { 0 };
            Ok(Some(Transition::Reset))
        } else if shutdown && self.csts & CSTS_SHST == 0 {
            self.csts |= SHST_OCCURRING;
            Ok(Some(Transition::Shutdown))
        } else if old & CC_EN == 0 && new & CC_EN != 0 {
            self.csts = CSTS_RDY;
            Ok(Some(Transition::Enabled))
        } else {
            Ok(None)
        }
    }

    /// Whether every field of CC has a value that the controller supports.
    fn is_possible(&self, cc: u32) -> bool {
        let css = match (cc & CC_CSS) >> 4 {
            0b000 | 0b110 => true,
            0b111 => self.kind == Kind::Discovery,
            _ => false,
        };
        // FreeBSD: its discovery host leaves the entry sizes 0; Linux: its one sets them.
        css && (cc & CC_MPS) >> 7 <= MPSMAX
            && cc & CC_AMS == 0
            && cc & CC_SHN != CC_SHN
            && matches!((cc & CC_IOSQES) >> 16, 0 | IOSQES)
            && matches!((cc & CC_IOCQES) >> 20, 0 | IOCQES)
    }
}

/// CAP (Base 2.0 §3.1.3.1).
fn capabilities(config: &Config) -> u64 {
    let entries = match config.kind {
        Kind::Io => config.max_io_entries,
        Kind::Discovery => config.max_admin_entries,
    };
    let mqes = u64::from(entries.saturating_sub(1).min(0xffff));
    let contiguous_queues = 1 << 16;
    let timeout = u64::from(TIMEOUT) << 24;
    let css = match config.kind {
        // Bit 6 (CC.CSS 110b) stands for Identify by command set, which Linux prefers.
        Kind::Io => 0b0100_0001_u64,
        // FreeBSD: its host insists on the NVM bit.
        Kind::Discovery => 0b1000_0001,
    } << 37;
    let mpsmax = u64::from(MPSMAX) << 52;
    let ready_with_media = 1 << 59;
    mqes | contiguous_queues | timeout | css | mpsmax | ready_with_media
}

/// Bytes that a Property command says it moves.
fn width(sqe: &Sqe) -> Result<u8, Status> {
    match sqe.cdw10.get() & 0b111 {
        0 => Ok(4),
        1 => Ok(8),
        _ => Err(Status::INVALID_FIELD.dnr()),
    }
}

/// The version that we claim: 2.0.0.
pub(super) const VERSION: u32 = 0x0002_0000;

/// How long enabling, disabling and shutting down may take, in units of 500 ms (CAP.TO): 15 s.
/// We are ready at once; the rest is for a shutdown that waits for slow storage.
const TIMEOUT: u8 = 30;
/// CRTO: ready with media within [`TIMEOUT`]; hosts refuse less than CAP.TO.
const READY_TIMEOUT: u32 = TIMEOUT as u32;
/// Memory pages of 2^(12 + this) bytes at most. Pages mean nothing over fabrics; 64 KiB keeps hosts
/// with large pages content.
const MPSMAX: u32 = 4;
/// Submission queue entries of 2^6 bytes.
const IOSQES: u32 = 6;
/// Completion queue entries of 2^4 bytes.
const IOCQES: u32 = 4;

// Offsets of properties.
const CAP: u32 = 0x00;
const VS: u32 = 0x08;
const CC: u32 = 0x14;
const CSTS: u32 = 0x1c;
const CRTO: u32 = 0x68;

// Fields of CC.
const CC_EN: u32 = 1;
const CC_CSS: u32 = 0x7 << 4;
const CC_MPS: u32 = 0xf << 7;
const CC_AMS: u32 = 0x7 << 11;
const CC_SHN: u32 = 0x3 << 14;
const CC_IOSQES: u32 = 0xf << 16;
const CC_IOCQES: u32 = 0xf << 20;
/// The rest is reserved, or read-only without CAP.CRMS.CRIMS (CRIME).
const CC_WRITABLE: u32 = CC_EN | CC_CSS | CC_MPS | CC_AMS | CC_SHN | CC_IOSQES | CC_IOCQES;

// Fields of CSTS.
const CSTS_RDY: u32 = 1;
const CSTS_CFS: u32 = 1 << 1;
const CSTS_SHST: u32 = 0x3 << 2;
const SHST_OCCURRING: u32 = 0b01 << 2;
const SHST_COMPLETE: u32 = 0b10 << 2;

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;
    use crate::opcode::fabrics;

    const ENABLE: u32 = 0x0046_0001;

    fn get(registers: &Registers, offset: u32, size: u32) -> Result<u64, Status> {
        let mut sqe = Sqe::fabrics(fabrics::PROPERTY_GET, 1);
        sqe.cdw10 = size.into();
        sqe.cdw11 = offset.into();
        registers.read(&sqe)
    }

    fn set(
        registers: &mut Registers,
        offset: u32,
        value: u32,
    ) -> Result<Option<Transition>, Status> {
        let mut sqe = Sqe::fabrics(fabrics::PROPERTY_SET, 1);
        sqe.cdw11 = offset.into();
        sqe.cdw12 = value.into();
        registers.write(&sqe)
    }

    fn csts(registers: &Registers) -> u64 {
        get(registers, CSTS, 0).unwrap()
    }

    #[test]
    fn capabilities_are_the_ones_that_hosts_look_for() {
        let registers = Registers::new(&config(Kind::Io));
        let cap = get(&registers, CAP, 1).unwrap();
        assert_eq!(cap & 0xffff, 127, "MQES is 0's based");
        assert_eq!(cap >> 16 & 1, 1, "CQR");
        assert_eq!(cap >> 24 & 0xff, 30, "TO");
        assert_eq!(cap >> 36 & 1, 0, "NSSRS");
        assert_eq!(cap >> 37 & 0xff, 0x41, "CSS");
        assert_eq!(cap >> 48 & 0xff, 0x40, "MPSMIN 0, MPSMAX 4");
        assert_eq!(cap >> 59 & 0b11, 0b01, "CRMS");
        assert_eq!(get(&registers, VS, 0), Ok(0x0002_0000));
        assert_eq!(
            get(&registers, CRTO, 0),
            Ok(30),
            "Linux insists on at least CAP.TO"
        );
    }

    #[test]
    fn properties_are_read_whole_or_not_at_all() {
        let registers = Registers::new(&config(Kind::Io));
        for (offset, size) in [
            (CAP, 0),
            (4, 0),
            (VS, 1),
            (CC, 1),
            (CSTS, 1),
            (CC, 2),
            (CC, 7),
        ] {
            assert_eq!(
                get(&registers, offset, size),
                Err(Status::INVALID_FIELD.dnr())
            );
        }
        // Reserved over fabrics or not supported: INTMS, NSSR, AQA, ASQ, none such, unaligned.
        for offset in [0x0c, 0x20, 0x24, 0x28, 0x1000, 0x15, u32::MAX] {
            assert_eq!(get(&registers, offset, 0), Err(Status::INVALID_FIELD.dnr()));
        }
    }

    #[test]
    fn only_cc_can_be_written() {
        let mut registers = Registers::new(&config(Kind::Io));
        for offset in [CAP, VS, CSTS, 0x20, CRTO, 0x24, 0x13, u32::MAX] {
            assert_eq!(
                set(&mut registers, offset, 1),
                Err(Status::INVALID_FIELD.dnr())
            );
        }
        let mut wide = Sqe::fabrics(fabrics::PROPERTY_SET, 1);
        wide.cdw10 = 1.into();
        wide.cdw11 = CC.into();
        assert_eq!(registers.write(&wide), Err(Status::INVALID_FIELD.dnr()));
    }

    #[test]
    fn a_controller_is_enabled_and_reset_a_thousand_times() {
        let mut registers = Registers::new(&config(Kind::Io));
        for _ in 0..1000 {
            assert!(!registers.is_ready());
            assert_eq!(
                set(&mut registers, CC, ENABLE),
                Ok(Some(Transition::Enabled))
            );
            assert_eq!(set(&mut registers, CC, ENABLE), Ok(None));
            assert!(registers.is_ready());
            assert_eq!(csts(&registers), 1);
            assert_eq!(
                set(&mut registers, CC, ENABLE & !1),
                Ok(Some(Transition::Reset))
            );
            assert_eq!(csts(&registers), 0);
        }
    }

    #[test]
    fn values_that_cannot_be_had_change_nothing() {
        let mut registers = Registers::new(&config(Kind::Io));
        let bad = [
            ENABLE | 0b001 << 4,
            ENABLE | 0b111 << 4,
            ENABLE | 5 << 7,
            ENABLE | 1 << 11,
            ENABLE | 0b11 << 14,
            0x0047_0001,
            0x0056_0001,
        ];
        for cc in bad {
            assert_eq!(
                set(&mut registers, CC, cc),
                Err(Status::INVALID_FIELD.dnr()),
                "{cc:#x}"
            );
            assert_eq!(get(&registers, CC, 0), Ok(0));
        }
        set(&mut registers, CC, ENABLE | 0b110 << 4).unwrap();
        assert_eq!(
            set(&mut registers, CC, ENABLE),
            Err(Status::INVALID_FIELD.dnr()),
            "CSS is frozen while enabled"
        );
    }

    #[test]
    fn discovery_hosts_of_freebsd_and_linux_are_both_understood() {
        for cc in [0x0000_0001, ENABLE, 0x71] {
            let mut registers = Registers::new(&config(Kind::Discovery));
            assert_eq!(set(&mut registers, CC, cc), Ok(Some(Transition::Enabled)));
        }
    }

    #[test]
    fn shutdown_is_reported_until_the_next_reset() {
        let mut registers = Registers::new(&config(Kind::Io));
        set(&mut registers, CC, ENABLE).unwrap();
        assert_eq!(
            set(&mut registers, CC, ENABLE | 1 << 14),
            Ok(Some(Transition::Shutdown))
        );
        assert!(!registers.is_ready());
        assert_eq!(csts(&registers) >> 2 & 3, 0b01);
        assert_eq!(
            set(&mut registers, CC, ENABLE | 2 << 14),
            Ok(None),
            "already under way"
        );
        registers.shutdown_complete();
        assert_eq!(csts(&registers) >> 2 & 3, 0b10);
        assert_eq!(set(&mut registers, CC, 0), Ok(Some(Transition::Reset)));
        assert_eq!(csts(&registers), 0);
        registers.shutdown_complete();
        assert_eq!(csts(&registers), 0, "nothing to complete");
    }

    #[test]
    fn reset_and_shutdown_at_once_do_not_leave_a_host_waiting() {
        let mut registers = Registers::new(&config(Kind::Io));
        set(&mut registers, CC, ENABLE).unwrap();
        assert_eq!(
            set(&mut registers, CC, 1 << 14),
            Ok(Some(Transition::Reset))
        );
        assert_eq!(csts(&registers), 0b1000);
    }
}
