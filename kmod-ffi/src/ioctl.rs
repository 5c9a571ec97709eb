//! ioctl(2) on a real CTL: the one call that passes addresses to a kernel.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno as SystemErrno;
use nix::libc;

use crate::error::Errno;
use crate::kernel::Call;

/// Makes the request.
///
/// # Errors
/// The system's.
pub(crate) fn ioctl(device: &File, call: &mut Call<'_>) -> Result<(), Errno> {
    let code = call.code();
    let argument = call.argument_mut().as_mut_ptr();
    // SAFETY: the kernel reads and writes as many bytes of the argument as the code says, which
    // `Call::new` has compared with its length. The pointers in it were all put there by `Call::input`
    // and `Call::output`, each with the length of its memory, which `call` borrows until we return;
    // every other field is a number, and pointers that the kernel keeps for itself are null. Whatever
    // it writes are bytes.
    // The code's 32 bits fit whatever type the system's ioctl(2) takes.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), code as _, argument) };
    match result {
        -1 => Err(Errno(SystemErrno::last_raw())),
        _ => Ok(()),
    }
}
