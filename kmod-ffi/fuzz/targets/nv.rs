//! Packed name-value lists: refused, or of the same meaning when packed again.
//!
//! The first byte is the flags that the caller wants. Its highest bit has the sizes in all headers
//! put right, which no fuzzer does by chance.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use nvmf_kmod::nv::{MAX_PACKED_SIZE, Nvlist, PackError};

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    let flags = first & 0x7f;
    let mut bytes = bytes.to_vec();
    if first != flags {
        repair(&mut bytes);
    }
    let bytes = &*bytes;
    if let Ok(list) = Nvlist::unpack(bytes, flags) {
        match list.pack() {
            Ok(again) => assert_eq!(Nvlist::unpack(&again, flags), Ok(list)),
            // Markers that were left out may be too much.
            Err(PackError::TooLarge(_)) => assert!(bytes.len() > MAX_PACKED_SIZE / 2),
            Err(error) => panic!("{error}"),
        }
    }
});

fn repair(bytes: &mut [u8]) {
    for at in 0..bytes.len().saturating_sub(18) {
        if bytes[at] == 0x6c && bytes[at + 2] < 4 {
            let after = (bytes.len() - at - 19) as u64;
            bytes[at + 11..at + 19].copy_from_slice(&after.to_le_bytes());
        }
    }
}
