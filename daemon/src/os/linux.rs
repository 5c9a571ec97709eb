//! Linux: block devices, `fallocate`, the machine's identity, and fences around processes.

#[cfg(feature = "fake")]
mod attempts;
mod filter;
mod landlock;

use std::ffi::CStr;
use std::fs::{self, File, FileType};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::resource::Resource;

use super::{DiskFacts, Fence, MachineId, Profile, Purpose, Support, signed, supported};

/// Refuses a disk that is mounted, swapped to or part of a volume, and keeps it from becoming so.
pub const DISK_OPEN_FLAGS: i32 = libc::O_EXCL;

/// What disks are to the file system.
pub const DISK: rustix::fs::FileType = rustix::fs::FileType::BlockDevice;

/// What bounds a process's memory: whatever it can write, whether it was written or not. Address space
/// would not do, of which the allocator reserves much for each thread.
pub const MEMORY: Resource = Resource::RLIMIT_DATA;

/// Whether a file of this type may be a disk.
pub fn is_disk(kind: FileType) -> bool {
    kind.is_block_device()
}

pub(super) fn disk_facts(disk: &File) -> io::Result<DiskFacts> {
    let fd = disk.as_raw_fd();
    let (mut bytes, mut sector, mut physical) = (0, 0, 0);
    // SAFETY: each request writes one number of the type that its definition below names.
    unsafe {
        ioctl::blkgetsize64(fd, &raw mut bytes)?;
        ioctl::blksszget(fd, &raw mut sector)?;
        ioctl::blkpbszget(fd, &raw mut physical)?;
    }
    Ok(DiskFacts {
        bytes,
        sector: sector.unsigned_abs(),
        preferred: physical.into(),
        can_deallocate: can_discard(disk),
    })
}

/// The kernel says it in sysfs only; a partition asks the disk that it lies on.
fn can_discard(disk: &File) -> bool {
    let Ok(device) = disk.metadata().map(|metadata| metadata.rdev()) else {
        return false;
    };
    let device = format!(
        "/sys/dev/block/{}:{}",
        libc::major(device),
        libc::minor(device)
    );
    ["queue", "../queue"]
        .iter()
        .find_map(|queue| fs::read_to_string(format!("{device}/{queue}/discard_max_bytes")).ok())
        .is_some_and(|bytes| bytes.trim() != "0")
}

pub(super) fn discard(disk: &File, offset: u64, length: u64) -> io::Result<Support> {
    supported(|| {
        // SAFETY: the request reads the range, which outlives the call.
        unsafe { ioctl::blkdiscard(disk.as_raw_fd(), &[offset, length]) }.map(drop)
    })
}

pub(super) fn zero_disk(disk: &File, offset: u64, length: u64, unmap: bool) -> io::Result<Support> {
    if unmap && punch(disk, offset, length)? == Support::Done {
        return Ok(Support::Done);
    }
    supported(|| {
        // SAFETY: the request reads the range, which outlives the call.
        unsafe { ioctl::blkzeroout(disk.as_raw_fd(), &[offset, length]) }.map(drop)
    })
}

pub(super) fn flush_disk(disk: &File) -> io::Result<()> {
    disk.sync_data()
}

pub(super) fn can_punch(file: &File, size: u64) -> bool {
    // Behind the end there is nothing to lose, and a file system that cannot says so first.
    matches!(punch(file, size, PROBE), Ok(Support::Done))
}

pub(super) fn punch(file: &File, offset: u64, length: u64) -> io::Result<Support> {
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (offset, length) = (signed(offset)?, signed(length)?);
    supported(|| fallocate(file, mode, offset, length))
}

pub(super) fn zero_file(file: &File, offset: u64, length: u64) -> io::Result<Support> {
    let mode = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let (offset, length) = (signed(offset)?, signed(length)?);
    supported(|| fallocate(file, mode, offset, length))
}

pub(super) fn machine_id() -> Option<MachineId> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| {
            let text = fs::read_to_string(path).ok()?.trim().to_owned();
            // "uninitialized" is what systemd writes into images.
            let good = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            good.then_some(MachineId::Confidential(text))
        })
}

/// The kernel keeps the first 15 bytes, for `ps -o comm` and `top`.
pub(super) fn set_title(title: &CStr) {
    // Only a title that is no string is refused.
    let _ = nix::sys::prctl::set_name(title);
}

#[cfg(feature = "fake")]
pub(super) use attempts::forbidden_calls;

/// The filter last: it leaves none of the calls that make the other.
pub(super) fn fence(profile: Profile) -> Vec<(Fence, io::Result<()>)> {
    let landlock = landlock::deny(profile);
    let filter = filter::install(profile);
    vec![
        (Fence::SystemCallFilter, filter),
        (Fence::Landlock, landlock),
    ]
}

/// Linux has no rights of descriptors.
#[expect(clippy::unnecessary_wraps, reason = "FreeBSD's can fail")]
pub(super) fn limit_standard() -> io::Result<()> {
    Ok(())
}

/// Linux has no rights of descriptors.
#[expect(clippy::unnecessary_wraps, reason = "FreeBSD's can fail")]
pub(super) fn limit(_: &OwnedFd, _: Purpose) -> io::Result<()> {
    Ok(())
}

/// `linux/fs.h`. Some numbers encode a `size_t` where the kernel writes 64 bits on every machine.
mod ioctl {
    #![allow(missing_docs, reason = "the macros leave no place for documentation")]

    use nix::{ioctl_read_bad, ioctl_write_ptr_bad, libc, request_code_none, request_code_read};

    pub(super) const BLKDISCARD: u64 = request_code_none!(0x12, 119);
    pub(super) const BLKZEROOUT: u64 = request_code_none!(0x12, 127);

    ioctl_read_bad!(
        blkgetsize64,
        request_code_read!(0x12, 114, size_of::<libc::size_t>()),
        u64
    );
    ioctl_read_bad!(blksszget, request_code_none!(0x12, 104), libc::c_int);
    ioctl_read_bad!(blkpbszget, request_code_none!(0x12, 123), libc::c_uint);
    ioctl_write_ptr_bad!(blkdiscard, BLKDISCARD, [u64; 2]);
    ioctl_write_ptr_bad!(blkzeroout, BLKZEROOUT, [u64; 2]);
}

const PROBE: u64 = 4096;

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_file_is_no_disk() {
        let error = disk_facts(&tempfile::tempfile().unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOTTY as i32));
    }

    #[test]
    fn the_machine_has_the_same_id_each_time() {
        assert_eq!(machine_id(), machine_id());
    }
}
