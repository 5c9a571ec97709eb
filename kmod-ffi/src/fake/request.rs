//! One request as a kernel gets it: its code, the bytes of its argument, the memory that pointers in it
//! lead to, and the descriptor that it names.
//!
//! Everything is a copy, as in a kernel: what comes of it is written back when it is done.

#![forbid(unsafe_code)]

use std::os::fd::{OwnedFd, RawFd};

use super::layout::Layout;
use crate::error::Errno;

/// A request. Tests make their own to send what [`crate::Ctl`] never would.
#[derive(Debug)]
pub struct Request<'a> {
    /// The request's code.
    pub code: u32,
    /// The argument's bytes, in the machine's byte order.
    pub argument: Vec<u8>,
    /// What pointers in the argument lead to; every other address is bad.
    pub memory: Vec<Region>,
    /// The caller's open file that the request may name by its number.
    pub descriptor: Option<Descriptor<'a>>,
}

/// Memory of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its address, as it stands in the argument.
    pub address: u64,
    /// What is there.
    pub bytes: Vec<u8>,
    /// Whether the kernel may write there.
    pub writable: bool,
    /// How many bytes, from the first on, the kernel has written at the most.
    pub written: usize,
}

/// An open file of the caller.
#[derive(Debug)]
pub struct Descriptor<'a> {
    /// Its number where the caller runs, which may be another process.
    pub number: RawFd,
    /// The file.
    pub file: &'a mut OwnedFd,
    /// Whether the kernel has taken it over; the caller can only close it then.
    pub taken: bool,
}

impl Region {
    /// Memory that the kernel reads.
    pub fn input(address: u64, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            address,
            bytes: bytes.into(),
            writable: false,
            written: 0,
        }
    }

    /// `length` bytes that the kernel fills.
    pub fn output(address: u64, length: usize) -> Self {
        Self {
            address,
            bytes: vec![0; length],
            writable: true,
            written: 0,
        }
    }

    /// Where in it `length` bytes at `address` stand, if all of them do.
    fn range(&self, address: u64, length: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(address.checked_sub(self.address)?).ok()?;
        let end = start.checked_add(length)?;
        (end <= self.bytes.len()).then_some(start..end)
    }
}

impl Request<'_> {
    /// Whether the argument is as long as the code says.
    pub(super) fn is_whole(&self) -> bool {
        // ioccom.h: bits 16 to 28.
        usize::try_from(self.code >> 16 & 0x1fff) == Ok(self.argument.len())
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.argument[at + i])
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.argument[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_ne_bytes());
    }

    pub(super) fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_ne_bytes());
    }

    /// The bytes of a field up to its NUL, or all of them.
    pub(super) fn text(&self, at: usize, size: usize) -> &[u8] {
        up_to_nul(&self.argument[at..at + size])
    }

    /// Says how it ended: status and text where the layout has them. The text is cut as snprintf(3)
    /// cuts it, and what stood behind it stays.
    pub(super) fn conclude(&mut self, layout: &Layout, status: u32, text: &[u8]) {
        self.put_u32(layout.status, status);
        if !text.is_empty() {
            let kept = &text[..text.len().min(TEXT_SIZE - 1)];
            self.put(layout.text, kept);
            self.put(layout.text + kept.len(), &[0]);
        }
    }

    /// copyin(9).
    pub(super) fn copy_in(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let find = |region: &Region| {
            let range = region.range(address, length)?;
            Some(region.bytes[range].to_vec())
        };
        self.memory.iter().find_map(find).ok_or(Errno::EFAULT)
    }

    /// copyout(9).
    pub(super) fn copy_out(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let region = self
            .memory
            .iter_mut()
            .filter(|region| region.writable)
            .find_map(|region| Some((region.range(address, bytes.len())?, region)));
        let Some((range, region)) = region else {
            return Err(Errno::EFAULT);
        };
        region.written = region.written.max(range.end);
        region.bytes[range].copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes of every `error_str`, its NUL included.
pub(super) const TEXT_SIZE: usize = 160;

/// What stands before the first NUL.
pub(super) fn up_to_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}
