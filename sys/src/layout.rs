//! What the bindings must be, asserted when they are compiled.
//!
//! Whichever headers bindgen read and whatever the host is: bindings that differ from what FreeBSD's
//! kernel expects do not compile.

use crate::*;

macro_rules! table {
    (
        $(struct $struct:ident: $size:literal { $($field:ident: $offset:literal,)* })*
        $(union $union:ident: $union_size:literal { $($member:ident),* })*
        $(request $request:ident = $code:literal;)*
        $(const $constant:ident = $value:literal;)*
    ) => {
        $(
            const _: () = assert!(size_of::<$struct>() == $size, stringify!($struct));
            $(
                const _: () = assert!(
                    std::mem::offset_of!($struct, $field) == $offset,
                    concat!(stringify!($struct), ".", stringify!($field))
                );
            )*
            // No field is missing from the table.
            const _: fn($struct) = |$struct { $($field: _),* }| ();
        )*
        $(
            const _: () = assert!(size_of::<$union>() == $union_size, stringify!($union));
            $(
                const _: () = assert!(
                    std::mem::offset_of!($union, $member) == 0,
                    concat!(stringify!($union), ".", stringify!($member))
                );
            )*
        )*
        $(const _: () = assert!($request == $code, stringify!($request));)*
        $(const _: () = assert!($constant == $value, stringify!($constant));)*
    };
}

#[cfg(target_pointer_width = "64")]
include!("lp64.rs");

// Of i386 only the codes are known, and the sizes in them. Other CPUs with 32 bits align differently.
#[cfg(all(target_pointer_width = "32", target_arch = "x86"))]
table! {
    request CTL_ENABLE_PORT = 0x8068_e104;
    request CTL_DISABLE_PORT = 0x8068_e105;
    request CTL_LUN_REQ = 0xc148_e121;
    request CTL_LUN_LIST = 0xc0d0_e122;
    request CTL_PORT_REQ = 0xc0e0_e126;
    request CTL_PORT_LIST = 0xc0d0_e127;
    request CTL_LUN_MAP = 0x800c_e128;
    request CTL_GET_LUN_STATS = 0xc024_e129;
    request CTL_GET_PORT_STATS = 0xc024_e12a;
    request CTL_NVMF = 0xc1c0_e12b;
}
