//! FreeBSD: disks (character devices, zvols among them), `fspacectl`, the machine's identity.

use std::ffi::CStr;
use std::fs::{File, FileType};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::fspacectl_all;
use nix::libc;

use super::{DiskFacts, MachineId, Support, signed, supported};

/// None: GEOM refuses to write a mounted disk by itself.
pub const DISK_OPEN_FLAGS: i32 = 0;

/// Whether a file of this type may be a disk.
pub fn is_disk(kind: FileType) -> bool {
    kind.is_char_device()
}

pub(super) fn disk_facts(disk: &File) -> io::Result<DiskFacts> {
    let fd = disk.as_raw_fd();
    let (mut bytes, mut sector, mut stripe) = (0, 0, 0);
    // SAFETY: each request writes one number of the type that its definition below names.
    unsafe {
        ioctl::diocgmediasize(fd, &raw mut bytes)?;
        ioctl::diocgsectorsize(fd, &raw mut sector)?;
        // Not every disk has stripes.
        let _ = ioctl::diocgstripesize(fd, &raw mut stripe);
    }
    Ok(DiskFacts {
        bytes: bytes.try_into().map_err(|_| Errno::EOVERFLOW)?,
        sector,
        preferred: stripe.try_into().unwrap_or(0),
        can_deallocate: can_delete(disk),
    })
}

fn can_delete(disk: &File) -> bool {
    let mut attribute = Attribute {
        name: [0; 64],
        length: 4,
        value: Value { text: [0; 256] },
    };
    let name = b"GEOM::candelete";
    attribute.name[..name.len()].copy_from_slice(name);
    // SAFETY: the request reads the name and writes at most the union, which no value invalidates.
    unsafe {
        ioctl::diocgattr(disk.as_raw_fd(), &raw mut attribute).is_ok()
            && attribute.value.number != 0
    }
}

pub(super) fn discard(disk: &File, offset: u64, length: u64) -> io::Result<Support> {
    let range = [signed(offset)?, signed(length)?];
    supported(|| {
        // SAFETY: the request reads the range, which outlives the call.
        unsafe { ioctl::diocgdelete(disk.as_raw_fd(), &raw const range) }.map(drop)
    })
}

/// FreeBSD has no such request; what a deleted range reads is the disk's choice.
pub(super) fn zero_disk(_: &File, _: u64, _: u64, _: bool) -> io::Result<Support> {
    Ok(Support::Unsupported)
}

pub(super) fn flush_disk(disk: &File) -> io::Result<()> {
    // Character disks have no cache in memory, and one without a cache of its own refuses.
    supported(|| {
        // SAFETY: the request has no argument.
        unsafe { ioctl::diocgflush(disk.as_raw_fd()) }.map(drop)
    })
    .map(drop)
}

pub(super) fn can_punch(file: &File, _size: u64) -> bool {
    // Without this, fspacectl writes the zeroes.
    // SAFETY: the call takes a descriptor and a number.
    unsafe { libc::fpathconf(file.as_raw_fd(), PC_DEALLOC_PRESENT) == 1 }
}

pub(super) fn punch(file: &File, offset: u64, length: u64) -> io::Result<Support> {
    let (offset, length) = (signed(offset)?, signed(length)?);
    supported(|| fspacectl_all(file, offset, length))
}

/// FreeBSD has no such call.
pub(super) fn zero_file(_: &File, _: u64, _: u64) -> io::Result<Support> {
    Ok(Support::Unsupported)
}

pub(super) fn machine_id() -> Option<MachineId> {
    let mut text = [0; 64];
    let length = sysctl(c"kern.hostuuid", &mut text)?;
    let uuid = std::str::from_utf8(text.get(..length)?)
        .ok()?
        .trim_end_matches('\0')
        .to_owned();
    let mut hostid = [0; size_of::<libc::c_ulong>()];
    sysctl(c"kern.hostid", &mut hostid).filter(|&length| length == hostid.len())?;
    // All zeroes: rc.d/hostid has not run, as in some jails.
    let unset = uuid.bytes().all(|byte| matches!(byte, b'0' | b'-'));
    #[expect(
        clippy::useless_conversion,
        reason = "c_ulong has 32 bits on some machines"
    )]
    let hostid = libc::c_ulong::from_ne_bytes(hostid).into();
    (!unset).then_some(MachineId::Public { uuid, hostid })
}

pub(super) fn set_title(title: &CStr) {
    // SAFETY: the format takes one string, which outlives the call; the system copies it.
    unsafe { libc::setproctitle(c"-%s".as_ptr(), title.as_ptr()) };
}

/// Fills `into` with a value of the kernel's and returns its length.
fn sysctl(name: &CStr, into: &mut [u8]) -> Option<usize> {
    let mut length = into.len();
    // SAFETY: the kernel writes at most `length` bytes to `into`; nothing is set.
    let status = unsafe {
        let into = into.as_mut_ptr().cast();
        libc::sysctlbyname(name.as_ptr(), into, &raw mut length, ptr::null(), 0)
    };
    (status == 0).then_some(length)
}

/// `struct diocgattr_arg` of `sys/disk.h`: a name, and the value that the kernel puts there.
#[repr(C)]
pub(super) struct Attribute {
    // Of `char`, which has a sign on some CPUs.
    name: [u8; 64],
    length: libc::c_int,
    value: Value,
}

#[repr(C)]
#[derive(Clone, Copy)]
union Value {
    text: [libc::c_char; 256],
    offset: libc::off_t,
    number: libc::c_int,
}

const _: () = assert!(size_of::<Attribute>() == 328 && size_of::<libc::c_int>() == 4);

/// `sys/disk.h`.
mod ioctl {
    #![allow(missing_docs, reason = "the macros leave no place for documentation")]

    use nix::{ioctl_none, ioctl_read, ioctl_readwrite, ioctl_write_ptr, libc};

    ioctl_read!(diocgsectorsize, b'd', 128, libc::c_uint);
    ioctl_read!(diocgmediasize, b'd', 129, libc::off_t);
    ioctl_none!(diocgflush, b'd', 135);
    ioctl_write_ptr!(diocgdelete, b'd', 136, [libc::off_t; 2]);
    ioctl_read!(diocgstripesize, b'd', 139, libc::off_t);
    ioctl_readwrite!(diocgattr, b'd', 142, super::Attribute);
}

/// `_PC_DEALLOC_PRESENT` of `sys/unistd.h`.
const PC_DEALLOC_PRESENT: libc::c_int = 65;
