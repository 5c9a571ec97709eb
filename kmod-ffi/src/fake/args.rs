//! The lists of a request: its arguments unpacked, its answer packed, and its end.
//!
//! FreeBSD `sys/cam/ctl/ctl.c` (`CTL_LUN_REQ`, `CTL_PORT_REQ`), in its order.

#![forbid(unsafe_code)]

use super::Inner;
use super::layout::{Layout, Lists};
use super::request::Request;
use crate::error::Errno;
use crate::nv::{Nvlist, UnpackError};

/// `CTL_LUN_OK`.
pub(super) const STATUS_OK: u32 = 1;
/// `CTL_LUN_ERROR`.
const STATUS_ERROR: u32 = 2;

/// Bytes that packed arguments may have.
const MAX_ARGS: u64 = 1 << 20;

/// Why a request is not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The kernel says so in a text; ioctl(2) succeeds.
    Refused(String),
    /// ioctl(2) fails.
    Errno(Errno),
}

impl Failure {
    pub(super) fn refused(why: &str) -> Self {
        Self::Refused(why.into())
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// The arguments of a request; none is an empty list.
pub(super) fn unpack(
    kernel: &Inner,
    request: &Request<'_>,
    lists: &Lists,
) -> Result<Nvlist, Failure> {
    let (address, length) = (request.u64(lists.args), request.u64(lists.args_len));
    if address == 0 {
        return Ok(Nvlist::new());
    }
    if length > MAX_ARGS {
        return Err(Failure::refused("Too big args."));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let packed = request
        .copy_in(address, length)
        .map_err(|_| Failure::refused("Cannot copyin args."))?;
    unpack_list(kernel, &packed)?.ok_or_else(|| Failure::refused("Cannot unpack args nvlist."))
}

/// A list with flags 0, if it is one.
///
/// # Errors
/// A list at which the kernel panics.
pub(super) fn unpack_list(kernel: &Inner, packed: &[u8]) -> Result<Option<Nvlist>, Errno> {
    match Nvlist::unpack(packed, 0) {
        Ok(list) => Ok(Some(list)),
        Err(UnpackError::DescriptorPair(kind)) => {
            Err(kernel.panic(&format!("Invalid type ({kind}) of a pair in a packed list")))
        }
        Err(_) => Ok(None),
    }
}

/// Ends a request that was done or not, with the answer that it has.
pub(super) fn finish(
    request: &mut Request<'_>,
    lists: &Lists,
    done: Result<Option<Nvlist>, Failure>,
) -> Result<(), Errno> {
    let done = done.and_then(|answer| match answer {
        Some(answer) => give(request, lists, &answer),
        None => Ok(()),
    });
    match done {
        Ok(()) => {
            request.put_u32(lists.ends.status, STATUS_OK);
            Ok(())
        }
        Err(failure) => refuse(request, &lists.ends, failure),
    }
}

/// Gives the answer to a caller who wants it. What was asked is done already.
fn give(request: &mut Request<'_>, lists: &Lists, answer: &Nvlist) -> Result<(), Failure> {
    let address = request.u64(lists.result);
    if address == 0 {
        return Ok(());
    }
    let packed = answer
        .pack()
        .map_err(|_| Failure::refused("Cannot pack result nvlist."))?;
    let length = packed.len() as u64;
    if length > request.u64(lists.result_len) {
        return Err(Failure::refused("Result nvlist too large."));
    }
    request
        .copy_out(address, &packed)
        .map_err(|_| Failure::refused("Cannot copyout() the result."))?;
    request.put_u64(lists.result_len, length);
    Ok(())
}

/// Ends a request that was not done.
pub(super) fn refuse(
    request: &mut Request<'_>,
    ends: &Layout,
    failure: Failure,
) -> Result<(), Errno> {
    match failure {
        Failure::Refused(why) => {
            request.conclude(ends, STATUS_ERROR, why.as_bytes());
            Ok(())
        }
        Failure::Errno(errno) => Err(errno),
    }
}
