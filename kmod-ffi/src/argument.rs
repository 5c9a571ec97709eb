//! The argument of a request: the bytes of a C struct, written and read by offset.
//!
//! Offsets come from the bindings (`offset_of!`), so that the compiler knows the layout and nothing here
//! has to look at a struct through a pointer. What is not written is zero, padding too.

#![forbid(unsafe_code)]

/// The bytes of one struct, in the machine's byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument(Vec<u8>);

impl Argument {
    /// A `T` of zeroes.
    pub(crate) fn zeroed<T>() -> Self {
        Self(vec![0; size_of::<T>()])
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_ne_bytes());
    }

    pub(crate) fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_ne_bytes());
    }

    /// A `size_t`, or a pointer's address.
    pub(crate) fn put_size(&mut self, at: usize, value: usize) {
        self.put(at, &value.to_ne_bytes());
    }

    /// Text in a field of `size` bytes, which is cut so that a NUL follows.
    pub(crate) fn put_text(&mut self, at: usize, size: usize, text: &str) {
        let length = text.len().min(size - 1);
        self.put(at, &text.as_bytes()[..length]);
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(std::array::from_fn(|i| self.0[at + i]))
    }

    pub(crate) fn size(&self, at: usize) -> usize {
        usize::from_ne_bytes(std::array::from_fn(|i| self.0[at + i]))
    }

    /// The text of a field of `size` bytes, up to its NUL; what is no text is replaced.
    pub(crate) fn text(&self, at: usize, size: usize) -> String {
        let field = &self.0[at..at + size];
        let end = field
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    }
}
