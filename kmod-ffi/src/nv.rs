//! FreeBSD's packed name-value lists (libnv), which carry the arguments of `/dev/cam/ctl`.
//!
//! A [`Nvlist`] is built by chained calls, packed to the very bytes that libnv would write, and
//! unpacked under limits of size and depth. Nothing here opens a file or calls the kernel. Every
//! integer on the wire is little endian; lists of the other byte order are refused.
//!
//! Facts are from FreeBSD `sys/contrib/libnv/nvlist.c` and `nvpair.c`; `data/nvlist-vectors.json`
//! has bytes that the real library wrote, and its verdict on damaged ones.
#![forbid(unsafe_code)]

mod error;
mod pack;
mod unpack;

use std::fmt;

pub use error::{PackError, UnpackError};

/// Bytes that a packed list may have at most: CTL's own limit for the arguments of one request
/// (FreeBSD `sys/cam/ctl/ctl.c`, "Too big args").
pub const MAX_PACKED_SIZE: usize = 1 << 20;

/// Lists that may stand within each other, the outermost counted. libnv has no limit; CTL's
/// requests need two.
pub const MAX_DEPTH: usize = 16;

/// Bytes that a name may have at most, without its NUL (`NV_NAME_MAX` is 2048, NUL included).
pub const NAME_MAX_LENGTH: usize = 2047;

/// Flag of a list: names differ in more than the case of ASCII letters (`NV_FLAG_IGNORE_CASE`).
pub const FLAG_IGNORE_CASE: u8 = 0x01;

/// Flag of a list: a name may stand there several times (`NV_FLAG_NO_UNIQUE`).
pub const FLAG_NO_UNIQUE: u8 = 0x02;

/// An ordered list of named values.
///
/// Calls that insert take anything and cannot fail; what libnv could not hold (see [`PackError`])
/// is found by [`Nvlist::pack`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Nvlist {
    flags: u8,
    pairs: Vec<(String, Value)>,
}

/// A value with its type; the kernel looks pairs up by name *and* type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number; signed ones of the kernel travel as their two's complement.
    Number(u64),
    /// Bytes without NUL, mostly UTF-8 but not by libnv's rules.
    String(Vec<u8>),
    /// A list within the list.
    Nvlist(Nvlist),
    /// At least one byte, NULs allowed.
    Binary(Vec<u8>),
    /// At least one truth value.
    BoolArray(Vec<bool>),
    /// At least one number.
    NumberArray(Vec<u64>),
    /// At least one string, each as [`Value::String`].
    StringArray(Vec<Vec<u8>>),
    /// At least one list.
    NvlistArray(Vec<Nvlist>),
}

impl Nvlist {
    /// An empty list with flags 0, as CTL wants them.
    pub const fn new() -> Self {
        Self::with_flags(0)
    }

    /// An empty list with flags: [`FLAG_IGNORE_CASE`], [`FLAG_NO_UNIQUE`], both or none.
    pub const fn with_flags(flags: u8) -> Self {
        Self {
            flags,
            pairs: Vec::new(),
        }
    }

    /// The list's flags.
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// How many pairs the list has, those of lists within it not counted.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether the list has no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Appends a pair.
    pub fn push(&mut self, name: impl AsRef<str>, value: Value) {
        self.pairs.push((name.as_ref().into(), value));
    }

    /// With a pair of any type appended.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<str>, value: Value) -> Self {
        self.push(name, value);
        self
    }

    /// With a string appended: text or bytes, without a NUL.
    #[must_use]
    pub fn string(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.with(name, Value::String(value.as_ref().to_vec()))
    }

    /// With a number appended.
    #[must_use]
    pub fn number(self, name: impl AsRef<str>, value: u64) -> Self {
        self.with(name, Value::Number(value))
    }

    /// With a truth value appended.
    #[must_use]
    pub fn bool(self, name: impl AsRef<str>, value: bool) -> Self {
        self.with(name, Value::Bool(value))
    }

    /// With bytes appended, at least one.
    #[must_use]
    pub fn binary(self, name: impl AsRef<str>, value: &[u8]) -> Self {
        self.with(name, Value::Binary(value.to_vec()))
    }

    /// With a list appended.
    #[must_use]
    pub fn nvlist(self, name: impl AsRef<str>, value: Self) -> Self {
        self.with(name, Value::Nvlist(value))
    }

    /// With a pair appended that has no value.
    #[must_use]
    pub fn null(self, name: impl AsRef<str>) -> Self {
        self.with(name, Value::Null)
    }

    /// With truth values appended, at least one.
    #[must_use]
    pub fn bool_array(self, name: impl AsRef<str>, value: &[bool]) -> Self {
        self.with(name, Value::BoolArray(value.to_vec()))
    }

    /// With numbers appended, at least one.
    #[must_use]
    pub fn number_array(self, name: impl AsRef<str>, value: &[u64]) -> Self {
        self.with(name, Value::NumberArray(value.to_vec()))
    }

    /// With strings appended, at least one, none with a NUL.
    #[must_use]
    pub fn string_array(self, name: impl AsRef<str>, value: &[&str]) -> Self {
        let value = value.iter().map(|text| text.as_bytes().to_vec()).collect();
        self.with(name, Value::StringArray(value))
    }

    /// With lists appended, at least one.
    #[must_use]
    pub fn nvlist_array(self, name: impl AsRef<str>, value: Vec<Self>) -> Self {
        self.with(name, Value::NvlistArray(value))
    }

    /// The packed form, byte for byte as libnv writes it on a little-endian machine.
    ///
    /// # Errors
    /// [`PackError`]: libnv could not hold or read such a list, or it exceeds our limits.
    pub fn pack(&self) -> Result<Vec<u8>, PackError> {
        pack::pack(self)
    }

    /// Unpacks a list that takes the whole buffer and has exactly these flags.
    ///
    /// As lenient as FreeBSD `nvlist_unpack()`: the version is not looked at, nor the count of
    /// what is no array, nor more of a nested list's data size than that it is 1 to what is left;
    /// what is open at the end counts as closed. Stricter where libnv is careless or we have no
    /// use: the other byte order, names that are not UTF-8, truth values of arrays beyond 0 and 1,
    /// strings of arrays without NUL, markers and counts that do not match the lists, our limits.
    ///
    /// # Errors
    /// [`UnpackError`]; nothing of a list that is wrong anywhere is returned.
    pub fn unpack(bytes: &[u8], flags: u8) -> Result<Self, UnpackError> {
        unpack::unpack(bytes, flags)
    }

    /// The pairs in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(name, value)| (&**name, value))
    }

    /// The string of this name, if it is UTF-8; see [`Self::get_bytes`] for others.
    pub fn get_string(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get_bytes(name)?).ok()
    }

    /// The string of this name as bytes, without its NUL.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.named(name).find_map(|value| {
            if let Value::String(bytes) = value {
                Some(&**bytes)
            } else {
                None
            }
        })
    }

    /// The number of this name.
    pub fn get_number(&self, name: &str) -> Option<u64> {
        self.named(name).find_map(|value| {
            if let Value::Number(number) = value {
                Some(*number)
            } else {
                None
            }
        })
    }

    /// The truth value of this name.
    pub fn get_bool(&self, name: &str) -> Option<bool> {
        self.named(name).find_map(|value| {
            if let Value::Bool(truth) = value {
                Some(*truth)
            } else {
                None
            }
        })
    }

    /// The binary of this name.
    pub fn get_binary(&self, name: &str) -> Option<&[u8]> {
        self.named(name).find_map(|value| {
            if let Value::Binary(bytes) = value {
                Some(&**bytes)
            } else {
                None
            }
        })
    }

    /// The list of this name.
    pub fn get_nvlist(&self, name: &str) -> Option<&Self> {
        self.named(name).find_map(|value| {
            if let Value::Nvlist(list) = value {
                Some(list)
            } else {
                None
            }
        })
    }

    /// The first value of this name, whatever its type.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.named(name).next()
    }

    /// All values of this name. libnv searches the same way: in order, for name and type.
    fn named(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.pairs
            .iter()
            .filter(move |(own, _)| same_name(self.flags, own, name))
            .map(|(_, value)| value)
    }
}

impl fmt::Debug for Nvlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Whether two names are one under a list's flags.
fn same_name(flags: u8, a: &str, b: &str) -> bool {
    if flags & FLAG_IGNORE_CASE == 0 {
        a == b
    } else {
        a.eq_ignore_ascii_case(b)
    }
}

/// The names that a list has so far, where each may stand once. A set, because comparing each
/// with each would take minutes for a hostile list of one megabyte.
#[derive(Default)]
struct Names(std::collections::HashSet<Vec<u8>>);

impl Names {
    /// Takes a name; false if the list's flags do not allow it again.
    fn insert(&mut self, flags: u8, name: &str) -> bool {
        flags & FLAG_NO_UNIQUE != 0
            || self.0.insert(if flags & FLAG_IGNORE_CASE == 0 {
                name.as_bytes().to_vec()
            } else {
                name.to_ascii_lowercase().into_bytes()
            })
    }
}

/// The layout of the wire (FreeBSD `sys/contrib/libnv/nv_impl.h`, `nvlist.c`, `nvpair.c`).
mod wire {
    /// First byte of a list.
    pub(super) const MAGIC: u8 = 0x6c;
    /// Bytes of a list's header: magic, version, flags, descriptors (u64), size (u64).
    pub(super) const LIST_HEADER: usize = 19;
    /// Bytes of a pair's header: type, namesize (u16), datasize (u64), nitems (u64).
    pub(super) const PAIR_HEADER: usize = 19;
    /// Bytes of a marker: the header of a pair and an empty name.
    pub(super) const MARKER: usize = PAIR_HEADER + 1;

    pub(super) const NULL: u8 = 1;
    pub(super) const BOOL: u8 = 2;
    pub(super) const NUMBER: u8 = 3;
    pub(super) const STRING: u8 = 4;
    pub(super) const NVLIST: u8 = 5;
    pub(super) const DESCRIPTOR: u8 = 6;
    pub(super) const BINARY: u8 = 7;
    pub(super) const BOOL_ARRAY: u8 = 8;
    pub(super) const NUMBER_ARRAY: u8 = 9;
    pub(super) const STRING_ARRAY: u8 = 10;
    pub(super) const NVLIST_ARRAY: u8 = 11;
    pub(super) const DESCRIPTOR_ARRAY: u8 = 12;
    /// Marker: the end of one list of an array.
    pub(super) const ARRAY_NEXT: u8 = 254;
    /// Marker: the end of a list within a list.
    pub(super) const UP: u8 = 255;
}

#[cfg(test)]
mod tests;
