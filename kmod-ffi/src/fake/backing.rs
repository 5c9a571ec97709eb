//! Files and disks of the real file system, as the block backend opens and measures them.
//!
//! FreeBSD `sys/cam/ctl/ctl_backend_block.c` (ctl_be_block_open, ctl_be_block_open_file,
//! ctl_be_block_open_dev).

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::state::{Lun, text};
use crate::error::Errno;

/// Bytes of a sector of every disk. Asking one takes an ioctl(2) that differs between systems.
const SECTOR: u32 = 512;

/// What opening came to.
pub(super) enum Opened {
    /// The LUN has its medium.
    Medium,
    /// It was opened, and is of no use: the LUN has no medium. FreeBSD BUG: the request says that all is
    /// well, but for the text.
    Useless(String),
    /// It could not be opened: the LUN has no medium, and the request says so.
    Closed(String),
}

/// Opens what the option `file` names.
pub(super) fn open(lun: &mut Lun) -> Opened {
    let Some(name) = lun.option("file").map(text) else {
        return Opened::Closed("no file argument specified".into());
    };
    let writable = lun
        .option("readonly")
        .map_or(lun.lun_type == 0, |it| it != b"on");
    let (path, opened) = match open_at(&name, writable) {
        Err(_) if !name.starts_with('/') => {
            let name = format!("/dev/{name}");
            let opened = open_at(&name, writable);
            (name, opened)
        }
        opened => (name, opened),
    };
    let (mut file, writable) = match opened {
        Ok(opened) => opened,
        Err(errno) => return Opened::Closed(format!("error opening {path}: {}", errno.0)),
    };
    lun.readonly = !writable;
    match measure(lun, &mut file, &path) {
        Ok(()) => {
            lun.open = Some(path.into());
            Opened::Medium
        }
        Err(why) => Opened::Useless(why),
    }
}

/// Looks again at what is open, whatever the option `file` says by now.
///
/// # Errors
/// The text that says why it is of no use any more.
pub(super) fn look_again(lun: &mut Lun, path: &Path) -> Result<(), String> {
    match File::open(path) {
        Ok(mut file) => measure(lun, &mut file, &path.to_string_lossy()),
        // A kernel keeps a file that has lost its name.
        Err(_) => Ok(()),
    }
}

fn open_at(path: &str, writable: bool) -> Result<(File, bool), Errno> {
    let open = |writable| {
        OpenOptions::new()
            .read(true)
            .write(writable)
            // Opening a FIFO shall not wait for its other end.
            .custom_flags(libc::O_NONBLOCK)
            .open(Path::new(path))
            .map_err(|error| freebsd_errno(&error))
    };
    match open(writable) {
        Err(EROFS | Errno::EACCES) if writable => Ok((open(false)?, false)),
        opened => Ok((opened?, writable)),
    }
}

fn measure(lun: &mut Lun, file: &mut File, path: &str) -> Result<(), String> {
    let kind = file
        .metadata()
        .map_err(|_| format!("error calling VOP_GETATTR() for file {path}"))?
        .file_type();
    if kind.is_file() {
        measure_file(lun, file, path)
    } else if kind.is_block_device() {
        measure_disk(lun, file)
    } else {
        Err(format!("{path} is not a disk or plain file"))
    }
}

fn measure_file(lun: &mut Lun, file: &File, path: &str) -> Result<(), String> {
    let length = file.metadata().map_or(0, |it| it.len());
    lun.size = pick(lun.asked_size, length);
    lun.blocksize = match lun.asked_blocksize {
        0 => default_blocksize(lun.lun_type),
        asked => asked,
    };
    if lun.size < u64::from(lun.blocksize) {
        let (size, blocksize) = (lun.size, lun.blocksize);
        return Err(format!("file {path} size {size} < block size {blocksize}"));
    }
    Ok(())
}

fn measure_disk(lun: &mut Lun, file: &mut File) -> Result<(), String> {
    lun.blocksize = match lun.asked_blocksize {
        0 => SECTOR,
        asked if asked < SECTOR => {
            return Err(format!(
                "requested blocksize {asked} < backing device blocksize {SECTOR}"
            ));
        }
        asked if asked % SECTOR != 0 => {
            return Err(format!(
                "requested blocksize {asked} is not an even multiple of backing device blocksize \
                 {SECTOR}"
            ));
        }
        asked => asked,
    };
    let size = file.seek(SeekFrom::End(0)).unwrap_or(0);
    if lun.asked_size > size {
        let asked = lun.asked_size;
        return Err(format!(
            "requested LUN size {asked} > backing device size {size}"
        ));
    }
    lun.size = pick(lun.asked_size, size);
    Ok(())
}

/// What was asked for, or else what there is.
fn pick(asked: u64, there: u64) -> u64 {
    if asked == 0 { there } else { asked }
}

/// Bytes of a block, of CD-ROMs (5) and of all other devices.
pub(super) fn default_blocksize(lun_type: u8) -> u32 {
    if lun_type == 5 { 2048 } else { 512 }
}

/// Read-only file system.
const EROFS: Errno = Errno(30);

/// FreeBSD's number of an error of this system.
fn freebsd_errno(error: &io::Error) -> Errno {
    // The numbers up to 34 are the oldest Unix's, and the same everywhere.
    match error.raw_os_error() {
        Some(libc::ELOOP) => Errno(62),
        Some(libc::ENAMETOOLONG) => Errno(63),
        Some(number) => Errno(number),
        // A NUL in the name.
        None => Errno::ENOENT,
    }
}
