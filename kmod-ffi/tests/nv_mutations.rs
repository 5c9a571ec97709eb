//! Packed name-value lists damaged at random, but with an eye for their structure: sizes are put
//! right again, so that what lies behind the first check is reached too.
//!
//! Deterministic. `NVMFD_FUZZ_CASES` says how many cases (default 200,000), `NVMFD_FUZZ_SEED` which.

use std::collections::BTreeSet;

use nvmf_kmod::nv::{FLAG_IGNORE_CASE, FLAG_NO_UNIQUE, Nvlist, UnpackError, Value};

/// Bytes of a list's header, and of a pair's.
const HEADER: usize = 19;

/// A small generator of numbers (splitmix64): the same cases on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Up to four bytes that make good strings, mostly.
    fn text(&mut self) -> Vec<u8> {
        let length = self.below(5);
        (0..length).map(|_| *self.pick(b"abAB \n<\xff")).collect()
    }

    fn several<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = 1 + self.below(3);
        (0..count).map(|_| make(self)).collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 8 } else { 11 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 1),
            2 => Value::Number(self.next() >> self.below(64)),
            3 => Value::String(self.text()),
            4 => Value::Binary(self.several(|random| *random.pick(&[0, 1, 255]))),
            5 => Value::BoolArray(self.several(|random| random.below(2) == 1)),
            6 => Value::NumberArray(self.several(Self::next)),
            7 => Value::StringArray(self.several(Self::text)),
            8 => Value::NvlistArray(self.several(|random| random.list(depth - 1))),
            _ => Value::Nvlist(self.list(depth - 1)),
        }
    }

    /// A list that can be packed.
    fn list(&mut self, depth: usize) -> Nvlist {
        let mut list = Nvlist::with_flags(*self.pick(&[0, 0, 0, FLAG_IGNORE_CASE, FLAG_NO_UNIQUE]));
        for n in 0..self.below(5) {
            let name = match list.flags() {
                FLAG_NO_UNIQUE => "same".into(),
                _ => format!("{}{n}", self.pick(&["", "n", "Name", "é"])),
            };
            list.push(name, self.value(depth));
        }
        list
    }

    /// Damages bytes in one way.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let length = self.below(bytes.len() - at + 1).min(64);
        match self.below(7) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = *self.pick(&[0, 1, 2, 5, 6, 8, 9, 10, 11, 12, 13, 254, 255]),
            2 => bytes.truncate(at.max(1)),
            3 => drop(bytes.drain(at..at + length.min(bytes.len() - 1))),
            4 => {
                let copy = bytes[at..at + length].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            5 => {
                let numbers = [0, 1, 2, 8, 19, 20, 40, 1 << 60, 1 << 63, u64::MAX];
                let number = *self.pick(&numbers);
                for (to, from) in bytes[at..].iter_mut().zip(number.to_le_bytes()) {
                    *to = from;
                }
            }
            _ => bytes.extend(self.list(1).pack().unwrap()),
        }
    }
}

/// Puts the size right in whatever looks like a list's header.
fn repair(bytes: &mut [u8]) {
    for at in 0..bytes.len().saturating_sub(HEADER - 1) {
        if bytes[at..].starts_with(&[0x6c, 0]) && bytes[at + 2] < 4 {
            let after = (bytes.len() - at - HEADER) as u64;
            bytes[at + 11..at + HEADER].copy_from_slice(&after.to_le_bytes());
        }
    }
}

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().expect(name))
}

#[test]
fn damaged_lists_are_refused_or_mean_the_same_when_packed_again() {
    let mut random = Random(environment("NVMFD_FUZZ_SEED", 1));
    let cases = environment("NVMFD_FUZZ_CASES", 200_000);
    let mut accepted = 0_u64;
    let mut refusals = BTreeSet::new();
    for case in 0..cases {
        let list = random.list(3);
        let mut bytes = list.pack().unwrap();
        assert_eq!(
            Nvlist::unpack(&bytes, list.flags()),
            Ok(list),
            "case {case}"
        );
        for _ in 0..random.below(4) {
            random.damage(&mut bytes);
        }
        if random.below(4) > 0 {
            repair(&mut bytes);
        }
        let flags = bytes.get(2).map_or(0, |flags| flags & 3);
        match Nvlist::unpack(&bytes, flags) {
            Ok(list) => {
                let again = list.pack().unwrap();
                assert_eq!(Nvlist::unpack(&again, flags), Ok(list), "case {case}");
                accepted += 1;
            }
            Err(error) => {
                assert!(matches!(error.errno(), 17 | 22), "case {case}: {error}");
                refusals.insert(kind(error));
            }
        }
    }
    println!("{accepted} of {cases} accepted; refused as {refusals:?}");
    if cases >= 200_000 {
        // Else the mutations would be too wild, or too tame, to find anything.
        assert!(accepted > cases / 4 && accepted < cases * 3 / 4);
        assert!(refusals.len() >= 16, "{refusals:?}");
    }
}

/// The name of the variant.
fn kind(error: UnpackError) -> String {
    let text = format!("{error:?}");
    text.split(['(', ' ']).next().unwrap().into()
}
