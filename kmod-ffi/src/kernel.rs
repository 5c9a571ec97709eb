//! The seam: one request to CTL, as the kernel gets it.
//!
//! Everything above it is the same everywhere, and everything below is either FreeBSD
//! ([`crate::device`]) or a fake that judges the very bytes (`fake`, for tests). So the seam lies as low
//! as it can: at ioctl(2), with the request's code, the bytes of its argument, and the memory that
//! pointers in them lead to.

#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use crate::argument::Argument;
use crate::error::Errno;

/// The kernel, at the ioctl on `/dev/cam/ctl`.
pub trait Kernel: Send + Sync {
    /// Makes a request. It may sleep, some as long as a host pleases: never on a thread that serves.
    ///
    /// # Errors
    /// The system's. A request that the kernel understood and refused is no error here: its argument
    /// tells.
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno>;
}

/// One request: what ioctl(2) is given, and what lies behind the pointers in it. Only this crate makes
/// and changes one, so that every pointer in it leads to memory that it borrows.
#[derive(Debug)]
pub struct Call<'a> {
    code: u32,
    argument: &'a mut Argument,
    memory: Vec<Memory<'a>>,
    descriptor: Option<&'a mut OwnedFd>,
}

/// Memory of ours that a pointer in the argument leads to.
#[derive(Debug)]
pub enum Memory<'a> {
    /// The kernel reads it.
    Input(&'a [u8]),
    /// The kernel writes it.
    Output(&'a mut [u8]),
}

/// Where an argument says how long the memory behind a pointer is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LengthField {
    /// A `size_t` at this offset.
    Size(usize),
    /// A `uint32_t` at this offset.
    U32(usize),
}

impl<'a> Call<'a> {
    /// A request without memory. The argument must be as long as its code says.
    pub(crate) fn new(code: u32, argument: &'a mut Argument) -> Self {
        let length = (code >> 16) & nvmf_sys::ioccom::IOCPARM_MASK;
        assert_eq!(u32::try_from(argument.bytes().len()), Ok(length));
        Self {
            code,
            argument,
            memory: Vec::new(),
            descriptor: None,
        }
    }

    /// Points the argument's pointer at offset `pointer` to `bytes`, which the kernel reads.
    pub(crate) fn input(mut self, pointer: usize, length: LengthField, bytes: &'a [u8]) -> Self {
        self.point(
            pointer,
            bytes.as_ptr().expose_provenance(),
            length,
            bytes.len(),
        );
        self.memory.push(Memory::Input(bytes));
        self
    }

    /// Points the argument's pointer at offset `pointer` to `bytes`, which the kernel fills.
    pub(crate) fn output(
        mut self,
        pointer: usize,
        length: LengthField,
        bytes: &'a mut [u8],
    ) -> Self {
        self.memory.push(Memory::Output(bytes));
        // From where it stays: a pointer that was taken before would not be valid any more.
        if let Some(Memory::Output(bytes)) = self.memory.last_mut() {
            let (address, size) = (bytes.as_mut_ptr().expose_provenance(), bytes.len());
            self.point(pointer, address, length, size);
        }
        self
    }

    /// The descriptor whose number is in the request. The kernel may take it over: it then stays open,
    /// and all that can be done with it is to close it.
    pub(crate) fn descriptor(mut self, descriptor: &'a mut OwnedFd) -> Self {
        self.descriptor = Some(descriptor);
        self
    }

    fn point(&mut self, pointer: usize, address: usize, length: LengthField, bytes: usize) {
        self.argument.put_size(pointer, address);
        match length {
            LengthField::Size(at) => self.argument.put_size(at, bytes),
            // Longer than 4 GiB: the kernel sees less of it, never more.
            LengthField::U32(at) => {
                self.argument
                    .put_u32(at, u32::try_from(bytes).unwrap_or(u32::MAX));
            }
        }
    }

    /// The request's code (`CTL_PORT_REQ` and so on).
    pub fn code(&self) -> u32 {
        self.code
    }

    /// The argument's bytes, pointers and lengths included, in the machine's byte order.
    pub fn argument(&self) -> &[u8] {
        self.argument.bytes()
    }

    /// The argument's bytes, for the answer.
    pub(crate) fn argument_mut(&mut self) -> &mut [u8] {
        self.argument.bytes_mut()
    }

    /// The memory that the argument points to.
    #[cfg(feature = "fake")]
    pub(crate) fn memory(&mut self) -> &mut [Memory<'a>] {
        &mut self.memory
    }

    /// The descriptor that the request names, if it names one.
    #[cfg(feature = "fake")]
    pub(crate) fn descriptor_mut(&mut self) -> Option<&mut OwnedFd> {
        self.descriptor.as_deref_mut()
    }
}

impl Memory<'_> {
    /// Its address, as it stands in the argument.
    pub fn address(&self) -> usize {
        match self {
            Self::Input(bytes) => bytes.as_ptr().addr(),
            Self::Output(bytes) => bytes.as_ptr().addr(),
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Input(bytes) => bytes.len(),
            Self::Output(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
