//! Bytes that wait to be sent, in order, without copying the large ones.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Data up to this size is copied behind the header before it: cheaper than a chunk of its own.
const COPY_MAX: usize = 4096;

/// A header chunk that has grown to this size is followed by a new one. What was sent of a chunk is
/// kept until all of it is.
const HEADERS_MAX: usize = 32 * 1024;

/// A queue of bytes: headers built in place and data by reference.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are sent already.
    sent: usize,
    length: usize,
    /// Bytes that the chunks keep, sent or not; data that several of them show, once.
    kept: usize,
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
            self.kept += buffer.len() - before;
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
            if Arc::strong_count(data) == 1 {
                self.kept += data.len();
            }
            self.chunks.push_back(Chunk::Data(Arc::clone(data), range));
        }
    }

    /// Bytes of memory that it keeps for what waits: what was sent of a piece is freed with its end.
    pub fn kept(&self) -> usize {
        self.kept
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
            self.kept -= match self.chunks.pop_front() {
                Some(Chunk::Headers(bytes)) => bytes.len(),
                Some(Chunk::Data(bytes, _)) if Arc::strong_count(&bytes) == 1 => bytes.len(),
                Some(Chunk::Data(..)) | None => 0,
            };
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
            prop_assert_eq!(outbox.kept(), 0);
        }
    }

    #[test]
    fn what_is_kept_is_freed_with_the_last_piece_that_shows_it() {
        const PIECE: usize = 100_000;
        let mut outbox = Outbox::default();
        let data = Arc::new(vec![7; 3 * PIECE]);
        for start in (0..3 * PIECE).step_by(PIECE) {
            outbox.headers(|out| out.extend_from_slice(&[1; 24]));
            outbox.data(&data, start..start + PIECE);
        }
        drop(data);
        assert_eq!((outbox.len(), outbox.kept()), (300_072, 300_072));
        outbox.advance(2 * (24 + PIECE));
        assert_eq!((outbox.len(), outbox.kept()), (100_024, 300_024));
        outbox.advance(24 + PIECE - 1);
        assert_eq!((outbox.len(), outbox.kept()), (1, 300_000));
        outbox.advance(1);
        assert_eq!((outbox.len(), outbox.kept()), (0, 0));
    }
}
