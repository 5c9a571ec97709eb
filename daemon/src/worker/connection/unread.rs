//! What was read from a connection and has to wait.

#![forbid(unsafe_code)]

/// Bytes, of which those in front are served already: they are not moved for every command.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    served: usize,
}

impl Unread {
    /// Keeps a copy.
    pub(super) fn of(rest: &[u8]) -> Self {
        Self {
            bytes: rest.to_vec(),
            served: 0,
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.served..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Bytes of memory.
    pub(super) fn kept(&self) -> usize {
        self.bytes.capacity()
    }

    /// All but so many are served.
    pub(super) fn leave(&mut self, left: usize) {
        self.served = self.bytes.len().saturating_sub(left);
        if left == 0 {
            *self = Self::default();
        }
    }
}
