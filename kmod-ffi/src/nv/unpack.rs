//! From bytes to a list, as the kernel's own reader judges them, but for what is named at
//! [`Nvlist::unpack`]. The lists within lists that are open stand on a stack of our own.

use super::{
    FLAG_IGNORE_CASE, FLAG_NO_UNIQUE, MAX_DEPTH, MAX_PACKED_SIZE, NAME_MAX_LENGTH, Names, Nvlist,
    UnpackError, Value, wire,
};

/// Unpacks a list that is not part of another; see [`Nvlist::unpack`].
pub(super) fn unpack(bytes: &[u8], flags: u8) -> Result<Nvlist, UnpackError> {
    if bytes.len() > MAX_PACKED_SIZE {
        return Err(UnpackError::TooLarge(bytes.len()));
    }
    let mut reader = Reader { rest: bytes };
    let mut root = Open::read(&mut reader)?;
    if root.list.flags != flags {
        return Err(UnpackError::OtherFlags {
            found: root.list.flags,
            wanted: flags,
        });
    }
    // The innermost list is last. The root stays apart, so that there always is one.
    let mut inner: Vec<(Place<'_>, Open)> = Vec::new();
    while !reader.rest.is_empty() {
        let pair = PairHeader::read(&mut reader)?;
        match pair.code {
            wire::UP | wire::ARRAY_NEXT => {
                let (mut place, ended) = inner.pop().ok_or(UnpackError::Marker(pair.code))?;
                if pair.code != place.marker() {
                    return Err(UnpackError::Marker(pair.code));
                }
                match place.take(ended.list) {
                    Some(value) => innermost(&mut inner, &mut root)
                        .list
                        .push(place.name, value),
                    None => inner.push((place, Open::read(&mut reader)?)),
                }
            }
            wire::NVLIST | wire::NVLIST_ARRAY => {
                let place = pair.place(&reader)?;
                let child = Open::read(&mut reader)?;
                innermost(&mut inner, &mut root).take_name(pair.name)?;
                inner.push((place, child));
                if 1 + inner.len() > MAX_DEPTH {
                    return Err(UnpackError::TooDeep);
                }
            }
            _ => {
                let value = pair.value(&mut reader)?;
                let list = innermost(&mut inner, &mut root);
                list.take_name(pair.name)?;
                list.list.push(pair.name, value);
            }
        }
    }
    while let Some((mut place, ended)) = inner.pop() {
        let value = place.take(ended.list).ok_or_else(|| place.too_few())?;
        innermost(&mut inner, &mut root)
            .list
            .push(place.name, value);
    }
    Ok(root.list)
}

/// The list that a pair belongs to.
fn innermost<'s>(inner: &'s mut [(Place<'_>, Open)], root: &'s mut Open) -> &'s mut Open {
    inner.last_mut().map_or(root, |(_, open)| open)
}

/// A list that is being read.
struct Open {
    list: Nvlist,
    names: Names,
}

impl Open {
    /// A list's header; all of it is judged in libnv's order.
    fn read(reader: &mut Reader<'_>) -> Result<Self, UnpackError> {
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
        Ok(Self {
            list: Nvlist::with_flags(flags),
            names: Names::default(),
        })
    }

    fn take_name(&mut self, name: &str) -> Result<(), UnpackError> {
        if self.names.insert(self.list.flags, name) {
            Ok(())
        } else {
            Err(UnpackError::Duplicate)
        }
    }
}

/// Where a list within another stands.
struct Place<'a> {
    /// Of the pair that it is the value of.
    name: &'a str,
    /// If the value is an array of lists.
    array: Option<Array>,
}

struct Array {
    /// Elements that the pair says to have.
    nitems: u64,
    /// Those that have ended. They are kept as they come: nothing is reserved by a peer's number.
    ended: Vec<Nvlist>,
}

impl Place<'_> {
    /// The marker that ends a list here.
    const fn marker(&self) -> u8 {
        match self.array {
            None => wire::UP,
            Some(_) => wire::ARRAY_NEXT,
        }
    }

    /// Takes a list that has ended, and gives the value if it completes it; else another element
    /// follows.
    fn take(&mut self, list: Nvlist) -> Option<Value> {
        match &mut self.array {
            None => Some(Value::Nvlist(list)),
            Some(array) => {
                array.ended.push(list);
                (array.ended.len() as u64 == array.nitems)
                    .then(|| Value::NvlistArray(std::mem::take(&mut array.ended)))
            }
        }
    }

    /// The error when no other element follows.
    fn too_few(&self) -> UnpackError {
        UnpackError::Items(self.array.as_ref().map_or(1, |array| array.nitems))
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

    /// Where the list stands that this pair begins.
    ///
    /// libnv bounds the data size and the count in this way, and makes no other use of the size.
    fn place(&self, reader: &Reader<'_>) -> Result<Place<'a>, UnpackError> {
        let array = if self.code == wire::NVLIST {
            if self.datasize == 0 {
                return Err(self.bad_datasize());
            }
            None
        } else {
            let most = reader.rest.len() / wire::PAIR_HEADER;
            if self.nitems == 0 || self.nitems > most as u64 {
                return Err(UnpackError::Items(self.nitems));
            }
            Some(Array {
                nitems: self.nitems,
                ended: Vec::new(),
            })
        };
        Ok(Place {
            name: self.name,
            array,
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
