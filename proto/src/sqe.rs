//! Submission queue entries: 64 bytes that say what a host wants.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::opcode;
use crate::status::Status;

/// A submission queue entry as it stands in a command capsule (Base 2.0 §3.3.3.1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Sqe {
    /// Opcode.
    pub opcode: u8,
    /// Bits 1:0 FUSE, bits 7:6 PSDT.
    pub flags: u8,
    /// Command identifier, unique among a queue's outstanding commands.
    pub cid: U16,
    /// Namespace identifier; of a Fabrics command the low byte is FCTYPE.
    pub nsid: U32,
    /// Command dword 2.
    pub cdw2: U32,
    /// Command dword 3.
    pub cdw3: U32,
    /// Metadata pointer (unused over fabrics).
    pub mptr: U64,
    /// Data pointer: one SGL descriptor.
    pub sgl: SglDescriptor,
    /// Command dwords 10–15.
    pub cdw10: U32,
    /// Command dword 11.
    pub cdw11: U32,
    /// Command dword 12.
    pub cdw12: U32,
    /// Command dword 13.
    pub cdw13: U32,
    /// Command dword 14.
    pub cdw14: U32,
    /// Command dword 15.
    pub cdw15: U32,
}

/// An SGL descriptor (Base 2.0 §4.1.2).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct SglDescriptor {
    /// Address, or offset into the capsule's data.
    pub address: U64,
    /// Length in bytes.
    pub length: U32,
    /// Reserved.
    pub reserved: [u8; 3],
    /// Bits 7:4 type, bits 3:0 subtype.
    pub kind: u8,
}

impl SglDescriptor {
    /// Type 0h, subtype 1h: data in the capsule, at an offset.
    pub const IN_CAPSULE: u8 = 0x01;
    /// Type 5h, subtype Ah: data moved by the transport (H2CData, C2HData).
    pub const TRANSPORT: u8 = 0x5a;

    /// A descriptor of `length` bytes that travel in the capsule.
    pub fn in_capsule(length: u32) -> Self {
        Self {
            length: length.into(),
            kind: Self::IN_CAPSULE,
            ..Self::default()
        }
    }

    /// A descriptor of `length` bytes that travel in data PDUs.
    pub fn transport(length: u32) -> Self {
        Self {
            length: length.into(),
            kind: Self::TRANSPORT,
            ..Self::default()
        }
    }
}

/// Where a command's data is, once its descriptor was found to be legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPointer {
    /// This many bytes stand in the capsule itself.
    InCapsule(u32),
    /// This many bytes travel in data PDUs, whichever way the command says.
    Transport(u32),
}

impl DataPointer {
    /// Bytes that the host provides or has room for.
    pub fn length(self) -> u32 {
        match self {
            Self::InCapsule(length) | Self::Transport(length) => length,
        }
    }
}

/// The data that a command moves, known before any of it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// None.
    None,
    /// This many bytes to the host.
    ToHost(u32),
    /// This many bytes from the host.
    FromHost(u32),
}

/// Which part of a fused operation a command is (Base 2.0 §3.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuse {
    /// Not fused.
    Normal,
    /// The first of two (Compare).
    First,
    /// The second of two (Write).
    Second,
}

impl Sqe {
    /// Bits 7:6 = 01b: the data pointer is an SGL, the only form over fabrics.
    pub const PSDT_SGL: u8 = 0x40;

    /// An entry with nothing set but opcode, identifier and the mandatory SGL form.
    pub fn new(opcode: u8, cid: u16) -> Self {
        let mut sqe = Self::new_zeroed();
        sqe.opcode = opcode;
        sqe.flags = Self::PSDT_SGL;
        sqe.cid = cid.into();
        sqe.sgl = SglDescriptor::transport(0);
        sqe
    }

    /// A Fabrics command of type `fctype`.
    pub fn fabrics(fctype: u8, cid: u16) -> Self {
        let mut sqe = Self::new(opcode::FABRICS, cid);
        sqe.nsid = u32::from(fctype).into();
        sqe
    }

    /// Type of a Fabrics command, `None` of any other command.
    pub fn fctype(&self) -> Option<u8> {
        let [fctype, ..] = self.nsid.get().to_le_bytes();
        (self.opcode == opcode::FABRICS).then_some(fctype)
    }

    /// Which part of a fused operation this is. Fabrics commands are none; theirs are reserved bits.
    ///
    /// # Errors
    /// Invalid Field for the reserved value 11b.
    pub fn fuse(&self) -> Result<Fuse, Status> {
        match self.flags & 0b11 {
            _ if self.opcode == opcode::FABRICS => Ok(Fuse::Normal),
            0b00 => Ok(Fuse::Normal),
            0b01 => Ok(Fuse::First),
            0b10 => Ok(Fuse::Second),
            _ => Err(Status::INVALID_FIELD.dnr()),
        }
    }

    /// Checks the data pointer of a capsule that carries `in_capsule` bytes of data, in the order
    /// and with the answers of FreeBSD's `nvmf_validate_command_capsule`.
    ///
    /// # Errors
    /// The status to complete the command with.
    pub fn data_pointer(&self, in_capsule: u32) -> Result<DataPointer, Status> {
        if self.flags & 0xc0 != Self::PSDT_SGL {
            return Err(Status::INVALID_FIELD.dnr());
        }
        let length = self.sgl.length.get();
        if length == 0 && in_capsule == 0 {
            // No data, so nothing to point at: TrueNAS's host leaves the whole descriptor zero.
            return Ok(DataPointer::Transport(0));
        }
        match self.sgl.kind {
            SglDescriptor::IN_CAPSULE => {
                if self.sgl.address.get() != 0 {
                    Err(Status::SGL_OFFSET_INVALID.dnr())
                } else if length != in_capsule {
                    Err(Status::DATA_SGL_LENGTH_INVALID.dnr())
                } else {
                    Ok(DataPointer::InCapsule(length))
                }
            }
            SglDescriptor::TRANSPORT if in_capsule != 0 => Err(Status::INVALID_FIELD.dnr()),
            SglDescriptor::TRANSPORT => Ok(DataPointer::Transport(length)),
            _ => Err(Status::SGL_DESCRIPTOR_TYPE_INVALID.dnr()),
        }
    }

    /// Dwords 10 and 11 as one 64-bit number (a starting LBA).
    pub fn cdw10_11(&self) -> u64 {
        u64::from(self.cdw10.get()) | u64::from(self.cdw11.get()) << 32
    }

    /// Sets dwords 10 and 11 from one 64-bit number.
    pub fn set_cdw10_11(&mut self, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.cdw10 = U32::from_bytes([a, b, c, d]);
        self.cdw11 = U32::from_bytes([e, f, g, h]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_where_the_specification_puts_them() {
        let mut sqe = Sqe::new(opcode::nvm::READ, 0x1234);
        sqe.nsid = 1.into();
        sqe.sgl = SglDescriptor::transport(0x1000);
        sqe.set_cdw10_11(0x1_0000_0002);
        let bytes = sqe.as_bytes();
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[..8], [0x02, 0x40, 0x34, 0x12, 1, 0, 0, 0]);
        assert_eq!(bytes[32..36], [0x00, 0x10, 0, 0]);
        assert_eq!(bytes[39], 0x5a);
        assert_eq!(bytes[40..48], [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(sqe.cdw10_11(), 0x1_0000_0002);
    }

    #[test]
    fn data_pointers_are_judged_as_freebsd_judges_them() {
        let with = |kind, address: u64, length: u32, in_capsule| {
            let mut sqe = Sqe::new(opcode::nvm::WRITE, 1);
            sqe.sgl.kind = kind;
            sqe.sgl.address = address.into();
            sqe.sgl.length = length.into();
            sqe.data_pointer(in_capsule)
        };
        assert_eq!(with(0x01, 0, 512, 512), Ok(DataPointer::InCapsule(512)));
        assert_eq!(with(0x5a, 0, 512, 0), Ok(DataPointer::Transport(512)));
        assert_eq!(
            with(0x01, 4, 512, 512),
            Err(Status::SGL_OFFSET_INVALID.dnr())
        );
        assert_eq!(
            with(0x01, 0, 512, 511),
            Err(Status::DATA_SGL_LENGTH_INVALID.dnr())
        );
        assert_eq!(with(0x5a, 0, 512, 512), Err(Status::INVALID_FIELD.dnr()));
        assert_eq!(
            with(0x00, 0, 512, 0),
            Err(Status::SGL_DESCRIPTOR_TYPE_INVALID.dnr())
        );
        assert_eq!(
            with(0x00, 0, 0, 0),
            Ok(DataPointer::Transport(0)),
            "no data, no descriptor"
        );
        let mut prp = Sqe::new(opcode::nvm::WRITE, 1);
        prp.flags = 0;
        assert_eq!(prp.data_pointer(0), Err(Status::INVALID_FIELD.dnr()));
    }

    #[test]
    fn both_fuse_bits_at_once_are_refused() {
        let mut sqe = Sqe::new(opcode::nvm::COMPARE, 1);
        sqe.flags |= 0b11;
        assert_eq!(sqe.fuse(), Err(Status::INVALID_FIELD.dnr()));
    }
}
