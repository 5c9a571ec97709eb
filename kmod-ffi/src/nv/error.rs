//! What is wrong with a list or with bytes, and libnv's verdict on it as an errno.

use super::{MAX_DEPTH, MAX_PACKED_SIZE, NAME_MAX_LENGTH};

/// Why a list cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// A name longer than [`NAME_MAX_LENGTH`]; how many bytes it has.
    #[error("a name of {0} bytes is longer than {NAME_MAX_LENGTH}")]
    NameTooLong(usize),
    /// A NUL in a name.
    #[error("a NUL in the name {0:?}")]
    NulInName(String),
    /// A NUL in a string, or in one of an array; the pair's name.
    #[error("a NUL in the string {0:?}")]
    NulInString(String),
    /// A binary of no bytes, or an array of no elements; the pair's name.
    #[error("the value of {0:?} is empty")]
    Empty(String),
    /// A name twice in a list that does not allow it.
    #[error("the name {0:?} stands there twice")]
    Duplicate(String),
    /// A flag other than [`FLAG_IGNORE_CASE`](super::FLAG_IGNORE_CASE) and
    /// [`FLAG_NO_UNIQUE`](super::FLAG_NO_UNIQUE); all flags of the list.
    #[error("unknown flags {0:#04x}")]
    Flags(u8),
    /// More than [`MAX_DEPTH`] lists within each other.
    #[error("lists within lists deeper than {MAX_DEPTH}")]
    TooDeep,
    /// The packed list would be larger than [`MAX_PACKED_SIZE`]; bytes, as far as counted.
    #[error("a packed list of {0} bytes is larger than {MAX_PACKED_SIZE}")]
    TooLarge(usize),
}

impl PackError {
    /// FreeBSD's errno for it: libnv's where it has the case, EINVAL where only we refuse.
    pub const fn errno(&self) -> i32 {
        match self {
            Self::NameTooLong(_) => errno::ENAMETOOLONG,
            Self::Duplicate(_) => errno::EEXIST,
            Self::NulInName(_)
            | Self::NulInString(_)
            | Self::Empty(_)
            | Self::Flags(_)
            | Self::TooDeep
            | Self::TooLarge(_) => errno::EINVAL,
        }
    }
}

/// Why bytes are no packed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// More than [`MAX_PACKED_SIZE`]; how many bytes there are.
    #[error("a packed list of {0} bytes is larger than {MAX_PACKED_SIZE}")]
    TooLarge(usize),
    /// More than [`MAX_DEPTH`] lists within each other.
    #[error("lists within lists deeper than {MAX_DEPTH}")]
    TooDeep,
    /// The end comes within a header, a name or a value.
    #[error("the packed list ends too early")]
    Truncated,
    /// A list does not begin with libnv's magic byte.
    #[error("a list begins with {0:#04x}")]
    Magic(u8),
    /// A flag that does not exist, or that of big-endian lists; all flags of the list.
    #[error("flags {0:#04x} of a list are not supported")]
    Flags(u8),
    /// The flags are good, but not those that the caller wants.
    #[error("flags {found:#04x} instead of {wanted:#04x}")]
    OtherFlags {
        /// Flags in the header.
        found: u8,
        /// Flags that the caller wants.
        wanted: u8,
    },
    /// The header speaks of descriptors, which never come with bytes; how many.
    #[error("{0} descriptors in a list's header")]
    Descriptors(u64),
    /// The size in a list's header is not that of all that follows it.
    #[error("a list's header says that {claimed} bytes follow, but there are {actual}")]
    Size {
        /// Bytes, as the header says.
        claimed: u64,
        /// Bytes that there are.
        actual: usize,
    },
    /// No such type of pair.
    #[error("a pair of the unknown type {0}")]
    Type(u8),
    /// A descriptor or an array of them (6, 12): the kernel's reader would panic.
    #[error("a pair of type {0} holds descriptors")]
    DescriptorPair(u8),
    /// The size of a name, with its NUL, is not 1 to 2048.
    #[error("a name of {0} bytes")]
    NameSize(u16),
    /// A name has no NUL at its end, or one before.
    #[error("a name is not ended by its only NUL")]
    NameNul,
    /// A name is not UTF-8 (libnv would take it).
    #[error("a name is not UTF-8")]
    NameNotUtf8,
    /// The size of the data does not suit the pair's type or count.
    #[error("{datasize} bytes of data in a pair of type {code}")]
    DataSize {
        /// Number of the pair's type.
        code: u8,
        /// Bytes, as the pair's header says.
        datasize: u64,
    },
    /// A truth value that is neither 0 nor 1.
    #[error("the byte {0:#04x} as a truth value")]
    Bool(u8),
    /// A string has no NUL at its end, or one before.
    #[error("a string is not ended by its only NUL")]
    StringNul,
    /// An array has none or not as many elements as it says; how many it says.
    #[error("an array has not the {0} elements that it says")]
    Items(u64),
    /// A marker ends a list that it does not belong to.
    #[error("a marker of type {0} where no such list is open")]
    Marker(u8),
    /// A name twice in a list that does not allow it.
    #[error("a name stands there twice")]
    Duplicate,
}

impl UnpackError {
    /// FreeBSD's errno for it, as libnv sets it; EINVAL where only we refuse.
    pub const fn errno(&self) -> i32 {
        match self {
            Self::OtherFlags { .. } => errno::EILSEQ,
            Self::Duplicate => errno::EEXIST,
            Self::TooLarge(_)
            | Self::TooDeep
            | Self::Truncated
            | Self::Magic(_)
            | Self::Flags(_)
            | Self::Descriptors(_)
            | Self::Size { .. }
            | Self::Type(_)
            | Self::DescriptorPair(_)
            | Self::NameSize(_)
            | Self::NameNul
            | Self::NameNotUtf8
            | Self::DataSize { .. }
            | Self::Bool(_)
            | Self::StringNul
            | Self::Items(_)
            | Self::Marker(_) => errno::EINVAL,
        }
    }
}

/// FreeBSD's numbers, whatever the system this runs on (`sys/sys/errno.h`).
mod errno {
    pub(super) const EEXIST: i32 = 17;
    pub(super) const EINVAL: i32 = 22;
    pub(super) const ENAMETOOLONG: i32 = 63;
    pub(super) const EILSEQ: i32 = 86;
}
