//! Memory that begins at a block's boundary, as writing past the system's cache asks for.

use super::BLOCK_BYTES;
use std::fmt;

/// Bytes that begin at a multiple of [`BLOCK_BYTES`] in memory, and may grow at the end.
pub struct AlignedBuffer {
    /// A block longer than what it may hold, so that a boundary lies in its first block.
    memory: Vec<u8>,
    /// INVARIANT: `start + len <= memory.len()`.
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// Makes an empty one with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let memory = vec![0; capacity.saturating_add(BLOCK_BYTES)];
        // Beyond the first block only if the compiler runs it, to which alignment means nothing.
        let start = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        Self { memory, start, len: 0 }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    /// Returns how many bytes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many bytes it holds without asking for more memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.len() - self.start
    }

    /// Adds bytes at the end.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Adds zeros at the end, up to `len` bytes in all. Nothing is taken away.
    pub fn extend_with_zeros(&mut self, len: usize) {
        let count = len.saturating_sub(self.len);
        self.room(count).fill(0);
        self.len += count;
    }

    /// Takes bytes away at the end until `len` are left.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Takes `count` bytes away at the front, or all, and moves the others there.
    pub fn drain_front(&mut self, count: usize) {
        let count = count.min(self.len);
        let end = self.start + self.len;
        self.memory.copy_within(self.start + count..end, self.start);
        self.len -= count;
    }

    /// The next `count` bytes, of any content.
    fn room(&mut self, count: usize) -> &mut [u8] {
        let len = self.len.saturating_add(count);
        if self.capacity() < len {
            let mut larger = Self::with_capacity(len.max(self.capacity().saturating_mul(2)));
            let (start, end) = (larger.start, larger.start + self.len);
            larger.memory[start..end].copy_from_slice(self.as_slice());
            larger.len = self.len;
            *self = larger;
        }
        let start = self.start + self.len;
        &mut self.memory[start..start + count]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_aligned_and_keeps_its_bytes_while_it_grows() {
        let mut buffer = AlignedBuffer::with_capacity(1);
        let mut expected = Vec::new();
        for round in 0..200_u8 {
            let bytes = vec![round; usize::from(round) * 7];
            buffer.extend(&bytes);
            expected.extend_from_slice(&bytes);
            assert_eq!(buffer.as_slice(), expected);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(BLOCK_BYTES), 0);
        }
        buffer.drain_front(4096);
        expected.drain(..4096);
        buffer.truncate(5000);
        buffer.extend_with_zeros(6000);
        expected.truncate(5000);
        expected.resize(6000, 0);
        assert_eq!(buffer.as_slice(), expected);
    }
}
