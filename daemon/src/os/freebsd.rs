//! FreeBSD: disks (character devices, zvols among them), `fspacectl`, the machine's identity, and
//! Capsicum.

use std::ffi::CStr;
use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::ptr;

use capsicum::{CapRights, FileRights, IoctlsBuilder, Right};
use nix::errno::Errno;
use nix::fcntl::fspacectl_all;
use nix::libc;
use nix::sys::resource::Resource;

use super::{DiskFacts, Fence, MachineId, Profile, Purpose, Support, signed, supported};

/// None: GEOM refuses to write a mounted disk by itself.
pub const DISK_OPEN_FLAGS: i32 = 0;

/// What disks are to the file system.
pub const DISK: rustix::fs::FileType = rustix::fs::FileType::CharacterDevice;

/// What bounds a process's memory. `RLIMIT_DATA` would not do: it knows brk(2) alone.
pub const MEMORY: Resource = Resource::RLIMIT_VMEM;

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

/// Those of capability mode are the kernel's to know, and fail as a whole.
#[cfg(feature = "fake")]
pub(super) fn forbidden_calls() -> Vec<&'static str> {
    Vec::new()
}

/// Capability mode leaves no way to connect or to send to an address, so that only who has all its
/// sockets can be in it.
pub(super) fn fence(profile: Profile) -> Vec<(Fence, io::Result<()>)> {
    let entered = match profile {
        Profile::Worker => capsicum::enter(),
        Profile::Announcer => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "who has to connect to others cannot be in it",
        )),
    };
    vec![(Fence::CapabilityMode, entered)]
}

pub(super) fn limit_standard() -> io::Result<()> {
    let channel = [
        Right::Read,
        Right::Write,
        Right::Shutdown,
        Right::Getsockopt,
        Right::Setsockopt,
    ];
    rights(&io::stdin(), &channel)?;
    let log = [Right::Write, Right::Fstat];
    rights(&io::stdout(), &log)?;
    rights(&io::stderr(), &log)
}

/// A connection has what its listener has: besides what is done with it here, `SockClient` is what the
/// kernel asks of one that it is to take over.
pub(super) fn limit(descriptor: &OwnedFd, purpose: Purpose) -> io::Result<()> {
    let read = [Right::Pread, Right::Fstat, Right::Fsync];
    let all = [&read[..], &[Right::Pwrite]].concat();
    let storage = |read_only| if read_only { &read[..] } else { &all[..] };
    match purpose {
        Purpose::Listener => {
            let connections = [
                Right::Accept,
                Right::Event,
                Right::Ioctl,
                Right::SockClient,
                Right::Fstat,
            ];
            rights(descriptor, &connections)?;
            requests(descriptor, &[libc::FIONBIO])
        }
        Purpose::File { read_only } => rights(descriptor, storage(read_only)),
        Purpose::Disk { read_only } => {
            rights(descriptor, &[storage(read_only), &[Right::Ioctl]].concat())?;
            match read_only {
                true => requests(descriptor, &[ioctl::DIOCGFLUSH]),
                false => requests(descriptor, &[ioctl::DIOCGFLUSH, ioctl::DIOCGDELETE]),
            }
        }
        Purpose::Requests(code) => {
            rights(descriptor, &[Right::Ioctl])?;
            requests(descriptor, &[code.into()])
        }
    }
}

fn rights(descriptor: &impl AsFd, rights: &[Right]) -> io::Result<()> {
    let mut all = FileRights::new();
    for &right in rights {
        all.allow(right);
    }
    unless_unknown(all.limit(descriptor))
}

fn requests(descriptor: &impl AsFd, codes: &[libc::c_ulong]) -> io::Result<()> {
    let requests = codes
        .iter()
        .fold(IoctlsBuilder::new(), |all, &code| all.allow(code));
    unless_unknown(requests.finalize().limit(descriptor))
}

/// A kernel without capabilities has no rights to take; who is to be confined finds out when it enters.
fn unless_unknown(limited: io::Result<()>) -> io::Result<()> {
    match limited {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        limited => limited,
    }
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

    use nix::{
        ioctl_none, ioctl_read, ioctl_readwrite, ioctl_write_ptr, libc, request_code_none,
        request_code_write,
    };

    pub(super) const DIOCGFLUSH: libc::c_ulong = request_code_none!(b'd', 135);
    pub(super) const DIOCGDELETE: libc::c_ulong =
        request_code_write!(b'd', 136, size_of::<[libc::off_t; 2]>());

    ioctl_read!(diocgsectorsize, b'd', 128, libc::c_uint);
    ioctl_read!(diocgmediasize, b'd', 129, libc::off_t);
    ioctl_none!(diocgflush, b'd', 135);
    ioctl_write_ptr!(diocgdelete, b'd', 136, [libc::off_t; 2]);
    ioctl_read!(diocgstripesize, b'd', 139, libc::off_t);
    ioctl_readwrite!(diocgattr, b'd', 142, super::Attribute);
}

/// `_PC_DEALLOC_PRESENT` of `sys/unistd.h`.
const PC_DEALLOC_PRESENT: libc::c_int = 65;
