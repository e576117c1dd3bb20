//! Decides, payload by payload, whether to share the block it lies in or to copy it out.
//!
//! A payload that is shared keeps its whole block from being used again. That is the right price
//! where blocks consist of payload, and the wrong one where a block of heartbeats is kept alive by
//! one 8-byte context. So, per block:
//!
//! > A payload of at most [`COPY_OUT_BYTES_MAX`] bytes is copied out while the payload shared from
//! > its block is less than 1/[`COPY_OUT_FRACTION`] of the bytes parsed from it.
//!
//! Copies lie one behind the other in a block of their own, which thus consists of payload too. A
//! consumer that keeps one message in a thousand still pins the blocks of the others: only it knows
//! that, and it should copy what it keeps for long.

use super::{Block, Pool};
use crate::raftpb::Span;
use bytes::{Buf, Bytes, BytesMut};

/// The largest payload that is ever copied out, in bytes. A larger one that is kept alone pins at most
/// 256 times what it is in a block of 256 KiB, or four times that in one that was made for something
/// larger.
pub const COPY_OUT_BYTES_MAX: usize = 1 << 10;

/// Payloads are copied out of a block of which less than one part in this many is shared payload, so
/// that what consumers hold pins about this many times itself at the most.
///
/// Measured on 16 MiB of heartbeats whose contexts are all kept: contexts of 8 bytes, a sixth of the
/// stream, pin 2.6 MB of copies where sharing would pin all 16.8; contexts of 64 bytes are shared, and
/// pin 1.6 times what they are.
pub const COPY_OUT_FRACTION: usize = 4;

/// An item is large if fewer than this many fill a block. Smaller ones may be cut by its end: to move
/// half of one costs less than to leave the room of half of one.
const LARGE_ITEMS_PER_BLOCK: usize = 16;

/// Where the payloads of one stream go, and how much of the current block they are.
#[derive(Debug)]
pub(crate) struct Carve {
    pub(crate) pool: Pool,
    large_bytes_min: usize,
    /// Copies lie here, densely.
    copies: Block,
    copies_live: usize,
    /// Of the current block: bytes parsed before the current run, and bytes handed out as shared
    /// payload.
    pub(crate) parsed_bytes: usize,
    pub(crate) shared_bytes: usize,
    /// How long the last large entry or message was, with its length, or 0: the next is likely as
    /// long.
    pub(crate) large_item_bytes: usize,
    /// Whether there was one in the current block.
    large_item_seen: bool,
    /// Since the stream began: bytes parsed, and bytes copied out.
    pub(crate) position: u64,
    pub(crate) copied_bytes: u64,
    /// The lists of a frame, up to the one the decoder could not make within the budget.
    pub(crate) wants_list_bytes: usize,
}

impl Carve {
    pub(crate) fn new(pool: Pool) -> Self {
        Self {
            large_bytes_min: pool.config().block_bytes / LARGE_ITEMS_PER_BLOCK,
            pool,
            copies: Block::default(),
            copies_live: 0,
            parsed_bytes: 0,
            shared_bytes: 0,
            large_item_bytes: 0,
            large_item_seen: false,
            position: 0,
            copied_bytes: 0,
            wants_list_bytes: 0,
        }
    }

    /// The next block begins.
    pub(crate) fn next_block(&mut self) {
        self.parsed_bytes = 0;
        self.shared_bytes = 0;
        if !std::mem::take(&mut self.large_item_seen) {
            self.large_item_bytes = 0;
        }
    }

    /// An entry or a message took `bytes` bytes.
    #[inline]
    pub(crate) fn item(&mut self, bytes: usize) {
        if self.is_large(bytes) {
            self.large_item_bytes = bytes;
            self.large_item_seen = true;
        }
    }

    /// Whether so few such items fill a block that half of one is much to move.
    #[inline]
    pub(crate) fn is_large(&self, bytes: usize) -> bool {
        bytes >= self.large_bytes_min
    }

    /// Returns the payload at `span` of `run`, which are the bytes being parsed. Once they are,
    /// [`parsed`](Self::parsed) says so.
    #[inline]
    pub(crate) fn payload(&mut self, run: &Bytes, span: Span) -> Bytes {
        let shared_bytes = self.shared_bytes + span.len();
        if shared_bytes * COPY_OUT_FRACTION < self.parsed_bytes + span.end
            && let Some(copy) = self.copy(&run[span.start..span.end])
        {
            return copy;
        }
        self.shared_bytes = shared_bytes;
        run.slice(span.start..span.end)
    }

    /// [`payload`](Self::payload), for the only one of a run that is not split off yet: the first
    /// `count` bytes of `input`, which are taken off it. A run that is not shared costs no reference.
    #[inline]
    pub(crate) fn only_payload(&mut self, input: &mut BytesMut, count: usize, span: Span) -> Bytes {
        let shared_bytes = self.shared_bytes + span.len();
        if span.len() == 0 {
            input.advance(count);
            return Bytes::new();
        }
        if shared_bytes * COPY_OUT_FRACTION < self.parsed_bytes + span.end
            && let Some(copy) = self.copy(&input[span.start..span.end])
        {
            input.advance(count);
            return copy;
        }
        self.shared_bytes = shared_bytes;
        let mut run = input.split_to(count).freeze();
        run.truncate(span.end);
        run.advance(span.start);
        run
    }

    /// [`payload`](Self::payload), for the last one of `run`: it takes over the run's own reference,
    /// and so saves two atomic operations a frame.
    #[inline]
    pub(crate) fn last_payload(&mut self, mut run: Bytes, span: Span) -> Bytes {
        let shared_bytes = self.shared_bytes + span.len();
        if span.len() == 0 || shared_bytes * COPY_OUT_FRACTION < self.parsed_bytes + span.end {
            return self.payload(&run, span);
        }
        self.shared_bytes = shared_bytes;
        run.truncate(span.end);
        run.advance(span.start);
        run
    }

    /// Whether no payload of a run of `count` bytes would be copied out.
    #[inline]
    pub(crate) fn shares_all(&self, count: usize) -> bool {
        self.shared_bytes * COPY_OUT_FRACTION >= self.parsed_bytes + count
    }

    /// `count` bytes of the block were parsed.
    #[inline]
    pub(crate) fn parsed(&mut self, count: usize) {
        self.parsed_bytes += count;
        self.position += count as u64;
    }

    /// `None` if the payload is too large, or the pool has no block for copies: sharing costs no new
    /// memory.
    #[cold]
    fn copy(&mut self, payload: &[u8]) -> Option<Bytes> {
        if payload.len() > COPY_OUT_BYTES_MAX {
            return None;
        }
        let room = self.copies.bytes.capacity() - self.copies.bytes.len();
        if room < payload.len() {
            let block = self.pool.block(0, 0)?;
            let full = std::mem::replace(&mut self.copies, block);
            self.pool.retire(full, std::mem::take(&mut self.copies_live));
        }
        self.copies.bytes.extend_from_slice(payload);
        self.copies_live += payload.len();
        self.copied_bytes += payload.len() as u64;
        Some(self.copies.bytes.split().freeze())
    }
}

impl Drop for Carve {
    fn drop(&mut self) {
        self.pool.retire(std::mem::take(&mut self.copies), self.copies_live);
    }
}
