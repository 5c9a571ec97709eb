//! FreeBSD's codes of ioctl(2) requests, on every host.
//!
//! A code says which way the argument is copied, its size, a group and a number. The rule is that of
//! FreeBSD `sys/sys/ioccom.h`, which differs from Linux's: 13 bits of size, not 14, and the direction
//! is the kernel's, so that `_IOW` sets the bit for *in*. ioctl(2) takes an `unsigned long` there:
//! the code is extended with zeros.

/// A request without an argument.
pub const IOC_VOID: u32 = 0x2000_0000;
/// The kernel copies the whole argument out, after a call that succeeded.
pub const IOC_OUT: u32 = 0x4000_0000;
/// The kernel copies the whole argument in.
pub const IOC_IN: u32 = 0x8000_0000;
/// The bits of a size in bytes, before it is shifted to bit 16.
pub const IOCPARM_MASK: u32 = (1 << IOCPARM_SHIFT) - 1;

/// `_IO`: the request takes nothing.
pub const fn io(group: u32, number: u32) -> u32 {
    code(IOC_VOID, group, number, 0)
}

/// `_IOR`: the kernel fills a `T`.
pub const fn ior<T>(group: u32, number: u32) -> u32 {
    code(IOC_OUT, group, number, size_of::<T>())
}

/// `_IOW`: the kernel reads a `T`.
pub const fn iow<T>(group: u32, number: u32) -> u32 {
    code(IOC_IN, group, number, size_of::<T>())
}

/// `_IOWR`: the kernel reads a `T` and writes it back.
pub const fn iowr<T>(group: u32, number: u32) -> u32 {
    code(IOC_IN | IOC_OUT, group, number, size_of::<T>())
}

/// `IOCPARM_LEN`: the size of a request's argument in bytes.
pub const fn length(code: u32) -> usize {
    (code >> 16 & IOCPARM_MASK) as usize
}

const IOCPARM_SHIFT: u32 = 13;

/// Panics, at compile time where it matters, on what a code has no room for.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by the assertion before"
)]
const fn code(direction: u32, group: u32, number: u32, size: usize) -> u32 {
    assert!(group <= 0xff && number <= 0xff && size <= IOCPARM_MASK as usize);
    direction | (size as u32) << 16 | group << 8 | number
}

#[cfg(test)]
mod tests {
    use super::*;

    // Values from /dev/nvmf of FreeBSD (amd64), whose group is 'n'.

    #[test]
    fn a_request_without_argument_is_void() {
        assert_eq!(io(u32::from(b'n'), 202), 0x2000_6eca);
    }

    #[test]
    fn what_userland_writes_goes_in() {
        type NvmfIocNv = [u64; 3];
        let group = u32::from(b'n');
        assert_eq!(iow::<NvmfIocNv>(group, 200), 0x8018_6ec8);
        assert_eq!(iow::<u64>(group, 201), 0x8008_6ec9);
        assert_eq!(iowr::<NvmfIocNv>(group, 203), 0xc018_6ecb);
        // FIONREAD
        assert_eq!(ior::<i32>(u32::from(b'f'), 127), 0x4004_667f);
    }

    #[test]
    fn the_largest_argument_fills_thirteen_bits() {
        let code = iow::<[u8; 8191]>(0xff, 0xff);
        assert_eq!(code, 0x9fff_ffff);
        assert_eq!(length(code), 8191);
    }

    #[test]
    #[should_panic = "IOCPARM_MASK"]
    fn an_argument_of_8_kib_has_no_code() {
        iow::<[u8; 8192]>(0, 0);
    }
}
