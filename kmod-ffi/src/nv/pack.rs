//! From a list to bytes: what may be packed, then the packing.

use super::{
    FLAG_IGNORE_CASE, FLAG_NO_UNIQUE, MAX_DEPTH, MAX_PACKED_SIZE, NAME_MAX_LENGTH, Names, Nvlist,
    PackError, Value, wire,
};

/// Packs a list that is not part of another.
pub(super) fn pack(list: &Nvlist) -> Result<Vec<u8>, PackError> {
    let total = packed_size(list, 1)?;
    let mut writer = Writer {
        out: Vec::with_capacity(total),
        total,
    };
    writer.list(list, 0);
    debug_assert_eq!(writer.out.len(), total);
    Ok(writer.out)
}

/// Bytes of a list with all that is in it, without the marker that ends a list within another.
/// Finds everything that cannot be packed; goes down [`MAX_DEPTH`] calls at the most.
fn packed_size(list: &Nvlist, depth: usize) -> Result<usize, PackError> {
    if depth > MAX_DEPTH {
        return Err(PackError::TooDeep);
    }
    if list.flags & !(FLAG_IGNORE_CASE | FLAG_NO_UNIQUE) != 0 {
        return Err(PackError::Flags(list.flags));
    }
    let mut names = Names::default();
    let mut size = wire::LIST_HEADER;
    for (name, value) in &list.pairs {
        if name.len() > NAME_MAX_LENGTH {
            return Err(PackError::NameTooLong(name.len()));
        }
        if name.as_bytes().contains(&0) {
            return Err(PackError::NulInName(name.clone()));
        }
        if !names.insert(list.flags, name) {
            return Err(PackError::Duplicate(name.clone()));
        }
        let data = data_size(name, value, depth)?;
        size += wire::PAIR_HEADER + name.len() + 1 + data;
        if size > MAX_PACKED_SIZE {
            return Err(PackError::TooLarge(size));
        }
    }
    Ok(size)
}

/// Bytes of a value, with the markers of the lists in it.
fn data_size(name: &str, value: &Value, depth: usize) -> Result<usize, PackError> {
    let string_size = |text: &Vec<u8>| {
        if text.contains(&0) {
            return Err(PackError::NulInString(name.into()));
        }
        Ok(text.len() + 1)
    };
    let list_size = |list| Ok(packed_size(list, depth + 1)? + wire::MARKER);
    let size = match value {
        Value::Null => return Ok(0),
        Value::Bool(_) => 1,
        Value::Number(_) => 8,
        Value::String(text) => string_size(text)?,
        Value::Nvlist(list) => list_size(list)?,
        Value::Binary(bytes) => bytes.len(),
        Value::BoolArray(items) => items.len(),
        Value::NumberArray(items) => 8 * items.len(),
        Value::StringArray(items) => items.iter().map(string_size).sum::<Result<_, _>>()?,
        Value::NvlistArray(items) => items.iter().map(list_size).sum::<Result<_, _>>()?,
    };
    if size == 0 {
        return Err(PackError::Empty(name.into()));
    }
    Ok(size)
}

/// Writes a list that [`packed_size`] has found good.
struct Writer {
    out: Vec<u8>,
    /// Bytes that there will be in the end.
    total: usize,
}

impl Writer {
    /// Bytes from here to the end of the buffer.
    fn left(&self) -> usize {
        self.total - self.out.len()
    }

    /// A list's header and pairs. `uncounted` is explained at [`Self::pair`].
    fn list(&mut self, list: &Nvlist, uncounted: usize) {
        self.out.extend([wire::MAGIC, 0, list.flags]);
        self.out.extend(0_u64.to_le_bytes());
        let after = self.left() - 8;
        self.out.extend((after as u64).to_le_bytes());
        for (name, value) in &list.pairs {
            self.pair(name, value, uncounted);
        }
    }

    /// A pair.
    ///
    /// FreeBSD BUG: the data size of a list within a list is not the list's. libnv's
    /// `nvlist_size()` walks on from its last pair into all pairs that follow in the lists around
    /// it; only an empty list ends the walk at its header. What the walk does not see is the
    /// markers that close lists, and in arrays the headers of the elements to come: their bytes
    /// are `uncounted`. No reader needs the right number, but we write what libnv writes.
    fn pair(&mut self, name: &str, value: &Value, uncounted: usize) {
        match value {
            Value::Null => self.header(wire::NULL, name, 0, 0),
            Value::Bool(truth) => {
                self.header(wire::BOOL, name, 1, 0);
                self.out.push((*truth).into());
            }
            Value::Number(number) => {
                self.header(wire::NUMBER, name, 8, 0);
                self.out.extend(number.to_le_bytes());
            }
            Value::String(text) => {
                self.header(wire::STRING, name, text.len() + 1, 0);
                self.out.extend(text);
                self.out.push(0);
            }
            Value::Binary(bytes) => {
                self.header(wire::BINARY, name, bytes.len(), 0);
                self.out.extend(bytes);
            }
            Value::BoolArray(items) => {
                self.header(wire::BOOL_ARRAY, name, items.len(), items.len());
                self.out.extend(items.iter().map(|&truth| u8::from(truth)));
            }
            Value::NumberArray(items) => {
                self.header(wire::NUMBER_ARRAY, name, 8 * items.len(), items.len());
                self.out.extend(items.iter().flat_map(|n| n.to_le_bytes()));
            }
            Value::StringArray(items) => {
                let size = items.iter().map(|text| text.len() + 1).sum();
                self.header(wire::STRING_ARRAY, name, size, items.len());
                for text in items {
                    self.out.extend(text);
                    self.out.push(0);
                }
            }
            Value::Nvlist(child) => {
                let uncounted = uncounted + wire::MARKER;
                let size = if child.is_empty() {
                    wire::LIST_HEADER
                } else {
                    self.left() - (wire::PAIR_HEADER + name.len() + 1) - uncounted
                };
                self.header(wire::NVLIST, name, size, 0);
                self.list(child, uncounted);
                self.header(wire::UP, "", 0, 0);
            }
            Value::NvlistArray(elements) => {
                self.header(wire::NVLIST_ARRAY, name, 0, elements.len());
                for (element, to_come) in elements.iter().zip((0..elements.len()).rev()) {
                    let headers = to_come * (wire::LIST_HEADER + wire::MARKER);
                    self.list(element, uncounted + wire::MARKER + headers);
                    self.header(wire::ARRAY_NEXT, "", 0, 0);
                }
            }
        }
    }

    fn header(&mut self, code: u8, name: &str, datasize: usize, nitems: usize) {
        let namesize = u16::try_from(name.len() + 1).expect("names have been measured");
        self.out.push(code);
        self.out.extend(namesize.to_le_bytes());
        self.out.extend((datasize as u64).to_le_bytes());
        self.out.extend((nitems as u64).to_le_bytes());
        self.out.extend(name.as_bytes());
        self.out.push(0);
    }
}
