//! What every backend that zeroes deallocated ranges is held against in tests: a vector of bytes.

#![forbid(unsafe_code)]

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::Backend;

/// Bytes of the storage to test: over four RAM chunks and a bit, so that ranges cross borders.
pub(super) const SIZE: usize = (4 << 16) + 3 * 512;

/// Of requests that are not given up.
pub(super) static WANTED: AtomicBool = AtomicBool::new(true);

/// One request.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Write(usize, usize, u8),
    Zeroes(usize, usize, bool),
    Deallocate(usize, usize),
    Read(usize, usize),
    Flush,
}

/// Up to 24 requests.
pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let range = (0..SIZE / 512, 0..SIZE / 512)
        .prop_map(|(a, b)| (a.min(b) * 512, (a.max(b) - a.min(b) + 1) * 512));
    let op = (range, 0..6, any::<u8>()).prop_map(|((offset, length), kind, fill)| match kind {
        0 | 1 => Op::Write(offset, length, fill),
        2 => Op::Zeroes(offset, length, fill % 2 == 0),
        3 => Op::Deallocate(offset, length),
        4 => Op::Read(offset, length),
        _ => Op::Flush,
    });
    prop::collection::vec(op, 1..24)
}

/// Runs `ops` on `backend`, which must hold [`SIZE`] zeroes, and on a vector.
pub(super) fn check(backend: &dyn Backend, ops: Vec<Op>) {
    let mut model = vec![0; SIZE];
    let mut data = vec![0; SIZE];
    for op in ops {
        match op {
            Op::Write(offset, length, fill) => {
                let range = &mut model[offset..offset + length];
                range.fill(fill);
                backend.write(offset as u64, range).unwrap();
            }
            Op::Zeroes(offset, length, may_deallocate) => {
                model[offset..offset + length].fill(0);
                backend
                    .write_zeroes(offset as u64, length as u64, may_deallocate, &WANTED)
                    .unwrap();
            }
            Op::Deallocate(offset, length) => {
                model[offset..offset + length].fill(0);
                backend
                    .deallocate(offset as u64, length as u64, &WANTED)
                    .unwrap();
            }
            Op::Read(offset, length) => {
                backend.read(offset as u64, &mut data[..length]).unwrap();
                assert_eq!(data[..length], model[offset..offset + length]);
            }
            Op::Flush => backend.flush().unwrap(),
        }
    }
    backend.read(0, &mut data).unwrap();
    assert!(data == model);
}

/// Ranges that end beyond the storage are refused by every method.
pub(super) fn check_bounds(backend: &dyn Backend) {
    let size = SIZE as u64;
    for (offset, length) in [(size, 512), (size - 512, 1024), (u64::MAX - 511, 1024)] {
        let mut buffer = vec![0; length];
        assert!(backend.read(offset, &mut buffer).is_err());
        assert!(backend.write(offset, &buffer).is_err());
        assert!(
            backend
                .write_zeroes(offset, length as u64, true, &WANTED)
                .is_err()
        );
        assert!(
            backend
                .write_zeroes(offset, length as u64, false, &WANTED)
                .is_err()
        );
        assert!(backend.deallocate(offset, length as u64, &WANTED).is_err());
    }
    assert!(backend.write_zeroes(512, u64::MAX, false, &WANTED).is_err());
    assert!(backend.deallocate(0, u64::MAX, &WANTED).is_err());
    assert!(backend.read(size, &mut []).is_ok());
    assert!(backend.deallocate(size, 0, &WANTED).is_ok());
}
