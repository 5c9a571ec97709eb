//! FreeBSD's packed lists, of any bytes: what can be read can be written, and reads the same again.

#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use nvmf_kmod::nv::{FLAG_IGNORE_CASE, FLAG_NO_UNIQUE, MAX_DEPTH, Nvlist};

fuzz_target!(|bytes: &[u8]| {
    for flags in [0, FLAG_IGNORE_CASE, FLAG_NO_UNIQUE] {
        let Ok(list) = Nvlist::unpack(bytes, flags) else {
            continue;
        };
        // As long as it was, but that lists which ended with the bytes get their end marks.
        let packed = list.pack().expect("a list that was unpacked can be packed");
        assert!(packed.len() <= bytes.len() + MARK * MAX_DEPTH);
        assert_eq!(Nvlist::unpack(&packed, flags).as_ref(), Ok(&list));
        // What is shown of it is bounded by what it holds.
        let _ = format!("{list:?}");
    }
});

/// Bytes of the mark that ends a list within a list.
const MARK: usize = 20;
