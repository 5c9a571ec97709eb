//! From bytes to a list, as the kernel's own reader judges them, but for what is named at
//! [`Nvlist::unpack`]. The lists within lists that are open stand on a stack of our own.

use super::{
    FLAG_IGNORE_CASE, FLAG_NO_UNIQUE, MAX_DEPTH, MAX_PACKED_SIZE, NAME_MAX_LENGTH, Names, Nvlist,
    Value, errno, wire,
};

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

/// Unpacks a list that is not part of another; see [`Nvlist::unpack`].
pub(super) fn unpack(bytes: &[u8], flags: u8) -> Result<Nvlist, UnpackError> {
    if bytes.len() > MAX_PACKED_SIZE {
        return Err(UnpackError::TooLarge(bytes.len()));
    }
    let mut reader = Reader { rest: bytes };
    let mut root = Open::read(&mut reader, Place::Root)?;
    if root.list.flags != flags {
        return Err(UnpackError::OtherFlags {
            found: root.list.flags,
            wanted: flags,
        });
    }
    // The innermost open list is last; the root stays apart, so that there always is one.
    let mut inner: Vec<Open<'_>> = Vec::new();
    while !reader.rest.is_empty() {
        let current = inner.last_mut().unwrap_or(&mut root);
        let pair = PairHeader::read(&mut reader)?;
        match pair.code {
            wire::UP | wire::ARRAY_NEXT => {
                let mut open = inner.pop().ok_or(UnpackError::Marker(pair.code))?;
                if open.place.marker() != pair.code {
                    return Err(UnpackError::Marker(pair.code));
                }
                if open.next_element() {
                    open.read_header(&mut reader)?;
                    inner.push(open);
                } else {
                    open.close_into(inner.last_mut().unwrap_or(&mut root))?;
                }
            }
            wire::NVLIST | wire::NVLIST_ARRAY => {
                let place = pair.place(&reader)?;
                let child = Open::read(&mut reader, place)?;
                current.take_name(pair.name)?;
                inner.push(child);
                if inner.len() >= MAX_DEPTH {
                    return Err(UnpackError::TooDeep);
                }
            }
            _ => {
                let value = pair.value(&mut reader)?;
                current.take_name(pair.name)?;
                current.list.push(pair.name, value);
            }
        }
    }
    while let Some(mut open) = inner.pop() {
        if open.next_element() {
            return Err(UnpackError::Items(open.list_count()));
        }
        open.close_into(inner.last_mut().unwrap_or(&mut root))?;
    }
    Ok(root.list)
}

/// A list that is being read.
struct Open<'a> {
    list: Nvlist,
    names: Names,
    place: Place<'a>,
}

/// Where a list stands, and what is to be done with it at its end.
enum Place<'a> {
    Root,
    Child {
        name: &'a str,
    },
    Element {
        name: &'a str,
        before: Vec<Nvlist>,
        to_come: u64,
    },
}

impl Place<'_> {
    /// The marker that ends such a list. The root has none; an UP that met it has been refused.
    const fn marker(&self) -> u8 {
        match self {
            Self::Root | Self::Child { .. } => wire::UP,
            Self::Element { .. } => wire::ARRAY_NEXT,
        }
    }
}

impl<'a> Open<'a> {
    fn read(reader: &mut Reader<'_>, place: Place<'a>) -> Result<Self, UnpackError> {
        let mut open = Self {
            list: Nvlist::new(),
            names: Names::default(),
            place,
        };
        open.read_header(reader)?;
        Ok(open)
    }

    /// A list's header; all of it is judged in libnv's order.
    fn read_header(&mut self, reader: &mut Reader<'_>) -> Result<(), UnpackError> {
        let [magic, _version, flags] = reader.array()?;
        let descriptors = reader.number()?;
        let claimed = reader.number()?;
        if magic != wire::MAGIC {
            return Err(UnpackError::Magic(magic));
        }
        if flags & !(FLAG_IGNORE_CASE | FLAG_NO_UNIQUE) != 0 {
            return Err(UnpackError::Flags(flags));
        }
        let actual = reader.rest.len();
        if claimed != actual as u64 {
            return Err(UnpackError::Size { claimed, actual });
        }
        if descriptors != 0 {
            return Err(UnpackError::Descriptors(descriptors));
        }
        self.list = Nvlist::with_flags(flags);
        self.names = Names::default();
        Ok(())
    }

    fn take_name(&mut self, name: &str) -> Result<(), UnpackError> {
        if self.names.insert(self.list.flags, name) {
            Ok(())
        } else {
            Err(UnpackError::Duplicate)
        }
    }

    /// Puts an element of an array aside if others are to come.
    fn next_element(&mut self) -> bool {
        match &mut self.place {
            Place::Element {
                before, to_come, ..
            } if *to_come > 0 => {
                *to_come -= 1;
                before.push(std::mem::take(&mut self.list));
                true
            }
            Place::Element { .. } | Place::Child { .. } | Place::Root => false,
        }
    }

    /// Elements that the array around this list says to have.
    fn list_count(&self) -> u64 {
        match &self.place {
            Place::Element {
                before, to_come, ..
            } => before.len() as u64 + 1 + to_come,
            Place::Child { .. } | Place::Root => 1,
        }
    }

    /// Gives the list, or the array that it completes, to the list around it.
    fn close_into(self, outer: &mut Open<'_>) -> Result<(), UnpackError> {
        match self.place {
            Place::Root => return Err(UnpackError::Marker(wire::UP)),
            Place::Child { name } => outer.list.push(name, Value::Nvlist(self.list)),
            Place::Element {
                name, mut before, ..
            } => {
                before.push(self.list);
                outer.list.push(name, Value::NvlistArray(before));
            }
        }
        Ok(())
    }
}

/// A pair's header with its name.
struct PairHeader<'a> {
    code: u8,
    name: &'a str,
    datasize: u64,
    nitems: u64,
}

impl<'a> PairHeader<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, UnpackError> {
        let [code, low, high] = reader.array()?;
        let namesize = u16::from_le_bytes([low, high]);
        let datasize = reader.number()?;
        let nitems = reader.number()?;
        match code {
            wire::NULL..=wire::DESCRIPTOR_ARRAY | wire::ARRAY_NEXT | wire::UP => {}
            _ => return Err(UnpackError::Type(code)),
        }
        if namesize == 0 || usize::from(namesize) > NAME_MAX_LENGTH + 1 {
            return Err(UnpackError::NameSize(namesize));
        }
        let name = match reader.take(namesize.into())?.split_last() {
            Some((0, name)) if !name.contains(&0) => name,
            _ => return Err(UnpackError::NameNul),
        };
        if datasize > reader.rest.len() as u64 {
            return Err(UnpackError::Truncated);
        }
        Ok(Self {
            code,
            name: std::str::from_utf8(name).map_err(|_| UnpackError::NameNotUtf8)?,
            datasize,
            nitems,
        })
    }

    /// The place of the list that this pair begins. A list's header never counts as data: libnv
    /// reads it wherever the data size points.
    fn place(&self, reader: &Reader<'_>) -> Result<Place<'a>, UnpackError> {
        let name = self.name;
        if self.code == wire::NVLIST {
            return match self.datasize {
                0 => Err(self.bad_datasize()),
                _ => Ok(Place::Child { name }),
            };
        }
        // libnv's bound; elements are kept as they come, so nothing is reserved by this number.
        let most = reader.rest.len() / wire::PAIR_HEADER;
        if self.nitems == 0 || self.nitems > most as u64 {
            return Err(UnpackError::Items(self.nitems));
        }
        Ok(Place::Element {
            name,
            before: Vec::new(),
            to_come: self.nitems - 1,
        })
    }

    /// The value of a pair that begins no list.
    fn value(&self, reader: &mut Reader<'_>) -> Result<Value, UnpackError> {
        if matches!(self.code, wire::DESCRIPTOR | wire::DESCRIPTOR_ARRAY) {
            return Err(UnpackError::DescriptorPair(self.code));
        }
        let data = reader.take(self.datasize)?;
        Ok(match (self.code, data) {
            (wire::NULL, []) => Value::Null,
            (wire::BOOL, &[byte]) => Value::Bool(truth(byte)?),
            (wire::NUMBER, _) => {
                let number = data.try_into().map_err(|_| self.bad_datasize())?;
                Value::Number(u64::from_le_bytes(number))
            }
            (wire::STRING, [_, ..]) => Value::String(text(data)?),
            (wire::BINARY, [_, ..]) => Value::Binary(data.to_vec()),
            (wire::BOOL_ARRAY, [_, ..]) => {
                self.require_items(data.len())?;
                Value::BoolArray(data.iter().map(|&b| truth(b)).collect::<Result<_, _>>()?)
            }
            (wire::NUMBER_ARRAY, [_, ..]) => {
                let (numbers, []) = data.as_chunks() else {
                    return Err(self.bad_datasize());
                };
                self.require_items(numbers.len())?;
                Value::NumberArray(numbers.iter().map(|n| u64::from_le_bytes(*n)).collect())
            }
            (wire::STRING_ARRAY, [.., 0]) => {
                let strings: Vec<_> = data.split_inclusive(|&byte| byte == 0).collect();
                self.require_items(strings.len())?;
                Value::StringArray(strings.into_iter().map(text).collect::<Result<_, _>>()?)
            }
            (wire::STRING_ARRAY, [_, ..]) => return Err(UnpackError::StringNul),
            _ => return Err(self.bad_datasize()),
        })
    }

    const fn require_items(&self, items: usize) -> Result<(), UnpackError> {
        if self.nitems == items as u64 {
            Ok(())
        } else {
            Err(UnpackError::Items(self.nitems))
        }
    }

    const fn bad_datasize(&self) -> UnpackError {
        UnpackError::DataSize {
            code: self.code,
            datasize: self.datasize,
        }
    }
}

/// A truth value of the wire.
const fn truth(byte: u8) -> Result<bool, UnpackError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(UnpackError::Bool(byte)),
    }
}

/// A string of the wire, without its NUL.
fn text(data: &[u8]) -> Result<Vec<u8>, UnpackError> {
    match data.split_last() {
        Some((0, text)) if !text.contains(&0) => Ok(text.to_vec()),
        _ => Err(UnpackError::StringNul),
    }
}

/// Bytes that have not been read yet.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, size: u64) -> Result<&'a [u8], UnpackError> {
        let size = usize::try_from(size).map_err(|_| UnpackError::Truncated)?;
        let (taken, rest) = self
            .rest
            .split_at_checked(size)
            .ok_or(UnpackError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], UnpackError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(UnpackError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, UnpackError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}
