//! Where a stream is received: the block that is being filled, and its bytes not parsed yet.

use super::{Block, Carve, Charge, OVERSIZE, Pool};
use crate::error::{DecodeError, DecodeErrorKind};
use bytes::buf::Limit;
use bytes::{BufMut, BytesMut};
use std::time::{Duration, Instant};

/// A stream's receiving end: socket reads fill it, a decoder empties it.
///
/// Call in turn:
/// 1. [`space`](Self::space) with what the decoder says it needs, and read into the room;
/// 2. the decoder's `decode`, until it returns `None`.
///
/// The bytes of a frame are never moved, but for the unparsed tail of a block when the next block
/// begins. Memory follows the bytes that arrived, not the length a peer announced: a payload longer
/// than a block gets a block twice as large each time it has filled one.
///
/// Small payloads are copied out where they would pin a block that is otherwise dead: see
/// [`COPY_OUT_FRACTION`](super::COPY_OUT_FRACTION).
#[derive(Debug)]
pub struct ReceiveBuffer {
    /// `block.bytes` is what was received and not parsed, and the room behind it.
    block: Block,
    pub(crate) carve: Carve,
    /// Bytes of tails moved to a next block, since the stream began.
    moved_bytes: u64,
    /// Since when there is no memory.
    waiting: Option<Instant>,
}

/// What a [`ReceiveBuffer`] copied, since the stream began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveStats {
    /// Unparsed bytes moved from one block to the next.
    pub moved_bytes: u64,
    /// Small payloads copied out of their block.
    pub copied_out_bytes: u64,
}

/// What to do before the next `decode`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Space<'a> {
    /// Read into this: there is room for at least a byte. It never allocates.
    Room(Limit<&'a mut BytesMut>),
    /// Memory became free for what was already received: decode before reading on.
    Decode,
    /// The memory budget is exhausted: leave the socket unread, which is back-pressure, and ask
    /// again soon. After `until` that is an error.
    Wait {
        /// When the wait ends.
        until: Instant,
    },
}

impl<'a> Space<'a> {
    /// Returns the room, if there is any.
    #[must_use]
    pub fn room(self) -> Option<Limit<&'a mut BytesMut>> {
        match self {
            Self::Room(room) => Some(room),
            _ => None,
        }
    }
}

/// What may stand between two items: the end of one frame and the prefix of another.
const BETWEEN_ITEMS: usize = 64;

impl ReceiveBuffer {
    /// Makes one without a block; it takes its first when asked for space.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self { block: Block::default(), carve: Carve::new(pool), moved_bytes: 0, waiting: None }
    }

    /// Returns where to read, such that the first unparsed item can become `needed` bytes long.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::Budget`] when there was no memory within the budget for
    /// [`wait_max`](super::PoolConfig::wait_max); [`DecodeErrorKind::Limit`] when the lists of one
    /// frame would take more than the whole budget.
    pub fn space(&mut self, needed: usize, now: Instant) -> Result<Space<'_>, DecodeError> {
        if self.carve.wants_list_bytes > 0 {
            let (wanted, budget) =
                (self.carve.wants_list_bytes, self.carve.pool.config().budget_bytes);
            if wanted > budget {
                let kind =
                    DecodeErrorKind::Limit { announced: wanted as u64, limit: budget as u64 };
                return Err(DecodeError::new(kind, "lists of a frame", self.carve.position));
            }
            // Only looks: the decoder charges the lists itself. Until it has, the wait goes on.
            if Charge::new(&self.carve.pool, wanted).is_none() {
                return self.wait(now);
            }
            self.carve.wants_list_bytes = 0;
            return Ok(Space::Decode);
        }
        // There is room for a byte at least, even for a reader that goes on after an error.
        let needed = needed.max(self.block.bytes.len() + 1);
        if !self.fits(needed) && !self.next_block(needed) {
            return self.wait(now);
        }
        self.waiting = None;
        let room = self.room(needed);
        Ok(Space::Room((&mut self.block.bytes).limit(room)))
    }

    /// How much to read. Where items are large the room ends with one of them, if the next is as long
    /// as this one: the beginning of another would only have to be moved to the next block.
    fn room(&self, needed: usize) -> usize {
        let have = self.block.bytes.len();
        let room = self.block.bytes.capacity() - have;
        let item = if self.carve.is_large(needed) { needed } else { self.carve.large_item_bytes };
        if item == 0 {
            return room;
        }
        let item = item.saturating_add(BETWEEN_ITEMS);
        match (have + room) / item * item {
            whole if whole > have => whole - have,
            _ => room,
        }
    }

    /// Returns the bytes received and not parsed.
    #[must_use]
    pub fn unparsed(&self) -> &[u8] {
        &self.block.bytes
    }

    /// Returns what was copied.
    #[must_use]
    pub fn stats(&self) -> ReceiveStats {
        ReceiveStats { moved_bytes: self.moved_bytes, copied_out_bytes: self.carve.copied_bytes }
    }

    /// Returns the pool its blocks come from.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.carve.pool
    }

    /// Whether a decoder waits for memory, not for bytes.
    #[cfg(feature = "net")]
    pub(crate) fn wants_memory(&self) -> bool {
        self.carve.wants_list_bytes > 0
    }

    pub(crate) fn parts(&mut self) -> (&mut BytesMut, &mut Carve) {
        (&mut self.block.bytes, &mut self.carve)
    }

    /// Whether the block is worth filling on.
    fn fits(&self, needed: usize) -> bool {
        let have = self.block.bytes.len();
        let room = self.block.bytes.capacity() - have;
        if self.is_oversize(needed) {
            return false;
        }
        // A read into less than this costs a syscall for little.
        let room_min = self.carve.pool.config().block_bytes / 8;
        // A large item is likely to come: better to begin it in a block that has room for it.
        let likely = match self.carve.large_item_bytes {
            0 => needed,
            _ if self.carve.is_large(have) => needed,
            item => needed.max(have + item + BETWEEN_ITEMS),
        };
        if likely > have + room {
            // The item is larger than the block. If it has the block to itself it fills it first.
            return room > 0 && self.block.at_start();
        }
        // A little room is enough when the alternative is to move much.
        room >= room_min || (room > 0 && have >= room_min)
    }

    /// Whether the block was made for something much larger than what it holds now: a stream must
    /// not keep it, nor small payloads pin it.
    fn is_oversize(&self, needed: usize) -> bool {
        let block_bytes = self.carve.pool.config().block_bytes;
        self.block.capacity > needed.max(block_bytes).saturating_mul(OVERSIZE)
    }

    fn next_block(&mut self, needed: usize) -> bool {
        let have = self.block.bytes.len();
        // Nothing of the block is held: it begins anew, and the tail moves to its front.
        if needed <= self.block.capacity
            && !self.is_oversize(needed)
            && !self.block.at_start()
            && have < self.block.capacity
            && self.block.bytes.try_reclaim(self.block.capacity - have)
            && self.block.at_start()
        {
            self.moved_bytes += have as u64;
            self.carve.next_block();
            return true;
        }
        let block_bytes = self.carve.pool.config().block_bytes;
        let Some(mut block) = self.carve.pool.block(needed.min(2 * have + block_bytes), needed)
        else {
            return false;
        };
        block.bytes.extend_from_slice(&self.block.bytes);
        self.moved_bytes += have as u64;
        let full = std::mem::replace(&mut self.block, block);
        self.carve.pool.retire(full, self.carve.shared_bytes);
        self.carve.next_block();
        true
    }

    fn wait(&mut self, now: Instant) -> Result<Space<'_>, DecodeError> {
        let since = *self.waiting.get_or_insert(now);
        let wait_max = self.carve.pool.config().wait_max;
        let waited = now.saturating_duration_since(since);
        if waited >= wait_max {
            return Err(DecodeError::new(
                DecodeErrorKind::Budget { waited },
                "memory budget",
                self.carve.position,
            ));
        }
        // A wait without end is a long one.
        let until = since.checked_add(wait_max).unwrap_or(now + Duration::from_secs(3600));
        Ok(Space::Wait { until })
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.carve.pool.retire(std::mem::take(&mut self.block), self.carve.shared_bytes);
    }
}
