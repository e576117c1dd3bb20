//! What one write hands to the socket: frames, and the one chunk around them.
//!
//! ```text
//! │ room for the size │ frame │ frame │ ... │ CRLF │
//!        └─ filled from the right once the length is known; what is left of it is skipped
//! ```

use crate::buf::{Later, Mark, SHARE_BYTES_MIN, WriteQueue};
use crate::http::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, chunk_head};
use crate::transport::Class;
use crate::transport::drops::Counts;
use bytes::Buf;

/// A batch takes no further frame once it holds this many bytes.
///
/// Of 64 entries of 1 KiB, or one of 64 KiB, a message takes 1.2 and 1.0 calls, both members'
/// together, with 256 KiB, and 1.0 and 0.8 with 1 MiB. More brings little: a socket seldom takes it
/// at once.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 20;

/// The same for what may take long on the message stream: heartbeats wait for one such batch.
pub(crate) const BULK_BYTES_MAX: usize = 256 << 10;

/// Nor once it has this many slices; with one frame of a single entry more it still is one call.
pub(crate) const BATCH_SLICES_MAX: usize = 1000;

/// From this length on, payloads of [`REFER_BYTES_MIN`] and more are queued by reference: the writer is
/// behind, and what is copied now would have left the cache when it is written.
const BEHIND_BYTES: usize = 64 << 10;
const REFER_BYTES_MIN: usize = 1 << 10;

/// Memory for frames above this is not kept: one message larger than a batch made it grow. That of a
/// full batch grows, by doubling, to a little more than twice its bound.
const HEADS_BYTES_KEPT: usize = 3 * BATCH_BYTES_MAX;

/// How batches are made for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Each is a chunk of its own. HTTP/1.0 knows none.
    pub(crate) chunked: bool,
    /// The socket takes several slices in a call. One that does not gets everything copied: a call
    /// for each slice would cost more.
    pub(crate) vectored: bool,
}

/// Frames in the order in which they were queued.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    queue: WriteQueue,
    counts: Counts,
    /// Of its frames, without the chunk.
    bytes: usize,
    bytes_max: usize,
    /// Where the chunk's size goes.
    size: Option<Later>,
    /// By reference from this length on; while the writer is behind, from that.
    refer: [usize; 2],
}

impl Batch {
    /// Begins anew, in the memory it has. Its queue is empty: it is new, or was recycled.
    pub(crate) fn begin(&mut self, form: Form, bytes_max: usize) {
        self.counts = Counts::default();
        self.bytes = 0;
        self.bytes_max = bytes_max;
        // At once what it grows to: many batches, used in turn, would be growing for long.
        self.queue.reserve(BEHIND_BYTES, 0);
        self.size = form.chunked.then(|| self.queue.put_later(CHUNK_HEAD_BYTES_MAX));
        self.refer = match form.vectored {
            true => [SHARE_BYTES_MIN, REFER_BYTES_MIN],
            false => [usize::MAX; 2],
        };
    }

    /// Queues what `encode` encodes, and returns how long it is.
    #[inline]
    pub(crate) fn put<E>(
        &mut self,
        is_behind: bool,
        encode: impl FnOnce(&mut WriteQueue) -> Result<(), E>,
    ) -> Result<usize, E> {
        let before = self.queue.len();
        let is_behind = is_behind || before > BEHIND_BYTES;
        if is_behind {
            self.queue.reserve(0, BATCH_SLICES_MAX);
        }
        self.queue.refer_from(self.refer[usize::from(is_behind)]);
        encode(&mut self.queue)?;
        Ok(self.queue.len() - before)
    }

    /// Counts what was queued last.
    #[inline]
    pub(crate) fn keep(&mut self, class: Class, bytes: usize) {
        self.bytes += bytes;
        self.counts.add(class);
    }

    /// Where it is, to [go back](Self::rollback) to.
    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        self.queue.mark()
    }

    /// Takes back what was queued and not kept.
    pub(crate) fn rollback(&mut self, mark: Mark) {
        self.queue.rollback(mark);
    }

    /// Queues a frame that carries no message.
    pub(crate) fn put_heartbeat(&mut self, encode: impl FnOnce(&mut WriteQueue)) {
        let before = self.queue.len();
        encode(&mut self.queue);
        self.bytes += self.queue.len() - before;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max || self.queue.slice_count() >= BATCH_SLICES_MAX
    }

    /// Whether its memory is no more than usual, and worth keeping.
    pub(crate) fn is_small(&self) -> bool {
        self.queue.memory() <= HEADS_BYTES_KEPT
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Closes its chunk: what remains is to be written.
    pub(crate) fn seal(&mut self) {
        let Some(size) = self.size.take() else {
            return;
        };
        let mut room = [0; CHUNK_HEAD_BYTES_MAX];
        // A batch is at most one frame longer than its bound, and no frame has 4 GiB.
        let bytes = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        let start = chunk_head(bytes, &mut room);
        self.queue.fill(size, &room);
        self.queue.put_framing(CHUNK_END);
        self.queue.advance(start);
    }

    pub(crate) fn queue(&mut self) -> &mut WriteQueue {
        &mut self.queue
    }
}
