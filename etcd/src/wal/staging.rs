//! The batch: records on their way to the segment, in memory that is written as it stands.
//!
//! ```text
//!        base                         end
//!          |  durable   |    batch     |  zeros  |
//! ---------+------------+--------------+---------+---
//!          |    block   |     block    |  block  |
//! ```
//!
//! Whole blocks are written, so that the last one, which is not full, is written again with the next
//! batch. That is safe: its durable bytes are written as they are, and a sector holds either what it
//! held or what was to be written, in which those bytes are the same.

use super::record::{self, RecordKind};
use crate::disk::{AlignedBuffer, BLOCK_BYTES, DiskError, File};

/// What is kept ready for batches. A larger one takes more, and gives it back.
const KEPT_BYTES: usize = 1 << 20;

/// Records that are not written yet, behind the block they begin in.
#[derive(Debug)]
pub(super) struct Staging {
    bytes: AlignedBuffer,
    /// Where `bytes` begin in the segment: at a block.
    base: u64,
    /// How many of `bytes` are durable.
    durable: usize,
    /// The running CRC behind the last record.
    crc: u32,
}

impl Staging {
    /// Continues a segment at `end`; `head` are the bytes before it in its block.
    pub(super) fn new(head: &[u8], end: u64, crc: u32) -> Self {
        let mut bytes = AlignedBuffer::with_capacity(KEPT_BYTES);
        bytes.extend(head);
        Self { bytes, base: end - head.len() as u64, durable: head.len(), crc }
    }

    /// Goes over to the next segment, with nothing in it.
    pub(super) fn begin_segment(&mut self) {
        self.bytes.truncate(0);
        (self.base, self.durable) = (0, 0);
    }

    /// Adds a record, whose data is `parts`.
    pub(super) fn put(&mut self, kind: RecordKind, parts: &[&[u8]]) {
        for part in parts {
            self.crc = crc32c::crc32c_append(self.crc, part);
        }
        record::put(&mut self.bytes, kind, self.crc, parts);
    }

    /// Where the batch ends in the segment.
    pub(super) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The bytes that are not durable.
    pub(super) fn batched_bytes(&self) -> usize {
        self.bytes.len() - self.durable
    }

    /// Writes the batch, and waits until it is durable.
    pub(super) fn write(&mut self, file: &mut dyn File) -> Result<(), DiskError> {
        let len = self.bytes.len();
        self.bytes.extend_with_zeros(len.next_multiple_of(BLOCK_BYTES));
        let written = file.write_durably_at(self.bytes.as_slice(), self.base);
        self.bytes.truncate(len);
        written?;
        let whole = len - len % BLOCK_BYTES;
        self.bytes.drain_front(whole);
        self.base += whole as u64;
        self.durable = self.bytes.len();
        if self.bytes.capacity() > 2 * KEPT_BYTES {
            let mut bytes = AlignedBuffer::with_capacity(KEPT_BYTES);
            bytes.extend(self.bytes.as_slice());
            self.bytes = bytes;
        }
        Ok(())
    }
}
