//! Bytes that wait to be sent, in order, without copying the large ones.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Data up to this size is copied behind the header before it: cheaper than a chunk of its own.
const COPY_MAX: usize = 4096;

/// A header chunk that has grown to this size is followed by a new one.
const HEADERS_MAX: usize = 128 * 1024;

/// A queue of bytes: headers built in place and data by reference.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are sent already.
    sent: usize,
    length: usize,
}

#[derive(Debug)]
enum Chunk {
    Headers(Vec<u8>),
    Data(Arc<Vec<u8>>, Range<usize>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Headers(bytes) => bytes,
            Self::Data(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
        }
    }
}

impl Outbox {
    /// Appends what `build` appends to the buffer it is given.
    pub fn headers(&mut self, build: impl FnOnce(&mut Vec<u8>)) {
        let fits = |chunk: &Chunk| matches!(chunk, Chunk::Headers(b) if b.len() < HEADERS_MAX);
        if !self.chunks.back().is_some_and(fits) {
            self.chunks.push_back(Chunk::Headers(Vec::new()));
        }
        if let Some(Chunk::Headers(buffer)) = self.chunks.back_mut() {
            let before = buffer.len();
            build(buffer);
            self.length += buffer.len() - before;
        }
    }

    /// Appends the bytes `range` of `data`, which must lie within it.
    pub fn data(&mut self, data: &Arc<Vec<u8>>, range: Range<usize>) {
        let length = range.len();
        if length <= COPY_MAX {
            let piece = data.get(range).unwrap_or_default();
            self.headers(|out| out.extend_from_slice(piece));
        } else {
            self.length += length;
            self.chunks.push_back(Chunk::Data(Arc::clone(data), range));
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What waits, in order, in pieces for a vectored write.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut sent = self.sent;
        self.chunks
            .iter()
            .map(move |chunk| {
                chunk
                    .bytes()
                    .get(std::mem::take(&mut sent)..)
                    .unwrap_or_default()
            })
            .filter(|piece| !piece.is_empty())
    }

    /// Forgets the first `count` bytes: they are sent.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.length);
        self.length -= left;
        while let Some(front) = self.chunks.front() {
            let here = front.bytes().len() - self.sent;
            if left < here {
                self.sent += left;
                return;
            }
            left -= here;
            self.sent = 0;
            self.chunks.pop_front();
        }
    }

    /// Takes everything out as one piece (for tests and for what is sent by blocking writes).
    pub fn take(&mut self) -> Vec<u8> {
        let all = self.pieces().flatten().copied().collect();
        *self = Self::default();
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_sizes_bytes_leave_in_order(
            sizes in prop::collection::vec(0_usize..3000, 0..20),
            steps in prop::collection::vec(1_usize..5000, 1..40),
        ) {
            let (mut outbox, mut expected) = (Outbox::default(), Vec::new());
            for (index, &size) in sizes.iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|byte| ((byte + index) % 251).to_le_bytes()[0]).collect();
                expected.extend_from_slice(&bytes);
                if index % 2 == 0 {
                    outbox.headers(|out| out.extend_from_slice(&bytes));
                } else {
                    outbox.data(&Arc::new(bytes), 0..size);
                }
            }
            let mut sent = Vec::new();
            for step in steps.into_iter().chain(std::iter::repeat(4096)) {
                prop_assert_eq!(outbox.len(), expected.len() - sent.len());
                if outbox.is_empty() {
                    break;
                }
                let flat: Vec<u8> = outbox.pieces().flatten().copied().take(step).collect();
                outbox.advance(flat.len());
                sent.extend(flat);
            }
            prop_assert_eq!(sent, expected);
            prop_assert_eq!(outbox.pieces().count(), 0);
        }
    }
}
