//! Fields of what a target sends, by their offset, and never beyond its end.

#![forbid(unsafe_code)]

use super::printable::Printable;

/// Bytes in which fields stand at offsets; what is missing reads as zero.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a>(pub &'a [u8]);

impl Page<'_> {
    /// The `N` bytes at an offset.
    pub fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        for (to, from) in bytes.iter_mut().zip(self.0.iter().skip(at)) {
            *to = *from;
        }
        bytes
    }

    /// A byte.
    pub fn u8(&self, at: usize) -> u8 {
        u8::from_le_bytes(self.bytes(at))
    }

    /// A word.
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    /// A double word.
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    /// A quad word.
    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    /// A text of `N` bytes.
    pub fn text<const N: usize>(&self, at: usize) -> Printable {
        Printable::from_field(&self.bytes::<N>(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let page = Page(&[1, 2, 3, b'x', b' ']);
        assert_eq!((page.u8(4), page.u8(5), page.u16(4)), (32, 0, 32));
        assert_eq!((page.u32(1), page.u64(usize::MAX)), (0x2078_0302, 0));
        assert_eq!(page.text::<8>(3).as_sent(), "x");
    }
}
